"""Interactive heat map of the category map as ECharts options, and its legend.

Names, statistics, colour scale and labelling rules are those of the static pictures (`app.plots`). A cell without statistics is the
category itself (grey, a dash), withheld (a stroke), or excluded by the filters (empty). Tooltips are plain text that ECharts escapes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ....data.store_words import DEFAULT_WORDS
from ...plots.category_pairs import MAX_FULLY_LABELLED, CategoryPair, full_name, withheld_text
from ...plots.lift_scale import (
    DARK_COLORS,
    LIGHT_COLORS,
    TICK_LABELS,
    format_lift,
    lift_color,
    scale_limit,
    scale_position,
    text_color,
)
from ...terminal.render import printable
from .elements import container, text_element
from .styles import NO_DATA_COLORS_DARK, NO_DATA_COLORS_LIGHT

MAX_NAME_LENGTH = 24
"""Characters of a name on an axis."""
_FONT = "system-ui, sans-serif"


def heat_map_options(
    categories: Sequence[int],
    paths: Sequence[Sequence[str]],
    pairs: Sequence[CategoryPair],
    dark: bool,
    *,
    disclosed: Collection[tuple[int, int]] = (),
    min_users: int = 0,
    people: str = DEFAULT_WORDS.users,
) -> tuple[dict[str, Any], tuple[int, int]]:
    """Return the ECharts options of a heat map, and its minimum width and its height in pixels.

    Args:
        categories: Indices of the categories on both axes.
        paths: Their paths.
        pairs: Pairs to show.
        dark: Whether the page is dark.
        disclosed: Pairs of indices that may be disclosed, whether the filters keep them or not; all others are drawn as withheld.
        min_users: K-anonymity threshold.
        people: The store's plural noun for its users.
    """
    positions = {category: position for position, category in enumerate(categories)}
    labels = [_axis_label(path) for path in paths]
    longest_label = max((len(label) for label in labels), default=0)
    foreground, border = ("#e9ecee", "#14171a") if dark else ("#1b1f23", "#ffffff")
    cell_side = 30 if len(categories) <= MAX_FULLY_LABELLED else 24
    left, top = 8 + round(6.6 * longest_label), 14 + round(5.2 * longest_label)
    axis = {
        "type": "category",
        "data": labels,
        "axisTick": {"show": False},
        "axisLine": {"show": False},
        "splitLine": {"show": False},
    }
    font = {"color": foreground, "fontSize": 12, "interval": 0, "fontFamily": _FONT}
    limit, colors = scale_limit(pair.lift for pair in pairs), DARK_COLORS if dark else LIGHT_COLORS
    same_color, withheld_color = NO_DATA_COLORS_DARK if dark else NO_DATA_COLORS_LIGHT
    same_cells, withheld_cells = _cells_without_statistics(
        positions, paths, {(p.source, p.target) for p in pairs} | set(disclosed), min_users, people
    )
    options = {
        "animation": False,
        "aria": {"enabled": False},
        "grid": {"left": left, "top": top, "right": 56, "bottom": 10},
        "xAxis": {**axis, "position": "top", "axisLabel": {**font, "rotate": -50}},
        "yAxis": {**axis, "inverse": True, "axisLabel": font},
        "tooltip": {
            "formatter": "{b}",
            "confine": True,
            "backgroundColor": "#1b1f23",
            "borderWidth": 0,
            "textStyle": {"color": "#f6f6f4", "fontSize": 13},
            "extraCssText": "white-space: pre-line; max-width: 300px",
        },
        "visualMap": [
            {"show": False, "min": -limit, "max": limit, "dimension": 2, "inRange": {"color": list(colors)}, "seriesIndex": 0},
            {"show": False, "min": 0, "max": 1, "dimension": 2, "inRange": {"color": [same_color] * 2}, "seriesIndex": 1},
            {"show": False, "min": 0, "max": 1, "dimension": 2, "inRange": {"color": [withheld_color] * 2}, "seriesIndex": 2},
        ],
        "series": [
            {
                "type": "heatmap",
                "data": [_pair_cell(pair, positions, limit, colors, people) for pair in pairs],
                "cursor": "pointer",
                "itemStyle": {"borderColor": border, "borderWidth": 1.5, "borderRadius": 3},
                "emphasis": {"itemStyle": {"borderColor": foreground, "borderWidth": 2}},
            },
            _marked_series(same_cells, "–", border, foreground),
            _marked_series(withheld_cells, "╱", border, foreground),
        ],
    }
    return options, (left + 56 + cell_side * len(categories), top + 12 + (cell_side + 4) * len(categories))


def heat_map_legend(pairs: Sequence[CategoryPair], min_users: int, dark: bool, people: str = DEFAULT_WORDS.users) -> None:
    """Draw the legend: colours, bold labels, and cells without statistics."""
    colors, limit = DARK_COLORS if dark else LIGHT_COLORS, scale_limit(pair.lift for pair in pairs)
    same_color, withheld_color = NO_DATA_COLORS_DARK if dark else NO_DATA_COLORS_LIGHT
    with container("div", "legend"):
        with container("span", "scale"):
            text_element("span", f"less often, {TICK_LABELS[-limit]}")
            container("i").style(f"background: linear-gradient(90deg, {', '.join(colors)})")
            text_element("span", f"more often, {TICK_LABELS[limit]}")
        text_element("span", "bold: sure")
        for symbol, color, meaning in (
            ("╱", withheld_color, withheld_text(min_users, people)),
            ("–", same_color, "the same category"),
        ):
            with container("span", "scale"):
                text_element("b", symbol, aria_hidden="true").style(f"background: {color}")
                text_element("span", meaning)
        text_element("span", "empty: excluded by the filters")


def _axis_label(path: Sequence[str]) -> str:
    name = printable(path[-1]) if path else "(no category)"
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1].rstrip() + "…"


def _pair_cell(pair: CategoryPair, positions: Mapping[int, int], limit: int, colors: Sequence[str], people: str) -> dict[str, Any]:
    fully_labelled = len(positions) <= MAX_FULLY_LABELLED
    label = {
        "show": fully_labelled or pair.significant,
        "formatter": format_lift(pair.lift),
        "color": text_color(lift_color(pair.lift, limit, colors)),
        "fontSize": 11.5 if fully_labelled else 9.5,
        "fontWeight": 700 if pair.significant else 400,
        "fontFamily": _FONT,
    }
    value = [positions[pair.target], positions[pair.source], round(scale_position(pair.lift, limit) * limit, 4)]
    return {"value": value, "name": pair.tooltip(people), "label": label, "categories": [pair.source, pair.target]}


def _cells_without_statistics(
    positions: Mapping[int, int], paths: Sequence[Sequence[str]], disclosed: Collection[tuple[int, int]], min_users: int, people: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The cells of the diagonal, and the cells that are withheld or unknown."""
    names = {category: full_name(path) for category, path in zip(positions, paths, strict=True)}

    def cell(source: int, target: int, tooltip: str) -> dict[str, Any]:
        return {"value": [positions[target], positions[source], 0], "name": tooltip, "categories": [source, target]}

    same = [cell(category, category, f"{names[category]}\nThe same category") for category in positions]
    reason = withheld_text(min_users, people)
    withheld = [
        cell(source, target, f"{names[source]} → {names[target]}\n{reason[:1].upper()}{reason[1:]}")
        for source in positions
        for target in positions
        if source != target and (source, target) not in disclosed
    ]
    return same, withheld


def _marked_series(cells: Sequence[Mapping[str, Any]], symbol: str, border: str, foreground: str) -> dict[str, Any]:
    """Cells without statistics as a series of their own, marked by a symbol in addition to the colour."""
    return {
        "type": "heatmap",
        "data": list(cells),
        "cursor": "default",
        "label": {"show": True, "formatter": symbol, "color": foreground, "opacity": 0.75, "fontSize": 12},
        "itemStyle": {"borderColor": border, "borderWidth": 1.5, "borderRadius": 3},
        "emphasis": {"disabled": True},
    }
