"""Wordings in the words of a store: every stored wording and every opening of a segment's sentence, filled for a course store."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

import crossaisle
from crossaisle import prompts
from crossaisle.data.records import Evidence
from crossaisle.data.store_words import DEFAULT_WORDS
from crossaisle.llm.explain.grounding import grounding_faults
from crossaisle.llm.explain.reasons import SegmentFacts
from crossaisle.llm.explain.slots import SupportStatistic, fill_slots
from crossaisle.llm.explain.vocabulary import wording_for_store

COURSES = DEFAULT_WORDS.updated("course", "learner", "take")
FOREIGN = re.compile(r"\b(?:shoppers?|bought|buys?|items?|owners?|(?<!have )you have|your \{own\})\b", re.IGNORECASE)
FIGURE = SupportStatistic(14, 40, "took", "Regression in Practice", "SQL for Analysts", "learners")
VALUES = {
    "own": "Regression in Practice", "item": "SQL for Analysts", "need": "“to understand data”", "figure": FIGURE,
    "usual": "3.1 times the usual share", "aisles": "14 of 40 learners who took courses from Statistics also took courses from Databases",
    "quote": "“Clear at last.”", "caution": "“Too fast.”", "close": "its description is close to that", "use": "evenings at the desk",
    "purpose": "exams",
    "price": "it costs 20.00, at the price level that you usually choose", "brand": "it is by Data School, a brand in your history",
    "fits": "it goes with the Regression in Practice", "fresh": "it was taken by 12 learners in the last 30 days of the store",
}  # fmt: skip
EVIDENCE = [
    Evidence("association", "14 of 40 learners who took Regression in Practice also took SQL for Analysts, 3.1 times the usual share"),
    Evidence("association", str(VALUES["aisles"])),
    Evidence("review", "Clear at last."),
    Evidence("review", "Too fast.", against=True),
    Evidence("need", "to understand data"),
    *(Evidence("attribute", str(VALUES[slot])) for slot in ("close", "use", "purpose", "price", "brand", "fits", "fresh")),
]
NAMES = ["SQL for Analysts", "Regression in Practice"]


def test_every_stored_wording_that_suits_a_course_store_is_grounded_and_has_no_word_of_a_shop() -> None:
    file = Path(crossaisle.__file__).parent / "llm/models/explainer-adapter/wordings.json"
    suitable = defaultdict(list)
    for entry in json.loads(file.read_text("utf-8"))["wordings"]:
        if entry["text"]:
            template = (tuple(entry["slots"]), entry["firm"], entry["occasion"], entry["tone"], entry["length"])
            suitable[template] += [shown] if (shown := wording_for_store(entry["text"], COURSES)) else []
    assert len(suitable) > 90
    assert [template for template, texts in suitable.items() if not texts and template[-1] == "line"] == []
    for template, texts in suitable.items():
        for text in texts:
            shown = fill_slots(text, VALUES).text
            assert not FOREIGN.search(shown), shown
            assert grounding_faults(shown, NAMES, EVIDENCE, allow_lines=template[-1] == "bullets") == [], shown


@pytest.mark.parametrize("verb", ["take", "hear", "ride", "watch", "sign up for", "spin,spun,spun"])
@pytest.mark.parametrize("kind", ["category", "item", "brand", "text"])
def test_sentences_about_segments_are_grounded_in_the_words_of_a_store(verb: str, kind: str) -> None:
    words = COURSES.updated(None, None, verb)
    facts = SegmentFacts("Statistics", "Databases", 123, 38, 2.6, 1.9, days=90, cohort_kind=kind, verb=words.past, words=words)  # type: ignore[arg-type]
    for segment in (facts, replace(facts, support=None), replace(facts, need_kind="item")):
        reason, prompt = segment.to_reason(), prompts.load("segment", 2)
        values = {"item": reason.item, "owned": reason.anchor, "need": reason.need, **reason.prompt_values}
        for opening in prompt.lines("need_openings" if kind == "text" else "owned_openings"):
            text = f"{prompts.fill(opening.replace(' … ', ' may need '), **values)}: {reason.clauses[0]}"
            assert not FOREIGN.search(text), text
            assert grounding_faults(text, reason.product_names, reason.evidence, store_words=reason.store_words) == [], text
            assert not re.search(rf"\b(?:have|Having) {words.past}\b", text) or words.past == words.verb.participle  # type: ignore[union-attr]
        assert not FOREIGN.search(reason.plain_sentence)


def test_a_course_is_taken_from_a_category() -> None:
    reason = SegmentFacts("Statistics", "Databases", 123, 38, 2.6, 1.9, days=90, verb="took", words=COURSES).to_reason()
    assert reason.plain_sentence == (
        "38 of 123 learners who took courses from Statistics took courses from Databases within 90 days, 2.6 times the usual share."
    )
    assert reason.clauses == ("38 of 123 took courses from there within 90 days, 2.6 times the usual share.",)


def test_openings_of_a_shop_are_those_of_the_first_version() -> None:
    reason = SegmentFacts("Phones", "Phone Cases", 123, 38, 2.6, 1.9, days=90).to_reason()
    values = {"item": reason.item, "owned": reason.anchor, "need": "a puppy", **reason.prompt_values}
    first, second = prompts.load("segment", 1), prompts.load("segment", 2)
    assert first.sections.keys() == second.sections.keys()
    for section in first.sections:
        assert prompts.fill(first.sections[section], **values) == prompts.fill(second.sections[section], **values)
    assert files(prompts.__name__).joinpath("templates", "segment.v2.md").is_file()


@pytest.mark.parametrize(
    ("wording", "shown"),
    [
        ("Since you have the {own}, have you thought of the {item}? In our store, {figure}.", "Since you took the {own}, have you thought of the {item}? {figure}."),
        ("Your {own} has a companion, the {item}: {figure}.", "The {own} has a companion, the {item}: {figure}."),
        ("Wondering what to get after your {own}? Perhaps the {item}, as {figure}.", "Wondering what to take after the {own}? Perhaps the {item}, as {figure}."),
        ("As you already have the {own}, take the {item}: {figure}.", None),
        ("See what other shoppers bought with your {own}: the {item}, as {figure}.", None),
    ],
)  # fmt: skip
def test_who_took_a_course_does_not_have_it(wording: str, shown: str | None) -> None:
    assert wording_for_store(wording, COURSES) == shown
    assert wording_for_store(wording, DEFAULT_WORDS) == wording
