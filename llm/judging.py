"""Two questions that a small model can learn to answer, and how it is asked: the same for training and serving.

    relation    do two items go together, does one replace the other, or neither
    support     do the facts bear out a sentence

An answer is read as a softmax over the first tokens of the answers, so it is a chance and not only a word. Several things that are asked
of the same first item, or of the same facts, are read in one forward. Knows nothing of optimizers, nor of who makes the lessons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from .. import prompts
from ..data.errors import ModelError
from ..prompts.fence import fence
from . import adapters
from .scoring import PackedScorer, split

if TYPE_CHECKING:
    import torch

    from .models import LanguageModel

Kind = Literal["relation", "support"]
Tokens = tuple[int, ...]
RELATIONS = ("complement", "substitute", "neither")
SUPPORTS = ("supported", "unsupported")
ANSWERS: dict[Kind, tuple[str, ...]] = {"relation": ("Together", "Instead", "Neither"), "support": ("Yes", "No")}
"""What the model says for each of `RELATIONS` and `SUPPORTS`, in their order."""
TITLE, FACT, SENTENCE = 120, 240, 400
"""Characters that are read of a title, a fact, a sentence."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Several questions over one beginning, with their answers.

    Attributes: prefix, questions: token ids. answers: per question, the place of the right one among `ANSWERS[kind]`.
    """

    kind: Kind
    prefix: Tokens
    questions: tuple[Tokens, ...]
    answers: tuple[int, ...]
    weight: float = 1.0


class Asker:
    """Renders questions for one model. Raises: ModelError: its tokenizer does not tell the answers apart."""

    def __init__(self, llm: LanguageModel, version: int = 1) -> None:
        self.llm, self.prompt = llm, prompts.load("judge", version)
        self.answers: dict[Kind, list[int]] = {kind: [llm.encode(said)[0] for said in words] for kind, words in ANSWERS.items()}
        if any(len(set(tokens)) < len(tokens) for tokens in self.answers.values()):
            raise ModelError(f"the tokenizer of {llm.name} writes two of the judge's answers with the same first token")

    @cached_property
    def _frames(self) -> dict[Kind, tuple[str, str]]:
        return {kind: self.llm.frame(self.prompt.render(kind)) for kind in ANSWERS}

    def relation(self, first: str, seconds: Sequence[str]) -> tuple[Tokens, list[Tokens]]:
        """How the titles of a first item and of others that it is held against are put: what they share, and each question."""
        before, after = self._frames["relation"]
        asked = [self.prompt.render("second", second=fence(second, TITLE)) for second in seconds]
        return self._encoded(before + self.prompt.render("first", first=fence(first, TITLE)), [f"\n{one}{after}" for one in asked])

    def support(self, facts: Sequence[str], sentences: Sequence[str]) -> tuple[Tokens, list[Tokens]]:
        """How facts and the sentences that they might bear out are put: what they share, and each question."""
        before, after = self._frames["support"]
        asked = [self.prompt.render("sentence", sentence=fence(sentence, SENTENCE)) for sentence in sentences]
        told = self.prompt.render("facts", facts=[fence(fact, FACT) for fact in facts])
        return self._encoded(before + told, [f"\n{one}{after}" for one in asked])

    def _encoded(self, prefix: str, questions: Sequence[str]) -> tuple[Tokens, list[Tokens]]:
        return tuple(self.llm.encode(prefix)), [tuple(self.llm.encode(question)) for question in questions]


class Judging:
    """The task of judging, as a training sees it. Attributes: room: tokens of one forward. asker: how it asks."""

    name, unit = adapters.JUDGE, "answer_chance"

    def __init__(self, llm: LanguageModel, room: int) -> None:
        self.llm, self.room = llm, room
        self.asker, self._scorer = Asker(llm), PackedScorer(llm)

    @classmethod
    def of(cls, llm: LanguageModel, room: int) -> Judging:
        """The task of judging for a model."""
        return cls(llm, room)

    @staticmethod
    def said(lesson: Lesson) -> list[object]:
        """All that is read of a lesson, as JSON."""
        return [lesson.kind, list(lesson.prefix), [list(one) for one in lesson.questions], list(lesson.answers), lesson.weight]

    def measure(self, lessons: Sequence[Lesson], *, tuned: bool = True) -> float:
        """The sum over the lessons of the mean chance, 0 to 1, of the right answers. Args: tuned: whether with the adapter."""
        import torch

        with torch.inference_mode(), self.llm.weights(adapter=adapters.JUDGE if tuned else False):
            return sum(
                float(self.log_chances(one.kind, one.prefix, one.questions).exp()[range(len(one.answers)), list(one.answers)].mean())
                for one in lessons
            )

    def accumulate(self, lessons: Sequence[Lesson], whole: float) -> float:
        """Adds the gradients of the lessons' weighted losses over `whole` to the trained parameters; returns the sum of those losses."""
        import torch

        total = 0.0
        for one in lessons:
            chances = self.log_chances(one.kind, one.prefix, one.questions)  # (questions, answers)
            wanted = torch.tensor(one.answers, device=chances.device)
            loss = torch.nn.functional.nll_loss(chances, wanted) * (one.weight / whole)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def log_chances(self, kind: Kind, prefix: Tokens, questions: Sequence[Tokens]) -> torch.Tensor:
        """(questions, answers) log of the chance of each answer, among the answers only; with gradients where they are on."""
        import torch

        room = max(self.room, len(prefix) + max(map(len, questions)))
        packs = split(len(prefix), [len(one) for one in questions], min(room, self.llm.context))
        states = torch.cat([self._scorer.hidden(prefix, [questions[i] for i in pack]) for pack in packs])  # (questions, hidden)
        head = self.llm.model.get_output_embeddings().weight[self.asker.answers[kind]]  # (answers, hidden)
        return torch.log_softmax(states.float() @ head.float().T, dim=1)
