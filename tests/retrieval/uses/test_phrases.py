"""Mentions of uses in sentences whose uses are known."""

from __future__ import annotations

import pytest

from crossaisle.retrieval.uses.english import ENGLISH
from crossaisle.retrieval.uses.phrases import MAX_SENTENCE_CHARS, mentions, sentences, title_mentions


def names(sentence: str, **options: bool) -> list[tuple[str, str]]:
    return [(mention.name, mention.kind) for mention in mentions(sentence, **options)]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("For camping weekends with friends.", [("camping weekends", "occasion")]),
        ("Good for the gym, hostels and small bathrooms.", [("gym", "place"), ("hostels", "place"), ("bathrooms", "place")]),
        ("For night trains, flights or a long commute.", [("night trains", "place"), ("flights", "occasion"), ("commuting", "task")]),
        ("Covers most jobs in a first flat.", [("first flat", "occasion")]),
        ("Goes in the toiletry bag when I travel.", [("travelling", "task")]),
        ("Spares knees when weeding.", [("weeding", "task")]),
        ("For dry skin and curly hair.", [("dry skin", "need"), ("curly hair", "need")]),
        ("Made for children’s birthdays.", [("children's birthdays", "occasion")]),
        ("Harness for puppies to 15 kg.", [("puppies", "person")]),
        ("Keeps going during power cuts.", [("power cuts", "occasion")]),
    ],
)
def test_uses_are_recognized(sentence: str, expected: list[tuple[str, str]]) -> None:
    assert names(sentence) == expected
    assert all(mention.sentence == sentence for mention in mentions(sentence))


@pytest.mark.parametrize(
    "sentence",
    [
        "For garden chairs.",  # the head is a thing
        "Perfect for the price.",
        "Used it for two weeks, 240 ml for each.",
        "Made of oak for a warm brown colour.",
        "Not for long hikes.",
        "Useless for camping.",
        "The lid unscrews for cleaning.",
        "Needs to work every time.",
        "Holds documents for a couple of years.",
        "Walk in the garden.",  # nothing about using the thing
        "",
        "for",
        "for , and for",
    ],
)
def test_other_phrases_are_none(sentence: str) -> None:
    assert names(sentence) == []


def test_a_negation_can_be_taken_back() -> None:
    assert names("Not only for camping.") == [("camping", "task")]


def test_a_review_must_be_about_using_the_thing() -> None:
    assert names("We use it in the garden.", review=True) == [("garden", "place")]
    assert names("I met my neighbour yesterday in the garden.", review=True) == []
    assert names("We use it in the garden, but it is too heavy.", review=True) == []
    assert names("Anna bakes bread for the party.", review=True) == []  # about somebody else


def test_the_content_of_a_film_is_no_use() -> None:
    sentence = "I loved the story of a teacher looking for a beach."
    assert names(sentence, review=True) == [("beach", "place")]
    assert names(sentence, review=True, story=True) == []
    assert names("I watch it on the beach and use it on trains.", review=True, story=True) == []


def test_titles_name_uses_before_a_thing() -> None:
    assert [mention.name for mention in title_mentions("Tarnwick Folding Camp Chair")] == ["camping"]
    assert [mention.name for mention in title_mentions("Phone Holder for Car")] == ["car"]
    assert title_mentions("Flat Head Screws with Spring") == []  # ambiguous words
    assert title_mentions("Lantern With 200 Hours Run Time") == []
    assert title_mentions("A Walk in the Garden") == []


def test_forms_and_synonyms_share_a_key() -> None:
    keys = {mentions(f"For {words}.")[0].key for words in ("a vacation", "holidays", "the holiday")}
    assert keys == {("holiday",)}
    assert ENGLISH.canonical("children") == ENGLISH.canonical("kid's") == "child"
    assert ENGLISH.singular("beaches") == "beach"
    assert ENGLISH.singular("tubes") == "tubes"  # no tub


def test_the_head_of_a_modified_name_is_kept() -> None:
    (mention,) = mentions("For a city trip.")
    assert (mention.key, mention.head) == (("city", "trip"), ("trip",))
    (mention,) = mentions("For film nights.")
    assert (mention.key, mention.head) == (("film", "night"), None)  # a night alone is no use


def test_sentences_are_verbatim() -> None:
    text = "Dry!  Very light. For camping\nand <br/>hiking."
    assert sentences(text) == ["Dry!", "Very light.", "For camping", "and", "hiking."]
    assert all(sentence in text for sentence in sentences(text))
    assert sentences("x" * (MAX_SENTENCE_CHARS + 1)) == []
    assert sentences("") == []
