"""Statements are extracted from the text with the facts that support them, independently of the explanation's own claims."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.eval.explanations.claims import find_statements, mentioned_facts
from crossaisle.eval.explanations.text_spans import contains_phrase, find_figures, find_names, find_quotations

from ...sample_explanation import KETTLE, QUOTE, TEXT, kettle


def statements_of(text: str, **explanation: Any) -> list[tuple[str, str, tuple[int, ...], bool]]:
    return [(s.kind, s.text, s.facts, s.supported) for s in find_statements(kettle(text, **explanation))]


def test_statements_of_a_sentence() -> None:
    assert statements_of(TEXT) == [
        ("figure", "25 of 46", (0,), True),
        ("name", "Nordlo 7' Camp Table", (0, 3), True),
        ("name", KETTLE, (0, 3, 4), True),
    ]


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        (f"A reviewer wrote “{QUOTE}” of it.", ("quotation", QUOTE, (1,), True)),
        ('A reviewer wrote "in 3 minutes" of it.', ("quotation", "in 3 minutes", (1,), True)),
        ("It “Boils two litres in 3 minute”", ("quotation", "Boils two litres in 3 minute", (), False)),
        ("It “oils two litres”", ("quotation", "oils two litres", (), False)),
        ("It “boils two litres”", ("quotation", "boils two litres", (), False)),
        ("It “”", ("quotation", "", (), False)),
        ("A “Furniture” thing", ("quotation", "Furniture", (), False)),
        ("It boils in 3 minutes.", ("number", "3", (), False)),
        ("It is 1.2 times better.", ("number", "1.2", (2,), True)),
        ("It is 1.3 times better.", ("number", "1.3", (), False)),
        ("It was 25 shoppers.", ("number", "25", (0,), True)),
        ("It was 25 % of shoppers.", ("number", "25%", (), False)),
        ("It costs €25 now.", ("number", "€25", (), False)),
        ("It was 46 of 25 shoppers.", ("figure", "46 of 25", (), False)),
        ("It was 25 of 226 shoppers.", ("figure", "25 of 226", (), False)),
        ("Of 25 shoppers, many; of 25 shoppers who had it, 46 had both.", ("figure", "46 of 25", (), False)),
        ("The Glass Kettle is it.", ("name", "Glass Kettle", (0, 3, 4), True)),
        ("The Glass Pan is it.", ("name", "Glass Pan", (), False)),
        ("The Nordlo Kettle is it.", ("name", "Nordlo Kettle", (), False)),
        ("It goes with Boltano things.", ("name", "Boltano", (), False)),
        ("Boltano Glass Kettle is it.", ("name", "Boltano Glass Kettle", (), False)),
        (f"The {KETTLE} Pro is it.", ("name", f"{KETTLE} Pro", (), False)),
        ("It is from Small Appliances too.", ("name", "Small Appliances", (4,), True)),
        ("It is from Bed & Bath too.", ("name", "Bed & Bath", (2,), True)),
        ("It is from Bed & Garden too.", ("name", "Bed & Garden", (), False)),
    ],
)  # fmt: skip
def test_each_kind_of_statement(text: str, statement: tuple[str, str, tuple[int, ...], bool]) -> None:
    assert statement in statements_of(text)


@pytest.mark.parametrize("text", ["", "With this it could come in handy.", "It is. Then again, it was! For what?", "“Nobody”: Why not?"])
def test_ordinary_words_state_nothing(text: str) -> None:
    assert [statement for statement in statements_of(text) if statement[0] != "quotation"] == []


def test_numbers_of_names_and_quotations_are_not_figures() -> None:
    assert {kind for kind, *_ in statements_of(f'The {KETTLE}, Nordlo 7" Camp Table: “{QUOTE}”')} == {"name", "quotation"}


def test_item_without_a_title_is_named_by_its_id() -> None:
    entry = kettle("The K is next.", evidence=[]) | {"title": ""}
    assert [(s.kind, s.text, s.supported) for s in find_statements(entry)] == [("name", "K", True)]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (TEXT, [True, False, False, True, False]),
        (f"The {KETTLE} is next.", [False] * 5),
        (f"The {KETTLE}: 25 shoppers, “{QUOTE}”", [False, True, False, False, False]),
        (f"The {KETTLE}: 159 of 226 shoppers.", [False, False, True, False, False]),
        (f"The {KETTLE}: 226 of 159 shoppers.", [False] * 5),
        (f"The {KETTLE} is from Small Appliances.", [False, False, False, False, True]),
        ("", [False] * 5),
    ],
)
def test_mentioned_facts(text: str, facts: list[bool]) -> None:
    entry = kettle(text)
    assert mentioned_facts(entry, find_statements(entry)) == facts


# ---------------------------------------------------------------------- text spans


def test_marks_inside_names_and_after_digits_do_not_open_quotations() -> None:
    assert find_quotations('A 7" tablet', []) == ([], True)
    assert find_quotations("A “Big” Pan: “good”", ["A “Big” Pan"]) == ([(13, 19)], True)
    assert find_quotations('A "Big" Pan', [])[0] == [(2, 7)]
    assert find_quotations('"It is 3"', []) == ([(0, 9)], True)
    assert not find_quotations("“open", [])[1]
    assert not find_quotations("shut”", [])[1]


def test_longer_of_overlapping_names() -> None:
    assert find_names("a Dome Tent Pro", ["Dome Tent", "Dome Tent Pro"]) == [(2, 15)]
    assert find_names("Dome Tents", ["Dome Tent"]) == []


def test_figures_in_both_word_orders() -> None:
    assert find_figures("25 of 46 had 1,200 things") == ([("25", "46")], ["1,200"])
    assert find_figures("of 46 who did, about 25 did") == ([("25", "46")], [])
    assert find_figures("25 of 46 did, 1.2 times the share, 14 % off") == ([("25", "46")], ["1.2", "14%"])
    assert find_figures("14 of 120 %") == ([], ["14", "120%"])


@given(st.text("ab ”1.", min_size=1, max_size=6), st.text("ab ”1.", max_size=20))
@settings(max_examples=300, deadline=None)
def test_contains_phrase_matches_regular_expressions(part: str, text: str) -> None:
    import re

    assert contains_phrase(part, text) == (bool(part.strip()) and re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None)


@given(st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_only_the_figure_of_the_evidence_is_supported(part: int, whole: int) -> None:
    for text in (f"It is {part} of {whole} shoppers.", f"It is so: of {whole} shoppers who did, {part} did."):
        (statement,) = find_statements(kettle(text))
        assert statement.supported == ((part, whole) in {(25, 46), (159, 226)})
