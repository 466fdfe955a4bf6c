"""The rules of a recommendation as controls. They speak the API's words: what they hold is a `RulesRequest` and what stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from .elements import Found, box, button, finder, say

if TYPE_CHECKING:
    from .async_panel import Counter

OFFERED = 8
SCOPES = {"new": "Categories that are new to them", "other": "Any other than that of the item behind it"}
LISTS = (
    ("include_categories", "Only these categories"),
    ("exclude_categories", "Not these categories"),
    ("brands", "Only these brands"),
)
NUMBERS = (
    ("min_price", "Price from", ""),
    ("max_price", "Price to", ""),
    ("max_per_category", "Per category", ""),
    ("k", "How many", "5"),
    ("new_items", "New items", "0"),
    ("new_up_to", "New: had by at most", "0"),
)


class Controls:
    """The controls of one page. Args: changed: is called when a rule is another one; may be a coroutine."""

    def __init__(self, counter: Counter, changed: Callable[[], Any]) -> None:
        self.counter, self.changed = counter, changed
        self.lists: dict[str, list[str]] = {name: [] for name, _ in LISTS}
        self.fields: dict[str, Any] = {}

    def draw(self) -> None:
        """Draws them."""
        from nicegui import ui

        with box("div", "stack"):
            with box("fieldset").style("border: 0; padding: 0; margin: 0"):
                say("legend", "Recommend from", "small soft").style("padding: 0")
                self.fields["scope"] = ui.radio(SCOPES, value="new").props("dense").style("margin-top: 6px; display: grid; gap: 6px")
            for name, label in LISTS:
                with box("div"):
                    search = self._brands if name == "brands" else self._categories
                    chosen = box("div", "chips")
                    finder(label, search, partial(self.add, name, chosen))
                    chosen.move(target_index=1)
            with box("div", "fields").style("grid-template-columns: 1fr 1fr"):
                for name, label, value in NUMBERS:
                    field = ui.input(label, value=value).props("outlined dense debounce=400 inputmode=decimal autocomplete=off")
                    self.fields[name] = field
            self.fields["in_stock"] = ui.checkbox("Only what is in stock").props("dense")
            self.fields["owned"] = ui.checkbox("Also what they have").props("dense")
            with box("div"):
                with box("div", "row-apart small soft", aria_hidden="true"):
                    say("span", "popular")
                    say("span", "unusual")
                self.fields["novelty"] = ui.slider(min=0, max=1, step=0.1, value=0).props('aria-label="How unusual, 0 to 1" label')
        for name, field in self.fields.items():
            if name == "novelty":
                field.on("change", self.changed, [])
            else:
                field.on_value_change(lambda: self.changed())

    def told(self) -> dict[str, Any]:
        """What the controls hold, named as `RecommendRequest` names it; fields that are left empty are not in it."""
        numbers = {name: str(self.fields[name].value or "").strip() for name, _, _ in NUMBERS}
        filled = {name: value for name, value in numbers.items() if value}
        of_rules = {name: filled[name] for name in ("min_price", "max_price", "max_per_category") if name in filled}
        return {
            "rules": {
                **of_rules,
                **self.lists,
                "scope": self.fields["scope"].value,
                "in_stock": bool(self.fields["in_stock"].value),
                "exclude_owned": not self.fields["owned"].value,
            },
            "novelty": float(self.fields["novelty"].value or 0),
            **{name: filled[name] for name in ("k", "new_items", "new_up_to") if name in filled},
        }

    async def add(self, name: str, chosen: Any, key: str) -> None:
        """Adds a name to one of the lists."""
        if key not in self.lists[name]:
            self.lists[name].append(key)
        await self._redraw(name, chosen)

    async def remove(self, name: str, chosen: Any, key: str) -> None:
        """Takes a name out of one of the lists."""
        self.lists[name].remove(key)
        await self._redraw(name, chosen)

    async def _redraw(self, name: str, chosen: Any) -> None:
        chosen.clear()
        with chosen:
            for key in self.lists[name]:
                button(f"{key} ✕", partial(self.remove, name, chosen, key), "chip told", aria_label=f"Take out {key}")
        chosen.style("margin-top: 8px" if self.lists[name] else "margin-top: 0")
        await self.changed()

    async def _categories(self, text: str) -> list[Found]:
        return [Found(name, name) for name in await self.counter.ask(lambda: _matching(self._names, text))]

    async def _brands(self, text: str) -> list[Found]:
        return [Found(name, name) for name in await self.counter.ask(lambda: _matching(self._brand_names, text))]

    @cached_property
    def _names(self) -> list[str]:
        """The names of all categories at every level, each once."""
        return sorted({path[-1] for path in self.counter.shop.recommender.catalogue.tree.paths if path})

    @cached_property
    def _brand_names(self) -> list[str]:
        brands = self.counter.shop.recommender.catalogue.items["brand"].drop_nulls().unique().to_list()
        return sorted(brand for brand in brands if brand)


def _matching(names: Sequence[str], text: str) -> list[str]:
    """The names that hold a text, those that begin with it first."""
    wanted = text.lower()
    held = [name for name in names if wanted in name.lower()]
    return sorted(held, key=lambda name: not name.lower().startswith(wanted))[:OFFERED]
