"""Labels by a teacher for the embedded LLM and the text heads: what is asked, what is kept, and the training examples made of it.

    items, leaf categories, queries -> questions -> teacher (`asking`) -> grades that agree -> soft targets for the LLM
                                                                                            -> needed pairs for the text heads

The pairs for the text heads are stored in the workspace, so that later trainings of the heads learn them as well.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import prompts
from ...data.atomic_files import write_atomically
from ...data.errors import TrainingError, storage_errors
from ...recommend.ranking.candidate_facts import RANK_PROMPT_VERSIONS
from ...retrieval.channels.base import TaughtPairs
from ..llm.list_examples import varied
from ..llm.pair_examples import VALIDATION_PAIRS, PairEntities, PairExamples, PairQuestion, pair_example, unseen
from ..llm.prompt_facts import prompt_facts
from ..llm.ranker import TEACHER_KEY, TeacherExamples
from ..llm.ranker_examples import behaviour_inputs
from ..lora.listwise_loss import ListwiseExample
from .asking import Progress, TeacherAnswers, ask_teacher
from .config import TeacherConfig
from .grading import GRADES, PROMPT, GradedQuestion, TeacherQuestion
from .questions import ListQuestion, anchor_questions, interleaved, list_questions, list_text, pair_text, selected_history

if TYPE_CHECKING:
    from ...retrieval.items.catalogue import Catalogue
    from ..llm.ranker_examples import RankerExamples

FILE = "teacher-labels.json"
"""File of a workspace with the pairs that its text heads are taught."""
LIST_SHARE = 0.25
"""Share of the questions that are lists; the others are pairs."""
NEEDED = max(GRADES)
"""Grade of a pair that the text heads learn."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TeacherLabels:
    """What a teacher's answers became.

    Attributes:
        examples: Examples for the LLM.
        pairs: Needed pairs of items, for the text heads.
        figures: Metrics: what was asked, answered, kept and dropped.
    """

    examples: TeacherExamples
    pairs: TaughtPairs
    figures: dict[str, Any]


@dataclass(frozen=True)
class TeachingMaterial:
    """What a store has to ask about.

    Attributes:
        entity_sets: The items, in the order of the catalogue, and the leaf categories.
        examples: Queries with their candidates; None for none.
        catalogue: The items.
        seed: Seed of the adapter and of the questions.
        prompt: Version of the ranking prompt.
    """

    entity_sets: Sequence[PairEntities]
    examples: RankerExamples | None
    catalogue: Catalogue
    seed: int
    prompt: int


class _Questions:
    """All questions of a run, interleaved, and the training example that each becomes."""

    def __init__(self, material: TeachingMaterial, count: int) -> None:
        self.material = material
        self.selected = [~unseen(entities, material.seed) for entities in material.entity_sets]
        self.lists: list[ListQuestion] = []
        if material.examples is not None:
            rng = np.random.default_rng([material.seed, 12])
            self.lists = list_questions(material.examples, self.selected[0], int(LIST_SHARE * count), rng, seed=material.seed)
        self.pairs: list[list[PairQuestion]] = [[] for _ in material.entity_sets]
        open_count = count - len(self.lists)
        order = sorted(range(len(self.pairs)), key=lambda number: len(material.entity_sets[number].items))
        for place, number in enumerate(order):  # what the smaller set lacks comes from the other
            share, rng = open_count // (len(order) - place), np.random.default_rng([material.seed, 13, number])
            self.pairs[number] = anchor_questions(material.entity_sets[number], self.selected[number], share, rng)
            open_count -= len(self.pairs[number])
        self.order = interleaved([*map(len, self.pairs), len(self.lists)])

    def texts(self) -> list[TeacherQuestion]:
        """The questions as the teacher gets them."""
        material, texts = self.material, []
        for source, index in self.order:
            if source < len(self.pairs):
                texts.append(pair_text(material.entity_sets[source], self.pairs[source][index]))
            else:
                assert material.examples is not None
                texts.append(list_text(material.examples, self.lists[index], self.selected[0], material.catalogue))
        return texts

    def pair(self, graded: GradedQuestion) -> tuple[int, PairQuestion] | None:
        """The set of entities and the kept part of a pair question; None for a list."""
        source, index = self.order[graded.index]
        if source >= len(self.pairs):
            return None
        question = self.pairs[source][index]
        return source, PairQuestion(question.anchor, question.candidates[list(graded.kept)])

    def list_example(self, graded: GradedQuestion, rng: np.random.Generator) -> ListwiseExample:
        """A list question as an example, with the facts and scores of the store's own examples."""
        material, question = self.material, self.lists[self.order[graded.index][1]]
        examples, catalogue = material.examples, material.catalogue
        assert examples is not None
        chosen = question.candidates[list(graded.kept)]
        example = ListwiseExample(
            catalogue.records(selected_history(examples, question.query, self.selected[0])),
            catalogue.records(examples.rows[chosen].tolist()),
            graded.best,
            prompt_facts(examples, chosen, catalogue, material.prompt),
            scores=None if material.prompt in RANK_PROMPT_VERSIONS else examples.scores[chosen].tolist(),
            behaviour=examples.soft_inputs(question.query, chosen, behaviour_inputs(examples, material.prompt)),
            target_shares=graded.shares,
        )
        return varied(example, rng)


def teacher_labels(
    config: TeacherConfig, material: TeachingMaterial, workspace: Path, progress: Progress = lambda *_: None
) -> TeacherLabels:
    """Ask a teacher about a store, and return what its answers agree on as training examples.

    Args:
        config: The teacher.
        material: What to ask about.
        workspace: Folder of the workspace, with the answers of former runs.
        progress: Progress callback.

    Raises:
        EndpointError: The endpoint cannot be used, and there is not a single answer.
        TrainingError: There is nothing to ask about, or no two answers agree.
        StorageError: An answer cannot be stored.
    """
    questions = _Questions(material, config.budget // 2)
    texts = questions.texts()
    if not texts:
        raise TrainingError("there is nothing to ask the teacher about: the store has too few items with a text and a category")
    answers = ask_teacher(config, texts, workspace, progress)
    if not answers.graded:
        raise TrainingError(_nothing_kept(config.model, answers))
    rng = np.random.default_rng([material.seed, 14])
    pairs: list[ListwiseExample] = []
    lists: list[ListwiseExample] = []
    needed: list[tuple[int, int]] = []
    for graded in answers.graded:
        if (pair := questions.pair(graded)) is None:
            lists.append(questions.list_example(graded, rng))
            continue
        source, question = pair
        example = pair_example(material.entity_sets[source], question, rng)
        pairs.append(replace(example, target=graded.best, target_shares=graded.shares))
        if source == 0:
            rows = question.candidates[np.asarray(graded.grades) == NEEDED]
            needed += [(question.anchor, int(row)) for row in rows]
    order, held_out = rng.permutation(len(pairs)), min(VALIDATION_PAIRS, len(pairs) // 8)
    figures = {"model": config.model, "prompt": prompts.load(PROMPT).id, **answers.figures}
    figures |= {"kept_pairs": len(pairs), "kept_lists": len(lists), "needed_pairs": len(needed)}
    about = {TEACHER_KEY: {**{name: figures[name] for name in _CARD}, "hash": _digest(questions, answers)}}
    return TeacherLabels(
        TeacherExamples(
            PairExamples([pairs[i] for i in order[held_out:]], [pairs[i] for i in order[:held_out]]), lists, about[TEACHER_KEY]
        ),
        TaughtPairs(np.asarray(needed, dtype=np.int32).reshape(-1, 2), about),
        figures,
    )


_CARD = (
    "model",
    "prompt",
    "questions",
    "answered",
    "dropped_for_disagreement",
    "dropped_all_alike",
    "unreadable",
    "kept_pairs",
    "kept_lists",
)
"""Figures for the cards: those that do not depend on which answers came from the cache."""


def _digest(questions: _Questions, answers: TeacherAnswers) -> str:
    """SHA-256 of the labels with what they are about."""
    digest = hashlib.sha256()
    texts = questions.texts()
    for graded in answers.graded:
        text = texts[graded.index]
        names = [[item.item_id for item in part] for part in (text.history, [text.candidates[place] for place in graded.kept])]
        digest.update(json.dumps([*names, list(graded.grades)]).encode())
    return digest.hexdigest()


def _nothing_kept(model: str, answers: TeacherAnswers) -> str:
    figures = answers.figures
    causes = {
        "got different grades when their candidates were reversed": figures["dropped_for_disagreement"],
        "got the same grade for all candidates": figures["dropped_all_alike"],
        "had an unreadable answer": figures["unreadable"],
        "had no answer in both orders": figures["unanswered"],
    }
    counted = ", ".join(f"{count} {cause}" for cause, count in causes.items() if count)
    stopped = f" ({figures['stopped']})" if figures["stopped"] else ""
    return f"no label of the teacher {model} can be used: of {figures['questions']} questions {counted}{stopped}; name a larger model"


def save_labels(workspace: Path, pairs: TaughtPairs, catalogue: Catalogue) -> None:
    """Store the pairs for the text heads.

    Raises:
        StorageError: The file cannot be written.
    """
    ids = catalogue.items["item_id"].to_list()
    content = {"about": dict(pairs.about), "pairs": [[ids[anchor], ids[item]] for anchor, item in pairs.rows.tolist()]}
    with storage_errors(f"the labels in {workspace / FILE}"):
        write_atomically(workspace / FILE, (json.dumps(content, ensure_ascii=False) + "\n").encode())


def load_labels(workspace: Path, catalogue: Catalogue) -> TaughtPairs | None:
    """Return the stored pairs whose items the catalogue still has; None if there are none or the file is damaged (with a warning)."""
    file = workspace / FILE
    if not file.exists():
        return None
    row = {item_id: place for place, item_id in enumerate(catalogue.items["item_id"].to_list())}
    try:
        content = json.loads(file.read_text("utf-8"))
        known = [(row[anchor], row[item]) for anchor, item in content["pairs"] if anchor in row and item in row]
        return TaughtPairs(np.asarray(known, dtype=np.int32).reshape(-1, 2), dict(content["about"])) if known else None
    except (ValueError, KeyError, TypeError):
        logger.warning("%s cannot be read, so the text heads learn without it; run `crossaisle train ranker --teacher` again", file)
        return None
