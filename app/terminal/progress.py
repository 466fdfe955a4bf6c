"""Progress bars on stderr for long commands, with rate and time left; silent where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """A function to be told of (stage, done, total); each stage gets a line of its own. What follows a comma in it may change."""
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

        def tell(stage: str, done: int, total: int) -> None:
            name = stage.partition(", ")[0]
            if name not in tasks:
                tasks[name] = progress.add_task(stage, total=max(total, 1), rate="")
            task = tasks[name]
            speed = progress.tasks[task].speed  # type: ignore[call-overload]  # a TaskID is an int
            progress.update(task, description=stage, completed=done, total=max(total, 1), rate=f"{speed:,.0f}/s" if speed else "")  # type: ignore[arg-type]

        yield tell
