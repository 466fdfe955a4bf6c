"""Several examples in one training forward: the gradients of one by one, also when memory runs out."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from crossaisle.data.records import Item
from crossaisle.data.settings import Settings
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.ranking.packed_scorer import PackedScorer
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.train.lora.listwise_loss import ListwiseExample, ListwiseRankingTask

LIMIT = 1600


def shopper(number: int) -> ListwiseExample:
    """Histories, numbers of candidates, weights and scores all differ, so that every example differs in length and loss."""
    rng = random.Random(number)
    words = "tent stove lamp phone case guitar strap rosin helmet aquarium".split()

    def item(n: int) -> Item:
        return Item(f"u{number}-{n}", " ".join(rng.choices(words, k=rng.randint(1, 9))), ("Gear",))

    candidates = [item(n) for n in range(rng.randint(2, 6))]
    scores = [rng.gauss(0, 1) for _ in candidates] if number % 2 else None
    history = [item(100 + n) for n in range(rng.randint(0, 5))]
    return ListwiseExample(history, candidates, rng.randrange(len(candidates)), weight=rng.uniform(0.5, 3), scores=scores)


SHOPPERS = [shopper(number) for number in range(7)]


@pytest.fixture(scope="module")
def ranker(small: Settings) -> Ranker:
    llm = LanguageModel.load(small)
    for parameter in llm.model.parameters():
        parameter.requires_grad_(parameter.dim() > 1)
    return Ranker(llm)


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(rows, padded tokens) of every forward."""
    made: list[tuple[int, int]] = []
    original = PackedScorer.hidden_states_batch

    def recorded(self: PackedScorer, packs: list[Any]) -> Any:
        made.append((len(packs), len(packs) * max(pack.tokens for pack in packs)))
        return original(self, packs)

    monkeypatch.setattr(PackedScorer, "hidden_states_batch", recorded)
    return made


def gradients(task: ListwiseRankingTask, examples: list[ListwiseExample] = SHOPPERS) -> tuple[float, torch.Tensor]:
    """The loss and all gradients in a row, for the margins at half of the training."""
    parameters = [parameter for parameter in task.ranker.llm.model.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.grad = None
    task.advance(0.5)
    loss = task.accumulate_gradients(examples, sum(example.weight for example in examples))
    return loss, torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])


def test_gradients_equal_those_of_one_by_one(ranker: Ranker, forwards: list[tuple[int, int]]) -> None:
    alone_loss, alone = gradients(ListwiseRankingTask(ranker, LIMIT, batched=False))
    assert [rows for rows, _ in forwards] == [1] * len(SHOPPERS)
    forwards.clear()
    loss, together = gradients(ListwiseRankingTask(ranker, LIMIT, batched=True))
    assert sum(rows for rows, _ in forwards) == len(SHOPPERS)
    assert len(forwards) < len(SHOPPERS) / 2
    assert all(tokens <= LIMIT for _, tokens in forwards)
    assert loss == pytest.approx(alone_loss, abs=1e-5)
    assert torch.allclose(together, alone, atol=1e-5, rtol=0)
    assert alone.abs().max() > 0.1, "small gradients would prove nothing"


def test_similar_lengths_share_a_forward(ranker: Ranker) -> None:
    task = ListwiseRankingTask(ranker, LIMIT, batched=True)
    lengths = sorted(task._encode(example).pack.tokens for example in SHOPPERS)
    assert lengths[0] < 0.7 * lengths[-1]
    waiting = sorted((task._encode(example) for example in SHOPPERS), key=lambda entry: entry.pack.tokens)
    while waiting:
        group = task._next_group(waiting)
        assert [entry.pack.tokens for entry in group] == lengths[: len(group)]
        rest = lengths[len(group) :]
        assert len(group) * group[-1].pack.tokens <= LIMIT
        assert not rest or (len(group) + 1) * rest[0] > LIMIT, "the next one would fit, too"
        waiting, lengths = waiting[len(group) :], rest


@pytest.mark.parametrize("room", [0.3, 0.6, 1.1, 2.5])
def test_memory_that_runs_out_in_the_forward_or_backward_changes_nothing(
    ranker: Ranker, monkeypatch: pytest.MonkeyPatch, room: float
) -> None:
    """Room for so many times the longest example: no gradient is added twice or lost."""
    expected_loss, expected = gradients(ListwiseRankingTask(ranker, LIMIT, batched=False))
    task = ListwiseRankingTask(ranker, LIMIT, batched=True)
    encoded = [task._encode(example) for example in SHOPPERS]
    available = max(int(room * max(each.pack.tokens for each in encoded)), max(each.minimum for each in encoded))
    original, backward, failures, sizes = PackedScorer.hidden_states_batch, torch.autograd.grad, 0, [0]

    def forward(self: PackedScorer, packs: list[Any]) -> Any:
        nonlocal failures
        sizes[0] = len(packs) * max(pack.tokens for pack in packs)
        if sizes[0] > available and failures % 2:  # every other failure is that of a backward pass
            failures += 1
            raise torch.OutOfMemoryError("no")
        return original(self, packs)

    def grad(*arguments: Any, **options: Any) -> Any:
        nonlocal failures
        if sizes[0] > available:
            failures += 1
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: no")
        return backward(*arguments, **options)

    monkeypatch.setattr(PackedScorer, "hidden_states_batch", forward)
    monkeypatch.setattr(torch.autograd, "grad", grad)
    loss, total = gradients(task)
    assert failures > 0
    assert task.max_forward_tokens < LIMIT
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    assert torch.allclose(total, expected, atol=1e-5, rtol=0)


def test_a_cpu_takes_one_example_at_a_time(ranker: Ranker, forwards: list[tuple[int, int]]) -> None:
    gradients(ListwiseRankingTask(ranker, LIMIT))
    assert [rows for rows, _ in forwards] == [1] * len(SHOPPERS)
