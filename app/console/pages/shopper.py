"""The shopper page: recommendations under adjustable rules for a shopper, a basket, a text query or any mix, with explanations.

Lists shown here are not shown to a shopper, so they are not logged and do not count in the click-through rate.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from ...schemas.requests import RecommendRequest, WhyRequest
from ..widgets.elements import SearchOption, bar, button, container, item_picture, notice, search_field, set_query, text_element
from ..widgets.explanation import evidence_list, explanation_text
from ..widgets.form_validation import parse_request, validation_sentence
from ..widgets.rule_controls import RuleControls
from .why_dialog import WhyDialog

if TYPE_CHECKING:
    from nicegui.element import Element

    from ....data.records import Item
    from ....data.store_words import StoreWords
    from ..widgets.async_panel import ConsoleBackend

ListWithItems: TypeAlias = "tuple[dict[str, Any], dict[str, Item]]"
"""A response of `POST /v1/recommend`, and its items by id."""
Reason: TypeAlias = "dict[str, Any]"
"""`rank`, `item_id` and `explanation` of one recommendation."""
ReasonSlots: TypeAlias = "dict[int, tuple[Element, Element]]"
"""The elements for the text and for the evidence of each explanation, by rank."""
MAX_OPTIONS, RECENT_EVENTS, MAX_EARLIER_EVENTS = 8, 12, 200
EVENT_LABELS = {
    "purchase": "{past}",
    "rating": "rated",
    "cart": "in the cart",
    "click": "clicked",
    "search": "searched",
    "view": "viewed",
}


def shopper_page(backend: ConsoleBackend) -> None:
    """Draw the page, and recommend at once if the query string names a shopper, items or a text."""
    from nicegui import ui

    ShopperPage(backend, dict(ui.context.client.request.query_params)).draw()


class ShopperPage:
    """One open page."""

    def __init__(self, backend: ConsoleBackend, query: Mapping[str, str]) -> None:
        """Args: `query` is the query string of the address."""
        self.backend = backend
        self.user: str | None = query.get("user") or None
        self.basket: list[str] = [key for key in query.get("items", "").split(",") if key]
        self.text = query.get("text", "")
        self.controls = RuleControls(backend, self.recommend)

    def draw(self) -> None:
        """Draw the page."""
        from nicegui import ui

        from ..widgets.async_panel import AsyncPanel

        words = self.backend.words
        text_element("h1", words.fill("What would this {user} want next?"))
        lead = "Pick {a_user}, put a basket together, or describe what is needed; any mix of the three will do."
        text_element("p", words.fill(lead), "lead")
        with container("div", "shopper-layout"):
            with container("div", "stack"):
                with container("section", "card stack", aria_label="Who"):
                    search_field(words.fill("{User}, by id"), self._search_users, self.select_user)
                    self.user_chip = container("div", "chips")
                    search_field(words.fill("Add {an_item} to the basket"), self._search_items, self.add_to_basket)
                    self.basket_chips = container("div", "chips")
                    with container("form", "stack").on("submit.prevent", self.submit_text, []):
                        self.text_input = ui.input("In words", value=self.text).props("outlined dense autocomplete=off maxlength=2000")
                        text_element("button", "Recommend", "button main", type="submit").style("width: 100%")
                with container("details", "card more rules"):
                    text_element("summary", "Rules")
                    with container("div").style("margin-top: 12px"):
                        self.controls.draw()
            with container("div", "stack"):
                heights = (56, 130, 130, 130, 130, 130) if self.user or self.basket or self.text else (180,)
                self.list_panel = AsyncPanel(self.backend, *heights, loading=True)
                self.profile_panel = AsyncPanel(self.backend, 420, loading=bool(self.user))
        self.why_dialog = WhyDialog(self.backend)
        # The rules are open on wide screens; on a phone they would push the recommendations off the screen.
        ui.run_javascript("if (innerWidth > 900) document.querySelectorAll('details.rules').forEach(details => details.open = true)")
        ui.timer(0, self.update, once=True)

    # ------------------------------------------------------------------ query

    def _draw_no_query(self, example_users: Sequence[str]) -> None:
        with container("div", "empty"):
            text_element("strong", "Nobody chosen yet")
            text_element("p", self.backend.words.fill("Type the beginning of {a_user}'s id, or begin with one of these."))
            with container("div", "chips").style("justify-content: center; margin-top: 14px"):
                for user in example_users:
                    button(user, partial(self.select_user, user), "chip")

    async def _search_users(self, text: str) -> list[SearchOption]:
        users = await self.backend.run(lambda: self.backend.store.find_users(text, MAX_OPTIONS))
        # A user with live events only is not in the snapshot, and can be found by the whole id.
        return [SearchOption(user, user) for user in users] or [
            SearchOption(text, text, "not in the snapshot; look among the latest events")
        ]

    async def _search_items(self, text: str) -> list[SearchOption]:
        items = await self.backend.run(lambda: self.backend.store.find_items(text, MAX_OPTIONS))
        return [SearchOption(item["item_id"], item["title"] or item["item_id"], " › ".join(item["category"])) for item in items]

    async def select_user(self, user: str | None) -> None:
        """Choose a shopper; None removes the shopper from the query."""
        self.user = user
        await self.update()

    async def add_to_basket(self, item_id: str) -> None:
        """Add an item to the basket."""
        if item_id not in self.basket:
            self.basket.append(item_id)
        await self.update()

    async def remove_from_basket(self, item_id: str) -> None:
        """Remove an item from the basket."""
        self.basket.remove(item_id)
        await self.update()

    async def submit_text(self) -> None:
        """Use the text in its field as the text query."""
        self.text = (self.text_input.value or "").strip()
        await self.update()

    def _draw_query(self) -> None:
        self.user_chip.clear()
        with self.user_chip:
            if self.user:
                button(f"{self.user} ✕", partial(self.select_user, None), "chip selected", aria_label=f"Remove {self.user}")
        self.basket_chips.clear()
        items = self.backend.items(self.basket)
        with self.basket_chips:
            for item_id in self.basket:
                title = items[item_id].title or item_id if item_id in items else item_id
                button(f"{title} ✕", partial(self.remove_from_basket, item_id), "chip selected", aria_label=f"Remove {title}")

    # ------------------------------------------------------------------ requests

    async def update(self) -> None:
        """Show the query, and load the recommendations and the shopper's profile."""
        self._draw_query()
        parameters = {"user": self.user, "items": ",".join(self.basket), "text": self.text}
        set_query(self.list_panel.element, {name: value for name, value in parameters.items() if value})
        await self.recommend()
        if self.user:
            await self.profile_panel.fill(partial(self._load_profile, self.user), lambda loaded: self._draw_profile(*loaded))
        else:
            self.profile_panel.show(lambda: None)

    async def recommend(self) -> None:
        """Load the recommendations under the current rules."""
        if not (self.user or self.basket or self.text):
            await self.list_panel.fill(lambda: self.backend.store.find_users("", MAX_OPTIONS), self._draw_no_query)
            return
        query = {"user": self.user, "items": self.basket, "text": self.text or None}
        request = parse_request(RecommendRequest, {**query, **self.controls.values()})
        if not isinstance(request, RecommendRequest):
            message = validation_sentence(request)
            self.list_panel.show(lambda: notice(message, "bad", alert=True))
            return

        def draw_without_reasons(loaded: ListWithItems) -> Callable[[Reason], None]:
            return partial(_fill_reason, self._draw_list(request, *loaded, has_reasons=False), self.backend.words)

        await self.list_panel.fill_in_parts(
            partial(self._load_list, request), draw_without_reasons, lambda loaded: self._draw_list(request, *loaded)
        )

    def _load_list(
        self, request: RecommendRequest, on_ranked: Callable[[ListWithItems], None], on_reason: Callable[[Reason], None]
    ) -> ListWithItems:
        """The recommendations with their items; with an LLM in parts, because the list is ready long before its explanations."""
        store = self.backend.store

        def with_items(response: dict[str, Any]) -> ListWithItems:
            return response, self.backend.items([recommendation["item_id"] for recommendation in response["recommendations"]])

        if store.settings.llm == "none":
            return with_items(store.preview(request))
        return with_items(store.preview(request, lambda response: on_ranked(with_items(response)), on_reason))

    def _load_profile(self, user: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return self.backend.store.profile(user), self.backend.store.history(user)

    async def explain(self, item_id: str, shown: RecommendRequest) -> None:
        """Open the dialog that explains why an item is or is not in the list that `shown` requested."""
        query = {"user": self.user, "items": self.basket, "k": shown.k}
        request = parse_request(WhyRequest, {"item": item_id, **query, **shown.rules.model_dump()})
        if isinstance(request, WhyRequest):
            await self.why_dialog.open(request)

    # ------------------------------------------------------------------ results

    def _draw_list(
        self, request: RecommendRequest, response: Mapping[str, Any], items: Mapping[str, Item], *, has_reasons: bool = True
    ) -> ReasonSlots:
        """Draw the recommendations, and return the elements for their explanations, which are empty without `has_reasons`."""
        slots = {}
        with container("section", "card"):
            with container("div", "row-spread"):
                text_element("h2", "Recommended")
                with container("div").style("width: min(300px, 100%)"):
                    search_field(
                        self.backend.words.fill("Why not this {item}?"), self._search_items, lambda item_id: self.explain(item_id, request)
                    )
            if not response["recommendations"]:
                with container("div", "empty").style("margin-top: 16px"):
                    text_element("strong", "Nothing passes these rules")
                    text_element("p", "Loosen a rule; a price or a brand is often the narrowest.")
            with container("ol", "recommendations").style("margin-top: 14px"):
                for recommendation in response["recommendations"]:
                    item = items.get(recommendation["item_id"])
                    with container("li"):
                        slots[recommendation["rank"]] = self._draw_recommendation(request, recommendation, item, has_reasons)
            for sentence in response["unsatisfied"]:
                notice(f"{sentence[:1].upper()}{sentence[1:]}.", "note").style("margin-top: 12px")
        return slots

    def _draw_recommendation(
        self, request: RecommendRequest, recommendation: Mapping[str, Any], item: Item | None, has_reason: bool
    ) -> tuple[Element, Element]:
        title = recommendation["title"] or recommendation["item_id"]
        price = [f"{recommendation['price']:,.2f}"] if recommendation["price"] is not None else []
        text_element("div", str(recommendation["rank"]), "rank")
        item_picture(recommendation["title"], item.image if item else None, "picture large")
        with container("div"):
            text_element("h3", title, dir="auto")
            text_element("p", " · ".join([" › ".join(recommendation["category"]), *price]), "soft small", dir="auto")
            with container("div", "reason-slot") as text_slot:
                if has_reason:
                    explanation_text(recommendation["explanation"], self.backend.words)
                else:
                    text_element("p", "The reason is being worded …", "reason soft")
            with container("div", "row-more"):
                on_click = partial(self.explain, recommendation["item_id"], request)
                button("Why this?", on_click, "button slight", aria_label=f"Why this? {title}")
                with container("div", "facts") as evidence_slot:
                    evidence_list(recommendation["explanation"], self.backend.words)
        return text_slot, evidence_slot

    def _draw_profile(self, profile: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        with container("div", "columns even"):
            with container("section", "card"):
                text_element("h2", "History")
                summary = f"{profile['words'][:1].upper()}{profile['words'][1:]}."
                text_element("p", summary, "soft small").style("margin: 2px 0 10px")
                latest_first = history[::-1]
                _draw_events(latest_first[:RECENT_EVENTS], self.backend.words)
                if len(history) > RECENT_EVENTS:
                    with container("details", "more"):
                        text_element("summary", f"{len(history) - RECENT_EVENTS:,} earlier")
                        _draw_events(latest_first[RECENT_EVENTS : RECENT_EVENTS + MAX_EARLIER_EVENTS], self.backend.words)
            with container("section", "card stack"):
                text_element("h2", "Profile")
                for name, label in (("categories", "Categories"), ("brands", "Brands")):
                    if profile[name]:
                        with container("div"):
                            text_element("h3", label)
                            _draw_shares(profile[name])
                for name, label in (("leans_to", "Leans to"), ("intent", "Last visit"), ("searched", "Searched")):
                    if profile[name]:
                        with container("div"):
                            text_element("h3", label)
                            text_element("p", "; ".join(profile[name]), "small", dir="auto")


def _fill_reason(slots: ReasonSlots, words: StoreWords, reason: Reason) -> None:
    """Draw an explanation that has been generated into its elements in the list."""
    text_slot, evidence_slot = slots[reason["rank"]]
    text_slot.clear()
    with text_slot:
        explanation_text(reason["explanation"], words)
    with evidence_slot:
        evidence_list(reason["explanation"], words)


def _draw_events(events: Sequence[Mapping[str, Any]], words: StoreWords) -> None:
    with container("ul", "history"):
        for event in events:
            with container("li"):
                text_element("span", _format_day(event["timestamp"]), "soft")
                text_element("span", event["title"] or event["item_id"], dir="auto")
                text_element("span", words.fill(EVENT_LABELS.get(event["kind"], event["kind"])), "tag")


def _draw_shares(shares: Sequence[Mapping[str, Any]]) -> None:
    largest = max(entry["share"] for entry in shares)
    with container("ul", "shares"):
        for entry in shares:
            with container("li"):
                text_element("span", entry["name"], dir="auto")
                text_element("span", f"{entry['share']:.0%}", "number soft")
                bar(entry["share"], largest, classes="bar share")


def _format_day(timestamp: int | None) -> str:
    """The day of a timestamp in milliseconds; a dash for None."""
    return "–" if timestamp is None else datetime.datetime.fromtimestamp(timestamp / 1000, datetime.UTC).date().isoformat()
