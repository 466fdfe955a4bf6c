"""The complement atlas as a picture: a heat map of category-to-category lift above a network of the strongest complements.

One page, measured in inches from its upper left corner, as svg, png or html. The same atlas gives the same bytes. A png can only show
characters that its font has; an svg and an html page keep every name as it is.
"""

from __future__ import annotations

import io
import itertools
import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.errors import QueryError, SettingsError, StorageError, storing
from ..data.files import write_atomically
from ..data.records import Category
from ..recommend.atlas import Atlas
from .html_picture import Said, annotated, doing, in_words, known, page, people, table, times, whole_name

if TYPE_CHECKING:
    from matplotlib.text import Text

FORMATS = (".svg", ".png", ".html")
MOST_CATEGORIES, MOST_ARROWS = 40, 30
"""What a person can still read on an axis and in the network."""
NUMBERED = 20
"""Up to so many categories every known cell shows its figure; beyond, only a sure one."""
NAME_LENGTH = 36
COLORS = "PuOr"
"""ColorBrewer's orange to purple, which the colour-blind can tell apart; orange is less often than usual."""
INK, FAINT, ARROW = "#1a1a1a", "#595959", "#542788"
MARGIN, LINE, LEGEND = 0.35, 0.21, 7.3
"""Around the page, between lines of text, and as wide as the heat map's legend; all in inches."""
FAN, SIDEWAYS, CROWDED = math.radians(24), math.radians(35), math.radians(80)
"""How far apart arrows leave a category, how far from the circle's centre they may turn away, and how far where they are many."""
DOTS_PER_INCH = 144
_STYLE = {"svg.hashsalt": "crossaisle", "svg.fonttype": "none", "font.family": "DejaVu Sans", "hatch.linewidth": 0.6}


def draw(atlas: Atlas, path: Path) -> None:
    """Draws the atlas into the file `path`, replaced whole; its suffix (.svg, .png, .html) says which format.

    Raises:
        SettingsError: another suffix, a folder at `path`, or no folder to put it in.
        QueryError: no pair of the atlas is known.
        StorageError: the disk refuses.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise SettingsError(f"a picture is an .svg, .png or .html file, and {path.name!r} is none of them; give it one of these endings")
    try:
        if path.is_dir():
            raise SettingsError(f"{path} is a folder; name a file for the picture, such as {path / 'atlas.svg'}")
        if not path.parent.is_dir():
            raise SettingsError(f"there is no folder {path.parent} to put the picture {path.name} in; make it first")
        content = render(atlas, kind)
        with storing(f"the picture {path}"):
            write_atomically(path, content)
    except OSError as error:
        # A read-only disk, a name that is too long: the system's own words say it best.
        raise StorageError(f"the picture {path} could not be written ({error.strerror or error}); choose another place") from error


def render(atlas: Atlas, kind: str) -> bytes:
    """The picture as the bytes of a file; `kind` is one of `FORMATS`.

    Raises: QueryError: no pair of the atlas is known.
    """
    import matplotlib.style

    if not known(atlas).any():
        raise QueryError(
            f"nothing to draw: no two of the {len(atlas.paths)} categories are shared by {atlas.min_users} users or more; "
            "ask over a longer period or a broader category level"
        )
    # The user's own matplotlib settings must neither change the bytes nor break the layout.
    with matplotlib.style.context(["default", _STYLE]):
        sheet = compose(atlas, vector=kind != ".png")
        if kind == ".png":
            return sheet.saved("png")
        svg = annotated(sheet.saved("svg").decode(), sheet.title, sheet.said)
    if kind == ".svg":
        return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}\n'.encode()
    return page(sheet.title, sheet.notes, svg, table(atlas)).encode()


def complements(atlas: Atlas) -> list[tuple[int, int]]:
    """The sure pairs (row, column) of lift above 1, strongest first: by the lower end of the lift's interval."""
    rows, columns = np.nonzero(known(atlas) & atlas.sure & (atlas.lift > 1))
    order = np.lexsort((columns, rows, -atlas.low[rows, columns]))
    return [(int(rows[i]), int(columns[i])) for i in order]


def chosen(atlas: Atlas) -> list[int]:
    """At most `MOST_CATEGORIES` categories: of the strongest complements, then of the most users; in the arrays' order."""
    ends = [end for pair in complements(atlas) for end in pair]
    return sorted(list(dict.fromkeys([*ends, *np.argsort(-atlas.users, kind="stable").tolist()]))[:MOST_CATEGORIES])


def side_by_side(atlas: Atlas, chosen: Sequence[int]) -> list[int]:
    """The chosen categories in an order that puts those together which go together (clusters by lift, either way)."""
    if len(chosen) < 3:
        return list(chosen)
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    cut = np.ix_(chosen, chosen)
    strength = np.where(known(atlas)[cut], np.clip(np.log2(np.maximum(atlas.lift[cut], 1 / 16)), -4, 4), 0.0)
    strength = strength + strength.T
    distance = squareform(strength.max() - strength, checks=False)
    return [chosen[i] for i in leaves_list(optimal_leaf_ordering(linkage(distance, "average"), distance)).tolist()]


# Names


def short_names(paths: Sequence[Category], *, vector: bool, limit: int = NAME_LENGTH) -> list[str]:
    """A name per path of about `limit` characters, no two alike: the last of the path, with its parents in brackets where that tells apart.

    Args: vector: False replaces what the font lacks by boxes before the names are compared.
    """
    tails = [next((d for d in range(1, len(p)) if Counter(q[-d:] for q in paths)[p[-d:]] == 1), len(p)) for p in paths]
    names = []
    for path, depth in zip(paths, tails, strict=True):
        parents = f" ({whole_name(path[-depth:-1])})" if depth > 1 else ""
        names.append(whole_name(path[-1:]) + parents)
    names = names if vector else [drawable(name) for name in names]
    short = [name if len(name) <= limit else name[: limit - 1].rstrip() + "…" for name in names]
    twins, half = Counter(short), (limit - 1) // 2
    taken: set[str] = set()
    for i, name in enumerate(names):
        if twins[short[i]] > 1 and len(name) > limit:
            short[i] = f"{name[:half].rstrip()}…{name[-half:].lstrip()}"
        stem, count = short[i], 2
        while short[i] in taken:
            short[i], count = f"{stem} ({count})", count + 1
        taken.add(short[i])
    return short


def drawable(text: str) -> str:
    """The text with a box for every character that matplotlib's own font cannot draw."""
    glyphs = _glyphs()
    return "".join(c if ord(c) in glyphs else "□" for c in text)


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


# The page


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a text of `size` points is, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return float(text_to_path.get_text_width_height_descent(drawable(text), font, ismath=False)[0]) / 72


@dataclass
class Sheet:
    """A page being drawn: everything goes onto one pair of axes in inches, y downwards.

    Attributes:
        said: by id, what the svg says of an element beyond its shape.
        boxes: whether a character was replaced because the font lacks it.
    """

    width: float
    height: float
    title: str
    notes: list[str]
    vector: bool
    said: dict[str, Said] = field(default_factory=dict)

    @cached_property
    def axes(self) -> Any:
        """The axes of a figure without a window behind it (matplotlib's own types for them are partial)."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width, self.height), dpi=DOTS_PER_INCH, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, self.width), ylim=(self.height, 0))
        axes.set_axis_off()
        return axes

    def write(
        self, x: float, y: float, text: str, size: float = 9, *, hover: str | None = None, through: bool = False, **style: Any
    ) -> Text:
        """A text, never read as mathematics; left of `x` unless `ha` says otherwise, `y` its middle."""
        shown = drawable(text)
        gid = f"text-{len(self.axes.texts)}"
        style = {"color": INK, "va": "center", **style}
        if shown != text or hover or through:
            self.said[gid] = Said(text if shown != text else None, hover, through)
        drawn: Text = self.axes.text(x, y, shown, fontsize=size, parse_math=False, gid=gid, **style)
        return drawn

    def box(self, x: float, y: float, width: float, height: float, *, hover: str | None = None, **style: Any) -> None:
        """A rectangle with its upper left corner at x, y."""
        from matplotlib.patches import Rectangle

        gid = f"box-{len(self.axes.patches)}"
        if hover:
            self.said[gid] = Said(hover=hover)
        self.axes.add_patch(Rectangle((x, y), width, height, gid=gid, **{"linewidth": 0, **style}))

    def saved(self, format: str) -> bytes:
        """The page as png or svg, without a date or the name of a program in it."""
        buffer = io.BytesIO()
        nothing = {"png": ["Software"], "svg": ["Date", "Creator", "Format", "Type"]}[format]
        self.axes.figure.savefig(buffer, format=format, dpi=DOTS_PER_INCH, metadata=dict.fromkeys(nothing))
        return buffer.getvalue()


# The two panels


@dataclass(frozen=True)
class HeatMap:
    """Rows over columns: the colour of a cell is its lift."""

    atlas: Atlas
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
        lift, sure = float(atlas.lift[row, column]), bool(atlas.sure[row, column])
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


@dataclass(frozen=True)
class Network:
    """The strongest complements as arrows between categories on a circle; names outside it, so that no arrow crosses them.

    `names` are those of `shown`; where nothing says which came first, a pair is one line without a head.
    """

    atlas: Atlas
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


SAME: dict[str, Any] = {"facecolor": "#c4c4c4", "edgecolor": "white", "linewidth": 0.6}
WITHHELD: dict[str, Any] = {"facecolor": "white", "edgecolor": "#cfcfcf", "hatch": "////", "linewidth": 0.4}
TICKS = {-4: "1⁄16×", -3: "⅛×", -2: "¼×", -1: "½×", 0: "1×", 1: "2×", 2: "4×", 3: "8×", 4: "16×+"}
"""A power of two to how it is written."""


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


def compose(atlas: Atlas, *, vector: bool) -> Sheet:
    """The page: what it is, the heat map, the network, and notes at the foot. `vector` as in `short_names`."""
    shown = side_by_side(atlas, chosen(atlas))
    names = short_names([atlas.paths[code] for code in shown], vector=vector)
    heat, network = HeatMap(atlas, shown, names), Network(atlas, shown, names)
    had, then = doing(atlas)
    title = f"What goes with what: {len(shown)} categories"
    lead = f"How many times as often as usual somebody who {had} one category {then} another, {atlas.window}."
    if atlas.order == "position":
        lead += " There is no clock in the data: what counts as later is its place in the list."
    if atlas.order == "none":
        lead += " Nothing in the data says which came first."
    notes = [lead]
    if len(shown) < len(atlas.paths):
        notes.append(f"Of {len(atlas.paths)} categories, the {len(shown)} with the strongest sure associations are shown.")
    withheld = f"{atlas.suppressed:,}" if atlas.suppressed else "none"
    notes.append(f"Pairs whose figures would tell of fewer than {atlas.min_users} users are withheld: {withheld} here.")
    if any("□" in name for name in names) and not vector:
        notes.append("□ stands for a character that this picture's font lacks; the svg and the html page have it.")
    width = max(8.5, heat.width + 2 * MARGIN, network.width + 2 * MARGIN)
    letters = int((width - 2 * MARGIN) / text_width("n" * 100, 9.5) * 100 * 1.08)
    lines = [line for note in notes for line in textwrap.wrap(note, letters)]
    head = 0.45 + 0.3 + LINE * len(lines) + 0.35
    height = head + 0.25 + heat.height + 0.75 + network.height + MARGIN
    sheet = Sheet(width, height, title, notes, vector)
    sheet.write(MARGIN, 0.45, title, 16, weight="bold")
    for i, line in enumerate(lines):
        sheet.write(MARGIN, 0.8 + i * LINE, line, 9.5)
    heat.draw(sheet, (width - heat.width) / 2, head + 0.1)
    top = head + 0.1 + heat.height + 0.35
    sheet.box(MARGIN, top - 0.25, width - 2 * MARGIN, 0.01, facecolor="#c4c4c4")
    sheet.write(MARGIN, top, network.heading, 12, weight="bold")
    network.draw(sheet, (width - network.width) / 2 if network.arrows else MARGIN, top + 0.3)
    return sheet
