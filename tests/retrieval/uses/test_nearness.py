"""Items near a use, with vectors of two or three dimensions whose cosines are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from crossaisle.retrieval.uses.nearness import MIN_COSINE, MIN_DEVIATIONS, NearItem, closest_sentences, is_named_for, near_items

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def encoder(vectors: Mapping[str, Sequence[float]]) -> Encode:
    """Return a function that looks texts up."""
    return lambda texts: np.asarray([vectors[text] for text in texts], dtype=np.float32)


def at_cosines(cosines: Sequence[float]) -> NDArray[np.float32]:
    """(items, 2) unit vectors with these cosines to (1, 0)."""
    return np.asarray([(cosine, np.sqrt(1 - cosine**2)) for cosine in cosines], dtype=np.float32)


CAMPING = encoder({"for camping": (1, 0)})


@pytest.mark.parametrize(
    ("title", "phrase", "is_thing"),
    [
        ("Norrvik Dome Tent", "the tent", True),
        ("Norrvik Dome Tent 2 m", "the tent", True),
        ("DOME TENT", "the tent", True),
        ("Norrvik Tent Pegs", "the tent", False),
        ("Brindvolt Desk Charger", "the desk", False),
        ("Plank Oak Desk", "the desk", True),
        ("Two Oak Desks", "the desk", True),
        ("Oak Desk", "desks", True),
        ("Tent and Groundsheet", "the tent", True),
        ("Backpack with Rain Cover", "a backpack", True),
        ("Backpack Rain Cover", "a backpack", False),
        ("Roof", "the roof garden", False),
        ("Sleeping Mat", "camping", False),
        ("", "camping", False),
    ],
)
def test_an_item_that_is_the_thing_itself(title: str, phrase: str, is_thing: bool) -> None:
    assert is_named_for(title, phrase) == is_thing


def test_a_near_item_has_a_high_cosine() -> None:
    # Mean 0.01, standard deviation 0.07: the cosine of 0.32 is more than four deviations above the mean.
    vectors = at_cosines([0.0] * 98 + [0.6, 0.32])
    assert near_items(["camping"], ["Mat"] * 100, vectors, CAMPING) == [NearItem(0, 98)]
    assert MIN_COSINE > 0.32


def test_a_near_item_is_closer_than_most_items() -> None:
    # Mean 0.41, standard deviation 0.11: the threshold is 0.69.
    vectors = at_cosines([0.3] * 50 + [0.5] * 50 + [0.6, 0.9])
    assert near_items(["camping"], ["Mat"] * 102, vectors, CAMPING) == [NearItem(0, 101)]


def test_an_item_is_not_near_its_own_name() -> None:
    vectors = at_cosines([0.0] * 98 + [0.6, 0.6])
    titles = ["Mat"] * 98 + ["Dome Tent", "Tent Pegs"]
    assert near_items(["the tent"], titles, vectors, encoder({"for the tent": (1, 0)})) == [NearItem(0, 99)]


def test_near_items_are_ordered_by_use_and_row() -> None:
    vectors = np.zeros((90, 3), dtype=np.float32)
    vectors[:, 2] = 1
    vectors[[5, 80]] = (1, 0, 0)
    vectors[3] = (0, 1, 0)
    encode = encoder({"for camping": (1, 0, 0), "for a puppy": (0, 1, 0)})
    expected = [NearItem(0, 5), NearItem(0, 80), NearItem(1, 3)]
    assert near_items(["camping", "a puppy"], ["Mat"] * 90, vectors, encode) == expected


def test_nothing_is_near_nothing() -> None:
    assert near_items([], ["Mat"], at_cosines([1.0]), CAMPING) == []
    assert near_items(["camping"], [], np.zeros((0, 0), np.float32), CAMPING) == []


@pytest.mark.parametrize("count", [4096, 4097, 9000])
def test_blocks_change_nothing(count: int) -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    uses = vectors[[0, 4095, count - 1]]  # the first and the last item, and the last one of the first block, are near to one each
    phrases = ["camping", "a puppy", "baking"]
    found = near_items(phrases, ["Mat"] * count, vectors, encoder(dict(zip((f"for {phrase}" for phrase in phrases), uses, strict=True))))
    cosines = vectors.astype(np.float64) @ uses.T.astype(np.float64)
    least = np.maximum(cosines.mean(axis=0) + MIN_DEVIATIONS * cosines.std(axis=0), MIN_COSINE)
    assert found == [NearItem(use, int(row)) for use in range(3) for row in np.flatnonzero(cosines[:, use] >= least[use])]
    assert {NearItem(0, 0), NearItem(1, 4095), NearItem(2, count - 1)} <= set(found)


def test_the_closest_sentence() -> None:
    encode = encoder(
        {"for camping": (1, 0), "for baking": (0, 1), "Rolls up small.": (0.8, 0.6), "Made of steel.": (0.6, 0.8), "Red.": (0, -1)}
    )
    own = ["Made of steel.", "Rolls up small.", "Red."]
    assert closest_sentences([own, own, []], ["camping", "baking", "camping"], encode) == ["Rolls up small.", "Made of steel.", None]


def test_no_sentence_without_pairs() -> None:
    assert closest_sentences([], [], CAMPING) == []
