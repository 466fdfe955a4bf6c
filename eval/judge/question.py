"""What a judge is, what it is asked, and what is made of its reply.

A reply gives a judgement only when it says one thing clearly: one JSON object with a reason and one of the choices. Where the probabilities
of the choices are known the score is their mean, else the number that was written. Everything else is *unscored*, with the cause, and
counted; it is never a low score.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from ...llm.chat.messages import Asked, Reply

if TYPE_CHECKING:
    from pydantic import BaseModel

UNREADABLE, CUT, EMPTY, TOO_LONG, REFUSED, NO_ANSWER = "unreadable", "cut off", "empty", "too long", "refused", "no answer"
"""Why a judgement is unscored."""
REASON = 1000
"""Characters that are kept of a reason."""
_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
_TEXTS = 20_000
"""Characters of a reply that are read."""


class Judge(Protocol):
    """A chat model that chooses: `llm.chat.openai_endpoint.Endpoint`, `llm.chat.local_model.LocalAnswers`."""

    model: str

    def about(self) -> Mapping[str, Any]:
        """All that a reply hangs on besides the question."""

    def ask(self, asked: Asked, *, repeat: int = 0) -> Reply:
        """The reply. Raises: ModelError and its kinds; StoppedError."""

    def tokens(self, asked: Asked) -> int | None:
        """Tokens of a question, None where only the endpoint can count them."""

    def stop(self) -> None:
        """Breaks off what is under way."""

    def close(self) -> None:
        """Lets go of what is held open; more may be asked afterwards."""


@dataclass(frozen=True, slots=True)
class Question:
    """One call that is to be made.

    Attributes:
        criterion: what is judged. prompt, prompt_hash: the prompt's name, and of its text.
        system, user, item: what it is about; the item's key is empty where a list is judged.
        against: the other system, in a pair. swapped: whether `against` is shown as A. slices: name of a cut to the part this is in.
    """

    criterion: str
    prompt: str
    prompt_hash: str
    asked: Asked
    system: str
    user: str
    item: str = ""
    against: str = ""
    swapped: bool = False
    slices: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        about = f", item {self.item}" if self.item else ""
        return f"{self.criterion} of user {self.user}{about} ({self.system}{' against ' + self.against if self.against else ''})"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge made of a question.

    Attributes:
        judge: its name. repeat: 0, or the number of the repetition.
        score: 1 to 5 for a criterion; for a pair 1 where `system` is better, 0 where `against` is, 0.5 for a tie; None where unscored.
        chosen: the label. likely: the probability of each, where they are known; the score is their mean then. reason: the judge's.
        unscored: why there is no score.
    """

    question: Question
    judge: str
    repeat: int
    score: float | None
    chosen: str | None = None
    likely: Mapping[str, float] | None = None
    reason: str = ""
    unscored: str | None = None


def judged(question: Question, judge: str, repeat: int, reply: Reply) -> Judgement:
    """The judgement that a reply gives."""
    asked = question.asked
    verdict = verdict_of(reply.text, asked)
    if verdict is None:
        cause = EMPTY if not reply.text.strip() else CUT if reply.finish == "length" else UNREADABLE
        return Judgement(question, judge, repeat, None, unscored=cause)
    reason, chosen = verdict
    # Probabilities of another place than the one that was read say nothing of it.
    likely = reply.probabilities if reply.chosen == chosen else None
    if likely is not None and not _sound(likely, asked):
        likely = None
    score = _expected(likely, question) if likely else _value(chosen, question)
    return Judgement(question, judge, repeat, score, chosen, likely, reason)


def verdict_of(text: str, asked: Asked) -> tuple[str, str] | None:
    """The reason and the choice that a text gives; None where it gives none, or two that differ."""
    told = _objects(_THOUGHT.sub("", text[:_TEXTS]))
    found = {verdict for one in told for verdict in _validated(one, asked.key, asked.labels)}
    if len({chosen for _, chosen in found}) != 1:
        return None
    return sorted(found)[0]


def _objects(text: str) -> Iterator[Any]:
    """The JSON objects that stand in a text, from left to right, what is inside another one left out."""
    decoder, place = json.JSONDecoder(), text.find("{")
    while place >= 0:
        try:
            told, end = decoder.raw_decode(text, place)
            yield told
        except (ValueError, RecursionError):
            end = place + 1
        place = text.find("{", end)


def _validated(told: Any, key: str, labels: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    from pydantic import ValidationError

    try:
        verdict = _form(key, labels).model_validate(told)
    except (ValidationError, RecursionError):
        return
    yield " ".join(verdict.reason.split())[:REASON], str(verdict.choice)  # type: ignore[attr-defined]  # made below


@cache
def _form(key: str, labels: tuple[str, ...]) -> type[BaseModel]:
    """The form of an answer: a reason, and under `key` one of the labels, as a number or as a text."""
    from typing import Annotated, Literal

    from pydantic import BeforeValidator, Field, create_model

    def spelt(value: Any) -> Any:
        if isinstance(value, bool):
            return None
        return str(int(value)) if isinstance(value, int | float) and float(value).is_integer() else str(value).strip()

    choice = Annotated[Literal[labels], BeforeValidator(spelt)]  # type: ignore[valid-type]  # labels are known at run time only
    return create_model("Answer", reason=(str, ...), choice=(choice, Field(alias=key)))


def _sound(likely: Mapping[str, float], asked: Asked) -> bool:
    return set(likely) <= set(asked.labels) and all(map(math.isfinite, likely.values())) and abs(sum(likely.values()) - 1) < 1e-3


def _expected(likely: Mapping[str, float], question: Question) -> float:
    """Source: Liu et al., G-Eval: NLG evaluation using GPT-4 with better human alignment, EMNLP 2023."""
    return sum(probability * _value(label, question) for label, probability in likely.items())


def _value(chosen: str, question: Question) -> float:
    if not question.against:
        return float(chosen) if question.asked.numeric else float(question.asked.labels.index(chosen))
    if chosen == "tie":
        return 0.5
    return float((chosen == "B") == question.swapped)
