"""The probe and uses commands: what a group of shoppers needs next, and what the items of a store are for."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...data.errors import QueryError, SettingsError
from .options import AsJson, Chroma, EmbedderName, Llm, Quantization, WorkspacePath, console, print_json, settings_from

if TYPE_CHECKING:
    from ...retrieval.index.embedder import Embedder


def probe(
    workspace: WorkspacePath,
    question: Annotated[
        str | None, typer.Argument(help='Question, such as "phones", "phones and not cases", "who would need a tripod?".')
    ] = None,
    against: Annotated[str | None, typer.Option(help="A second group, to compare the first with.")] = None,
    since: Annotated[str | None, typer.Option(help="First day to count, such as 2024-01-31.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day to count.")] = None,
    min_price: Annotated[float | None, typer.Option(help="Lowest price of the items that define the group.")] = None,
    max_price: Annotated[float | None, typer.Option(help="Highest price of the items that define the group.")] = None,
    at_least: Annotated[int, typer.Option(help="Minimum number of purchases of these items.")] = 1,
    first_time: Annotated[
        bool,
        typer.Option("--first-time", help="Only users whose first purchase is in the period; without a period, users with one purchase."),
    ] = False,
    where: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE condition on the items that define the group. May be repeated.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Number of needs.")] = 10,
    level: Annotated[int | None, typer.Option(help="Level of the categories in the result; 1 is the broadest.")] = None,
    min_users: Annotated[int, typer.Option(help="Smallest group whose statistics may be shown (k-anonymity threshold).")] = 20,
    epsilon: Annotated[float | None, typer.Option(help="Answer with differential privacy: adds noise, charged to the budget.")] = None,
    budget: Annotated[float, typer.Option(help="Total privacy budget of the workspace (sum of all epsilons).")] = 10.0,
    words: Annotated[bool, typer.Option("--words/--no-words", help="Describe each need in a sentence.")] = True,
    plot: Annotated[Path | None, typer.Option(help="Draw the category map into this .svg, .png or .html file.")] = None,
    llm: Llm = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV for a spreadsheet.")] = False,
) -> None:
    """Users who bought X also need ...: categories that a group of shoppers needs next, with confidence intervals.

    Example: crossaisle probe -w shop "phones"
    """
    from ...data.workspace import Workspace
    from ..service import csv_export
    from ..terminal import render

    if question is None and plot is None:
        raise QueryError('nothing to answer: give a question, as in `crossaisle probe -w shop "phones"`, or --plot FILE')
    if as_json and as_csv:
        raise SettingsError("--json and --csv exclude each other; take one")
    if against is not None and (epsilon is not None or question is None):
        raise QueryError("--against compares exact counts of two questions; give the first question, and no --epsilon")
    settings = settings_from(llm=llm, quantization=quantization, chroma=chroma)
    opened = Workspace(workspace)
    if plot is not None:
        from ...recommend.category_map.matrix import build_category_map
        from ..plots.category_map import draw

        draw(build_category_map(opened, settings, level=level, min_users=min_users), plot)
        print(f"written: {plot}", file=sys.stderr)
    if question is None:
        return
    from ...recommend.segments.probe import Probe
    from ...recommend.segments.query.filters import Filters

    segment_probe = Probe.open(opened, settings=settings, min_users=min_users, budget=budget)
    filters = Filters(since, until, min_price, max_price, at_least, first_time, tuple(where or ()))
    if against is not None:
        comparison = segment_probe.compare(question, against, filters=filters, k=k, level=level)
        if as_json:
            print_json(comparison.to_dict())
        elif as_csv:
            print(csv_export.comparison_csv(comparison.to_dict()), end="")
        else:
            render.print_comparison(console(), comparison)
        return
    result = segment_probe.ask(question, filters=filters, k=k, level=level, epsilon=epsilon, words=words)
    if as_json:
        print_json(result.to_dict())
    elif as_csv:
        print(csv_export.segment_csv(result.to_dict()), end="")
    else:
        render.print_segment_result(console(), result)


def uses(
    workspace: WorkspacePath,
    item: Annotated[str | None, typer.Option(help="Only the uses of the item with this id.")] = None,
    top: Annotated[int, typer.Option(help="Number of uses.")] = 20,
    embedder: EmbedderName = None,
    as_json: AsJson = False,
) -> None:
    """List what the items of a store are used for, with sentences that say so and the behaviour of their users.

    Uses are mined from titles, descriptions and reviews at `crossaisle index`, or now if the table is not of the current snapshot.

    Example: crossaisle uses -w shop
    """
    from ...data.snapshots.added_items import items as all_items
    from ...data.workspace import Workspace
    from ...retrieval.uses.store import load_uses
    from ..terminal.uses_table import print_uses, uses_to_dict

    if top < 1:
        raise SettingsError(f"--top must be 1 or more, not {top}")
    opened = Workspace(workspace)
    words = opened.manifest.words
    titles = dict(all_items(opened).select("item_id", "title").iter_rows())
    if item is not None and item not in titles:
        from ...data.errors import UnknownItemError

        raise UnknownItemError(f"no item {item!r} among the {len(titles):,} of this workspace; ids are compared letter by letter")
    index = opened.manifest.index or {}
    name = settings_from(embedder=embedder).embedder or index.get("embedder")

    @cache
    def loaded() -> Embedder:
        from ...retrieval.index.embedder import BUNDLED, Embedder

        return Embedder(str(name or BUNDLED))

    mined = load_uses(opened, lambda names: loaded().encode(names))
    listed = (mined.of_item(item) if item is not None else list(mined.uses))[:top]
    if as_json:
        print_json(uses_to_dict(mined, listed, titles, item, words))
    else:
        print_uses(console(), mined, listed, titles, item, words)
