"""Filling of slots: statistics that fit the preceding names, articles and punctuation."""

from __future__ import annotations

import pytest

from crossaisle.llm.explain.slots import NAME_SLOTS, SLOT_LETTERS, SupportStatistic, fill_slots, slots_to_letters, with_article
from crossaisle.llm.explain.vocabulary import COMMENTING_WORDS, JOINING_WORDS, STORE_WORDS

STATISTIC = SupportStatistic(14, 120, "bought", "Dome Tent", "Gas Stove")
VALUES: dict[str, str | SupportStatistic] = {
    "own": "Dome Tent",
    "item": "Gas Stove",
    "figure": STATISTIC,
    "usual": "4.1 times the usual share",
    "quote": "“Boils fast.”",
    "price": "it costs 9.90",
}


@pytest.mark.parametrize(
    ("wording", "text"),
    [
        (
            "With your {own}, the {item} is next: {figure}.",
            "With your Dome Tent, the Gas Stove is next: 14 of 120 shoppers who bought the same one also bought this one.",
        ),
        (
            "The {item} goes with the {own}; {figure}, {usual}.",
            "The Gas Stove goes with the Dome Tent; 14 of 120 shoppers who bought the same one also bought this one, 4.1 times the usual share.",
        ),
        ("The {item}: {figure}.", "The Gas Stove: 14 of 120 shoppers who bought the Dome Tent also bought it."),
        ("To your {own}: {figure}.", "To your Dome Tent: 14 of 120 shoppers who bought it also bought the Gas Stove."),
        ("{figure}.", "14 of 120 shoppers who bought the Dome Tent also bought the Gas Stove."),
        ("The {item}. {price}.", "The Gas Stove. It costs 9.90."),
        ("The {item}, as {price}.", "The Gas Stove, as it costs 9.90."),
        ("The {item}: {quote}", "The Gas Stove: “Boils fast.”"),
        ("The {item}: {quote}.", "The Gas Stove: “Boils fast.”"),
        ("{item}:\n- {price}\n- {quote}", "Gas Stove:\n- it costs 9.90\n- “Boils fast.”"),
    ],
)
def test_fill_slots(wording: str, text: str) -> None:
    filled = fill_slots(wording, VALUES)
    assert filled.text == text
    assert all(claim in text for claim in filled.claims.values())


def test_a_quote_without_a_full_stop_gets_one() -> None:
    values = {**VALUES, "quote": "“Boils fast”"}
    assert fill_slots("The {item}: {quote} The {own} stays.", values).text == "The Gas Stove: “Boils fast”. The Dome Tent stays."
    assert fill_slots("The {item}: {quote}", values).text == "The Gas Stove: “Boils fast”."


def test_all_clauses_of_a_statistic_are_equivalent() -> None:
    """The direction does not depend on the preceding names: so many users of the anchor also use the item."""
    clauses = {tuple(named): STATISTIC.clause(named) for named in ([], ["own"], ["item"], ["own", "item"], ["item", "own"])}
    for clause in clauses.values():
        assert clause.startswith("14 of 120 shoppers who bought ")
        assert clause.index("14") < clause.index("120") < clause.index("also bought")
    assert clauses["own", "item"] == clauses["item", "own"] == "14 of 120 shoppers who bought the same one also bought this one"


def test_a_slot_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill_slots("The {item} and {fits}.", VALUES)


def test_letters_are_unique_and_not_words() -> None:
    assert len(set(SLOT_LETTERS.values())) == len(SLOT_LETTERS)
    assert not {letter.casefold() for letter in SLOT_LETTERS.values()} & (JOINING_WORDS | STORE_WORDS | COMMENTING_WORDS)
    assert set(NAME_SLOTS) < SLOT_LETTERS.keys()
    assert slots_to_letters("With {own}, the {item}.") == "With X, the Y."


def test_a_name_with_an_article_gets_no_second_one() -> None:
    values = {
        "own": "The Broken One",
        "item": "the Dome Tent",
        "figure": SupportStatistic(3, 9, "bought", "The Broken One", "the Dome Tent"),
    }
    assert fill_slots("The {own} leads on to the {item}.", values).text == "The Broken One leads on to the Dome Tent."
    assert fill_slots("{figure}.", values).text == "3 of 9 shoppers who bought The Broken One also bought the Dome Tent."
    assert fill_slots("Next to the {item}: {figure}.", values).text.endswith("3 of 9 shoppers who bought The Broken One also bought it.")
    other = {"own": "Theatre Mask", "item": "Bathe The Dog"}
    assert (
        fill_slots("Soothe {own}; the {own} and the {item}.", other).text == "Soothe Theatre Mask; the Theatre Mask and the Bathe The Dog."
    )
    assert fill_slots("So bathe {own}.", {"own": "The Dog"}).text == "So bathe The Dog."
    assert [
        with_article("The Band", sentence_start=True),
        with_article("The Band"),
        with_article("Band"),
        with_article("Band", sentence_start=True),
    ] == [
        "The Band",
        "The Band",
        "the Band",
        "The Band",
    ]


def test_names_that_precede_a_statistic_are_not_repeated_in_it() -> None:
    text = fill_slots("Next to your {own}, think of the {item}. {figure}.", VALUES).text
    assert text.count("Dome Tent") == text.count("Gas Stove") == 1
