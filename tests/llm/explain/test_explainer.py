"""Explanations from reasons: what the model may choose, what the check lets through, what is shown instead."""

from __future__ import annotations

import pytest

from crossaisle import prompts
from crossaisle.data.records import Evidence
from crossaisle.llm.explain.explainer import Explainer, verified_explanation
from crossaisle.llm.explain.grounding import grounding_faults
from crossaisle.llm.explain.phrase_grammar import PhraseTrie, expand_alternatives
from crossaisle.llm.explain.reasons import Reason
from crossaisle.llm.explain.vocabulary import JOINING_WORDS
from crossaisle.llm.models.language_model import LanguageModel

FIGURE = Evidence("association", "14 of 120 shoppers who bought Norrvik Dome Tent also bought Pyra Gas Stove", "tent", 3.1)
QUOTE = Evidence("review", "Boils a litre before the tent is up.", "stove", 0.5)
NEED = Evidence("need", "a weekend in the hills", "stove", 0.3)


def reason(**changes: object) -> Reason:
    given = {
        "item": "Pyra Gas Stove",
        "owned": "Norrvik Dome Tent",
        "has": True,
        "need": None,
        "evidence": (FIGURE, QUOTE),
        "clauses": ("of 120 shoppers who bought the first, 14 also bought the second.", f"a reviewer wrote “{QUOTE.text}”"),
        "counted": True,
        "plain": "14 of 120 shoppers who bought the Norrvik Dome Tent also bought the Pyra Gas Stove.",
    }
    return Reason(**{**given, **changes})  # type: ignore[arg-type]


def test_expand() -> None:
    assert expand_alternatives("is (worth|good for) a (look|try)") == [
        "is worth a look",
        "is worth a try",
        "is good for a look",
        "is good for a try",
    ]
    assert expand_alternatives("as it is") == ["as it is"]


@pytest.mark.parametrize("occasion", ["owned", "seen", "need"])
def test_every_phrasing_passes_the_check_with_every_opening(occasion: str) -> None:
    prompt = prompts.load("explain")
    about = reason(need="a weekend in the hills", evidence=(FIGURE, QUOTE, NEED))
    values = {"item": about.item, "owned": about.anchor, "need": about.need}
    for line in prompt.lines(f"{'need' if occasion == 'need' else 'owned'}_phrasings"):
        for phrase in expand_alternatives(line):
            assert set(phrase.split()) <= JOINING_WORDS, phrase
            for source in prompt.lines(f"{occasion}_openings"):
                for clause in about.clauses:
                    assert (
                        grounding_faults(f"{prompts.fill(source, **values)} {phrase}: {clause}", about.product_names, about.evidence) == []
                    )


def test_phrasings_are_a_tree(llm: LanguageModel) -> None:
    tree = PhraseTrie([" is worth a look:", " is worth having:"], llm.encode)
    for text in (" is worth a look:", " is worth having:"):
        ids = llm.encode(text)
        assert all(ids[i] in tree.next_tokens(ids[:i]) for i in range(len(ids)))
        assert tree.next_tokens(ids) == []
    assert tree.next_tokens(llm.encode(" could")) == []


def test_the_model_words_a_list(llm: LanguageModel) -> None:
    names = ["Pyra Gas Stove", "Lumen Head Torch", "Fell Wool Blanket", "Kettlow Cooler Bag", "Ardent Trail Map"]
    reasons = [
        reason(item=name, evidence=(Evidence("association", FIGURE.text.replace("Pyra Gas Stove", name), "tent", 3.1),)) for name in names
    ]
    explanations = Explainer(llm).explain(reasons)
    assert [explanation.source for explanation in explanations] == ["llm"] * 5
    for name, explanation in zip(names, explanations, strict=True):
        assert name in explanation.text
        assert explanation.text.endswith("of 120 shoppers who bought the first, 14 also bought the second.")
        assert explanation.verified
    assert len({explanation.text[:20] for explanation in explanations}) == 5, "neighbours begin alike"
    assert [e.text for e in Explainer(llm).explain(reasons)] == [e.text for e in explanations]


def test_nobody_is_told_to_have_what_was_only_looked_at(llm: LanguageModel) -> None:
    texts = [Explainer(llm).explain([reason(has=False, item=name)] * 2) for name in ("Pyra Gas Stove",)]
    for explanation in texts[0]:
        assert explanation.source == "llm"
        assert not {"your", "have", "Since"} & set(explanation.text.split(":")[0].split())


def test_a_weak_fact_is_worded_with_a_hedge(llm: LanguageModel) -> None:
    names = [f"Pyra Stove {letter}" for letter in "ABCDEFGHIJKL"]
    weak = [reason(item=name, clauses=("the two are close in description.",), counted=False) for name in names]
    for explanation in Explainer(llm).explain(weak):
        assert explanation.source == "llm"
        assert {"could", "may", "might", "would"} & set(explanation.text.split())


def test_a_need_is_worded_too(llm: LanguageModel) -> None:
    about = reason(owned=None, need="a weekend in the hills", evidence=(QUOTE, NEED), clauses=(f"a reviewer wrote “{QUOTE.text}”",))
    explanation = Explainer(llm).explain([about])[0]
    assert explanation.source == "llm"
    assert "“a weekend in the hills”" in explanation.text


@pytest.mark.parametrize(
    "worded",
    [
        "With your Norrvik Dome Tent, the Pyra Gas Stove is waterproof: of 120 shoppers who bought the first, 14 also bought the second.",
        "With your Norrvik Dome Tent, the Acme Grill is worth a look: of 120 shoppers who bought the first, 14 also bought the second.",
        "With your Norrvik Dome Tent, the Pyra Gas Stove is worth a look: of 120 shoppers who bought the first, 99 also bought the second.",
        "With your Norrvik Dome Tent, the Pyra Gas Stove is worth a look: a reviewer wrote “Best stove ever made by man.”",
        "",
    ],
)
def test_what_does_not_pass_is_replaced_by_the_evidence(worded: str) -> None:
    shown = verified_explanation(reason(), worded)
    assert (shown.source, shown.verified) == ("evidence", True)
    assert shown.text == reason().plain_sentence


def test_it_abstains_when_not_even_the_evidence_passes() -> None:
    shown = verified_explanation(reason(plain="Everyone needs the Pyra Gas Stove in 2031."), None)
    assert (shown.text, shown.source, shown.claims) == ("", "none", ())


def test_without_a_model_the_evidence_speaks() -> None:
    assert [e.source for e in Explainer(None).explain([reason(), reason(clauses=())])] == ["evidence", "evidence"]


def test_no_reasons_no_work(llm: LanguageModel) -> None:
    assert Explainer(llm).explain([]) == []
