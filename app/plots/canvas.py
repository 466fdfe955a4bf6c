"""A drawing surface in inches from its upper left corner, on top of matplotlib, that collects the labels of its elements."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from .annotated_svg import ElementLabel
from .lift_scale import DARK_TEXT

if TYPE_CHECKING:
    from matplotlib.text import Text

SECONDARY_TEXT = "#595959"
MARGIN, LINE_HEIGHT, LEGEND_WIDTH = 0.35, 0.21, 7.3
"""Page margin, distance between lines of text, and minimum width of the legend of the heat map; all in inches."""
DOTS_PER_INCH = 144


def with_placeholders(text: str) -> str:
    """The text with `□` for every character that matplotlib's default font cannot draw."""
    glyphs = _glyphs()
    return "".join(character if ord(character) in glyphs else "□" for character in text)


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a text of `size` points, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return float(text_to_path.get_text_width_height_descent(with_placeholders(text), font, ismath=False)[0]) / 72


@dataclass
class Canvas:
    """A page with one pair of axes in inches, y downwards.

    Attributes:
        width: Width of the page, in inches.
        height: Height of the page, in inches.
        title: Title of the picture.
        notes: Notes of the picture, one paragraph each.
        labels: Labels of the SVG by element id.
    """

    width: float
    height: float
    title: str
    notes: list[str]
    labels: dict[str, ElementLabel] = field(default_factory=dict)

    @cached_property
    def axes(self) -> Any:
        """Axes of a figure without a window (the types of matplotlib for them are partial)."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width, self.height), dpi=DOTS_PER_INCH, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, self.width), ylim=(self.height, 0))
        axes.set_axis_off()
        return axes

    def text(
        self, x: float, y: float, text: str, size: float = 9, *, tooltip: str | None = None, ignores_pointer: bool = False, **style: Any
    ) -> Text:
        """Draw a text, never parsed as mathematics. It starts at `x` unless `ha` is given; `y` is its middle."""
        drawn_text = with_placeholders(text)
        element_id = f"text-{len(self.axes.texts)}"
        style = {"color": DARK_TEXT, "va": "center", **style}
        if drawn_text != text or tooltip or ignores_pointer:
            self.labels[element_id] = ElementLabel(text if drawn_text != text else None, tooltip, ignores_pointer)
        element: Text = self.axes.text(x, y, drawn_text, fontsize=size, parse_math=False, gid=element_id, **style)
        return element

    def rectangle(self, x: float, y: float, width: float, height: float, *, tooltip: str | None = None, **style: Any) -> None:
        """Draw a rectangle with its upper left corner at x, y."""
        from matplotlib.patches import Rectangle

        element_id = f"box-{len(self.axes.patches)}"
        if tooltip:
            self.labels[element_id] = ElementLabel(tooltip=tooltip)
        self.axes.add_patch(Rectangle((x, y), width, height, gid=element_id, **{"linewidth": 0, **style}))

    def save(self, format: str) -> bytes:
        """The page as PNG or SVG, without a date or the name of a program in its metadata."""
        buffer = io.BytesIO()
        removed_metadata = {"png": ["Software"], "svg": ["Date", "Creator", "Format", "Type"]}[format]
        self.axes.figure.savefig(buffer, format=format, dpi=DOTS_PER_INCH, metadata=dict.fromkeys(removed_metadata))
        return buffer.getvalue()
