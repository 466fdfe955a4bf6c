"""Pictures of the category map: content for a small known map, legibility, escaping of untrusted names, and files."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from crossaisle.app.plots.annotated_svg import PairTable, html_page, pair_table
from crossaisle.app.plots.category_map import FORMATS, cluster_order, compose, draw, render, select_categories, short_names
from crossaisle.app.plots.category_pairs import MAX_CATEGORIES, CategoryPair, axis_phrases, full_name
from crossaisle.app.plots.lift_scale import DARK_COLORS, LIGHT_COLORS, LIGHT_TEXT, format_lift, lift_color, scale_limit, text_color
from crossaisle.app.plots.network import MAX_ARROWS, Network, complements
from crossaisle.app.service.category_map_json import category_map_to_dict
from crossaisle.data.errors import QueryError, SettingsError, StorageError
from crossaisle.data.records import Category
from crossaisle.recommend.category_map.matrix import CategoryMap

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert('x')</script>",
    "Bed & Bath \"soft\" 'n' warm",
    "evil\u202egnp.exe \u200fשלום",
    "A" * 300,
    "A" * 299 + "B",
    "👩‍🚀 rockets 🚀",
    "$x^2$ \\alpha $",
    "日本語の家電",
    "中文图书馆馆",
    "]]> --> </svg></title></style>",
    "line\nbreak\ttab\x00nul\ud800",
    "   ",
]


def category_map(
    lifts: dict[tuple[int, int], float], paths: list[Category], *, significant: set[tuple[int, int]] | None = None, **fields: Any
) -> CategoryMap:
    """A category map in which only the given pairs are disclosed, with about 1,000 users per category; by default every pair is significant."""
    n = len(paths)
    lift = np.full((n, n), np.nan)
    for pair, value in lifts.items():
        lift[pair] = value
    disclosed = np.isfinite(lift)
    is_significant = np.zeros((n, n), dtype=np.bool_)
    for pair in lifts if significant is None else significant:
        is_significant[pair] = True
    defaults: dict[str, Any] = {
        "paths": paths,
        "users": np.arange(1000, 1000 + n, dtype=np.int64),
        "lift": lift,
        "lift_low": lift * 0.8,
        "lift_high": lift * 1.25,
        "support": np.where(disclosed, 321, 0).astype(np.int64),
        "share": np.where(disclosed, 0.3214, np.nan),
        "base_rate": np.where(disclosed, 0.1234, np.nan),
        "significant": is_significant,
        "order": "time",
        "window": "within 90 days",
        "verb": "bought",
        "suppressed": int((~disclosed).sum()) - n,
        "min_users": 20,
    }
    return CategoryMap(**{**defaults, **fields})


def crowded(n: int, seed: int = 0, **fields: Any) -> CategoryMap:
    """A map of `n` categories with long names; about half of the pairs are disclosed and a quarter are significant."""
    random = np.random.default_rng(seed)
    lifts = {
        pair: float(2 ** random.normal(0, 1.5)) for pair in itertools.permutations(range(n), 2) if random.random() < 0.5 or sum(pair) == 1
    }
    significant = {pair for pair in lifts if random.random() < 0.5 or pair == (0, 1)}
    names = ["Replacement Parts and Consumables", "Cleaning Supplies & Detergents", "Pets", "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"]
    paths: list[Category] = [(f"Department {i // 4}", names[i % 4]) for i in range(n)]
    return category_map(lifts, paths, significant=significant, **fields)


def svg_texts(svg: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def tooltips(svg: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}title")]


SMALL_MAP = category_map({(0, 1): 2.6, (1, 0): 1.5, (0, 2): 0.5}, [("Phones",), ("Cases",), ("Cameras",)], significant={(0, 1), (1, 0)})


# Content


def test_heat_map_prints_lifts_and_significant_ones_in_bold() -> None:
    canvas = compose(SMALL_MAP, vector=True)
    weight = {text.get_text(): text.get_weight() for text in canvas.axes.texts}
    assert weight["2.6"] == weight["1.50"] == "bold"
    assert weight["0.50"] == "normal"


def test_tooltip_of_a_cell_has_users_share_base_rate_lift_and_interval() -> None:
    (tooltip,) = [tooltip for tooltip in tooltips(render(SMALL_MAP, ".svg")) if tooltip.startswith("Phones → Cameras")]
    for statistic in ("321 of 1,000 users", "32.1%", "12.3%", "0.50×", "0.40 to 0.62", "could be chance"):
        assert statistic in tooltip
    cell, arrow = [tooltip for tooltip in tooltips(render(SMALL_MAP, ".svg")) if tooltip.startswith("Cases → Phones")]
    assert cell == arrow
    assert "of 1,001 users" in cell
    assert cell.endswith(", sure")


def test_pair_is_the_same_from_the_map_and_from_its_json() -> None:
    unbounded = dataclasses.replace(SMALL_MAP, lift_high=np.where(np.isfinite(SMALL_MAP.lift), np.inf, np.nan))
    for world in (SMALL_MAP, unbounded):
        as_json = category_map_to_dict(world)
        pairs = [CategoryPair.from_json(as_json, pair) for pair in as_json["pairs"]]
        assert {(pair.source, pair.target) for pair in pairs} == {(0, 1), (1, 0), (0, 2)}
        for pair in pairs:
            from_map = CategoryPair.from_map(world, pair.source, pair.target)
            assert pair.tooltip("users") == from_map.tooltip("users")
            assert (pair.users, pair.significant, pair.lift_high is None) == (321, from_map.significant, world is unbounded)


def test_page_has_the_window_the_threshold_and_the_number_of_withheld_pairs() -> None:
    texts = " ".join(svg_texts(render(SMALL_MAP, ".svg")))
    for text in ("within 90 days", "fewer than 20 users are withheld: 3 here", "goes on to buy from →", "has bought from ↓"):
        assert text in texts


@pytest.mark.parametrize(
    ("verb", "order", "row", "column"),
    [
        ("bought", "time", "has bought from", "goes on to buy from"),
        ("rated", "position", "has rated items of", "goes on to rate items of"),
        ("looked at", "none", "has looked at", "has also looked at"),
        ("enrolled in", "time", "has enrolled in items of", "has later enrolled in items of"),
    ],
)
def test_axis_titles_use_the_verb_and_the_order_of_the_data(verb: str, order: Any, row: str, column: str) -> None:
    world = dataclasses.replace(SMALL_MAP, verb=verb, order=order)
    assert axis_phrases(world) == (row, column)
    texts = svg_texts(render(world, ".svg"))
    assert f"{row} ↓" in texts
    assert f"{column} →" in texts
    assert ("which came first" in " ".join(texts)) == (order == "none")


def test_withheld_statistics_are_in_no_format() -> None:
    withheld = dataclasses.replace(
        SMALL_MAP,
        users=np.array([1000, 1001, 7], dtype=np.int64),
        support=np.where(np.isfinite(SMALL_MAP.lift), 321, 987654),
        share=np.where(np.isfinite(SMALL_MAP.lift), 0.3214, 0.77777),
        base_rate=np.where(np.isfinite(SMALL_MAP.lift), 0.1234, 0.66666),
        lift_low=np.where(np.isfinite(SMALL_MAP.lift), SMALL_MAP.lift_low, 5.5555),
        lift_high=np.where(np.isfinite(SMALL_MAP.lift), SMALL_MAP.lift_high, 8.8888),
        significant=np.ones((3, 3), dtype=np.bool_),
    )
    for suffix in (".svg", ".html"):
        text = "\n".join([*tooltips(render(withheld, ".svg")), *svg_texts(render(withheld, ".svg"))])
        text += "".join(ParsedPage.of(render(withheld, suffix)).texts)
        for statistic in ("987", "77.8%", "66.7%", "5.5", "5.6", "8.8", "8.9", "7 users", "(7)"):
            assert statistic not in text, statistic
        assert "Cameras: under 20 users" in text
        assert "Cases → Cameras: withheld (fewer than 20 users) or unknown" in text
    assert render(withheld, ".png") == render(
        dataclasses.replace(withheld, support=SMALL_MAP.support, share=SMALL_MAP.share, lift_low=SMALL_MAP.lift_low), ".png"
    )


def test_withheld_cells_and_the_diagonal_differ_from_a_lift_of_one() -> None:
    svg = render(SMALL_MAP, ".svg").decode()
    assert svg.count("url(#h") == 3 + 1, "three withheld cells and the legend are hatched"
    assert min(lift_color(1.0, 2)) > 0.9
    assert svg.count("#c4c4c4") == 3 + 2, "the diagonal, its legend and the line between the panels"


def test_table_has_significant_pairs_first_and_the_strongest_on_top() -> None:
    rows = pair_table(SMALL_MAP).rows
    assert [tuple(row[:2]) for row in rows] == [("Phones", "Cases"), ("Cases", "Phones"), ("Phones", "Cameras")]
    assert list(rows[0][2:]) == ["321", "32.1%", "12.3%", "2.6×", "2.1 to 3.2", "yes"]
    assert rows[2][-1] == "could be chance"
    unbounded = dataclasses.replace(SMALL_MAP, lift_high=np.full((3, 3), np.inf))
    assert pair_table(unbounded).rows[0][6] == "2.1 and up"


@pytest.mark.parametrize(
    ("lift", "text"), [(0.0, "0.00"), (0.417, "0.42"), (1.04, "1.04"), (1.996, "2.0"), (9.94, "9.9"), (9.96, "10"), (999.6, "999+")]
)
def test_lift_has_at_most_four_characters(lift: float, text: str) -> None:
    assert format_lift(lift) == text


# Selection of categories and arrows


def test_complements_are_neighbours_on_the_axes() -> None:
    blocks = [{0, 3, 6}, {1, 4, 7}, {2, 5, 8}]
    lifts = {pair: 4.0 for block in blocks for pair in itertools.permutations(block, 2)}
    lifts |= {pair: 0.5 for pair in itertools.permutations(range(9), 2) if pair not in lifts}
    world = category_map(lifts, [(f"c{i}",) for i in range(9)])
    order = cluster_order(world, range(9))
    assert sorted(order) == list(range(9))
    assert [set(order[start : start + 3]) in blocks for start in (0, 3, 6)] == [True] * 3


def test_categories_of_the_strongest_significant_pairs_are_selected_from_too_many() -> None:
    lifts = {(i, i + 1): 2 + i / 10 for i in range(0, 60, 2)} | {(0, 59): 99.0}
    world = category_map(lifts, [(f"c{i}",) for i in range(60)], significant=set(lifts) - {(0, 59)})
    assert select_categories(world) == list(range(20, 60))
    assert f"Of 60 categories, the {MAX_CATEGORIES} with the strongest sure associations are shown." in svg_texts(render(world, ".svg"))
    few = category_map({(0, 1): 2.0}, [(f"c{i}",) for i in range(MAX_CATEGORIES)])
    assert "are shown" not in " ".join(svg_texts(render(few, ".svg")))


def test_network_draws_the_strongest_significant_pairs_only() -> None:
    world = crowded(20)
    pairs = complements(world)
    assert len(pairs) > MAX_ARROWS
    assert all(world.significant[pair] and world.lift[pair] > 1 for pair in pairs)
    assert [world.lift_low[pair] for pair in pairs] == sorted((world.lift_low[pair] for pair in pairs), reverse=True)
    network = Network(world, list(range(20)), [str(i) for i in range(20)])
    assert network.arrows == pairs[:MAX_ARROWS]
    assert f"The strongest complements: the first 30 of {len(pairs)} sure pairs" in svg_texts(render(world, ".svg"))


def test_network_without_a_significant_pair_has_a_sentence() -> None:
    texts = svg_texts(render(dataclasses.replace(SMALL_MAP, significant=np.zeros((3, 3), dtype=np.bool_)), ".svg"))
    assert any("there is no arrow to draw" in text for text in texts)


def curves(world: CategoryMap) -> dict[tuple[int, int], np.ndarray[Any, Any]]:
    """Points along each arrow, in inches."""
    points = {}
    for patch in compose(world, vector=True).axes.patches:
        match = re.fullmatch(r"arrow-(\d+)-(\d+)", str(patch.get_gid()))
        if match:
            a, b, c, d = patch._path_original.vertices
            t = np.linspace(0, 1, 101)[:, None]
            points[int(match[1]), int(match[2])] = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
    return points


def test_arrow_points_from_row_to_column_and_its_width_grows_with_lift() -> None:
    world = category_map({(0, 1): 3.0, (2, 1): 1.2}, SMALL_MAP.paths)
    canvas = compose(world, vector=True)
    circles = {text.get_text().split("  ")[0]: text.get_position() for text in canvas.axes.texts if "  (" in text.get_text()}
    points = curves(world)[0, 1]
    assert math.dist(points[0], circles["Phones"]) < 0.5
    assert math.dist(points[-1], circles["Cases"]) < 0.5
    line_widths = {patch.get_gid(): patch.get_linewidth() for patch in canvas.axes.patches}
    assert line_widths["arrow-0-1"] > 2 * line_widths["arrow-2-1"]


@pytest.mark.parametrize("n", [2, 3, 4, 9, 30])
def test_opposite_arrows_do_not_meet(n: int) -> None:
    ring = {pair: 2.0 for i in range(n) for pair in ((i, (i + 1) % n), ((i + 1) % n, i)) if i % 2 == 0 or n < 9}
    arrows = curves(category_map(ring, [(f"c{i}",) for i in range(n)]))
    assert arrows.keys() == ring.keys()
    for (a, b), points in arrows.items():
        distances = np.hypot(*(points[:, None] - arrows[b, a][None]).transpose(2, 0, 1)).min(axis=1)
        assert distances.min() > 0.02
        assert distances[len(distances) // 2] > 0.06


@pytest.mark.parametrize(("cliques", "size"), [(1, 5), (3, 3), (2, 4), (4, 3)])
def test_opposite_arrows_stay_apart_in_cliques(cliques: int, size: int) -> None:
    cliques_of = [range(start, start + size) for start in range(0, cliques * size, size)]
    pairs = {pair: 2.0 for clique in cliques_of for pair in itertools.permutations(clique, 2)}
    arrows = curves(category_map(pairs, [(f"c{i}",) for i in range(cliques * size)]))
    for a, b in arrows:
        distances = np.hypot(*(arrows[a, b][:, None] - arrows[b, a][None]).transpose(2, 0, 1)).min(axis=1)
        assert distances[20:80].min() > 0.05, (a, b)


def test_without_an_order_a_pair_is_one_line_without_a_head() -> None:
    both = category_map({(0, 1): 2.0, (1, 0): 2.0, (1, 2): 3.0, (2, 1): 3.0}, SMALL_MAP.paths)
    svgs = {order: render(dataclasses.replace(both, order=order), ".svg").decode() for order in ("time", "none")}
    assert re.findall(r'id="arrow-(\d-\d)"', svgs["time"]) == ["1-0", "0-1", "2-1", "1-2"], "the strongest is drawn last"
    assert sorted(re.findall(r'id="arrow-(\d-\d)"', svgs["none"])) == ["0-1", "1-2"]
    arrow = next(
        patch for patch in compose(dataclasses.replace(both, order="none"), vector=True).axes.patches if patch.get_gid() == "arrow-0-1"
    )
    assert type(arrow.get_arrowstyle()).__name__ == "Curve"


def test_line_has_the_disclosed_direction_and_never_the_withheld_one() -> None:
    world = category_map({(2, 0): 3.0, (1, 2): 2.0, (2, 1): 4.0}, SMALL_MAP.paths, significant={(2, 0), (1, 2), (2, 1)}, order="none")
    svg = render(world, ".svg")
    assert sorted(re.findall(r'id="arrow-(\d-\d)"', svg.decode())) == ["2-0", "2-1"]
    assert "nan" not in " ".join(svg_texts(svg) + tooltips(svg))


def neighbours(n: int) -> CategoryMap:
    """A map in which each category has complements in the next two around a circle."""
    ring = [(i, (i + step) % n) for i in range(n) for step in (1, 2) if n < 20 or (i + step) % 3]
    return category_map(dict.fromkeys(ring[:MAX_ARROWS], 2.0), [(f"c{i}",) for i in range(n)])


@pytest.mark.parametrize("world", [*map(neighbours, (5, 14, 30, 40)), *map(crowded, (20, 40, 60))], ids=lambda world: str(len(world.paths)))
def test_arrows_cross_no_circle_and_no_name_and_are_longer_than_their_heads(world: CategoryMap) -> None:
    from matplotlib.patches import Circle

    canvas = compose(world, vector=True)
    inches = canvas.axes.transData.inverted()
    circles = [patch for patch in canvas.axes.patches if isinstance(patch, Circle)]
    names = [inches.transform(text.get_window_extent()) for text in canvas.axes.texts if re.search(r"  \([\d,]+\)$", text.get_text())]
    assert len(names) == len(circles) > 4
    for pair, points in curves(world).items():
        assert np.hypot(*np.diff(points, axis=0).T).sum() > 0.3, pair
        for circle in circles:
            assert np.hypot(*(points - circle.center).T).min() > circle.radius + 0.02, pair
        for (left, one), (right, two) in names:
            inside = (points[:, 0] > left) & (points[:, 0] < right) & (points[:, 1] > min(one, two)) & (points[:, 1] < max(one, two))
            assert not inside.any(), pair


# Legibility


def corners(text: Any) -> np.ndarray[Any, Any]:
    """The four corners of a possibly rotated text, in pixels."""
    rotation = text.get_rotation()
    text.set_rotation(0)
    box = text.get_window_extent()
    text.set_rotation(rotation)
    x, y = text.get_transform().transform(text.get_position())
    flat = np.array([(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)]) - (x, y)
    angle = math.radians(rotation)
    return flat @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) + (x, y)


def are_disjoint(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> bool:
    """Whether two rectangles are disjoint (separating axis theorem)."""
    for box in (first, second):
        for side in (box[1] - box[0], box[3] - box[0]):
            if (first @ side).max() < (second @ side).min() or (second @ side).max() < (first @ side).min():
                return True
    return False


@pytest.mark.parametrize("short_names_only", [False, True])
@pytest.mark.parametrize("n", [2, 3, 5, 6, 14, 20, 21, 40, 41, 60])
def test_texts_do_not_overlap_and_stay_on_the_page(n: int, short_names_only: bool) -> None:
    world = crowded(n, window="within 90 days of each other, " * 8)
    canvas = compose(
        dataclasses.replace(world, paths=[(f"c{i}",) for i in range(n)], min_users=1000) if short_names_only else world, vector=False
    )
    boxes = [corners(text) for text in canvas.axes.texts]
    width, height = canvas.axes.figure.bbox.size
    for text, box in zip(canvas.axes.texts, boxes, strict=True):
        assert box.min() >= 0, text
        assert box[:, 0].max() <= width, text
        assert box[:, 1].max() <= height, text
    spans = np.array([(*box.min(axis=0), *box.max(axis=0)) for box in boxes])
    overlapping = (spans[:, None, 0] < spans[None, :, 2]) & (spans[:, None, 1] < spans[None, :, 3])
    for a, b in np.argwhere(overlapping & overlapping.T):
        assert a >= b or are_disjoint(boxes[a], boxes[b]), (canvas.axes.texts[a], canvas.axes.texts[b])


@pytest.mark.parametrize("n", [3, 20, 40])
def test_no_name_covers_a_circle_and_every_number_is_inside_its_cell(n: int) -> None:
    from matplotlib.patches import Circle, Rectangle

    canvas = compose(crowded(n), vector=True)
    names = [(text, text.get_window_extent()) for text in canvas.axes.texts if text.get_rotation() == 0]
    circles = [patch.get_window_extent() for patch in canvas.axes.patches if isinstance(patch, Circle)]
    assert len(circles) >= 2
    for text, box in names:
        assert not any(box.overlaps(circle) for circle in circles), text
    cells = [patch.get_window_extent() for patch in canvas.axes.patches if isinstance(patch, Rectangle)]
    for text, box in names:
        if text.get_ha() == "center" and re.fullmatch(r"[\d.+]+", text.get_text()):
            assert any(cell.x0 <= box.x0 and box.x1 <= cell.x1 and cell.y0 <= box.y0 and box.y1 <= cell.y1 for cell in cells), text


def luminance(color: tuple[float, float, float]) -> float:
    """Relative luminance (WCAG 2.1), 0 to 1."""
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in color]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("colors", [LIGHT_COLORS, DARK_COLORS], ids=["light", "dark"])
@pytest.mark.parametrize("position", np.linspace(-1, 1, 41))
def test_numbers_contrast_with_their_cell(position: float, colors: tuple[str, ...]) -> None:
    color = lift_color(2**position, 1, colors)
    text = 1.0 if text_color(color) == LIGHT_TEXT else luminance((0x1A / 255,) * 3)
    dark, light = sorted((text, luminance(color)))
    assert (light + 0.05) / (dark + 0.05) > 3.9


# Machado, Oliveira and Fernandes, IEEE TVCG 2009, severity 1.0, on linear RGB.
VISION_MATRICES = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def perceived(color: tuple[float, float, float], vision: str) -> np.ndarray[Any, Any]:
    """A colour in CIELAB (D65) as a colour vision deficiency changes it."""
    srgb = np.asarray(color)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(VISION_MATRICES[vision]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("colors", [LIGHT_COLORS, DARK_COLORS], ids=["light", "dark"])
@pytest.mark.parametrize("vision", VISION_MATRICES)
def test_more_and_less_than_usual_are_distinguishable_in_every_vision(vision: str, colors: tuple[str, ...]) -> None:
    usual = perceived(lift_color(1.0, 1, colors), vision)
    for position in (0.25, 0.5, 0.75, 1.0):
        more, less = (perceived(lift_color(2**sign, 1, colors), vision) for sign in (position, -position))
        assert np.linalg.norm(more - less) > 20, (position, more, less)
    assert np.linalg.norm(perceived(lift_color(2.0, 1, colors), vision) - usual) > 40
    assert np.linalg.norm(perceived(lift_color(0.5, 1, colors), vision) - usual) > 40


def test_colours_are_clipped_at_the_ends_of_the_scale() -> None:
    assert lift_color(0.0, 2) == lift_color(0.25, 2) == lift_color(0.01, 2) != lift_color(0.3, 2)
    assert lift_color(4.0, 2) == lift_color(1000.0, 2) != lift_color(3.0, 2)


def test_scale_ends_at_a_power_of_two() -> None:
    assert [scale_limit([lift]) for lift in (1.1, 2.0, 2.1, 0.1, 1000.0, 0.0)] == [1, 1, 2, 4, 4, 1]
    assert scale_limit([]) == 1


# Untrusted names


class ParsedPage(HTMLParser):
    """Elements, attributes and texts of an HTML page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.cells: list[str] = []

    @classmethod
    def of(cls, content: bytes) -> ParsedPage:
        parsed = cls()
        parsed.feed(content.decode())
        parsed.close()
        return parsed

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.cells += [""] if tag in ("td", "th") else []
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.cells:
            self.cells[-1] += data


def hostile() -> CategoryMap:
    lifts = {(i, (i + step) % len(HOSTILE)): 1.1 + i / 10 for i in range(len(HOSTILE)) for step in (1, 5)}
    return category_map(lifts, [(name,) for name in HOSTILE])


def test_hostile_names_stay_text_in_svg_and_html() -> None:
    world = hostile()
    svg, html = render(world, ".svg"), render(world, ".html")
    names = [full_name(path) for path in world.paths]
    text = "\n".join(tooltips(svg))
    assert all(f"{name}: 1," in text for name in names)
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
    assert not tags & {"script", "foreignObject", "image", "a"}
    parsed = ParsedPage.of(html)
    assert not {"script", "iframe", "img", "link", "object", "a", "base"} & set(parsed.tags)
    assert parsed.tags.count("svg") == parsed.tags.count("table") == parsed.tags.count("title") - len(tooltips(svg)) == 1
    assert set(names) <= set(parsed.cells), "each is a complete cell of the table"
    for name, value in parsed.attributes:
        assert not name.startswith("on")
        assert name not in ("src", "srcset")
        assert name not in ("href", "xlink:href") or str(value).startswith("#")
    for content in (svg, html):
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\x00-\x08]", content.decode())
        assert b"url(http" not in content
        assert b"@import" not in content


def test_html_page_escapes_everything_but_the_drawing() -> None:
    evil = "<b onclick='x'>&amp;\"</caption>"
    html = html_page(evil, [evil], "<svg></svg>", PairTable(evil, [evil] * 3, [[evil] * 3]))
    assert html.count(escape(evil)) == 1 + 1 + 1 + 3 + 3
    assert "<b " not in html
    assert [cell.strip() for cell in ParsedPage.of(html.encode()).cells[:5]] == [evil] * 5


def test_names_are_not_parsed_as_mathematics() -> None:
    canvas = compose(hostile(), vector=True)
    assert "$x^2$ \\alpha $" in [text.get_text() for text in canvas.axes.texts]
    assert not any(text.get_parse_math() for text in canvas.axes.texts)


def test_svg_has_every_name_unchanged_and_png_has_placeholders() -> None:
    world = hostile()
    texts = svg_texts(render(world, ".svg"))
    assert {"日本語の家電", "中文图书馆馆", "(no name)", "Bed & Bath \"soft\" 'n' warm"} <= set(texts)
    assert not any("□" in text for text in texts)
    drawn = [text.get_text() for text in compose(world, vector=False).axes.texts]
    assert "□□□□□□" in drawn
    assert "□□□□□□ (2)" in drawn
    assert any("font of this picture lacks" in text for text in drawn)
    assert not any("font of this picture lacks" in text.get_text() for text in compose(SMALL_MAP, vector=False).axes.texts)


def test_svg_has_every_name_and_equal_names_are_disambiguated() -> None:
    world = crowded(40)
    svg = render(world, ".svg")
    text = "\n".join(tooltips(svg))
    assert all(f"{full_name(path)}: " in text for path in world.paths)
    texts = svg_texts(svg)
    assert "Pets (Department 3)" in texts
    assert short_names([("A", "x"), ("B", "x"), ("y",)], vector=True) == ["x (A)", "x (B)", "y"]


@given(st.lists(st.lists(st.text(max_size=60), max_size=3).map(tuple), max_size=12, unique=True), st.booleans(), st.integers(8, 40))
@settings(max_examples=200, deadline=None)
def test_short_names_are_distinct_short_and_on_one_line(paths: list[Category], vector: bool, max_length: int) -> None:
    names = short_names(paths, vector=vector, max_length=max_length)
    assert len(set(names)) == len(paths) == len(names)
    for name in names:
        assert name.strip()
        assert len(name.splitlines()) == 1
        assert len(name) <= max_length + len(" (12)")


def test_long_names_with_different_ends_are_shortened_in_the_middle() -> None:
    long = "Replacement parts and consumables for coffee machines, "
    one, two, three = short_names([(long + "red",), (long + "blue",), ("z" * 50,)], vector=True, max_length=20)
    assert (one, two) == ("Replaceme…ines, red", "Replaceme…nes, blue")
    assert three == "z" * 19 + "…"


# Files


@pytest.mark.parametrize("suffix", FORMATS)
def test_suffix_selects_the_format_and_the_bytes_are_reproducible(suffix: str, tmp_path: Path) -> None:
    import matplotlib

    first, second = tmp_path / f"one{suffix}", tmp_path / f"two{suffix.upper()}"
    draw(crowded(9), first)
    with matplotlib.rc_context(
        {"font.size": 30, "axes.facecolor": "red", "savefig.bbox": "tight", "hatch.color": "green", "svg.hashsalt": None}
    ):
        draw(crowded(9), second)
    assert first.read_bytes() == second.read_bytes()
    starts = {".svg": b"<?xml", ".png": b"\x89PNG", ".html": b"<!doctype html>"}
    assert first.read_bytes().startswith(starts[suffix])
    assert not re.search(rb"20\d\d-\d\d-\d\d|[Mm]atplotlib", first.read_bytes())
    assert sorted(tmp_path.iterdir()) == [first, second]


@pytest.mark.parametrize("name", ["atlas", "atlas.pdf", "atlas.svg.gz", ".svg"])
def test_unknown_suffix_is_rejected(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"an \.svg, \.png or \.html file"):
        draw(SMALL_MAP, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_path_that_cannot_be_a_file_is_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "atlas.svg"
    folder.mkdir()
    with pytest.raises(SettingsError, match="is a folder; name a file"):
        draw(SMALL_MAP, folder)
    for parent in (tmp_path / "missing", tmp_path / "a.png"):
        (tmp_path / "a.png").write_bytes(b"")
        with pytest.raises(SettingsError, match="the folder .* does not exist; create it first"):
            draw(SMALL_MAP, parent / "atlas.svg")
    with pytest.raises(StorageError, match=r"could not be written \(File name too long\)"):
        draw(SMALL_MAP, tmp_path / f"{'long' * 100}.svg")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a read-only folder")
def test_read_only_folder_is_reported() -> None:
    with pytest.raises(StorageError, match="no permission to write the picture /sys/kernel/atlas.svg"):
        draw(SMALL_MAP, Path("/sys/kernel/atlas.svg"))


def test_map_without_a_disclosed_pair_is_rejected_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "atlas.svg"
    path.write_text("old")
    for empty in (category_map({}, [("a",), ("b",)]), category_map({}, []), category_map({(0, 0): 2.0}, [("a",)])):
        with pytest.raises(QueryError, match="nothing to draw: no two of the"):
            draw(empty, path)
    assert path.read_text() == "old"


@pytest.mark.parametrize("n", [2, 3, 19, 20, 21, 40, 60])
def test_any_number_of_categories_is_drawn_without_warnings(n: int, tmp_path: Path) -> None:
    for suffix in FORMATS:
        draw(crowded(n, seed=n), tmp_path / f"atlas{suffix}")
        assert (tmp_path / f"atlas{suffix}").stat().st_size > 5000
