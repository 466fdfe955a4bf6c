"""What a picture of the atlas says in words, and its markup: names, figures, an svg that tells them, one html page with a table.

Names come from strangers, so nothing here pastes text together unescaped, and the page forbids itself every script and every address.
Knows nothing of how the picture is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from ...data.records import Category
from ...recommend.category_map.matrix import CategoryMap
from ...retrieval.items.category_tree import SEPARATOR
from ..terminal.render import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_ROWS = 50
"""Of the table."""
_DOING = {"bought": ("bought from", "buy from"), "rated": ("rated items of", "rate items of"), "looked at": ("looked at", "look at")}

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"

STYLE = """
body { font: 16px/1.5 "DejaVu Sans", Verdana, sans-serif; color: #1a1a1a; background: #fff; margin: 1.5rem; }
figure { margin: 0; overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; margin-top: 1.5rem; }
caption { text-align: left; font-weight: bold; font-size: 1.1rem; padding-bottom: .5rem; }
th, td { border-bottom: 1px solid #d0d0d0; padding: .35rem .75rem; text-align: right; vertical-align: top; }
thead th { border-bottom: 2px solid #555; }
.name { text-align: left; font-weight: normal; max-width: 26rem; overflow-wrap: anywhere; }
thead .name { font-weight: bold; }
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What an element of the drawing says beyond its shape.

    Attributes:
        text: the text as it is, where the drawing shows boxes for characters its font lacks; None keeps the drawing's.
        hover: what a pointer resting on it, or a screen reader, is told; None for nothing.
        through: a pointer passes through to what lies beneath.
    """

    text: str | None = None
    hover: str | None = None
    through: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The strongest pairs in words. `rows` hold one text per heading; the first `names` columns are strangers' names."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 2


def known(atlas: CategoryMap) -> NDArray[np.bool_]:
    """(categories, categories) where there is a lift to show."""
    return np.isfinite(atlas.lift) & ~np.eye(len(atlas.paths), dtype=np.bool_)


def whole_name(path: Category) -> str:
    """The path of a category in words, on one line and without characters that hide or turn text."""
    parts = (" ".join(filter(None, map(printable, part.split()))) for part in path)
    return SEPARATOR.join(filter(None, parts)) or "(no name)"


def times(lift: float) -> str:
    """A lift in at most four characters: 0.42, 1.26, 2.6, 14, 999+."""
    if lift >= 999.5:
        return "999+"
    return f"{lift:.0f}" if lift >= 9.95 else f"{lift:.1f}" if lift >= 1.995 else f"{lift:.2f}"


def people(atlas: CategoryMap, category: int) -> str:
    """How many users a category has, as far as that may be said."""
    users = int(atlas.users[category])
    return f"{users:,}" if users >= atlas.min_users else f"under {atlas.min_users}"


def doing(atlas: CategoryMap) -> tuple[str, str]:
    """What a row and what a column stands for: ("has bought from", "goes on to buy from")."""
    had, do = _DOING.get(atlas.verb, (f"{atlas.verb} items of", ""))
    return f"has {had}", f"goes on to {do}" if do and atlas.order != "none" else f"has {'also' if atlas.order == 'none' else 'later'} {had}"


def in_words(atlas: CategoryMap, row: int, column: int) -> list[str]:
    """The figures of a known pair: users, share, base rate, lift, interval, and whether it is sure."""
    high = atlas.lift_high[row, column]
    return [
        f"{int(atlas.support[row, column]):,}",
        f"{atlas.share[row, column]:.1%}",
        f"{atlas.base_rate[row, column]:.1%}",
        f"{times(atlas.lift[row, column])}×",
        f"{times(atlas.lift_low[row, column])} to {times(high)}" if np.isfinite(high) else f"{times(atlas.lift_low[row, column])} and up",
        "yes" if atlas.significant[row, column] else "could be chance",
    ]


def table(atlas: CategoryMap) -> Table:
    """The strongest pairs with their figures: the sure ones first, then by the lower end of the interval."""
    rows, columns = np.nonzero(known(atlas))
    order = np.lexsort((columns, rows, -atlas.lift_low[rows, columns], ~atlas.significant[rows, columns]))[:MOST_ROWS]
    cells = [(int(rows[i]), int(columns[i])) for i in order]
    names = {i: whole_name(atlas.paths[i]) for pair in cells for i in pair}
    headings = [*doing(atlas), "users", "share", "of everybody", "lift", "95 % interval", "sure"]
    caption = "The strongest pair" if len(cells) == 1 else f"The {len(cells)} strongest pairs"
    return Table(caption, headings, [[names[r], names[c], *in_words(atlas, r, c)] for r, c in cells])


def annotated(svg: str, label: str, said: Mapping[str, Said]) -> str:
    """The svg with names as they are and hover titles, as one `<svg>` element that fits into a page as well as into a file.

    Args:
        svg: a drawing of matplotlib's, texts kept as text. label: what the whole picture shows.
        said: by the id that an element was drawn with.
    """
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(svg)
    root.attrib.update({"role": "img", "aria-label": label})
    for element in root.iter(f"{{{SVG}}}g"):
        words = said.get(element.get("id", ""))
        if words is None:
            continue
        if words.through:
            element.set("pointer-events", "none")
        if words.text is not None:
            for text in element.iter(f"{{{SVG}}}text"):
                text.text = words.text
        if words.hover is not None:
            title = ElementTree.Element(f"{{{SVG}}}title")
            title.text = words.hover
            element.insert(0, title)
    return ElementTree.tostring(root, encoding="unicode")


def page(title: str, lines: Sequence[str], svg: str, table: Table) -> str:
    """One html page: the svg and the table, without a script, and without anything to be fetched.

    Args:
        lines: what stands under the title. svg: as `annotated` gives it; pasted as it is.
    """
    heads = "".join(f'<th scope="col"{_name(i < table.names)}>{escape(head)}</th>' for i, head in enumerate(table.headings))
    rows = "".join(f"<tr>{_cells(row, table.names)}</tr>\n" for row in table.rows)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<figure>
{svg}
</figure>
<table>
<caption>{escape(table.caption)}</caption>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}</tbody>
</table>
{"".join(f"<p>{escape(line)}</p>" for line in lines)}
</main>
</body>
</html>
"""


def _cells(row: Sequence[str], names: int) -> str:
    # <bdi>: a name written right to left must not turn the figures beside it around.
    inner = [f"<bdi>{escape(text)}</bdi>" if i < names else escape(text) for i, text in enumerate(row)]
    first, *rest = inner
    return f'<th scope="row"{_name(True)}>{first}</th>' + "".join(f"<td{_name(i < names)}>{text}</td>" for i, text in enumerate(rest, 1))


def _name(yes: bool) -> str:
    return ' class="name"' if yes else ""
