"""Text queries: the cosine alone against the cosine with what shoppers of the items nearest to the text go on to.

    python benchmarks/text_behaviour.py [NAME ...] [--home FOLDER] [--pairs 300]

NAME is a store of `benchmarks/stores.py`. The factors are fitted to a random half of the shoppers, the pairs of items that are bought
together come from the other half. A text states that the shopper has one item of a pair; AUC of the other one among eleven as popular
items that are not bought with it more often than by chance, in the order as served (rank fusion). `known`: the stated item is in the
histories of the first half; `unknown`: it was removed from them, as for a text about something that the store does not sell. For the demo
store also the designed needs: share of the first ten items that serve the need which a text names. Writes `results/text_behaviour.json`.
Results contain no item and no user.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from record import write
from scipy import sparse
from stores import workspace

from crossaisle.data import demo
from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.eval.stats.bootstrap import paired_difference
from crossaisle.recommend.recommender import Recommender
from crossaisle.retrieval.channels import text_behaviour
from crossaisle.retrieval.channels.matrix_factorization import FactorizationConfig, MatrixFactorization, fit_factors
from crossaisle.retrieval.channels.text_behaviour import TextBehaviour
from crossaisle.retrieval.fusion import CHANNEL_WEIGHTS, reciprocal_rank_fusion
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.retrieval.index.embedder import Embedder
from crossaisle.retrieval.items.ragged import RaggedArray
from crossaisle.train.llm.pair_examples import TEXT_QUERIES, PairEntities, PairQuestion, pair_questions, unseen
from crossaisle.train.llm.text_weight import COSINE_WEIGHT, auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

STORES = ("demo", "courses", "movielens", "completejourney")
PENALTIES = (30.0, 100.0)
"""Penalties of the factorization: the default, and a larger one."""
NEED_TEXTS = ("{}", "I need things for {}", "I am planning {}")


def main() -> None:
    """Measure the named stores."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--pairs", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = arguments.home or Path(temporary)
        figures: dict[str, Any] = {name: store(name, home, arguments.pairs) for name in arguments.names or STORES}
        figures["needs of the demo store"] = needs(home)
    write("text_behaviour", figures)


def store(name: str, home: Path, pairs: int) -> dict[str, Any]:
    """The figures of one store, by whether the stated item is known and by penalty."""
    made, settings = workspace(name, home), Settings.read()
    catalogue, index, _ = load(made, settings)
    vectors = item_vectors(index, catalogue)
    events = TrainingView.from_workspace(made, HeldOut(), index, vectors).events
    histories = RaggedArray(events.starts, events.row)
    in_first = np.random.default_rng(0).random(len(histories)) < 0.5
    first, second = ([histories[user].tolist() for user in np.flatnonzero(half).tolist()] for half in (in_first, ~in_first))
    bought = RaggedArray.of(second).matrix(len(catalogue))
    bought.data[:] = 1
    users = np.asarray(bought.sum(axis=0)).reshape(-1).astype(np.int64)
    shared = sparse.csr_array(bought.T @ bought)
    things = PairEntities(catalogue.records(range(len(catalogue))), catalogue.category, users, vectors, shared, len(second))
    hidden = unseen(things, 0)
    questions = pair_questions(things, np.full(len(hidden), True), 20 * pairs, np.random.default_rng(3), hard=0)
    embedder, figures = Embedder(), dict[str, Any]()
    for kind, selected in (("known", ~hidden), ("unknown", hidden)):
        chosen = [question for question in questions if selected[question.anchor]][:pairs]
        if len(chosen) < 30:
            figures[kind] = {"pairs": len(chosen), "not measured": "too few pairs"}
            continue
        fitted = RaggedArray.of([[row for row in history if kind == "known" or not hidden[row]] for history in first])
        counts = np.bincount(fitted.rows, minlength=len(catalogue)).astype(np.int32)
        rng = np.random.default_rng(1)
        texts = embedder.encode([str(rng.choice(TEXT_QUERIES)).format(things.items[question.anchor].title) for question in chosen])
        figures[kind] = {"pairs": len(chosen)}
        for penalty in PENALTIES:
            factors = fit_factors(fitted, vectors, FactorizationConfig(penalty=penalty))
            factorization = MatrixFactorization(factors, catalogue.ids)
            channel = TextBehaviour(replace(catalogue, users=counts), index, lambda made=factorization: made)
            figures[kind][f"penalty {penalty:g}"] = measured(channel, chosen, texts, vectors)
    return figures


def measured(
    channel: TextBehaviour, questions: list[PairQuestion], texts: NDArray[np.float32], vectors: NDArray[np.float32]
) -> dict[str, Any]:
    """AUC of the cosine, of behaviour, and of both by rank fusion; and the gain of both over the cosine."""
    cosines, behaviour, both = [], [], []
    for question, text in zip(questions, texts, strict=True):
        rows = question.candidates
        by_text, by_shoppers = vectors[rows] @ text, channel.scores(text[None])[0][rows]
        lists: Mapping[str, Mapping[int, float]] = {
            "semantic": dict(enumerate(by_text.tolist())),
            text_behaviour.NAME: {place: score for place, score in enumerate(by_shoppers.tolist()) if score > 0},
        }
        fused = reciprocal_rank_fusion(lists, {**CHANNEL_WEIGHTS, "semantic": COSINE_WEIGHT})
        cosines.append(auc(by_text))
        behaviour.append(auc(by_shoppers))
        both.append(auc(np.asarray([fused[place] for place in range(len(rows))])))
    anchors = np.asarray([question.anchor for question in questions])
    gain = paired_difference(np.asarray(both), np.asarray(cosines), anchors)
    means = {"cosine": cosines, "behaviour": behaviour, "both": both}
    return {"auc": {name: round(float(np.mean(values)), 4) for name, values in means.items()}, "gain": gain.to_dict()}


def needs(home: Path) -> dict[str, Any]:
    """Share of the first ten recommendations that serve the need which a text names, with and without the channel."""
    serves: dict[str, set[str]] = {}
    for record in demo.load_records("needs"):
        serves.setdefault(record["need"], set()).add(record["item_id"])
    recommender = Recommender.open(workspace("demo", home), settings=Settings.read().with_(llm="none"))
    channel, shares = recommender.retriever.text_behaviour, dict[str, list[float]]()
    queries = [(need, text.format(need.replace("_", " "))) for need in sorted(serves) for text in NEED_TEXTS]
    for name, used in (("text alone", None), ("with behaviour", channel)):
        recommender.retriever.text_behaviour = used
        shares[name] = [
            float(np.mean([entry.item.item_id in serves[need] for entry in recommender.recommend(text=text, k=10, explain=False)]))
            for need, text in queries
        ]
    clusters = np.unique([need for need, _ in queries], return_inverse=True)[1]
    gain = paired_difference(np.asarray(shares["with behaviour"]), np.asarray(shares["text alone"]), clusters)
    recommender.close()
    return {"texts": len(queries), **{name: round(float(np.mean(values)), 4) for name, values in shares.items()}, "gain": gain.to_dict()}


if __name__ == "__main__":
    main()
