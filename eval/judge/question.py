"""Judge protocol, questions, and the judgements that are parsed from replies.

A reply is scored only if it contains one unambiguous JSON object with a reason and one of the choices. The score is the mean over the
probabilities of the choices where they are known, else the chosen number. Every other reply is *unscored*, with the cause, and counted; it
never becomes a low score. Does not know how a question is worded (`rubrics`) or sent (`runner`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from ...llm.chat.messages import ChatRequest, ChatResponse

if TYPE_CHECKING:
    from pydantic import BaseModel

UNREADABLE, TRUNCATED, EMPTY, TOO_LONG, REFUSED, NO_ANSWER = "unreadable", "cut off", "empty", "too long", "refused", "no answer"
"""Causes of an unscored judgement."""
MAX_REASON_CHARS = 1000
"""Characters of a reason that are stored."""
_THINKING = re.compile(r"^.*</think>", re.DOTALL)
_MAX_REPLY_CHARS = 20_000
"""Characters of a reply that are parsed."""


class Judge(Protocol):
    """A chat model that answers by choosing a label.

    Implemented by `llm.chat.openai_endpoint.OpenAIEndpoint` and `llm.chat.local_model.LocalChatModel`.
    """

    model: str

    def about(self) -> Mapping[str, Any]:
        """Return the model and all sampling settings that determine a reply."""

    def ask(self, request: ChatRequest, *, repeat: int = 0) -> ChatResponse:
        """Return the reply.

        Raises:
            ModelError: The model cannot be used, or the request is too long or refused.
            StoppedError: `stop` was called.
        """

    def tokens(self, request: ChatRequest) -> int | None:
        """Return the number of prompt tokens, None where only the endpoint can count them."""

    def stop(self) -> None:
        """Abort the calls in flight."""

    def close(self) -> None:
        """Release connections; the judge can be used again afterwards."""


@dataclass(frozen=True, slots=True)
class JudgeQuestion:
    """One call to make.

    Attributes:
        criterion: Criterion that is judged.
        prompt: Id of the prompt.
        prompt_hash: Hash of the prompt's text.
        request: Messages and choices.
        system: Recommender that is judged.
        user: User that the recommendations are for.
        item: Key of the judged item; empty where a list is judged.
        against: The other recommender of a pair; empty outside of pairs.
        swapped: True if `against` is shown as A.
        slices: Pairs of slice dimension and value.
    """

    criterion: str
    prompt: str
    prompt_hash: str
    request: ChatRequest
    system: str
    user: str
    item: str = ""
    against: str = ""
    swapped: bool = False
    slices: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        item = f", item {self.item}" if self.item else ""
        return f"{self.criterion} of user {self.user}{item} ({self.system}{' against ' + self.against if self.against else ''})"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Verdict of one judge on one question.

    Attributes:
        question: The question.
        judge: Name of the judge.
        repeat: 0 for the first call, 1 for the repetition.
        score: 1 to 5 for a criterion. For a pair: 1 if `system` is better, 0 if `against` is, 0.5 for a tie. None if unscored.
        chosen: Chosen label.
        probabilities: Probability of each label where known; the score is their mean then.
        reason: The judge's reason.
        unscored: Cause of a missing score.
    """

    question: JudgeQuestion
    judge: str
    repeat: int
    score: float | None
    chosen: str | None = None
    probabilities: Mapping[str, float] | None = None
    reason: str = ""
    unscored: str | None = None


@dataclass(frozen=True, slots=True)
class PanelJudgement:
    """A question with the judgements of a panel.

    Attributes:
        question: The question.
        judgements: One per judge in the order of the panel; None for a judge that has no judgement.
    """

    question: JudgeQuestion
    judgements: tuple[Judgement | None, ...]

    @property
    def score(self) -> float:
        """Mean over the judges with a score, NaN if there are none."""
        scores = [judgement.score for judgement in self.judgements if judgement is not None and judgement.score is not None]
        return sum(scores) / len(scores) if scores else math.nan


def parse_judgement(question: JudgeQuestion, judge: str, repeat: int, reply: ChatResponse) -> Judgement:
    """Return the judgement in a reply; an unreadable reply gives an unscored one."""
    request = question.request
    verdict = parse_verdict(reply.text, request)
    if verdict is None:
        cause = EMPTY if not reply.text.strip() else TRUNCATED if reply.finish == "length" else UNREADABLE
        return Judgement(question, judge, repeat, None, unscored=cause)
    reason, chosen = verdict
    # Probabilities at another token than the parsed choice belong to something else.
    probabilities = reply.probabilities if reply.chosen == chosen else None
    if probabilities is not None and not _is_distribution(probabilities, request):
        probabilities = None
    score = _expected_score(probabilities, question) if probabilities else _label_score(chosen, question)
    return Judgement(question, judge, repeat, score, chosen, probabilities, reason)


def parse_verdict(text: str, request: ChatRequest) -> tuple[str, str] | None:
    """Return the reason and the chosen label of a text; None if there are none, or several that differ."""
    values = _json_objects(_THINKING.sub("", text[:_MAX_REPLY_CHARS]))
    verdicts = {verdict for value in values for verdict in _validated(value, request.key, request.labels)}
    if len({chosen for _, chosen in verdicts}) != 1:
        return None
    return sorted(verdicts)[0]


def _json_objects(text: str) -> Iterator[Any]:
    """Yield the outermost JSON objects of a text, from left to right."""
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
            yield value
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)


def _validated(value: Any, key: str, labels: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the reason and the label if the value has the form of an answer."""
    from pydantic import ValidationError

    try:
        verdict = _answer_model(key, labels).model_validate(value)
    except (ValidationError, RecursionError):
        return
    yield " ".join(verdict.reason.split())[:MAX_REASON_CHARS], str(verdict.choice)  # type: ignore[attr-defined]  # made below


@cache
def _answer_model(key: str, labels: tuple[str, ...]) -> type[BaseModel]:
    """Return a model with a reason and, under `key`, one of the labels as a number or a string."""
    from typing import Annotated, Literal

    from pydantic import BeforeValidator, Field, create_model

    def as_label(value: Any) -> Any:
        if isinstance(value, bool):
            return None
        return str(int(value)) if isinstance(value, int | float) and float(value).is_integer() else str(value).strip()

    choice = Annotated[Literal[labels], BeforeValidator(as_label)]  # type: ignore[valid-type]  # labels are known at run time only
    return create_model("Answer", reason=(str, ...), choice=(choice, Field(alias=key)))


def _is_distribution(probabilities: Mapping[str, float], request: ChatRequest) -> bool:
    """Return whether the values are finite, add up to 1 and belong to labels of the request."""
    return (
        set(probabilities) <= set(request.labels)
        and all(map(math.isfinite, probabilities.values()))
        and abs(sum(probabilities.values()) - 1) < 1e-3
    )


def _expected_score(probabilities: Mapping[str, float], question: JudgeQuestion) -> float:
    """Return the mean score under the label probabilities.

    Source: Liu et al., G-Eval: NLG evaluation using GPT-4 with better human alignment, EMNLP 2023.
    """
    return sum(probability * _label_score(label, question) for label, probability in probabilities.items())


def _label_score(label: str, question: JudgeQuestion) -> float:
    """Return the score of one label: a number, the index of a named choice, or the outcome of a pair."""
    if not question.against:
        return float(label) if question.request.numeric else float(question.request.labels.index(label))
    if label == "tie":
        return 0.5
    return float((label == "B") == question.swapped)
