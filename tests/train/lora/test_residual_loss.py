"""The loss where candidates have a score of the other channels: the model learns what that score misses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from crossaisle.data.records import Item
from crossaisle.data.settings import Settings
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.train.lora.listwise_loss import MARGIN_SCALE, RAMP_SHARE, ListwiseExample, ListwiseRankingTask, summed_ndcg

HISTORY = [Item("h", "a tent", ("Gear",))]
CANDIDATES = [Item(f"c{n}", title, ("Extras",)) for n, title in enumerate(("a stove", "a phone case", "a guitar strap", "fish food"))]
SCORES = [0.3, 1.2, -0.4, 0.1]


@pytest.fixture(scope="module")
def task(small: Settings) -> ListwiseRankingTask:
    return ListwiseRankingTask.for_model(LanguageModel.load(small), 512)


def example(scores: list[float] | None, target: int = 0) -> ListwiseExample:
    return ListwiseExample(HISTORY, CANDIDATES, target, scores=scores)


def margins(task: ListwiseRankingTask) -> np.ndarray:
    return task.ranker.scores(HISTORY, None, CANDIDATES).astype(np.float64)


def cross_entropy(logits: np.ndarray, target: int) -> float:
    return float(np.log(np.exp(logits).sum()) - logits[target])


def test_training_starts_with_the_scores_alone(task: ListwiseRankingTask) -> None:
    task.advance(0)
    for target in range(4):
        one = example(SCORES, target)
        assert float(task.loss(one).detach()) == pytest.approx(cross_entropy(np.asarray(SCORES), target), abs=1e-5)
        rank = sorted(SCORES, reverse=True).index(SCORES[target]) + 1
        assert task.evaluate([one]) == pytest.approx(1 / math.log2(1 + rank))


@pytest.mark.parametrize(
    ("share", "scale"), [(0.0, 0.0), (RAMP_SHARE / 2, MARGIN_SCALE / 2), (RAMP_SHARE, MARGIN_SCALE), (1.0, MARGIN_SCALE)]
)
def test_the_scale_of_the_margins_rises(task: ListwiseRankingTask, share: float, scale: float) -> None:
    task.advance(share)
    combined = np.asarray(SCORES) + scale * margins(task)
    assert float(task.loss(example(SCORES)).detach()) == pytest.approx(cross_entropy(combined, 0), abs=1e-3)
    expected = 1 / math.log2(1 + int((combined >= combined[0]).sum()))
    assert task.evaluate([example(SCORES)]) == pytest.approx(expected)


def test_examples_without_scores_count_the_margins_alone(task: ListwiseRankingTask) -> None:
    """Whatever the share of the training."""
    for share in (0.0, 0.5):
        task.advance(share)
        assert float(task.loss(example(None)).detach()) == pytest.approx(cross_entropy(margins(task), 0), abs=1e-3)
        assert task.evaluate([example(None)]) == summed_ndcg(task.ranker, [example(None)])


def test_what_the_scores_know_is_not_learned(task: ListwiseRankingTask) -> None:
    """The gradient vanishes where the scores are right and sure, and is largest where they are sure and wrong."""
    task.advance(1)
    for parameter in task.ranker.llm.model.parameters():
        parameter.requires_grad_(parameter.dim() > 1)

    def norm(scores: list[float]) -> float:
        for parameter in task.ranker.llm.model.parameters():
            parameter.grad = None
        task.accumulate_gradients([example(scores)], 1.0)
        return float(
            torch.sqrt(sum(parameter.grad.square().sum() for parameter in task.ranker.llm.model.parameters() if parameter.grad is not None))
        )

    right, unsure, wrong = norm([20.0, 0, 0, 0]), norm([0.0, 0, 0, 0]), norm([-20.0, 0, 0, 0])
    assert right < 1e-6 < unsure < wrong


def test_a_text_is_part_of_the_example(task: ListwiseRankingTask) -> None:
    one = ListwiseExample([], CANDIDATES, 0, need="I have a tent")
    expected = Ranker(task.ranker.llm, version=task.ranker.prompt.version).scores([], "I have a tent", CANDIDATES)
    assert float(task.loss(one).detach()) == pytest.approx(cross_entropy(expected.astype(np.float64), 0), abs=1e-3)
    assert task.as_json(one) != task.as_json(ListwiseExample([], CANDIDATES, 0, need="I have a boat"))


def test_every_candidate_has_a_score() -> None:
    with pytest.raises(ValueError, match="3 scores for 4 candidates"):
        example([1.0, 2.0, 3.0])


def test_the_loss_of_target_shares_by_hand(task: ListwiseRankingTask) -> None:
    shares = [0.75, 0.0, 0.25, 0.0]
    task.advance(1)
    for scores in (None, SCORES):
        logits = margins(task) if scores is None else np.asarray(scores) + MARGIN_SCALE * margins(task)
        expected = float(np.log(np.exp(logits).sum()) - np.dot(shares, logits))
        soft = ListwiseExample(HISTORY, CANDIDATES, 0, scores=scores, target_shares=shares)
        assert float(task.loss(soft).detach()) == pytest.approx(expected, abs=1e-3)
        hard = ListwiseExample(HISTORY, CANDIDATES, 2, scores=scores, target_shares=[0, 0, 1, 0])
        assert float(task.loss(hard).detach()) == pytest.approx(float(task.loss(example(scores, 2)).detach()), abs=1e-5)
        assert task.evaluate([soft]) == task.evaluate([example(scores, 0)]), "the metric is that of the target"


def test_target_shares_are_a_distribution_and_part_of_the_digest(task: ListwiseRankingTask) -> None:
    for wrong in ([0.5, 0.5], [0.5, 0.5, 0.5, -0.5], [0.5, 0.2, 0.2, 0.2], [math.nan, 0, 0, 1], [0, 0, 0, 0]):
        with pytest.raises(ValueError, match="target shares"):
            ListwiseExample(HISTORY, CANDIDATES, 0, target_shares=wrong)
    plain, soft = example(None), ListwiseExample(HISTORY, CANDIDATES, 0, target_shares=[0.5, 0.5, 0, 0])
    assert task.as_json(soft)[:-1] == task.as_json(plain), "digests of examples without shares are those of former versions"
    assert task.as_json(soft)[-1] == [0.5, 0.5, 0, 0]
