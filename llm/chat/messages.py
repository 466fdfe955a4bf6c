"""Request to a chat model for a choice among labels, and its response with the probability of each label where known.

The requested answer is one JSON object with the reason before the choice, so that the choice can follow from the reason. Knows neither
the engines nor what is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MIN_LABEL_PROBABILITY = 0.5
"""Minimum total probability of the labels; below it the model was about to write something other than a label."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request.

    Attributes:
        system: The system message.
        user: The user message.
        key: Name of the choice in the JSON object.
        labels: The labels to choose from.
    """

    system: str
    user: str
    key: str
    labels: tuple[str, ...]

    @property
    def answer_prefix(self) -> str:
        """Start of the answer, up to the reason."""
        return '{"reason": "'

    def choice_prefix(self) -> str:
        """Return the text between the reason and the choice."""
        return f'", "{self.key}": ' + ("" if self.numeric else '"')

    @property
    def numeric(self) -> bool:
        """Whether all labels are whole numbers."""
        return all(label.isdecimal() for label in self.labels)

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the answer, for engines with structured output."""
        choice: dict[str, Any] = (
            {"type": "integer", "enum": [int(label) for label in self.labels]}
            if self.numeric
            else {"type": "string", "enum": list(self.labels)}
        )
        return {
            "type": "object",
            "properties": {"reason": {"type": "string"}, self.key: choice},
            "required": ["reason", self.key],
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """The response to a request.

    Attributes:
        text: Text as the model wrote it.
        finish: `stop`, or `length` if the text was truncated.
        chosen: Label at the position of the choice, None if that position is unknown.
        probabilities: Probability of each label at that position, with sum 1; None if unknown or below `MIN_LABEL_PROBABILITY` in total.
        prompt_tokens: Number of prompt tokens as counted by the engine, None if it does not count.
        completion_tokens: Number of generated tokens as counted by the engine, None if it does not count.
        seconds: Duration of the call without waiting times.
        calls: Number of calls, including failed ones.
    """

    text: str
    finish: str = "stop"
    chosen: str | None = None
    probabilities: Mapping[str, float] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    calls: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return the response as JSON-compatible values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ChatResponse:
        """Create a response from the output of `to_dict`."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})


def normalized_label_probabilities(labels: Sequence[str], token_probabilities: Mapping[str, float]) -> dict[str, float] | None:
    """Return the probabilities of the labels, normalized to sum 1.

    Args:
        labels: The labels.
        token_probabilities: Probability of each known token at the position of the choice; several tokens may spell one label.

    Returns:
        The probabilities; None if the labels have less than `MIN_LABEL_PROBABILITY` in total.

    Source: expected scores from token probabilities: Liu et al., G-Eval, EMNLP 2023, who accept any total.
    """
    totals = dict.fromkeys(labels, 0.0)
    for token, probability in token_probabilities.items():
        if (label := strip_token(token)) in totals:
            totals[label] += probability
    total = sum(totals.values())
    return {label: probability / total for label, probability in totals.items()} if total >= MIN_LABEL_PROBABILITY else None


def strip_token(token: str) -> str:
    """Return a token without the whitespace, quotation marks and closing brace that may surround a choice."""
    return token.strip(" \t\r\n\"'}▁Ġ")
