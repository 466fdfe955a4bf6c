"""Uses from mentions: shared names, heads, and names that are merged by their embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossaisle.retrieval.uses.grouping import MERGE_COSINE, group_uses
from crossaisle.retrieval.uses.mentions import ItemMention
from crossaisle.retrieval.uses.phrases import mentions


def mined(**sentences: str) -> list[ItemMention]:
    return [ItemMention(item, "description", mention) for item, sentence in sentences.items() for mention in mentions(sentence)]


def test_a_use_needs_two_items() -> None:
    uses = group_uses(mined(a="For camping.", b="For camping and hiking."))
    assert [(use.name, use.items) for use in uses] == [("camping", ["a", "b"])]
    assert {use.name for use in group_uses(mined(a="For camping.", b="For camping and hiking."), min_items=1)} == {"camping", "hiking"}


def test_two_sentences_of_one_item_are_one_item() -> None:
    twice = mined(a="For camping.") + mined(a="Take it camping.")
    assert group_uses(twice) == []
    (use,) = group_uses(twice + mined(b="For camping."))
    assert [mention.mention.sentence for mention in use.mentions] == ["For camping.", "Take it camping.", "For camping."]


def test_a_modified_name_is_a_use_of_its_head_too() -> None:
    uses = {use.name: use.items for use in group_uses(mined(a="For city trips.", b="For a city trip.", c="For a work trip."))}
    assert uses == {"trip": ["a", "b", "c"], "city trip": ["a", "b"]}


def test_the_most_frequent_spelling_is_the_name() -> None:
    (use,) = group_uses(mined(a="For holidays.", b="For a vacation.", c="For holidays."))
    assert use.name == "holidays"
    assert use.items == ["a", "b", "c"]


def at_angle(cosine: float) -> list[float]:
    return [cosine, float(np.sqrt(1 - cosine**2))]


def encoder(vectors: dict[str, list[float]]) -> object:
    def encode(names: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray([vectors[name] for name in names], dtype=np.float32)

    return encode


PLACES = mined(a="For the beach.", b="For the beach.", c="For the lake.", d="For the lake.", e="For the beach.")


def test_similar_names_of_one_kind_are_merged() -> None:
    near = encoder({"beach": [1.0, 0.0], "lake": at_angle(MERGE_COSINE + 0.01)})
    (use,) = group_uses(PLACES, near)  # type: ignore[arg-type]
    assert (use.name, sorted(use.items)) == ("beach", list("abcde"))


def test_names_below_the_threshold_are_not() -> None:
    far = encoder({"beach": [1.0, 0.0], "lake": at_angle(MERGE_COSINE - 0.01)})
    assert [use.name for use in group_uses(PLACES, far)] == ["beach", "lake"]  # type: ignore[arg-type]


def test_persons_and_kinds_are_never_merged() -> None:
    persons = mined(a="For my wife.", b="For my wife.", c="For my husband.", d="For my husband.")
    same = encoder({"wife": [1.0, 0.0], "husband": [1.0, 0.0]})
    assert {use.name for use in group_uses(persons, same)} == {"wife", "husband"}  # type: ignore[arg-type]
    kinds = mined(a="For the garden.", b="For the garden.", c="For weeding.", d="For weeding.")
    same = encoder({"garden": [1.0, 0.0], "weeding": [1.0, 0.0]})
    assert {use.name for use in group_uses(kinds, same)} == {"garden", "weeding"}  # type: ignore[arg-type]
