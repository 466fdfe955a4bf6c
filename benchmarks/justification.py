"""Which sentence of a review justifies a recommendation: a linear head on sentence embeddings, against cosine, length and words.

    python benchmarks/justification.py [--ship]

Reads ../shared/data/justification: review segments that people labelled as a good justification or not. Figures are AUC of held-out
segments (ten times five folds; a repeated segment is in one fold), with 95 % bootstrap intervals over segments. The sentence that the
cosine compares with, and the strength of the head's regularization, are chosen on the training folds. `--ship` fits the head on all
segments and makes it the bundled one; the file holds weights, no text.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import SHARED, write
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from crossaisle.recommend.evidence.justification import FILE
from crossaisle.retrieval.index.embedder import BUNDLED, Embedder, digest

TOPICS = ("a good reason to buy this", "this is why I recommend it", "explains what it is good for")
STRENGTHS = (0.1, 0.3, 1.0, 3.0)
REPEATS, FOLDS, RESAMPLES = 10, 5, 2000

Floats = NDArray[np.float64]
Fit = Callable[[NDArray[np.int64], NDArray[np.int64]], Floats]
"""(training rows, test rows) -> (test rows,) scores."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ship", action="store_true")
    arguments = parser.parse_args()
    texts, labels = labelled_segments()
    embedder = Embedder()
    vectors, topics = embedder.encode(texts), embedder.encode(TOPICS)
    systems: dict[str, Fit] = {
        "length": lambda _, test: np.asarray([len(texts[row].split()) for row in test], dtype=np.float64),
        "cosine": lambda training, test: chosen_cosine(vectors @ topics.T, labels, training)[test],
        "words": lambda training, test: word_scores(texts, labels, training, test),
        "head": lambda training, test: head_scores(vectors, labels, training, test),
    }
    scores = {name: held_out(fit, texts, labels) for name, fit in systems.items()}
    figures: dict[str, Any] = {"segments": len(texts), "good": int(labels.sum()), **intervals(scores, labels)}
    if arguments.ship:
        head = fitted(vectors, labels, np.arange(len(labels)))
        weights = [round(float(weight), 5) for weight in head.coef_[0]]
        content = {"embedder": digest(BUNDLED), "intercept": round(float(head.intercept_[0]), 5), "weights": weights}
        FILE.write_text(json.dumps(content) + "\n")
    write("justification", figures)


def labelled_segments() -> tuple[list[str], NDArray[np.int64]]:
    """The segments, and 1 for a good justification."""
    lines = (SHARED / "justification" / "label_data.csv").read_text("utf-8").splitlines()
    pairs = [line.rpartition("\t" if "\t" in line else ",") for line in lines if line.strip()]
    return [text.strip() for text, _, _ in pairs], np.asarray([label.strip() == "True" for _, _, label in pairs], dtype=np.int64)


def held_out(fit: Fit, texts: Sequence[str], labels: NDArray[np.int64]) -> Floats:
    """(repeats, segments) scores of each segment by models that have not seen it."""
    groups = np.unique(texts, return_inverse=True)[1]
    scores = np.empty((REPEATS, len(texts)))
    for repeat in range(REPEATS):
        for training, test in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=repeat).split(scores[0], labels, groups):
            scores[repeat, test] = fit(training, test)
    return scores


def chosen_cosine(cosines: Floats, labels: NDArray[np.int64], training: NDArray[np.int64]) -> Floats:
    """(segments,) cosines with the topic that is best on the training rows."""
    best = max(range(cosines.shape[1]), key=lambda topic: roc_auc_score(labels[training], cosines[training, topic]))
    chosen: Floats = cosines[:, best]
    return chosen


def word_scores(texts: Sequence[str], labels: NDArray[np.int64], training: NDArray[np.int64], test: NDArray[np.int64]) -> Floats:
    """Scores of a logistic regression on words and pairs of words."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = LogisticRegression(C=3.0, max_iter=2000).fit(words.fit_transform([texts[row] for row in training]), labels[training])
    scores: Floats = model.decision_function(words.transform([texts[row] for row in test]))
    return scores


def head_scores(vectors: Floats, labels: NDArray[np.int64], training: NDArray[np.int64], test: NDArray[np.int64]) -> Floats:
    """Scores of the head, fitted on the training rows."""
    scores: Floats = fitted(vectors, labels, training).decision_function(vectors[test])
    return scores


def fitted(vectors: Floats, labels: NDArray[np.int64], training: NDArray[np.int64]) -> LogisticRegression:
    """The head with the regularization that is best on a fifth of the training rows."""
    held = np.arange(len(training)) % 5 == 0
    inner, outer = training[~held], training[held]

    def model(strength: float, rows: NDArray[np.int64]) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=2000).fit(vectors[rows], labels[rows])

    best = max(STRENGTHS, key=lambda strength: roc_auc_score(labels[outer], model(strength, inner).decision_function(vectors[outer])))
    return model(best, training)


def intervals(scores: dict[str, Floats], labels: NDArray[np.int64]) -> dict[str, Any]:
    """AUC of each system, and its difference to the cosine, mean over repeats, with bootstrap intervals over segments."""
    rng = np.random.default_rng(0)
    samples = [rng.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES)]

    def auc(name: str, rows: NDArray[np.int64], repeat: int) -> float:
        return float(roc_auc_score(labels[rows], scores[name][repeat, rows]))

    everything = np.arange(len(labels))
    value = {name: float(np.mean([auc(name, everything, repeat) for repeat in range(REPEATS)])) for name in scores}
    # One repeat for each resample: the interval covers the folds as well.
    drawn = {name: np.asarray([auc(name, rows, n % REPEATS) for n, rows in enumerate(samples)]) for name in scores}
    figures: dict[str, Any] = {"auc": {name: _interval(value[name], drawn[name]) for name in scores}}
    others = [name for name in scores if name != "cosine"]
    figures["minus_cosine"] = {name: _interval(value[name] - value["cosine"], drawn[name] - drawn["cosine"]) for name in others}
    return figures


def _interval(value: float, drawn: Floats) -> dict[str, float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


if __name__ == "__main__":
    main()
