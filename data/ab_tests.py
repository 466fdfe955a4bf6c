"""A/B tests: deterministic assignment of users to two configurations, without stored state.

The arm depends on a hash of the experiment's name and the user id, so that assignments of different experiments are independent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import FormatError, SettingsError
from .splits import hash_uniforms

ARMS = ("A", "B")
OPTIONS: Mapping[str, tuple[type, ...]] = {
    "novelty": (int, float),
    "new_items": (int,),
    "new_up_to": (int,),
    "explain": (bool,),
    "tone": (str,),
    "length": (str,),
}
"""Options that the two configurations may set: arguments of `Recommender.recommend` and their types."""


@dataclass(frozen=True)
class Experiment:
    """Two configurations and the share of users in each.

    Attributes:
        name: Letters, digits, `-` and `_`.
        share: Share of the users assigned to B, between 0 and 1 (exclusive).
        A: Options of arm A, see `OPTIONS`.
        B: Options of arm B.
    """

    name: str
    share: float = 0.5
    A: Mapping[str, Any] = field(default_factory=dict)
    B: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: Invalid name, share or option.
        """
        if not self.name or not all(character.isalnum() or character in "-_" for character in self.name):
            raise SettingsError(f"invalid experiment name {self.name!r}: use letters, digits, - and _")
        if isinstance(self.share, bool) or not isinstance(self.share, int | float) or not 0 < self.share < 1:
            raise SettingsError(f"the share of B is {self.share!r}; it must be above 0 and below 1")
        for arm in ARMS:
            for name, value in getattr(self, arm).items():
                if name not in OPTIONS:
                    raise SettingsError(f"{arm} of the experiment {self.name} sets {name!r}; it may set {', '.join(OPTIONS)}")
                if not isinstance(value, OPTIONS[name]) or (isinstance(value, bool) and bool not in OPTIONS[name]):
                    raise SettingsError(f"{arm} of the experiment {self.name} sets {name} to {value!r}, which is of the wrong type")

    @classmethod
    def read(cls, file: Path) -> Experiment:
        """Read an experiment from a JSON file: `{"name": "novelty", "share": 0.5, "A": {}, "B": {"novelty": 0.5}}`.

        Raises:
            FormatError: The file cannot be read or has other fields.
            SettingsError: A value is invalid.
        """
        try:
            content = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise FormatError(file, None, f"cannot be read as JSON ({error})") from error
        if not isinstance(content, dict) or not set(content) <= set(cls.__dataclass_fields__) or "name" not in content:
            raise FormatError(file, None, f"expected an object with a name and no fields besides {', '.join(cls.__dataclass_fields__)}")
        if not isinstance(content["name"], str) or not all(isinstance(content.get(arm, {}), dict) for arm in ARMS):
            raise FormatError(file, None, "expected a text as the name, and objects as A and B")
        return cls(**content)

    def arm(self, user_id: str) -> str:
        """Label of the user's arm in the log of served lists: `name/A` or `name/B`."""
        return f"{self.name}/{ARMS[self._is_b(user_id)]}"

    def options(self, user_id: str) -> Mapping[str, Any]:
        """Options of the user's arm."""
        return self.B if self._is_b(user_id) else self.A

    def _is_b(self, user_id: str) -> bool:
        return bool(hash_uniforms([f"{self.name}\0{user_id}"], 0)[0] < self.share)
