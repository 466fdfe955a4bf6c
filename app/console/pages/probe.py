"""The probe page: what a group of shoppers needs next, and the comparison of two groups.

The question is in the query string, so that the address links to the result; the CSV file is made from the result that is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ....data.errors import CrossaisleError
from ....data.store_words import DEFAULT_WORDS, StoreWords
from ...api.errors import RequestRejected
from ...schemas.requests import ProbeRequest
from ...service import csv_export
from ..widgets.comparison_table import comparison_table
from ..widgets.elements import bar, button, container, copy_link_button, empty_state, item_row, notice, set_query, text_element
from ..widgets.form_validation import parse_request, validation_sentence

if TYPE_CHECKING:
    from ....data.records import Item
    from ..widgets.async_panel import ConsoleBackend

MAX_SUGGESTIONS, MAX_ALTERNATIVES = 4, 3
NUMBER_FIELDS = {
    "min_price": "Price from",
    "max_price": "Price to",
    "at_least": "At least, times",
    "level": "Depth of categories",
    "k": "How many needs",
}
FIELDS = ("against", "since", "until", *NUMBER_FIELDS, "first_time")
"""Query parameters besides the question, named as in `ProbeRequest`."""
SOURCE_LABELS = {"behaviour": "from {purchases}", "knowledge": "store knowledge", "text": "a guess from names"}
"""Source of a need to its label, a template for `StoreWords.fill`."""


EXAMPLES = "phones, phones and not cases, people who started running"
NEUTRAL_EXAMPLES = "a category, {an_item}, one and not another, or a sentence"
"""Placeholders of the question: for a shop, and for any other store."""


def probe_page(backend: ConsoleBackend) -> None:
    """Draw the page, and ask at once if the query string has a question."""
    from nicegui import ui

    ProbePage(backend, dict(ui.context.client.request.query_params)).draw()


class ProbePage:
    """One open page."""

    def __init__(self, backend: ConsoleBackend, query: Mapping[str, str]) -> None:
        """Args: `query` is the query string of the address."""
        self.backend, self.query = backend, query
        self.fields: dict[str, Any] = {}

    def draw(self) -> None:
        """Draw the page."""
        from nicegui import ui

        from ..widgets.async_panel import AsyncPanel

        words = self.backend.words
        text_element("h1", words.fill("What does a group of {users} need next?"))
        lead = "Name what they {past}. The answer counts what they went on to more often than others do."
        text_element("p", words.fill(lead), "lead")
        with container("form", "question-form", role="search").on("submit.prevent", self.ask, []):
            self.question = ui.input(words.fill("{Users} who {past} …"), value=self.query.get("q", "")).props(
                "outlined stack-label autocomplete=off maxlength=500"
            )
            self.question.props["placeholder"] = EXAMPLES if words == DEFAULT_WORDS else words.fill(NEUTRAL_EXAMPLES)
            text_element("button", "Ask", "button main", type="submit")
        self.suggestion_chips = container("div", "chips suggestions")
        self._draw_filters()
        self.panel = AsyncPanel(self.backend, 70, 250, 220, 220, classes="section", loading=bool(self.query.get("q")))
        if self.query.get("q"):
            ui.timer(0, self.ask, once=True)
        else:
            hint = words.fill("Ask with the name of a category, a brand or {an_item}, or with a sentence.")
            self.panel.show(lambda: empty_state("No question yet", hint))
        ui.timer(0, self.suggest, once=True)

    def _draw_filters(self) -> None:
        from nicegui import ui

        values = {name: self.query[name] for name in FIELDS if name in self.query}
        with container("details", "more", open="" if values else None):
            text_element("summary", "Narrow it")
            with container("div", "fields"):
                self.fields["against"] = ui.input("Compare with", value=values.get("against", "")).props(
                    "outlined dense stack-label autocomplete=off maxlength=500 placeholder=tablets"
                )
                for name, label in (("since", "From day"), ("until", "To day")):
                    self.fields[name] = ui.input(label, value=values.get(name, "")).props("outlined dense stack-label")
                    if re.fullmatch(r"(\d{4}-\d\d-\d\d)?", values.get(name, "")):  # a date field cannot show anything else
                        self.fields[name].props("type=date")
                for name, label in NUMBER_FIELDS.items():
                    self.fields[name] = ui.input(label, value=values.get(name, "")).props(
                        "outlined dense inputmode=decimal autocomplete=off"
                    )
                self.fields["first_time"] = ui.checkbox("For the first time", value=values.get("first_time") == "true")

    async def suggest(self) -> None:
        """Suggest questions about the store's categories and, if the store supports them, about people."""
        for load in (lambda: category_questions(self.backend), self.backend.store.suggested_questions):
            try:
                questions = await self.backend.run(load)
            except (CrossaisleError, RequestRejected):
                return  # the page works without suggestions
            if self.suggestion_chips.is_deleted:
                return
            with self.suggestion_chips:
                for question in questions:
                    button(question, partial(self.ask, question), "chip")

    # ------------------------------------------------------------------ requests

    async def ask(self, question: str | None = None, **values: str) -> None:
        """Send the question in the fields.

        Args:
            question: Replaces the question in its field.
            values: Replace the values of other fields.
        """
        if question is not None:
            self.question.set_value(question)
        for name, value in values.items():
            self.fields[name].set_value(value)
        text, filters = (self.question.value or "").strip(), self._filter_values()
        if not text:
            self.panel.show(lambda: notice(self.backend.words.fill("Name something that the {users} {past}."), "bad", alert=True))
            return
        request = parse_request(ProbeRequest, {"question": text, **filters})
        if not isinstance(request, ProbeRequest):
            message = validation_sentence(request)
            self.panel.show(lambda: notice(message, "bad", alert=True))
            return
        set_query(self.panel.element, {"q": text, **filters})
        await self.panel.fill(lambda: self._load(request), lambda loaded: self.show(request, *loaded))

    def _filter_values(self) -> dict[str, str]:
        values = {name: str(self.fields[name].value or "").strip() for name in FIELDS if name != "first_time"}
        if self.fields["first_time"].value:
            values["first_time"] = "true"
        return {name: value for name, value in values.items() if value}

    def _load(self, request: ProbeRequest) -> tuple[dict[str, Any], dict[str, Item]]:
        result = self.backend.store.probe(request)
        return result, self.backend.items([item["item_id"] for need in result.get("needs", ()) for item in need["items"]])

    # ------------------------------------------------------------------ results

    def show(self, request: ProbeRequest, result: Mapping[str, Any], items: Mapping[str, Item]) -> None:
        """Draw a result.

        Args:
            request: The request.
            result: Response of `POST /v1/probe`.
            items: The items of the result by id.
        """
        if request.against is not None:
            file_name, csv = f"{request.question} {request.against}", csv_export.comparison_csv(result)
            words = self.backend.words
            describe = partial(describe_meaning, words=words)
            comparison_table(result, describe, lambda: self._download(file_name, csv), words)
            return
        self._draw_cohort(result)
        if not result["needs"]:
            self._draw_no_needs(result)
            return
        is_reverse = result["direction"] == "reverse"
        with container("section", "card section"):
            with container("div", "row-spread"):
                text_element("h2", "Who would need it" if is_reverse else "What they go on to")
                text_element("p", "times as often as usual; the line is the 95% interval", "soft small")
            maximum = max([need["lift_interval"][1] or need["lift"] for need in result["needs"] if need["lift"]], default=1.0)
            with container("ol", "needs"):
                for rank, need in enumerate(result["needs"], start=1):
                    with container("li"):
                        self._draw_need(rank, need, maximum, result["counted"], items)
        for note in result["notes"]:
            notice(note, "note").style("margin-top: 14px")
        text_element("p", coverage_sentence(result, self.backend.words), "soft small").style("margin-top: 14px")

    def _draw_cohort(self, result: Mapping[str, Any]) -> None:
        cohort = result["cohort"]
        with container("section", "row-spread"):
            with container("div"):
                text_element("h2", "The group", "hidden")
                share = f" ({cohort['users'] / cohort['of']:.0%})" if cohort["of"] else ""
                pronoun = "it" if result["direction"] == "reverse" else "that"
                sentence = (
                    f"{cohort['users']:,} of {cohort['of']:,} {self.backend.words.users} {result['counted']['verb']} {pronoun}{share}"
                )
                text_element("p", sentence, "cohort")
                with container("div", "chips").style("margin-top: 8px"):
                    text_element("span", "Understood as", "soft small").style("align-self: center")
                    for meaning in result["understood"]:
                        classes = "chip negated" if meaning.get("not") else "chip selected"
                        text_element("span", describe_meaning(meaning, self.backend.words), classes, dir="auto")
                    alternatives = [choice for meaning in result["understood"] for choice in meaning.get("choices", ())]
                    if alternatives:
                        text_element("span", "or did you mean", "soft small").style("align-self: center")
                    for alternative in alternatives[:MAX_ALTERNATIVES]:
                        button(meaning_name(alternative), partial(self.ask, alternative["ask"]), "chip")
            if result["needs"]:
                with container("div", "chips"):
                    button("Download CSV", lambda: self._download(result["question"], csv_export.segment_csv(result)))
                    copy_link_button()

    def _draw_no_needs(self, result: Mapping[str, Any]) -> None:
        with container("div", "empty section"):
            text_element("strong", "Nothing stands out")
            for note in result["notes"]:
                text_element("p", f"{note[:1].upper()}{note[1:]}.")
            level = result["counted"]["level"]
            if level < self.backend.store.recommender.catalogue.tree.levels:
                narrower = button("Look at narrower categories", lambda: self.ask(level=str(level + 1)))
                narrower.style("margin-top: 16px")

    def _draw_need(self, rank: int, need: Mapping[str, Any], maximum: float, counted: Mapping[str, Any], items: Mapping[str, Item]) -> None:
        *parents, name = need["category"] or ["(no category)"]
        low, high = need["lift_interval"] if need["lift"] else (0.0, None)
        text_element("div", str(rank), "rank")
        with container("div"):
            text_element("h3", name, dir="auto")
            text_element("p", " › ".join(parents), "soft small", dir="auto")
        with container("div", "lift"):
            if need["lift"]:
                text_element("strong", f"{need['lift']:.1f}×")
                text_element("span", f"{low:.1f} to {high:.1f}" if high is not None else f"{low:.1f} and up", "soft small")
            else:
                text_element("span", self.backend.words.fill(SOURCE_LABELS.get(need["source"], need["source"])), "tag")
        with container("div", "need-details"):
            if need["lift"]:
                bar(need["lift"], maximum, interval=(low, maximum if high is None else high), reference=1.0)
                text_element("p", need_statistics(need, counted, self.backend.words), "soft small")
            if need["sentence"]:
                with container("div", "need-sentence"):
                    text_element("p", need["sentence"], dir="auto")
                    label = f"Copy the sentence on {name}"
                    copy = text_element("button", "Copy", "button slight", type="button", data_text=need["sentence"], aria_label=label)
                    copy.on("click", js_handler="(e) => window.crossaisle.copy(e.currentTarget, e.currentTarget.dataset.text)")
            if need["items"]:
                with container("div", "items"):
                    for need_item in need["items"]:
                        item, has_statistics = items.get(need_item["item_id"]), need_item["users"] and need_item["lift"]
                        details = [f"{need_item['users']:,} {self.backend.words.users}, {need_item['lift']:.1f}×"] if has_statistics else []
                        item_row(need_item["title"], item.image if item else None, *details)

    def _download(self, question: str, csv: str) -> None:
        from nicegui import ui

        name = re.sub(r"[^\w-]+", "-", question.lower()).strip("-")[:40] or "answer"
        ui.download.content(csv, f"probe-{name}.csv", "text/csv")


def category_questions(backend: ConsoleBackend) -> list[str]:
    """Suggested questions about the categories with the most shoppers; the last asks who would need such a category."""
    store = backend.store
    level = min(2, max(1, store.recommender.catalogue.tree.levels))
    categories = sorted(store.atlas(level)["categories"], key=lambda category: -category["users"])
    names = list(dict.fromkeys(c["name"][-1].lower() for c in categories if c["name"] and c["users"] >= store.min_users))
    # A short name reads like a question; "chargers, cables & adapters" does not.
    short = [name for name in names if "&" not in name and "," not in name and len(name) <= 24] or names
    plurals = [name for name in short[MAX_SUGGESTIONS:] if name.endswith("s")]  # "who would need running?" is no question
    return [*short[:MAX_SUGGESTIONS], *(f"who would need {name}?" for name in plurals[:1])]


def meaning_name(meaning: Mapping[str, Any]) -> str:
    """The name of an interpretation: a text, or the path of a category."""
    return meaning["name"] if isinstance(meaning["name"], str) else " › ".join(meaning["name"])


def describe_meaning(meaning: Mapping[str, Any], words: StoreWords = DEFAULT_WORDS) -> str:
    """An interpretation as text: its kind, its name, and its number of items. Args: words: the store's."""
    kind = {"text": "similar in meaning to", "item": words.item}.get(meaning["kind"], meaning["kind"])
    return f"{'not ' if meaning.get('not') else ''}{kind} {meaning_name(meaning)}, {meaning['items']:,} {words.items}"


def need_statistics(need: Mapping[str, Any], counted: Mapping[str, Any], words: StoreWords = DEFAULT_WORDS) -> str:
    """The statistics of a need in one line. Args: words: the store's."""
    unit = "days" if counted["order"] == "time" else "steps"
    parts = [f"{need['users']:,} of {need['of']:,} {words.users} ({need['share']:.0%}), usually {need['base_rate']:.1%}"]
    if need["reach"]:
        parts.append(f"at least {need['reach']:,} more could be reached")
    if need["median_days"] is not None:
        parts.append(f"half of them within {need['median_days']:.0f} {unit}")
    if "knowledge" in need["sources"]:
        parts.append("store knowledge agrees")
    return " · ".join(parts)


def coverage_sentence(result: Mapping[str, Any], words: StoreWords = DEFAULT_WORDS) -> str:
    """The k-anonymity threshold, and how many needs it withholds. Args: words: the store's."""
    min_users, suppressed = result["privacy"]["min_users"], result["suppressed"]
    withheld = f"{suppressed:,} more are left out because they cover fewer. " if suppressed else ""
    return f"Every number covers at least {min_users} {words.users}. {withheld}What goes together is not always cause and effect."
