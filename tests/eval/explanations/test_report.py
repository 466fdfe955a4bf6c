"""Reports over explanations: statistics by hand, and errors of texts and claims."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.eval.explanations.report import claim_errors, explanation_errors, explanation_report

from ...sample_explanation import KETTLE, QUOTE, TEXT, kettle, with_ids


@pytest.mark.parametrize(
    "text", ["", TEXT, f"The {KETTLE}: “{QUOTE}”", 'With your Nordlo 7" Camp Table, the Voltano Glass Kettle is next.']
)
def test_supported_texts_have_no_errors(text: str) -> None:
    assert explanation_errors(kettle(text)) == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (TEXT.replace("25", "35"), "unsupported figure: 35 of 46"),
        (TEXT + " 97 agree.", "unsupported number: 97"),
        (TEXT + " It beats the Acmetron.", "unsupported name: Acmetron"),
        (TEXT + " “Best thing ever made”", "quotation that is not in the evidence: Best thing ever made"),
        (TEXT + " “boils", "unclosed quotation"),
        ("It is just what you need.", "does not name the item"),
        ("The Voltano is just what you need.", "does not name the item"),
    ],
)
def test_unsupported_texts_have_errors(text: str, error: str) -> None:
    assert explanation_errors(kettle(text)) == [error]


def test_unverified_text_is_an_error() -> None:
    assert explanation_errors(kettle(verified=False)) == ["text is not verified"]
    assert explanation_errors({"title": "Kettle", "explanation": None}) == []


# ---------------------------------------------------------------------- claims

GOOD = {"text": "of 46 shoppers who bought the first, 25 also bought the second", "evidence": "e1"}


def claiming(*claims: dict[str, Any], text: str = TEXT) -> dict[str, Any]:
    return with_ids(kettle(text, claims=list(claims)))


def test_true_claims_pass_and_claims_are_optional() -> None:
    assert claim_errors(claiming(GOOD)) == []
    assert explanation_errors(claiming(GOOD)) == []
    assert claim_errors(claiming()) == claim_errors(kettle()) == []
    quoted = claiming({"text": QUOTE, "evidence": "e2"}, {"text": f"“{QUOTE}”", "evidence": "e2"}, text=f"The {KETTLE}: “{QUOTE}”")
    assert claim_errors(quoted) == []


@pytest.mark.parametrize(
    ("claim", "error"),
    [
        ({"text": "25 of 46 shoppers", "evidence": "e1"}, "claim is not in the text: 25 of 46 shoppers"),
        (GOOD | {"evidence": "e9"}, f"claim cites an unknown fact e9: {GOOD['text']}"),
        (GOOD | {"evidence": "e3"}, f"claim is not supported by e3: {GOOD['text']}"),
    ],
)
def test_false_claims_are_errors(claim: dict[str, Any], error: str) -> None:
    assert claim_errors(claiming(claim)) == [error]
    assert error in explanation_errors(claiming(GOOD, claim))


def test_fact_ids_are_unique_and_exist() -> None:
    entry = claiming(GOOD)
    entry["explanation"]["evidence"][3]["id"] = "e1"
    assert claim_errors(entry) == ["duplicate fact id e1"]
    assert claim_errors(kettle(claims=[GOOD])) == [f"claim cites an unknown fact e1: {GOOD['text']}"]


def test_claims_do_not_support_a_text() -> None:
    wrong = TEXT.replace("25", "35")
    entry = claiming({"text": "35 also bought the second", "evidence": "e1"}, text=wrong)
    assert explanation_report([entry]).precision == explanation_report([kettle(wrong)]).precision == pytest.approx(2 / 3)


# ---------------------------------------------------------------------- reports


def test_report_by_hand() -> None:
    entries = [
        kettle(),  # 3 statements, all supported; 2 of 5 facts mentioned
        kettle(f"The {KETTLE}: “{QUOTE}”", source="evidence"),  # 2 statements; 1 of 5 facts
        kettle(f"The {KETTLE}: 35 of 46 shoppers, says Acmetron."),  # 1 of 3 statements supported; none of 5 facts
        kettle("", source="evidence"),
        {"title": "Pan", "explanation": None},
    ]
    figures = explanation_report(entries)
    assert (figures.shown, figures.without_text, figures.unsupported) == (3, 1, 1)
    assert (figures.statements, figures.facts) == (8, 15)
    assert figures.precision == pytest.approx(6 / 8)
    assert figures.recall == pytest.approx(3 / 15)
    assert (figures.worded_share, figures.fallback) == pytest.approx((2 / 3, 1 / 3))
    assert figures.abstention == pytest.approx(1 / 4)
    assert figures.unique_sentences == 1
    assert figures.commonest_opening == pytest.approx(1 / 3)
    # Mentioned kinds are association, history and review, of four; only the first text mentions the kind of its strongest fact.
    assert figures.feature_coverage == pytest.approx(3 / 4)
    assert figures.feature_matching == pytest.approx(1 / 3)
    assert set(figures.to_dict()) == set(type(figures).__slots__)


def test_custom_features() -> None:
    figures = explanation_report([kettle(f"The {KETTLE}: “{QUOTE}”"), kettle()], features=["minutes", "Glass", "silent"])
    assert figures.feature_coverage == pytest.approx(2 / 3)
    assert figures.feature_matching == 1
    assert explanation_report([kettle()], features=["minutes"]).feature_matching == 0
    assert math.isnan(explanation_report([kettle()], features=["silent"]).feature_matching)


def test_shares_without_explanations_are_nan() -> None:
    figures = explanation_report([]).to_dict()
    counts = {"shown", "without_text", "unsupported", "statements", "facts"}
    assert all(figures[name] == 0 for name in counts)
    assert all(math.isnan(value) for name, value in figures.items() if name not in counts)


@given(st.lists(st.sampled_from([TEXT, f"The {KETTLE}: “{QUOTE}”", f"The {KETTLE} beats 9 of 10.", ""]), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_shares_are_0_to_1_and_independent_of_order(texts: list[str]) -> None:
    forward, backward = (explanation_report([kettle(text) for text in order]).to_dict() for order in (texts, texts[::-1]))
    assert forward == pytest.approx(backward, nan_ok=True)
    for name, value in forward.items():
        if name not in ("shown", "without_text", "unsupported", "statements", "facts", "words", "grade"):
            assert math.isnan(value) or 0 <= value <= 1
