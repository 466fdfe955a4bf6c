"""Chooses the settings of a blend by cross-validation over users: penalty, weights of the kinds of questions, number of trees.

A blend is chosen by its worst kind of question: the kind where its NDCG@10 is lowest relative to the best single channel of that kind.
The kinds that lag behind get more weight, round by round, and the best round is taken. Trees are used only where they rank no kind worse
and all together better by more than one standard error. The choice, each kind's figures and what a blend fitted to that kind alone reaches
go to the blend's card.

Sources: Sagawa et al., ICLR 2020 (weights by group, for the worst group); Breiman et al., Classification and Regression Trees, 1984 (the
one-standard-error rule).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..recommend.ranking.features import LEVEL_FEATURES
from .blend_regression import fit_regression, fit_trees
from .ranking_dataset import RankingDataset, ndcg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..recommend.ranking.learned_blend import BlendModel

CV_FOLDS = 4
"""Cross-validation folds of the users."""
PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3)
"""L2 penalties tried for the regression."""
WEIGHT_ROUNDS, WEIGHT_RATE, MAX_WEIGHT_STEP = 8, 8.0, 0.5
"""Rounds of weighting the kinds; the rate: a kind that is 5 % further behind than the mean gets exp(0.4) times its weight; and the largest
change of a weight's log in a round, which is halved after each round that does not help."""
SELECTION_NEGATIVES = 80
"""Negatives per query in the fits that settings are compared with; the final fit has more."""
TREE_COUNTS = (40, 120)
"""Numbers of trees tried on top of the regression."""
NOT_COMPARED = frozenset({"cold"})
"""Kinds that take part in the fit but not in the choice by the worst kind: for cold targets the text channel is best by a wide margin, and
a blend that had to reach it would lose all others."""


@dataclass(frozen=True)
class BlendSettings:
    """Chosen settings of a blend.

    Attributes:
        penalty: L2 penalty.
        kind_weights: Weight of each kind of question in the fit.
        trees: Number of trees, 0 for none.
        metrics: Metrics of the choice, for the card.
    """

    penalty: float
    kind_weights: Mapping[str, float]
    trees: int
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class _Fold:
    """One cross-validation fold; the training part has sampled negatives, the validation part all candidates."""

    training: RankingDataset
    validation: RankingDataset
    selected: NDArray[np.bool_]


def select_settings(answered: RankingDataset, seed: int) -> BlendSettings:
    """Return the settings for a dataset.

    Args:
        answered: Queries that have a purchase among their candidates.
        seed: Random seed of the folds and of the sampled negatives.
    """
    folds = _folds(answered, seed)
    channels = _channel_ndcg(answered)
    equal = dict.fromkeys(answered.kinds, 1.0)
    models: dict[float, list[BlendModel]] = {}
    for penalty in PENALTIES:
        models[penalty] = _regressions(folds, penalty, equal, next(reversed(models.values()), None))
    by_penalty = {penalty: _cross_validated(answered, folds, models[penalty]) for penalty in PENALTIES}
    penalty = max(PENALTIES, key=lambda value: (_mean_relative(answered, by_penalty[value], channels), value))
    best_weights, best, best_models = equal, by_penalty[penalty], models[penalty]
    largest_step = MAX_WEIGHT_STEP
    for _ in range(WEIGHT_ROUNDS - 1):
        weights = _next_weights(best_weights, _relative(answered, best, channels), largest_step)
        fitted = _regressions(folds, penalty, weights, best_models)
        values = _cross_validated(answered, folds, fitted)
        if _worst(answered, values, channels) > _worst(answered, best, channels):
            best_weights, best, best_models = weights, values, fitted
        else:
            largest_step /= 2
    tree_ndcg = _tree_ndcg(answered, folds, best_models, best_weights, seed)
    count = max(TREE_COUNTS, key=lambda value: (tree_ndcg[value].mean(), -value))
    trees = count if _better_on_every_kind(answered, tree_ndcg[count] - best) else 0
    chosen = tree_ndcg[count] if trees else best
    metrics = {
        "answered": len(answered),
        "penalty": penalty,
        "kind_weights": {kind: round(weight, 4) for kind, weight in best_weights.items()},
        "weighted_sum_ndcg@10": round(float(best.mean()), 5),
        "trees_ndcg@10": round(float(tree_ndcg[count].mean()), 5),
        "trees": trees,
        "chosen": "trees" if trees else "weighted sum",
        "kinds": _kind_metrics(answered, folds, penalty, chosen, channels),
    }
    return BlendSettings(penalty, best_weights, trees, metrics)


def _next_weights(weights: Mapping[str, float], relative: Mapping[str, float], largest_step: float) -> dict[str, float]:
    """The weights after a round: more for kinds that are further behind than the mean. Args: relative: as of `_relative`."""
    center = float(np.mean(list(relative.values()))) if relative else 0.0
    steps = {kind: np.clip(WEIGHT_RATE * (center - relative.get(kind, center)), -largest_step, largest_step) for kind in weights}
    return {kind: weight * float(np.exp(steps[kind])) for kind, weight in weights.items()}


# ---------------------------------------------------------------------- cross-validation


def _folds(answered: RankingDataset, seed: int) -> list[_Fold]:
    shuffled_users = np.random.default_rng(seed).permutation(np.unique(answered.user))
    folds = []
    for fold in range(CV_FOLDS):
        selected = np.isin(answered.user, shuffled_users[fold::CV_FOLDS])
        training = answered.subset(~selected).with_sampled_negatives(seed, SELECTION_NEGATIVES)
        folds.append(_Fold(training, answered.subset(selected), selected))
    return folds


def _regressions(
    folds: Sequence[_Fold], penalty: float, kind_weights: Mapping[str, float], starts: Sequence[BlendModel | None] | None = None
) -> list[BlendModel]:
    """The regression of each fold. Args: starts: models of the folds to start from."""
    return [
        fit_regression(replace(fold.training, kind_weights=kind_weights), penalty, start)
        for fold, start in zip(folds, starts or [None] * len(folds), strict=True)
    ]


def _cross_validated(answered: RankingDataset, folds: Sequence[_Fold], models: Sequence[BlendModel]) -> NDArray[np.float64]:
    """(queries,) NDCG@10 of models fitted without the query's user."""
    values = np.zeros(len(answered))
    for fold, model in zip(folds, models, strict=True):
        values[fold.selected] = ndcg(fold.validation, model.scores(fold.validation.features))
    return values


def _tree_ndcg(
    answered: RankingDataset, folds: Sequence[_Fold], models: Sequence[BlendModel], kind_weights: Mapping[str, float], seed: int
) -> dict[int, NDArray[np.float64]]:
    """Number of trees on top of the models to (queries,) NDCG@10 of models fitted without the query's user."""
    values = {count: np.zeros(len(answered)) for count in TREE_COUNTS}
    for fold, model in zip(folds, models, strict=True):
        booster = fit_trees(replace(fold.training, kind_weights=kind_weights), model, seed, TREE_COUNTS[-1])
        scores = model.scores(fold.validation.features)
        for count in TREE_COUNTS:
            corrections = np.asarray(booster.predict(fold.validation.features, num_iteration=count))
            values[count][fold.selected] = ndcg(fold.validation, scores + corrections)
    return values


# ---------------------------------------------------------------------- comparison with the channels


def _channel_ndcg(answered: RankingDataset) -> dict[str, NDArray[np.float64]]:
    """Channel to (queries,) NDCG@10 of its own order of the candidates."""
    levels: dict[str, NDArray[np.float64]] = {}
    for column, name in enumerate(answered.feature_names):
        channel, _, feature = name.partition(":")
        if feature in LEVEL_FEATURES:  # they add up to the channel's level
            levels[channel] = levels.get(channel, 0.0) + answered.features[:, column].astype(np.float64)
    return {channel: ndcg(answered, level) for channel, level in levels.items()}


def _by_kind(answered: RankingDataset, values: NDArray[np.float64]) -> dict[str, float]:
    """Mean of each kind that has queries."""
    codes = answered.kind_codes
    return {kind: float(values[codes == code].mean()) for code, kind in enumerate(answered.kinds) if (codes == code).any()}


def _best_channels(answered: RankingDataset, channels: Mapping[str, NDArray[np.float64]]) -> dict[str, tuple[str, float]]:
    """Kind to its best channel and that channel's mean NDCG@10."""
    means = {name: _by_kind(answered, values) for name, values in channels.items()}
    kinds = _by_kind(answered, np.zeros(len(answered)))
    return {kind: max(((name, by_kind[kind]) for name, by_kind in means.items()), key=lambda pair: pair[1]) for kind in kinds if means}


def _relative(answered: RankingDataset, values: NDArray[np.float64], channels: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Kind to its mean relative to the best channel of the kind, minus 1; without the kinds that are not compared."""
    best = _best_channels(answered, channels)
    means = _by_kind(answered, values)
    return {kind: means[kind] / max(value, 1e-9) - 1 for kind, (_, value) in best.items() if kind not in NOT_COMPARED and value > 0}


def _worst(answered: RankingDataset, values: NDArray[np.float64], channels: Mapping[str, NDArray[np.float64]]) -> float:
    """The lowest of `_relative`; the mean NDCG@10 where no channel can be compared."""
    return min(_relative(answered, values, channels).values(), default=float(values.mean()))


def _mean_relative(answered: RankingDataset, values: NDArray[np.float64], channels: Mapping[str, NDArray[np.float64]]) -> float:
    """The mean of `_relative`; the mean NDCG@10 where no channel can be compared."""
    relative = list(_relative(answered, values, channels).values())
    return float(np.mean(relative)) if relative else float(values.mean())


def _better_on_every_kind(answered: RankingDataset, gain: NDArray[np.float64]) -> bool:
    """Whether no kind's mean gain is below 0 and the mean gain is more than one standard error above 0, clustered by user.

    Args:
        answered: The queries.
        gain: (queries,) gains.
    """
    _, cluster = np.unique(answered.user, return_inverse=True)
    error = np.sqrt((np.bincount(cluster, gain - gain.mean()) ** 2).sum()) / len(gain)
    return bool(gain.mean() > error) and min(_by_kind(answered, gain).values()) >= 0


def _kind_metrics(
    answered: RankingDataset,
    folds: Sequence[_Fold],
    penalty: float,
    chosen: NDArray[np.float64],
    channels: Mapping[str, NDArray[np.float64]],
) -> dict[str, Any]:
    """Per kind: number of queries, NDCG@10 of the blend, of the best channel, and of a regression fitted to that kind alone."""
    best, blend = _best_channels(answered, channels), _by_kind(answered, chosen)
    counts = np.bincount(answered.kind_codes, minlength=len(answered.kinds))
    metrics: dict[str, Any] = {}
    for code, kind in enumerate(answered.kinds):
        if kind not in blend:
            continue
        specialist = _specialist_ndcg(answered, folds, penalty, code) if len(blend) > 1 else None
        metrics[kind] = {
            "queries": int(counts[code]),
            "blend_ndcg@10": round(blend[kind], 5),
            "specialist_ndcg@10": None if specialist is None else round(specialist, 5),
        }
        if kind in best:
            metrics[kind] |= {"best_channel": best[kind][0], "best_channel_ndcg@10": round(best[kind][1], 5)}
    return metrics


def _specialist_ndcg(answered: RankingDataset, folds: Sequence[_Fold], penalty: float, code: int) -> float | None:
    """Mean NDCG@10 on one kind of question of regressions fitted to that kind alone; None if a fold has no such question to fit to."""
    of_kind = answered.kind_codes == code
    if not all((fold.training.kind_codes == code).any() for fold in folds):
        return None
    models = [fit_regression(fold.training.subset(fold.training.kind_codes == code), penalty) for fold in folds]
    return float(_cross_validated(answered, folds, models)[of_kind].mean())
