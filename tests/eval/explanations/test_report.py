"""Reports over explanations: figures known by hand, and claims that are not taken at their word."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.eval.explanations.report import claim_faults, report, unsupported

from ...sample_explanation import KETTLE, QUOTE, TEXT, kettle, with_ids


@pytest.mark.parametrize(
    "text", ["", TEXT, f"The {KETTLE}: “{QUOTE}”", 'With your Nordlo 7" Camp Table, the Voltano Glass Kettle is next.']
)
def test_what_the_evidence_says_holds(text: str) -> None:
    assert unsupported(kettle(text)) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (TEXT.replace("25", "35"), "a figure from nowhere: 35 of 46"),
        (TEXT + " 97 agree.", "a number from nowhere: 97"),
        (TEXT + " It beats the Acmetron.", "a name from nowhere: Acmetron"),
        (TEXT + " “Best thing ever made”", "quotes nobody: Best thing ever made"),
        (TEXT + " “boils", "a quotation does not close"),
        ("It is just what you need.", "does not name the item"),
        ("The Voltano is just what you need.", "does not name the item"),
    ],
)
def test_what_it_does_not_say_is_found(text: str, fault: str) -> None:
    assert unsupported(kettle(text)) == [fault]


def test_a_text_that_is_not_verified_is_a_fault() -> None:
    assert unsupported(kettle(verified=False)) == ["shown though not verified"]
    assert unsupported({"title": "Kettle", "explanation": None}) == []


# ---------------------------------------------------------------------- claims

GOOD = {"text": "of 46 shoppers who bought the first, 25 also bought the second", "evidence": "e1"}


def claiming(*claims: dict[str, Any], text: str = TEXT) -> dict[str, Any]:
    return with_ids(kettle(text, claims=list(claims)))


def test_true_claims_pass_and_none_are_needed() -> None:
    assert claim_faults(claiming(GOOD)) == []
    assert unsupported(claiming(GOOD)) == []
    assert claim_faults(claiming()) == claim_faults(kettle()) == []
    quoted = claiming({"text": QUOTE, "evidence": "e2"}, {"text": f"“{QUOTE}”", "evidence": "e2"}, text=f"The {KETTLE}: “{QUOTE}”")
    assert claim_faults(quoted) == []


@pytest.mark.parametrize(
    ("claim", "fault"),
    [
        ({"text": "25 of 46 shoppers", "evidence": "e1"}, "a claim that is not in the text: 25 of 46 shoppers"),
        (GOOD | {"evidence": "e9"}, f"a claim without its fact e9: {GOOD['text']}"),
        (GOOD | {"evidence": "e3"}, f"a claim that e3 does not bear out: {GOOD['text']}"),
    ],
)
def test_false_claims_are_found(claim: dict[str, Any], fault: str) -> None:
    assert claim_faults(claiming(claim)) == [fault]
    assert fault in unsupported(claiming(GOOD, claim))


def test_ids_must_differ_and_exist_where_there_are_claims() -> None:
    entry = claiming(GOOD)
    entry["explanation"]["evidence"][3]["id"] = "e1"
    assert claim_faults(entry) == ["two facts are called e1"]
    assert claim_faults(kettle(claims=[GOOD])) == [f"a claim without its fact e1: {GOOD['text']}"]


def test_claims_do_not_make_a_text_true() -> None:
    wrong = TEXT.replace("25", "35")
    entry = claiming({"text": "35 also bought the second", "evidence": "e1"}, text=wrong)
    assert report([entry]).precision == report([kettle(wrong)]).precision == pytest.approx(2 / 3)


# ---------------------------------------------------------------------- reports


def test_a_report_by_hand() -> None:
    entries = [
        kettle(),  # 3 statements, all supported; 2 of 5 facts told
        kettle(f"The {KETTLE}: “{QUOTE}”", source="evidence"),  # 2 statements; 1 of 5 facts
        kettle(f"The {KETTLE}: 35 of 46 shoppers, says Acmetron."),  # 1 of 3 statements supported; none of 5 facts
        kettle("", source="evidence"),
        {"title": "Pan", "explanation": None},
    ]
    figures = report(entries)
    assert (figures.shown, figures.without_text, figures.unsupported) == (3, 1, 1)
    assert (figures.statements, figures.facts) == (8, 15)
    assert figures.precision == pytest.approx(6 / 8)
    assert figures.recall == pytest.approx(3 / 15)
    assert (figures.llm_share, figures.fallback) == pytest.approx((2 / 3, 1 / 3))
    assert figures.abstention == pytest.approx(1 / 4)
    assert figures.unique_sentences == 1
    assert figures.commonest_opening == pytest.approx(1 / 3)
    # Kinds told are association, history and review, of four; only the first text tells its strongest fact's.
    assert figures.feature_coverage == pytest.approx(3 / 4)
    assert figures.feature_matching == pytest.approx(1 / 3)
    assert set(figures.to_dict()) == set(type(figures).__slots__)


def test_features_of_the_callers_own() -> None:
    figures = report([kettle(f"The {KETTLE}: “{QUOTE}”"), kettle()], features=["minutes", "Glass", "silent"])
    assert figures.feature_coverage == pytest.approx(2 / 3)
    assert figures.feature_matching == 1
    assert report([kettle()], features=["minutes"]).feature_matching == 0
    assert math.isnan(report([kettle()], features=["silent"]).feature_matching)


def test_of_nothing_every_share_is_unknown() -> None:
    figures = report([]).to_dict()
    counts = {"shown", "without_text", "unsupported", "statements", "facts"}
    assert all(figures[name] == 0 for name in counts)
    assert all(math.isnan(value) for name, value in figures.items() if name not in counts)


@given(st.lists(st.sampled_from([TEXT, f"The {KETTLE}: “{QUOTE}”", f"The {KETTLE} beats 9 of 10.", ""]), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_shares_are_shares_and_order_does_not_matter(texts: list[str]) -> None:
    one, other = (report([kettle(text) for text in order]).to_dict() for order in (texts, texts[::-1]))
    assert one == pytest.approx(other, nan_ok=True)
    for name, value in one.items():
        if name not in ("shown", "without_text", "unsupported", "statements", "facts", "words", "grade"):
            assert math.isnan(value) or 0 <= value <= 1
