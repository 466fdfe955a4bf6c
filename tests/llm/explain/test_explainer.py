"""Explanations from reasons: phrases that the model chooses from, grounding, hedges and fallbacks."""

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

STATISTIC = Evidence("association", "14 of 120 shoppers who bought Norrvik Dome Tent also bought Pyra Gas Stove", "tent", 3.1)
QUOTE = Evidence("review", "Boils a litre before the tent is up.", "stove", 0.5)
NEED = Evidence("need", "a weekend in the hills", "stove", 0.3)


def reason(**changes: object) -> Reason:
    defaults = {
        "item": "Pyra Gas Stove",
        "anchor": "Norrvik Dome Tent",
        "anchor_purchased": True,
        "need": None,
        "evidence": (STATISTIC, QUOTE),
        "clauses": ("of 120 shoppers who bought the first, 14 also bought the second.", f"a reviewer wrote “{QUOTE.text}”"),
        "has_statistic": True,
        "plain_sentence": "14 of 120 shoppers who bought the Norrvik Dome Tent also bought the Pyra Gas Stove.",
    }
    return Reason(**{**defaults, **changes})  # type: ignore[arg-type]


def test_expand_alternatives() -> None:
    assert expand_alternatives("is (worth|good for) a (look|try)") == [
        "is worth a look",
        "is worth a try",
        "is good for a look",
        "is good for a try",
    ]
    assert expand_alternatives("as it is") == ["as it is"]


@pytest.mark.parametrize("occasion", ["owned", "seen", "need"])
def test_every_phrase_is_grounded_with_every_opening(occasion: str) -> None:
    prompt = prompts.load("explain")
    facts = reason(need="a weekend in the hills", evidence=(STATISTIC, QUOTE, NEED))
    values = {"item": facts.item, "owned": facts.anchor, "need": facts.need}
    for line in prompt.lines(f"{'need' if occasion == 'need' else 'owned'}_phrasings"):
        for phrase in expand_alternatives(line):
            assert set(phrase.split()) <= JOINING_WORDS, phrase
            for source in prompt.lines(f"{occasion}_openings"):
                for clause in facts.clauses:
                    assert (
                        grounding_faults(f"{prompts.fill(source, **values)} {phrase}: {clause}", facts.product_names, facts.evidence) == []
                    )


def test_phrase_trie(llm: LanguageModel) -> None:
    trie = PhraseTrie([" is worth a look:", " is worth having:"], llm.encode)
    for text in (" is worth a look:", " is worth having:"):
        ids = llm.encode(text)
        assert all(ids[i] in trie.next_tokens(ids[:i]) for i in range(len(ids)))
        assert trie.next_tokens(ids) == []
    assert trie.next_tokens(llm.encode(" could")) == []


def test_a_list_is_generated_with_varied_openings(llm: LanguageModel) -> None:
    names = ["Pyra Gas Stove", "Lumen Head Torch", "Fell Wool Blanket", "Kettlow Cooler Bag", "Ardent Trail Map"]
    reasons = [
        reason(item=name, evidence=(Evidence("association", STATISTIC.text.replace("Pyra Gas Stove", name), "tent", 3.1),))
        for name in names
    ]
    explanations = Explainer(llm).explain(reasons)
    assert [explanation.source for explanation in explanations] == ["wording"] * 5
    for name, explanation in zip(names, explanations, strict=True):
        assert name in explanation.text
        assert explanation.text.endswith("of 120 shoppers who bought the first, 14 also bought the second.")
        assert explanation.verified
    assert len({explanation.text[:20] for explanation in explanations}) == 5, "adjacent sentences begin differently"
    assert [e.text for e in Explainer(llm).explain(reasons)] == [e.text for e in explanations]


def test_a_viewed_anchor_is_not_called_owned(llm: LanguageModel) -> None:
    for explanation in Explainer(llm).explain([reason(anchor_purchased=False)] * 2):
        assert explanation.source == "wording"
        assert not {"your", "have", "Since"} & set(explanation.text.split(":")[0].split())


def test_a_weak_fact_is_hedged(llm: LanguageModel) -> None:
    names = [f"Pyra Stove {letter}" for letter in "ABCDEFGHIJKL"]
    weak = [reason(item=name, clauses=("the two are close in description.",), has_statistic=False) for name in names]
    for explanation in Explainer(llm).explain(weak):
        assert explanation.source == "wording"
        assert {"could", "may", "might", "would"} & set(explanation.text.split())


def test_a_text_query_is_quoted(llm: LanguageModel) -> None:
    facts = reason(anchor=None, need="a weekend in the hills", evidence=(QUOTE, NEED), clauses=(f"a reviewer wrote “{QUOTE.text}”",))
    explanation = Explainer(llm).explain([facts])[0]
    assert explanation.source == "wording"
    assert "“a weekend in the hills”" in explanation.text


@pytest.mark.parametrize(
    "sentence",
    [
        "With your Norrvik Dome Tent, the Pyra Gas Stove is waterproof: of 120 shoppers who bought the first, 14 also bought the second.",
        "With your Norrvik Dome Tent, the Acme Grill is worth a look: of 120 shoppers who bought the first, 14 also bought the second.",
        "With your Norrvik Dome Tent, the Pyra Gas Stove is worth a look: of 120 shoppers who bought the first, 99 also bought the second.",
        "With your Norrvik Dome Tent, the Pyra Gas Stove is worth a look: a reviewer wrote “Best stove ever made by man.”",
        "",
    ],
)
def test_an_ungrounded_sentence_is_replaced_by_the_plain_one(sentence: str) -> None:
    shown = verified_explanation(reason(), sentence)
    assert (shown.source, shown.verified) == ("evidence", True)
    assert shown.text == reason().plain_sentence


def test_no_explanation_if_the_plain_sentence_is_ungrounded() -> None:
    shown = verified_explanation(reason(plain_sentence="Everyone needs the Pyra Gas Stove in 2031."), None)
    assert (shown.text, shown.source, shown.claims) == ("", "none", ())


def test_plain_sentences_without_a_model() -> None:
    assert [e.source for e in Explainer(None).explain([reason(), reason(clauses=())])] == ["evidence", "evidence"]


def test_no_reasons(llm: LanguageModel) -> None:
    assert Explainer(llm).explain([]) == []
