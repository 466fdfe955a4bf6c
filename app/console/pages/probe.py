"""The page on which a marketer asks what a group of shoppers needs next, and takes the answer away.

The question stands in the page's address, so that the address is the answer's link; the table is made of the answer that is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ....data.errors import CrossaisleError
from ...api.errors import RequestRejected
from ...schemas.requests import ProbeRequest
from ...service import csv_export
from ..widgets.comparison_table import comparison
from ..widgets.elements import at_address, bar, blank, box, button, item, notice, say
from ..widgets.form_validation import problem, read

if TYPE_CHECKING:
    from ....data.records import Item
    from ..widgets.async_panel import Counter

SUGGESTED, OTHERS = 4, 3
FIGURES = {
    "min_price": "Price from",
    "max_price": "Price to",
    "at_least": "At least, times",
    "level": "Depth of categories",
    "k": "How many needs",
}
FIELDS = ("against", "since", "until", *FIGURES, "first_time")
"""What an address may say besides the question; named as `ProbeRequest` names it."""
SOURCES = {"behaviour": "counted", "knowledge": "the store says so", "text": "a guess from names"}


def probe_page(counter: Counter) -> None:
    """Draws the page, and asks at once where its address holds a question."""
    from nicegui import ui

    Probing(counter, dict(ui.context.client.request.query_params)).draw()


class Probing:
    """One open page. Args: address: what stands in its address behind the question mark."""

    def __init__(self, counter: Counter, address: Mapping[str, str]) -> None:
        self.counter, self.address = counter, address
        self.fields: dict[str, Any] = {}

    def draw(self) -> None:
        """Draws all of it."""
        from nicegui import ui

        from ..widgets.async_panel import Place

        say("h1", "What does a group of shoppers need next?")
        say("p", "Name what they bought. The answer counts what they went on to more often than others do.", "lead")
        with box("form", "ask", role="search").on("submit.prevent", self.ask, []):
            self.question = ui.input("Shoppers who bought …", value=self.address.get("q", "")).props(
                "outlined stack-label autocomplete=off maxlength=500"
            )
            self.question.props["placeholder"] = "phones, phones and not cases, people who started running"
            say("button", "Ask", "button main", type="submit")
        self.suggestions = box("div", "chips suggestions")
        self._narrowing()
        self.answer = Place(self.counter, 70, 250, 220, 220, classes="section", waiting=bool(self.address.get("q")))
        if self.address.get("q"):
            ui.timer(0, self.ask, once=True)
        else:
            self.answer.show(lambda: blank("No question yet", "Ask with the name of a category, a brand or an item, or with a sentence."))
        ui.timer(0, self.suggest, once=True)

    def _narrowing(self) -> None:
        from nicegui import ui

        told = {name: self.address[name] for name in FIELDS if name in self.address}
        with box("details", "more", open="" if told else None):
            say("summary", "Narrow it")
            with box("div", "fields"):
                self.fields["against"] = ui.input("Compare with", value=told.get("against", "")).props(
                    "outlined dense stack-label autocomplete=off maxlength=500 placeholder=tablets"
                )
                for name, label in (("since", "From day"), ("until", "To day")):
                    self.fields[name] = ui.input(label, value=told.get(name, "")).props("outlined dense stack-label")
                    if re.fullmatch(r"(\d{4}-\d\d-\d\d)?", told.get(name, "")):  # a browser's calendar shows nothing else
                        self.fields[name].props("type=date")
                for name, label in FIGURES.items():
                    self.fields[name] = ui.input(label, value=told.get(name, "")).props("outlined dense inputmode=decimal autocomplete=off")
                self.fields["first_time"] = ui.checkbox("For the first time", value=told.get("first_time") == "true")

    async def suggest(self) -> None:
        """Offers questions of the store's own categories, and about people, where the store understands them."""
        for questions in (lambda: suggestions(self.counter), self.counter.shop.suggested_questions):
            try:
                found = await self.counter.ask(questions)
            except (CrossaisleError, RequestRejected):
                return  # a page without suggestions can still be asked
            if self.suggestions.is_deleted:
                return
            with self.suggestions:
                for question in found:
                    button(question, partial(self.ask, question), "chip")

    # ------------------------------------------------------------------ asking

    async def ask(self, question: str | None = None, **changed: str) -> None:
        """Asks what the fields hold. Args: question: instead of theirs. changed: fields that are filled in before."""
        if question is not None:
            self.question.set_value(question)
        for name, value in changed.items():
            self.fields[name].set_value(value)
        asked = {"q": (self.question.value or "").strip(), **self._narrowed()}
        if not asked["q"]:
            self.answer.show(lambda: notice("Name something that the shoppers bought.", "bad", alert=True))
            return
        request = read(ProbeRequest, {"question": asked["q"], **{name: asked[name] for name in asked if name != "q"}})
        if not isinstance(request, ProbeRequest):
            self.answer.show(lambda: notice(problem(request), "bad", alert=True))
            return
        at_address(self.answer.element, asked)
        await self.answer.fill(lambda: self._found(request), lambda found: self.show(request, *found))

    def _narrowed(self) -> dict[str, str]:
        told = {name: str(self.fields[name].value or "").strip() for name in FIELDS if name != "first_time"}
        if self.fields["first_time"].value:
            told["first_time"] = "true"
        return {name: value for name, value in told.items() if value}

    def _found(self, request: ProbeRequest) -> tuple[dict[str, Any], dict[str, Item]]:
        found = self.counter.shop.probe(request)
        return found, self.counter.items([one["item_id"] for need in found.get("needs", ()) for one in need["items"]])

    # ------------------------------------------------------------------ showing

    def show(self, asked: ProbeRequest, found: Mapping[str, Any], items: Mapping[str, Item]) -> None:
        """Draws an answer."""
        if asked.against is not None:
            comparison(found, meaning, lambda: self._download(f"{asked.question} {asked.against}", csv_export.comparison_csv(found)))
            return
        self._group(found)
        if not found["needs"]:
            self._nothing(found)
            return
        before = found["direction"] == "reverse"
        with box("section", "card section"):
            with box("div", "row-apart"):
                say("h2", "Who would need it" if before else "What they go on to")
                say("p", "times as often as usual; the line is the 95% interval", "soft small")
            most = max([need["lift_interval"][1] or need["lift"] for need in found["needs"] if need["lift"]], default=1.0)
            with box("ol", "needs"):
                for place, need in enumerate(found["needs"], start=1):
                    with box("li"):
                        self._need(place, need, most, found, items)
        for note in found["notes"]:
            notice(note, "note").style("margin-top: 14px")
        say("p", withheld(found), "soft small").style("margin-top: 14px")

    def _group(self, found: Mapping[str, Any]) -> None:
        cohort = found["cohort"]
        with box("section", "row-apart"):
            with box("div"):
                say("h2", "The group", "hidden")
                share = f" ({cohort['users'] / cohort['of']:.0%})" if cohort["of"] else ""
                it = "it" if found["direction"] == "reverse" else "that"
                say("p", f"{cohort['users']:,} of {cohort['of']:,} shoppers {found['counted']['verb']} {it}{share}", "cohort")
                with box("div", "chips").style("margin-top: 8px"):
                    say("span", "Understood as", "soft small").style("align-self: center")
                    for one in found["understood"]:
                        say("span", meaning(one), "chip not" if one.get("not") else "chip told", dir="auto")
                    other = [choice for one in found["understood"] for choice in one.get("choices", ())][:OTHERS]
                    if other:
                        say("span", "or did you mean", "soft small").style("align-self: center")
                    for choice in other:
                        button(name_of(choice), partial(self.ask, choice["ask"]), "chip")
            if found["needs"]:
                with box("div", "chips"):
                    button("Download CSV", lambda: self._download(found["question"], csv_export.segment_csv(found)))
                    link = say("button", "Copy link", "button", type="button")
                    link.on("click", js_handler="(e) => window.crossaisle.copy(e.currentTarget, location.href)")

    def _nothing(self, found: Mapping[str, Any]) -> None:
        with box("div", "blank section"):
            say("strong", "Nothing stands out")
            for note in found["notes"]:
                say("p", f"{note[:1].upper()}{note[1:]}.")
            level = found["counted"]["level"]
            if level < self.counter.shop.recommender.catalogue.tree.levels:
                wider = button("Look at narrower categories", lambda: self.ask(level=str(level + 1)))
                wider.style("margin-top: 16px")

    def _need(self, place: int, need: Mapping[str, Any], most: float, found: Mapping[str, Any], items: Mapping[str, Item]) -> None:
        *path, name = need["category"] or ["(no category)"]
        say("div", str(place), "place-number")
        with box("div"):
            say("h3", name, dir="auto")
            say("p", " › ".join(path), "soft small", dir="auto")
        with box("div", "lift"):
            if need["lift"]:
                low, high = need["lift_interval"]
                say("strong", f"{need['lift']:.1f}×")
                say("span", f"{low:.1f} to {high:.1f}" if high is not None else f"{low:.1f} and up", "soft small")
            else:
                say("span", SOURCES.get(need["source"], need["source"]), "tag")
        with box("div", "under"):
            if need["lift"]:
                low, high = need["lift_interval"]
                bar(need["lift"], most, between=(low, most if high is None else high), usual=1.0)
                say("p", figures(need, found["counted"]), "soft small")
            if need["sentence"]:
                with box("div", "saying"):
                    say("p", need["sentence"], dir="auto")
                    copy = say(
                        "button",
                        "Copy",
                        "button slight",
                        type="button",
                        data_text=need["sentence"],
                        aria_label=f"Copy the sentence on {name}",
                    )
                    copy.on("click", js_handler="(e) => window.crossaisle.copy(e.currentTarget, e.currentTarget.dataset.text)")
            if need["items"]:
                with box("div", "items"):
                    for one in need["items"]:
                        known = items.get(one["item_id"])
                        told = f"{one['users']:,} shoppers, {one['lift']:.1f}×" if one["users"] and one["lift"] else ""
                        item(one["title"], known.image if known else None, *([told] if told else []))

    def _download(self, question: str, text: str) -> None:
        from nicegui import ui

        name = re.sub(r"[^\w-]+", "-", question.lower()).strip("-")[:40] or "answer"
        ui.download.content(text, f"probe-{name}.csv", "text/csv")


def suggestions(counter: Counter) -> list[str]:
    """Questions to begin with, from the narrower categories that most shoppers of the store went to; the last asks the other way round."""
    shop = counter.shop
    level = min(2, max(1, shop.recommender.catalogue.tree.levels))
    told = sorted(shop.atlas(level)["categories"], key=lambda one: -one["users"])
    names = list(dict.fromkeys(one["name"][-1].lower() for one in told if one["name"] and one["users"] >= shop.min_users))
    # A short name reads like a question; "chargers, cables & adapters" does not.
    short = [name for name in names if "&" not in name and "," not in name and len(name) <= 24] or names
    goods = [name for name in short[SUGGESTED:] if name.endswith("s")]  # nobody needs "a running"
    return [*short[:SUGGESTED], *(f"who would need {name}?" for name in goods[:1])]


def name_of(one: Mapping[str, Any]) -> str:
    """The name of what a question was taken for."""
    return one["name"] if isinstance(one["name"], str) else " › ".join(one["name"])


def meaning(one: Mapping[str, Any]) -> str:
    """What a name was taken for, in words."""
    kind = "in meaning near" if one["kind"] == "text" else one["kind"]
    return f"{'not ' if one.get('not') else ''}{kind} {name_of(one)}, {one['items']:,} items"


def figures(need: Mapping[str, Any], counted: Mapping[str, Any]) -> str:
    """A need's figures in a line."""
    unit = "days" if counted["order"] == "time" else "steps"
    parts = [f"{need['users']:,} of {need['of']:,} shoppers ({need['share']:.0%}), usually {need['base_rate']:.1%}"]
    if need["reach"]:
        parts.append(f"at least {need['reach']:,} more could be reached")
    if need["median_days"] is not None:
        parts.append(f"half of them within {need['median_days']:.0f} {unit}")
    if "knowledge" in need["sources"]:
        parts.append("the store says so too")
    return " · ".join(parts)


def withheld(found: Mapping[str, Any]) -> str:
    """What an answer does not tell, and why."""
    least, left_out = found["privacy"]["min_users"], found["suppressed"]
    more = f"{left_out:,} more are left out, because they would tell of fewer. " if left_out else ""
    return f"No figure tells of fewer than {least} shoppers. {more}What goes together is not always cause and effect."
