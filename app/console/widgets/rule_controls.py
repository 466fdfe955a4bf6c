"""Form controls for the rules of a recommendation; their values are those of `RecommendRequest` and `RulesRequest`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from .elements import SearchOption, button, container, search_field, text_element

if TYPE_CHECKING:
    from .async_panel import ConsoleBackend

MAX_OPTIONS = 8
SCOPES = {"new": "Categories that are new to them", "other": "Any category but that of the {item} it is based on"}
AUDIENCES = {"marketer": "Me", "customer": "The customer, without counts", "analyst": "An analyst, with all figures"}
LIST_FIELDS = (
    ("include_categories", "Only these categories"),
    ("exclude_categories", "Not these categories"),
    ("brands", "Only these brands"),
)
NUMBER_FIELDS = (
    ("min_price", "Price from", ""),
    ("max_price", "Price to", ""),
    ("max_per_category", "Per category", ""),
    ("k", "How many", "5"),
    ("new_items", "New {items}", "0"),
    ("new_up_to", "New: {participle} by at most", "0"),
)
"""Name, label and initial value of each field; the labels are templates for `StoreWords.fill`."""


class RuleControls:
    """The controls of one page."""

    def __init__(self, backend: ConsoleBackend, on_change: Callable[[], Any]) -> None:
        """Args: `on_change` is called after every change of a rule; may be a coroutine function."""
        self.backend, self.on_change = backend, on_change
        self.lists: dict[str, list[str]] = {name: [] for name, _ in LIST_FIELDS}
        self.fields: dict[str, Any] = {}

    def draw(self) -> None:
        """Draw the controls."""
        from nicegui import ui

        words = self.backend.words
        with container("div", "stack"):
            with container("fieldset").style("border: 0; padding: 0; margin: 0"):
                text_element("legend", "Recommend from", "small soft").style("padding: 0")
                self.fields["scope"] = (
                    ui.radio({scope: words.fill(label) for scope, label in SCOPES.items()}, value="new")
                    .props("dense")
                    .style("margin-top: 6px; display: grid; gap: 6px")
                )
            with container("fieldset").style("border: 0; padding: 0; margin: 0"):
                text_element("legend", "Reasons for", "small soft").style("padding: 0")
                self.fields["audience"] = (
                    ui.radio(AUDIENCES, value="marketer").props("dense").style("margin-top: 6px; display: grid; gap: 6px")
                )
            for name, label in LIST_FIELDS:
                with container("div"):
                    search = self._brands if name == "brands" else self._categories
                    chips = container("div", "chips")
                    search_field(label, search, partial(self.add, name, chips))
                    chips.move(target_index=1)
            with container("div", "fields").style("grid-template-columns: 1fr 1fr"):
                for name, label, value in NUMBER_FIELDS:
                    field = ui.input(words.fill(label), value=value).props("outlined dense debounce=400 inputmode=decimal autocomplete=off")
                    self.fields[name] = field
            self.fields["in_stock"] = ui.checkbox("Only what is in stock").props("dense")
            self.fields["owned"] = ui.checkbox(
                "Also what they already have" if words.means_owning else f"Also what they have {words.participle} already"
            ).props("dense")
            with container("div"):
                with container("div", "row-spread small soft", aria_hidden="true"):
                    text_element("span", "popular")
                    text_element("span", "unusual")
                self.fields["novelty"] = ui.slider(min=0, max=1, step=0.1, value=0).props('aria-label="How unusual, 0 to 1" label')
        for name, field in self.fields.items():
            if name == "novelty":
                field.on("change", self.on_change, [])
            else:
                field.on_value_change(lambda: self.on_change())

    def values(self) -> dict[str, Any]:
        """The values of the controls as fields of `RecommendRequest`, without empty fields."""
        texts = {name: str(self.fields[name].value or "").strip() for name, _, _ in NUMBER_FIELDS}
        numbers = {name: text for name, text in texts.items() if text}
        return {
            "rules": {
                **{name: numbers[name] for name in ("min_price", "max_price", "max_per_category") if name in numbers},
                **self.lists,
                "scope": self.fields["scope"].value,
                "in_stock": bool(self.fields["in_stock"].value),
                "exclude_owned": not self.fields["owned"].value,
            },
            "novelty": float(self.fields["novelty"].value or 0),
            "audience": self.fields["audience"].value,
            **{name: numbers[name] for name in ("k", "new_items", "new_up_to") if name in numbers},
        }

    async def add(self, name: str, chips: Any, key: str) -> None:
        """Add a name to a list."""
        if key not in self.lists[name]:
            self.lists[name].append(key)
        await self._redraw(name, chips)

    async def remove(self, name: str, chips: Any, key: str) -> None:
        """Remove a name from a list."""
        self.lists[name].remove(key)
        await self._redraw(name, chips)

    async def _redraw(self, name: str, chips: Any) -> None:
        chips.clear()
        with chips:
            for key in self.lists[name]:
                button(f"{key} ✕", partial(self.remove, name, chips, key), "chip selected", aria_label=f"Remove {key}")
        chips.style("margin-top: 8px" if self.lists[name] else "margin-top: 0")
        await self.on_change()

    async def _categories(self, text: str) -> list[SearchOption]:
        return [SearchOption(name, name) for name in await self.backend.run(lambda: _matching(self._category_names, text))]

    async def _brands(self, text: str) -> list[SearchOption]:
        return [SearchOption(name, name) for name in await self.backend.run(lambda: _matching(self._brand_names, text))]

    @cached_property
    def _category_names(self) -> list[str]:
        """The distinct names of the categories of all levels."""
        return sorted({path[-1] for path in self.backend.store.recommender.catalogue.tree.paths if path})

    @cached_property
    def _brand_names(self) -> list[str]:
        brands = self.backend.store.recommender.catalogue.items["brand"].drop_nulls().unique().to_list()
        return sorted(brand for brand in brands if brand)


def _matching(names: Sequence[str], text: str) -> list[str]:
    """At most `MAX_OPTIONS` names that contain a text, those that start with it first."""
    query = text.lower()
    matches = [name for name in names if query in name.lower()]
    return sorted(matches, key=lambda name: not name.lower().startswith(query))[:MAX_OPTIONS]
