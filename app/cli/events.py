"""The commands for the event log: events report, events compact, events forget-user."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...data.errors import SettingsError
from ...data.store_words import StoreWords
from .options import AsJson, EventsUrl, WorkspacePath, console, print_json, settings_from

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ...data.events import EventLog
    from ...data.workspace import Workspace

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Events of shoppers: report outcomes, compact into a snapshot, forget a user."
)
MAX_ROWS = 12
"""Groups printed per table; --json has all."""


@app.command("report")
def report_outcomes(
    workspace: WorkspacePath,
    window: Annotated[
        float, typer.Option(help="Attribution window: days after a list within which a click or purchase counts for it.")
    ] = 7.0,
    since: Annotated[str | None, typer.Option(help="First day of the lists, such as 2024-01-31.")] = None,
    basis: Annotated[
        str,
        typer.Option(help="Denominator of the rates. served: all positions of all lists; impressions: positions with an impression event."),
    ] = "served",
    share: Annotated[float, typer.Option(help="Share of users assigned to B in the A/B test.")] = 0.5,
    events: EventsUrl = None,
    as_json: AsJson = False,
) -> None:
    """Report click-through and conversion rates by channel, category pair, position and kind of evidence, and A/B tests.

    Example: crossaisle events report -w shop
    """
    from ...data.events.served_lists import ServedLists
    from ...eval.online import DAY_MS, online_report

    if not 0 < window <= 365:
        raise SettingsError(f"--window must be above 0 and at most 365 days, not {window:g}")
    if basis not in ("served", "impressions"):
        raise SettingsError(f"--basis must be served or impressions, not {basis!r}")
    if not 0 < share < 1:
        raise SettingsError(f"--share must be above 0 and below 1, not {share:g}")
    first = _milliseconds(since) if since else 0
    with _open_log(workspace, events) as (opened, log):
        words = opened.manifest.words
        report = online_report(ServedLists.read(log, first), window=int(window * DAY_MS), basis=basis, b_share=share)  # type: ignore[arg-type]
    if as_json:
        print_json(report)
    else:
        _print_outcomes(console(), report, words)


@app.command("compact")
def compact_events(
    workspace: WorkspacePath,
    pseudonymise: Annotated[bool, typer.Option("--pseudonymise", help="Replace all user ids of the snapshot by keyed hashes.")] = False,
    events: EventsUrl = None,
    as_json: AsJson = False,
) -> None:
    """Merge the events into a new snapshot, to be indexed and trained on. Interrupting it neither loses nor duplicates events.

    Example: crossaisle events compact -w shop
    """
    from ...data.snapshots.compaction import compact
    from ..terminal import render
    from ..terminal.progress import progress_bar

    with _open_log(workspace, events) as (opened, log), progress_bar() as progress:
        summary = compact(opened, log, pseudonymise=pseudonymise, progress=progress)
    if as_json:
        print_json(summary.to_dict())
        return
    render.print_summary(console(), f"{workspace}: compacted", summary.to_dict())
    _print_next_step(opened)


@app.command("forget-user")
def forget(
    workspace: WorkspacePath,
    user: Annotated[str, typer.Argument(help="Id of the user.")],
    reviews: Annotated[bool, typer.Option("--reviews", help="Remove the texts of the user's reviews too, not only their author.")] = False,
    events: EventsUrl = None,
    as_json: AsJson = False,
) -> None:
    """Remove a user from events, served lists, snapshot and models that contain single histories; logs the removal without the id.

    Example: crossaisle events forget-user -w shop u42
    """
    from ...data.snapshots.erasure import forget_user
    from ..terminal import render

    with _open_log(workspace, events) as (opened, log):
        summary = forget_user(opened, log, user, reviews=reviews)
    if as_json:
        print_json(summary.to_dict())
        return
    render.print_summary(console(), f"{workspace}: forgotten", summary.to_dict())
    _print_next_step(opened)


@contextmanager
def _open_log(workspace: Any, url: str | None) -> Iterator[tuple[Workspace, EventLog]]:
    """The workspace and its event log, which is closed afterwards."""
    from ...data.events import EventLog
    from ...data.workspace import Workspace

    settings, opened = settings_from(events=url), Workspace(workspace)
    log = EventLog.open(opened, settings.events, key=settings.pseudonym_key)
    try:
        yield opened, log
    finally:
        log.close()


def _print_next_step(workspace: Workspace) -> None:
    """Print the command that rebuilds the index if it belongs to an earlier snapshot."""
    if (workspace.manifest.index or {}).get("snapshot") != workspace.manifest.snapshot:
        console().print(f"the index belongs to an earlier snapshot; next: crossaisle index -w {workspace.path}")


def _milliseconds(text: str) -> int:
    try:
        return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp() * 1000)
    except ValueError:
        raise SettingsError(f"--since must be a day such as 2024-01-31, not {text!r}") from None


# ------------------------------------------------------------------ terminal output


def _print_outcomes(screen: Console, report: Mapping[str, Any], words: StoreWords) -> None:
    """Print the report of `online_report` as tables."""
    from rich.text import Text

    from ..terminal.render import heading, printable

    if not report["places"]:
        screen.print("no list was served in this period; `crossaisle serve` logs each list that it serves")
        return
    screen.print(
        f"{report['lists']:,} lists, {report['places']:,} positions, {report['users']:,} {words.people}; attribution window "
        f"{report['window_days']:g} days, {report['lists_within_window']:,} lists are more recent than that"
    )
    for reason, count in report["unattributed"].items():
        screen.print(Text(f"not counted: {count:,} {printable(reason)}", style="dim"))
    screen.print(_table("", [("all", report["overall"])], words))
    for name, title in (("by_channel", "channel"), ("by_position", "position"), ("by_explanation", "evidence"), ("by_pair", "from › to")):
        rows = report[name]
        screen.print(heading(title))
        screen.print(_table(title, [(_row_name(row), row) for row in rows[:MAX_ROWS]], words))
        if len(rows) > MAX_ROWS:
            screen.print(Text(f"{len(rows) - MAX_ROWS} more with --json", style="dim"))
    for experiment in report["experiments"]:
        _print_experiment(screen, experiment, words)


def _print_experiment(screen: Console, experiment: Mapping[str, Any], words: StoreWords) -> None:
    """Print the outcomes of both arms of an A/B test, their differences, and a warning about a wrong split of the users."""
    from rich.text import Text

    from ..terminal.render import heading, printable

    screen.print(heading(f"experiment {printable(experiment['name'])}"))
    screen.print(_table("arm", list(experiment["arms"].items()), words))
    for outcome, label in (("clicked", "clicked"), ("bought", words.past)):
        comparison = experiment[outcome]
        difference, users = _percent_interval(comparison["difference"], sign=True), sum(comparison["users"].values())
        screen.print(f"{label}: B - A {difference} of {users:,} {words.people}: {comparison['verdict']}")
    split = experiment["share_of_b"]
    if split["p"] is not None and split["p"] < 0.001:
        message = f"B got {split['found']:.1%} of the {words.people}, not {split['wanted']:.0%}: the assignment to arms is not random"
        screen.print(Text(message, style="red"))
    screen.print(Text(f"rule: {experiment['rule']}", style="dim"))


def _table(title: str, rows: list[tuple[str, Mapping[str, Any]]], words: StoreWords) -> Table:
    """A table of groups with their clicks, purchases and rates."""
    from rich.table import Table
    from rich.text import Text

    from ..terminal.render import printable

    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column(title, overflow="fold", min_width=14)
    for name in ("positions", "clicks", "CTR (95 %)", words.past, f"{words.past} (95 %)"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, group in rows:
        clicks = f"{group['clicks']:,}", _percent_interval(group["ctr"])
        purchases = f"{group['purchases']:,}", _percent_interval(group["conversion"])
        table.add_row(Text(printable(name)), f"{group['places']:,}", *clicks, *purchases)
    return table


def _row_name(row: Mapping[str, Any]) -> str:
    keys = [name for name in ("channel", "source", "target", "position", "explanation") if name in row]
    return " › ".join("-" if row[name] is None else str(row[name]) for name in keys)


def _percent_interval(estimate: Mapping[str, float | None], *, sign: bool = False) -> str:
    """A rate with its interval, in per cent; with two decimals if it is small."""
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "-"
    decimals = 1 if max(abs(low), abs(high)) >= 0.2 else 2
    mark = "+" if sign else ""
    bounds = (f"{100 * bound:{mark}.{decimals}f}" for bound in (low, high))
    return f"{value:{mark}.{decimals}%} ({' to '.join(bounds)})"
