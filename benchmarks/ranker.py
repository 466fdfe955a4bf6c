"""Gain from fine-tuning the LLM ranker: the same model before and after, on the same candidates, and its weight in the blend.

    python benchmarks/ranker.py [NAME ...] [--home FOLDER] [--examples 300] [--epochs 1] [--read 120]

NAME is demo, amazon14, completejourney, courses or movielens. Trains the blend unless `blend.py` left a trained store in `--home`, then the
ranker; then evaluates held-out users (users protocol) in random order until the LLM has read the candidates of `--read` of them. It reads
only when a target is among the top 20: otherwise all orders are equal, and the case counts 0 for every system. Writes
`results/ranker-NAME.json`. Reads ../shared/data, except for the demo; the results contain no item and no user.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from blend import SEED, _tell, copied, tested
from record import write

import crossaisle
from crossaisle.data.settings import Settings
from crossaisle.data.splits import Split
from crossaisle.eval.metrics import slices
from crossaisle.eval.metrics.accuracy import per_case
from crossaisle.eval.offline.blend_systems import ZERO_SHOT
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.splits.cases import Cases
from crossaisle.eval.stats.bootstrap import bootstrap_mean, paired_difference
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.recommend.profiles.profile import ItemAttributes, purchase_profile
from crossaisle.recommend.ranking import learned_blend
from crossaisle.recommend.ranking.behaviour import BehaviourReader
from crossaisle.recommend.ranking.blend_ranker import CANDIDATES_PER_CHANNEL, trained_channels
from crossaisle.recommend.ranking.features import FeatureExtractor, FeatureMatrix
from crossaisle.recommend.ranking.llm_loading import load_measured_weight, load_ranking_llm
from crossaisle.recommend.ranking.llm_reranker import LLMReranker, rerank_indices
from crossaisle.recommend.ranking.llm_weight import LLM_RERANK_DEPTH, NO_LLM_WEIGHT
from crossaisle.recommend.ranking.ranked_candidates import ScoredCandidates
from crossaisle.retrieval.channels.base import BUILTIN_CHANNELS, CachedChannel
from crossaisle.train.lora.recipe import recipe_for
from crossaisle.train.pipeline import train_workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

LISTS = ("llm", ZERO_SHOT, "blend", "blend without llm")
LORA = ("rank", "lr", "blocks")
"""Options that replace values of the recipe."""
LOTS = 20
"""Random orders averaged for the random baseline."""


def main() -> None:
    """Train and measure the named stores, default all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--blocks", type=int)
    parser.add_argument("--read", type=int, default=120)
    arguments = parser.parse_args()
    for name in arguments.names or ("demo", "courses", "movielens", "completejourney", "amazon14"):
        with tempfile.TemporaryDirectory() as temporary:
            teach(name, arguments.home or Path(temporary), arguments)


def teach(store: str, home: Path, arguments: argparse.Namespace) -> None:
    """Fine-tune the LLM on one store, measure it, and write its result."""
    settings = Settings.read().with_(llm="smollm2")
    path = home / f"{store}-trained"
    if not (path / "blend").exists():
        shop = copied(store, home)
        train_workspace(shop, settings, Split(seed=SEED), part="blend", progress=_tell)
    shop = crossaisle.Workspace(path)
    chosen = {name: value for name, value in vars(arguments).items() if name in LORA and value}
    lora, options = recipe_for(settings, epochs=arguments.epochs, **chosen), {"examples": arguments.examples, "pairs": arguments.pairs}
    trained = train_workspace(shop, settings, Split(seed=SEED), part="ranker", ranker=lora, **options, progress=_tell)
    start = time.perf_counter()
    evaluated = ask(shop, settings, arguments.read)
    clusters = evaluated.cases.clusters
    figures: dict[str, Any] = {
        "cases": len(evaluated.cases),
        "read": evaluated.read,
        "ranker": trained["ranker"],
        "training_seconds": trained["seconds"],
    }
    figures["ndcg@10"] = {name: bootstrap_mean(of, clusters).to_dict() for name, of in evaluated.ndcg.items()}
    figures["tuned_minus_zero_shot"] = paired_difference(evaluated.ndcg["llm"], evaluated.ndcg[ZERO_SHOT], clusters).to_dict()
    figures["tuned_minus_blend"] = paired_difference(evaluated.ndcg["llm"], evaluated.ndcg["blend without llm"], clusters).to_dict()
    figures["vote_adds"] = paired_difference(evaluated.ndcg["blend"], evaluated.ndcg["blend without llm"], clusters).to_dict()
    figures["by_history_length"] = {
        name: {
            part: {"cases": int(inside.sum()), **bootstrap_mean(of[inside], clusters[inside]).to_dict()}
            for part, inside in slices.by_history_length(evaluated.cases.histories)
        }
        for name, of in evaluated.ndcg.items()
    }
    figures["adapter_bytes"] = (path / "adapter" / "adapter_model.safetensors").stat().st_size
    figures["evaluation_seconds"] = round(time.perf_counter() - start, 1)
    figures["random_order_of_the_same_candidates"] = round(evaluated.random_order, 5)
    write(f"ranker-{store}", figures)


@dataclass(frozen=True)
class EvaluatedCases:
    """NDCG of the systems.

    Attributes: ndcg: system to (cases,) NDCG@10. read: how many of the cases the LLM read. random_order: mean NDCG@10 of random orders.
    """

    cases: Cases
    ndcg: Mapping[str, NDArray[np.float64]]
    read: int
    random_order: float


def ask(shop: crossaisle.Workspace, settings: Settings, most: int) -> EvaluatedCases:
    """Evaluate held-out users until the LLM has read the candidates of `most` of them."""
    _, cases, _, eligible, known = tested(shop, EvaluationOptions(seed=SEED))
    cases = cases.take(np.random.default_rng(0).permutation(len(cases)))
    catalogue, facts = known.catalogue, ItemAttributes.from_catalogue(known.catalogue)
    measured = load_measured_weight(shop.path, settings)
    weight = NO_LLM_WEIGHT if measured is None else measured.weight
    full_catalogue = known.full_catalogue_channels(learned_blend.load_channel_configs(shop.path))
    channels = {**full_catalogue, **trained_channels(known).require_all()}
    retriever = known.with_channels({name: CachedChannel(channel) for name, channel in channels.items()})
    maker, models = FeatureExtractor(catalogue, [*BUILTIN_CHANNELS, *channels]), learned_blend.load_models(shop.path)
    assert models is not None, f"{shop.path} has no blend"
    llm = load_ranking_llm(shop.path, settings)
    behaviour = BehaviourReader.of_channels(shop.path, retriever.further)
    readers = {
        name: LLMReranker(Ranker(llm, use_adapter=name == "llm"), catalogue, retriever.associations, behaviour)
        for name in ("llm", ZERO_SHOT)
    }
    tops: dict[str, list[NDArray[np.int64]]] = {name: [] for name in LISTS}
    random_lists: list[list[NDArray[np.int64]]] = [[] for _ in range(LOTS)]
    draw, read, number = np.random.default_rng(0), 0, 0
    while number < len(cases) and read < most:
        profile = purchase_profile(cases.histories[number], facts)
        seeds = profile.candidate_query()
        found = retriever.propose(seeds, eligible.mask(cases, slice(number, number + 1))[0], CANDIDATES_PER_CHANNEL)
        features = models["blend"].select_features(maker.features(found, profile))
        scores = models["blend"].scores(features)
        places = rerank_indices(scores)
        rows, orders = found.rows[places], {"blend without llm": scores[places]}
        if np.isin(rows, cases.targets[number]).any():
            _tell(f"read {read}", read, most)
            read += 1
            named = FeatureMatrix(models["blend"].feature_names, features)
            orders |= {name: reader.logit_margins(found, places, seeds, scores, named) for name, reader in readers.items()}
            gate = readers["llm"].gate_features(ScoredCandidates(found, scores, features, models["blend"]), seeds)
            orders["blend"] = scores[places] + weight.contributions(orders["llm"], gate[places])
        for name, of in tops.items():
            of.append(rows[np.argsort(-orders.get(name, orders["blend without llm"]), kind="stable")])
        for random_list in random_lists:
            random_list.append(draw.permutation(rows))
        number += 1
    cases = cases.take(np.arange(number))

    def ndcg(lists: list[NDArray[np.int64]]) -> NDArray[np.float64]:
        top = np.full((number, LLM_RERANK_DEPTH), -1, dtype=np.int32)
        for case, rows in enumerate(lists):
            top[case, : len(rows)] = rows
        return per_case(top, cases.targets, 10)["ndcg@10"]

    return EvaluatedCases(
        cases,
        {name: ndcg(lists) for name, lists in tops.items()},
        read,
        float(np.mean([ndcg(random_list).mean() for random_list in random_lists])),
    )


if __name__ == "__main__":
    main()
