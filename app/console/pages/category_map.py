"""The page with the map of all categories: what those who had the one go on to, and by clicking a cell the items and figures behind it.

The map is a picture that takes a pointer; the list of its strongest cells beside it says the same, and takes a keyboard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..widgets.elements import bar, blank, box, button, item, notice, say
from ..widgets.heat_map_chart import WITHHELD, Cell, chart_options, legend, whole

if TYPE_CHECKING:
    from ....data.records import Item
    from ....recommend.category_map.cell_items import CellDrilldown
    from ..widgets.async_panel import Counter

SHOWN = 40
"""Categories of one map; of more, those with most users, until a search narrows them."""
LISTED = 12


def atlas_page(counter: Counter) -> None:
    """Draws the page and fetches the atlas of the store's own level."""
    from nicegui import ui

    page = AtlasPage(counter)
    page.draw()
    ui.timer(0, page.load, once=True)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the filters leave: categories by their place in the atlas, and cells, the strongest first."""

    categories: Sequence[int]
    cells: Sequence[Cell]
    more: int


class AtlasPage:
    """One open page."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.atlas: dict[str, Any] = {}
        self.known: frozenset[tuple[int, int]] = frozenset()
        """The pairs, by place, whose figures may be told."""
        self.shown = Shown((), (), 0)
        self.chosen: tuple[int, int] | None = None
        self.dark = False
        self.listed = LISTED

    def draw(self) -> None:
        """Draws what is there before there are figures."""
        from nicegui import ui

        from ..widgets.async_panel import Place

        say("h1", "What goes with what")
        say("p", "Every row: who had it. Every column: what they went on to. Click a cell for the items behind it.", "lead")
        levels = max(1, self.counter.shop.recommender.catalogue.tree.levels)
        own = min(self.counter.shop.recommender.catalogue.level, levels)
        with box("div", "fields").style("margin-top: 18px"):
            self.search = ui.input("Search a category").props("outlined dense clearable debounce=200 autocomplete=off")
            names = {
                level: "1, broadest" if level == 1 else f"{level}, narrowest" if level == levels else str(level)
                for level in range(1, levels + 1)
            }
            self.level = ui.select(names, value=own, label="Depth of categories").props("outlined dense options-dense")
            least = self.counter.shop.min_users
            self.support = ui.input("At least, shoppers", value=str(least)).props(
                "outlined dense debounce=300 inputmode=numeric autocomplete=off"
            )
            self.sure = ui.checkbox("Only what is sure")
        for field in (self.search, self.support, self.sure):
            field.on_value_change(self.redraw)
        self.level.on_value_change(self.load)
        ui.on("crossaisle_theme", self.turned)
        with box("div", "beside section"):
            self.map = Place(self.counter, 560, classes="card", waiting=True)
            self.detail = Place(self.counter, 160, 240, waiting=True)
        self.pairs = box("section", "card section")

    async def load(self) -> None:
        """Fetches the atlas of the chosen level."""
        from nicegui import ui

        self.chosen, level = None, int(self.level.value)
        self.dark = bool(await ui.run_javascript("document.body.classList.contains('body--dark')", timeout=5))
        self.detail.show(lambda: blank("No cell chosen", "Click a cell of the map, or a line of the list below."))
        await self.map.fill(lambda: self._left_of(level), self._draw)

    async def turned(self, event: Any) -> None:
        """Draws the map in the other mode's colours."""
        self.dark = bool(event.args)
        await self.redraw()

    async def redraw(self) -> None:
        """Draws again what the filters leave."""
        if self.atlas:
            self.listed = LISTED
            await self.map.fill(self.left, self._draw)

    def _left_of(self, level: int) -> Shown:
        self.atlas = self.counter.shop.atlas(level)
        self.known = frozenset((one["source"], one["target"]) for one in self.atlas["pairs"])
        return self.left()

    def _draw(self, left: Shown) -> None:
        self.shown = left
        self._map(left)
        self._list()

    def left(self) -> Shown:
        """What the filters leave of the atlas; to be called in a thread, for an atlas may hold a hundred thousand pairs."""
        paths = [one["name"] or ["(no category)"] for one in self.atlas["categories"]]
        names = [whole(path) for path in paths]
        wanted = (self.search.value or "").strip().lower()
        least = int(self.support.value) if str(self.support.value).strip().isdigit() else 0
        hit = [wanted in name.lower() for name in names]
        cells = [
            Cell(
                one["source"],
                one["target"],
                paths[one["source"]],
                paths[one["target"]],
                one,
                self.atlas["categories"][one["source"]]["users"],
            )
            for one in self.atlas["pairs"]
            if one["users"] >= least and (one["sure"] or not self.sure.value) and (hit[one["source"]] or hit[one["target"]])
        ]
        users = [one["users"] for one in self.atlas["categories"]]
        there = {place for cell in cells for place in (cell.source, cell.target)} if wanted else set(range(len(names)))
        most = set(sorted(there, key=lambda place: (not hit[place], -users[place]))[:SHOWN])
        cells = [cell for cell in cells if cell.source in most and cell.target in most]
        return Shown(sorted(most, key=lambda place: names[place]), cells, len(there) - len(most))

    # ------------------------------------------------------------------ drawing

    def _map(self, left: Shown) -> None:
        from nicegui import ui

        if not left.cells:
            blank("Nothing is left", "No pair of categories passes these filters. Ask for fewer shoppers, or another name.")
            return
        names = [self.atlas["categories"][place]["name"] for place in left.categories]
        least = self.atlas["privacy"]["min_users"]
        options, size = chart_options(left.categories, names, left.cells, self.dark, known=self.known, least=least)
        with box("div", "map", tabindex="0", role="region", aria_label="Map of categories; the list beside it says the same"):
            chart = ui.echart(
                options, renderer="svg", on_point_click=lambda event: self.choose(int(event.data["at"][0]), int(event.data["at"][1]))
            )
            chart.style(f"width: 100%; min-width: {size[0]}px; height: {size[1]}px").classes("heat")
        legend(left.cells, self.atlas, self.dark)
        if left.more:
            say("p", f"{left.more:,} more categories have fewer shoppers; search to see them.", "soft small").style("margin-top: 8px")

    def _list(self) -> None:
        left = self.shown
        self.pairs.clear()
        with self.pairs:
            say("h2", "Strongest pairs")
            order = sorted(left.cells, key=lambda cell: (not cell.sure, -cell.low))
            if not order:
                say("p", "none", "soft small")
            with box("ul", "pairs"):
                for cell in order[: self.listed]:
                    with box("li"):
                        self._line(cell)
            if len(order) > self.listed:
                button(f"Show more of {len(order):,}", self._more, "button slight")

    def _line(self, cell: Cell) -> None:
        pressed = "true" if self.chosen == (cell.source, cell.target) else "false"
        with box("button", "pair", type="button", aria_pressed=pressed).on("click", partial(self.choose, cell.source, cell.target), []):
            say("span", f"{cell.left[-1]} → {cell.right[-1]}", dir="auto")
            say("span", f"{cell.lift:.1f}×", "number").style("font-weight: 620")
            say("span", f"{cell.users:,} shoppers", "soft small")
            say("span", "sure" if cell.sure else "could be chance", "soft small number")

    def _more(self) -> None:
        self.listed += 4 * LISTED
        self._list()

    async def choose(self, source: int, target: int) -> None:
        """Shows what is behind a cell."""
        cell = next((one for one in self.shown.cells if (one.source, one.target) == (source, target)), None)
        if cell is None:
            if source != target:
                self.chosen = None
                self.detail.show(lambda: blank("No figures", f"{WITHHELD.format(self.atlas['privacy']['min_users'])}."))
                self._list()
            return
        self.chosen = (source, target)
        self._list()
        paths = tuple(tuple(self.atlas["categories"][place]["name"]) for place in (source, target))
        await self.detail.fill(lambda: self._behind(cell, paths[0], paths[1]), lambda found: self._detail(cell, *found))

    def _behind(self, cell: Cell, source: tuple[str, ...], target: tuple[str, ...]) -> tuple[CellDrilldown, dict[str, Item]]:
        from ....recommend.category_map.cell_items import cell_drilldown

        shop = self.counter.shop
        found = cell_drilldown(shop.workspace, shop.recommender.catalogue, source, target, users=cell.users, min_users=shop.min_users)
        keys = [key for pair in found.pairs for key in (pair.source, pair.target)]
        return found, self.counter.items([*keys, *(one.item_id for one in (*found.sources, *found.targets))])

    def _detail(self, cell: Cell, found: CellDrilldown, items: Mapping[str, Item]) -> None:
        with box("section", "card stack"):
            with box("div"):
                say("h2", f"{cell.left[-1]} → {cell.right[-1]}", dir="auto")
                went = f"{cell.users:,} of {cell.of:,} shoppers who {self.atlas['verb']} the first went on to the second"
                say("p", f"{went}, {self.atlas['window']}", "soft small")
            with box("div", "figure-bar"):
                say("p", f"{cell.lift:.1f}× as often as usual", "cohort")
                low, high = cell.low, cell.high
                say("p", f"95% interval {low:.1f} to {high:.1f}" if high is not None else f"95% interval {low:.1f} and up", "soft small")
                bar(cell.lift, max(high or cell.lift, 1.2), between=(low, high or cell.lift), usual=1.0)
                say(
                    "p",
                    f"{cell.share:.0%} of them, usually {cell.base_rate:.0%}; {'sure' if cell.sure else 'this could be chance'}",
                    "soft small",
                )
            if found.pairs:
                with box("div"):
                    say("h3", "Items that go together")
                    with box("ul", "stack").style("margin-top: 8px"):
                        for pair in found.pairs:
                            with box("li"):
                                titles = [items[key].title or key if key in items else key for key in (pair.source, pair.target)]
                                item(
                                    f"{titles[0]} → {titles[1]}",
                                    items[pair.target].image if pair.target in items else None,
                                    f"{pair.users:,} of {pair.of:,} shoppers, {pair.lift:.1f}×",
                                )
            else:
                notice(f"No single pair of items has {self.counter.shop.min_users} shoppers, so none is told of. What most have of each:")
            for name, shown in ((cell.left[-1], found.sources), (cell.right[-1], found.targets)):
                with box("div"):
                    say("h3", name, dir="auto")
                    with box("ul", "stack").style("margin-top: 8px"):
                        for one in shown:
                            with box("li"):
                                item(one.title, items[one.item_id].image if one.item_id in items else None)
