"""Click-through by day as a chart, and as the table that says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...service.click_through import DAYS
from .elements import blank, box, say, table
from .styles import ACCENT

INK = {False: ("#59616a", "#e6e8e5", ACCENT), True: ("#a4acb4", "#333a41", "#67cdbf")}
"""Letters, grid and line on a light and on a dark page."""


def clicks(days: Sequence[Mapping[str, Any]]) -> None:
    """Draws the days that `daily_click_through` gives."""
    from nicegui import ui

    with box("section", "card"):
        with box("div", "row-apart"):
            say("h2", "Click-through by day")
            say("p", f"clicked, of the places that were served; last {DAYS} days", "soft small")
        if not days:
            with box("div").style("margin-top: 12px"):
                words = (
                    "Lists that the API serves are counted here, with the clicks that name them. What you look at in this console is not."
                )
                blank("Nothing was served yet", words)
            return
        chart = ui.echart(options(days, dark=False), renderer="svg").style("width: 100%; height: 260px; margin-top: 8px")
        chart.props.update({"role": "img", "aria-label": "Click-through by day; the table below says the same"})

        def turned(event: Any) -> None:
            chart.options.update(options(days, dark=bool(event.args)))
            chart.update()

        ui.on("crossaisle_theme", turned)
        ui.run_javascript("emitEvent('crossaisle_theme', document.body.classList.contains('body--dark'))")
        with box("details", "more"):
            say("summary", "As a table")
            rows = [
                [one["day"], f"{one['places']:,}", f"{one['clicks']:,}", _share(one["ctr"]), f"{one['purchases']:,}"]
                for one in reversed(days)
            ]
            heads = ["day (UTC)", "places served", "clicked", "rate (95%)", "bought"]
            table("Click-through by day", heads, rows, numbers=(1, 2, 3, 4))


def options(days: Sequence[Mapping[str, Any]], *, dark: bool) -> dict[str, Any]:
    """Options of ECharts: the rate as a line, its interval as a band."""
    ink, grid, color = INK[dark]
    rates = [(one["ctr"]["value"] or 0, one["ctr"]["low"] or 0, one["ctr"]["high"] or 0) for one in days]
    letters = {"color": ink, "fontSize": 12, "fontFamily": "system-ui, sans-serif"}
    band = {
        "type": "line",
        "stack": "between",
        "symbol": "none",
        "lineStyle": {"opacity": 0},
        "silent": True,
        "color": color,
        "tooltip": {"show": False},
    }
    percent = "value => (value * 100).toFixed(1) + '%'"
    return {
        "animation": False,
        "grid": {"left": 56, "right": 16, "top": 16, "bottom": 28},
        "tooltip": {"trigger": "axis", "confine": True, ":valueFormatter": percent},
        "xAxis": {"type": "category", "data": [one["day"] for one in days], "axisLabel": letters, "axisTick": {"show": False}},
        "yAxis": {"type": "value", "axisLabel": {**letters, ":formatter": percent}, "splitLine": {"lineStyle": {"color": grid}}},
        "series": [
            {**band, "data": [low for _, low, _ in rates]},
            {**band, "data": [high - low for _, low, high in rates], "areaStyle": {"opacity": 0.18}},
            {
                "type": "line",
                "name": "click-through",
                "data": [value for value, _, _ in rates],
                "symbolSize": 7,
                "color": color,
                "lineStyle": {"width": 2.5},
            },
        ],
    }


def _share(told: Mapping[str, Any]) -> str:
    if told["value"] is None:
        return "–"
    between = f" ({told['low']:.1%} to {told['high']:.1%})" if told["low"] is not None else ""
    return f"{told['value']:.1%}{between}"
