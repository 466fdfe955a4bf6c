"""Baselines on leave-one-out splits of Amazon 2014, beside published sequence models and a library's neighbour models.

    python benchmarks/quality.py [NAME ...] [--home FOLDER]

NAME is amazon14-beauty, amazon14-sports or amazon14-toys: leave-one-out over all users, near duplicates kept as in published splits. Writes
`results/quality-NAME.json`. The blend is measured in `blend.py`. Reads ../shared/data; the results contain no item and no user.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import write
from stores import workspace

from crossaisle.data.settings import Settings
from crossaisle.eval.baselines.item_knn import BM25Config, CosineConfig, ItemKNNScorer
from crossaisle.eval.metrics.accuracy import hits, ndcg, recall
from crossaisle.eval.metrics.full_ranking import rank
from crossaisle.eval.offline import report as reports
from crossaisle.eval.offline.evaluation import Evaluation, Rankings
from crossaisle.eval.offline.options import EvaluationOptions

KEPT = ("ndcg@10", "recall@10", "hit@10", "mrr", "vs_best_baseline")
PUBLISHED = {
    f"amazon14-{name}": {
        "SASRec, sampled softmax": {"recall@10": sasrec[0], "ndcg@10": sasrec[1]},
        "TIGER": {"recall@10": tiger[0], "ndcg@10": tiger[1]},
    }
    for name, sasrec, tiger in (
        ("beauty", (0.0921, 0.0531), (0.0648, 0.0384)),
        ("sports", (0.0569, 0.0314), (0.0400, 0.0225)),
        ("toys", (0.0970, 0.0580), (0.0712, 0.0432)),
    )
}
"""Full-ranking leave-one-out figures of sequence models on the same data, for orientation."""


def main() -> None:
    """Evaluate the named stores, default all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--home", type=Path)
    arguments = parser.parse_args()
    for name in arguments.names or PUBLISHED:
        evaluate(name, arguments.home)


def evaluate(store: str, home: Path | None) -> None:
    """Evaluate one store and write its result."""
    with tempfile.TemporaryDirectory() as temporary:
        shop = workspace(store, home or Path(temporary))
        options = EvaluationOptions("leave-one-out", max_cases=None, near_duplicates=True, baselines_only=True)
        settings = Settings.read()
        start = time.perf_counter()
        rankings = Evaluation(shop, settings, Path(temporary) / "out", options).run()
        report = reports.to_jsonable(reports.build(rankings, options, shop, settings.llm))
        seconds = round(time.perf_counter() - start, 1)
    systems = {
        name: {"kind": about["kind"], "cases": about["cases"]}
        | {metric: about[metric] for metric in KEPT}
        | {"coverage": about["beyond"]["coverage"], "by_history_length": about["slices"]["history_length"]}
        | {"by_target_popularity": about["slices"]["target_popularity"]}
        for name, about in report["systems"].items()
    }
    figures: dict[str, Any] = {name: report[name] for name in ("cases", "users", "scope", "best_baseline", "split", "left_out")}
    figures |= {"training": report["training"], "candidate_recall": report["candidate_recall"], "systems": systems, "seconds": seconds}
    figures["tuned"] = {name: about.get("config", about) for name, about in report["baselines"].items()}
    figures |= {"libraries_on_the_same_split": libraries(rankings), "published_sequence_models": PUBLISHED[store]}
    write(f"quality-{store}", figures)


def libraries(rankings: Rankings) -> dict[str, Any]:
    """NDCG@10 and recall@10 of implicit's item neighbours, and of ours with the same settings, on the same split."""
    import warnings

    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
    from scipy import sparse
    from threadpoolctl import threadpool_limits

    training, cases = rankings.training_view.training_data, rankings.cases
    found: dict[str, Any] = {}
    for name, theirs, ours in (
        ("item-knn cosine", CosineRecommender(K=201), CosineConfig(neighbours=200)),  # theirs counts the item itself among its neighbours
        ("item-knn bm25", BM25Recommender(K=201, K1=1.2, B=0.75), BM25Config(neighbours=200)),
    ):
        matrix = sparse.csr_matrix(training.matrix)
        history_matrix = sparse.csr_matrix(cases.histories.matrix(training.item_count))
        history_matrix.indices, history_matrix.indptr = history_matrix.indices.astype(np.int32), history_matrix.indptr.astype(np.int32)
        with threadpool_limits(1, "blas"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs.fit(matrix, show_progress=False)
            rows, scores = theirs.recommend(np.arange(len(cases)), history_matrix, N=10, filter_already_liked_items=True)
        top = np.where(scores > 0, rows, -1).astype(np.int32)
        mine = rank(ItemKNNScorer(training, ours), cases, rankings.eligible, 10)
        for whose, ranked in (("implicit", top), ("crossaisle", mine)):
            hit = hits(ranked, cases.targets)
            found.setdefault(name, {})[whose] = {
                "ndcg@10": round(float(ndcg(hit, cases.targets.lengths, 10).mean()), 5),
                "recall@10": round(float(recall(hit, cases.targets.lengths, 10).mean()), 5),
            }
    return found


if __name__ == "__main__":
    main()
