"""What the small judge learns, as token ids, and how it is trained: pairs of items, and sentences beside facts, by one adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..llm.judging import Asker, Judging, Lesson
from ..llm.recipe import Config
from .judging_pairs import Pairs, pairs
from .judging_support import Sentences, sentences

if TYPE_CHECKING:
    from ..data.settings import Settings
    from ..llm.models import LanguageModel

JUDGING = Config(rank=5, alpha=10.0, blocks=10, batch=4, lr=2e-3, epochs=1, prompt=1, validate_every=90, checkpoint_every=45, patience=99)
"""How it is trained."""
ROUNDS, FACTS = 2, 200
"""How often every pair is told, each time of other titles; and sets of facts."""
VALIDATION_PAIRS, VALIDATION_FACTS = 24, 12
"""Of what is held out to stop by; all of it would take longer to read than the steps between."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class JudgingLessons:
    """Lessons, and those of held-out categories that say when it was best."""

    learning: Sequence[Lesson]
    validation: Sequence[Lesson]


def judging_lessons(llm: LanguageModel, seed: int, rounds: int = ROUNDS, facts: int = FACTS) -> JudgingLessons:
    """The lessons for a model. Args: seed: of what is drawn."""
    asker = Asker(llm)
    told = [*map(asker_pairs(asker), pairs("learning", seed, rounds)), *map(asker_facts(asker), sentences("learning", seed, facts))]
    held_out = pairs("validation", seed)
    some = [held_out[i] for i in np.random.default_rng([seed, 13]).permutation(len(held_out))[:VALIDATION_PAIRS]]
    kept = [*map(asker_pairs(asker), some), *map(asker_facts(asker), sentences("validation", seed, VALIDATION_FACTS))]
    return JudgingLessons(told, kept)


def asker_pairs(asker: Asker) -> Callable[[Pairs], Lesson]:
    """Makes lessons of pairs."""

    def lesson(one: Pairs) -> Lesson:
        prefix, asked = asker.relation(one.first, one.seconds)
        return Lesson("relation", prefix, tuple(asked), one.answers)

    return lesson


def asker_facts(asker: Asker) -> Callable[[Sentences], Lesson]:
    """Makes lessons of facts and sentences."""

    def lesson(one: Sentences) -> Lesson:
        prefix, asked = asker.support(one.facts, one.sentences)
        return Lesson("support", prefix, tuple(asked), one.answers)

    return lesson


def train_judge(settings: Settings, out: Path, config: Config | None = None, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """The adapter that judges, trained into the folder `out`; returns its figures. It learns nothing of any store.

    Raises: see `finetune.train`.
    """
    from ..llm import finetune
    from ..llm.models import LanguageModel

    wanted = config or JUDGING
    lessons = judging_lessons(LanguageModel.load(settings), wanted.seed)

    def tell(at: finetune.Progress) -> None:
        progress(f"judge, loss {at.loss:.3f}", at.step, at.total)

    made = finetune.train(lessons.learning, lessons.validation, settings, out, wanted, progress=tell, task=Judging)
    return made.figures()
