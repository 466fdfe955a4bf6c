"""What the LLM ranker is taught from and judged on: for each question the candidates that matter, in the order of the other channels.

They come from the questions that the blend was fitted to (`questions`), so no score and no fact among them knows the shopper who is asked.
They are kept beside the blend: the ranker may be trained, and its training may be killed and go on, without asking all channels anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.errors import NotTrainedError, StaleTrainingError
from ..recommend.ranking import learned_blend
from ..recommend.ranking.learned_blend import BlendModel
from ..retrieval.items.ragged import RaggedArray
from . import blend
from .blend import Questions
from .out_of_fold import Asked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.items.catalogue import Catalogue

FILE = "lessons.safetensors"
EXAMPLES = 1000
"""Questions that the LLM learns from, at most."""
SHORT, MATCHED = 30, 10
"""Candidates kept of a question, beside what was bought: those that the blend ranks highest, and those that are had as much as what was
bought and are of its category."""
PARTS = 4
"""Parts of the users that take turns in being scored by a blend that was fitted without them."""


@dataclass(frozen=True)
class Lessons:
    """Questions with the candidates that matter.

    Attributes:
        user: (questions,) a number per user. histories: a run of item rows each, oldest first. starts: (questions + 1,) where each begins.
        rows: (candidates,) item rows, within a question by falling score. scores: (candidates,) of a blend that did not know the user.
        bought: (candidates,) bool. matched: (candidates,) bool, chosen for being had as much as what was bought.
        facts: (candidates, 3) as `recommend.ranking.candidate_facts` has it, counted without the user.
    """

    user: NDArray[np.int64]
    histories: RaggedArray
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    scores: NDArray[np.float32]
    bought: NDArray[np.bool_]
    matched: NDArray[np.bool_]
    facts: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, asked: Asked, model: BlendModel, catalogue: Catalogue, seed: int) -> Lessons:
        """The lessons of what was asked.

        Args: model: the blend of all questions, whose settings are taken; it is fitted anew without each part of the users.
        """
        questions = asked.questions
        scores = _unknowing(questions, model, seed)
        order = np.lexsort((-scores, questions.owner))
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order)) - questions.starts[:-1][questions.owner[order]]
        matched = _matched(asked, place, catalogue)
        kept = order[((place < SHORT) | matched | questions.bought)[order]]
        lengths = np.bincount(questions.owner[kept], minlength=len(questions))
        return cls(
            questions.user,
            asked.histories,
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            asked.rows[kept].astype(np.int32),
            scores[kept].astype(np.float32),
            questions.bought[kept],
            matched[kept],
            asked.facts[kept].astype(np.int32),
        )

    @cached_property
    def place(self) -> NDArray[np.int64]:
        """(candidates,) the place of each in its question, 0 the first; beyond `SHORT` at least that."""
        owner = np.repeat(np.arange(len(self)), np.diff(self.starts))
        return np.asarray(np.arange(len(owner)) - self.starts[owner], dtype=np.int64)

    def run(self, number: int) -> slice:
        """Where a question's candidates stand."""
        return slice(int(self.starts[number]), int(self.starts[number + 1]))

    def save(self, folder: Path) -> None:
        """Writes the lessons into a folder."""
        from safetensors.numpy import save_file

        arrays = {name: getattr(self, name) for name in ("user", "starts", "rows", "scores", "facts")}
        arrays |= {name: getattr(self, name).astype(np.uint8) for name in ("bought", "matched")}
        arrays |= {"history_starts": self.histories.starts, "history_rows": self.histories.rows}
        save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, folder / FILE)


def load(workspace: Path) -> Lessons:
    """The lessons of a workspace.

    Raises: NotTrainedError: no blend was trained. StaleTrainingError: they cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = workspace / learned_blend.FOLDER / FILE
    mend = f"run `crossaisle train -w {workspace} blend`"
    if not file.exists():
        raise NotTrainedError(f"the ranker learns from what the blend was fitted to, and {workspace} has none; {mend} first")
    try:
        found: Mapping[str, NDArray[np.generic]] = load_file(file)
        arrays = {name: found[name] for name in ("user", "starts", "rows", "scores", "facts")}
        histories = RaggedArray(found["history_starts"], found["history_rows"])  # type: ignore[arg-type]
        return Lessons(histories=histories, bought=found["bought"] > 0, matched=found["matched"] > 0, **arrays)  # type: ignore[arg-type, operator]
    except (OSError, KeyError, SafetensorError) as error:
        raise StaleTrainingError(f"{file} cannot be read ({type(error).__name__}); {mend}") from error


def _unknowing(questions: Questions, model: BlendModel, seed: int) -> NDArray[np.float64]:
    """(candidates,) scores by a blend that was fitted without the question's user."""
    people = np.random.default_rng([seed, 1]).permutation(np.unique(questions.user))
    scores = np.empty(len(questions.bought))
    for number in range(PARTS):
        back = np.isin(questions.user, people[number::PARTS])
        fitted = blend.fit(questions.part(~back), seed=seed, chosen=model)
        mine = back[questions.owner]
        scores[mine] = fitted.scores(questions.values[mine])
    return scores


def _matched(asked: Asked, place: NDArray[np.int64], catalogue: Catalogue) -> NDArray[np.bool_]:
    """(candidates,) which of the lower ranked are of a bought item's category and among the `MATCHED` nearest to it in users."""
    questions, users = asked.questions, np.log1p(catalogue.users)
    found = np.zeros(len(asked.rows), dtype=bool)
    for number in range(len(questions)):
        run = slice(int(questions.starts[number]), int(questions.starts[number + 1]))
        rows, bought = asked.rows[run], questions.bought[run]
        if not bought.any():
            continue
        inside = np.isin(catalogue.category[rows], catalogue.category[rows[bought]])
        others = np.flatnonzero(inside & ~bought & (place[run] >= SHORT))
        gap = np.abs(users[rows[others]][:, None] - users[rows[bought]][None]).min(axis=1, initial=np.inf)
        found[run.start + others[np.argsort(gap, kind="stable")[:MATCHED]]] = True
    return found
