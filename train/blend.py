"""Fits the learned blend: a listwise softmax regression, and boosted trees on top where they rank held-out users better.

Reads features by name only. The fitted model and its scores are in `recommend.ranking.learned_blend`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.errors import TrainingError
from ..recommend.ranking.learned_blend import BlendModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 100
"""Questions with a found answer under which nothing is fitted and reciprocal-rank fusion stays."""
AGAINST = 200
"""Candidates of a question that are learned from, beside the bought ones; all of them are no better."""
PARTS = 4
"""Parts of the users that take turns in choosing between settings."""
PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3)
ROUNDS = (20, 40, 80, 120)
"""Trees that are tried on top of the sum."""
FORESTS, FORESTS_OF_CHOSEN = 4, 2
"""Boosted models whose mean is taken: one alone depends much on what was drawn for it. Fewer where a channel is left out, to save time."""
RARE, WORTH = 2, 3.0
"""What at most so many users had is worth so many times as much where it was bought: there is little of it to learn from, and what is
fitted to all alike learns to leave it out. Among MovieLens' shoppers held back three times lifts its NDCG from .038 to .057, more than
twice that of the best count of behaviour, and takes from that of all one part in a hundred; twice gives .048, four times .076."""
TREES: Mapping[str, Any] = {
    "objective": "lambdarank",
    "metric": "ndcg",
    "eval_at": [10],
    "label_gain": list(range(int(WORTH) + 1)),  # a label is what something is worth
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
USERS = "profile:log users"
"""The feature that tells how many users an item has."""
K = 10
STEPS, SHORTEST, ENOUGH = 30, 1e-2, 1e-7
"""Of Newton's method: steps at most, the shortest part of one that is tried, and the share of the loss that is still worth a step."""


@dataclass(frozen=True)
class Questions:
    """What held-out shoppers were asked, and what they bought.

    Attributes:
        names: (features). values: (candidates, features) float32 of all questions, one after another.
        bought: (candidates,) bool. starts: (questions + 1,) where each begins. user: (questions,) a number per user.
    """

    names: Sequence[str]
    values: NDArray[np.float32]
    bought: NDArray[np.bool_]
    starts: NDArray[np.int64]
    user: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """(candidates,) the question each belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @cached_property
    def worth(self) -> NDArray[np.float64]:
        """(candidates,) what each that was bought counts, 0 for the others; 1 for all where nothing tells how many users an item has."""
        worth = self.bought.astype(np.float64)
        if USERS in self.names:
            worth[self.values[:, list(self.names).index(USERS)] < np.log1p(RARE + 0.5)] *= WORTH
        return worth

    def part(self, questions: NDArray[np.bool_]) -> Questions:
        """Some of the questions."""
        kept = questions[self.owner]
        lengths = np.diff(self.starts)[questions]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Questions(self.names, self.values[kept], self.bought[kept], starts, self.user[questions])

    def answered(self) -> Questions:
        """The questions with something bought among the candidates; the others teach no order."""
        return self.part(np.bincount(self.owner, self.bought, minlength=len(self)) > 0)

    def thinned(self, seed: int) -> Questions:
        """The questions with all that was bought, and `AGAINST` others of each by lot.

        The hardest others would seem to teach more, but a sum that never sees the rest no longer knows them: on groceries it lost a sixth.
        """
        lot = np.random.default_rng(seed).random(len(self.bought))
        order = np.lexsort((lot, self.bought, self.owner))  # within a question, what was bought comes last
        place = np.arange(len(order)) - self.starts[:-1][self.owner[order]]
        kept = self.bought.copy()
        kept[order[place < AGAINST]] = True
        lengths = np.bincount(self.owner, kept, minlength=len(self)).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Questions(self.names, self.values[kept], self.bought[kept], starts, self.user)

    def without(self, group: str) -> Questions:
        """The questions without the features of one channel, or of the profile."""
        kept = [i for i, name in enumerate(self.names) if name.split(":")[0] != group]
        return Questions([self.names[i] for i in kept], self.values[:, kept], self.bought, self.starts, self.user)


def fit(questions: Questions, *, seed: int = 0, chosen: BlendModel | None = None) -> BlendModel:
    """The blend that orders candidates best: a weighted sum, with trees where they measure better; both judged on shoppers held back.

    Users are parted; each part judges what was fitted to the others, and what is chosen is fitted to all of them.

    Args: chosen: a model of more features whose penalty and number of trees are taken, in place of choosing.
    Raises: TrainingError: fewer than `FEWEST` questions whose answer is among the candidates.
    """
    answered = questions.answered()
    if len(answered) < FEWEST:
        raise TrainingError(
            f"{len(answered)} shoppers bought something that the channels had found for them, at least {FEWEST} are wanted to fit a blend; "
            "ingest more interactions (until then the channels are fused by rank)"
        )
    figures = dict(chosen.metrics) if chosen else {"questions": len(questions), **_choose(answered, seed)}
    learning = answered.thinned(seed)
    mean, scale = _spread(learning.values)
    before = dict(zip(chosen.feature_names, chosen.weights.tolist(), strict=True)) if chosen else {}
    start = np.asarray([before.get(name, 0.0) for name in learning.names])
    final = BlendModel(learning.names, mean, scale, _weights(learning, mean, scale, figures["penalty"], start), (), figures)
    forests = range(FORESTS_OF_CHOSEN if chosen else FORESTS) if figures["trees"] else ()
    trees = [_boost(learning, final, seed + number, figures["trees"]).model_to_string() for number in forests]
    return BlendModel(final.feature_names, mean, scale, final.weights, trees, final.metrics)


def _choose(answered: Questions, seed: int) -> dict[str, Any]:
    """The penalty, and the number of trees, 0 for none, that measure best on users who take turns in being held back; with the figures."""
    mean, scale = _spread(answered.values)
    people = np.random.default_rng(seed).permutation(np.unique(answered.user))
    sums: dict[float, list[float]] = {penalty: [] for penalty in PENALTIES}
    grown: dict[int, list[float]] = {rounds: [] for rounds in ROUNDS}
    turns: list[tuple[Questions, Questions, dict[float, BlendModel]]] = []
    users: list[int] = []
    for number in range(PARTS):
        back = np.isin(answered.user, people[number::PARTS])
        learning, judging = answered.part(~back).thinned(seed), answered.part(back)  # judged on all candidates
        weights, floor = None, {}
        for penalty in PENALTIES:
            weights = _weights(learning, mean, scale, penalty, weights)
            floor[penalty] = BlendModel(answered.names, mean, scale, weights)
            sums[penalty] += ndcg(judging, floor[penalty].scores(judging.values)).tolist()
        turns.append((learning, judging, floor))
        users += judging.user.tolist()
    penalty = max(PENALTIES, key=lambda one: (np.mean(sums[one]), one))
    for learning, judging, floor in turns:
        base, booster = floor[penalty].scores(judging.values), _boost(learning, floor[penalty], seed, ROUNDS[-1])
        for rounds in ROUNDS:
            grown[rounds] += ndcg(judging, base + np.asarray(booster.predict(judging.values, num_iteration=rounds))).tolist()
    rounds = max(ROUNDS, key=lambda one: (np.mean(grown[one]), -one))
    better = _surely(np.asarray(grown[rounds]) - np.asarray(sums[penalty]), np.asarray(users))
    return {
        "answered": len(answered),
        "penalty": penalty,
        "weighted_sum_ndcg@10": round(float(np.mean(sums[penalty])), 5),
        "trees_ndcg@10": round(float(np.mean(grown[rounds])), 5),
        "trees": rounds if better else 0,
        "chosen": "trees" if better else "weighted sum",
    }


def _surely(gain: NDArray[np.float64], user: NDArray[np.int64]) -> bool:
    """Whether the mean of (questions,) gains is more than one standard error above 0, questions of one user taken together.

    Where trees and the sum are about even the sum is kept: it wavers less, and is kinder to what few had.
    Source: the one-standard-error rule of Breiman et al., Classification and Regression Trees, 1984.
    """
    _, owner = np.unique(user, return_inverse=True)
    error = np.sqrt((np.bincount(owner, gain - gain.mean()) ** 2).sum()) / len(gain)
    return bool(gain.mean() > error)


def _spread(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean, scale = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    return mean, np.where(scale > 1e-9, scale, 1.0)


def _weights(
    questions: Questions,
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    penalty: float,
    start: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(features,) the weights under which what was bought is likeliest, by a softmax over each question's candidates.

    By Newton's steps: there are few features and many candidates, so that a look at all of them costs more than solving for a step.

    Args: start: where to look from first.
    """
    values = ((questions.values - mean) / scale).astype(np.float32)
    weights = np.zeros(values.shape[1]) if start is None else np.asarray(start, dtype=np.float64)
    owner, starts, count = questions.owner, questions.starts[:-1], len(questions)
    share = questions.worth / np.bincount(owner, questions.bought, minlength=count)[owner]
    mass = np.bincount(owner, share, minlength=count)  # (questions,) 1 where all that was bought is worth 1

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = (values @ weights.astype(np.float32)).astype(np.float64)
        scores -= np.maximum.reduceat(scores, starts)[owner]
        chance = np.exp(scores)
        total = np.add.reduceat(chance, starts)
        value = -(share * (scores - np.log(total)[owner])).sum() / count + penalty * (weights**2).sum()
        return float(value), chance / total[owner] * mass[owner]

    value, chance = loss(weights)
    for _ in range(STEPS):
        slope = np.asarray((chance - share).astype(np.float32) @ values, dtype=np.float64) / count + 2 * penalty * weights
        likely = values * chance.astype(np.float32)[:, None]
        means = np.add.reduceat(likely, starts) / np.sqrt(mass, dtype=np.float32)[:, None]  # (questions, features)
        curve = (likely.T @ values - means.T @ means).astype(np.float64) / count
        step = np.linalg.solve(curve + 2 * penalty * np.eye(len(weights)), slope)
        length, gain = 1.0, float(slope @ step) / 2
        if gain < ENOUGH * abs(value):
            break
        while (fresh := loss(weights - length * step))[0] > value - 1e-4 * length * gain and length > SHORTEST:
            length /= 2
        weights = weights - length * step
        value, chance = fresh
    return weights


def _boost(learning: Questions, floor: BlendModel, seed: int, rounds: int) -> Any:
    """LambdaMART that begins at the floor's scores, as LightGBM has it."""
    import lightgbm

    data = lightgbm.Dataset(
        learning.values,
        np.rint(learning.worth).astype(np.int32),
        group=np.diff(learning.starts),
        init_score=floor.scores(learning.values),
        params={"verbosity": -1},
    )
    return lightgbm.train({**TREES, "seed": seed}, data, rounds)


def ndcg(questions: Questions, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(questions,) NDCG@10 among the candidates."""
    order = np.lexsort((-scores, questions.owner))
    place = np.arange(len(order)) - questions.starts[:-1][questions.owner[order]]
    bought = questions.bought[order]
    gain = np.where((place < K) & bought, 1 / np.log2(place + 2), 0.0)
    found = np.bincount(questions.owner[order], gain, minlength=len(questions))
    most = np.minimum(np.bincount(questions.owner, questions.bought, minlength=len(questions)), K).astype(np.int64)
    ideal = np.concatenate([[1.0], np.cumsum(1 / np.log2(np.arange(2, K + 2)))])[most]
    return np.asarray(found / ideal)
