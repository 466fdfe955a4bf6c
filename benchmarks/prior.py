"""Fits the prior of the blend over many stores, and one without each family of stores for measurements on that family.

    python benchmarks/prior.py [--home FOLDER] [--ship]

Questions of every kind about the training users of each store, with channels of the default configurations. Writes `results/prior.json`:
for each store and kind, NDCG@10 of the prior that was fitted without the store's family beside the best single channel, and of blends that
adapt it to 20 to 500 questions and to all, cross-validated over users. `--ship` writes `recommend/ranking/prior.json`, fitted to all
stores, and `benchmarks/priors/FAMILY.json`, fitted without one family of stores, which `blend.py` uses. Reads ../shared/data; no result
contains an item or a user, and no test user takes part.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from record import write
from stores import workspace

from crossaisle.data.settings import Settings
from crossaisle.data.splits import Split
from crossaisle.eval.splits import protocols
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.recommend.ranking import prior as served
from crossaisle.recommend.ranking.learned_blend import BlendModel
from crossaisle.retrieval.channels.base import TrainingContext
from crossaisle.retrieval.channels.channel_configs import DEFAULT_CONFIGS
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.trainable_channels import DEFAULT_CHANNELS, train_channels
from crossaisle.train import blend_selection, out_of_fold
from crossaisle.train.blend_regression import fit_regression
from crossaisle.train.prior import fit_prior
from crossaisle.train.ranking_dataset import KindComparison, RankingDataset, ndcg

PRIORS = Path(__file__).with_name("priors")
"""Folder of the priors without a family."""
COMMON = (
    "courses",
    "movielens",
    "completejourney",
    "amazon14",
    "amazon14-beauty-2",
    "amazon14-toys-2",
    "demo-1",
    "demo-2",
)
SPARSE = ("bundles-electronic", "bundles-clothing")
QUESTIONS = (20, 50, 100, 200, 500)
"""Numbers of questions that the prior is adapted to."""
REPEATS, FOLDS = 5, 4
"""Random draws of the questions, and folds of users."""


def main() -> None:
    """Fit the priors and measure them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    parser.add_argument("--ship", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = arguments.home or Path(temporary)
        datasets = {name: queries_of(name, home) for name in (*COMMON, *SPARSE)}
        without = priors_without(datasets, PRIORS if arguments.ship else home / "priors")
        if arguments.ship:
            models = {served.COMMON: fit_prior(only(datasets, COMMON)), served.SPARSE: fit_prior(only(datasets, SPARSE))}
            served.FILE.write_text(json.dumps({name: model.to_dict() for name, model in models.items()}, indent=1) + "\n", "utf-8")
        write("prior", {"stores": {name: measured(datasets[name], without[name]) for name in datasets}})


def family(store: str) -> str:
    """The stores that share users or items with a store are of its family."""
    return store if store.startswith("bundles") else store.partition("-")[0]


def prior_without(store: str) -> Path:
    """File of the prior that was fitted without a store's family."""
    return PRIORS / f"{family(store)}.json"


@contextmanager
def serving_prior(file: Path) -> Iterator[None]:
    """Use a file of a prior instead of the package's for the duration of a block."""
    shipped, served.FILE = served.FILE, file
    try:
        yield
    finally:
        served.FILE = shipped


def only(datasets: Mapping[str, RankingDataset], names: tuple[str, ...], without: str = "") -> dict[str, RankingDataset]:
    """The queries of some stores, without those of one family."""
    return {name: datasets[name] for name in names if family(name) != without}


def priors_without(datasets: Mapping[str, RankingDataset], folder: Path) -> dict[str, BlendModel]:
    """Store to the prior of its kind that was fitted without its family; also written as a file for each family."""
    folder.mkdir(parents=True, exist_ok=True)
    fitted: dict[str, dict[str, BlendModel]] = {}
    for name in datasets:
        if family(name) not in fitted:
            models = {
                served.COMMON: fit_prior(only(datasets, COMMON, family(name))),
                served.SPARSE: fit_prior(only(datasets, SPARSE, family(name))),
            }
            fitted[family(name)] = models
            (folder / f"{family(name)}.json").write_text(json.dumps({kind: model.to_dict() for kind, model in models.items()}, indent=1))
    return {name: fitted[family(name)][served.SPARSE if name in SPARSE else served.COMMON] for name in datasets}


def queries_of(name: str, home: Path) -> RankingDataset:
    """Out-of-fold queries about a store's training users; computed once for a folder."""
    file = home / f"{name}-queries.npz"
    if not file.exists():
        start = time.perf_counter()
        dataset = _collected(name, home)
        fields = {"features": dataset.features, "purchased": dataset.purchased, "starts": dataset.starts, "user": dataset.user}
        np.savez(file, names=np.asarray(dataset.feature_names), kinds=np.asarray(dataset.kinds), kind=dataset.kind, **fields)
        print(f"{name}: {len(dataset)} queries, {len(dataset.purchased)} candidates, {time.perf_counter() - start:.0f} s", flush=True)
    stored = np.load(file)
    return RankingDataset(
        stored["names"].tolist(),
        stored["features"],
        stored["purchased"],
        stored["starts"],
        stored["user"],
        stored["kind"],
        tuple(stored["kinds"].tolist()),
    )


def _collected(name: str, home: Path) -> RankingDataset:
    """Out-of-fold queries about a store's training users, in two folds and with the default configurations."""
    shop, settings = workspace(name, home), Settings.read().with_(llm="none")
    catalogue, index, _ = load(shop, settings)
    events = Events.build(shop.table("interactions"), catalogue)
    split = protocols.resolve_split(Split(), events, catalogue)
    held_out = protocols.sample_cases(split, events, catalogue, "test", "new").held_out
    view = TrainingView.from_workspace(shop, held_out, index, item_vectors(index, catalogue))
    out_of_fold.FOLDS, out_of_fold.MAX_QUERIES_PER_KIND = 2, 500  # type: ignore[assignment]

    def fit(fold_view: TrainingView, context: TrainingContext) -> Mapping[str, Any]:
        return {**fold_view.full_catalogue_channels(), **train_channels(fold_view, context, DEFAULT_CHANNELS).channels}

    return out_of_fold.collect_queries(view, TrainingContext(configs=dict(DEFAULT_CONFIGS)), fit).dataset


def measured(dataset: RankingDataset, prior: BlendModel) -> dict[str, Any]:
    """Per kind of question: the best channel, the prior, and blends adapted to some and to all questions of other users."""
    answered = dataset.with_purchases()
    best = KindComparison(answered).best
    center = prior.unit_weights
    scores = answered.features @ np.asarray([center.get(name, 0.0) for name in answered.feature_names])
    curves = {"prior": ndcg(answered, scores)} | {f"{count} questions": _adapted(answered, center, count) for count in QUESTIONS}
    curves["all questions"] = _adapted(answered, center, None)
    codes = answered.kind_codes
    table = {
        kind: {
            "queries": int((codes == code).sum()),
            "best_channel": best[kind][0],
            "best_channel_ndcg@10": best[kind][1],
            **{f"{name}_ndcg@10": float(values[codes == code].mean()) for name, values in curves.items()},
        }
        for code, kind in enumerate(answered.kinds)
        if kind in best
    }
    return {"queries": len(answered), "users": len(np.unique(answered.user)), "kinds": table}


def _adapted(answered: RankingDataset, center: Mapping[str, float], count: int | None) -> np.ndarray[Any, Any]:
    """(queries,) NDCG@10 of blends fitted to `count` random questions of other users, or to all, averaged over draws."""
    users = np.random.default_rng(0).permutation(np.unique(answered.user))
    values = np.zeros(len(answered))
    for fold in range(FOLDS):
        selected = np.isin(answered.user, users[fold::FOLDS])
        training, validation = answered.subset(~selected).with_sampled_negatives(0), answered.subset(selected)
        for repeat in range(REPEATS if count else 1):
            drawn = np.zeros(len(training), dtype=bool)
            drawn[np.random.default_rng(repeat).permutation(len(training))[:count]] = True
            penalty = blend_selection.few_queries_penalty(count or len(training))
            model = fit_regression(training.subset(drawn), penalty, center=center)
            values[selected] += ndcg(validation, model.scores(validation.features)) / (REPEATS if count else 1)
    return values


if __name__ == "__main__":
    main()
