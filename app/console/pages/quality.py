"""The page that says how good it is and what it is made of: health, what was built when, evaluation, judges, and clicks by day.

A report is a file that another version may have written: one that cannot be read in full says so in its own part of the page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...service.click_through import daily_click_through
from ..widgets.click_chart import clicks
from ..widgets.elements import blank, box, notice, say, table
from ..widgets.report_summaries import evaluation, judges

if TYPE_CHECKING:
    from ..widgets.async_panel import Counter

MADE = {
    "snapshot": "The store's data",
    "index": "Vectors and associations",
    "graph": "Graph model",
    "complements": "Complement model",
    "factors": "Factors of who had what",
    "blend": "Learned order",
    "adapter": "Language model's ranking",
    "explainer": "Language model's wording",
}


def quality_page(counter: Counter) -> None:
    """Draws the page; reports and clicks come when they are read."""
    from nicegui import ui

    from ..widgets.async_panel import Place

    say("h1", "How good is it?")
    say("p", "What was measured, what shoppers clicked, and what was built when.", "lead")
    about = Place(counter, 84, 200, 300, classes="section", waiting=True)
    shown = Place(counter, 300, classes="section", waiting=True)

    async def load() -> None:
        await about.fill(counter.shop.quality, _about)
        log = counter.shop.log
        await shown.fill(lambda: daily_click_through(log, time.time_ns() // 1_000_000), clicks)

    ui.timer(0, load, once=True)


def _about(found: Mapping[str, Any]) -> None:
    health = found["health"]
    tiles = (
        ("OK" if health["status"] == "ok" else health["status"], "health"),
        (f"{health['items']:,}", f"{health['item_noun']}s"),
        (f"{health['users']:,}", "shoppers"),
        ("trained" if health["trained"] else "not trained", "on this store's shoppers"),
        (health["llm"], "language model"),
        (_duration(health["uptime_seconds"]), f"running, version {health['version']}"),
    )
    with box("div", "tiles"):
        for value, name in tiles:
            with box("div", "tile"):
                say("strong", value)
                say("span", name)
    with box("section", "card section"):
        say("h2", "Built")
        rows = [[MADE.get(one["what"], one["what"]), _moment(one["at"]), one["of"] or "–"] for one in found["built"]]
        table("What was built, and when", ["part", "when (UTC)", "from"], rows)
    with box("section", "card section"):
        _report(
            "Evaluation",
            found["evaluation"],
            evaluation,
            "crossaisle evaluate writes a report; one in a folder of the workspace is shown here.",
        )
    with box("section", "card section"):
        _report("Judges", found["judge"], judges, "crossaisle judge writes a report; one in a folder of the workspace is shown here.")


def _report(title: str, told: Mapping[str, Any] | None, draw: Callable[[Mapping[str, Any]], None], how: str) -> None:
    with box("div", "row-apart"):
        say("h2", title)
        if told:
            say("p", f"{told['folder']}, {_moment(told['at'])} UTC", "soft small")
    if told is None:
        with box("div").style("margin-top: 12px"):
            blank("Not measured yet", how)
        return
    with box("div") as place:
        try:
            draw(told["report"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            place.clear()
            notice(f"This report is of another version ({type(error).__name__}); make it again to see it here.", "bad")


def _moment(at: str | None) -> str:
    """A moment in ISO 8601, as people read one."""
    return "–" if not at else at[:16].replace("T", " ")


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
