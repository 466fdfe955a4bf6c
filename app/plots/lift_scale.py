"""Colour scale, limits and number format of lift, shared by the static pictures and the chart of the console.

The scale is diverging and logarithmic: its middle is a lift of 1 (as often as usual), its ends are a power of two and its reciprocal. Knows
nothing of categories or of a drawing library.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

LIGHT_COLORS = ("#934607", "#cb6e0d", "#f4a84c", "#fedaa9", "#f6f6f7", "#d2d3e7", "#a39bc7", "#6b4f9b", "#3c0f63")
"""ColorBrewer's PuOr, its outer 4 % cut off: from less to more often than usual, distinguishable with colour vision deficiencies."""
DARK_COLORS = ("#f5a742", "#c87a1c", "#8a561b", "#553a1c", "#2b3036", "#3f3a63", "#62569b", "#8f82c8", "#c5baf2")
"""The same hues on a dark background: the middle is close to the background colour."""
DARK_TEXT, LIGHT_TEXT = "#1a1a1a", "#ffffff"
TICK_LABELS = {-4: "1⁄16×", -3: "⅛×", -2: "¼×", -1: "½×", 0: "1×", 1: "2×", 2: "4×", 3: "8×", 4: "16×+"}
"""Binary logarithm of a lift to its label."""
MAX_LIMIT = max(TICK_LABELS)


def format_lift(lift: float) -> str:
    """A lift in at most four characters: 0.42, 1.26, 2.6, 14, 999+."""
    if lift >= 999.5:
        return "999+"
    return f"{lift:.0f}" if lift >= 9.95 else f"{lift:.1f}" if lift >= 1.995 else f"{lift:.2f}"


def format_lift_interval(low: float, high: float | None) -> str:
    """A confidence interval of a lift: "2.1 to 3.2", or "2.1 and up" without an upper bound (None or inf)."""
    bounded = high is not None and math.isfinite(high)
    return f"{format_lift(low)} to {format_lift(high)}" if high is not None and bounded else f"{format_lift(low)} and up"


def scale_limit(lifts: Iterable[float]) -> int:
    """Binary logarithm of the lift at which the scale ends: 1 (lift 2) to 4 (lift 16), so that small differences look small.

    Args:
        lifts: Lifts to show, 0 or more; zeros do not count.
    """
    largest = max((abs(math.log2(lift)) for lift in lifts if lift > 0), default=1.0)
    return min(MAX_LIMIT, max(1, math.ceil(largest - 1e-9)))


def scale_position(lift: float, limit: float) -> float:
    """Position of a lift on the scale, -1 to 1: its binary logarithm divided by `limit` and clipped. A lift of 0 is at -1."""
    return min(max(math.log2(lift) / limit, -1.0), 1.0) if lift > 0 else -1.0


def lift_color(lift: float, limit: float, colors: Sequence[str] = LIGHT_COLORS) -> tuple[float, float, float]:
    """Colour of a lift as red, green and blue (0 to 1), interpolated linearly between equally spaced hex colours."""
    offset = (scale_position(lift, limit) + 1) / 2 * (len(colors) - 1)
    lower = min(int(offset), len(colors) - 2)
    start, end = ([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)] for color in colors[lower : lower + 2])
    red, green, blue = (a + (b - a) * (offset - lower) for a, b in zip(start, end, strict=True))
    return red, green, blue


def text_color(background: Sequence[float]) -> str:
    """The text colour, dark or light, with the higher contrast on a background (relative luminance of WCAG 2.1)."""
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in background]
    return DARK_TEXT if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else LIGHT_TEXT
