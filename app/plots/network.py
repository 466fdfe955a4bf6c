"""The strongest complements as arrows between categories on a circle."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...recommend.category_map.matrix import CategoryMap
from .annotated_svg import Said, in_words, known, people, times, whole_name
from .canvas import INK, LINE, NUMBERED, Sheet, text_width

MOST_ARROWS = 30
"""What a person can still follow."""
ARROW = "#542788"
FAN, SIDEWAYS, CROWDED = math.radians(24), math.radians(35), math.radians(80)
"""How far apart arrows leave a category, how far from the circle's centre they may turn away, and how far where they are many."""


def complements(atlas: CategoryMap) -> list[tuple[int, int]]:
    """The sure pairs (row, column) of lift above 1, strongest first: by the lower end of the lift's interval."""
    rows, columns = np.nonzero(known(atlas) & atlas.significant & (atlas.lift > 1))
    order = np.lexsort((columns, rows, -atlas.lift_low[rows, columns]))
    return [(int(rows[i]), int(columns[i])) for i in order]


@dataclass(frozen=True)
class Network:
    """The strongest complements as arrows between categories on a circle; names outside it, so that no arrow crosses them.

    `names` are those of `shown`; where nothing says which came first, a pair is one line without a head.
    """

    atlas: CategoryMap
    shown: list[int]
    names: list[str]

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """The complements among the categories shown, strongest first."""
        among, pairs = set(self.shown), complements(self.atlas)
        if self.atlas.order == "none":
            # The direction kept is one that is known: the other's figures may be withheld.
            pairs = list({frozenset(pair): pair for pair in reversed(pairs)}.values())[::-1]
        return [pair for pair in pairs if among.issuperset(pair)]

    @property
    def arrows(self) -> list[tuple[int, int]]:
        """The pairs drawn."""
        return self.pairs[:MOST_ARROWS]

    @property
    def heading(self) -> str:
        """What the panel shows."""
        drawn, all_of_them = len(self.arrows), len(self.pairs)
        if drawn < all_of_them:
            return f"The strongest complements: the first {drawn} of {all_of_them} sure pairs"
        return (
            f"The strongest complements: {'the only sure pair' if drawn == 1 else f'all {drawn} sure pairs' if drawn else 'none is sure'}"
        )

    @cached_property
    def places(self) -> dict[int, tuple[float, float]]:
        """Category to its place on the unit circle, y downwards: down the right half, up the left.

        Heights lie closer to even than even angles would have them: at the poles neighbours' names would else be on one line.
        """
        ends = {end for pair in self.arrows for end in pair}
        nodes = [code for code in self.shown if code in ends]
        right = (len(nodes) + 1) // 2
        found = {}
        for side, half in ((1, nodes[:right]), (-1, nodes[right:][::-1])):
            for i, code in enumerate(half):
                t = (i + 0.5) / len(half)
                height = 0.4 * math.cos(math.pi * t) + 0.6 * (1 - 2 * t)
                found[code] = (side * math.sqrt(1 - height**2), -height)
        return found

    @cached_property
    def radius(self) -> float:
        """Of the circle, in inches: names of one side lie 0.7 apart, in too large a circle 0.3 or more; many arrows need room, too."""
        heights = [sorted(y for x, y in self.places.values() if (x > 0) == right) for right in (True, False)]
        gaps = [b - a for side in heights for a, b in itertools.pairwise(side)]
        least = min(gaps, default=1.0)
        return max(1.3 + 0.05 * len(self.arrows), min(0.7 / least, 5.0), 0.3 / least)

    @cached_property
    def texts(self) -> dict[int, str]:
        """Category to its name with its users."""
        names = dict(zip(self.shown, self.names, strict=True))
        return {code: f"{names[code]}  ({people(self.atlas, code)})" for code in self.places}

    @property
    def width(self) -> float:
        """Of the whole panel, in inches."""
        return 2 * (self.radius + max((text_width(text, 9) for text in self.texts.values()), default=2.0) + 0.35)

    @property
    def height(self) -> float:
        """Of the whole panel with its legend, in inches."""
        return 2 * self.radius + 1.3 if self.arrows else LINE * 2

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Draws the panel with its upper left corner at x, y."""
        from matplotlib.patches import Circle

        if not self.arrows:
            sheet.write(x, y + LINE, "No pair is both sure and more frequent than usual: there is no arrow to draw.", 9.5)
            return
        across, down = x + self.width / 2, y + 0.2 + self.radius
        place = {code: (across + self.radius * u, down + self.radius * v) for code, (u, v) in self.places.items()}
        most = max(int(self.atlas.users[code]) for code in place)
        largest = 0.15 if len(place) <= NUMBERED else 0.11
        size = {code: max(0.06, largest * math.sqrt(int(self.atlas.users[code]) / max(most, 1))) for code in place}
        for pair in reversed(self.arrows):
            self._arrow(sheet, pair, place, size)
        for code, (u, v) in place.items():
            sheet.axes.add_patch(Circle((u, v), size[code], facecolor="#fdb863", edgecolor=INK, linewidth=0.8, zorder=3))
            side = 1 if u > across else -1
            hover = f"{whole_name(self.atlas.paths[code])}: {people(self.atlas, code)} users"
            sheet.write(u + side * (size[code] + 0.08), v, self.texts[code], 9, ha="left" if side > 0 else "right", hover=hover)
        self._legend(sheet, x, down + self.radius + 0.5)

    def thickness(self, lift: float) -> float:
        """Of an arrow, in points: 0.7 for a lift of 1 to 3.6 for the strongest drawn (2 or more), even on a logarithmic scale."""
        return 0.7 + 2.9 * math.log2(lift) / max(1.0, *(math.log2(self.atlas.lift[pair]) for pair in self.arrows))

    @cached_property
    def ports(self) -> dict[tuple[tuple[int, int], int], float]:
        """(arrow, one of its ends) to the direction in which the arrow leaves that end, in radians, y downwards.

        The ends at a category are fanned out, in the order in which they would lie anyway, so that heads do not cover each other. Of two
        opposite arrows the outgoing one comes first at either end, which makes them two curves that never cross.
        """
        found = {}
        for code, (x, y) in self.places.items():
            inward = math.atan2(-y, -x)
            ends = []
            for pair in self.arrows:
                if code in pair:
                    u, v = self.places[pair[0] if pair[1] == code else pair[1]]
                    aside = math.remainder(math.atan2(v - y, u - x) - inward, math.tau)
                    ends.append((round(aside, 6), pair[1] == code, pair))
            ends.sort()
            middle, gaps = (ends[0][0] + ends[-1][0]) / 2, len(ends) - 1
            limit = min(max(SIDEWAYS, FAN * gaps / 2), CROWDED)
            half = min(max(ends[-1][0] - ends[0][0], FAN * gaps) / 2, limit)
            middle = min(max(middle, half - limit), limit - half)
            for rank, (_, _, pair) in enumerate(ends):
                found[pair, code] = inward + middle + (half * (2 * rank / gaps - 1) if gaps else 0.0)
        return found

    def _arrow(self, sheet: Sheet, pair: tuple[int, int], place: dict[int, tuple[float, float]], size: dict[int, float]) -> None:
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path as Curve
        from matplotlib.patheffects import Normal, Stroke

        thick = self.thickness(float(self.atlas.lift[pair]))
        gid = f"arrow-{pair[0]}-{pair[1]}"
        names = " → ".join(whole_name(self.atlas.paths[code]) for code in pair)
        users, share, base_rate, usual, interval, _ = in_words(self.atlas, *pair)
        sheet.said[gid] = Said(hover=f"{names}\n{users} users: {share}, of everybody {base_rate}\nlift {usual} (95 % interval {interval})")
        towards = [np.array([math.cos(self.ports[pair, code]), math.sin(self.ports[pair, code])]) for code in pair]
        start, end = (np.array(place[code]) + way * (size[code] + 0.05) for code, way in zip(pair, towards, strict=True))
        # Neighbours' arrows bulge towards the centre: straight ones would run over the circle between, or be all head. But the two halves
        # of a curve must not pass each other, or it would loop; and of two opposite arrows the outer one bulges more.
        along = end - start
        length = float(np.hypot(*along))
        turns = [float(way @ step) / max(length, 1e-9) for way, step in zip(towards, (along, -along), strict=True)]
        bulge = max(0.4 * length, 0.5) * (1.2 - 0.25 * sum(turns))
        reach = [min(bulge, 0.6 * length / max(turn, 0.05)) for turn in turns]
        curve = Curve([start, start + reach[0] * towards[0], end + reach[1] * towards[1], end], [Curve.MOVETO] + [Curve.CURVE4] * 3)
        arrow = FancyArrowPatch(
            path=curve,
            arrowstyle="-" if self.atlas.order == "none" else "-|>",
            mutation_scale=7 + 1.6 * thick,
            linewidth=thick,
            color=ARROW,
            joinstyle="miter",
            capstyle="butt",
            gid=gid,
        )
        # A white rim keeps crossing arrows apart.
        arrow.set_path_effects([Stroke(linewidth=thick + 1.6, foreground="white"), Normal()])
        sheet.axes.add_patch(arrow)

    def _legend(self, sheet: Sheet, x: float, y: float) -> None:
        lifts = sorted(float(self.atlas.lift[pair]) for pair in self.arrows)
        samples = {times(lift): lift for lift in (lifts[0], lifts[len(lifts) // 2], lifts[-1])}
        line = "line" if self.atlas.order == "none" else "arrow"
        words = f"The thicker the {line}, the higher the lift:"
        sheet.write(x, y, words, 9)
        at = x + text_width(words, 9) + 0.2
        for text, lift in samples.items():
            sheet.axes.plot([at, at + 0.4], [y, y], color=ARROW, linewidth=self.thickness(lift), solid_capstyle="butt")
            sheet.write(at + 0.48, y, f"{text}×", 9)
            at += 1.0
        sheet.write(x, y + 0.26, "The larger the circle, the more users, whose number stands in brackets.", 9)
