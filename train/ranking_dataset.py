"""Queries with their candidates, features and purchases: what a blend is fitted to and compared on.

A ranking is compared with the best single channel of each kind of question. A kind counts the same whatever its number of questions, and
its NDCG@10 is taken relative to what its best channel reaches, so that kinds with few easy targets and kinds with many hard ones can be
compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..recommend.ranking.features import LEVEL_FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEGATIVES_PER_QUERY = 200
"""Negative candidates per query in a fit; all of them fit no better."""
FULL_KIND_QUERIES = 200
"""Queries of a kind from which on the kind has its whole weight."""
K = 10
"""Cutoff of the NDCG that settings are chosen by."""
NOT_COMPARED = frozenset({"cold"})
"""Kinds that take part in the fit but not in the choice by the worst kind: for cold targets the text channel is best by a wide margin, and
a blend that had to reach it would lose all others."""
HALF_RELIABLE_QUERIES = 200
"""Queries of a kind at which its figure counts half and that of all kinds the other half: the mean of fewer is mostly chance."""


@dataclass(frozen=True)
class RankingDataset:
    """Candidates of queries with their features, and which of them were purchased.

    Attributes:
        feature_names: (features) as `group:feature`; a group is a channel or the profile.
        features: (candidates, features) float32, all candidates of a query in succession.
        purchased: (candidates,) labels.
        starts: (queries + 1,) index of each query's first candidate, and the number of candidates.
        user: (queries,) user numbers.
        kind: (queries,) codes into `kinds`; None if all are of one kind.
        kinds: Names of the kinds of questions.
        kind_weights: Weight of each kind in a fit, whatever its number of queries.
    """

    feature_names: Sequence[str]
    features: NDArray[np.float32]
    purchased: NDArray[np.bool_]
    starts: NDArray[np.int64]
    user: NDArray[np.int64]
    kind: NDArray[np.integer[Any]] | None = None
    kinds: Sequence[str] = ("all",)
    kind_weights: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def query(self) -> NDArray[np.int64]:
        """(candidates,) query of each candidate."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @cached_property
    def kind_codes(self) -> NDArray[np.int64]:
        """(queries,) code of each query's kind."""
        return np.zeros(len(self), np.int64) if self.kind is None else self.kind.astype(np.int64)

    @cached_property
    def query_weights(self) -> NDArray[np.float64]:
        """(queries,) weight of each query in a fit, with mean 1: each kind's weight, divided by its number of queries.

        A kind with fewer than `FULL_KIND_QUERIES` queries counts in proportion, so that no single query decides.
        """
        counts = np.bincount(self.kind_codes, minlength=len(self.kinds))
        weights = np.asarray([self.kind_weights.get(kind, 1.0) for kind in self.kinds])
        each = (weights / np.maximum(counts, FULL_KIND_QUERIES))[self.kind_codes]
        return np.asarray(each * len(self) / max(float(each.sum()), 1e-12))

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
            kind=None if self.kind is None else self.kind[selected],
        )

    def with_purchases(self) -> RankingDataset:
        """Return the queries with a purchase among their candidates; no ranking can be learned from the others."""
        return self.subset(np.bincount(self.query, self.purchased, minlength=len(self)) > 0)

    def with_sampled_negatives(self, seed: int, count: int = NEGATIVES_PER_QUERY) -> RankingDataset:
        """Return the queries with all purchases and at most `count` random negatives each.

        Hard negatives alone lose a sixth of the NDCG on groceries: a regression fitted without the others ranks them too high.
        """
        random = np.random.default_rng(seed).random(len(self.purchased))
        order = np.lexsort((random, self.purchased, self.query))  # purchases last within a query
        rank = np.arange(len(order)) - self.starts[:-1][self.query[order]]
        kept = self.purchased.copy()
        kept[order[rank < count]] = True
        starts = _starts(np.bincount(self.query, kept, minlength=len(self)).astype(np.int64))
        return replace(self, features=self.features[kept], purchased=self.purchased[kept], starts=starts)

    def without_group(self, group: str) -> RankingDataset:
        """Return the queries without the features of one channel, or of the profile."""
        return self.with_columns(np.asarray([name.split(":")[0] != group for name in self.feature_names], dtype=bool))

    def with_columns(self, selected: NDArray[np.bool_]) -> RankingDataset:
        """Return the queries with some of the features.

        Args:
            selected: (features,) which to keep.
        """
        names = [name for name, is_selected in zip(self.feature_names, selected, strict=True) if is_selected]
        return replace(self, feature_names=names, features=self.features[:, selected])


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


def means_by_kind(answered: RankingDataset, values: NDArray[np.float64]) -> dict[str, float]:
    """Return the mean of each kind that has queries.

    Args:
        answered: Queries with a purchase among their candidates.
        values: (queries,) any values.
    """
    codes = answered.kind_codes
    return {kind: float(values[codes == code].mean()) for code, kind in enumerate(answered.kinds) if (codes == code).any()}


@dataclass(frozen=True)
class KindComparison:
    """Compares rankings of queries with the best single channel of each kind of question.

    Attributes:
        answered: Queries with a purchase among their candidates.
    """

    answered: RankingDataset

    @cached_property
    def channels(self) -> dict[str, NDArray[np.float64]]:
        """Channel to (queries,) NDCG@10 of its own order of the candidates."""
        levels: dict[str, NDArray[np.float64]] = {}
        for column, name in enumerate(self.answered.feature_names):
            channel, _, feature = name.partition(":")
            if feature in LEVEL_FEATURES:  # they add up to the channel's level
                levels[channel] = levels.get(channel, 0.0) + self.answered.features[:, column].astype(np.float64)
        return {channel: ndcg(self.answered, level) for channel, level in levels.items()}

    @cached_property
    def best(self) -> dict[str, tuple[str, float]]:
        """Kind to its best channel and that channel's mean NDCG@10."""
        means = {name: means_by_kind(self.answered, values) for name, values in self.channels.items()}
        kinds = means_by_kind(self.answered, np.zeros(len(self.answered)))
        return {kind: max(((name, by_kind[kind]) for name, by_kind in means.items()), key=lambda pair: pair[1]) for kind in kinds if means}

    @cached_property
    def _reliability(self) -> dict[str, float]:
        """Kind that takes part in the choice to how far its figure can be relied on, above 0 and below 1."""
        counts = np.bincount(self.answered.kind_codes, minlength=len(self.answered.kinds)).tolist()
        by_kind = dict(zip(self.answered.kinds, counts, strict=True))
        compared = {kind for kind, (_, value) in self.best.items() if kind not in NOT_COMPARED and value > 0}
        return {kind: by_kind[kind] / (by_kind[kind] + HALF_RELIABLE_QUERIES) for kind in self.answered.kinds if kind in compared}

    def relative(self, values: NDArray[np.float64]) -> dict[str, float]:
        """Return kind to its mean relative to its best channel, minus 1, the fewer queries it has the nearer to that of all kinds.

        Kinds that are not compared are left out.

        Args:
            values: (queries,) NDCG@10.
        """
        means, reliability = means_by_kind(self.answered, values), self._reliability
        measured = {kind: means[kind] / self.best[kind][1] - 1 for kind in reliability}
        of_all = sum(measured[kind] * reliability[kind] for kind in reliability) / max(sum(reliability.values()), 1e-12)
        return {kind: of_all + reliability[kind] * (value - of_all) for kind, value in measured.items()}

    def worst(self, values: NDArray[np.float64]) -> float:
        """Return the lowest of `relative`; the mean NDCG@10 where no channel can be compared. Args: values: as of `relative`."""
        return min(self.relative(values).values(), default=float(values.mean()))

    def mean(self, values: NDArray[np.float64]) -> float:
        """Return the mean of `relative`; the mean NDCG@10 where no channel can be compared. Args: values: as of `relative`."""
        relative = list(self.relative(values).values())
        return float(np.mean(relative)) if relative else float(values.mean())


def better_on_every_kind(answered: RankingDataset, gain: NDArray[np.float64]) -> bool:
    """Return whether no kind's mean gain is below 0 and the mean gain is more than one standard error above 0, clustered by user.

    Args:
        answered: The queries.
        gain: (queries,) gains.
    """
    _, cluster = np.unique(answered.user, return_inverse=True)
    error = np.sqrt((np.bincount(cluster, gain - gain.mean()) ** 2).sum()) / len(gain)
    return bool(gain.mean() > error) and min(means_by_kind(answered, gain).values()) >= 0


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(groups + 1,) start indices of groups of some lengths."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
