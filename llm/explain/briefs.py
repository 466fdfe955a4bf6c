"""The learned way to word a reason: what the model is told of it, and what it learns from.

    reason -> slots -> prompt -> letters and joining words (`writing`) -> slots filled (`slots`)

Training and serving render one prompt. What is learned from are wordings written by hand, with slots for all that a store would fill,
and told again and again of other items. Knows nothing of how a wording is checked, nor of optimizers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, get_args

from ... import prompts
from .constrained_decoding import Length
from .reasons import Occasion
from .slots import LETTERS, NAMES, lettered

if TYPE_CHECKING:
    import torch

    from ..models.language_model import LanguageModel

Tone = Literal["plain", "warm", "expert"]
TONES, LENGTHS = get_args(Tone), get_args(Length)
SPOKEN = (
    "a puppy moves in on Friday",
    "cycling to work in the rain",
    "moving into my first flat",
    "my daughter starts school next week",
    "a week in the mountains",
    "I want to bake my own bread",
    "working from home",
    "something for long winter evenings",
)
"""What shoppers might say, for lessons and for wordings that anybody may be told."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What the model is told of a reason.

    Attributes: item, own, need: the names, own or need None. slots: all that are to be written. firm: see `writing.Task`.
        fault: what was wrong with an earlier wording, None for the first.
    """

    item: str
    own: str | None
    need: str | None
    occasion: Occasion
    slots: frozenset[str]
    firm: bool
    tone: Tone = "warm"
    length: Length = "line"
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Wording:
    """A wording written by hand. Attributes: text: with `{slot}`s. categories: that it was written for: of what is had, of the item."""

    tone: Tone
    length: Length
    firm: bool
    occasion: Occasion
    categories: tuple[str, str]
    text: str
    slots: frozenset[str]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One wording as the model learns it. Attributes: prompt, answer: token ids. weight: beside others."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    weight: float = 1.0


class Briefing:
    """Renders briefs for one model, for training and serving alike."""

    def __init__(self, llm: LanguageModel, version: int = 1) -> None:
        self.llm, self.prompt = llm, prompts.load("word", version)
        self._meanings = dict(line.split(": ", 1) for line in self.prompt.lines("facts"))

    @cached_property
    def _parts(self) -> tuple[str, str]:
        return self.llm.frame(self.prompt.render("system"))

    def text(self, brief: Brief) -> tuple[str, str]:
        """What stands before every brief, and the brief itself up to where the answer begins."""
        before, after = self._parts
        told = [f"{LETTERS[slot]} = {meaning}" for slot, meaning in self._meanings.items() if slot in brief.slots]
        user = self.prompt.render(
            "user",
            tone=brief.tone,
            length=brief.length,
            firm=brief.firm,
            item=brief.item,
            own=brief.own,
            owned=brief.occasion == "owned",
            need=brief.need,
            facts=told,
            fault=brief.fault,
        )
        return before, user + after

    def lesson(self, brief: Brief, wording: str) -> Lesson:
        """A brief with its answer, to learn from."""
        end = self.llm.tokenizer.eos_token_id
        return Lesson(
            tuple(self.llm.encode("".join(self.text(brief)))),
            (*self.llm.encode(lettered(wording)), end),
        )


class Writer:
    """The task of wording, as a training sees it. Attributes: room: tokens of one forward, padding included."""

    name, unit = "word", "token_chance"

    def __init__(self, llm: LanguageModel, room: int) -> None:
        self.llm, self.room = llm, room

    @classmethod
    def of(cls, llm: LanguageModel, room: int) -> Writer:
        """The task of wording for a model."""
        return cls(llm, room)

    @staticmethod
    def said(lesson: Lesson) -> list[object]:
        """All that is read of a lesson, as JSON."""
        return [list(lesson.prompt), list(lesson.answer), lesson.weight]

    def measure(self, lessons: Sequence[Lesson], *, tuned: bool = True) -> float:
        """The sum over the lessons of the chance, 0 to 1, of a token of the answer: exp(-loss). Args: tuned: whether with the adapter."""
        import torch

        with torch.inference_mode(), self.llm.weights(adapter="word" if tuned else False):
            return sum(float(torch.exp(-self.loss(part)).sum()) for part in self._parts(lessons))

    def accumulate(self, lessons: Sequence[Lesson], whole: float) -> float:
        """Adds the gradients of the lessons' weighted losses to the trained parameters, and returns the sum of those losses.

        Args: whole: the weight of the full batch, by which everything is divided.
        """
        import torch

        total = 0.0
        for part in self._parts(lessons):
            weights = torch.tensor([one.weight / whole for one in part], device=self.llm.device)
            loss = (self.loss(part) * weights).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def _parts(self, lessons: Sequence[Lesson]) -> list[Sequence[Lesson]]:
        """The lessons in as few forwards as the room allows."""
        width = max((len(one.prompt) + len(one.answer) for one in lessons), default=1)
        most = max(1, self.room // width)
        return [lessons[i : i + most] for i in range(0, len(lessons), most)]

    def loss(self, lessons: Sequence[Lesson]) -> torch.Tensor:
        """(lessons,) mean cross-entropy of each answer's tokens, nats."""
        import torch

        width = max(len(one.prompt) + len(one.answer) for one in lessons)
        pad = self.llm.tokenizer.pad_token_id
        whole = [[*one.prompt, *one.answer] for one in lessons]
        ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in whole])  # (lessons, width)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in whole])
        model, device = self.llm.model, self.llm.device
        hidden = model.model(ids.to(device), attention_mask=mask.to(device), use_cache=False).last_hidden_state  # (lessons, width, size)
        rows = [row for row, one in enumerate(lessons) for _ in one.answer]
        # What is read at one place is the next token: the answer is read from the prompt's last place on.
        places = [len(one.prompt) - 1 + i for one in lessons for i in range(len(one.answer))]
        scores = model.lm_head(hidden[rows, places]).float()  # (answer tokens, vocabulary)
        wanted = torch.tensor([token for one in lessons for token in one.answer], device=device)
        each = torch.nn.functional.cross_entropy(scores, wanted, reduction="none")
        return torch.stack([part.mean() for part in torch.split(each, [len(one.answer) for one in lessons])])


@cache
def examples() -> tuple[Wording, ...]:
    """The wordings that ship, written by hand.

    Raises: ValueError: a line that is no wording.
    """
    source = files(prompts.__package__ or "").joinpath("data", "wordings.jsonl").read_text("utf-8")
    return tuple(wording(json.loads(line)) for line in source.splitlines() if line.strip())


@cache
def combinations(length: Length) -> tuple[frozenset[str], ...]:
    """The facts that are told together in a text of a length, as those do that were written by hand."""
    found = {frozenset(evidence_slots(one.slots)) for one in examples() if one.length == length}
    return tuple(sorted(found, key=sorted))


def wording(said: Mapping[str, object]) -> Wording:
    """A wording from a line of the file. Raises: ValueError: a slot that is not known, or another field that is off."""
    text, slots = str(said["text"]), frozenset(_names(said["slots"]))
    had, item = _names(said["categories"])
    tone, length, occasion = (
        _one_of(said[name], among) for name, among in (("tone", TONES), ("length", LENGTHS), ("occasion", get_args(Occasion)))
    )
    if unknown := slots - LETTERS.keys():
        raise ValueError(f"no slots: {', '.join(sorted(unknown))}")
    if any(text.count(f"{{{slot}}}") != 1 for slot in slots) or text.count("{") != len(slots):
        raise ValueError(f"not each slot once: {text}")
    return Wording(tone, length, said["strength"] == "firm", occasion, (had, item), text, slots)  # type: ignore[arg-type]


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _one_of(value: object, among: Collection[str]) -> str:
    if value not in among:
        raise ValueError(f"{value!r} is none of {', '.join(among)}")
    return str(value)


def evidence_slots(slots: Collection[str]) -> set[str]:
    """The slots that are facts, not names."""
    return set(slots) - set(NAMES)
