"""Candidate recall: share of the targets among the candidates, by channel, and with a quota per category.

    python benchmarks/candidates.py [NAME ...] [--home FOLDER] [--max-cases 2000]

NAME is amazon14, completejourney, courses or movielens; the cases are those of `crossaisle evaluate` with the users protocol. A store
trained in FOLDER (`blend.py --home`) is reused, otherwise graph and heads are trained. Writes `results/candidates-NAME.json`: recall of
the first 50, 100 and 200 items of the channels, from the three built-in channels to all of them, and with part of the proposals
distributed evenly over categories; by category of the target, and the effect on the blend. Reads ../shared/data; the results contain no
item and no user.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from blend import _tell, named, tested, trained
from record import write

import crossaisle
from crossaisle.eval.metrics.accuracy import hits, ndcg
from crossaisle.eval.offline.channel_systems import RANKING_DEPTH, purchase_profile
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.eval.stats.bootstrap import bootstrap_mean, paired_difference
from crossaisle.recommend.profiles.profile import ItemAttributes
from crossaisle.recommend.ranking import learned_blend
from crossaisle.recommend.ranking.features import FeatureExtractor
from crossaisle.recommend.ranking.trained_ranker import CANDIDATES_PER_CHANNEL, trained_channels
from crossaisle.retrieval.channels.base import CachedChannel
from crossaisle.retrieval.channels.channel_configs import DEFAULT_CONFIGS
from crossaisle.retrieval.retriever import Retriever

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from crossaisle.eval.splits.cases import Cases, EligibleItems
    from crossaisle.retrieval.channels.base import Channel

DEPTHS = (50, 100, 200)
BEHAVIOUR = ("sequential", "item_knn", "co_occurrence", "random_walk", "user_knn", "category_popularity", "lately")
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("semantic, associations, popularity", ()),
    ("and counts of behaviour", BEHAVIOUR),
    ("and text-smoothed associations", (*BEHAVIOUR, "text_smoothed")),
    ("and complement-tuned text", (*BEHAVIOUR, "text_smoothed", "complements")),
    ("and graph", (*BEHAVIOUR, "text_smoothed", "complements", "graph")),
    ("and factors", (*BEHAVIOUR, "text_smoothed", "complements", "graph", "factors")),
    ("and item regression", (*BEHAVIOUR, "text_smoothed", "complements", "graph", "factors", "item_regression")),
)
QUOTAS = (0.25, 0.5, 1.0)


def main() -> None:
    """Measure the named stores, default all."""
    named(lambda name, home, most: write(f"candidates-{name}", measured(trained(name, home, "graph"), most)))


def measured(shop: crossaisle.Workspace, most: int) -> dict[str, Any]:
    """All figures of one store."""
    _, cases, _, eligible, known = tested(shop, EvaluationOptions(max_cases=most))
    has_blend = learned_blend.load_models(shop.path) is not None
    configs = learned_blend.load_channel_configs(shop.path) if has_blend else DEFAULT_CONFIGS
    full_catalogue = known.full_catalogue_channels(configs)
    channels = {**full_catalogue, **trained_channels(shop, known.catalogue.ids, known.vectors).require_all()}
    further = {name: CachedChannel(channel) for name, channel in channels.items()}
    found = _Asked(shop, known, cases, eligible, further)
    clusters = cases.clusters
    rows = {}
    for name, (held, size) in found.held.items():
        rows[name] = {
            str(n): {"recall": bootstrap_mean(held[n], clusters).to_dict(), "candidates": round(float(size[n].mean()), 1)} for n in DEPTHS
        }
        if name.startswith("quota"):
            for n in DEPTHS:
                rows[name][str(n)]["minus_none"] = paired_difference(held[n], found.held[STEPS[-1][0]][0][n], clusters).to_dict()
    return {
        "cases": len(cases),
        "catalogue": len(known.catalogue),
        "together": rows,
        "by_target_category": found.by_category(),
        "blend": {
            name: {
                "ndcg@10": bootstrap_mean(value, clusters).to_dict(),
                "minus_none": paired_difference(value, found.ranked["no quota"], clusters).to_dict(),
            }
            for name, value in found.ranked.items()
        },
    }


class _Asked:
    """What was proposed for all cases, in every way.

    Attributes:
        held: way to depth to (cases,) share of the targets among the candidates, and the number of those. ranked: way to (cases,) NDCG@10
            of the blend over the candidates that are served; empty where there is no blend.
    """

    def __init__(
        self, shop: crossaisle.Workspace, known: TrainingView, cases: Cases, eligible: EligibleItems, further: Mapping[str, Channel]
    ) -> None:
        self.cases, self.catalogue = cases, known.catalogue
        facts, models = ItemAttributes.from_catalogue(known.catalogue), learned_blend.load_models(shop.path)
        sets = {name: {key: further[key] for key in ("semantic", *keys) if key in further} for name, keys in STEPS}
        ways: list[tuple[str, Retriever, float]] = [(name, known.with_channels(channels), 0.0) for name, channels in sets.items()]
        everything = ways[-1][1]
        ways += [(f"quota {quota}", everything, quota) for quota in QUOTAS]
        maker = FeatureExtractor(known.catalogue, ["associations", "popularity", *everything.further])
        self.held = {name: ({n: np.zeros(len(cases)) for n in DEPTHS}, {n: np.zeros(len(cases)) for n in DEPTHS}) for name, *_ in ways}
        self.found: dict[str, list[NDArray[np.bool_]]] = {name: [] for name, *_ in ways}
        lists: dict[str, NDArray[np.int32]] = {}
        for number in range(len(cases)):
            _tell("candidates", number, len(cases))
            mask = eligible.mask(cases, slice(number, number + 1))[0]
            profile = purchase_profile(cases.histories[number], facts)
            seeds, targets = profile.candidate_query(), cases.targets[number]
            for name, retriever, quota in ways:
                for n in DEPTHS:
                    proposed = retriever.propose(seeds, mask, n, quota=quota)
                    held = np.isin(targets, proposed.rows)
                    self.held[name][0][n][number], self.held[name][1][n][number] = held.mean(), len(proposed)
                    if n != CANDIDATES_PER_CHANNEL:
                        continue
                    self.found[name].append(held)
                    if models and retriever is everything:
                        scores = models["blend"].scores(models["blend"].select_features(maker.features(proposed, profile)))
                        way = name if quota else "no quota"
                        list_of = lists.setdefault(way, np.full((len(cases), RANKING_DEPTH), -1, dtype=np.int32))
                        best = proposed.rows[np.argsort(-scores, kind="stable")][:RANKING_DEPTH]
                        list_of[number, : len(best)] = best
        self.ranked = {name: ndcg(hits(top, cases.targets), cases.targets.lengths, 10) for name, top in lists.items()}

    def by_category(self) -> dict[str, dict[str, float]]:
        """Category of the target to how many targets, how many items, and the share of the targets held at `PROPOSED` in every way."""
        code = self.catalogue.category[self.cases.targets.rows]
        held = {name: np.concatenate(found) for name, found in self.found.items() if name == STEPS[-1][0] or name.startswith("quota")}
        return {
            self._words(number): {
                "targets": int((code == number).sum()),
                "items": int((self.catalogue.category == number).sum()),
                **{
                    name if name.startswith("quota") else "no quota": round(float(of[code == number].mean()), 5)
                    for name, of in held.items()
                },
            }
            for number in np.unique(code).tolist()
        }

    def _words(self, number: int) -> str:
        node = int(self.catalogue.nodes[number])
        return self.catalogue.tree.words(node) if node >= 0 else "(none)"


if __name__ == "__main__":
    main()
