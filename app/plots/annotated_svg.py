"""Accessible SVG and HTML of a category map: tooltips and texts added to a drawing, and a page with the strongest pairs as a table.

Names are untrusted text: nothing is inserted unescaped, and the page forbids scripts and external resources. Knows nothing of how the
picture is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np

from ...recommend.category_map.matrix import CategoryMap
from ..reports.rendering import render_template, trusted_markup
from .category_pairs import CategoryPair, axis_phrases, disclosed_mask
from .lift_scale import format_lift

MAX_TABLE_ROWS = 50
SVG_NAMESPACE = "http://www.w3.org/2000/svg"
XLINK_NAMESPACE = "http://www.w3.org/1999/xlink"


@dataclass(frozen=True, slots=True)
class ElementLabel:
    """Text that is added to an element of the drawing.

    Attributes:
        text: Original text where the drawing has placeholders for characters that its font lacks; None keeps the drawn text.
        tooltip: Title of the element, for pointers and screen readers; None for no title.
        ignores_pointer: Whether pointer events go to the element below.
    """

    text: str | None = None
    tooltip: str | None = None
    ignores_pointer: bool = False


@dataclass(frozen=True, slots=True)
class PairTable:
    """The strongest pairs as a table of texts.

    Attributes:
        caption: Caption of the table.
        headings: Column headings.
        rows: One text per heading in each row.
        name_columns: Number of leading columns that hold category names.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    name_columns: int = 2


def pair_table(category_map: CategoryMap) -> PairTable:
    """The strongest pairs with their statistics: significant pairs first, then by the lower bound of the lift."""
    rows, columns = np.nonzero(disclosed_mask(category_map))
    order = np.lexsort((columns, rows, -category_map.lift_low[rows, columns], ~category_map.significant[rows, columns]))[:MAX_TABLE_ROWS]
    pairs = [CategoryPair.from_map(category_map, int(rows[i]), int(columns[i])) for i in order]
    headings = [*axis_phrases(category_map), category_map.words.people, "share", "usual share", "lift", "95 % interval", "sure"]
    caption = "The strongest pair" if len(pairs) == 1 else f"The {len(pairs)} strongest pairs"
    return PairTable(caption, headings, [_table_row(pair) for pair in pairs])


def _table_row(pair: CategoryPair) -> list[str]:
    return [
        pair.source_name,
        pair.target_name,
        f"{pair.users:,}",
        f"{pair.share:.1%}",
        f"{pair.base_rate:.1%}",
        f"{format_lift(pair.lift)}×",
        pair.interval,
        "yes" if pair.significant else pair.certainty,
    ]


def annotate_svg(svg: str, title: str, labels: Mapping[str, ElementLabel]) -> str:
    """Return the SVG with original texts and tooltips, as one `<svg>` element for a file or for an HTML page.

    Args:
        svg: Drawing of matplotlib with texts kept as text.
        title: Accessible name of the whole picture.
        labels: Labels by the id of the element that they belong to.
    """
    ElementTree.register_namespace("", SVG_NAMESPACE)
    ElementTree.register_namespace("xlink", XLINK_NAMESPACE)
    root = ElementTree.fromstring(svg)
    root.attrib.update({"role": "img", "aria-label": title})
    for element in root.iter(f"{{{SVG_NAMESPACE}}}g"):
        label = labels.get(element.get("id", ""))
        if label is None:
            continue
        if label.ignores_pointer:
            element.set("pointer-events", "none")
        if label.text is not None:
            for text_element in element.iter(f"{{{SVG_NAMESPACE}}}text"):
                text_element.text = label.text
        if label.tooltip is not None:
            title_element = ElementTree.Element(f"{{{SVG_NAMESPACE}}}title")
            title_element.text = label.tooltip
            element.insert(0, title_element)
    return ElementTree.tostring(root, encoding="unicode")


def html_page(title: str, notes: Sequence[str], svg: str, table: PairTable) -> str:
    """One HTML page with the SVG and the table, without scripts or external resources.

    Args:
        title: Title of the page.
        notes: Paragraphs below the table.
        svg: Result of `annotate_svg`; inserted without escaping.
        table: The strongest pairs.
    """
    return render_template("category_map.html.j2", title=title, notes=notes, svg=trusted_markup(svg), table=table)
