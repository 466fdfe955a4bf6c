"""The page about one shopper: who it is, what they had, what to recommend under which rules, and why.

A shopper is a user of the store, a basket, a need in words, or any mix. What is looked at here is no list that was shown to a shopper, so
nothing of it goes into the log from which click-through is counted.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from ...schemas.requests import RecommendRequest, WhyRequest
from ..widgets.elements import Found, at_address, bar, box, button, finder, notice, picture, say
from ..widgets.explanation import evidence, reason
from ..widgets.form_validation import problem, read
from ..widgets.rule_controls import Controls
from .why_dialog import Sheet

if TYPE_CHECKING:
    from nicegui.element import Element

    from ....data.records import Item
    from ..widgets.async_panel import Counter

Listed: TypeAlias = "tuple[dict[str, Any], dict[str, Item]]"
"""An answer, and its items by id."""
Reason: TypeAlias = "dict[str, Any]"
"""`rank`, `item_id` and `explanation`."""
OFFERED, LATEST = 8, 12
DONE = {"purchase": "bought", "rating": "rated", "cart": "in the cart", "click": "clicked", "search": "searched", "view": "viewed"}


def shopper_page(counter: Counter) -> None:
    """Draws the page, and asks at once where its address names a shopper."""
    from nicegui import ui

    ShopperPage(counter, dict(ui.context.client.request.query_params)).draw()


class ShopperPage:
    """One open page. Args: address: what stands in its address behind the question mark."""

    def __init__(self, counter: Counter, address: Mapping[str, str]) -> None:
        self.counter = counter
        self.user: str | None = address.get("user") or None
        self.basket: list[str] = [key for key in address.get("items", "").split(",") if key]
        self.said = address.get("text", "")
        self.controls = Controls(counter, self.ask)

    def draw(self) -> None:
        """Draws all of it."""
        from nicegui import ui

        from ..widgets.async_panel import Place

        say("h1", "What would this shopper want next?")
        say("p", "Pick a shopper, put a basket together, or say what is needed; any mix of the three will do.", "lead")
        with box("div", "desk"):
            with box("div", "stack"):
                with box("section", "card stack", aria_label="Who"):
                    finder("Shopper, by id", self._users, self.pick)
                    self.who = box("div", "chips")
                    finder("Add an item to the basket", self._items, self.put)
                    self.what = box("div", "chips")
                    with box("form", "stack").on("submit.prevent", self.say, []):
                        self.words = ui.input("In words", value=self.said).props("outlined dense autocomplete=off maxlength=2000")
                        say("button", "Recommend", "button main", type="submit").style("width: 100%")
                with box("details", "card more rules"):
                    say("summary", "Rules")
                    with box("div").style("margin-top: 12px"):
                        self.controls.draw()
            with box("div", "stack"):
                self.list = Place(
                    self.counter, *((56, 130, 130, 130, 130, 130) if self.user or self.basket or self.said else (180,)), waiting=True
                )
                self.about = Place(self.counter, 420, waiting=bool(self.user))
        self.sheet = Sheet(self.counter)
        # Where there is room the rules are open; on a phone they would push the answer off the page.
        ui.run_javascript("if (innerWidth > 900) document.querySelectorAll('details.rules').forEach(one => one.open = true)")
        ui.timer(0, self.everything, once=True)

    # ------------------------------------------------------------------ who

    def _nobody(self, some: Sequence[str]) -> None:
        with box("div", "blank"):
            say("strong", "Nobody chosen yet")
            say("p", "Type the beginning of a shopper's id, or begin with one of these.")
            with box("div", "chips").style("justify-content: center; margin-top: 14px"):
                for user in some:
                    button(user, partial(self.pick, user), "chip")

    async def _users(self, text: str) -> list[Found]:
        found = await self.counter.ask(lambda: self.counter.shop.find_users(text, OFFERED))
        # Somebody whom only live events know is not in the snapshot, and can be asked for by the whole id.
        return [Found(user, user) for user in found] or [Found(text, text, "not in the snapshot; look among what happened since")]

    async def _items(self, text: str) -> list[Found]:
        found = await self.counter.ask(lambda: self.counter.shop.find_items(text, OFFERED))
        return [Found(one["item_id"], one["title"] or one["item_id"], " › ".join(one["category"])) for one in found]

    async def pick(self, user: str | None) -> None:
        """Makes a user the shopper; None takes the user away."""
        self.user = user
        await self.everything()

    async def put(self, item: str) -> None:
        """Puts an item into the basket."""
        if item not in self.basket:
            self.basket.append(item)
        await self.everything()

    async def take(self, item: str) -> None:
        """Takes an item out of the basket."""
        self.basket.remove(item)
        await self.everything()

    async def say(self) -> None:
        """Goes by what the field for words holds."""
        self.said = (self.words.value or "").strip()
        await self.everything()

    def _chosen(self) -> None:
        self.who.clear()
        with self.who:
            if self.user:
                button(f"{self.user} ✕", partial(self.pick, None), "chip told", aria_label=f"Take away {self.user}")
        self.what.clear()
        items = self.counter.items(self.basket)
        with self.what:
            for key in self.basket:
                title = items[key].title or key if key in items else key
                button(f"{title} ✕", partial(self.take, key), "chip told", aria_label=f"Take out {title}")

    # ------------------------------------------------------------------ asking

    async def everything(self) -> None:
        """Asks for the list and for what is known of the user."""
        self._chosen()
        told = {"user": self.user, "items": ",".join(self.basket), "text": self.said}
        at_address(self.list.element, {name: value for name, value in told.items() if value})
        await self.ask()
        if self.user:
            await self.about.fill(partial(self._known, self.user), lambda found: self._about(*found))
        else:
            self.about.show(lambda: None)

    async def ask(self) -> None:
        """Asks for the list under the present rules."""
        if not (self.user or self.basket or self.said):
            await self.list.fill(lambda: self.counter.shop.find_users("", OFFERED), self._nobody)
            return
        asked = read(RecommendRequest, {"user": self.user, "items": self.basket, "text": self.said or None, **self.controls.told()})
        if not isinstance(asked, RecommendRequest):
            wrong = problem(asked)
            self.list.show(lambda: notice(wrong, "bad", alert=True))
            return

        def unworded(found: Listed) -> Callable[[Reason], None]:
            return partial(_filled, self._list(asked, *found, worded=False))

        await self.list.fill_in_parts(partial(self._found, asked), unworded, lambda found: self._list(asked, *found))

    def _found(self, asked: RecommendRequest, tell: Callable[[Listed], None], worded: Callable[[Reason], None]) -> Listed:
        """The list with its items; told in parts, the list before its reasons, where a language model takes its time to word them."""
        shop = self.counter.shop

        def listed(found: dict[str, Any]) -> Listed:
            return found, self.counter.items([one["item_id"] for one in found["recommendations"]])

        if shop.settings.llm == "none":
            return listed(shop.preview(asked))
        return listed(shop.preview(asked, lambda found: tell(listed(found)), worded))

    def _known(self, user: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return self.counter.shop.profile(user), self.counter.shop.history(user)

    async def why(self, item: str, asked: RecommendRequest | None = None) -> None:
        """Asks why an item is in the list, or why it is not."""
        told = self.controls.told()
        rules = asked.rules.model_dump() if asked else told["rules"]
        k = asked.k if asked else told.get("k", 5)
        request = read(WhyRequest, {"item": item, "user": self.user, "items": self.basket, "k": k, **rules})
        if isinstance(request, WhyRequest):
            await self.sheet.ask(request)

    # ------------------------------------------------------------------ showing

    def _list(
        self, asked: RecommendRequest, found: Mapping[str, Any], items: Mapping[str, Item], *, worded: bool = True
    ) -> dict[int, tuple[Element, Element]]:
        """Draws a list; by rank the two places for its reasons, which are empty where they are yet to be worded."""
        places = {}
        with box("section", "card"):
            with box("div", "row-apart"):
                say("h2", "Recommended")
                with box("div").style("width: min(300px, 100%)"):
                    finder("Why not this item?", self._items, lambda key: self.why(key, asked))
            if not found["recommendations"]:
                with box("div", "blank").style("margin-top: 16px"):
                    say("strong", "Nothing passes these rules")
                    say("p", "Loosen a rule; a price or a brand is often the narrowest.")
            with box("ol", "recs").style("margin-top: 14px"):
                for one in found["recommendations"]:
                    with box("li"):
                        places[one["rank"]] = self._one(asked, one, items.get(one["item_id"]), worded)
            for line in found["unsatisfied"]:
                notice(f"{line[:1].upper()}{line[1:]}.", "note").style("margin-top: 12px")
        return places

    def _one(self, asked: RecommendRequest, one: Mapping[str, Any], item: Item | None, worded: bool) -> tuple[Element, Element]:
        say("div", str(one["rank"]), "place-number")
        picture(one["title"], item.image if item else None, "picture large")
        with box("div"):
            say("h3", one["title"] or one["item_id"], dir="auto")
            price = [f"{one['price']:,.2f}"] if one["price"] is not None else []
            say("p", " · ".join([" › ".join(one["category"]), *price]), "soft small", dir="auto")
            with box("div", "reasoned") as words:
                if worded:
                    reason(one["explanation"])
                else:
                    say("p", "The reason is being worded …", "reason soft")
            with box("div", "row-more"):
                title = one["title"] or one["item_id"]
                button("Why this?", partial(self.why, one["item_id"], asked), "button slight", aria_label=f"Why this? {title}")
                with box("div", "facts") as facts:
                    evidence(one["explanation"])
        return words, facts

    def _about(self, profile: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        with box("div", "beside even"):
            with box("section", "card"):
                say("h2", "History")
                say("p", f"{profile['words'][:1].upper()}{profile['words'][1:]}.", "soft small").style("margin: 2px 0 10px")
                latest = history[::-1]
                _lines(latest[:LATEST])
                if len(latest) > LATEST:
                    with box("details", "more"):
                        say("summary", f"{len(latest) - LATEST:,} earlier")
                        _lines(latest[LATEST : LATEST + 200])
            with box("section", "card stack"):
                say("h2", "Profile")
                for name, label in (("categories", "Categories"), ("brands", "Brands")):
                    if profile[name]:
                        with box("div"):
                            say("h3", label)
                            _shares(profile[name])
                for name, label in (("leans_to", "Leans to"), ("intent", "Last visit"), ("searched", "Searched")):
                    if profile[name]:
                        with box("div"):
                            say("h3", label)
                            say("p", "; ".join(profile[name]), "small", dir="auto")


def _filled(places: Mapping[int, tuple[Element, Element]], one: Reason) -> None:
    """Puts a reason that has been worded where it belongs in the list."""
    words, facts = places[one["rank"]]
    words.clear()
    with words:
        reason(one["explanation"])
    with facts:
        evidence(one["explanation"])


def _lines(history: Sequence[Mapping[str, Any]]) -> None:
    with box("ul", "history"):
        for one in history:
            with box("li"):
                say("span", _day(one["timestamp"]), "soft")
                say("span", one["title"] or one["item_id"], dir="auto")
                say("span", DONE.get(one["kind"], one["kind"]), "tag")


def _shares(shares: Sequence[Mapping[str, Any]]) -> None:
    most = max(one["share"] for one in shares)
    with box("ul", "shares"):
        for one in shares:
            with box("li"):
                say("span", one["name"], dir="auto")
                say("span", f"{one['share']:.0%}", "number soft")
                bar(one["share"], most, classes="bar share")


def _day(moment: int | None) -> str:
    return "–" if moment is None else datetime.datetime.fromtimestamp(moment / 1000, datetime.UTC).date().isoformat()
