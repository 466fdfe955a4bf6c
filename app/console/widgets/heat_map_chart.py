"""The heat map of the atlas as options of ECharts, and its legend: colour is the lift on a scale of doublings.

A cell without a figure is the category itself (grey, a dash), withheld (a stroke), or left out by the filters (empty).

What hovers over a cell is a text that ECharts escapes; names on the axes are drawn as text.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...plots.annotated_svg import times
from ...terminal.render import printable
from .elements import box, say
from .styles import BLANK, BLANK_DARK, HEAT, HEAT_DARK

NUMBERED = 20
"""Up to so many categories every cell shows its figure."""
WITHHELD = "Withheld: it would tell of fewer than {} shoppers, or nothing is known"
LONGEST = 24
"""Characters of a name on an axis."""
TICKS = {-4: "1⁄16×", -3: "⅛×", -2: "¼×", -1: "½×", 0: "1×", 1: "2×", 2: "4×", 3: "8×", 4: "16×+"}
"""A power of two to how it is written."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A pair whose figures may be told, as `StoreService.atlas` has it (`told`).

    Attributes: source, target: places in the atlas. left, right: the two paths. of: users of the first category.
    """

    source: int
    target: int
    left: Sequence[str]
    right: Sequence[str]
    told: Mapping[str, Any]
    of: int

    @property
    def words(self) -> str:
        """The two whole names."""
        return f"{whole(self.left)} → {whole(self.right)}"

    @property
    def users(self) -> int:
        """Who went from the one to the other."""
        return int(self.told["users"])

    @property
    def lift(self) -> float:
        """How many times as often as usual."""
        return float(self.told["lift"])

    @property
    def low(self) -> float:
        """The lower end of the lift's interval."""
        return float(self.told["lift_interval"][0])

    @property
    def high(self) -> float | None:
        """The upper end; None where there is none."""
        high = self.told["lift_interval"][1]
        return None if high is None else float(high)

    @property
    def share(self) -> float:
        """Users per user of the first category."""
        return float(self.told["share"])

    @property
    def base_rate(self) -> float:
        """The same share after any other category."""
        return float(self.told["base_rate"])

    @property
    def sure(self) -> bool:
        """Whether it is more than chance, by the false-discovery rate."""
        return bool(self.told["sure"])


def chart_options(
    categories: Sequence[int],
    names: Sequence[Sequence[str]],
    cells: Sequence[Cell],
    dark: bool,
    *,
    known: Collection[tuple[int, int]] = (),
    least: int = 0,
) -> tuple[dict[str, Any], tuple[int, int]]:
    """The options of a map, and its least width and its height in pixels.

    Args:
        categories: on both axes, by place in the atlas. names: their paths.
        known: pairs, by place, whose figures may be told, shown here or not; all others are withheld. least: users of whom may be told.
    """
    at = {place: i for i, place in enumerate(categories)}
    labels = [_axis_name(path) for path in names]
    colors = HEAT_DARK if dark else HEAT
    limit = span(cells)
    ink, line = ("#e9ecee", "#14171a") if dark else ("#1b1f23", "#ffffff")
    side = 30 if len(categories) <= NUMBERED else 24
    margin = 8 + round(6.6 * max((len(name) for name in labels), default=0))
    top = 14 + round(5.2 * max((len(name) for name in labels), default=0))
    axis = {
        "type": "category",
        "data": labels,
        "axisTick": {"show": False},
        "axisLine": {"show": False},
        "splitLine": {"show": False},
    }
    letters = {"color": ink, "fontSize": 12, "interval": 0, "fontFamily": "system-ui, sans-serif"}
    data = [_datum(cell, at, limit, colors, len(categories) <= NUMBERED) for cell in cells]
    paths = dict(zip(categories, names, strict=True))
    there = {(cell.source, cell.target) for cell in cells}
    same = [_bare(place, place, at, f"{printable(whole(paths[place]))}\nThe same category") for place in categories]
    hidden = [
        _bare(row, column, at, f"{printable(whole(paths[row]))} → {printable(whole(paths[column]))}\n{WITHHELD.format(least)}")
        for row in categories
        for column in categories
        if row != column and (row, column) not in there and (row, column) not in known
    ]
    grey, faint = BLANK_DARK if dark else BLANK
    options = {
        "animation": False,
        "aria": {"enabled": False},
        "grid": {"left": margin, "top": top, "right": 56, "bottom": 10},
        "xAxis": {**axis, "position": "top", "axisLabel": {**letters, "rotate": -50}},
        "yAxis": {**axis, "inverse": True, "axisLabel": letters},
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
            {"show": False, "min": 0, "max": 1, "dimension": 2, "inRange": {"color": [grey, grey]}, "seriesIndex": 1},
            {"show": False, "min": 0, "max": 1, "dimension": 2, "inRange": {"color": [faint, faint]}, "seriesIndex": 2},
        ],
        "series": [
            {
                "type": "heatmap",
                "data": data,
                "cursor": "pointer",
                "itemStyle": {"borderColor": line, "borderWidth": 1.5, "borderRadius": 3},
                "emphasis": {"itemStyle": {"borderColor": ink, "borderWidth": 2}},
            },
            _marked(same, "–", line, ink),
            _marked(hidden, "╱", line, ink),
        ],
    }
    return options, (margin + 56 + side * len(categories), top + 12 + (side + 4) * len(categories))


def span(cells: Sequence[Cell]) -> int:
    """The binary logarithm of the lift at which the colours end, 1 to 4: small differences look small."""
    most = max((abs(math.log2(cell.lift)) for cell in cells if cell.lift > 0), default=1.0)
    return min(4, max(1, math.ceil(most - 1e-9)))


def _datum(cell: Cell, at: Mapping[int, int], limit: int, colors: Sequence[str], numbered: bool) -> dict[str, Any]:
    level = min(max(math.log2(cell.lift), -limit), limit) if cell.lift > 0 else -float(limit)
    interval = f"{times(cell.low)} to {times(cell.high)}" if cell.high is not None else f"{times(cell.low)} and up"
    words = (
        f"{printable(cell.words)}\n{cell.users:,} of {cell.of:,} shoppers: {cell.share:.0%}, usually {cell.base_rate:.0%}\n"
        f"{times(cell.lift)}× as often (95% interval {interval}), {'sure' if cell.sure else 'could be chance'}"
    )
    label = {
        "show": numbered or cell.sure,
        "formatter": times(cell.lift),
        "color": _ink_on(_mix(colors, (level / limit + 1) / 2)),
        "fontSize": 11.5 if numbered else 9.5,
        "fontWeight": 700 if cell.sure else 400,
        "fontFamily": "system-ui, sans-serif",
    }
    return {"value": [at[cell.target], at[cell.source], round(level, 4)], "name": words, "label": label, "at": [cell.source, cell.target]}


def _bare(source: int, target: int, at: Mapping[int, int], words: str) -> dict[str, Any]:
    """A cell without a figure."""
    return {"value": [at[target], at[source], 0], "name": words, "at": [source, target]}


def _marked(data: Sequence[Mapping[str, Any]], sign: str, line: str, ink: str) -> dict[str, Any]:
    """Cells without a figure as a series of their own, told apart by a sign besides the tone."""
    return {
        "type": "heatmap",
        "data": list(data),
        "cursor": "default",
        "label": {"show": True, "formatter": sign, "color": ink, "opacity": 0.75, "fontSize": 12},
        "itemStyle": {"borderColor": line, "borderWidth": 1.5, "borderRadius": 3},
        "emphasis": {"disabled": True},
    }


def legend(cells: Sequence[Cell], atlas: Mapping[str, Any], dark: bool) -> None:
    """What colour, weight and cells without a figure mean."""
    colors, limit = HEAT_DARK if dark else HEAT, span(cells)
    grey, faint = BLANK_DARK if dark else BLANK
    with box("div", "legend"):
        with box("span", "scale"):
            say("span", f"less often, {TICKS[-limit]}")
            box("i").style(f"background: linear-gradient(90deg, {', '.join(colors)})")
            say("span", f"more often, {TICKS[limit]}")
        say("span", "bold: sure")
        for sign, tone, words in (
            ("╱", faint, WITHHELD.format(atlas["privacy"]["min_users"]).lower()),
            ("–", grey, "the same category"),
        ):
            with box("span", "scale"):
                say("b", sign, aria_hidden="true").style(f"background: {tone}")
                say("span", words)
        say("span", "empty: left out by the filters")


def whole(path: Sequence[str]) -> str:
    """A category's whole name."""
    return " › ".join(path) or "(no category)"


def _axis_name(path: Sequence[str]) -> str:
    name = printable(path[-1]) if path else "(no category)"
    return name if len(name) <= LONGEST else name[: LONGEST - 1].rstrip() + "…"


def _mix(colors: Sequence[str], share: float) -> tuple[float, ...]:
    """The colour at a share of the scale, as red, green, blue of 0 to 1."""
    place = min(max(share, 0.0), 1.0) * (len(colors) - 1)
    i = min(int(place), len(colors) - 2)
    ends = [[int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)] for color in colors[i : i + 2]]
    return tuple(a + (b - a) * (place - i) for a, b in zip(*ends, strict=True))


def _ink_on(fill: Sequence[float]) -> str:
    """Black or white, whichever contrasts more with a fill (relative luminance of WCAG 2.1)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in fill]
    return "#14171a" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else "#ffffff"
