"""How near explanations come to sentences that people wrote: BLEU, ROUGE, and nearness of meaning. Knows nothing of truth.

BLEU and ROUGE need the extra `references`. A text may have several references.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Encode = Callable[[Sequence[str]], "NDArray[np.float32]"]
"""Texts to (texts, dimensions) vectors, such as `retrieval.index.embedder.Embedder().encode`; they need not be of length 1."""
ROUGES = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True, slots=True)
class ReferenceReport:
    """Figures of texts against their references, each 0 to 1 but for `similarity`, -1 to 1; NaN without texts.

    Attributes: texts: how many were compared. similarity: None where no `encode` was given.
    """

    texts: int
    bleu_1: float
    bleu_4: float
    rouge_1: float
    rouge_2: float
    rouge_l: float
    similarity: float | None

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON holds them."""
        return asdict(self)


def compare(texts: Sequence[str], references: Sequence[Sequence[str]], encode: Encode | None = None) -> ReferenceReport:
    """The figures of texts against their references.

    Args: references: for each text one or more. encode: for `similarity`.
    Raises:
        MissingExtraError: sacrebleu or rouge-score is not installed.
        ValueError: not as many lists of references as texts, or a text without any.
    """
    found = rouge(texts, references)
    return ReferenceReport(
        len(texts),
        bleu(texts, references, 1),
        bleu(texts, references, 4),
        found["rouge1"],
        found["rouge2"],
        found["rougeL"],
        similarity(texts, references, encode) if encode else None,
    )


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]], n: int = 4) -> float:
    """Corpus BLEU by runs of up to n words, 0 to 1: sacrebleu's, with its tokenizer 13a, its exponential smoothing, and case kept.

    sacrebleu writes it as a percentage, as most papers do.

    Raises: as `compare`.
    Source: Papineni et al., ACL 2002; Post, WMT 2018.
    """
    _check(texts, references)
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtraError('BLEU needs the library sacrebleu: pip install "crossaisle[references]"') from error

    if not texts:
        return float("nan")
    # sacrebleu wants the first reference of every text, then the second of every text; the same reference again changes nothing.
    streams = [[own[min(i, len(own) - 1)] for own in references] for i in range(max(map(len, references)))]
    return float(BLEU(max_ngram_order=n).corpus_score(list(texts), streams).score) / 100


def rouge(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """F1 of ROUGE-1, ROUGE-2 and ROUGE-L, each 0 to 1, the mean over texts: rouge-score's, without stemming.

    Of several references the one that fits best counts. Words are runs of a-z and 0-9 in small letters: of other scripts it sees nothing.

    Returns: by the names in `ROUGES`.
    Raises: as `compare`.
    Source: Lin, ACL workshop 2004.
    """
    _check(texts, references)
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtraError('ROUGE needs the library rouge-score: pip install "crossaisle[references]"') from error

    scorer = RougeScorer(list(ROUGES), use_stemmer=False)
    scores = [scorer.score_multi(list(own), text) for text, own in zip(texts, references, strict=True)]
    return {name: float(np.mean([score[name].fmeasure for score in scores])) if scores else float("nan") for name in ROUGES}


def similarity(texts: Sequence[str], references: Sequence[Sequence[str]], encode: Encode) -> float:
    """Mean cosine of each text with its nearest reference, -1 to 1: whether they are about the same, not whether they say the same.

    Stands where papers have BERTScore (Zhang et al., ICLR 2020) and is not it. BERTScore has a vector for each token in its context, pairs
    each with its nearest in the other text, and so has a precision, a recall and an F1, with rare words weighed up and a baseline taken
    off. Here a sentence is one vector: a name swapped, a "not" put in or the order turned round hardly moves it, and figures of the two
    cannot be compared.

    Raises: ValueError: as `compare`.
    """
    _check(texts, references)
    if not texts:
        return float("nan")
    theirs = [reference for own in references for reference in own]
    vectors = np.asarray(encode([*texts, *theirs]), dtype=np.float64)  # (texts + references, dimensions)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    owner = np.repeat(np.arange(len(texts)), [len(own) for own in references])
    cosines = np.einsum("ij,ij->i", vectors[owner], vectors[len(texts) :])
    best = np.full(len(texts), -np.inf)
    np.maximum.at(best, owner, cosines)
    return float(best.mean())


def _check(texts: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(texts) != len(references):
        raise ValueError(f"{len(texts)} texts and {len(references)} lists of references")
    for number, own in enumerate(references):
        if isinstance(own, str) or not own:
            raise ValueError(f"text {number} has no list of references")
