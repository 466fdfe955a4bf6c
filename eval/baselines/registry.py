"""All baselines, and the configurations that each may be tuned over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..splits.training_data import Scorer, Training
from .ease_ials import EASE, IALS, Factors, Ridge
from .item_knn import BM25, CoOccurrence, Cosine, Directed, ItemKNN
from .popularity import ByCategory, Popular, PopularByCategory, PopularLately, Random, Recent
from .text_similarity import Sum, Text, TextAndCoOccurrence, TextLikeness


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline: how it is fitted, and what may be chosen for it on the validation cases; the first choice is the usual one."""

    fit: Callable[[Training, Any], Scorer]
    choices: Sequence[Any]


def _grid(kind: Callable[..., Any], **values: Sequence[Any]) -> list[Any]:
    return [kind(**dict(zip(values, chosen, strict=True))) for chosen in product(*values.values())]


BASELINES: Mapping[str, Baseline] = {
    "random": Baseline(lambda training, _: Random(training), [None]),
    "most popular": Baseline(lambda training, _: Popular(training), [None]),
    "most popular by category": Baseline(PopularByCategory, _grid(ByCategory, prior=[10.0, 1.0, 100.0])),
    "most popular lately": Baseline(PopularLately, _grid(Recent, days=[30, 7, 90, 180])),
    "item-knn cosine": Baseline(ItemKNN, _grid(Cosine, neighbours=[200, 1000], shrinkage=[0.0, 5.0], partner=[0.5, 0.25, 0.0])),
    "item-knn bm25": Baseline(ItemKNN, _grid(BM25, neighbours=[200, 1000], k1=[1.2, 100.0], b=[0.75, 0.25])),
    "co-occurrence": Baseline(
        CoOccurrence, _grid(Directed, window=[10, 3], shrinkage=[5.0, 20.0], order=["directed", "either"], decay=[0.8])
    ),
    "ease": Baseline(EASE, _grid(Ridge, penalty=[500.0, 100.0, 20.0, 2000.0])),
    "ials": Baseline(IALS, _grid(Factors, factors=[64, 128], alpha=[10.0, 40.0], penalty=[10.0, 30.0, 100.0])),
    "text mean": Baseline(TextLikeness, _grid(Text, how=["mean"], last=[10, 3, 50])),
    "text max": Baseline(TextLikeness, _grid(Text, how=["max"], last=[10, 3])),
    "text + co-occurrence": Baseline(TextAndCoOccurrence, _grid(Sum, text=[0.5, 0.1, 0.25, 0.75], last=[3, 10])),
}
"""By their names in a report."""
