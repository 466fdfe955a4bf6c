"""The commands that make a workspace of a store's files: demo, ingest, index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...data.errors import SettingsError
from .options import AsJson, Chroma, EmbedderName, Llm, Quantization, Where, console, print_json, settings_with


def demo(workspace: Where = Path("demo-shop"), llm: Llm = None, quantization: Quantization = None) -> None:
    """The shipped demo store, end to end.

    Example: crossaisle demo
    """
    from .demo import run

    run(workspace, settings_with(llm=llm, quantization=quantization), console())


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders that hold them.")],
    workspace: Where,
    format: Annotated[str, typer.Option(help="files, amazon-reviews-2023, movielens or completejourney.")],
    category_level: Annotated[
        int | None, typer.Option(min=1, help="Level of a category that counts as another one; 1 is the broadest.")
    ] = None,
    item_noun: Annotated[str | None, typer.Option(help="What an item is called to a person: item, course, film.")] = None,
    on_error: Annotated[str, typer.Option(help="skip unusable lines and keep them in rejects.jsonl, or stop at the first.")] = "skip",
    min_rating: Annotated[float | None, typer.Option(help="Ratings below it are no purchase (amazon-reviews-2023, movielens).")] = None,
    map: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS: a column of another name, e.g. price=cost. May be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Reads a store's files into the workspace.

    Example: crossaisle ingest -w shop --format files items.csv interactions.csv reviews.csv
    """
    from ...data.snapshots.ingest import ingest as run
    from ..terminal import render
    from ..terminal.progress import bar

    if on_error not in ("skip", "stop"):
        raise SettingsError(f"--on-error is skip or stop, not {on_error!r}")
    rename = {}
    for pair in map or ():
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise SettingsError(f"--map wants OURS=THEIRS, as in price=cost, not {pair!r}")
        rename[ours.strip()] = theirs.strip()
    with bar() as tell:
        report = run(
            workspace,
            format,
            paths,
            category_level=category_level,
            item_noun=item_noun,
            on_error="stop" if on_error == "stop" else "skip",
            min_rating=min_rating,
            rename=rename or None,
            progress=tell,
        )
    if as_json:
        print_json(report.to_dict())
        return
    screen = console()
    render.figures(screen, f"{workspace}: ingested", report.to_dict())
    if report.rejects:
        from ...data.workspace import Workspace

        screen.print(f"the rejected lines are in {Workspace(workspace).rejects}")
    screen.print(f"next: crossaisle index -w {workspace}")


def index(
    workspace: Where,
    embedder: EmbedderName = None,
    chroma: Chroma = None,
    window: Annotated[
        int | None, typer.Option(help="Days (positions, where there is no clock) within which one thing follows another.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Embeds what is new or changed, indexes it, and mines associations.

    Example: crossaisle index -w shop
    """
    from ...data.workspace import Workspace
    from ...retrieval.index.builder import build
    from ..terminal import render
    from ..terminal.progress import bar

    with bar() as tell:
        report = build(Workspace(workspace), settings_with(embedder=embedder, chroma=chroma), tell, window=window)
    if as_json:
        print_json(report.to_dict())
    else:
        render.figures(console(), f"{workspace}: indexed", report.to_dict())
