"""Plain sentences for items with similar descriptions."""

from __future__ import annotations

import pytest

from crossaisle.data.records import Evidence
from crossaisle.llm.explain.grounding import grounding_faults
from crossaisle.recommend.evidence.similarity_sentence import similarity_sentence

ITEMS = [f"Gas Stove {letter}" for letter in "ABCDEFGH"]


@pytest.mark.parametrize("is_owned", [True, False])
@pytest.mark.parametrize("use", [None, "camping"])
@pytest.mark.parametrize("own", ["Dome Tent", "The Old Tent"])
def test_every_sentence_is_supported_by_the_evidence(is_owned: bool, use: str | None, own: str) -> None:
    sentences = {item: similarity_sentence(item, own, is_owned=is_owned, use=use) for item in ITEMS}
    for item, sentence in sentences.items():
        facts = [
            Evidence("history", f"bought before: {own}, close in description to {item}"),
            Evidence("use", f"{item}: for camping (title)"),
        ]
        assert grounding_faults(sentence, [item, own], facts[: 2 if use else 1]) == []
        assert ("camping" in sentence) == bool(use)
        assert "the The" not in sentence
        assert "Your The" not in sentence
        assert not (not is_owned and "your" in sentence.casefold().split())
        assert sentence == similarity_sentence(item, own, is_owned=is_owned, use=use)
        assert sentence[0].isupper()
    assert (use == "camping" and not is_owned) or len({sentence.replace(item, "") for item, sentence in sentences.items()}) > 1


def test_a_sentence_without_similar_descriptions_in_the_evidence_is_rejected() -> None:
    sentence = similarity_sentence("Gas Stove", "Dome Tent", is_owned=True, use="camping")
    assert grounding_faults(sentence, ["Gas Stove", "Dome Tent"], [Evidence("history", "bought before: Dome Tent")]) != []
