"""Registry of baselines, each with its grid of configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..splits.training_data import Scorer, TrainingData
from .ease_ials import EASEConfig, EASEScorer, IALSConfig, IALSScorer
from .item_knn import BM25Config, CoOccurrenceConfig, CoOccurrenceScorer, CosineConfig, ItemKNNScorer
from .popularity import (
    CategoryPopularityConfig,
    CategoryPopularityScorer,
    PopularityScorer,
    RandomScorer,
    RecentPopularityConfig,
    RecentPopularityScorer,
)
from .text_similarity import TextCoOccurrenceConfig, TextCoOccurrenceScorer, TextSimilarityConfig, TextSimilarityScorer


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline.

    Attributes:
        fit: Fits the baseline to training data with a configuration.
        configs: Configurations to tune over; the first is the default.
    """

    fit: Callable[[TrainingData, Any], Scorer]
    configs: Sequence[Any]


def _grid(kind: Callable[..., Any], **values: Sequence[Any]) -> list[Any]:
    """All combinations of the values, the last varying fastest."""
    return [kind(**dict(zip(values, combination, strict=True))) for combination in product(*values.values())]


BASELINES: Mapping[str, Baseline] = {
    "random": Baseline(lambda training, _: RandomScorer(training), [None]),
    "most popular": Baseline(lambda training, _: PopularityScorer(training), [None]),
    "most popular by category": Baseline(CategoryPopularityScorer, _grid(CategoryPopularityConfig, prior=[10.0, 1.0, 100.0])),
    "most popular lately": Baseline(RecentPopularityScorer, _grid(RecentPopularityConfig, days=[30, 7, 90, 180])),
    "item-knn cosine": Baseline(ItemKNNScorer, _grid(CosineConfig, neighbours=[200, 1000], shrinkage=[0.0, 5.0], partner=[0.5, 0.25, 0.0])),
    "item-knn bm25": Baseline(ItemKNNScorer, _grid(BM25Config, neighbours=[200, 1000], k1=[1.2, 100.0], b=[0.75, 0.25])),
    "co-occurrence": Baseline(
        CoOccurrenceScorer, _grid(CoOccurrenceConfig, window=[10, 3], shrinkage=[5.0, 20.0], order=["directed", "either"], decay=[0.8])
    ),
    "ease": Baseline(EASEScorer, _grid(EASEConfig, penalty=[500.0, 100.0, 20.0, 2000.0])),
    "ials": Baseline(IALSScorer, _grid(IALSConfig, factors=[64, 128], alpha=[10.0, 40.0], penalty=[10.0, 30.0, 100.0])),
    "text mean": Baseline(TextSimilarityScorer, _grid(TextSimilarityConfig, how=["mean"], last=[10, 3, 50])),
    "text max": Baseline(TextSimilarityScorer, _grid(TextSimilarityConfig, how=["max"], last=[10, 3])),
    "text + co-occurrence": Baseline(TextCoOccurrenceScorer, _grid(TextCoOccurrenceConfig, text=[0.5, 0.1, 0.25, 0.75], last=[3, 10])),
}
"""Name in a report to baseline."""
