"""Sentences that are praise, sentences that are complaints, and sentences that are neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.data import demo
from crossaisle.llm.explain.reasons import MAX_QUOTE_CHARS
from crossaisle.recommend.evidence.complaint_detection import is_complaint, may_be_complaint
from crossaisle.recommend.evidence.review_excerpts import complaint_excerpt, praise_excerpt

COMPLAINTS = [
    "The strap tore after two weeks of walking.",
    "Both armrests rattle after four months of use.",
    "It does not fit behind the door at all.",
    "The battery doesn't last through one day.",
    "The slot is too narrow for my bank card.",
    "I was really disappointed by the thin fabric.",
    "It stopped working on the third morning.",
    "The lid is hard to open with wet hands.",
    "Half the pegs bent in stony ground on the first day.",
    "The cord could be a bit longer for my taste.",
    "Two of three loops ripped in the first season.",
    "I would not recommend it to anybody here.",
]
# Praise, worries, other items, advice: words of a complaint, but not a complaint about the item.
NOT_COMPLAINTS = [
    "No more wet socks on the way to work.",
    "It is not heavy and not loud either.",
    "In a whole year it never leaked once.",
    "Problem solved, the door closes by itself now.",
    "Nothing broke on the long flight home.",
    "My old one broke after two weeks.",
    "The last bin leaked, and this one is tight.",
    "Bought this because my pump stopped working.",
    "I was worried that the strap would break.",
    "I dropped it and the screen cracked a little.",
    "You can't go wrong with a pan like this.",
    "Wipes off without leaving marks on the table.",
    "The zip does not break, slip or fade in the sun.",
    "It could not be better for the small price.",
    "If it is too small for you, take the next size.",
    "Protects the table so that no lid leaves marks.",
    "I was so disappointed when the last chapter ended, so good is it.",
    "On the whole long trip no strap tore and no lid leaks.",
    "Great for hard to reach places behind the sink.",
]


@pytest.mark.parametrize("sentence", COMPLAINTS)
def test_a_complaint_is_not_praise(sentence: str) -> None:
    assert is_complaint(sentence)
    assert may_be_complaint(sentence)
    assert complaint_excerpt(f"We have had it since May. {sentence}") == sentence
    assert praise_excerpt(sentence) is None


@pytest.mark.parametrize(
    "sentence",
    [
        "Takes most of a night to refill.",
        "It took ages to dry.",
        "Needed three days to get used to it.",
        "A bit stiff at first.",
        "Rattles on gravel when empty.",
        "It is so heavy he cannot push it over the kitchen floor.",
        "The menus are slow.",
        "A bit bulky in loose sockets.",
        "Could be longer.",
    ],
)
def test_a_reservation_is_not_praise(sentence: str) -> None:
    assert praise_excerpt(sentence) is None


@pytest.mark.parametrize("sentence", ["Took two minutes to set up.", "Takes a whole laptop and a jacket."])
def test_neutral_uses_of_take_are_not_reservations(sentence: str) -> None:
    assert praise_excerpt(sentence) == sentence


@pytest.mark.parametrize("sentence", NOT_COMPLAINTS)
def test_words_of_a_complaint_alone_are_not_a_complaint(sentence: str) -> None:
    assert not is_complaint(sentence)
    assert complaint_excerpt(sentence) is None


def test_a_complaint_that_is_cut_off_is_not_quoted() -> None:
    sentence = "We had it along on the ferry and the long train ride through the mountains, in the rain and in the snow of April, and the strap tore."
    assert len(sentence) > MAX_QUOTE_CHARS
    assert is_complaint(sentence)
    assert complaint_excerpt(sentence) is None


@pytest.mark.parametrize(
    "sentence",
    [
        "The strap tore off <b>twice</b> in one week.",
        "The strap of my wife Anna tore in one week.",
        "The strap tore, “they” said in one week.",
    ],
)
def test_a_complaint_is_quoted_under_the_same_conditions_as_praise(sentence: str) -> None:
    assert complaint_excerpt(sentence) is None


def test_the_complaint_about_the_given_text_is_quoted() -> None:
    review = "The strap tore after two weeks. The lid leaks on the stove beside our kettle."
    assert complaint_excerpt(review) == "The strap tore after two weeks."
    assert complaint_excerpt(review, "steel kettle") == "The lid leaks on the stove beside our kettle."


@given(st.text(max_size=400))
def test_a_complaint_is_verbatim(review: str) -> None:
    quote = complaint_excerpt(review)
    assert quote is None or (quote in review and len(quote) <= MAX_QUOTE_CHARS)


def test_reviews_of_the_demo_store() -> None:
    """Reviews with low ratings contain complaints far more often, and no excerpt is both praise and complaint."""
    reviews = demo.load_records("reviews")
    low, high = ([complaint_excerpt(r["text"]) for r in reviews if (r["rating"] <= 3) == is_low] for is_low in (True, False))
    assert sum(quote is not None for quote in low) / len(low) > 0.2
    assert sum(quote is not None for quote in high) / len(high) < 0.04
    assert all(praise_excerpt(quote) is None for quote in [*low, *high] if quote)
    well_rated = [praise_excerpt(r["text"]) for r in reviews if r["rating"] >= 4]
    assert sum(quote is not None for quote in well_rated) / len(well_rated) > 0.92
