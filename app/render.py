"""What a person sees in the terminal: recommendations, reports, and the demo's story.

Strangers' text goes to the screen as plain text objects, never as markup, without control characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..data.records import Association, Item, Recommendations

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def plain(text: str) -> str:
    """The text without what could move the cursor or hide something."""
    return "".join(c for c in text if unicodedata.category(c)[0] != "C")


def recommendations(console: Console, answer: Recommendations, history: Sequence[Item] = ()) -> None:
    """Prints an answer: the history it came from, then each item with its reason."""
    from rich.table import Table
    from rich.text import Text

    if history:
        names = list(dict.fromkeys(plain(item.title or item.item_id)[:48] for item in history))
        console.print(Text("Goes by: " + "; ".join(names[-5:]), style="dim"))
    if answer.query.text:
        console.print(Text("Says: ", style="dim") + Text(plain(answer.query.text)[:200], style="dim"))
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for found in answer.items:
        title = Text(plain(found.item.title), style="bold")
        where = Text(" › ".join(plain(name) for name in found.item.category), style="cyan")
        price = Text(f"  {found.item.price:,.2f}" if found.item.price is not None else "", style="green")
        table.add_row(str(found.rank), title)
        table.add_row("", where + price + Text(f"  {plain(found.item.item_id)}", style="dim"))
        if found.explanation and found.explanation.text:
            table.add_row("", Text(plain(found.explanation.text)))
        elif found.explanation:
            table.add_row("", Text("no reason strong enough to state", style="dim italic"))
        table.add_row("", "")
    console.print(table)
    for line in answer.unsatisfied:
        console.print(Text(line, style="yellow"))
    if answer.timings_ms:
        console.print(Text("  ".join(f"{stage} {ms / 1000:.2f} s" for stage, ms in answer.timings_ms.items()), style="dim"))


def needs(console: Console, source: str, found: Sequence[Association]) -> None:
    """Prints "shoppers who bought X also need ...": category pairs with their figures."""
    from rich.table import Table
    from rich.text import Text

    if not found:
        console.print(Text(f"too few shoppers of {plain(source)} bought anything else to say what they need"))
        return
    shoppers = found[0].source_users
    table = Table(
        box=None,
        header_style="dim",
        padding=(0, 2, 0, 0),
        title=f"Shoppers who bought {plain(source)} ({shoppers}) also need",
        title_justify="left",
    )
    for heading in ("category", "shoppers", "share", "of everybody", "lift"):
        table.add_column(heading, justify="left" if heading == "category" else "right")
    for pair in found:
        everybody = pair.target_users / pair.users
        table.add_row(Text(plain(pair.target)), str(pair.support), f"{pair.confidence:.0%}", f"{everybody:.0%}", f"{pair.lift:.2f}")
    console.print(table)


def figures(console: Console, title: str, values: Mapping[str, Any]) -> None:
    """Prints a report: one figure a line; nested mappings one level in."""
    from rich.text import Text

    console.print(Text(title, style="bold"))
    for name, value in values.items():
        if isinstance(value, Mapping):
            for inner, count in value.items():
                console.print(Text(f"  {inner}: {_figure(count)}", style="yellow"))
        else:
            console.print(Text(f"  {name.replace('_', ' ')}: {_figure(value)}"))


def heading(text: str) -> RenderableType:
    """A line that parts the demo's chapters."""
    from rich.rule import Rule

    return Rule(text, align="left", style="dim")


def _figure(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
