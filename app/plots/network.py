"""Network of the strongest complements, drawn on a canvas: arrows between categories on a circle."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...recommend.category_map.matrix import CategoryMap
from .annotated_svg import ElementLabel
from .canvas import LINE_HEIGHT, Canvas, text_width
from .category_pairs import MAX_FULLY_LABELLED, CategoryPair, disclosed_mask, format_users
from .heat_map import category_tooltip
from .lift_scale import DARK_TEXT, format_lift

MAX_ARROWS = 30
"""Arrows that stay readable in one picture."""
ARROW_COLOR = "#542788"
ARROW_SPACING, MAX_DEVIATION, MAX_DEVIATION_OF_MANY = math.radians(24), math.radians(35), math.radians(80)
"""Angle between arrows at a category, and the largest angle between an arrow and the direction of the centre: of few and of many arrows."""


def complements(category_map: CategoryMap) -> list[tuple[int, int]]:
    """The significant pairs (row, column) with a lift above 1, by the lower bound of their lift, highest first."""
    rows, columns = np.nonzero(disclosed_mask(category_map) & category_map.significant & (category_map.lift > 1))
    order = np.lexsort((columns, rows, -category_map.lift_low[rows, columns]))
    return [(int(rows[i]), int(columns[i])) for i in order]


@dataclass(frozen=True)
class Network:
    """The strongest complements as arrows between categories on a circle, with names outside so that no arrow crosses them.

    Without an order of purchases, a pair of categories is one line without a head.

    Attributes:
        category_map: The category map.
        categories: Indices of the categories that may be drawn.
        names: Their short names.
    """

    category_map: CategoryMap
    categories: list[int]
    names: list[str]

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """The complements among `categories`, strongest first."""
        categories, pairs = set(self.categories), complements(self.category_map)
        if self.category_map.order == "none":
            # Keep a direction whose statistics are disclosed: those of the other direction may be withheld.
            pairs = list({frozenset(pair): pair for pair in reversed(pairs)}.values())[::-1]
        return [pair for pair in pairs if categories.issuperset(pair)]

    @property
    def arrows(self) -> list[tuple[int, int]]:
        """The pairs that are drawn."""
        return self.pairs[:MAX_ARROWS]

    @property
    def heading(self) -> str:
        """Heading of the panel."""
        drawn, total = len(self.arrows), len(self.pairs)
        if drawn < total:
            return f"The strongest complements: the first {drawn} of {total} sure pairs"
        return (
            f"The strongest complements: {'the only sure pair' if drawn == 1 else f'all {drawn} sure pairs' if drawn else 'none is sure'}"
        )

    @cached_property
    def positions(self) -> dict[int, tuple[float, float]]:
        """Position of each category on the unit circle, y downwards: down the right half, up the left half.

        Heights are more evenly spaced than with equal angles, which would put neighbouring names at the poles on the same line.
        """
        endpoints = {endpoint for pair in self.arrows for endpoint in pair}
        nodes = [category for category in self.categories if category in endpoints]
        right_count = (len(nodes) + 1) // 2
        positions = {}
        for side, half in ((1, nodes[:right_count]), (-1, nodes[right_count:][::-1])):
            for i, category in enumerate(half):
                t = (i + 0.5) / len(half)
                height = 0.4 * math.cos(math.pi * t) + 0.6 * (1 - 2 * t)
                positions[category] = (side * math.sqrt(1 - height**2), -height)
        return positions

    @cached_property
    def radius(self) -> float:
        """Radius of the circle, in inches.

        Names on one side are 0.7 inches apart, or at least 0.3 where the circle would become too large; many arrows need a larger circle.
        """
        heights = [sorted(y for x, y in self.positions.values() if (x > 0) == right) for right in (True, False)]
        gaps = [b - a for side in heights for a, b in itertools.pairwise(side)]
        smallest_gap = min(gaps, default=1.0)
        return max(1.3 + 0.05 * len(self.arrows), min(0.7 / smallest_gap, 5.0), 0.3 / smallest_gap)

    @cached_property
    def labels(self) -> dict[int, str]:
        """Name and number of users of each drawn category."""
        names, users = dict(zip(self.categories, self.names, strict=True)), self.category_map.users
        return {
            category: f"{names[category]}  ({format_users(int(users[category]), self.category_map.min_users)})"
            for category in self.positions
        }

    @property
    def width(self) -> float:
        """Width of the panel, in inches."""
        return 2 * (self.radius + max((text_width(text, 9) for text in self.labels.values()), default=2.0) + 0.35)

    @property
    def height(self) -> float:
        """Height of the panel with its legend, in inches."""
        return 2 * self.radius + 1.3 if self.arrows else LINE_HEIGHT * 2

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw the panel with its upper left corner at x, y."""
        from matplotlib.patches import Circle

        if not self.arrows:
            canvas.text(x, y + LINE_HEIGHT, "No pair is both sure and more frequent than usual: there is no arrow to draw.", 9.5)
            return
        centre_x, centre_y = x + self.width / 2, y + 0.2 + self.radius
        centres = {category: (centre_x + self.radius * u, centre_y + self.radius * v) for category, (u, v) in self.positions.items()}
        users = {category: int(self.category_map.users[category]) for category in centres}
        largest, most_users = 0.15 if len(centres) <= MAX_FULLY_LABELLED else 0.11, max(1, *users.values())
        radii = {category: max(0.06, largest * math.sqrt(users[category] / most_users)) for category in centres}
        for pair in reversed(self.arrows):
            self._draw_arrow(canvas, pair, centres, radii)
        for category, (u, v) in centres.items():
            canvas.axes.add_patch(Circle((u, v), radii[category], facecolor="#fdb863", edgecolor=DARK_TEXT, linewidth=0.8, zorder=3))
            side = 1 if u > centre_x else -1
            alignment, tooltip = "left" if side > 0 else "right", category_tooltip(self.category_map, category)
            canvas.text(u + side * (radii[category] + 0.08), v, self.labels[category], 9, ha=alignment, tooltip=tooltip)
        self._draw_legend(canvas, x, centre_y + self.radius + 0.5)

    def line_width(self, lift: float) -> float:
        """Line width of an arrow, in points: 0.7 for a lift of 1 to 3.6 for the strongest drawn (2 or more), linear in log(lift)."""
        return 0.7 + 2.9 * math.log2(lift) / max(1.0, *(math.log2(self.category_map.lift[pair]) for pair in self.arrows))

    @cached_property
    def directions(self) -> dict[tuple[tuple[int, int], int], float]:
        """Direction in which an arrow leaves an endpoint, in radians with y downwards, by (arrow, endpoint).

        The arrows at a category are fanned out in the order of their other endpoints, so that heads do not cover each other. Of two
        opposite arrows the outgoing one comes first at both endpoints, which gives two curves that never cross.
        """
        directions = {}
        for category, (x, y) in self.positions.items():
            inward = math.atan2(-y, -x)
            ends = []
            for pair in self.arrows:
                if category in pair:
                    u, v = self.positions[pair[0] if pair[1] == category else pair[1]]
                    deviation = math.remainder(math.atan2(v - y, u - x) - inward, math.tau)
                    ends.append((round(deviation, 6), pair[1] == category, pair))
            ends.sort()
            middle, gaps = (ends[0][0] + ends[-1][0]) / 2, len(ends) - 1
            limit = min(max(MAX_DEVIATION, ARROW_SPACING * gaps / 2), MAX_DEVIATION_OF_MANY)
            half = min(max(ends[-1][0] - ends[0][0], ARROW_SPACING * gaps) / 2, limit)
            middle = min(max(middle, half - limit), limit - half)
            for rank, (_, _, pair) in enumerate(ends):
                directions[pair, category] = inward + middle + (half * (2 * rank / gaps - 1) if gaps else 0.0)
        return directions

    def _draw_arrow(self, canvas: Canvas, pair: tuple[int, int], centres: dict[int, tuple[float, float]], radii: dict[int, float]) -> None:
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path as Curve
        from matplotlib.patheffects import Normal, Stroke

        element_id = f"arrow-{pair[0]}-{pair[1]}"
        canvas.labels[element_id] = ElementLabel(
            tooltip=CategoryPair.from_map(self.category_map, *pair).tooltip(self.category_map.words.people)
        )
        line_width = self.line_width(float(self.category_map.lift[pair]))
        tangents = [np.array([math.cos(self.directions[pair, end]), math.sin(self.directions[pair, end])]) for end in pair]
        start, end = (np.array(centres[code]) + tangent * (radii[code] + 0.05) for code, tangent in zip(pair, tangents, strict=True))
        # Arrows of neighbours bulge towards the centre: straight ones would cross the circle between them, or be all head. The two halves
        # of a curve must not pass each other, or it would loop. Of two opposite arrows the outer one bulges more.
        chord = end - start
        length = float(np.hypot(*chord))
        cosines = [float(tangent @ step) / max(length, 1e-9) for tangent, step in zip(tangents, (chord, -chord), strict=True)]
        bulge = max(0.4 * length, 0.5) * (1.2 - 0.25 * sum(cosines))
        reach = [min(bulge, 0.6 * length / max(cosine, 0.05)) for cosine in cosines]
        controls = [start, start + reach[0] * tangents[0], end + reach[1] * tangents[1], end]
        arrow = FancyArrowPatch(
            path=Curve(controls, [Curve.MOVETO] + [Curve.CURVE4] * 3),
            arrowstyle="-" if self.category_map.order == "none" else "-|>",
            mutation_scale=7 + 1.6 * line_width,
            linewidth=line_width,
            color=ARROW_COLOR,
            joinstyle="miter",
            capstyle="butt",
            gid=element_id,
        )
        # A white outline separates crossing arrows.
        arrow.set_path_effects([Stroke(linewidth=line_width + 1.6, foreground="white"), Normal()])
        canvas.axes.add_patch(arrow)

    def _draw_legend(self, canvas: Canvas, x: float, y: float) -> None:
        lifts = sorted(float(self.category_map.lift[pair]) for pair in self.arrows)
        samples = {format_lift(lift): lift for lift in (lifts[0], lifts[len(lifts) // 2], lifts[-1])}
        line = "line" if self.category_map.order == "none" else "arrow"
        heading = f"The thicker the {line}, the higher the lift:"
        canvas.text(x, y, heading, 9)
        sample_x = x + text_width(heading, 9) + 0.2
        for label, lift in samples.items():
            style = {"color": ARROW_COLOR, "linewidth": self.line_width(lift), "solid_capstyle": "butt"}
            canvas.axes.plot([sample_x, sample_x + 0.4], [y, y], **style)
            canvas.text(sample_x + 0.48, y, f"{label}×", 9)
            sample_x += 1.0
        canvas.text(x, y + 0.26, f"The larger the circle, the more {self.category_map.words.people}; their number is in brackets.", 9)
