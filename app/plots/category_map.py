"""The category map as a picture: a heat map of the lift between categories above a network of the strongest complements.

One page as SVG, PNG or HTML. The same category map gives the same bytes. A PNG can only show characters that its font has; SVG and HTML
keep every name unchanged.
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
from .annotated_svg import annotate_svg, html_page, pair_table
from .canvas import LINE_HEIGHT, MARGIN, Canvas, text_width, with_placeholders
from .category_pairs import MAX_CATEGORIES, axis_phrases, disclosed_mask, full_name
from .heat_map import HeatMap
from .lift_scale import MAX_LIMIT
from .network import Network, complements

FORMATS = (".svg", ".png", ".html")
MAX_NAME_LENGTH = 36
_STYLE = {"svg.hashsalt": "crossaisle", "svg.fonttype": "none", "font.family": "DejaVu Sans", "hatch.linewidth": 0.6}


def draw(category_map: CategoryMap, path: Path) -> None:
    """Draw the category map into a file, which is replaced atomically; its suffix (.svg, .png, .html) is the format.

    Raises:
        SettingsError: Another suffix, a folder at `path`, or a missing parent folder.
        QueryError: No pair of the category map may be disclosed.
        StorageError: The file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise SettingsError(f"unknown picture format of {path.name!r}; name an .svg, .png or .html file")
    try:
        if path.is_dir():
            raise SettingsError(f"{path} is a folder; name a file for the picture, such as {path / 'atlas.svg'}")
        if not path.parent.is_dir():
            raise SettingsError(f"the folder {path.parent} of the picture {path.name} does not exist; create it first")
        content = render(category_map, suffix)
        with storage_errors(f"the picture {path}"):
            write_atomically(path, content)
    except OSError as error:
        # A read-only disk, or a name that is too long: the message of the system is the clearest.
        raise StorageError(f"the picture {path} could not be written ({error.strerror or error}); choose another path") from error


def render(category_map: CategoryMap, suffix: str) -> bytes:
    """Return the picture as the bytes of a file; `suffix` is one of `FORMATS`.

    Raises:
        QueryError: No pair of the category map may be disclosed.
    """
    import matplotlib.style

    if not disclosed_mask(category_map).any():
        people = category_map.words.people
        raise QueryError(
            f"nothing to draw: no two of the {len(category_map.paths)} categories share {category_map.min_users} {people} or more; "
            "use a longer period or a broader category level"
        )
    # The user's own matplotlib settings must neither change the bytes nor break the layout.
    with matplotlib.style.context(["default", _STYLE]):
        canvas = compose(category_map, vector=suffix != ".png")
        if suffix == ".png":
            return canvas.save("png")
        svg = annotate_svg(canvas.save("svg").decode(), canvas.title, canvas.labels)
    if suffix == ".svg":
        return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}\n'.encode()
    return html_page(canvas.title, canvas.notes, svg, pair_table(category_map)).encode()


def select_categories(category_map: CategoryMap) -> list[int]:
    """At most `MAX_CATEGORIES` categories in the order of the map: those of the strongest complements, then those with the most users."""
    endpoints = [endpoint for pair in complements(category_map) for endpoint in pair]
    by_users = np.argsort(-category_map.users, kind="stable").tolist()
    return sorted(list(dict.fromkeys([*endpoints, *by_users]))[:MAX_CATEGORIES])


def cluster_order(category_map: CategoryMap, categories: Sequence[int]) -> list[int]:
    """The categories in an order that puts complements next to each other (hierarchical clustering by lift in either direction)."""
    if len(categories) < 3:
        return list(categories)
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    block = np.ix_(categories, categories)
    log_lift = np.clip(np.log2(np.maximum(category_map.lift[block], 2.0**-MAX_LIMIT)), -MAX_LIMIT, MAX_LIMIT)
    strength = np.where(disclosed_mask(category_map)[block], log_lift, 0.0)
    strength = strength + strength.T
    distance = squareform(strength.max() - strength, checks=False)
    return [categories[i] for i in leaves_list(optimal_leaf_ordering(linkage(distance, "average"), distance)).tolist()]


def short_names(paths: Sequence[Category], *, vector: bool, max_length: int = MAX_NAME_LENGTH) -> list[str]:
    """Distinct names of about `max_length` characters: the last part of each path, with its parents in brackets where needed.

    Args:
        paths: Paths of the categories.
        vector: False replaces characters that the font lacks by placeholders before names are compared.
        max_length: Length at which names are shortened.
    """
    depths = [next((d for d in range(1, len(p)) if Counter(q[-d:] for q in paths)[p[-d:]] == 1), len(p)) for p in paths]
    names = []
    for path, depth in zip(paths, depths, strict=True):
        parents = f" ({full_name(path[-depth:-1])})" if depth > 1 else ""
        names.append(full_name(path[-1:]) + parents)
    names = names if vector else [with_placeholders(name) for name in names]
    short = [name if len(name) <= max_length else name[: max_length - 1].rstrip() + "…" for name in names]
    counts, half = Counter(short), (max_length - 1) // 2
    used: set[str] = set()
    for i, name in enumerate(names):
        if counts[short[i]] > 1 and len(name) > max_length:
            short[i] = f"{name[:half].rstrip()}…{name[-half:].lstrip()}"
        stem, number = short[i], 2
        while short[i] in used:
            short[i], number = f"{stem} ({number})", number + 1
        used.add(short[i])
    return short


def compose(category_map: CategoryMap, *, vector: bool) -> Canvas:
    """Return the drawn page: title, notes, heat map and network. `vector` as in `short_names`."""
    categories = cluster_order(category_map, select_categories(category_map))
    names = short_names([category_map.paths[category] for category in categories], vector=vector)
    heat_map, network = HeatMap(category_map, categories, names), Network(category_map, categories, names)
    title = f"What goes with what: {len(categories)} categories"
    notes = _notes(category_map, len(categories))
    if any("□" in name for name in names) and not vector:
        notes.append("□ replaces characters that the font of this picture lacks; the SVG and the HTML page have them.")
    width = max(8.5, heat_map.width + 2 * MARGIN, network.width + 2 * MARGIN)
    characters = int((width - 2 * MARGIN) / text_width("n" * 100, 9.5) * 100 * 1.08)
    lines = [line for note in notes for line in textwrap.wrap(note, characters)]
    head = 0.45 + 0.3 + LINE_HEIGHT * len(lines) + 0.35
    height = head + 0.25 + heat_map.height + 0.75 + network.height + MARGIN
    canvas = Canvas(width, height, title, notes)
    canvas.text(MARGIN, 0.45, title, 16, weight="bold")
    for i, line in enumerate(lines):
        canvas.text(MARGIN, 0.8 + i * LINE_HEIGHT, line, 9.5)
    heat_map.draw(canvas, (width - heat_map.width) / 2, head + 0.1)
    top = head + 0.1 + heat_map.height + 0.35
    canvas.rectangle(MARGIN, top - 0.25, width - 2 * MARGIN, 0.01, facecolor="#c4c4c4")
    canvas.text(MARGIN, top, network.heading, 12, weight="bold")
    network.draw(canvas, (width - network.width) / 2 if network.arrows else MARGIN, top + 0.3)
    return canvas


def _notes(category_map: CategoryMap, shown: int) -> list[str]:
    """What the numbers mean, which categories are left out, and how many pairs are withheld."""
    row_phrase, column_phrase = axis_phrases(category_map)
    lead = f"How many times as often as usual somebody who {row_phrase} one category {column_phrase} another, {category_map.window}."
    if category_map.order == "position":
        lead += " The data has no timestamps: later means further down the list."
    if category_map.order == "none":
        lead += " The data does not say which came first."
    notes = [lead]
    if shown < len(category_map.paths):
        notes.append(f"Of {len(category_map.paths)} categories, the {shown} with the strongest sure associations are shown.")
    withheld = f"{category_map.suppressed:,}" if category_map.suppressed else "none"
    notes.append(f"Pairs with fewer than {category_map.min_users} {category_map.words.people} are withheld: {withheld} here.")
    return notes
