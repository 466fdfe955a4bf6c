"""Heat map of the lift between categories, drawn on a canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...recommend.category_map.matrix import CategoryMap
from .canvas import LEGEND_WIDTH, SECONDARY_TEXT, Canvas, text_width
from .category_pairs import MAX_FULLY_LABELLED, CategoryPair, axis_phrases, disclosed_mask, format_users, full_name, withheld_text
from .lift_scale import TICK_LABELS, format_lift, lift_color, scale_limit, text_color

SAME_CATEGORY: dict[str, Any] = {"facecolor": "#c4c4c4", "edgecolor": "white", "linewidth": 0.6}
WITHHELD: dict[str, Any] = {"facecolor": "white", "edgecolor": "#cfcfcf", "hatch": "////", "linewidth": 0.4}


@dataclass(frozen=True)
class HeatMap:
    """A grid of rows and columns in which the colour of a cell is its lift.

    Attributes:
        category_map: The category map.
        categories: Indices of the categories on both axes.
        names: Their short names.
    """

    category_map: CategoryMap
    categories: list[int]
    names: list[str]

    @property
    def fully_labelled(self) -> bool:
        """Whether every disclosed cell is labelled with its lift."""
        return len(self.categories) <= MAX_FULLY_LABELLED

    @property
    def cell_size(self) -> float:
        """Side of a cell, in inches."""
        return 0.7 if len(self.categories) <= 5 else 0.44 if self.fully_labelled else 0.31

    @property
    def font_size(self) -> float:
        """Font size of the names, in points."""
        return 9.5 if self.fully_labelled else 8.5

    @cached_property
    def row_names_width(self) -> float:
        """Width of the row names, in inches."""
        return max(2.0, *(text_width(name, self.font_size) for name in self.names)) + 0.12

    @cached_property
    def header_height(self) -> float:
        """Height of the slanted column names, in inches."""
        return max(0.6, *(text_width(name, self.font_size) for name in self.names)) * math.sqrt(0.5) + 0.25

    @cached_property
    def overhang(self) -> float:
        """Width of the column names beyond the right edge of the grid, in inches."""
        count = len(self.names)
        ends = [(i + 0.5 - count) * self.cell_size + text_width(name, self.font_size) * math.sqrt(0.5) for i, name in enumerate(self.names)]
        return max(0.0, *ends) + 0.12

    @property
    def width(self) -> float:
        """Width of the panel, in inches."""
        return max(self.row_names_width + self.cell_size * len(self.categories) + self.overhang, LEGEND_WIDTH)

    @property
    def height(self) -> float:
        """Height of the panel with its legend, in inches."""
        return self.header_height + self.cell_size * len(self.categories) + 1.95

    @cached_property
    def disclosed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(categories, categories) of the whole map: True where a pair may be disclosed."""
        return disclosed_mask(self.category_map)

    @cached_property
    def limit(self) -> int:
        """Binary logarithm of the lift at which the colour scale ends."""
        block = np.ix_(self.categories, self.categories)
        return scale_limit(self.category_map.lift[block][self.disclosed[block]].tolist())

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw the panel with its upper left corner at x, y."""
        left, top, side = x + self.row_names_width, y + self.header_height, len(self.categories) * self.cell_size
        row_phrase, column_phrase = axis_phrases(self.category_map)
        canvas.text(left - 0.12, top - 0.42, f"{column_phrase} →", 9.5, ha="right", color=SECONDARY_TEXT, weight="bold")
        canvas.text(left - 0.12, top - 0.18, f"{row_phrase} ↓", 9.5, ha="right", color=SECONDARY_TEXT, weight="bold")
        for i, (category, name) in enumerate(zip(self.categories, self.names, strict=True)):
            middle = (i + 0.5) * self.cell_size
            tooltip = category_tooltip(self.category_map, category)
            canvas.text(left - 0.08, top + middle, name, self.font_size, ha="right", tooltip=tooltip)
            slanted: dict[str, Any] = {"ha": "left", "rotation": 45, "rotation_mode": "anchor", "va": "center"}
            canvas.text(left + middle, top - 0.08, name, self.font_size, tooltip=tooltip, **slanted)
        for i, row in enumerate(self.categories):
            for j, column in enumerate(self.categories):
                self._draw_cell(canvas, left + j * self.cell_size, top + i * self.cell_size, row, column)
        self._draw_legend(canvas, x, top + side + 0.3)

    def _draw_cell(self, canvas: Canvas, x: float, y: float, row: int, column: int) -> None:
        side = self.cell_size
        if row == column:
            canvas.rectangle(x, y, side, side, **SAME_CATEGORY)
            return
        if not self.disclosed[row, column]:
            names = " → ".join(full_name(self.category_map.paths[category]) for category in (row, column))
            canvas.rectangle(x, y, side, side, tooltip=f"{names}: {self._withheld_text}", **WITHHELD)
            return
        pair = CategoryPair.from_map(self.category_map, row, column)
        color = lift_color(pair.lift, self.limit)
        canvas.rectangle(
            x, y, side, side, tooltip=pair.tooltip(self.category_map.words.people), facecolor=color, edgecolor="white", linewidth=0.6
        )
        if pair.significant or self.fully_labelled:
            size = 8.5 if self.fully_labelled else 6.8
            style = {"ha": "center", "color": text_color(color), "weight": "bold" if pair.significant else "normal"}
            canvas.text(x + side / 2, y + side / 2, format_lift(pair.lift), size, ignores_pointer=True, **style)

    @property
    def _withheld_text(self) -> str:
        return withheld_text(self.category_map.min_users, self.category_map.words.people)

    def _draw_legend(self, canvas: Canvas, x: float, y: float) -> None:
        bar_width, steps = 4.0, 64
        canvas.text(x, y, "How many times as often as usual (lift)", 9, weight="bold")
        for step in range(steps):
            color = lift_color(2 ** ((2 * (step + 0.5) / steps - 1) * self.limit), self.limit)
            canvas.rectangle(
                x + bar_width * step / steps, y + 0.15, bar_width / steps, 0.2, facecolor=color, edgecolor=color, linewidth=0.4
            )
        for tick in range(-self.limit, self.limit + 1):
            alignment = {-self.limit: "left", self.limit: "right"}.get(tick, "center")
            canvas.text(x + bar_width * (tick / self.limit + 1) / 2, y + 0.47, TICK_LABELS[tick], 8.5, ha=alignment)
        canvas.text(x + bar_width + 0.2, y + 0.25, "orange: less often   ·   purple: more often", 9)
        y += 0.8
        printed = "Bold numbers are sure" if self.fully_labelled else "Numbers are printed where they are sure"
        canvas.text(x, y, f"{printed}: fewer than 5 in 100 of these pairs are expected to be chance", 9)
        for i, (style, text) in enumerate(((WITHHELD, self._withheld_text), (SAME_CATEGORY, "the same category"))):
            canvas.rectangle(x, y + 0.16 + i * 0.26, 0.3, 0.19, **style)
            canvas.text(x + 0.4, y + 0.255 + i * 0.26, text, 9)


def category_tooltip(category_map: CategoryMap, category: int) -> str:
    """The full name of a category and its number of users."""
    users = format_users(int(category_map.users[category]), category_map.min_users)
    return f"{full_name(category_map.paths[category])}: {users} {category_map.words.people}"
