"""The lift of every category for every other, as a heat map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...recommend.category_map.matrix import CategoryMap
from .annotated_svg import doing, in_words, known, people, times, whole_name
from .canvas import FAINT, INK, LEGEND, NUMBERED, Sheet, text_width

COLORS = "PuOr"
"""ColorBrewer's orange to purple, which the colour-blind can tell apart; orange is less often than usual."""
SAME: dict[str, Any] = {"facecolor": "#c4c4c4", "edgecolor": "white", "linewidth": 0.6}
WITHHELD: dict[str, Any] = {"facecolor": "white", "edgecolor": "#cfcfcf", "hatch": "////", "linewidth": 0.4}
TICKS = {-4: "1⁄16×", -3: "⅛×", -2: "¼×", -1: "½×", 0: "1×", 1: "2×", 2: "4×", 3: "8×", 4: "16×+"}
"""A power of two to how it is written."""


@dataclass(frozen=True)
class HeatMap:
    """Rows over columns: the colour of a cell is its lift."""

    atlas: CategoryMap
    shown: list[int]
    names: list[str]

    @property
    def cell(self) -> float:
        """The side of a cell, in inches."""
        return 0.7 if len(self.shown) <= 5 else 0.44 if len(self.shown) <= NUMBERED else 0.31

    @property
    def letters(self) -> float:
        """The size of the names, in points."""
        return 9.5 if len(self.shown) <= NUMBERED else 8.5

    @cached_property
    def left(self) -> float:
        """How far the row names reach, in inches."""
        return max(2.0, *(text_width(name, self.letters) for name in self.names)) + 0.12

    @cached_property
    def header(self) -> float:
        """How high the slanted column names reach."""
        return max(0.6, *(text_width(name, self.letters) for name in self.names)) * math.sqrt(0.5) + 0.25

    @cached_property
    def overhang(self) -> float:
        """How far the column names reach beyond the right edge of the grid."""
        n = len(self.names)
        ends = [(i + 0.5 - n) * self.cell + text_width(name, self.letters) * math.sqrt(0.5) for i, name in enumerate(self.names)]
        return max(0.0, *ends) + 0.12

    @property
    def width(self) -> float:
        """Of the whole panel, in inches."""
        return max(self.left + self.cell * len(self.shown) + self.overhang, LEGEND)

    @property
    def height(self) -> float:
        """Of the whole panel with its legend, in inches."""
        return self.header + self.cell * len(self.shown) + 1.95

    @cached_property
    def span(self) -> int:
        """The binary logarithm of the lift where the colours end: 1 (lift 2) to 4 (lift 16), so that small differences look small."""
        cut = np.ix_(self.shown, self.shown)
        lifts = self.atlas.lift[cut][known(self.atlas)[cut] & (self.atlas.lift[cut] > 0)]
        return min(4, max(1, math.ceil(float(np.abs(np.log2(lifts)).max(initial=0.0)) - 1e-9)))

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Draws the panel with its upper left corner at x, y."""
        left, top, end = x + self.left, y + self.header, len(self.shown) * self.cell
        had, then = doing(self.atlas)
        sheet.write(left - 0.12, top - 0.42, f"{then} →", 9.5, ha="right", color=FAINT, weight="bold")
        sheet.write(left - 0.12, top - 0.18, f"{had} ↓", 9.5, ha="right", color=FAINT, weight="bold")
        for i, (code, name) in enumerate(zip(self.shown, self.names, strict=True)):
            middle = (i + 0.5) * self.cell
            hover = f"{whole_name(self.atlas.paths[code])}: {people(self.atlas, code)} users"
            sheet.write(left - 0.08, top + middle, name, self.letters, ha="right", hover=hover)
            sheet.write(
                left + middle, top - 0.08, name, self.letters, ha="left", rotation=45, rotation_mode="anchor", va="center", hover=hover
            )
        for i, row in enumerate(self.shown):
            for j, column in enumerate(self.shown):
                self._cell(sheet, left + j * self.cell, top + i * self.cell, row, column)
        self._legend(sheet, left - self.left, top + end + 0.3)

    def _cell(self, sheet: Sheet, x: float, y: float, row: int, column: int) -> None:
        atlas, side = self.atlas, self.cell
        if row == column:
            sheet.box(x, y, side, side, **SAME)
            return
        pair = f"{whole_name(atlas.paths[row])} → {whole_name(atlas.paths[column])}"
        if not known(atlas)[row, column]:
            sheet.box(x, y, side, side, hover=f"{pair}: {self._withheld}", **WITHHELD)
            return
        lift, sure = float(atlas.lift[row, column]), bool(atlas.significant[row, column])
        users, share, base_rate, usual, interval, _ = in_words(atlas, row, column)
        hover = (
            f"{pair}\n{users} of {people(atlas, row)} users: {share}, of everybody {base_rate}\n"
            f"lift {usual} (95 % interval {interval})\n{'sure' if sure else 'could be chance'}"
        )
        fill = color(lift, self.span)
        sheet.box(x, y, side, side, hover=hover, facecolor=fill, edgecolor="white", linewidth=0.6)
        if sure or len(self.shown) <= NUMBERED:
            size = 8.5 if len(self.shown) <= NUMBERED else 6.8
            weight = "bold" if sure else "normal"
            sheet.write(x + side / 2, y + side / 2, times(lift), size, ha="center", color=ink_on(fill), weight=weight, through=True)

    @property
    def _withheld(self) -> str:
        return f"withheld, as it would tell of fewer than {self.atlas.min_users} users, or nothing known"

    def _legend(self, sheet: Sheet, x: float, y: float) -> None:
        bar, steps = 4.0, 64
        sheet.write(x, y, "How many times as often as usual (lift)", 9, weight="bold")
        for step in range(steps):
            fill = color(2 ** ((2 * (step + 0.5) / steps - 1) * self.span), self.span)
            sheet.box(x + bar * step / steps, y + 0.15, bar / steps, 0.2, facecolor=fill, edgecolor=fill, linewidth=0.4)
        for tick in range(-self.span, self.span + 1):
            ends = {-self.span: "left", self.span: "right"}
            sheet.write(x + bar * (tick / self.span + 1) / 2, y + 0.47, TICKS[tick], 8.5, ha=ends.get(tick, "center"))
        sheet.write(x + bar + 0.2, y + 0.25, "orange: less often   ·   purple: more often", 9)
        y += 0.8
        bold = "A figure in bold is sure" if len(self.shown) <= NUMBERED else "A figure is printed where it is sure"
        sheet.write(x, y, f"{bold}: of all pairs so marked, fewer than 5 in 100 are expected to be chance", 9)
        for i, (style, words) in enumerate(((WITHHELD, self._withheld), (SAME, "the same category"))):
            sheet.box(x, y + 0.16 + i * 0.26, 0.3, 0.19, **style)
            sheet.write(x + 0.4, y + 0.255 + i * 0.26, words, 9)


def color(lift: float, span: float) -> tuple[float, float, float]:
    """The colour of a lift as red, green, blue (0 to 1): the scale's middle at 1, its ends at 2 ** -span and 2 ** span."""
    import matplotlib

    level = math.log2(lift) / span if lift > 0 else -1.0
    red, green, blue, _ = matplotlib.colormaps[COLORS](0.5 + 0.46 * min(max(level, -1.0), 1.0))
    return float(red), float(green), float(blue)


def ink_on(fill: tuple[float, float, float]) -> str:
    """Black or white, whichever contrasts more with a fill (relative luminance of WCAG 2.1)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in fill]
    return INK if float(np.dot(linear, (0.2126, 0.7152, 0.0722))) > 0.179 else "white"
