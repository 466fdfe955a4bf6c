"""The commands of what happens in the shop: events report, events compact, events forget-user."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...data.errors import SettingsError
from .options import AsJson, EventsUrl, Where, console, print_json, settings_with

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ...data.events import EventLog
    from ...data.workspace import Workspace

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What happened in the shop: report on it, fold it in, forget a user.")
ROWS = 12
"""Groups that are printed of each kind; --json has all."""


@app.command("report")
def report_outcomes(
    workspace: Where,
    window: Annotated[float, typer.Option(help="Days after a list within which a click or purchase is put down to it.")] = 7.0,
    since: Annotated[str | None, typer.Option(help="First day of the lists, as 2024-01-31.")] = None,
    basis: Annotated[
        str, typer.Option(help="served: all places of all lists; impressions: those that an impression says were seen.")
    ] = "served",
    share: Annotated[float, typer.Option(help="Share of the users who get B, as the experiment was set.")] = 0.5,
    events: EventsUrl = None,
    as_json: AsJson = False,
) -> None:
    """Click rate and conversion by channel, category pair, position and kind of reason, and A/B tests, with intervals.

    Example: crossaisle events report -w shop
    """
    from ...data.events.served_lists import ServedLists
    from ...eval.online import DAY_MS, online_report

    if not 0 < window <= 365:
        raise SettingsError(f"--window must be above 0 and at most 365 days, not {window:g}")
    if basis not in ("served", "impressions"):
        raise SettingsError(f"--basis is served or impressions, not {basis!r}")
    if not 0 < share < 1:
        raise SettingsError(f"--share must be above 0 and below 1, not {share:g}")
    first = _day(since) if since else 0
    with _opened(workspace, events) as (_, log):
        found = online_report(ServedLists.read(log, first), window=int(window * DAY_MS), basis=basis, b_share=share)  # type: ignore[arg-type]
    if as_json:
        print_json(found)
    else:
        _show(console(), found)


@app.command("compact")
def compact_events(
    workspace: Where,
    pseudonymise: Annotated[bool, typer.Option("--pseudonymise", help="Replace all user ids of the snapshot by a keyed hash.")] = False,
    events: EventsUrl = None,
    as_json: AsJson = False,
) -> None:
    """Folds the events into a new snapshot, which is then indexed and trained on. A kill at any moment loses and doubles nothing.

    Example: crossaisle events compact -w shop
    """
    from ...data.snapshots.compaction import compact
    from ..terminal import render
    from ..terminal.progress import bar

    with _opened(workspace, events) as (opened, log), bar() as tell:
        done = compact(opened, log, pseudonymise=pseudonymise, progress=tell)
    if as_json:
        print_json(done.to_dict())
        return
    render.figures(console(), f"{workspace}: folded", done.to_dict())
    _next(opened)


@app.command("forget-user")
def forget(
    workspace: Where,
    user: Annotated[str, typer.Argument(help="The user's id.")],
    reviews: Annotated[
        bool, typer.Option("--reviews", help="Remove the texts of the user's reviews, too, not only who wrote them.")
    ] = False,
    events: EventsUrl = None,
    as_json: AsJson = False,
) -> None:
    """Removes a person from events, served lists, snapshot and all that holds single histories; what was done is recorded without the id.

    Example: crossaisle events forget-user -w shop u42
    """
    from ...data.snapshots.erasure import forget_user
    from ..terminal import render

    with _opened(workspace, events) as (opened, log):
        done = forget_user(opened, log, user, reviews=reviews)
    if as_json:
        print_json(done.to_dict())
        return
    render.figures(console(), f"{workspace}: forgotten", done.to_dict())
    _next(opened)


@contextmanager
def _opened(workspace: Any, url: str | None) -> Iterator[tuple[Workspace, EventLog]]:
    """A workspace and its log."""
    from ...data.events import EventLog
    from ...data.workspace import Workspace

    settings, opened = settings_with(events=url), Workspace(workspace)
    log = EventLog.open(opened, settings.events, key=settings.pseudonym_key)
    try:
        yield opened, log
    finally:
        log.close()


def _next(workspace: Workspace) -> None:
    """Says what is to be built anew, where the index is of another snapshot."""
    if (workspace.manifest.index or {}).get("snapshot") != workspace.manifest.snapshot:
        console().print(f"the associations are of the snapshot before; next: crossaisle index -w {workspace.path}")


def _day(text: str) -> int:
    try:
        return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp() * 1000)
    except ValueError:
        raise SettingsError(f"--since wants a day as 2024-01-31, not {text!r}") from None


# ------------------------------------------------------------------ for a person


def _show(screen: Console, found: Mapping[str, Any]) -> None:
    from rich.text import Text

    from ..terminal.render import heading, plain

    if not found["places"]:
        screen.print("no list was served in this time; `crossaisle serve` records each one that it gives")
        return
    screen.print(
        f"{found['lists']:,} lists, {found['places']:,} places, {found['users']:,} users; an answer counts within "
        f"{found['window_days']:g} days, {found['lists_within_window']:,} lists are younger than that"
    )
    for reason, count in found["unattributed"].items():
        screen.print(Text(f"not counted: {count:,} {plain(reason)}", style="dim"))
    screen.print(_table("", [("all", found["overall"])]))
    for name, title in (("by_channel", "channel"), ("by_position", "position"), ("by_explanation", "rests on"), ("by_pair", "from › to")):
        rows = found[name]
        screen.print(heading(title))
        screen.print(_table(title, [(_name(row), row) for row in rows[:ROWS]]))
        if len(rows) > ROWS:
            screen.print(Text(f"{len(rows) - ROWS} more with --json", style="dim"))
    for one in found["experiments"]:
        screen.print(heading(f"experiment {plain(one['name'])}"))
        screen.print(_table("arm", list(one["arms"].items())))
        for what in ("clicked", "bought"):
            told = one[what]
            screen.print(
                f"{what}: B - A {_interval(told['difference'], sign=True)} of {sum(told['users'].values()):,} users: {told['verdict']}"
            )
        split = one["share_of_b"]
        if split["p"] is not None and split["p"] < 0.001:
            screen.print(
                Text(f"B got {split['found']:.1%} of the users, not {split['wanted']:.0%}: arms are not given by lot", style="red")
            )
        screen.print(Text(f"rule: {one['rule']}", style="dim"))


def _table(title: str, rows: list[tuple[str, Mapping[str, Any]]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from ..terminal.render import plain

    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column(title, overflow="fold", min_width=14)
    for name in ("places", "clicks", "CTR (95 %)", "bought", "bought (95 %)"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one in rows:
        figures = f"{one['places']:,}", f"{one['clicks']:,}", _interval(one["ctr"]), f"{one['purchases']:,}", _interval(one["conversion"])
        table.add_row(Text(plain(name)), *figures)
    return table


def _name(row: Mapping[str, Any]) -> str:
    keys = [name for name in ("channel", "source", "target", "position", "explanation") if name in row]
    return " › ".join("-" if row[name] is None else str(row[name]) for name in keys)


def _interval(told: Mapping[str, float | None], *, sign: bool = False) -> str:
    value, low, high = (told[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "-"
    places = 1 if max(abs(low), abs(high)) >= 0.2 else 2
    mark = "+" if sign else ""
    bounds = (f"{100 * bound:{mark}.{places}f}" for bound in (low, high))
    return f"{value:{mark}.{places}%} ({' to '.join(bounds)})"
