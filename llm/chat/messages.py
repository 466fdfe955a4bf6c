"""A question that a chat model answers by choosing, and its reply: the text, and how likely each choice was where that is known.

The answer asked for is one JSON object, the reason first and the choice after it, so that the choice can rest on the reason. Knows of
no engine and nothing of what is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

ENOUGH = 0.5
"""Least probability that the choices must have together: below it the model was about to say something else than one of them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question.

    Attributes:
        system, user: the two messages. key: name of the choice in the JSON object. labels: what may be chosen.
    """

    system: str
    user: str
    key: str
    labels: tuple[str, ...]

    @property
    def opening(self) -> str:
        """How the answer begins, up to the reason."""
        return '{"reason": "'

    def closing(self) -> str:
        """What follows the reason, up to the choice."""
        return f'", "{self.key}": ' + ("" if self.numeric else '"')

    @property
    def numeric(self) -> bool:
        """Whether the choices are whole numbers."""
        return all(label.isdecimal() for label in self.labels)

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the answer, for engines that can be held to one."""
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
class Reply:
    """What came back.

    Attributes:
        text: as the model wrote it. finish: `stop`, or `length` where it was cut.
        chosen: the label at the place where the answer chooses, None where no such place is known.
        probabilities: of each label at that place, adding up to 1; None where they are not known or together below `ENOUGH`.
        prompt_tokens, completion_tokens: as the engine counted them, None where it did not.
        seconds: that the call took, waiting left out. calls: how many it took, failed ones included.
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
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Reply:
        """The reply that `to_dict` gave."""
        return cls(**{name: held[name] for name in cls.__dataclass_fields__ if name in held})


def among(labels: Sequence[str], likely: Mapping[str, float]) -> dict[str, float] | None:
    """The probabilities of the labels, made to add up to 1; None where the model was about to say something else.

    Args: likely: probability of each token at the place of the choice, as far as it is known; several may spell one label.
    Source: expected scores from token probabilities: Liu et al., G-Eval, EMNLP 2023, who take whatever share the labels have.
    """
    found = dict.fromkeys(labels, 0.0)
    for token, probability in likely.items():
        if (label := bare(token)) in found:
            found[label] += probability
    together = sum(found.values())
    return {label: probability / together for label, probability in found.items()} if together >= ENOUGH else None


def bare(token: str) -> str:
    """A token without the spaces, quotation marks and bracket that may stand at a choice."""
    return token.strip(" \t\r\n\"'}▁Ġ")
