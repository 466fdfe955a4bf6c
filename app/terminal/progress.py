"""Progress bars on stderr for long commands, with rate and remaining time; silent if stderr is not a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a progress callback `(stage, done, total)` that shows one bar for each stage.

    The name of a stage ends at its first comma; what follows may change during the stage.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, object] = {}

        def update(stage: str, done: int, total: int) -> None:
            name = stage.partition(", ")[0]
            if name not in tasks:
                tasks[name] = progress.add_task(stage, total=max(total, 1), rate="")
            task = tasks[name]
            speed = progress.tasks[task].speed  # type: ignore[call-overload]  # a TaskID is an int
            progress.update(task, description=stage, completed=done, total=max(total, 1), rate=f"{speed:,.0f}/s" if speed else "")  # type: ignore[arg-type]

        yield update
