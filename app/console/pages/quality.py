"""The quality page: health, build times, the latest evaluation and judgement, and click-through by day.

A report file may come from another version; one that cannot be read is reported in its own part of the page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...service.click_through import daily_click_through
from ..widgets.click_chart import click_chart
from ..widgets.elements import container, data_table, empty_state, notice, text_element
from ..widgets.report_summaries import evaluation_summary, judgement_summary

if TYPE_CHECKING:
    from ....data.store_words import StoreWords
    from ..widgets.async_panel import ConsoleBackend

BUILD_NAMES = {
    "snapshot": "The store's data",
    "index": "Vectors and associations",
    "graph": "Graph model",
    "complements": "Complement model",
    "factors": "{User} and {item} factors",
    "blend": "Learned ranking",
    "adapter": "Language model's ranking",
    "explainer": "Language model's wording",
}


def quality_page(backend: ConsoleBackend) -> None:
    """Draw the page; reports and clicks are loaded afterwards."""
    from nicegui import ui

    from ..widgets.async_panel import AsyncPanel

    text_element("h1", "How good is it?")
    words = backend.words
    text_element("p", words.fill("What was measured, what {users} clicked, and what was built when."), "lead")
    status_panel = AsyncPanel(backend, 84, 200, 300, classes="section", loading=True)
    click_panel = AsyncPanel(backend, 300, classes="section", loading=True)

    async def load() -> None:
        await status_panel.fill(backend.store.quality, lambda quality: _draw_status(quality, words))
        log = backend.store.log
        await click_panel.fill(lambda: daily_click_through(log, time.time_ns() // 1_000_000), lambda days: click_chart(days, words))

    ui.timer(0, load, once=True)


def _draw_status(quality: Mapping[str, Any], words: StoreWords) -> None:
    health = quality["health"]
    tiles = (
        ("OK" if health["status"] == "ok" else health["status"], "health"),
        (f"{health['items']:,}", words.items),
        (f"{health['users']:,}", words.users),
        ("trained" if health["trained"] else "not trained", words.fill("on this store's {users}")),
        (health["llm"], "language model"),
        (_format_duration(health["uptime_seconds"]), f"running, version {health['version']}"),
    )
    with container("div", "tiles"):
        for value, label in tiles:
            with container("div", "tile"):
                text_element("strong", value)
                text_element("span", label)
    with container("section", "card section"):
        text_element("h2", "Built")
        rows = [
            [words.fill(BUILD_NAMES.get(part["what"], part["what"])), _format_time(part["at"]), part["of"] or "–"]
            for part in quality["built"]
        ]
        data_table("What was built, and when", ["part", "when (UTC)", "from"], rows)
    for title, key, command, draw in (
        ("Evaluation", "evaluation", "evaluate", evaluation_summary),
        ("Judges", "judge", "judge", judgement_summary),
    ):
        with container("section", "card section"):
            hint = f"crossaisle {command} writes a report; one in a folder of the workspace is shown here."
            _draw_report(title, quality[key], draw, hint)


def _draw_report(title: str, report_file: Mapping[str, Any] | None, draw: Callable[[Mapping[str, Any]], None], hint: str) -> None:
    with container("div", "row-spread"):
        text_element("h2", title)
        if report_file:
            text_element("p", f"{report_file['folder']}, {_format_time(report_file['at'])} UTC", "soft small")
    if report_file is None:
        with container("div").style("margin-top: 12px"):
            empty_state("Not measured yet", hint)
        return
    with container("div") as content:
        try:
            draw(report_file["report"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            content.clear()
            notice(f"This report is of another version ({type(error).__name__}); create it again to see it here.", "bad")


def _format_time(timestamp: str | None) -> str:
    """An ISO 8601 timestamp to the minute, with a space for its "T"."""
    return "–" if not timestamp else timestamp[:16].replace("T", " ")


def _format_duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
