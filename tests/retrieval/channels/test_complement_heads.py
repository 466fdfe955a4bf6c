"""The complement heads in a world where texts determine which items follow which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crossaisle.data.errors import StaleIndexError, TrainingError
from crossaisle.retrieval.channels import complement_heads
from crossaisle.retrieval.channels.base import CandidateQuery, ServedItems
from crossaisle.retrieval.channels.complement_heads import ComplementConfig, ComplementExamples, ComplementHeads
from crossaisle.retrieval.items.ragged import RaggedArray

KINDS, MEMBERS, DIMENSIONS = 8, 6, 24


def world(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vectors and categories: kind k of category 0 is unlike kind k of category 1 in text, yet is followed by it."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(2 * KINDS, DIMENSIONS))
    vectors = np.repeat(centres, MEMBERS, axis=0) + 0.2 * rng.normal(size=(2 * KINDS * MEMBERS, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.repeat([0, 1], KINDS * MEMBERS).astype(np.int32)


def examples(count: int, history_members: range, target_members: range, seed: int = 1) -> ComplementExamples:
    """Users with two items of a kind whose target is of the same kind in the other category."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, KINDS, count)
    histories = [[int(kind * MEMBERS + member) for member in rng.choice(list(history_members), 2, replace=False)] for kind in kinds]
    targets = (KINDS + kinds) * MEMBERS + rng.choice(list(target_members), count)
    return ComplementExamples(RaggedArray.of(histories), targets.astype(np.int32))


@pytest.fixture(scope="module")
def weights() -> dict[str, NDArray[np.float32]]:
    vectors, category = world()
    weights, metrics = complement_heads.train_heads(examples(600, range(4), range(4)), vectors, category, ComplementConfig(epochs=6))
    assert metrics["held_back_loss"][-1] < metrics["held_back_loss"][0]
    return weights


def query(*rows: int) -> CandidateQuery:
    return CandidateQuery(np.asarray(rows, np.int64), np.ones(len(rows)), np.empty((0, 0), np.float32))


def served(vectors: NDArray[np.float32]) -> ServedItems:
    return ServedItems([f"i{row}" for row in range(len(vectors))], vectors, "s", len(vectors))


def test_items_without_users_are_ranked_by_their_text(weights: dict[str, NDArray[np.float32]]) -> None:
    vectors, _ = world()
    channel = ComplementHeads(weights, vectors)
    correct = 0
    for kind in range(KINDS):
        scores, _ = channel.scores(query(kind * MEMBERS + 4, kind * MEMBERS + 5))  # histories of items without a training user
        best = np.argsort(-scores[KINDS * MEMBERS :])[:MEMBERS] + KINDS * MEMBERS
        correct += int((best // MEMBERS == KINDS + kind).sum())
    assert correct >= 0.75 * KINDS * MEMBERS  # an eighth of it by chance
    # Text similarity to the history does not separate the kinds.
    cosines = vectors[: KINDS * MEMBERS] @ vectors[KINDS * MEMBERS :].T
    assert (cosines.argmax(axis=1) // MEMBERS == np.arange(KINDS * MEMBERS) // MEMBERS).mean() < 0.5


def test_the_anchor_is_the_history_item_that_contributes_most(weights: dict[str, NDArray[np.float32]]) -> None:
    vectors, _ = world()
    channel = ComplementHeads(weights, vectors)
    _, anchors = channel.scores(query(0, 5 * MEMBERS))
    assert anchors[KINDS * MEMBERS + 1] == 0
    assert anchors[(KINDS + 5) * MEMBERS + 1] == 1


def test_numpy_heads_equal_the_torch_modules(weights: dict[str, NDArray[np.float32]]) -> None:
    import torch

    vectors, _ = world()
    modules = complement_heads._modules(DIMENSIONS, ComplementConfig())
    modules.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    modules.eval()
    channel = ComplementHeads(weights, vectors)
    with torch.no_grad():
        assert channel.history_vectors == pytest.approx(modules["had"](torch.from_numpy(vectors)).numpy(), abs=1e-5)
        assert channel.target_vectors == pytest.approx(modules["wanted"](torch.from_numpy(vectors)).numpy(), abs=1e-5)


def test_training_is_deterministic() -> None:
    vectors, category = world()
    first, second = (
        complement_heads.train_heads(examples(80, range(4), range(4)), vectors, category, ComplementConfig(epochs=1))[0] for _ in range(2)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_an_empty_history_scores_zero(weights: dict[str, NDArray[np.float32]]) -> None:
    vectors, _ = world()
    scores, anchors = ComplementHeads(weights, vectors).scores(query())
    assert not scores.any()
    assert (anchors == -1).all()


def test_saved_heads_are_loaded_or_rejected_with_a_remedy(weights: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    vectors, _ = world()
    folder = tmp_path / "complements"
    ComplementHeads(weights, vectors, {"snapshot": "s"}).save(folder)
    ComplementHeads(weights, vectors, {"snapshot": "t"}).save(folder)
    loaded = ComplementHeads.load(folder, served(vectors))
    assert all(np.array_equal(loaded.weights[name], weights[name]) for name in weights)
    assert len(loaded) == len(vectors)
    assert [file.name for file in tmp_path.iterdir()] == ["complements"]
    with pytest.raises(StaleIndexError, match="text vectors of 24 dimensions, the index has 384; run `crossaisle train"):
        ComplementHeads.load(folder, served(np.zeros((3, 384), np.float32)))
    (folder / "heads.safetensors").write_bytes(b"nothing")
    with pytest.raises(StaleIndexError, match="cannot be read"):
        ComplementHeads.load(folder, served(vectors))


def test_too_few_examples_raise() -> None:
    vectors, category = world()
    with pytest.raises(TrainingError, match="only 10 purchases follow an earlier one, complement heads need at least 50"):
        complement_heads.train_heads(examples(10, range(4), range(4)), vectors, category, ComplementConfig())


def test_a_diverging_loss_raises() -> None:
    vectors, category = world()
    with pytest.raises(TrainingError, match="became NaN; use a lower learning rate"):
        complement_heads.train_heads(
            examples(200, range(4), range(4)), vectors * np.float32(1e30), category, ComplementConfig(rate=1e20, epochs=3)
        )


def test_pairs_of_a_teacher_are_examples_with_a_history_of_one_item() -> None:
    own = examples(60, range(4), range(4))
    pairs = np.asarray([[4, 52], [5, 53]], dtype=np.int32)
    joined = own.with_pairs(pairs)
    assert joined.targets.tolist() == [*own.targets.tolist(), 52, 53]
    assert [joined.histories[n].tolist() for n in (0, 59, 60, 61)] == [own.histories[0].tolist(), own.histories[59].tolist(), [4], [5]]
    nothing = ComplementExamples(RaggedArray.of([]), np.empty(0, np.int32)).with_pairs(pairs)
    assert [nothing.histories[n].tolist() for n in range(2)] == [[4], [5]]
    assert own.with_pairs(pairs[:0]).targets.tolist() == own.targets.tolist()
