"""Fits the learned blend: a listwise softmax regression, and boosted trees on top where they rank validation users better.

The regression is convex, so its solution is unique. Boosted trees (LambdaMART) then start from its scores; their number is chosen on
validation users and may be zero. Reads features by name only; the fitted model and its scores are in `recommend.ranking.learned_blend`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.errors import TrainingError
from ..recommend.ranking.learned_blend import BlendModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.channels.base import TrainingContext

MIN_QUERIES = 100
"""Queries with a purchase among the candidates below which nothing is fitted and reciprocal-rank fusion stays in use."""
NEGATIVES_PER_QUERY = 200
"""Negative candidates per query in a fit; all of them fit no better."""
CV_FOLDS = 4
"""Cross-validation folds of the users for choosing the settings."""
PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3)
"""L2 penalties tried for the regression."""
TREE_COUNTS = (20, 40, 80, 120)
"""Numbers of trees tried on top of the regression."""
ENSEMBLE_SIZE, ABLATION_ENSEMBLE_SIZE = 4, 2
"""Boosted models to average, because one alone depends much on its seed; fewer for an ablation, to save time."""
RARE_ITEM_MAX_USERS, RARE_ITEM_LABEL_WEIGHT = 2, 3.0
"""Purchased items with at most so many users get this label weight: there are few of them, and a blend fitted with equal weights learns to
rank them last. On MovieLens' validation users a weight of 3 lifts their NDCG from .038 to .057, more than twice that of the best count of
behaviour, and lowers the overall NDCG by 1 %; a weight of 2 gives .048, of 4 .076."""
TREE_PARAMETERS: Mapping[str, Any] = {
    "objective": "lambdarank",
    "metric": "ndcg",
    "eval_at": [10],
    "label_gain": list(range(int(RARE_ITEM_LABEL_WEIGHT) + 1)),  # a label is a label weight
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambdarank_truncation_level": 20,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 2,
}
"""LightGBM parameters."""
USER_COUNT_FEATURE = "profile:log users"
"""Feature with the log of the item's number of users."""
K = 10
"""Cutoff of the NDCG that settings are chosen by."""
MAX_NEWTON_STEPS, MIN_STEP_LENGTH, CONVERGENCE_TOLERANCE = 30, 1e-2, 1e-7
"""Newton's method: largest number of steps, smallest damping factor of a step, and relative decrease of the loss at which it stops."""


@dataclass(frozen=True)
class RankingDataset:
    """Candidates of queries with their features, and which of them were purchased.

    Attributes:
        feature_names: (features) as `group:feature`; a group is a channel or the profile.
        features: (candidates, features) float32, all candidates of a query in succession.
        purchased: (candidates,) labels.
        starts: (queries + 1,) index of each query's first candidate, and the number of candidates.
        user: (queries,) user numbers.
    """

    feature_names: Sequence[str]
    features: NDArray[np.float32]
    purchased: NDArray[np.bool_]
    starts: NDArray[np.int64]
    user: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def query(self) -> NDArray[np.int64]:
        """(candidates,) query of each candidate."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @cached_property
    def label_weights(self) -> NDArray[np.float64]:
        """(candidates,) weight of each purchase, 0 for the others; rare items weigh more if there is a feature for the number of users."""
        weights = self.purchased.astype(np.float64)
        if USER_COUNT_FEATURE in self.feature_names:
            log_users = self.features[:, list(self.feature_names).index(USER_COUNT_FEATURE)]
            weights[log_users < np.log1p(RARE_ITEM_MAX_USERS + 0.5)] *= RARE_ITEM_LABEL_WEIGHT
        return weights

    def subset(self, selected: NDArray[np.bool_]) -> RankingDataset:
        """Return some of the queries.

        Args:
            selected: (queries,) which to keep.
        """
        kept = selected[self.query]
        return replace(
            self,
            features=self.features[kept],
            purchased=self.purchased[kept],
            starts=_starts(np.diff(self.starts)[selected]),
            user=self.user[selected],
        )

    def with_purchases(self) -> RankingDataset:
        """Return the queries with a purchase among their candidates; no ranking can be learned from the others."""
        return self.subset(np.bincount(self.query, self.purchased, minlength=len(self)) > 0)

    def with_sampled_negatives(self, seed: int) -> RankingDataset:
        """Return the queries with all purchases and `NEGATIVES_PER_QUERY` random negatives each.

        Hard negatives alone lose a sixth of the NDCG on groceries: a regression fitted without the others ranks them too high.
        """
        random = np.random.default_rng(seed).random(len(self.purchased))
        order = np.lexsort((random, self.purchased, self.query))  # purchases last within a query
        rank = np.arange(len(order)) - self.starts[:-1][self.query[order]]
        kept = self.purchased.copy()
        kept[order[rank < NEGATIVES_PER_QUERY]] = True
        starts = _starts(np.bincount(self.query, kept, minlength=len(self)).astype(np.int64))
        return replace(self, features=self.features[kept], purchased=self.purchased[kept], starts=starts)

    def without_group(self, group: str) -> RankingDataset:
        """Return the queries without the features of one channel, or of the profile."""
        kept = [i for i, name in enumerate(self.feature_names) if name.split(":")[0] != group]
        return replace(self, feature_names=[self.feature_names[i] for i in kept], features=self.features[:, kept])


def fit_models(dataset: RankingDataset, context: TrainingContext) -> dict[str, BlendModel]:
    """Return the blend and its ablations without one group of features each, by their names in an evaluation.

    Raises:
        TrainingError: There are fewer than `MIN_QUERIES` queries with a purchase among their candidates.
    """
    groups = list(dict.fromkeys(name.split(":")[0] for name in dataset.feature_names))
    models = {"blend": fit_blend(dataset, seed=context.seed)}
    sampled = dataset.with_purchases().with_sampled_negatives(context.seed)  # sampled once for all ablations
    for done, group in enumerate(groups):
        context.progress("fitting the blend", done, len(groups))
        models[f"blend without {group}"] = fit_blend(sampled.without_group(group), seed=context.seed, template=models["blend"])
    context.progress("fitting the blend", len(groups), len(groups))
    return models


def fit_blend(dataset: RankingDataset, *, seed: int = 0, template: BlendModel | None = None) -> BlendModel:
    """Return the blend fitted to a dataset: a weighted sum of features, with trees where they rank validation users better.

    Args:
        dataset: Queries with candidates and purchases.
        seed: Random seed.
        template: Model whose penalty and number of trees are used instead of choosing them; it may have more features.

    Raises:
        TrainingError: There are fewer than `MIN_QUERIES` queries with a purchase among their candidates.
    """
    answered = dataset.with_purchases()
    if len(answered) < MIN_QUERIES:
        raise TrainingError(
            f"only {len(answered)} queries have a purchase among their candidates, a blend needs at least {MIN_QUERIES}; "
            "ingest more interactions (until then the channels are fused by rank)"
        )
    metrics = dict(template.metrics) if template else {"questions": len(dataset), **_select_settings(answered, seed)}
    sampled = answered.with_sampled_negatives(seed)
    mean, scale = _standardization(sampled.features)
    template_weights = dict(zip(template.feature_names, template.weights.tolist(), strict=True)) if template else {}
    start = np.asarray([template_weights.get(name, 0.0) for name in sampled.feature_names])
    weights = _fit_weights(sampled, mean, scale, metrics["penalty"], start)
    regression = BlendModel(sampled.feature_names, mean, scale, weights, (), metrics)
    seeds = range(seed, seed + (ABLATION_ENSEMBLE_SIZE if template else ENSEMBLE_SIZE)) if metrics["trees"] else ()
    return replace(
        regression, trees=[_fit_trees(sampled, regression, tree_seed, metrics["trees"]).model_to_string() for tree_seed in seeds]
    )


def _select_settings(answered: RankingDataset, seed: int) -> dict[str, Any]:
    """The penalty and the number of trees (0 for none) with the best cross-validated NDCG@10, with the metrics of both."""
    mean, scale = _standardization(answered.features)
    shuffled_users = np.random.default_rng(seed).permutation(np.unique(answered.user))
    regression_ndcg: dict[float, list[float]] = {penalty: [] for penalty in PENALTIES}
    tree_ndcg: dict[int, list[float]] = {count: [] for count in TREE_COUNTS}
    folds: list[tuple[RankingDataset, RankingDataset, dict[float, BlendModel]]] = []
    users: list[int] = []
    for fold in range(CV_FOLDS):
        in_validation = np.isin(answered.user, shuffled_users[fold::CV_FOLDS])
        training = answered.subset(~in_validation).with_sampled_negatives(seed)
        validation = answered.subset(in_validation)  # with all candidates
        weights, regressions = None, {}
        for penalty in PENALTIES:
            weights = _fit_weights(training, mean, scale, penalty, weights)
            regressions[penalty] = BlendModel(answered.feature_names, mean, scale, weights)
            regression_ndcg[penalty] += ndcg(validation, regressions[penalty].scores(validation.features)).tolist()
        folds.append((training, validation, regressions))
        users += validation.user.tolist()
    penalty = max(PENALTIES, key=lambda value: (np.mean(regression_ndcg[value]), value))
    for training, validation, regressions in folds:
        scores = regressions[penalty].scores(validation.features)
        booster = _fit_trees(training, regressions[penalty], seed, TREE_COUNTS[-1])
        for count in TREE_COUNTS:
            corrections = np.asarray(booster.predict(validation.features, num_iteration=count))
            tree_ndcg[count] += ndcg(validation, scores + corrections).tolist()
    count = max(TREE_COUNTS, key=lambda value: (np.mean(tree_ndcg[value]), -value))
    trees_win = _is_significant(np.asarray(tree_ndcg[count]) - np.asarray(regression_ndcg[penalty]), np.asarray(users))
    return {
        "answered": len(answered),
        "penalty": penalty,
        "weighted_sum_ndcg@10": round(float(np.mean(regression_ndcg[penalty])), 5),
        "trees_ndcg@10": round(float(np.mean(tree_ndcg[count])), 5),
        "trees": count if trees_win else 0,
        "chosen": "trees" if trees_win else "weighted sum",
    }


def _is_significant(gain: NDArray[np.float64], user: NDArray[np.int64]) -> bool:
    """Whether the mean gain is more than one standard error above 0, with errors clustered by user.

    Where both rank about equally well the regression is preferred: it varies less, and ranks rare items better.

    Args:
        gain: (queries,) gains.
        user: (queries,) user numbers.

    Source: the one-standard-error rule of Breiman et al., Classification and Regression Trees, 1984.
    """
    _, cluster = np.unique(user, return_inverse=True)
    error = np.sqrt((np.bincount(cluster, gain - gain.mean()) ** 2).sum()) / len(gain)
    return bool(gain.mean() > error)


def _standardization(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(features,) mean and scale; scale 1 for a constant feature."""
    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    return mean, np.where(scale > 1e-9, scale, 1.0)


def _fit_weights(
    dataset: RankingDataset,
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    penalty: float,
    start: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Maximum-likelihood weights of a softmax over each query's candidates, by Newton's method.

    With few features and many candidates, a pass over the data costs more than solving for a Newton step.

    Args:
        dataset: Queries with candidates and purchases.
        mean, scale: (features,) standardization of the features.
        penalty: L2 penalty.
        start: (features,) initial weights; None for zeros.

    Returns:
        (features,) weights of the standardized features.
    """
    features = ((dataset.features - mean) / scale).astype(np.float32)
    weights = np.zeros(features.shape[1]) if start is None else np.asarray(start, dtype=np.float64)
    query, starts, count = dataset.query, dataset.starts[:-1], len(dataset)
    target = dataset.label_weights / np.bincount(query, dataset.purchased, minlength=count)[query]
    mass = np.bincount(query, target, minlength=count)  # (queries,) sum of the targets: 1 if all label weights are 1

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The penalized negative log-likelihood per query, and (candidates,) the predicted targets."""
        scores = (features @ weights.astype(np.float32)).astype(np.float64)
        scores -= np.maximum.reduceat(scores, starts)[query]
        exponentials = np.exp(scores)
        total = np.add.reduceat(exponentials, starts)
        value = -(target * (scores - np.log(total)[query])).sum() / count + penalty * (weights**2).sum()
        return float(value), exponentials / total[query] * mass[query]

    value, predicted = loss(weights)
    for _ in range(MAX_NEWTON_STEPS):
        gradient = np.asarray((predicted - target).astype(np.float32) @ features, dtype=np.float64) / count + 2 * penalty * weights
        weighted = features * predicted.astype(np.float32)[:, None]
        means = np.add.reduceat(weighted, starts) / np.sqrt(mass, dtype=np.float32)[:, None]  # (queries, features)
        hessian = (weighted.T @ features - means.T @ means).astype(np.float64) / count
        step = np.linalg.solve(hessian + 2 * penalty * np.eye(len(weights)), gradient)
        length, expected_decrease = 1.0, float(gradient @ step) / 2
        if expected_decrease < CONVERGENCE_TOLERANCE * abs(value):
            break
        while (trial := loss(weights - length * step))[0] > value - 1e-4 * length * expected_decrease and length > MIN_STEP_LENGTH:
            length /= 2
        weights = weights - length * step
        value, predicted = trial
    return weights


def _fit_trees(dataset: RankingDataset, regression: BlendModel, seed: int, tree_count: int) -> Any:
    """LambdaMART (LightGBM) that starts from the scores of the regression."""
    import lightgbm

    data = lightgbm.Dataset(
        dataset.features,
        np.rint(dataset.label_weights).astype(np.int32),
        group=np.diff(dataset.starts),
        init_score=regression.scores(dataset.features),
        params={"verbosity": -1},
    )
    return lightgbm.train({**TREE_PARAMETERS, "seed": seed}, data, tree_count)


def ndcg(dataset: RankingDataset, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (queries,) NDCG@10 among the candidates."""
    order = np.lexsort((-scores, dataset.query))
    rank = np.arange(len(order)) - dataset.starts[:-1][dataset.query[order]]
    purchased = dataset.purchased[order]
    gain = np.where((rank < K) & purchased, 1 / np.log2(rank + 2), 0.0)
    dcg = np.bincount(dataset.query[order], gain, minlength=len(dataset))
    relevant = np.minimum(np.bincount(dataset.query, dataset.purchased, minlength=len(dataset)), K).astype(np.int64)
    ideal = np.concatenate([[1.0], np.cumsum(1 / np.log2(np.arange(2, K + 2)))])[relevant]
    return np.asarray(dcg / ideal)


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(groups + 1,) start indices of groups of some lengths."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
