"""A page that pictures are drawn on, in inches from its upper left corner; it keeps what was written on it, for tests to read."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from .annotated_svg import Said

if TYPE_CHECKING:
    from matplotlib.text import Text

NUMBERED = 20
"""Up to so many categories every known cell shows its figure; beyond, only a sure one."""
INK, FAINT = "#1a1a1a", "#595959"
MARGIN, LINE, LEGEND = 0.35, 0.21, 7.3
"""Around the page, between lines of text, and as wide as the heat map's legend; all in inches."""
DOTS_PER_INCH = 144


def drawable(text: str) -> str:
    """The text with a box for every character that matplotlib's own font cannot draw."""
    glyphs = _glyphs()
    return "".join(c if ord(c) in glyphs else "□" for c in text)


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


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
