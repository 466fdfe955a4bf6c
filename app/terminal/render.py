"""What a person sees in the terminal: recommendations, reports, and the demo's story.

Strangers' text goes to the screen as plain text objects, never as markup, without control characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...data.records import Item, Recommendations

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from ...recommend.attribution.feature_contributions import ScoreBreakdown
    from ...recommend.attribution.why import Why
    from ...recommend.segments.results import CohortComparison, SegmentResult


def printable(text: str) -> str:
    """The text without what could move the cursor or hide something."""
    return "".join(c for c in text if unicodedata.category(c)[0] != "C")


def print_recommendations(console: Console, answer: Recommendations, history: Sequence[Item] = ()) -> None:
    """Prints an answer: the history it came from, then each item with its reason."""
    from rich.table import Table
    from rich.text import Text

    if history:
        names = list(dict.fromkeys(printable(item.title or item.item_id)[:48] for item in history))
        console.print(Text("Goes by: " + "; ".join(names[-5:]), style="dim"))
    if answer.query.text:
        console.print(Text("Says: ", style="dim") + Text(printable(answer.query.text)[:200], style="dim"))
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for found in answer.items:
        title = Text(printable(found.item.title), style="bold")
        where = Text(" › ".join(printable(name) for name in found.item.category), style="cyan")
        price = Text(f"  {found.item.price:,.2f}" if found.item.price is not None else "", style="green")
        table.add_row(str(found.rank), title)
        table.add_row("", where + price + Text(f"  {printable(found.item.item_id)}", style="dim"))
        if found.explanation and found.explanation.text:
            table.add_row("", Text("\n".join(printable(line) for line in found.explanation.text.split("\n"))))
        elif found.explanation:
            table.add_row("", Text("no reason strong enough to state", style="dim italic"))
        table.add_row("", "")
    console.print(table)
    for line in answer.unsatisfied:
        console.print(Text(line, style="yellow"))
    if answer.timings_ms:
        console.print(Text("  ".join(f"{stage} {ms / 1000:.2f} s" for stage, ms in answer.timings_ms.items()), style="dim"))


def print_why(console: Console, found: Why) -> None:
    """Prints why an item is recommended, or why not: rank, rule, what would change it, what each channel says and the features add."""
    from rich.text import Text

    title = Text(printable(found.item.title or found.item.item_id), style="bold")
    console.print(title + Text("  " + " › ".join(printable(name) for name in found.item.category), style="cyan"))
    if found.left_out:
        console.print(Text(f"not recommended: {printable(' and '.join(found.removed_by))}", style="yellow"))
    elif found.rank is None:
        console.print(
            Text(f"not recommended: no channel has it among its best; {found.of:,} other candidates were ordered", style="yellow")
        )
    else:
        console.print(Text(f"rank {found.rank:,} of {found.of:,} candidates, score {found.score:.2f} ({found.blend})"))
    if found.anchor:
        console.print(Text(f"behind it stands: {printable(found.anchor.title or found.anchor.item_id)}"))
    if found.attention:
        looked = "; ".join(f"{printable(item.title or item.item_id)[:48]} {share:.0%}" for item, share in found.attention)
        console.print(Text("the graph looks at: ", style="dim") + Text(looked))
    for one in found.counterfactuals:
        console.print(Text("• " + printable(one.sentence)) + Text(f"  {printable(one.options)}", style="dim"))
    for note in found.notes:
        console.print(Text(printable(note), style="yellow"))
    if found.channels:
        console.print(_channels_table(found))
    if found.features:
        console.print(_contributions_table(found.features))


def _channels_table(found: Why) -> RenderableType:
    """A line a channel."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("channel")
    for name in ("score", "rank", "adds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for name, one in found.channels.items():
        table.add_row(name, f"{one.score:.3g}" if one.score else "", f"{one.rank:,}" if one.rank else "", *_adds(one.contribution))
    return table


def _contributions_table(told: ScoreBreakdown) -> RenderableType:
    """The strongest features a line each, then what the others add, and the sum."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("feature", overflow="fold")
    for name in ("value", "adds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for one in told.strongest:
        table.add_row(one.label, one.formatted_value, *_adds(one.contribution))
    if told.others:
        table.add_row(Text(f"{told.others} others together", style="dim"), "", *_adds(told.rest))
    if told.base:
        table.add_row(Text("an average candidate", style="dim"), "", *_adds(told.base))
    table.add_row(Text("in all; the score is 1 / (1 + exp(-sum))", style="dim"), "", Text(f"{told.total:+.2f}", style="bold"), "")
    return table


def _adds(adds: float | None) -> tuple[Text, Text]:
    """What is added, as a number and as a bar; both empty for None."""
    from rich.text import Text

    if adds is None:
        return Text(""), Text("")
    style = "green" if adds > 0 else "red"
    return Text(f"{adds:+.2f}", style), Text("▊" * min(12, round(abs(adds) * 4)), style)


def print_profile(console: Console, told: Mapping[str, Any]) -> None:
    """Prints a profile: words for what is known, bars for shares."""
    from rich.table import Table
    from rich.text import Text

    console.print(Text(printable(told["words"]), style="bold"))
    for name in ("categories", "brands"):
        shares = told[name]
        if not shares:
            continue
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, title=name, title_justify="left", title_style="dim")
        table.add_column(no_wrap=True, max_width=44, overflow="ellipsis")
        table.add_column(no_wrap=True)
        table.add_column(justify="right")
        most = shares[0]["share"]
        for one in shares:
            table.add_row(
                Text(printable(one["name"])), Text("█" * max(1, round(24 * one["share"] / most)), style="cyan"), f"{one['share']:.0%}"
            )
        console.print(table)
    for name, label in (("leans_to", "leans to"), ("intent", "last visit"), ("searched", "searched")):
        if told[name]:
            console.print(Text(f"{label}: ", style="dim") + Text("; ".join(printable(title)[:60] for title in told[name])))


def print_segment_result(console: Console, found: SegmentResult) -> None:
    """Prints a probe's answer: what was understood, who that is, a table of the needs, and their sentences."""
    from rich.table import Table
    from rich.text import Text

    for one in found.understood:
        name = one["name"] if isinstance(one["name"], str) else " › ".join(one["name"])
        console.print(Text(f"{'not ' if one.get('not') else ''}{one['kind']}: {printable(name)} ({one['items']:,} items)", style="dim"))
    before = found.direction == "reverse"
    console.print(Text(f"{found.cohort:,} of {found.of:,} users {found.verb} {'it' if before else 'that'}", style="bold"))
    if found.needs:
        table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
        heads = ("who would need it" if before else "they also need", "users", "share", "usual", "times (95 %)", "reach", "days", "from")
        for heading in heads:
            table.add_column(heading, justify="left" if heading in (heads[0], "from") else "right", overflow="fold")
        for need in found.needs:
            between = (
                f"{need.lift:.1f} ({need.lift_interval[0]:.1f} to {need.lift_interval[1]:.1f})" if need.lift and need.lift_interval else "-"
            )
            table.add_row(
                Text(printable(need.category[-1]), style="bold")
                + Text(f"  {printable(need.category[-2])}" if len(need.category) > 1 else "", style="dim"),
                "-" if need.users is None else f"{need.users:,} of {need.of:,}",
                "-" if need.share is None else f"{need.share:.0%}",
                "-" if need.base_rate is None else f"{need.base_rate:.1%}",
                between,
                "-" if need.reach is None else f"{need.reach:,}",
                "-" if need.median_days is None else f"{need.median_days:.0f}",
                " + ".join(need.sources),
            )
        console.print(table)
        for need in found.needs:
            if need.sentence:
                console.print(Text("• " + printable(need.sentence)))
            if need.items:
                names = [
                    printable(item.title) + (f" ({item.users:,}; {item.lift:.1f} times)" if item.users and item.lift else "")
                    for item in need.items
                ]
                console.print(Text("  e.g. " + "; ".join(names), style="dim"))
    if found.suppressed:
        console.print(
            Text(f"{found.suppressed} more left out: fewer than {found.privacy['min_users']} users would be told of", style="dim")
        )
    if found.privacy.get("epsilon") is not None:
        console.print(Text(f"privacy budget: {found.privacy['spent']:g} spent, {found.privacy['left']:g} left", style="dim"))
    for note in found.notes:
        console.print(Text(printable(note), style="yellow"))


def print_comparison(console: Console, compared: CohortComparison) -> None:
    """Prints where two cohorts differ."""
    from rich.table import Table
    from rich.text import Text

    one, other = compared.cohorts
    console.print(
        Text(f"{printable(one.question)}: {one.cohort:,} users    {printable(other.question)}: {other.cohort:,} users", style="bold")
    )
    if not compared.differences:
        console.print(Text("no category is gone on to more often by the one than by the other, beyond chance", style="yellow"))
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("category", printable(one.question), printable(other.question), "times (95 %)"):
        table.add_column(heading, justify="left" if heading == "category" else "right", overflow="fold")
    for found in compared.differences:
        low, high = found.ratio_interval
        name = Text(printable(" › ".join(found.category)), style="bold")
        table.add_row(name, f"{found.share[0]:.0%}", f"{found.share[1]:.0%}", f"{found.ratio:.1f} ({low:.1f} to {high:.1f})")
    console.print(table)


def print_report(console: Console, title: str, values: Mapping[str, Any]) -> None:
    """Prints a report: one figure a line; nested mappings one level in."""
    from rich.text import Text

    console.print(Text(title, style="bold"))
    for name, value in values.items():
        if isinstance(value, Mapping):
            for inner, count in value.items():
                console.print(Text(f"  {inner}: {_number(count)}", style="yellow"))
        else:
            console.print(Text(f"  {name.replace('_', ' ')}: {_number(value)}"))


def heading(text: str) -> RenderableType:
    """A line that parts the demo's chapters."""
    from rich.rule import Rule

    return Rule(text, align="left", style="dim")


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
