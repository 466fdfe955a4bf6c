"""The complement atlas as a picture: a heat map of category-to-category lift above a network of the strongest complements.

One page, measured in inches from its upper left corner, as svg, png or html. The same atlas gives the same bytes. A png can only show
characters that its font has; an svg and an html page keep every name as it is.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...data.atomic_files import write_atomically
from ...data.errors import QueryError, SettingsError, StorageError, storage_errors
from ...data.records import Category
from ...recommend.category_map.matrix import CategoryMap
from .annotated_svg import annotated, doing, known, page, table, whole_name
from .canvas import LINE, MARGIN, Sheet, drawable, text_width
from .heat_map import HeatMap
from .network import Network, complements

FORMATS = (".svg", ".png", ".html")
MOST_CATEGORIES = 40
"""What a person can still read on an axis."""
NAME_LENGTH = 36
_STYLE = {"svg.hashsalt": "crossaisle", "svg.fonttype": "none", "font.family": "DejaVu Sans", "hatch.linewidth": 0.6}


def draw(atlas: CategoryMap, path: Path) -> None:
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
        with storage_errors(f"the picture {path}"):
            write_atomically(path, content)
    except OSError as error:
        # A read-only disk, a name that is too long: the system's own words say it best.
        raise StorageError(f"the picture {path} could not be written ({error.strerror or error}); choose another place") from error


def render(atlas: CategoryMap, kind: str) -> bytes:
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


def chosen(atlas: CategoryMap) -> list[int]:
    """At most `MOST_CATEGORIES` categories: of the strongest complements, then of the most users; in the arrays' order."""
    ends = [end for pair in complements(atlas) for end in pair]
    return sorted(list(dict.fromkeys([*ends, *np.argsort(-atlas.users, kind="stable").tolist()]))[:MOST_CATEGORIES])


def side_by_side(atlas: CategoryMap, chosen: Sequence[int]) -> list[int]:
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


def compose(atlas: CategoryMap, *, vector: bool) -> Sheet:
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
