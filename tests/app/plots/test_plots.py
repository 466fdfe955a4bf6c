"""The atlas as a picture: what it shows of a known world, that it can be read, and that strangers' names stay text."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.app.plots.annotated_svg import Table, doing, page, table, times, whole_name
from crossaisle.app.plots.category_map import FORMATS, MOST_CATEGORIES, chosen, compose, draw, render, short_names, side_by_side
from crossaisle.app.plots.heat_map import color, ink_on
from crossaisle.app.plots.network import MOST_ARROWS, Network, complements
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


def atlas(lifts: dict[tuple[int, int], float], paths: list[Category], *, sure: set[tuple[int, int]] | None = None, **other: Any) -> CategoryMap:
    """An atlas of 1,000 users of each category in which only the given pairs are known; every pair is sure unless told."""
    n = len(paths)
    lift = np.full((n, n), np.nan)
    for pair, value in lifts.items():
        lift[pair] = value
    known = np.isfinite(lift)
    certain = np.zeros((n, n), dtype=np.bool_)
    for pair in lifts if sure is None else sure:
        certain[pair] = True
    fields: dict[str, Any] = {
        "paths": paths,
        "users": np.arange(1000, 1000 + n, dtype=np.int64),
        "lift": lift,
        "low": lift * 0.8,
        "high": lift * 1.25,
        "support": np.where(known, 321, 0).astype(np.int64),
        "share": np.where(known, 0.3214, np.nan),
        "base_rate": np.where(known, 0.1234, np.nan),
        "sure": certain,
        "order": "time",
        "window": "within 90 days",
        "verb": "bought",
        "suppressed": int((~known).sum()) - n,
        "min_users": 20,
    }
    return CategoryMap(**{**fields, **other})


def crowded(n: int, seed: int = 0, **other: Any) -> CategoryMap:
    """An atlas of `n` categories with long names, about half of whose pairs are known and a quarter sure."""
    random = np.random.default_rng(seed)
    lifts = {
        pair: float(2 ** random.normal(0, 1.5)) for pair in itertools.permutations(range(n), 2) if random.random() < 0.5 or sum(pair) == 1
    }
    sure = {pair for pair in lifts if random.random() < 0.5 or pair == (0, 1)}
    names = ["Replacement Parts and Consumables", "Cleaning Supplies & Detergents", "Pets", "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"]
    paths: list[Category] = [(f"Department {i // 4}", names[i % 4]) for i in range(n)]
    return atlas(lifts, paths, sure=sure, **other)


def texts_of(svg: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def hovers_of(svg: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}title")]


PLAIN = atlas({(0, 1): 2.6, (1, 0): 1.5, (0, 2): 0.5}, [("Phones",), ("Cases",), ("Cameras",)], sure={(0, 1), (1, 0)})


# What it says


def test_the_heat_map_prints_the_lift_and_what_is_sure_in_bold() -> None:
    sheet = compose(PLAIN, vector=True)
    weight = {text.get_text(): text.get_weight() for text in sheet.axes.texts}
    assert weight["2.6"] == weight["1.50"] == "bold"
    assert weight["0.50"] == "normal"


def test_a_cell_tells_a_pointer_users_share_base_rate_lift_and_interval() -> None:
    (said,) = [hover for hover in hovers_of(render(PLAIN, ".svg")) if hover.startswith("Phones → Cameras")]
    for figure in ("321 of 1,000 users", "32.1%", "12.3%", "0.50×", "0.40 to 0.62", "could be chance"):
        assert figure in said
    (sure,) = [hover for hover in hovers_of(render(PLAIN, ".svg")) if hover.startswith("Cases → Phones") and "of 1,001 users" in hover]
    assert sure.endswith("sure")


def test_the_page_says_window_threshold_and_how_many_pairs_are_withheld() -> None:
    said = " ".join(texts_of(render(PLAIN, ".svg")))
    for words in ("within 90 days", "fewer than 20 users are withheld: 3 here", "goes on to buy from →", "has bought from ↓"):
        assert words in said


@pytest.mark.parametrize(
    ("verb", "order", "row", "column"),
    [
        ("bought", "time", "has bought from", "goes on to buy from"),
        ("rated", "position", "has rated items of", "goes on to rate items of"),
        ("looked at", "none", "has looked at", "has also looked at"),
        ("enrolled in", "time", "has enrolled in items of", "has later enrolled in items of"),
    ],
)
def test_the_axes_speak_of_what_the_users_did(verb: str, order: Any, row: str, column: str) -> None:
    told = dataclasses.replace(PLAIN, verb=verb, order=order)
    assert doing(told) == (row, column)
    said = texts_of(render(told, ".svg"))
    assert f"{row} ↓" in said
    assert f"{column} →" in said
    assert ("which came first" in " ".join(said)) == (order == "none")


def test_withheld_figures_are_nowhere_in_any_format() -> None:
    withheld = dataclasses.replace(
        PLAIN,
        users=np.array([1000, 1001, 7], dtype=np.int64),
        support=np.where(np.isfinite(PLAIN.lift), 321, 987654),
        share=np.where(np.isfinite(PLAIN.lift), 0.3214, 0.77777),
        base_rate=np.where(np.isfinite(PLAIN.lift), 0.1234, 0.66666),
        lift_low=np.where(np.isfinite(PLAIN.lift), PLAIN.lift_low, 5.5555),
        lift_high=np.where(np.isfinite(PLAIN.lift), PLAIN.lift_high, 8.8888),
        significant=np.ones((3, 3), dtype=np.bool_),
    )
    for kind in (".svg", ".html"):
        said = "\n".join([*hovers_of(render(withheld, ".svg")), *texts_of(render(withheld, ".svg"))])
        said += "".join(Read.of(render(withheld, kind)).words)
        for figure in ("987", "77.8%", "66.7%", "5.5", "5.6", "8.8", "8.9", "7 users", "(7)"):
            assert figure not in said, figure
        assert "Cameras: under 20 users" in said
        assert "Cases → Cameras: withheld, as it would tell of fewer than 20 users, or nothing known" in said
    assert render(withheld, ".png") == render(
        dataclasses.replace(withheld, support=PLAIN.support, share=PLAIN.share, lift_low=PLAIN.lift_low), ".png"
    )


def test_withheld_cells_and_the_diagonal_are_told_apart_from_a_lift_of_one() -> None:
    svg = render(PLAIN, ".svg").decode()
    assert svg.count("url(#h") == 3 + 1, "three withheld cells and the legend are hatched"
    one = color(1.0, 2)
    assert min(one) > 0.9
    assert svg.count("#c4c4c4") == 3 + 2, "the diagonal, its legend and the line between the panels"


def test_the_table_lists_the_sure_pairs_first_and_the_strongest_of_them_on_top() -> None:
    rows = table(PLAIN).rows
    assert [tuple(row[:2]) for row in rows] == [("Phones", "Cases"), ("Cases", "Phones"), ("Phones", "Cameras")]
    assert list(rows[0][2:]) == ["321", "32.1%", "12.3%", "2.6×", "2.1 to 3.2", "yes"]
    assert rows[2][-1] == "could be chance"
    endless = dataclasses.replace(PLAIN, lift_high=np.full((3, 3), np.inf))
    assert table(endless).rows[0][6] == "2.1 and up"


@pytest.mark.parametrize(
    ("lift", "said"), [(0.0, "0.00"), (0.417, "0.42"), (1.04, "1.04"), (1.996, "2.0"), (9.94, "9.9"), (9.96, "10"), (999.6, "999+")]
)
def test_a_lift_takes_four_characters_at_most(lift: float, said: str) -> None:
    assert times(lift) == said


# Which categories and arrows


def test_categories_that_go_together_stand_together() -> None:
    blocks = [{0, 3, 6}, {1, 4, 7}, {2, 5, 8}]
    lifts = {pair: 4.0 for block in blocks for pair in itertools.permutations(block, 2)}
    lifts |= {pair: 0.5 for pair in itertools.permutations(range(9), 2) if pair not in lifts}
    world = atlas(lifts, [(f"c{i}",) for i in range(9)])
    order = side_by_side(world, range(9))
    assert sorted(order) == list(range(9))
    assert [set(order[start : start + 3]) in blocks for start in (0, 3, 6)] == [True] * 3


def test_too_many_categories_leave_those_of_the_strongest_sure_pairs_and_say_so() -> None:
    lifts = {(i, i + 1): 2 + i / 10 for i in range(0, 60, 2)} | {(0, 59): 99.0}
    world = atlas(lifts, [(f"c{i}",) for i in range(60)], sure=set(lifts) - {(0, 59)})
    assert chosen(world) == list(range(20, 60))
    assert f"Of 60 categories, the {MOST_CATEGORIES} with the strongest sure associations are shown." in texts_of(render(world, ".svg"))
    few = atlas({(0, 1): 2.0}, [(f"c{i}",) for i in range(MOST_CATEGORIES)])
    assert "are shown" not in " ".join(texts_of(render(few, ".svg")))


def test_the_network_draws_the_thirty_strongest_and_neither_unsure_nor_rarer_pairs() -> None:
    world = crowded(20)
    pairs = complements(world)
    assert len(pairs) > MOST_ARROWS
    assert all(world.significant[pair] and world.lift[pair] > 1 for pair in pairs)
    assert [world.lift_low[pair] for pair in pairs] == sorted((world.lift_low[pair] for pair in pairs), reverse=True)
    network = Network(world, list(range(20)), [str(i) for i in range(20)])
    assert network.arrows == pairs[:MOST_ARROWS]
    assert f"The strongest complements: the first 30 of {len(pairs)} sure pairs" in texts_of(render(world, ".svg"))


def test_without_a_sure_pair_the_network_says_so() -> None:
    said = texts_of(render(dataclasses.replace(PLAIN, significant=np.zeros((3, 3), dtype=np.bool_)), ".svg"))
    assert any("there is no arrow to draw" in words for words in said)


def curves(world: CategoryMap) -> dict[tuple[int, int], np.ndarray[Any, Any]]:
    """Arrow to points along it, in inches."""
    found = {}
    for patch in compose(world, vector=True).axes.patches:
        name = re.fullmatch(r"arrow-(\d+)-(\d+)", str(patch.get_gid()))
        if name:
            a, b, c, d = patch._path_original.vertices
            t = np.linspace(0, 1, 101)[:, None]
            found[int(name[1]), int(name[2])] = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
    return found


def test_an_arrow_points_from_row_to_column_and_is_as_thick_as_the_lift_is_high() -> None:
    lone = atlas({(0, 1): 3.0, (2, 1): 1.2}, PLAIN.paths)
    sheet = compose(lone, vector=True)
    circles = {text.get_text().split("  ")[0]: text.get_position() for text in sheet.axes.texts if "  (" in text.get_text()}
    points = curves(lone)[0, 1]
    assert math.dist(points[0], circles["Phones"]) < 0.5
    assert math.dist(points[-1], circles["Cases"]) < 0.5
    thick = {patch.get_gid(): patch.get_linewidth() for patch in sheet.axes.patches}
    assert thick["arrow-0-1"] > 2 * thick["arrow-2-1"]


@pytest.mark.parametrize("n", [2, 3, 4, 9, 30])
def test_opposite_arrows_are_two_curves_that_never_meet(n: int) -> None:
    ring = {pair: 2.0 for i in range(n) for pair in ((i, (i + 1) % n), ((i + 1) % n, i)) if i % 2 == 0 or n < 9}
    found = curves(atlas(ring, [(f"c{i}",) for i in range(n)]))
    assert found.keys() == ring.keys()
    for (a, b), points in found.items():
        away = np.hypot(*(points[:, None] - found[b, a][None]).transpose(2, 0, 1)).min(axis=1)
        assert away.min() > 0.02
        assert away[len(away) // 2] > 0.06


@pytest.mark.parametrize(("cliques", "size"), [(1, 5), (3, 3), (2, 4), (4, 3)])
def test_opposite_arrows_stay_apart_where_everything_goes_with_everything(cliques: int, size: int) -> None:
    among = [range(start, start + size) for start in range(0, cliques * size, size)]
    pairs = {pair: 2.0 for clique in among for pair in itertools.permutations(clique, 2)}
    found = curves(atlas(pairs, [(f"c{i}",) for i in range(cliques * size)]))
    for a, b in found:
        away = np.hypot(*(found[a, b][:, None] - found[b, a][None]).transpose(2, 0, 1)).min(axis=1)
        assert away[20:80].min() > 0.05, (a, b)


def test_where_nothing_says_which_came_first_a_pair_is_one_line_without_a_head() -> None:
    both = atlas({(0, 1): 2.0, (1, 0): 2.0, (1, 2): 3.0, (2, 1): 3.0}, PLAIN.paths)
    heads = {order: render(dataclasses.replace(both, order=order), ".svg").decode() for order in ("time", "none")}
    assert re.findall(r'id="arrow-(\d-\d)"', heads["time"]) == ["1-0", "0-1", "2-1", "1-2"], "the strongest lies on top"
    assert sorted(re.findall(r'id="arrow-(\d-\d)"', heads["none"])) == ["0-1", "1-2"]
    arrow = next(
        patch for patch in compose(dataclasses.replace(both, order="none"), vector=True).axes.patches if patch.get_gid() == "arrow-0-1"
    )
    assert type(arrow.get_arrowstyle()).__name__ == "Curve"


def test_a_line_shows_the_direction_that_is_known_and_never_the_withheld_one() -> None:
    world = atlas({(2, 0): 3.0, (1, 2): 2.0, (2, 1): 4.0}, PLAIN.paths, sure={(2, 0), (1, 2), (2, 1)}, order="none")
    svg = render(world, ".svg")
    assert sorted(re.findall(r'id="arrow-(\d-\d)"', svg.decode())) == ["2-0", "2-1"]
    assert "nan" not in " ".join(texts_of(svg) + hovers_of(svg))


def neighbours(n: int) -> CategoryMap:
    """An atlas in which categories go on to the next two around a circle."""
    ring = [(i, (i + step) % n) for i in range(n) for step in (1, 2) if n < 20 or (i + step) % 3]
    return atlas(dict.fromkeys(ring[:MOST_ARROWS], 2.0), [(f"c{i}",) for i in range(n)])


@pytest.mark.parametrize("world", [*map(neighbours, (5, 14, 30, 40)), *map(crowded, (20, 40, 60))], ids=lambda world: str(len(world.paths)))
def test_arrows_run_over_no_other_circle_and_no_name_and_are_longer_than_their_heads(world: CategoryMap) -> None:
    from matplotlib.patches import Circle

    sheet = compose(world, vector=True)
    inches = sheet.axes.transData.inverted()
    circles = [patch for patch in sheet.axes.patches if isinstance(patch, Circle)]
    names = [inches.transform(text.get_window_extent()) for text in sheet.axes.texts if re.search(r"  \([\d,]+\)$", text.get_text())]
    assert len(names) == len(circles) > 4
    for pair, points in curves(world).items():
        assert np.hypot(*np.diff(points, axis=0).T).sum() > 0.3, pair
        for circle in circles:
            assert np.hypot(*(points - circle.center).T).min() > circle.radius + 0.02, pair
        for (left, one), (right, two) in names:
            inside = (points[:, 0] > left) & (points[:, 0] < right) & (points[:, 1] > min(one, two)) & (points[:, 1] < max(one, two))
            assert not inside.any(), pair


# Whether it can be read


def corners(text: Any) -> np.ndarray[Any, Any]:
    """The four corners of a text, in pixels, slanted as it is."""
    turn = text.get_rotation()
    text.set_rotation(0)
    box = text.get_window_extent()
    text.set_rotation(turn)
    x, y = text.get_transform().transform(text.get_position())
    flat = np.array([(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)]) - (x, y)
    angle = math.radians(turn)
    return flat @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) + (x, y)


def apart(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Whether a line passes between two rectangles (separating axes)."""
    for box in (one, other):
        for side in (box[1] - box[0], box[3] - box[0]):
            if (one @ side).max() < (other @ side).min() or (other @ side).max() < (one @ side).min():
                return True
    return False


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize("n", [2, 3, 5, 6, 14, 20, 21, 40, 41, 60])
def test_no_two_texts_overlap_and_none_leaves_the_page(n: int, brief: bool) -> None:
    world = crowded(n, window="within 90 days of each other, " * 8)
    sheet = compose(dataclasses.replace(world, paths=[(f"c{i}",) for i in range(n)], min_users=1000) if brief else world, vector=False)
    boxes = [corners(text) for text in sheet.axes.texts]
    wide, high = sheet.axes.figure.bbox.size
    for text, box in zip(sheet.axes.texts, boxes, strict=True):
        assert box.min() >= 0, text
        assert box[:, 0].max() <= wide, text
        assert box[:, 1].max() <= high, text
    spans = np.array([(*box.min(axis=0), *box.max(axis=0)) for box in boxes])
    near = (spans[:, None, 0] < spans[None, :, 2]) & (spans[:, None, 1] < spans[None, :, 3])
    for a, b in np.argwhere(near & near.T):
        assert a >= b or apart(boxes[a], boxes[b]), (sheet.axes.texts[a], sheet.axes.texts[b])


@pytest.mark.parametrize("n", [3, 20, 40])
def test_no_name_lies_on_a_circle_and_every_figure_inside_its_cell(n: int) -> None:
    from matplotlib.patches import Circle, Rectangle

    sheet = compose(crowded(n), vector=True)
    names = [(text, text.get_window_extent()) for text in sheet.axes.texts if text.get_rotation() == 0]
    circles = [patch.get_window_extent() for patch in sheet.axes.patches if isinstance(patch, Circle)]
    assert len(circles) >= 2
    for text, box in names:
        assert not any(box.overlaps(circle) for circle in circles), text
    cells = [patch.get_window_extent() for patch in sheet.axes.patches if isinstance(patch, Rectangle)]
    for text, box in names:
        if text.get_ha() == "center" and re.fullmatch(r"[\d.+]+", text.get_text()):
            assert any(cell.x0 <= box.x0 and box.x1 <= cell.x1 and cell.y0 <= box.y0 and box.y1 <= cell.y1 for cell in cells), text


def lightness(fill: tuple[float, float, float]) -> float:
    """Relative luminance (WCAG 2.1), 0 to 1."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in fill]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("level", np.linspace(-1, 1, 41))
def test_figures_contrast_with_their_cell(level: float) -> None:
    fill = color(2**level, 1)
    ink = 1.0 if ink_on(fill) == "white" else lightness((0x1A / 255,) * 3)
    dark, light = sorted((ink, lightness(fill)))
    assert (light + 0.05) / (dark + 0.05) > 3.9


# Machado, Oliveira and Fernandes, IEEE TVCG 2009, severity 1.0, on linear RGB.
DEFICIENT = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def seen(fill: tuple[float, float, float], eye: str) -> np.ndarray[Any, Any]:
    """A colour in CIELAB (D65) as that eye has it."""
    srgb = np.asarray(fill)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(DEFICIENT[eye]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", DEFICIENT)
def test_more_and_less_than_usual_stay_apart_for_every_eye(eye: str) -> None:
    for level in (0.25, 0.5, 0.75, 1.0):
        more, less = seen(color(2**level, 1), eye), seen(color(2**-level, 1), eye)
        assert np.linalg.norm(more - less) > 20, (level, more, less)
    assert np.linalg.norm(seen(color(2.0, 1), eye) - seen(color(1.0, 1), eye)) > 40
    assert np.linalg.norm(seen(color(0.5, 1), eye) - seen(color(1.0, 1), eye)) > 40


def test_colours_end_at_the_scale_and_a_lift_of_nothing_is_its_lower_end() -> None:
    assert color(0.0, 2) == color(0.25, 2) == color(0.01, 2) != color(0.3, 2)
    assert color(4.0, 2) == color(1000.0, 2) != color(3.0, 2)


# Strangers' names


class Read(HTMLParser):
    """What a browser would make of a page: its elements, attributes and words."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.cells: list[str] = []

    @classmethod
    def of(cls, content: bytes) -> Read:
        read = cls()
        read.feed(content.decode())
        read.close()
        return read

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.cells += [""] if tag in ("td", "th") else []
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.cells:
            self.cells[-1] += data


def hostile() -> CategoryMap:
    lifts = {(i, (i + step) % len(HOSTILE)): 1.1 + i / 10 for i in range(len(HOSTILE)) for step in (1, 5)}
    return atlas(lifts, [(name,) for name in HOSTILE])


def test_hostile_names_stay_text_in_svg_and_html() -> None:
    world = hostile()
    svg, html = render(world, ".svg"), render(world, ".html")
    names = [whole_name(path) for path in world.paths]
    said = "\n".join(hovers_of(svg))
    assert all(f"{name}: 1," in said for name in names)
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
    assert not tags & {"script", "foreignObject", "image", "a"}
    read = Read.of(html)
    assert not {"script", "iframe", "img", "link", "object", "a", "base"} & set(read.tags)
    assert read.tags.count("svg") == read.tags.count("table") == read.tags.count("title") - len(hovers_of(svg)) == 1
    assert set(names) <= set(read.cells), "each is the whole of a cell of the table"
    for name, value in read.attributes:
        assert not name.startswith("on")
        assert name not in ("src", "srcset")
        assert name not in ("href", "xlink:href") or str(value).startswith("#")
    for content in (svg, html):
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\x00-\x08]", content.decode())
        assert b"url(http" not in content
        assert b"@import" not in content


def test_nothing_of_a_page_but_its_drawing_is_taken_for_markup() -> None:
    evil = "<b onclick='x'>&amp;\"</caption>"
    html = page(evil, [evil], "<svg></svg>", Table(evil, [evil] * 3, [[evil] * 3]))
    assert html.count(escape(evil)) == 1 + 1 + 1 + 3 + 3
    assert "<b " not in html
    assert [cell.strip() for cell in Read.of(html.encode()).cells[:5]] == [evil] * 5


def test_names_are_drawn_as_written_not_as_mathematics() -> None:
    sheet = compose(hostile(), vector=True)
    assert "$x^2$ \\alpha $" in [text.get_text() for text in sheet.axes.texts]
    assert not any(text.get_parse_math() for text in sheet.axes.texts)


def test_an_svg_has_every_name_as_it_is_and_a_png_says_what_its_font_lacks() -> None:
    world = hostile()
    said = texts_of(render(world, ".svg"))
    assert {"日本語の家電", "中文图书馆馆", "(no name)", "Bed & Bath \"soft\" 'n' warm"} <= set(said)
    assert not any("□" in words for words in said)
    drawn = [text.get_text() for text in compose(world, vector=False).axes.texts]
    assert "□□□□□□" in drawn
    assert "□□□□□□ (2)" in drawn
    assert any("font lacks" in words for words in drawn)
    assert not any("font lacks" in text.get_text() for text in compose(PLAIN, vector=False).axes.texts)


def test_every_name_is_in_the_svg_and_categories_of_one_name_are_told_apart() -> None:
    world = crowded(40)
    svg = render(world, ".svg")
    told = "\n".join(hovers_of(svg))
    assert all(f"{whole_name(path)}: " in told for path in world.paths)
    said = texts_of(svg)
    assert "Pets (Department 3)" in said
    assert short_names([("A", "x"), ("B", "x"), ("y",)], vector=True) == ["x (A)", "x (B)", "y"]


@given(st.lists(st.lists(st.text(max_size=60), max_size=3).map(tuple), max_size=12, unique=True), st.booleans(), st.integers(8, 40))
@settings(max_examples=200, deadline=None)
def test_short_names_are_distinct_short_and_on_one_line(paths: list[Category], vector: bool, limit: int) -> None:
    names = short_names(paths, vector=vector, limit=limit)
    assert len(set(names)) == len(paths) == len(names)
    for name in names:
        assert name.strip()
        assert len(name.splitlines()) == 1
        assert len(name) <= limit + len(" (12)")


def test_long_names_that_differ_at_their_end_are_shortened_in_the_middle() -> None:
    long = "Replacement parts and consumables for coffee machines, "
    one, two, three = short_names([(long + "red",), (long + "blue",), ("z" * 50,)], vector=True, limit=20)
    assert (one, two) == ("Replaceme…ines, red", "Replaceme…nes, blue")
    assert three == "z" * 19 + "…"


# Files


@pytest.mark.parametrize("kind", FORMATS)
def test_the_suffix_says_the_format_and_the_same_atlas_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    import matplotlib

    first, second = tmp_path / f"one{kind}", tmp_path / f"two{kind.upper()}"
    draw(crowded(9), first)
    with matplotlib.rc_context(
        {"font.size": 30, "axes.facecolor": "red", "savefig.bbox": "tight", "hatch.color": "green", "svg.hashsalt": None}
    ):
        draw(crowded(9), second)
    assert first.read_bytes() == second.read_bytes()
    starts = {".svg": b"<?xml", ".png": b"\x89PNG", ".html": b"<!doctype html>"}
    assert first.read_bytes().startswith(starts[kind])
    assert not re.search(rb"20\d\d-\d\d-\d\d|[Mm]atplotlib", first.read_bytes())
    assert sorted(tmp_path.iterdir()) == [first, second]


@pytest.mark.parametrize("name", ["atlas", "atlas.pdf", "atlas.svg.gz", ".svg"])
def test_another_suffix_is_refused_with_the_three_there_are(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"an \.svg, \.png or \.html file"):
        draw(PLAIN, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_place_that_takes_no_file_is_one_clear_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "atlas.svg"
    folder.mkdir()
    with pytest.raises(SettingsError, match="is a folder; name a file"):
        draw(PLAIN, folder)
    for parent in (tmp_path / "missing", tmp_path / "a.png"):
        (tmp_path / "a.png").write_bytes(b"")
        with pytest.raises(SettingsError, match="there is no folder .* make it first"):
            draw(PLAIN, parent / "atlas.svg")
    with pytest.raises(StorageError, match=r"could not be written \(File name too long\)"):
        draw(PLAIN, tmp_path / f"{'long' * 100}.svg")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that nobody may write to")
def test_a_folder_that_may_not_be_written_is_one_clear_sentence() -> None:
    with pytest.raises(StorageError, match="no permission to write the picture /sys/kernel/atlas.svg"):
        draw(PLAIN, Path("/sys/kernel/atlas.svg"))


def test_an_atlas_without_a_known_pair_is_refused_and_leaves_the_old_picture(tmp_path: Path) -> None:
    path = tmp_path / "atlas.svg"
    path.write_text("old")
    for empty in (atlas({}, [("a",), ("b",)]), atlas({}, []), atlas({(0, 0): 2.0}, [("a",)])):
        with pytest.raises(QueryError, match="nothing to draw: no two of the"):
            draw(empty, path)
    assert path.read_text() == "old"


@pytest.mark.parametrize("n", [2, 3, 19, 20, 21, 40, 60])
def test_any_number_of_categories_is_drawn_without_a_warning(n: int, tmp_path: Path) -> None:
    for kind in FORMATS:
        draw(crowded(n, seed=n), tmp_path / f"atlas{kind}")
        assert (tmp_path / f"atlas{kind}").stat().st_size > 5000
