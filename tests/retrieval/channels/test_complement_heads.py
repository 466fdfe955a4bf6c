"""The text heads in a world where words tell what goes with what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crossaisle.data.errors import StaleIndexError, TrainingError
from crossaisle.retrieval.channels import complement_heads
from crossaisle.retrieval.channels.base import CandidateQuery
from crossaisle.retrieval.channels.complement_heads import ComplementConfig, ComplementHeads
from crossaisle.retrieval.items.ragged import Runs

KINDS, EACH, DIMENSIONS = 8, 6, 24


def world(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vectors and categories: kind k of category 0 (what is had) reads unlike kind k of category 1, yet goes with it."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(2 * KINDS, DIMENSIONS))
    vectors = np.repeat(centres, EACH, axis=0) + 0.2 * draw.normal(size=(2 * KINDS * EACH, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.repeat([0, 1], KINDS * EACH).astype(np.int32)


def shoppers(count: int, had: range, wanted: range, seed: int = 1) -> tuple[Runs, NDArray[np.int32]]:
    """Who had two items of a kind went to one of the same kind in the other category; `had` and `wanted` are the members that take part."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(0, KINDS, count)
    histories = [[int(kind * EACH + place) for place in draw.choice(list(had), 2, replace=False)] for kind in kinds]
    targets = (KINDS + kinds) * EACH + draw.choice(list(wanted), count)
    return Runs.of(histories), targets.astype(np.int32)


@pytest.fixture(scope="module")
def weights() -> dict[str, NDArray[np.float32]]:
    vectors, category = world()
    histories, targets = shoppers(600, range(4), range(4))
    found, figures = complement_heads.train_heads(histories, targets, vectors, category, ComplementConfig(epochs=6))
    assert figures["held_back_loss"][-1] < figures["held_back_loss"][0]
    return found


def seeds(*rows: int) -> CandidateQuery:
    return CandidateQuery(np.asarray(rows, np.int64), np.ones(len(rows)), np.empty((0, 0), np.float32))


def test_items_that_nobody_had_are_found_by_their_words(weights: dict[str, NDArray[np.float32]]) -> None:
    vectors, _ = world()
    channel = ComplementHeads.from_weights(weights, vectors)
    right = 0
    for kind in range(KINDS):
        scores, _ = channel.scores(seeds(kind * EACH + 4, kind * EACH + 5))  # histories of items that no training shopper had
        best = np.argsort(-scores[KINDS * EACH :])[:EACH] + KINDS * EACH
        right += int((best // EACH == KINDS + kind).sum())
    assert right >= 0.75 * KINDS * EACH  # an eighth of it by chance
    # Their own likeness to the history does not tell them apart.
    alike = vectors[: KINDS * EACH] @ vectors[KINDS * EACH :].T
    assert (alike.argmax(axis=1) // EACH == np.arange(KINDS * EACH) // EACH).mean() < 0.5


def test_the_place_is_that_of_the_history_item_that_matters(weights: dict[str, NDArray[np.float32]]) -> None:
    vectors, _ = world()
    channel = ComplementHeads.from_weights(weights, vectors)
    _, places = channel.scores(seeds(0, 5 * EACH))
    assert places[KINDS * EACH + 1] == 0
    assert places[(KINDS + 5) * EACH + 1] == 1


def test_scores_are_those_of_the_trained_network(weights: dict[str, NDArray[np.float32]]) -> None:
    """The heads in numpy against the same layers in torch."""
    import torch

    vectors, _ = world()
    layers = complement_heads._modules(DIMENSIONS, ComplementConfig())
    layers.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    layers.eval()
    channel = ComplementHeads.from_weights(weights, vectors)
    with torch.no_grad():
        assert channel.history_vectors == pytest.approx(layers["had"](torch.from_numpy(vectors)).numpy(), abs=1e-5)
        assert channel.target_vectors == pytest.approx(layers["wanted"](torch.from_numpy(vectors)).numpy(), abs=1e-5)


def test_one_seed_is_one_result() -> None:
    vectors, category = world()
    histories, targets = shoppers(80, range(4), range(4))
    first, second = (complement_heads.train_heads(histories, targets, vectors, category, ComplementConfig(epochs=1))[0] for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_nobody_has_no_complements(weights: dict[str, NDArray[np.float32]]) -> None:
    vectors, _ = world()
    scores, places = ComplementHeads.from_weights(weights, vectors).scores(seeds())
    assert not scores.any()
    assert (places == -1).all()


def test_it_is_kept_and_comes_back(weights: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    assert complement_heads.load_heads(tmp_path, DIMENSIONS) is None
    complement_heads.save_heads(tmp_path, weights, {"snapshot": "s"})
    complement_heads.save_heads(tmp_path, weights, {"snapshot": "t"})
    back = complement_heads.load_heads(tmp_path, DIMENSIONS)
    assert back is not None
    assert all(np.array_equal(back[name], weights[name]) for name in weights)
    assert [file.name for file in tmp_path.iterdir()] == ["complements"]
    with pytest.raises(StaleIndexError, match="text vectors of 24 dimensions, the index has 384"):
        complement_heads.load_heads(tmp_path, 384)
    (tmp_path / "complements" / "heads.safetensors").write_bytes(b"nothing")
    with pytest.raises(StaleIndexError, match="cannot be read"):
        complement_heads.load_heads(tmp_path, DIMENSIONS)


def test_too_few_shoppers_are_one_sentence() -> None:
    vectors, category = world()
    with pytest.raises(TrainingError, match="10 histories go on to another category, at least 50"):
        complement_heads.train_heads(*shoppers(10, range(4), range(4)), vectors, category)


def test_a_loss_that_comes_apart_stops() -> None:
    vectors, category = world()
    with pytest.raises(TrainingError, match="no number any more; lower"):
        complement_heads.train_heads(
            *shoppers(200, range(4), range(4)), vectors * np.float32(1e30), category, ComplementConfig(rate=1e20, epochs=3)
        )
