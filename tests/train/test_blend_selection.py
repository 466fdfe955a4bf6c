"""Choice of a blend's settings, on queries of two kinds that different channels answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from crossaisle.train import blend_selection, ranking_dataset
from crossaisle.train.blend import fit_blend
from crossaisle.train.blend_selection import BlendSettings, select_settings
from crossaisle.train.ranking_dataset import RankingDataset, ndcg

from .test_blend import ranking_queries

CANDIDATES = 20
NAMES = [f"{channel}:level in {length} histories" for channel in ("first", "second") for length in ("long", "short")] + ["profile:b"]
UTILITIES: Mapping[str, tuple[float, float]] = {"plenty": (3.0, 0.0), "scarce": (0.0, 1.0), "cold": (0.0, 0.0)}
"""Kind of question to the weights of the channels `first` and `second` in what is purchased."""


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blend_selection, "TREE_COUNTS", (20,))


def questions(counts: Mapping[str, int], seed: int = 0) -> RankingDataset:
    """Queries of several kinds; purchases are sampled by a softmax of the kind's own channel, the other channel is noise there."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(len(counts)), list(counts.values())).astype(np.int8)
    levels = rng.random((len(kind), CANDIDATES, 2))
    short = rng.random((len(kind), 1, 1))  # the part that counts as a short history
    utilities = np.asarray([UTILITIES[name] for name in counts])[kind]  # (queries, channels)
    utility = np.einsum("qcn,qn->qc", 3 * levels, utilities)
    chosen = (utility + rng.gumbel(size=utility.shape)).argmax(axis=1)
    purchased = np.zeros((len(kind), CANDIDATES), dtype=bool)
    purchased[np.arange(len(kind)), chosen] = True
    parts = np.stack([levels * (1 - short), levels * short], axis=3).reshape(len(kind), CANDIDATES, 4)
    features = np.concatenate([parts, rng.random((len(kind), CANDIDATES, 1))], axis=2).reshape(-1, 5).astype(np.float32)
    starts = np.arange(len(kind) + 1) * CANDIDATES
    return RankingDataset(NAMES, features, purchased.reshape(-1), starts, rng.permutation(len(kind)), kind, tuple(counts))


def relative(settings: BlendSettings) -> dict[str, float]:
    """Kind to the NDCG@10 of the blend relative to that of its best channel."""
    return {kind: figures["blend_ndcg@10"] / figures["best_channel_ndcg@10"] for kind, figures in settings.metrics["kinds"].items()}


def test_a_kind_that_lags_behind_gets_more_weight_and_is_ranked_better(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = questions({"plenty": 400, "scarce": 400})
    chosen = select_settings(dataset, 0)
    monkeypatch.setattr(blend_selection, "WEIGHT_ROUNDS", 1)
    equal = select_settings(dataset, 0)
    assert dict(equal.kind_weights) == {"plenty": 1.0, "scarce": 1.0}
    assert relative(equal)["scarce"] < relative(equal)["plenty"]
    assert chosen.kind_weights["scarce"] > 1.1 > 0.9 > chosen.kind_weights["plenty"]
    assert relative(chosen)["scarce"] > relative(equal)["scarce"] + 0.02
    assert min(relative(chosen).values()) > min(relative(equal).values())
    assert chosen.metrics["kind_weights"] == pytest.approx(dict(chosen.kind_weights), abs=1e-4)


def test_cold_questions_take_no_part_in_the_choice() -> None:
    """The order of cold questions is noise, so the blend is no better than a channel, and yet their weight stays at the mean."""
    settings = select_settings(questions({"plenty": 200, "scarce": 200, "cold": 100}), 0)
    assert settings.kind_weights["cold"] in (1, 2, 4)
    assert "cold" in settings.metrics["kinds"]


def test_a_kind_with_few_questions_hardly_decides() -> None:
    """A kind's figure is shrunk to that of all kinds: by half at `HALF_RELIABLE_QUERIES`, almost wholly with very few."""
    half = ranking_dataset.HALF_RELIABLE_QUERIES
    dataset = questions({"plenty": 3 * half, "scarce": half})
    comparison = ranking_dataset.KindComparison(dataset)
    best = {kind: value for kind, (_, value) in comparison.best.items()}
    values = np.where(dataset.kind == 0, 1.2 * best["plenty"], 0.8 * best["scarce"])
    of_all = (0.75 * 0.2 - 0.5 * 0.2) / 1.25  # reliabilities 0.75 and 0.5
    assert comparison.relative(values) == pytest.approx(
        {"plenty": of_all + 0.75 * (0.2 - of_all), "scarce": of_all + 0.5 * (-0.2 - of_all)}
    )
    few = questions({"plenty": 3 * half, "scarce": 2})
    comparison = ranking_dataset.KindComparison(few)
    best = {kind: value for kind, (_, value) in comparison.best.items()}
    relative = comparison.relative(np.where(few.kind == 0, 1.2 * best["plenty"], 0.0))
    assert 0.17 < relative["scarce"] < relative["plenty"] < 0.2
    assert comparison.worst(np.where(few.kind == 0, 1.2 * best["plenty"], 0.0)) == relative["scarce"]


def test_each_kind_has_its_figures() -> None:
    counts = {"plenty": 300, "scarce": 200}
    dataset = questions(counts)
    settings = select_settings(dataset, 0)
    assert settings.metrics["answered"] == 500
    levels = {"first": dataset.features[:, :2].sum(axis=1), "second": dataset.features[:, 2:4].sum(axis=1)}
    for code, (kind, channel) in enumerate((("plenty", "first"), ("scarce", "second"))):
        figures = settings.metrics["kinds"][kind]
        assert figures["queries"] == counts[kind]
        assert figures["best_channel"] == channel
        expected = ndcg(dataset, levels[channel].astype(float))[dataset.kind == code].mean()
        assert figures["best_channel_ndcg@10"] == pytest.approx(expected, abs=1e-3)
        assert figures["specialist_ndcg@10"] == pytest.approx(expected, abs=0.05)  # alone it learns to use that channel only
        assert figures["blend_ndcg@10"] <= figures["specialist_ndcg@10"] + 0.02
    mean = sum(counts[kind] * settings.metrics["kinds"][kind]["blend_ndcg@10"] for kind in counts) / 500
    assert settings.metrics["trees_ndcg@10" if settings.trees else "weighted_sum_ndcg@10"] == pytest.approx(mean, abs=2e-5)


def test_one_kind_has_no_specialist_and_a_kind_without_queries_no_figures() -> None:
    dataset = questions({"plenty": 200, "scarce": 0})
    kinds = select_settings(dataset, 0).metrics["kinds"]
    assert set(kinds) == {"plenty"}
    assert kinds["plenty"]["specialist_ndcg@10"] is None
    unnamed = select_settings(ranking_queries(150), 0).metrics["kinds"]["all"]  # no channel with levels to compare with
    assert "best_channel" not in unnamed


def test_the_final_blend_has_no_negative_weight_of_a_channel_and_the_chosen_weights() -> None:
    model = fit_blend(questions({"plenty": 200, "scarce": 200}))
    assert (model.weights[:4] >= 0).all()
    assert model.weights[:4].max() > 0
    assert model.metrics["questions"] == 400
    assert model.metrics["kind_weights"]["scarce"] > 1


def test_trees_are_rejected_if_one_kind_is_ranked_worse() -> None:
    dataset = replace(questions({"plenty": 80, "scarce": 20}), user=np.arange(100))
    gain = np.where(np.arange(100) < 80, 0.1, 0.0)
    better = ranking_dataset.better_on_every_kind
    assert better(dataset, gain)
    assert not better(dataset, np.where(np.arange(100) < 80, 0.1, -0.001))
    assert not better(dataset, np.zeros(100))
    few = np.select([np.arange(100) == 0, np.arange(100) == 1], [0.1, -0.05], 0.0)  # mean 0.0005, standard error 0.0011
    assert not better(dataset, few)
    one_user = replace(dataset, user=np.zeros(100, np.int64))
    assert better(one_user, gain)  # the sum of the differences of a single cluster is zero


def test_without_evidence_a_blend_ranks_like_its_best_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """One channel decides the purchases; the penalty that is best by far is the one at which the blend is that channel alone."""
    monkeypatch.setattr(blend_selection, "PENALTIES", {blend_selection.TO_CHANNEL: (1e4,)})
    dataset = questions({"plenty": 300})
    model = fit_blend(dataset)
    assert model.metrics["shrunk_to"] == "best channel"
    assert model.metrics["channels"] == ["first", "second"]
    channel = ndcg(dataset, dataset.features[:, :2].sum(axis=1).astype(float))
    assert ndcg(dataset, model.scores(dataset.features)).mean() == pytest.approx(channel.mean(), abs=0.01)
    assert model.weights[2:] == pytest.approx(np.zeros(3), abs=0.01)


def test_an_ablation_without_the_best_channel_is_shrunk_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blend_selection, "PENALTIES", {blend_selection.TO_CHANNEL: (1e4,)})
    dataset = questions({"plenty": 200, "scarce": 200})
    best = fit_blend(dataset).metrics["channels"][0]
    ablation = fit_blend(dataset.without_group(best), template=fit_blend(dataset))
    assert {name.partition(":")[0] for name, weight in ablation.unit_weights.items() if weight > 0.1} == {"first", "second"} - {best}


def test_with_few_queries_a_blend_is_the_prior_and_moves_away_from_it_with_more() -> None:
    prior = {name: 5.0 for name in NAMES if name.startswith("second")}  # the wrong channel
    shares = []
    for count in (20, 60, 90, 3000):
        model = fit_blend(questions({"plenty": count}), prior=prior)
        weights = model.unit_weights
        shares.append(sum(weights[name] for name in NAMES[:2]) / sum(weights[name] for name in NAMES[:4]))
        assert (model.metrics["shrunk_to"] == "prior") or count == 3000
        assert model.metrics["penalty"] == pytest.approx(60 / count) or count == 3000
    assert shares == sorted(shares)
    assert shares[0] < 0.2
    assert shares[-1] > 0.8


def test_a_good_prior_is_chosen_over_the_best_channel() -> None:
    dataset = questions({"plenty": 60, "scarce": 60})
    prior = {name: 3.0 * utility for name, utility in zip(NAMES, (3, 3, 1, 1), strict=False)}
    settings = select_settings(dataset, 0, prior)
    assert {entry["shrunk_to"] for entry in settings.metrics["tried"]} == {"best channel", "prior"}
    best = max(settings.metrics["tried"], key=lambda entry: entry["worst"] + entry["mean"])
    assert settings.shrunk_to == best["shrunk_to"]
    assert select_settings(dataset, 0).shrunk_to == "best channel"  # without a prior there is nothing else
