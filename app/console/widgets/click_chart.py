"""Click-through by day as a chart, and as a table with the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....data.store_words import DEFAULT_WORDS, StoreWords
from ...service.click_through import DAYS
from .elements import container, data_table, empty_state, text_element
from .styles import ACCENT

_CHART_COLORS = {False: ("#59616a", "#e6e8e5", ACCENT), True: ("#a4acb4", "#333a41", "#67cdbf")}
"""Colours of text, grid and line by whether the page is dark."""


def click_chart(days: Sequence[Mapping[str, Any]], words: StoreWords = DEFAULT_WORDS) -> None:
    """Draw the result of `daily_click_through`. Args: words: the store's."""
    from nicegui import ui

    with container("section", "card"):
        with container("div", "row-spread"):
            text_element("h2", "Click-through by day")
            text_element("p", f"clicks per recommended {words.item}, last {DAYS} days", "soft small")
        if not days:
            with container("div").style("margin-top: 12px"):
                text = "Recommendations that the API serves are counted here, with their clicks. What you open in this console is not."
                empty_state("Nothing was served yet", text)
            return
        chart = ui.echart(click_chart_options(days, dark=False), renderer="svg").style("width: 100%; height: 260px; margin-top: 8px")
        chart.props.update({"role": "img", "aria-label": "Click-through by day; the table below has the same numbers"})

        def change_theme(event: Any) -> None:
            chart.options.update(click_chart_options(days, dark=bool(event.args)))
            chart.update()

        ui.on("crossaisle_theme", change_theme)
        ui.run_javascript("emitEvent('crossaisle_theme', document.body.classList.contains('body--dark'))")
        with container("details", "more"):
            text_element("summary", "As a table")
            rows = [
                [day["day"], f"{day['places']:,}", f"{day['clicks']:,}", _format_rate(day["ctr"]), f"{day['purchases']:,}"]
                for day in reversed(days)
            ]
            data_table(
                "Click-through by day", ["day (UTC)", f"{words.items} shown", "clicked", "rate (95%)", words.past], rows, (1, 2, 3, 4)
            )


def click_chart_options(days: Sequence[Mapping[str, Any]], *, dark: bool) -> dict[str, Any]:
    """ECharts options: the click-through rate as a line, its confidence interval as a band."""
    text_color, grid_color, line_color = _CHART_COLORS[dark]
    rates = [(day["ctr"]["value"] or 0, day["ctr"]["low"] or 0, day["ctr"]["high"] or 0) for day in days]
    font = {"color": text_color, "fontSize": 12, "fontFamily": "system-ui, sans-serif"}
    band = {
        "type": "line",
        "stack": "interval",
        "symbol": "none",
        "lineStyle": {"opacity": 0},
        "silent": True,
        "color": line_color,
        "tooltip": {"show": False},
    }
    percent = "value => (value * 100).toFixed(1) + '%'"
    return {
        "animation": False,
        "grid": {"left": 56, "right": 16, "top": 16, "bottom": 28},
        "tooltip": {"trigger": "axis", "confine": True, ":valueFormatter": percent},
        "xAxis": {"type": "category", "data": [day["day"] for day in days], "axisLabel": font, "axisTick": {"show": False}},
        "yAxis": {"type": "value", "axisLabel": {**font, ":formatter": percent}, "splitLine": {"lineStyle": {"color": grid_color}}},
        "series": [
            {**band, "data": [low for _, low, _ in rates]},
            {**band, "data": [high - low for _, low, high in rates], "areaStyle": {"opacity": 0.18}},
            {
                "type": "line",
                "name": "click-through",
                "data": [value for value, _, _ in rates],
                "symbolSize": 7,
                "color": line_color,
                "lineStyle": {"width": 2.5},
            },
        ],
    }


def _format_rate(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "–"
    interval = f" ({estimate['low']:.1%} to {estimate['high']:.1%})" if estimate["low"] is not None else ""
    return f"{estimate['value']:.1%}{interval}"
