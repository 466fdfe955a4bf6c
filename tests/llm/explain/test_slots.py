"""What the store fills into a wording: true whatever was named before, and punctuated as a sentence."""

from __future__ import annotations

import pytest

from crossaisle.llm.explain.slots import LETTERS, NAMES, Figure, fill, lettered, the
from crossaisle.llm.explain.vocabulary import JOINING, STORE, WORDING

FIGURE = Figure(14, 120, "bought", "Dome Tent", "Gas Stove")
VALUES: dict[str, str | Figure] = {
    "own": "Dome Tent",
    "item": "Gas Stove",
    "figure": FIGURE,
    "usual": "4.1 times the usual share",
    "quote": "“Boils fast.”",
    "price": "it costs 9.90",
}


@pytest.mark.parametrize(
    ("wording", "text"),
    [
        (
            "With your {own}, the {item} is next: {figure}.",
            "With your Dome Tent, the Gas Stove is next: 14 of 120 shoppers who bought the first also bought the second.",
        ),
        (
            "The {item} goes with the {own}; {figure}, {usual}.",
            "The Gas Stove goes with the Dome Tent; 14 of 120 shoppers who bought the Dome Tent also bought it, 4.1 times the usual share.",
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
def test_filled(wording: str, text: str) -> None:
    filled = fill(wording, VALUES)
    assert filled.text == text
    assert all(said in text for said in filled.claims.values())


def test_a_quotation_without_a_full_stop_gets_one() -> None:
    values = {**VALUES, "quote": "“Boils fast”"}
    assert fill("The {item}: {quote} The {own} stays.", values).text == "The Gas Stove: “Boils fast”. The Dome Tent stays."
    assert fill("The {item}: {quote}", values).text == "The Gas Stove: “Boils fast”."


def test_every_clause_of_a_figure_says_the_same() -> None:
    """Whatever was named before, the direction stays: of those who had the one, so many had the other."""
    clauses = {tuple(named): FIGURE.clause(named) for named in ([], ["own"], ["item"], ["own", "item"], ["item", "own"])}
    for clause in clauses.values():
        assert clause.startswith("14 of 120 shoppers who bought ")
        assert clause.index("14") < clause.index("120") < clause.index("also bought")
    assert "the first also bought the second" in clauses["own", "item"]
    assert "first" not in clauses["item", "own"]


def test_a_slot_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill("The {item} and {fits}.", VALUES)


def test_no_letter_is_a_word_and_none_stands_for_two() -> None:
    assert len(set(LETTERS.values())) == len(LETTERS)
    assert not {letter.casefold() for letter in LETTERS.values()} & (JOINING | STORE | WORDING)
    assert set(NAMES) < LETTERS.keys()
    assert lettered("With {own}, the {item}.") == "With X, the Y."


def test_a_name_that_brings_its_article_gets_no_second() -> None:
    values = {"own": "The Broken One", "item": "the Dome Tent", "figure": Figure(3, 9, "bought", "The Broken One", "the Dome Tent")}
    assert fill("The {own} leads on to the {item}.", values).text == "The Broken One leads on to the Dome Tent."
    assert fill("{figure}.", values).text == "3 of 9 shoppers who bought The Broken One also bought the Dome Tent."
    assert fill("Next to the {item}: {figure}.", values).text.endswith("3 of 9 shoppers who bought The Broken One also bought it.")
    other = {"own": "Theatre Mask", "item": "Bathe The Dog"}
    assert fill("Soothe {own}; the {own} and the {item}.", other).text == "Soothe Theatre Mask; the Theatre Mask and the Bathe The Dog."
    assert fill("So bathe {own}.", {"own": "The Dog"}).text == "So bathe The Dog."
    assert [the("The Band", begins=True), the("The Band"), the("Band"), the("Band", begins=True)] == [
        "The Band",
        "The Band",
        "the Band",
        "The Band",
    ]
