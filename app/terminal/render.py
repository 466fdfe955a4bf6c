"""Terminal output for people: recommendations, explanations of one item, profiles, segment results and summaries.

Untrusted text is printed as plain text objects without control characters, never as markup.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...data.records import Item, Recommendations
from ...data.store_words import DEFAULT_WORDS, StoreWords

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from ...recommend.attribution.feature_contributions import ScoreBreakdown
    from ...recommend.attribution.why import Why
    from ...recommend.segments.results import CategoryNeed, CohortComparison, SegmentResult


def printable(text: str) -> str:
    """Return the text without control and formatting characters, which could move the cursor or hide something."""
    return "".join(c for c in text if unicodedata.category(c)[0] != "C")


def print_recommendations(console: Console, result: Recommendations, history: Sequence[Item] = ()) -> None:
    """Print ranked items with their explanations, preceded by the history that they are based on."""
    from rich.table import Table
    from rich.text import Text

    if history:
        titles = list(dict.fromkeys(printable(item.title or item.item_id)[:48] for item in history))
        console.print(Text("Based on: " + "; ".join(titles[-5:]), style="dim"))
    if result.query.text:
        console.print(Text("Text: ", style="dim") + Text(printable(result.query.text)[:200], style="dim"))
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for recommendation in result.items:
        item, explanation = recommendation.item, recommendation.explanation
        category = Text(" › ".join(printable(name) for name in item.category), style="cyan")
        price = Text(f"  {item.price:,.2f}" if item.price is not None else "", style="green")
        table.add_row(str(recommendation.rank), Text(printable(item.title), style="bold"))
        table.add_row("", category + price + Text(f"  {printable(item.item_id)}", style="dim"))
        if explanation and explanation.text:
            table.add_row("", Text("\n".join(printable(line) for line in explanation.text.split("\n"))))
            if copy := explanation.customer_copy:
                texts = {"subject": copy.subject, "line": copy.line, "picture": copy.alternative_text}
                table.add_row("", Text("\n".join(f"{name}: {printable(text)}" for name, text in texts.items()), style="dim"))
        elif explanation:
            table.add_row("", Text("no reason strong enough to state", style="dim italic"))
        table.add_row("", "")
    console.print(table)
    for sentence in result.unsatisfied:
        console.print(Text(sentence, style="yellow"))
    if result.llm is not None:
        console.print(Text(printable(result.llm.summary), style="dim"))
    if result.timings_ms:
        console.print(Text("  ".join(f"{stage} {ms / 1000:.2f} s" for stage, ms in result.timings_ms.items()), style="dim"))


def print_why(console: Console, why: Why) -> None:
    """Print why an item is recommended or not: rank, deciding rule, counterfactuals, channels and feature contributions."""
    from rich.text import Text

    title = Text(printable(why.item.title or why.item.item_id), style="bold")
    console.print(title + Text("  " + " › ".join(printable(name) for name in why.item.category), style="cyan"))
    if why.left_out:
        console.print(Text(f"not recommended: {printable(' and '.join(why.removed_by))}", style="yellow"))
    elif why.rank is None:
        message = f"not recommended: not among the top candidates of any channel; {why.of:,} other candidates were ranked"
        console.print(Text(message, style="yellow"))
    else:
        console.print(Text(f"rank {why.rank:,} of {why.of:,} candidates, score {why.score:.2f} ({why.blend})"))
    if why.anchor:
        console.print(Text(f"based on: {printable(why.anchor.title or why.anchor.item_id)}"))
    if why.attention:
        attended = "; ".join(f"{printable(item.title or item.item_id)[:48]} {share:.0%}" for item, share in why.attention)
        console.print(Text("attention of the graph model: ", style="dim") + Text(attended))
    for counterfactual in why.counterfactuals:
        console.print(Text("• " + printable(counterfactual.sentence)) + Text(f"  {printable(counterfactual.options)}", style="dim"))
    for note in why.notes:
        console.print(Text(printable(note), style="yellow"))
    if why.channels:
        console.print(_channels_table(why))
    if why.features:
        console.print(_contributions_table(why.features))


def _channels_table(why: Why) -> RenderableType:
    """Score, rank and contribution of each channel."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("channel")
    for name in ("score", "rank", "adds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for name, channel in why.channels.items():
        score, rank = f"{channel.score:.3g}" if channel.score else "", f"{channel.rank:,}" if channel.rank else ""
        table.add_row(name, score, rank, *_contribution_cells(channel.contribution))
    return table


def _contributions_table(breakdown: ScoreBreakdown) -> RenderableType:
    """The contribution of each of the strongest features, of all others together, and the sum."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("feature", overflow="fold")
    for name in ("value", "adds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for feature in breakdown.strongest:
        table.add_row(feature.label, feature.formatted_value, *_contribution_cells(feature.contribution))
    if breakdown.others:
        table.add_row(Text(f"{breakdown.others} others together", style="dim"), "", *_contribution_cells(breakdown.rest))
    if breakdown.base:
        table.add_row(Text("an average candidate", style="dim"), "", *_contribution_cells(breakdown.base))
    table.add_row(Text("in all; the score is 1 / (1 + exp(-sum))", style="dim"), "", Text(f"{breakdown.total:+.2f}", style="bold"), "")
    return table


def _contribution_cells(contribution: float | None) -> tuple[Text, Text]:
    """A contribution as a number and as a bar; both empty for None."""
    from rich.text import Text

    if contribution is None:
        return Text(""), Text("")
    style = "green" if contribution > 0 else "red"
    return Text(f"{contribution:+.2f}", style), Text("▊" * min(12, round(abs(contribution) * 4)), style)


def print_profile(console: Console, profile: Mapping[str, Any]) -> None:
    """Print the profile of a shopper as JSON has it: a summary, and the shares of categories and brands as bars."""
    from rich.table import Table
    from rich.text import Text

    console.print(Text(printable(profile["words"]), style="bold"))
    for name in ("categories", "brands"):
        shares = profile[name]
        if not shares:
            continue
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, title=name, title_justify="left", title_style="dim")
        table.add_column(no_wrap=True, max_width=44, overflow="ellipsis")
        table.add_column(no_wrap=True)
        table.add_column(justify="right")
        largest = shares[0]["share"]
        for entry in shares:
            bar = Text("█" * max(1, round(24 * entry["share"] / largest)), style="cyan")
            table.add_row(Text(printable(entry["name"])), bar, f"{entry['share']:.0%}")
        console.print(table)
    for name, label in (("leans_to", "leans to"), ("intent", "last visit"), ("searched", "searched")):
        if profile[name]:
            console.print(Text(f"{label}: ", style="dim") + Text("; ".join(printable(title)[:60] for title in profile[name])))


def print_segment_result(console: Console, result: SegmentResult) -> None:
    """Print a segment result: the interpretation of the question, the cohort, a table of its needs, and a sentence for each need."""
    from rich.text import Text

    words = result.words
    for meaning in result.understood:
        name = meaning["name"] if isinstance(meaning["name"], str) else " › ".join(meaning["name"])
        kind = words.item if meaning["kind"] == "item" else meaning["kind"]
        negation = "not " if meaning.get("not") else ""
        console.print(Text(f"{negation}{kind}: {printable(name)} ({meaning['items']:,} {words.items})", style="dim"))
    is_reverse = result.direction == "reverse"
    console.print(Text(f"{result.cohort:,} of {result.of:,} {words.people} {result.verb} {'it' if is_reverse else 'that'}", style="bold"))
    if result.needs:
        console.print(_needs_table(result.needs, "who would need it" if is_reverse else "they also need", words))
        for need in result.needs:
            if need.sentence:
                console.print(Text("• " + printable(need.sentence)))
            if need.items:
                names = [
                    printable(item.title) + (f" ({item.users:,}; {item.lift:.1f} times)" if item.users and item.lift else "")
                    for item in need.items
                ]
                console.print(Text("  e.g. " + "; ".join(names), style="dim"))
    if result.suppressed:
        console.print(Text(f"{result.suppressed} more left out: fewer than {result.privacy['min_users']} {words.people}", style="dim"))
    if result.privacy.get("epsilon") is not None:
        console.print(Text(f"privacy budget: {result.privacy['spent']:g} spent, {result.privacy['left']:g} left", style="dim"))
    for note in result.notes:
        console.print(Text(printable(note), style="yellow"))


def _needs_table(needs: Sequence[CategoryNeed], title: str, words: StoreWords) -> RenderableType:
    """The statistics of each need; `-` for those that are not known."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in (title, words.people, "share", "usual", "times (95 %)", "reach", "days", "from"):
        table.add_column(name, justify="left" if name in (title, "from") else "right", overflow="fold")
    for need in needs:
        parent = Text(f"  {printable(need.category[-2])}" if len(need.category) > 1 else "", style="dim")
        table.add_row(
            Text(printable(need.category[-1]), style="bold") + parent,
            "-" if need.users is None else f"{need.users:,} of {need.of:,}",
            "-" if need.share is None else f"{need.share:.0%}",
            "-" if need.base_rate is None else f"{need.base_rate:.1%}",
            f"{need.lift:.1f} ({need.lift_interval[0]:.1f} to {need.lift_interval[1]:.1f})" if need.lift and need.lift_interval else "-",
            "-" if need.reach is None else f"{need.reach:,}",
            "-" if need.median_days is None else f"{need.median_days:.0f}",
            " + ".join(need.sources),
        )
    return table


def print_comparison(console: Console, comparison: CohortComparison) -> None:
    """Print the categories in which two cohorts differ."""
    from rich.table import Table
    from rich.text import Text

    first, second = comparison.cohorts
    sizes = [f"{printable(cohort.question)}: {cohort.cohort:,} {cohort.words.people}" for cohort in (first, second)]
    console.print(Text("    ".join(sizes), style="bold"))
    if not comparison.differences:
        console.print(Text("the groups do not differ significantly in any category", style="yellow"))
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("category", printable(first.question), printable(second.question), "times (95 %)"):
        table.add_column(name, justify="left" if name == "category" else "right", overflow="fold")
    for difference in comparison.differences:
        low, high = difference.ratio_interval
        category = Text(printable(" › ".join(difference.category)), style="bold")
        ratio = f"{difference.ratio:.1f} ({low:.1f} to {high:.1f})"
        table.add_row(category, f"{difference.share[0]:.0%}", f"{difference.share[1]:.0%}", ratio)
    console.print(table)


def print_summary(console: Console, title: str, values: Mapping[str, Any], words: StoreWords = DEFAULT_WORDS) -> None:
    """Print the summary of a command: one value a line, with the entries of nested mappings below.

    Args:
        console: Where to print.
        title: First line.
        values: Label to value.
        words: The store's words for the labels `items` and `users`.
    """
    from rich.text import Text

    console.print(Text(title, style="bold"))
    for name, value in values.items():
        if isinstance(value, Mapping):
            for key, count in value.items():
                console.print(Text(f"  {key}: {_number(count)}", style="yellow"))
        else:
            label = {"items": words.items, "users": words.people}.get(name, name.replace("_", " "))
            console.print(Text(f"  {label}: {_number(value)}"))


def heading(text: str) -> RenderableType:
    """A heading with a rule."""
    from rich.rule import Rule

    return Rule(text, align="left", style="dim")


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
