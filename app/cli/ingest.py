"""The commands that build a workspace from the files of a store: demo, ingest, index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...data.errors import SettingsError
from .options import AsJson, Chroma, EmbedderName, Llm, Quantization, WorkspacePath, console, print_json, settings_from


def demo(workspace: WorkspacePath = Path("demo-shop"), llm: Llm = None, quantization: Quantization = None) -> None:
    """Build the bundled demo store, and print recommendations and a segment analysis.

    Example: crossaisle demo
    """
    from .demo import run

    run(workspace, settings_from(llm=llm, quantization=quantization), console())


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of files.")],
    workspace: WorkspacePath,
    format: Annotated[str, typer.Option(help="Format of the files: files, amazon-reviews-2023, movielens or completejourney.")],
    category_level: Annotated[
        int | None, typer.Option(min=1, help="Level at which categories are distinguished; 1 is the broadest.")
    ] = None,
    item_noun: Annotated[
        str | None, typer.Option(help="Word for an item in texts for people, such as course, or with its plural: course,courses.")
    ] = None,
    user_noun: Annotated[str | None, typer.Option(help="Word for a user, such as learner, or with its plural: person,people.")] = None,
    verb: Annotated[
        str | None, typer.Option(help="What users do with items, such as take or watch, or with its forms: take,took,taken.")
    ] = None,
    on_error: Annotated[str, typer.Option(help="skip: write invalid lines to rejects.jsonl; stop: stop at the first.")] = "skip",
    min_rating: Annotated[
        float | None, typer.Option(help="Lowest rating that counts as a purchase (amazon-reviews-2023, movielens).")
    ] = None,
    map: Annotated[
        list[str] | None, typer.Option(help="OURS=THEIRS: name of a column in the files, such as price=cost. May be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read the files of a store into a workspace.

    Example: crossaisle ingest -w shop --format files items.csv interactions.csv reviews.csv
    """
    from ...data.snapshots.ingest import ingest as run
    from ...data.workspace import Workspace
    from ..terminal import render
    from ..terminal.progress import progress_bar

    if on_error not in ("skip", "stop"):
        raise SettingsError(f"--on-error must be skip or stop, not {on_error!r}")
    rename = {}
    for pair in map or ():
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise SettingsError(f"--map must be OURS=THEIRS, such as price=cost, not {pair!r}")
        rename[ours.strip()] = theirs.strip()
    with progress_bar() as progress:
        report = run(
            workspace,
            format,
            paths,
            category_level=category_level,
            item_noun=item_noun,
            user_noun=user_noun,
            verb=verb,
            on_error="stop" if on_error == "stop" else "skip",
            min_rating=min_rating,
            rename=rename or None,
            progress=progress,
        )
    if as_json:
        print_json(report.to_dict())
        return
    screen = console()
    render.print_summary(screen, f"{workspace}: ingested", report.to_dict(), Workspace(workspace).manifest.words)
    if report.rejects:
        screen.print(f"the rejected lines are in {Workspace(workspace).rejects}")
    screen.print(f"next: crossaisle index -w {workspace}")


def index(
    workspace: WorkspacePath,
    embedder: EmbedderName = None,
    chroma: Chroma = None,
    window: Annotated[
        int | None,
        typer.Option(help="Longest gap between two purchases that are counted as a pair, in days (in positions without timestamps)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Embed and index new or changed items and reviews, and count associations.

    Example: crossaisle index -w shop
    """
    from ...data.workspace import Workspace
    from ...retrieval.index.builder import build
    from ..terminal import render
    from ..terminal.progress import progress_bar

    with progress_bar() as progress:
        report = build(Workspace(workspace), settings_from(embedder=embedder, chroma=chroma), progress, window=window)
    if as_json:
        print_json(report.to_dict())
    else:
        render.print_summary(console(), f"{workspace}: indexed", report.to_dict(), Workspace(workspace).manifest.words)
