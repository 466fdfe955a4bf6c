"""Measures what a language model is worth for text queries: on pairs of a store, against the order without it.

    pairs (`pair_examples`) -> the model reads -> ranks fused with those of the cosine and of `text_behaviour` -> weight and gain -> file

The gain is in the AUC: the share of the negatives, which are as popular as the positive and hardly ever bought with the anchor, that are
ranked below the positive. The weight is chosen by folds of anchors. An adapter of the store is measured on anchors that none of its
training pairs contains.
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
from ...retrieval.channels import text_behaviour
from ...retrieval.fusion import CHANNEL_WEIGHTS, reciprocal_rank_fusion
from .pair_examples import TEXT_QUERIES, PairEntities, PairQuestion, pair_questions, unseen
from .question_reading import DEFAULT_SECONDS, open_ranker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.settings import Settings
    from ...retrieval.channels.base import Progress
    from .question_reading import MarginScorer
    from .text_material import EntityScores, TextMaterial

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Weights of the LLM that are tried, beside that of the cosine for a text query."""
COSINE_WEIGHT = 2 * CHANNEL_WEIGHTS["associations"]
"""Weight of the cosine for a text query, as of `retrieval.fusion.channel_weights`."""
QUESTIONS_PER_SET, MIN_QUESTIONS = 150, 40
"""Maximum number of pairs of items and of leaf categories that are read, and the number below which nothing is measured."""
FOLDS = 5


def measure_text_weight(
    workspace: Path,
    settings: Settings,
    material: TextMaterial,
    *,
    seed: int = 0,
    seconds: float = DEFAULT_SECONDS,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Let a model read pairs; store its weight for text queries and return the figures.

    Args:
        workspace: Folder of the workspace.
        settings: The model.
        material: Pairs of items and of leaf categories.
        seed: Seed of the pairs, of the folds and of the bootstrap.
        seconds: See `read_pairs`.
        progress: Progress callback.

    Raises:
        TrainingError: There are too few pairs.
        ModelError, ModelMissingError: The model cannot be used or is not installed.
        EndpointError: The endpoint fails.
    """
    tuned = adapter_knows_texts(workspace, settings)
    adapter_seed = int(adapters.read_card(workspace / RANKER_FOLDER)["settings"]["seed"]) if tuned else None
    rng = np.random.default_rng([seed, 9])
    questions: list[AskedPair] = []
    for number, entities in enumerate(material.entity_sets):
        scorer = material.behaviour[number] if material.behaviour else None
        everything = np.full(len(entities.items), True)
        new = everything if adapter_seed is None else unseen(entities, adapter_seed)
        asked = pair_questions(entities, everything, QUESTIONS_PER_SET, rng, anchors=new, hard=0)
        questions += [AskedPair(entities, question, scorer, bool(new[question.candidates[0]])) for question in asked]
    if len(questions) < MIN_QUESTIONS:
        raise TrainingError(
            f"only {len(questions)} pairs are bought together often enough to measure the LLM on texts; it needs {MIN_QUESTIONS}"
        )
    with open_ranker(workspace, settings, texts=True) as (ranker, about):
        questions = [questions[place] for place in rng.permutation(len(questions)).tolist()]
        read = read_pairs(questions, ranker, rng, seconds=seconds, progress=progress)
    figures = {**about, **measured_text_weight(read, seed=seed), "pairs": len(read.anchors)}
    file = text_weight_file(workspace, settings)
    with storage_errors(f"the weight in {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, (json.dumps(figures, indent=1, ensure_ascii=False) + "\n").encode())
    return figures


@dataclass(frozen=True)
class AskedPair:
    """A pair that a model is to read.

    Attributes:
        entities: What it is a pair of.
        question: The pair with its negatives.
        behaviour: Scores of the channel `text_behaviour`; None for a store without factors.
        is_new: Whether the model was not trained on the positive either. It never was on the anchor.
    """

    entities: PairEntities
    question: PairQuestion
    behaviour: EntityScores | None = None
    is_new: bool = True


@dataclass
class ReadPairs:
    """Pairs that a model has read, question by question: the positive comes first.

    Attributes:
        anchors: (questions,) number of the anchor, the same in both halves of the shoppers.
        cosines: (questions) arrays of (1 + negatives,), similarity of the texts.
        behaviour: (questions) arrays of (1 + negatives,), scores of the channel `text_behaviour`, 0 for none.
        margins: (questions) arrays of (1 + negatives,), logit margins of the model in nats.
        users: (questions) arrays of (1 + negatives,), shoppers of each.
        is_new: (questions) whether the model was not trained on the positive.
        seconds: time that the reading took.
        tokens: tokens that the model read.
    """

    anchors: list[int] = field(default_factory=list)
    cosines: list[NDArray[np.float64]] = field(default_factory=list)
    behaviour: list[NDArray[np.float64]] = field(default_factory=list)
    margins: list[NDArray[np.float64]] = field(default_factory=list)
    users: list[NDArray[np.float64]] = field(default_factory=list)
    is_new: list[bool] = field(default_factory=list)
    seconds: float = 0.0
    tokens: int = 0


def read_pairs(
    questions: Sequence[AskedPair],
    ranker: MarginScorer,
    rng: np.random.Generator,
    *,
    seconds: float = DEFAULT_SECONDS,
    progress: Progress = lambda *_: None,
) -> ReadPairs:
    """Let a model read pairs, with the anchor stated in a text query.

    Args:
        questions: The pairs.
        ranker: Scores the candidates.
        rng: Generator that samples the wording of the text queries.
        seconds: Time after which no further pair is read, but at least `MIN_QUESTIONS` are.
        progress: Progress callback.
    """
    read, start = ReadPairs(), time.monotonic()
    numbers: dict[str, int] = {}
    with measure_usage() as usage:
        for done, asked in enumerate(questions):
            entities, question = asked.entities, asked.question
            if done >= MIN_QUESTIONS and time.monotonic() - start > seconds:
                break
            progress("the LLM reads texts", done, len(questions))
            text = str(rng.choice(TEXT_QUERIES)).format(entities.items[question.anchor].title)
            candidates = [entities.items[candidate] for candidate in question.candidates.tolist()]
            read.anchors.append(numbers.setdefault(entities.items[question.anchor].item_id, len(numbers)))
            read.cosines.append((entities.vectors[question.candidates] @ entities.vectors[question.anchor]).astype(np.float64))
            scores = np.zeros(len(entities.items)) if asked.behaviour is None else asked.behaviour(question.anchor)
            read.behaviour.append(scores[question.candidates].astype(np.float64))
            read.margins.append(ranker.scores([], text, candidates).astype(np.float64))
            read.users.append(entities.users[question.candidates].astype(np.float64))
            read.is_new.append(asked.is_new)
    progress("the LLM reads texts", len(questions), len(questions))
    read.seconds, read.tokens = time.monotonic() - start, usage.tokens_in
    return read


def measured_text_weight(read: ReadPairs, *, seed: int) -> dict[str, Any]:
    """Return the chosen weight and its figures, as stored in the file of `recommend.ranking.text_weight.text_weight_file`.

    Args:
        read: Pairs that the model has read.
        seed: Seed of the folds and of the bootstrap.
    """
    anchors = np.asarray(read.anchors, dtype=np.int64)
    aucs, chosen = _by_folds(read.cosines, read.behaviour, read.margins, anchors, seed)
    texts_alone, chosen_alone = _by_folds(read.cosines, [np.zeros_like(scores) for scores in read.cosines], read.margins, anchors, seed)
    gain = paired_difference(chosen, aucs[:, 0], anchors, seed=seed)
    is_new = np.asarray(read.is_new, dtype=bool)

    def figures(inside: NDArray[np.bool_]) -> dict[str, float]:
        measured = {
            "cosine": texts_alone[:, 0],
            "cosine and LLM": chosen_alone,
            "without LLM": aucs[:, 0],
            "LLM": [auc(scores) for scores in read.margins],
            "with LLM": chosen,
            "popularity": [auc(scores) for scores in read.users],
        }
        return {name: round(float(np.mean(np.asarray(values)[inside])), 4) for name, values in measured.items()}

    return {
        "weight": WEIGHTS[int(aucs.mean(axis=0).argmax())],
        "cosine_weight": COSINE_WEIGHT,
        "gain": gain.to_dict(),
        "smallest_detectable_gain": round(smallest_detectable(gain), 4),
        "gain_over_cosine": paired_difference(chosen_alone, texts_alone[:, 0], anchors, seed=seed).to_dict(),
        "auc": figures(np.full(len(anchors), True)),
        "of_new_items": {"pairs": int(is_new.sum()), "auc": figures(is_new)} if is_new.any() else None,
        "tokens_per_question": round(read.tokens / len(anchors)),
        "ms_per_question": round(1000 * read.seconds / len(anchors)),
    }


def _by_folds(
    cosines: Sequence[NDArray[np.float64]],
    behaviour: Sequence[NDArray[np.float64]],
    margins: Sequence[NDArray[np.float64]],
    anchors: NDArray[np.int64],
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (questions, weights) the AUC by `WEIGHTS`, and (questions,) that of the weight which is best for the other folds' anchors."""
    aucs = np.asarray([[auc(_fused(*scores, weight)) for weight in WEIGHTS] for scores in zip(cosines, behaviour, margins, strict=True)])
    chosen = np.empty(len(anchors))
    shuffled = np.random.default_rng([seed, 10]).permutation(np.unique(anchors))
    for fold in range(FOLDS):
        in_fold = np.isin(anchors, shuffled[fold::FOLDS])
        chosen[in_fold] = aucs[in_fold, int(aucs[~in_fold].mean(axis=0).argmax())]
    return aucs, chosen


def auc(scores: NDArray[np.float64]) -> float:
    """Return the share of the negatives that are ranked below the positive, which comes first; a tie counts half."""
    return float((scores[1:] < scores[0]).mean() + 0.5 * (scores[1:] == scores[0]).mean())


def _fused(
    cosines: NDArray[np.float64], behaviour: NDArray[np.float64], margins: NDArray[np.float64], weight: float
) -> NDArray[np.float64]:
    """The fused score of each candidate, as a text query is served."""
    channels = {name: dict(enumerate(scores.tolist())) for name, scores in (("semantic", cosines), ("llm", margins))}
    channels[text_behaviour.NAME] = {place: score for place, score in enumerate(behaviour.tolist()) if score > 0}
    fused = reciprocal_rank_fusion(channels, {**CHANNEL_WEIGHTS, "semantic": COSINE_WEIGHT, "llm": weight})
    return np.asarray([fused[place] for place in range(len(cosines))])
