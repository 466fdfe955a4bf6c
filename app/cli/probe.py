"""The command that asks about a group of shoppers: probe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ...data.errors import QueryError, SettingsError
from .options import AsJson, Chroma, Llm, Quantization, WorkspacePath, console, print_json, settings_from


def probe(
    workspace: WorkspacePath,
    question: Annotated[str | None, typer.Argument(help='Such as "phones", "phones and not cases", "who would need a tripod?".')] = None,
    against: Annotated[str | None, typer.Option(help="A second group to compare with.")] = None,
    since: Annotated[str | None, typer.Option(help="First day that counts, as 2024-01-31.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day that counts.")] = None,
    min_price: Annotated[float | None, typer.Option(help="Lowest price of what makes the group.")] = None,
    max_price: Annotated[float | None, typer.Option(help="Highest price of what makes the group.")] = None,
    at_least: Annotated[int, typer.Option(help="Had it at least so many times.")] = 1,
    first_time: Annotated[bool, typer.Option("--first-time", help="First had it in the period; without a period, had it once.")] = False,
    where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE of the items that make the group. May be repeated.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many needs.")] = 10,
    level: Annotated[int | None, typer.Option(help="Depth of the categories in the answer, 1 = broadest.")] = None,
    min_users: Annotated[int, typer.Option(help="The fewest users that are told of.")] = 20,
    epsilon: Annotated[float | None, typer.Option(help="Answer with noise: differentially private, paid from the budget.")] = None,
    budget: Annotated[float, typer.Option(help="Sum of all epsilons that this workspace may ever spend.")] = 10.0,
    words: Annotated[bool, typer.Option("--words/--no-words", help="Put each need in a sentence.")] = True,
    plot: Annotated[Path | None, typer.Option(help="Draw what goes with what into this .svg, .png or .html file.")] = None,
    llm: Llm = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Answer as a table for a spreadsheet.")] = False,
) -> None:
    """Users who bought X also need ...: what a group of shoppers needs next, and how sure that is.

    Example: crossaisle probe -w shop "phones"
    """
    from ...data.workspace import Workspace
    from ..service import csv_export
    from ..terminal import render

    if question is None and plot is None:
        raise QueryError('there is nothing to answer: ask a question, as in `crossaisle probe -w shop "phones"`, or draw with --plot FILE')
    if as_json and as_csv:
        raise SettingsError("--json and --csv are two answers; take one")
    if against is not None and (epsilon is not None or question is None):
        raise QueryError("--against compares two exact questions; give the first one too, and no --epsilon")
    settings = settings_from(llm=llm, quantization=quantization, chroma=chroma)
    opened = Workspace(workspace)
    if plot is not None:
        from ...recommend.category_map.matrix import build_category_map
        from ..plots.category_map import draw

        draw(build_category_map(opened, settings, level=level, min_users=min_users), plot)
        print(f"drawn in {plot}", file=sys.stderr)
    if question is None:
        return
    from ...recommend.segments.probe import Probe
    from ...recommend.segments.query.filters import Filters

    asked = Probe.open(opened, settings=settings, min_users=min_users, budget=budget)
    narrowed = Filters(since, until, min_price, max_price, at_least, first_time, tuple(where or ()))
    if against is not None:
        compared = asked.compare(question, against, filters=narrowed, k=k, level=level)
        if as_json:
            print_json(compared.to_dict())
        elif as_csv:
            print(csv_export.comparison(compared), end="")
        else:
            render.print_comparison(console(), compared)
        return
    found = asked.ask(question, filters=narrowed, k=k, level=level, epsilon=epsilon, words=words)
    if as_json:
        print_json(found.to_dict())
    elif as_csv:
        print(csv_export.finding(found), end="")
    else:
        render.print_segment_result(console(), found)
