"""Chooses the settings of a blend by cross-validation over users: what it is shrunk to, penalty, weights of the kinds of questions, trees.

A blend is shrunk to the best channel alone or to the prior learned over other stores, so with little evidence it ranks like one of them.
It is judged on each kind of question relative to the NDCG@10 of the best single channel of that kind. For each setting, the kinds that lag
behind get more weight, round by round, and the round with the best worst kind is taken; of the settings, the one with the best sum of worst
kind and mean of all. Cold questions then get as much weight as costs the other kinds hardly anything. Trees are used only where they rank
no kind worse and all together better by more than one standard error. The choice, each kind's figures and what a blend fitted to that kind
alone reaches go to the blend's card.

Sources: Sagawa et al., ICLR 2020 (weights by group, for the worst group); Breiman et al., Classification and Regression Trees, 1984 (the
one-standard-error rule).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .blend_regression import fit_channel, fit_regression, fit_trees
from .ranking_dataset import NOT_COMPARED, KindComparison, RankingDataset, better_on_every_kind, means_by_kind, ndcg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..recommend.ranking.learned_blend import BlendModel

CV_FOLDS = 4
"""Cross-validation folds of the users."""
TO_CHANNEL, TO_PRIOR = "best channel", "prior"
"""What a blend can be shrunk to."""
MAX_PENALTY = 10.0
"""L2 penalty at which a blend is the best channel or the prior alone."""
PENALTIES: Mapping[str, Sequence[float]] = {TO_CHANNEL: (MAX_PENALTY, 1e-1, 2e-2), TO_PRIOR: (MAX_PENALTY, 3e-1, 3e-2)}
"""L2 penalties tried for the regression."""
SELECTION_QUERIES, FEW_QUERIES_PENALTY = 100, 60.0
"""Answered queries below which nothing is compared: the blend is then shrunk to the prior, with this penalty over their number."""
WEIGHT_ROUNDS, WEIGHT_RATE, MAX_WEIGHT_STEP, MIN_WEIGHT_STEP = 8, 8.0, 0.5, 0.1
"""Rounds of weighting the kinds; the rate: a kind that is 5 % further behind than the mean gets exp(0.4) times its weight; and the largest
change of a weight's log in a round, which is halved after each round that does not help, and the smallest that is tried."""
COLD_WEIGHTS, COLD_COST = (2.0, 4.0), 0.02
"""Larger weights tried for cold questions, and by how much the sum of worst kind and mean of the others may fall for one: a weight of 3
doubled the NDCG@10 of cold targets on joined categories of Amazon at no cost, and cost the other kinds 5 % on MovieLens."""
SELECTION_NEGATIVES = 40
"""Negatives per query in the fits that settings are compared with; the final fit has more."""
TREE_COUNTS = (40, 120)
"""Numbers of trees tried on top of the regression."""


@dataclass(frozen=True)
class BlendSettings:
    """Chosen settings of a blend.

    Attributes:
        shrunk_to: `TO_CHANNEL` or `TO_PRIOR`.
        channels: Channels, the best one first.
        penalty: L2 penalty.
        kind_weights: Weight of each kind of question in the fit.
        trees: Number of trees, 0 for none.
        metrics: Metrics of the choice, for the card.
    """

    shrunk_to: str
    channels: Sequence[str]
    penalty: float
    kind_weights: Mapping[str, float]
    trees: int
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class _Fold:
    """One cross-validation fold.

    Attributes:
        training: Queries with sampled negatives.
        validation: Queries with all candidates.
        selected: (queries,) which of all queries are those of `validation`.
        centers: What a blend can be shrunk to, to its weights.
    """

    training: RankingDataset
    validation: RankingDataset
    selected: NDArray[np.bool_]
    centers: Mapping[str, Mapping[str, float]]


def select_settings(answered: RankingDataset, seed: int, prior: Mapping[str, float] | None = None) -> BlendSettings:
    """Return the settings for a dataset.

    Args:
        answered: Queries that have a purchase among their candidates.
        seed: Random seed of the folds and of the sampled negatives.
        prior: Feature to its weight in the prior; None for none.
    """
    comparison = KindComparison(answered)
    ordered = sorted(comparison.channels, key=lambda name: -comparison.mean(comparison.channels[name]))
    equal = dict.fromkeys(answered.kinds, 1.0)
    if len(answered) < SELECTION_QUERIES:
        penalty = few_queries_penalty(len(answered))
        metrics = {"answered": len(answered), "shrunk_to": TO_PRIOR, "channels": ordered, "penalty": penalty}
        metrics |= {"kind_weights": equal, "trees": 0, "chosen": "weighted sum", "kinds": {}}
        return BlendSettings(TO_PRIOR, ordered, penalty, equal, 0, metrics)
    folds = _folds(answered, seed, ordered, prior)
    tried: list[_Tried] = []
    for shrunk_to in (TO_CHANNEL, TO_PRIOR) if prior else (TO_CHANNEL,):
        start = None
        for penalty in PENALTIES[shrunk_to]:
            tried.append(_weighted(comparison, folds, shrunk_to, penalty, start))
            start = tried[-1].models
    best = max(tried, key=lambda setting: (setting.worst + setting.mean, setting.penalty))
    best = _with_more_weight_of_cold(comparison, folds, best)
    tree_ndcg = _tree_ndcg(answered, folds, best.models, best.kind_weights, seed)
    count = max(TREE_COUNTS, key=lambda value: (tree_ndcg[value].mean(), -value))
    trees = count if better_on_every_kind(answered, tree_ndcg[count] - best.ndcg) else 0
    chosen = tree_ndcg[count] if trees else best.ndcg
    metrics = {
        "answered": len(answered),
        "shrunk_to": best.shrunk_to,
        "channels": ordered,
        "penalty": best.penalty,
        "tried": [setting.to_dict() for setting in tried],
        "kind_weights": {kind: round(weight, 4) for kind, weight in best.kind_weights.items()},
        "weighted_sum_ndcg@10": round(float(best.ndcg.mean()), 5),
        "trees_ndcg@10": round(float(tree_ndcg[count].mean()), 5),
        "trees": trees,
        "chosen": "trees" if trees else "weighted sum",
        "kinds": _kind_metrics(comparison, folds, best, chosen),
    }
    return BlendSettings(best.shrunk_to, ordered, best.penalty, best.kind_weights, trees, metrics)


def few_queries_penalty(count: int) -> float:
    """Return the penalty of a blend that is shrunk to the prior, for a number of queries that is too small to choose one."""
    return FEW_QUERIES_PENALTY / max(count, 1)


def center(
    dataset: RankingDataset, shrunk_to: str, channels: Sequence[str], prior: Mapping[str, float] | None = None
) -> Mapping[str, float]:
    """Return the weights that a blend is shrunk to.

    Args:
        dataset: Queries that the blend is fitted to.
        shrunk_to: `TO_CHANNEL` or `TO_PRIOR`.
        channels: Channels, the best one first; the first that the dataset has is the center.
        prior: Feature to its weight in the prior; None for none.
    """
    if shrunk_to == TO_PRIOR:
        return prior or {}
    groups = {name.partition(":")[0] for name in dataset.feature_names}
    best = next((name for name in channels if name in groups), None)
    return {} if best is None else fit_channel(dataset, best)


@dataclass(frozen=True)
class _Tried:
    """A setting with its best weights of the kinds, and how it ranks in cross-validation.

    Attributes:
        shrunk_to, penalty, kind_weights: The setting.
        models: Regression of each fold.
        ndcg: (queries,) NDCG@10 of models fitted without the query's user.
        worst, mean: Lowest and mean NDCG@10 of a kind relative to its best channel, minus 1.
    """

    shrunk_to: str
    penalty: float
    kind_weights: Mapping[str, float]
    models: Sequence[BlendModel]
    ndcg: NDArray[np.float64]
    worst: float
    mean: float

    def to_dict(self) -> dict[str, Any]:
        """Return the setting and its figures, for the card."""
        figures = {"worst": round(self.worst, 5), "mean": round(self.mean, 5)}
        return {"shrunk_to": self.shrunk_to, "penalty": self.penalty, **figures}


def _weighted(
    comparison: KindComparison,
    folds: Sequence[_Fold],
    shrunk_to: str,
    penalty: float,
    start: Sequence[BlendModel] | None,
) -> _Tried:
    """A setting with the weights of the kinds for which its worst kind ranks best. Args: start: models of the folds to start from."""
    best = _cross_validated_setting(comparison, folds, shrunk_to, penalty, dict.fromkeys(comparison.answered.kinds, 1.0), start)
    largest_step = MAX_WEIGHT_STEP
    for _ in range(WEIGHT_ROUNDS - 1 if penalty < MAX_PENALTY else 0):
        weights = _next_weights(best.kind_weights, comparison.relative(best.ndcg), largest_step)
        following = _cross_validated_setting(comparison, folds, shrunk_to, penalty, weights, best.models)
        if following.worst > best.worst:
            best = following
        else:
            largest_step /= 2
        if largest_step < MIN_WEIGHT_STEP:
            break
    return best


def _with_more_weight_of_cold(comparison: KindComparison, folds: Sequence[_Fold], best: _Tried) -> _Tried:
    """The setting with the largest of `COLD_WEIGHTS` for the kinds that are not compared that costs the others hardly anything."""
    not_compared, chosen = NOT_COMPARED & set(comparison.answered.kinds), best
    for weight in COLD_WEIGHTS if not_compared and best.penalty < MAX_PENALTY else ():
        weights = {**best.kind_weights, **dict.fromkeys(not_compared, weight)}
        tried = _cross_validated_setting(comparison, folds, best.shrunk_to, best.penalty, weights, chosen.models)
        if tried.worst + tried.mean < best.worst + best.mean - COLD_COST:
            break
        chosen = tried
    return chosen


def _cross_validated_setting(
    comparison: KindComparison,
    folds: Sequence[_Fold],
    shrunk_to: str,
    penalty: float,
    kind_weights: Mapping[str, float],
    start: Sequence[BlendModel] | None,
) -> _Tried:
    """A setting with its figures. Args: start: models of the folds to start from."""
    models = _regressions(folds, shrunk_to, penalty, kind_weights, start)
    values = _cross_validated(comparison.answered, folds, models)
    return _Tried(shrunk_to, penalty, kind_weights, models, values, comparison.worst(values), comparison.mean(values))


def _next_weights(weights: Mapping[str, float], relative: Mapping[str, float], largest_step: float) -> dict[str, float]:
    """The weights after a round: more for kinds that are further behind than the mean. Args: relative: as of `KindComparison.relative`."""
    center = float(np.mean(list(relative.values()))) if relative else 0.0
    steps = {kind: np.clip(WEIGHT_RATE * (center - relative.get(kind, center)), -largest_step, largest_step) for kind in weights}
    return {kind: weight * float(np.exp(steps[kind])) for kind, weight in weights.items()}


# ---------------------------------------------------------------------- cross-validation


def _folds(answered: RankingDataset, seed: int, channels: Sequence[str], prior: Mapping[str, float] | None) -> list[_Fold]:
    shuffled_users = np.random.default_rng(seed).permutation(np.unique(answered.user))
    folds = []
    for fold in range(CV_FOLDS):
        selected = np.isin(answered.user, shuffled_users[fold::CV_FOLDS])
        training = answered.subset(~selected).with_sampled_negatives(seed, SELECTION_NEGATIVES)
        centers = {TO_CHANNEL: center(training, TO_CHANNEL, channels), TO_PRIOR: prior or {}}
        folds.append(_Fold(training, answered.subset(selected), selected, centers))
    return folds


def _regressions(
    folds: Sequence[_Fold],
    shrunk_to: str,
    penalty: float,
    kind_weights: Mapping[str, float],
    starts: Sequence[BlendModel | None] | None = None,
) -> list[BlendModel]:
    """The regression of each fold. Args: starts: models of the folds to start from."""
    return [
        fit_regression(replace(fold.training, kind_weights=kind_weights), penalty, start, fold.centers[shrunk_to])
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


def _kind_metrics(comparison: KindComparison, folds: Sequence[_Fold], setting: _Tried, chosen: NDArray[np.float64]) -> dict[str, Any]:
    """Per kind: number of queries, NDCG@10 of the blend, of the best channel, and of a regression fitted to that kind alone."""
    answered, best = comparison.answered, comparison.best
    blend = means_by_kind(answered, chosen)
    counts = np.bincount(answered.kind_codes, minlength=len(answered.kinds))
    metrics: dict[str, Any] = {}
    for code, kind in enumerate(answered.kinds):
        if kind not in blend:
            continue
        specialist = _specialist_ndcg(answered, folds, setting, code) if len(blend) > 1 else None
        metrics[kind] = {
            "queries": int(counts[code]),
            "blend_ndcg@10": round(blend[kind], 5),
            "specialist_ndcg@10": None if specialist is None else round(specialist, 5),
        }
        if kind in best:
            metrics[kind] |= {"best_channel": best[kind][0], "best_channel_ndcg@10": round(best[kind][1], 5)}
    return metrics


def _specialist_ndcg(answered: RankingDataset, folds: Sequence[_Fold], setting: _Tried, code: int) -> float | None:
    """Mean NDCG@10 on one kind of question of regressions fitted to that kind alone; None if a fold has no such question to fit to."""
    of_kind = answered.kind_codes == code
    if not all((fold.training.kind_codes == code).any() for fold in folds):
        return None
    models = [
        fit_regression(fold.training.subset(fold.training.kind_codes == code), setting.penalty, center=fold.centers[setting.shrunk_to])
        for fold in folds
    ]
    return float(_cross_validated(answered, folds, models)[of_kind].mean())
