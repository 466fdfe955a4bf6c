"""Measures what a language model is worth for text queries: on pairs of a store, against the cosine of the texts.

    pairs (`pair_examples`) -> the model reads -> ranks fused with those of the cosine -> weight and gain -> file

The gain of a pair is in the share of other things, as popular as the needed one and never bought with A, that are ranked below it. The
weight is chosen by folds of A. An adapter of the store is measured on things that none of its training pairs contains.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.atomic_files import write_atomically
from ...data.errors import TrainingError, storage_errors
from ...eval.stats.bootstrap import paired_difference, smallest_detectable
from ...llm.models import adapters
from ...llm.models.usage import measure_usage
from ...recommend.ranking.llm_loading import RANKER_FOLDER
from ...recommend.ranking.text_weight import adapter_knows_texts, text_weight_file
from ...retrieval.fusion import CHANNEL_WEIGHTS, reciprocal_rank_fusion
from .pair_examples import NEED_TEXTS, PairQuestion, Things, pair_questions, unseen
from .weight import open_ranker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.settings import Settings
    from ...retrieval.channels.base import Progress
    from .weight import MarginScorer

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Weights of the LLM that are tried, beside that of the cosine for a text query."""
COSINE_WEIGHT = 2 * CHANNEL_WEIGHTS["associations"]
"""Weight of the cosine for a text query, as of `retrieval.fusion.channel_weights`."""
QUESTIONS_PER_KIND, MIN_QUESTIONS = 150, 40
"""Largest number of pairs of items and of leaf categories that are read, and the number below which nothing is measured."""
FOLDS = 5


def measure_text_weight(
    workspace: Path,
    settings: Settings,
    kinds: Sequence[Things],
    *,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Let a model read pairs; store its weight for text queries and return the figures.

    Args:
        workspace: Folder of the workspace.
        settings: The model.
        kinds: Items and leaf categories.
        seed: Seed of the pairs, of the folds and of the bootstrap.
        progress: Progress callback.

    Raises:
        TrainingError: There are too few pairs.
        ModelError, ModelMissingError: The model cannot be used or is not installed.
        EndpointError: The endpoint fails.
    """
    tuned = adapter_knows_texts(workspace, settings)
    adapter_seed = int(adapters.read_card(workspace / RANKER_FOLDER)["settings"]["seed"]) if tuned else None
    rng = np.random.default_rng([seed, 9])
    questions: list[tuple[Things, PairQuestion]] = []
    for things in kinds:
        selected = np.full(len(things.items), True) if adapter_seed is None else unseen(things, adapter_seed)
        questions += [(things, question) for question in pair_questions(things, selected, QUESTIONS_PER_KIND, rng, hard=0)]
    if len(questions) < MIN_QUESTIONS:
        raise TrainingError(
            f"only {len(questions)} pairs of things are bought together often enough to measure the LLM on texts; it needs {MIN_QUESTIONS}"
        )
    with open_ranker(workspace, settings, texts=True) as (ranker, about):
        read = read_pairs(questions, ranker, rng, progress)
    figures = {**about, **measured_text_weight(read, seed=seed), "pairs": len(questions)}
    file = text_weight_file(workspace, settings)
    with storage_errors(f"the weight in {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, (json.dumps(figures, indent=1, ensure_ascii=False) + "\n").encode())
    return figures


@dataclass
class ReadPairs:
    """Pairs that a model has read, question by question: the needed thing comes first.

    Attributes:
        owned: (questions,) number of A, unique over all kinds of things.
        cosines: (questions) arrays of (1 + negatives,), similarity of the texts.
        margins: (questions) arrays of (1 + negatives,), logit margins of the model in nats.
        users: (questions) arrays of (1 + negatives,), shoppers of each.
        seconds: time that the reading took.
        tokens: tokens that the model read.
    """

    owned: list[int] = field(default_factory=list)
    cosines: list[NDArray[np.float64]] = field(default_factory=list)
    margins: list[NDArray[np.float64]] = field(default_factory=list)
    users: list[NDArray[np.float64]] = field(default_factory=list)
    seconds: float = 0.0
    tokens: int = 0


def read_pairs(
    questions: Sequence[tuple[Things, PairQuestion]], ranker: MarginScorer, rng: np.random.Generator, progress: Progress = lambda *_: None
) -> ReadPairs:
    """Let a model read pairs, with A stated in a text.

    Args:
        questions: Pairs, each with its kind of things.
        ranker: Reads the things.
        rng: Generator that draws the wording of the texts.
        progress: Progress callback.
    """
    read, start = ReadPairs(), time.monotonic()
    numbers: dict[tuple[int, int], int] = {}
    with measure_usage() as usage:
        for done, (things, question) in enumerate(questions):
            progress("the LLM reads texts", done, len(questions))
            text = str(rng.choice(NEED_TEXTS)).format(things.items[question.owned].title)
            others = [things.items[other] for other in question.others.tolist()]
            read.owned.append(numbers.setdefault((id(things), question.owned), len(numbers)))
            read.cosines.append((things.vectors[question.others] @ things.vectors[question.owned]).astype(np.float64))
            read.margins.append(ranker.scores([], text, others).astype(np.float64))
            read.users.append(things.users[question.others].astype(np.float64))
    progress("the LLM reads texts", len(questions), len(questions))
    read.seconds, read.tokens = time.monotonic() - start, usage.tokens_in
    return read


def measured_text_weight(read: ReadPairs, *, seed: int) -> dict[str, Any]:
    """Return the chosen weight and its figures, as stored in the file of `recommend.ranking.text_weight.text_weight_file`.

    Args:
        read: Pairs that the model has read.
        seed: Seed of the folds and of the bootstrap.
    """
    owned = np.asarray(read.owned, dtype=np.int64)
    pairs = list(zip(read.cosines, read.margins, strict=True))
    # (questions, weights)
    shares = np.asarray([[share_below(_fused(cosines, margins, weight)) for weight in WEIGHTS] for cosines, margins in pairs])
    chosen = np.empty(len(owned))
    shuffled = np.random.default_rng([seed, 10]).permutation(np.unique(owned))
    for fold in range(FOLDS):
        in_fold = np.isin(owned, shuffled[fold::FOLDS])
        chosen[in_fold] = shares[in_fold, int(shares[~in_fold].mean(axis=0).argmax())]
    gain = paired_difference(chosen, shares[:, 0], owned, seed=seed)

    def mean(values: Sequence[NDArray[np.float64]]) -> float:
        return round(float(np.mean([share_below(one) for one in values])), 4)

    return {
        "weight": WEIGHTS[int(shares.mean(axis=0).argmax())],
        "cosine_weight": COSINE_WEIGHT,
        "gain": gain.to_dict(),
        "smallest_detectable_gain": round(smallest_detectable(gain), 4),
        "auc": {
            "cosine": mean(read.cosines),
            "LLM": mean(read.margins),
            "cosine and LLM": round(float(chosen.mean()), 4),
            "popularity": mean(read.users),
        },
        "tokens_per_question": round(read.tokens / len(owned)),
        "ms_per_question": round(1000 * read.seconds / len(owned)),
    }


def share_below(scores: NDArray[np.float64]) -> float:
    """Return the share of the others that are ranked below the first, a tie counting half: the AUC of one question."""
    return float((scores[1:] < scores[0]).mean() + 0.5 * (scores[1:] == scores[0]).mean())


def _fused(cosines: NDArray[np.float64], margins: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """The fused score of each thing, as a text query is served."""
    channels = {name: dict(enumerate(scores.tolist())) for name, scores in (("semantic", cosines), ("llm", margins))}
    fused = reciprocal_rank_fusion(channels, {"semantic": COSINE_WEIGHT, "llm": weight})
    return np.asarray([fused[place] for place in range(len(cosines))])
