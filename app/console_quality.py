"""The page that says how good it is and what it is made of: health, what was built when, evaluation, judges, and clicks by day.

A report is a file that another version may have written: one that cannot be read in full says so in its own part of the page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .clicks import DAYS, by_day
from .console_parts import blank, box, notice, say, table
from .standings import figure, interval, ordered

if TYPE_CHECKING:
    from .console_desk import Counter

KINDS = {"baseline": "Baselines", "channel": "Channels", "blend": "The blend", "ablation": "The blend without a part"}
MADE = {
    "snapshot": "The store's data",
    "index": "Vectors and associations",
    "graph": "Graph model",
    "complements": "Complement model",
    "blend": "Learned order",
    "adapter": "Language model's ranking",
    "explainer": "Language model's wording",
}


def quality_page(counter: Counter) -> None:
    """Draws the page; reports and clicks come when they are read."""
    from nicegui import ui

    from .console_desk import Place

    say("h1", "How good is it?")
    say("p", "What was measured, what shoppers clicked, and what was built when.", "lead")
    about = Place(counter, 84, 200, 300, classes="section")
    shown = Place(counter, 300, classes="section")

    async def load() -> None:
        await about.fill(counter.shop.quality, _about)
        log = counter.shop.log
        await shown.fill(lambda: by_day(log, time.time_ns() // 1_000_000), lambda days: _clicks(counter, days))

    ui.timer(0, load, once=True)


def _about(found: Mapping[str, Any]) -> None:
    health = found["health"]
    tiles = (
        ("OK" if health["status"] == "ok" else health["status"], "health"),
        (f"{health['items']:,}", f"{health['item_noun']}s"),
        (f"{health['users']:,}", "shoppers"),
        ("learned" if health["trained"] else "by rank", "order of the list"),
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
            _evaluation,
            "crossaisle evaluate writes a report; one in a folder of the workspace is shown here.",
        )
    with box("section", "card section"):
        _report("Judges", found["judge"], _judges, "crossaisle judge writes a report; one in a folder of the workspace is shown here.")


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


def _evaluation(report: Mapping[str, Any]) -> None:
    k, best = report["k"], report["best_baseline"]
    name = f"ndcg@{k}"
    say(
        "p",
        f"{report['cases']:,} cases of {report['users']:,} shoppers; {report['split']['protocol']}. NDCG@{k} with its 95% interval; 1 would be perfect.",
        "soft small",
    )
    systems = ordered(report)
    most = max([about[name]["high"] or about[name]["value"] or 0 for _, about in systems], default=1) or 1
    with box("div", "scroll", tabindex="0", role="region", aria_label="Evaluation").style("margin-top: 10px"), box("table", "figures"):
        say("caption", "Systems by kind, the best first", "hidden")
        with box("thead"), box("tr"):
            for head, classes in (
                ("system", ""),
                ("", ""),
                (f"NDCG@{k}", "number"),
                (f"recall@{k}", "number"),
                ("minus the best baseline", "number"),
            ):
                say("th", head, classes, scope="col") if head else say("td", "")
        with box("tbody"):
            kind = ""
            for system, about in systems:
                if about["kind"] != kind:
                    kind = about["kind"]
                    with box("tr"):
                        say("th", KINDS.get(kind, kind), "soft small", scope="rowgroup", colspan="5")
                with box("tr"):
                    say("th", system, scope="row")
                    with box("td"):
                        _forest(about[name], most)
                    say("td", interval(about[name], places=3), "number")
                    say("td", figure(about[f"recall@{k}"]["value"], places=3), "number")
                    say("td", "the best" if system == best else interval(about["vs_best_baseline"], sign=True, places=3), "number")


def _forest(told: Mapping[str, Any], most: float) -> None:
    value, low, high = (told[name] for name in ("value", "low", "high"))
    with box("div", "forest", aria_hidden="true"):
        if low is not None and high is not None:
            box("span", "between").style(f"left: {100 * low / most:.2f}%; width: {100 * (high - low) / most:.2f}%")
        if value is not None:
            box("span", "value").style(f"left: {100 * value / most:.2f}%")


def _judges(report: Mapping[str, Any]) -> None:
    for judge, about in report["verdict"].items():
        with box("div").style("margin-top: 8px"):
            say("h3", f"{judge}: {about['verdict']}")
            say("p", about["sentence"], "soft")
    rows = [
        [
            name if about["high_is"] == "good" else f"{name} (5: {about['high_is']})",
            system,
            interval(told, places=2),
            f"{told['scored']:,}",
            f"{told['unscored']:,}",
        ]
        for name, about in report["criteria"].items()
        for system, told in about["systems"].items()
    ]
    if rows:
        table("Scores of the judges", ["criterion, 1 to 5", "system", "mean (95%)", "scored", "unscored"], rows, numbers=(2, 3, 4))
    for criterion, about in report["pairs"].items():
        for one in about["matrix"]:
            say(
                "p",
                f"{criterion}: {one['system']} against {one['against']}: {one['wins']:,} won, {one['ties']:,} tied, {one['losses']:,} lost; win rate {interval(one['win_rate'], places=2)}",
            ).style("margin-top: 8px")


def _clicks(counter: Counter, days: Sequence[Mapping[str, Any]]) -> None:
    from nicegui import ui

    with box("section", "card"):
        with box("div", "row-apart"):
            say("h2", "Click-through by day")
            say("p", f"clicked, of the places that were served; last {DAYS} days", "soft small")
        if not days:
            with box("div").style("margin-top: 12px"):
                blank(
                    "Nothing was served yet",
                    "Lists that the API serves are counted here, with the clicks that name them. What you look at in this console is not.",
                )
            return
        chart = ui.echart(_lines(days), renderer="svg").style("width: 100%; height: 260px; margin-top: 8px")
        chart.props.update({"role": "img", "aria-label": "Click-through by day; the table below says the same"})
        ui.on("crossaisle_theme", partial(_turn, chart))
        ui.timer(0.1, lambda: ui.run_javascript("emitEvent('crossaisle_theme', document.body.classList.contains('body--dark'))"), once=True)
        with box("details", "more"):
            say("summary", "As a table")
            rows = [
                [one["day"], f"{one['places']:,}", f"{one['clicks']:,}", _share(one["ctr"]), f"{one['purchases']:,}"]
                for one in reversed(days)
            ]
            table("Click-through by day", ["day (UTC)", "places served", "clicked", "rate (95%)", "bought"], rows, numbers=(1, 2, 3, 4))


def _turn(chart: Any, event: Any) -> None:
    """Draws the chart in the colours of the mode that the page is in."""
    ink = "#a4acb4" if event.args else "#59616a"
    color = "#67cdbf" if event.args else "#0f6e66"
    options = chart.options
    for axis in ("xAxis", "yAxis"):
        options[axis]["axisLabel"]["color"] = ink
        options[axis]["splitLine"]["lineStyle"]["color"] = "#333a41" if event.args else "#e6e8e5"
    for series in options["series"]:
        series["color"] = color
    chart.update()


def _lines(days: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Options of ECharts: the rate as a line, its interval as a band."""
    rates = [(one["ctr"]["value"] or 0, one["ctr"]["low"] or 0, one["ctr"]["high"] or 0) for one in days]
    band = {
        "type": "line",
        "stack": "between",
        "symbol": "none",
        "lineStyle": {"opacity": 0},
        "silent": True,
        "color": "#0f6e66",
        "tooltip": {"show": False},
    }
    letters = {"color": "#59616a", "fontSize": 12, "fontFamily": "system-ui, sans-serif"}
    grid = {"lineStyle": {"color": "#e6e8e5"}}
    return {
        "animation": False,
        "grid": {"left": 48, "right": 16, "top": 16, "bottom": 28},
        "tooltip": {"trigger": "axis", "valueFormatter": None, "confine": True},
        "xAxis": {"type": "category", "data": [one["day"] for one in days], "axisLabel": dict(letters), "axisTick": {"show": False}, "splitLine": {"show": False, **grid}},
        "yAxis": {"type": "value", "axisLabel": {**letters, ":formatter": "value => (value * 100).toFixed(value < 0.1 ? 1 : 0) + ' %'"}, "splitLine": dict(grid)},
        "series": [
            {**band, "data": [low for _, low, _ in rates]},
            {**band, "data": [high - low for _, low, high in rates], "areaStyle": {"opacity": 0.18}},
            {"type": "line", "name": "click-through", "data": [value for value, _, _ in rates], "symbolSize": 7, "color": "#0f6e66", "lineStyle": {"width": 2.5}},
        ],
    }  # fmt: skip


def _share(told: Mapping[str, Any]) -> str:
    if told["value"] is None:
        return "–"
    between = f" ({told['low']:.1%} to {told['high']:.1%})" if told["low"] is not None else ""
    return f"{told['value']:.1%}{between}"


def _moment(at: str | None) -> str:
    """A moment in ISO 8601, as people read one."""
    return "–" if not at else at[:16].replace("T", " ")


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
