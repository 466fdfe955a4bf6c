"""Choice of the channels' configurations, on stores where the right one is known by construction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

import crossaisle
from crossaisle.data.errors import TrainingError
from crossaisle.data.splits import HeldOut, hash_uniforms
from crossaisle.data.workspace import Workspace
from crossaisle.eval.splits.cases import Cases
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.retrieval.channels.base import CandidateQuery, ChannelScores, TrainingContext
from crossaisle.retrieval.channels.behavioural import can_count
from crossaisle.retrieval.channels.channel_configs import DEFAULT_CONFIGS, ItemKNNConfig, SequentialConfig
from crossaisle.retrieval.channels.matrix_factorization import MatrixFactorization
from crossaisle.retrieval.items.ragged import RaggedArray
from crossaisle.retrieval.trainable_channels import TRAINABLE_CHANNELS
from crossaisle.train import channel_tuning
from crossaisle.train.channel_tuning import TUNED_KINDS, VALIDATION_SHARE, counted_configs, grid, tune_channels
from crossaisle.train.questions import KINDS, Questions

TENTS, BOOKS, PANS, USERS = 10, 4, 12, 300


@pytest.fixture
def view_of(make_store: Callable[..., Path], tmp_path: Path) -> Callable[..., TrainingView]:
    def build(items: dict[str, str], histories: dict[str, list[str]]) -> TrainingView:
        crossaisle.ingest(tmp_path / "shop", "files", [make_store(items, histories)])
        workspace = Workspace(tmp_path / "shop")
        vectors = np.eye(len(workspace.table("items")), dtype=np.float32)  # no two texts are alike
        return TrainingView.from_workspace(workspace, HeldOut(), None, vectors)  # type: ignore[arg-type]  # tuning searches no index

    return build


def camping_store() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Who buys a tent then buys its stove; most users also have the same few books, and every user a few of twelve pans, at random.

    The books are with every pan, so without a penalty for popular items the pans rank before the stove of the history's tent.
    """
    rng = np.random.default_rng(0)
    items = {f"tent{n}": "Camping" for n in range(TENTS)} | {f"book{n}": "Books" for n in range(BOOKS)}
    items |= {f"stove{n}": "Kitchen" for n in range(TENTS)} | {f"pan{n}": "Kitchen" for n in range(PANS)}
    histories = {}
    for user in range(USERS):
        tent = user % TENTS
        books, pans = (
            [f"{name}{n}" for n in range(count) if rng.random() < share]
            for name, count, share in (("book", BOOKS, 0.9), ("pan", PANS, 0.2))
        )
        histories[f"u{user}"] = [*books, f"tent{tent}", f"stove{tent}", *pans]
    return items, histories


def test_the_penalty_for_popular_items_is_chosen_where_popular_items_mislead(view_of: Callable[..., TrainingView]) -> None:
    context = tune_channels(view_of(*camping_store()), TrainingContext(), [MatrixFactorization.name])
    chosen = context.configs["item_knn"]
    assert (chosen.similarity, chosen.partner_exponent) == ("cosine", 0.5)
    trials = {
        (trial["similarity"], trial["partner_exponent"], trial["shrinkage"], trial["decay"]): trial for trial in context.trials["item_knn"]
    }
    assert len(trials) == len(grid("item_knn", order="time"))
    with_penalty, without = trials["cosine", 0.5, 0.0, 1.0], trials["cosine", 0.0, 0.0, 1.0]
    assert with_penalty["by_kind"]["entry"] > without["by_kind"]["entry"] + 0.1
    assert set(with_penalty["by_kind"]) == set(TUNED_KINDS)
    assert set(context.trials) == {*DEFAULT_CONFIGS, MatrixFactorization.name}
    assert all(context.configs[name] in grid(name, order="time") for name in context.trials)
    assert counted_configs(context) == {name: context.configs[name] for name in DEFAULT_CONFIGS}


def test_a_configuration_of_the_context_is_kept(view_of: Callable[..., TrainingView]) -> None:
    own = ItemKNNConfig(similarity="bm25", k1=3.0)
    context = tune_channels(view_of(*camping_store()), TrainingContext(configs={"item_knn": own, "graph": "a graph"}), [])
    assert context.configs["item_knn"] == own
    assert context.configs["graph"] == "a graph"
    assert "item_knn" not in context.trials
    assert "random_walk" in context.trials
    assert "graph" not in counted_configs(context)


def test_without_questions_the_defaults_are_taken(view_of: Callable[..., TrainingView]) -> None:
    view = view_of({"a": "One", "b": "One"}, {f"u{n}": ["a", "b"] for n in range(30)})
    context = tune_channels(view, TrainingContext(), [MatrixFactorization.name])
    assert context.configs == DEFAULT_CONFIGS
    assert context.trials == {}


class Recorder:
    """A channel that scores nothing and keeps the users it was fitted to."""

    name: ClassVar[str] = MatrixFactorization.name
    users: ClassVar[list[set[str]]] = []

    def __init__(self, items: int) -> None:
        self.items = items

    @classmethod
    def fit(cls, view: Any, context: TrainingContext) -> Recorder:  # noqa: ARG003
        cls.users.append(set(view.events.users.to_list()))
        return cls(len(view.catalogue))

    def scores(self, query: CandidateQuery) -> ChannelScores:
        return np.zeros(self.items, np.float32), np.full(self.items, -1, dtype=np.int64)


@pytest.mark.parametrize("seed", [0, 1])
def test_channels_are_fitted_without_the_validation_users(
    view_of: Callable[..., TrainingView], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setitem(TRAINABLE_CHANNELS, Recorder.name, Recorder)
    monkeypatch.setattr(Recorder, "users", [])
    view = view_of(*camping_store())
    context = tune_channels(view, TrainingContext(seed), [Recorder.name])
    everybody = view.events.users.to_list()
    in_validation = hash_uniforms(everybody, seed + 2) < VALIDATION_SHARE
    expected = {user for user, is_validation in zip(everybody, in_validation.tolist(), strict=True) if not is_validation}
    assert 0.1 * USERS < USERS - len(expected) < 0.3 * USERS
    assert Recorder.users == [expected] * len(grid(Recorder.name, order="time"))
    assert {trial["ndcg@10"] for trial in context.trials[Recorder.name]} == {0}
    assert context.configs[Recorder.name] == grid(Recorder.name, order="time")[0]  # all are equal, so the default


def test_a_channel_with_too_little_data_is_not_tuned(view_of: Callable[..., TrainingView], monkeypatch: pytest.MonkeyPatch) -> None:
    class Unfit(Recorder):
        @classmethod
        def fit(cls, view: Any, context: TrainingContext) -> Recorder:  # noqa: ARG003
            raise TrainingError("too little data")

    monkeypatch.setitem(TRAINABLE_CHANNELS, Unfit.name, Unfit)
    context = tune_channels(view_of(*camping_store()), TrainingContext(), [Unfit.name])
    assert Unfit.name not in context.configs
    assert Unfit.name not in context.trials
    assert "item_knn" in context.trials


def test_sequential_and_decay_need_an_order() -> None:
    for name in ("item_knn", "random_walk"):
        assert {option.decay for option in grid(name, order="none")} == {1.0}
        assert {option.decay for option in grid(name, order="position")} == {1.0, 0.9}
    unordered = SimpleNamespace(order="none")
    assert not can_count(SequentialConfig(), unordered)  # type: ignore[arg-type]
    for name, config in DEFAULT_CONFIGS.items():
        assert grid(name, order="time")[0] == config  # the first of equal ones is the default


def test_the_best_configuration_is_relative_to_each_kind() -> None:
    absolute = np.asarray([[0.50, 0.10], [0.45, 0.20]])  # the sum is larger for the first; relative to the best 1 + 0.5 and 0.9 + 1
    assert channel_tuning._best(absolute) == 1
    assert channel_tuning._best(np.asarray([[0.3, np.nan], [0.3, np.nan], [0.2, np.nan]])) == 0
    assert channel_tuning._best(np.zeros((3, 2))) == 0


class Fixed(Recorder):
    """A channel with the same scores for every query."""

    def __init__(self, values: list[float]) -> None:
        self.values = np.asarray(values, np.float32)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        return self.values, np.full(len(self.values), -1, dtype=np.int64)


def test_the_ndcg_of_each_kind_equals_hand_computed_values(view_of: Callable[..., TrainingView]) -> None:
    view = view_of({"a": "One", "b": "Two", "c": "Two", "d": "Three", "e": "Three"}, {"u": ["a", "b", "c", "d", "e"]})
    row = view.catalogue.rows
    targets = [[row["c"]], [row["b"], row["d"]]]
    cases = Cases(["u", "u"], RaggedArray.of([[row["a"]]] * 2), RaggedArray.of(targets), [None] * 2)
    questions = Questions(cases, np.asarray([KINDS.index("entry"), KINDS.index("cut")], np.int8))
    scores = [0.0] * 5
    for item, score in (("a", 9), ("b", 4), ("c", 3), ("d", 2)):  # a is in the history, and e has no score
        scores[row[item]] = score
    by_kind = dict(zip(TUNED_KINDS, channel_tuning._Judge(questions, view).ndcg_by_kind(Fixed(scores)).tolist(), strict=True))  # type: ignore[arg-type]
    assert by_kind["entry"] == pytest.approx(1 / np.log2(3))  # second
    assert by_kind["cut"] == pytest.approx((1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3)))  # first and third of two
    assert np.isnan(by_kind["whole"])
