"""The atlas page: the category map as a heat map, and the items and statistics of a chosen cell.

The heat map needs a pointer; the list of the strongest pairs has the same content for the keyboard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ...plots.category_pairs import MAX_CATEGORIES, CategoryPair, full_name, withheld_text
from ..widgets.elements import bar, button, container, empty_state, item_row, notice, text_element
from ..widgets.heat_map_chart import heat_map_legend, heat_map_options

if TYPE_CHECKING:
    from ....data.records import Item
    from ....data.store_words import StoreWords
    from ....recommend.category_map.cell_items import CellDrilldown
    from ..widgets.async_panel import ConsoleBackend

LIST_LENGTH = 12
"""Pairs in the list at first."""


def category_map_page(backend: ConsoleBackend) -> None:
    """Draw the page and load the category map at the store's default level."""
    from nicegui import ui

    page = CategoryMapPage(backend)
    page.draw()
    ui.timer(0, page.load, once=True)


@dataclass(frozen=True, slots=True)
class FilteredMap:
    """The part of the category map that passes the filters.

    Attributes:
        categories: Indices of the categories, ordered by name.
        pairs: Pairs of these categories, strongest first.
        hidden: Number of matching categories that are left out because there are too many.
    """

    categories: Sequence[int]
    pairs: Sequence[CategoryPair]
    hidden: int


class CategoryMapPage:
    """One open page."""

    def __init__(self, backend: ConsoleBackend) -> None:
        """Start with an empty map."""
        self.backend = backend
        self.category_map: dict[str, Any] = {}
        """The category map as JSON (see `category_map_to_dict`)."""
        self.all_pairs: list[CategoryPair] = []
        """All pairs that may be disclosed."""
        self.filtered = FilteredMap((), (), 0)
        self.selected: tuple[int, int] | None = None
        self.dark = False
        self.list_length = LIST_LENGTH

    @property
    def words(self) -> StoreWords:
        """The store's words."""
        return self.backend.words

    def draw(self) -> None:
        """Draw the page without data."""
        from nicegui import ui

        from ..widgets.async_panel import AsyncPanel

        tree = self.backend.store.recommender.catalogue.tree
        text_element("h1", "What goes with what")
        lead = "Rows: what {users} chose first. Columns: what they went on to. Click a cell for the {items} behind it."
        text_element("p", self.words.fill(lead), "lead")
        levels = max(1, tree.levels)
        default_level = min(self.backend.store.recommender.catalogue.level, levels)
        with container("div", "fields").style("margin-top: 18px"):
            self.search = ui.input("Search a category").props("outlined dense clearable debounce=200 autocomplete=off")
            names = {
                level: "1, broadest" if level == 1 else f"{level}, narrowest" if level == levels else str(level)
                for level in range(1, levels + 1)
            }
            self.level = ui.select(names, value=default_level, label="Depth of categories").props("outlined dense options-dense")
            self.min_users = ui.input(f"At least, {self.words.users}", value=str(self.backend.store.min_users)).props(
                "outlined dense debounce=300 inputmode=numeric autocomplete=off"
            )
            self.only_significant = ui.checkbox("Only what is sure")
        for field in (self.search, self.min_users, self.only_significant):
            field.on_value_change(self.update)
        self.level.on_value_change(self.load)
        ui.on("crossaisle_theme", self.change_theme)
        with container("div", "columns section"):
            self.map_panel = AsyncPanel(self.backend, 560, classes="card", loading=True)
            self.detail_panel = AsyncPanel(self.backend, 160, 240, loading=True)
        self.pair_list = container("section", "card section")

    async def load(self) -> None:
        """Load the category map at the chosen level."""
        from nicegui import ui

        self.selected, level = None, int(self.level.value)
        self.dark = bool(await ui.run_javascript("document.body.classList.contains('body--dark')", timeout=5))
        self.detail_panel.show(lambda: empty_state("No cell chosen", "Click a cell of the map, or a line of the list below."))
        await self.map_panel.fill(lambda: self._load_level(level), self._draw_filtered)

    async def change_theme(self, event: Any) -> None:
        """Draw the map in the colours of the new theme."""
        self.dark = bool(event.args)
        await self.update()

    async def update(self) -> None:
        """Apply the filters and draw the map again."""
        if self.category_map:
            self.list_length = LIST_LENGTH
            await self.map_panel.fill(self.apply_filters, self._draw_filtered)

    def _load_level(self, level: int) -> FilteredMap:
        self.category_map = self.backend.store.atlas(level)
        self.all_pairs = [CategoryPair.from_json(self.category_map, pair) for pair in self.category_map["pairs"]]
        return self.apply_filters()

    def _draw_filtered(self, filtered: FilteredMap) -> None:
        self.filtered = filtered
        self._draw_map()
        self._draw_list()

    def apply_filters(self) -> FilteredMap:
        """The part of the map that passes the filters. Call it in a worker thread: a map may have 100,000 pairs."""
        categories = self.category_map["categories"]
        names = [full_name(self._path(category)) for category in range(len(categories))]
        query = (self.search.value or "").strip().lower()
        min_users = int(self.min_users.value) if str(self.min_users.value).strip().isdigit() else 0
        matches = [query in name.lower() for name in names]
        pairs = [
            pair
            for pair in self.all_pairs
            if pair.users >= min_users
            and (pair.significant or not self.only_significant.value)
            and (matches[pair.source] or matches[pair.target])
        ]
        candidates = {category for pair in pairs for category in (pair.source, pair.target)} if query else set(range(len(names)))
        ranked = sorted(candidates, key=lambda category: (not matches[category], -categories[category]["users"]))
        shown = set(ranked[:MAX_CATEGORIES])
        pairs = [pair for pair in pairs if pair.source in shown and pair.target in shown]
        return FilteredMap(sorted(shown, key=lambda category: names[category]), pairs, len(candidates) - len(shown))

    def _path(self, category: int) -> list[str]:
        return self.category_map["categories"][category]["name"] or ["(no category)"]

    # ------------------------------------------------------------------ drawing

    def _draw_map(self) -> None:
        from nicegui import ui

        filtered = self.filtered
        if not filtered.pairs:
            empty_state(
                "Nothing is left", f"No pair of categories passes these filters. Ask for fewer {self.words.users}, or another name."
            )
            return
        min_users = self.category_map["privacy"]["min_users"]
        options, size = heat_map_options(
            filtered.categories,
            [self._path(category) for category in filtered.categories],
            filtered.pairs,
            self.dark,
            disclosed={(pair.source, pair.target) for pair in self.all_pairs},
            min_users=min_users,
            people=self.words.users,
        )
        with container("div", "map", tabindex="0", role="region", aria_label="Map of categories; the list of pairs has the same numbers"):
            chart = ui.echart(options, renderer="svg", on_point_click=lambda event: self.select(*map(int, event.data["categories"])))
            chart.style(f"width: 100%; min-width: {size[0]}px; height: {size[1]}px").classes("heat")
        heat_map_legend(filtered.pairs, min_users, self.dark, self.words.users)
        if filtered.hidden:
            message = f"{filtered.hidden:,} more categories have fewer {self.words.users}; search to see them."
            text_element("p", message, "soft small").style("margin-top: 8px")

    def _draw_list(self) -> None:
        self.pair_list.clear()
        with self.pair_list:
            text_element("h2", "Strongest pairs")
            pairs = sorted(self.filtered.pairs, key=lambda pair: (not pair.significant, -pair.lift_low))
            if not pairs:
                text_element("p", "none", "soft small")
            with container("ul", "pairs"):
                for pair in pairs[: self.list_length]:
                    with container("li"):
                        self._draw_list_entry(pair)
            if len(pairs) > self.list_length:
                button(f"Show more of {len(pairs):,}", self._extend_list, "button slight")

    def _draw_list_entry(self, pair: CategoryPair) -> None:
        pressed = "true" if self.selected == (pair.source, pair.target) else "false"
        entry = container("button", "pair", type="button", aria_pressed=pressed)
        with entry.on("click", partial(self.select, pair.source, pair.target), []):
            text_element("span", f"{self._path(pair.source)[-1]} → {self._path(pair.target)[-1]}", dir="auto")
            text_element("span", f"{pair.lift:.1f}×", "number").style("font-weight: 620")
            text_element("span", f"{pair.users:,} {self.words.users}", "soft small")
            text_element("span", pair.certainty, "soft small number")

    def _extend_list(self) -> None:
        self.list_length += 4 * LIST_LENGTH
        self._draw_list()

    async def select(self, source: int, target: int) -> None:
        """Show the items behind a cell."""
        pair = next((pair for pair in self.filtered.pairs if (pair.source, pair.target) == (source, target)), None)
        if pair is None:
            if source != target:
                self.selected = None
                reason = withheld_text(self.category_map["privacy"]["min_users"], self.words.users)
                self.detail_panel.show(lambda: empty_state("No numbers", f"{reason[:1].upper()}{reason[1:]}."))
                self._draw_list()
            return
        self.selected = (source, target)
        self._draw_list()
        await self.detail_panel.fill(lambda: self._load_items(pair), lambda result: self._draw_detail(pair, *result))

    def _load_items(self, pair: CategoryPair) -> tuple[CellDrilldown, dict[str, Item]]:
        from ....recommend.category_map.cell_items import cell_drilldown

        store = self.backend.store
        source, target = (tuple(self.category_map["categories"][category]["name"]) for category in (pair.source, pair.target))
        cell = cell_drilldown(store.workspace, store.recommender.catalogue, source, target, users=pair.users, min_users=store.min_users)
        keys = [key for item_pair in cell.pairs for key in (item_pair.source, item_pair.target)]
        return cell, self.backend.items([*keys, *(item.item_id for item in (*cell.sources, *cell.targets))])

    def _draw_detail(self, pair: CategoryPair, cell: CellDrilldown, items: Mapping[str, Item]) -> None:
        source_name, target_name = (self._path(category)[-1] for category in (pair.source, pair.target))
        with container("section", "card stack"):
            with container("div"):
                text_element("h2", f"{source_name} → {target_name}", dir="auto")
                verb = self.category_map["verb"]
                did = verb if self.words.takes_categories(verb) else f"{verb} {self.words.items} from"
                counts = f"{pair.users:,} of {pair.source_users} {self.words.users} who {did} the first went on to the second"
                text_element("p", f"{counts}, {self.category_map['window']}", "soft small")
            _draw_lift(pair)
            if cell.pairs:
                with container("div"):
                    text_element("h3", self.words.fill("{Items} that go together"))
                    with container("ul", "stack").style("margin-top: 8px"):
                        for item_pair in cell.pairs:
                            titles = [items[key].title or key if key in items else key for key in (item_pair.source, item_pair.target)]
                            image = items[item_pair.target].image if item_pair.target in items else None
                            counts = f"{item_pair.users:,} of {item_pair.of:,} {self.words.users}, {item_pair.lift:.1f}×"
                            with container("li"):
                                item_row(" → ".join(titles), image, counts)
            else:
                min_users = self.backend.store.min_users
                few = f"No single pair of {self.words.items} has {min_users} {self.words.users}, so none is shown."
                notice(f"{few} The most popular of each category:")
            for name, examples in ((source_name, cell.sources), (target_name, cell.targets)):
                with container("div"):
                    text_element("h3", name, dir="auto")
                    with container("ul", "stack").style("margin-top: 8px"):
                        for item in examples:
                            with container("li"):
                                item_row(item.title, items[item.item_id].image if item.item_id in items else None)


def _draw_lift(pair: CategoryPair) -> None:
    """The lift as text and as a bar with its interval."""
    high = pair.lift_high or pair.lift
    interval = f"{pair.lift_low:.1f} to {pair.lift_high:.1f}" if pair.lift_high is not None else f"{pair.lift_low:.1f} and up"
    certainty = "sure" if pair.significant else "this could be chance"
    with container("div", "lift-summary"):
        text_element("p", f"{pair.lift:.1f}× as often as usual", "cohort")
        text_element("p", f"95% interval {interval}", "soft small")
        bar(pair.lift, max(high, 1.2), interval=(pair.lift_low, high), reference=1.0)
        text_element("p", f"{pair.share:.0%} of them, usually {pair.base_rate:.0%}; {certainty}", "soft small")
