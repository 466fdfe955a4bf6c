"""A/B tests: which of two configurations a user gets. The same user always gets the same one, in every process, without any record.

The arm hangs on a hash of the experiment's name and the user's id, so that two experiments part the users independently.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import FormatError, SettingsError
from .splits import draws

ARMS = ("A", "B")
OPTIONS: Mapping[str, tuple[type, ...]] = {
    "novelty": (int, float),
    "new_items": (int,),
    "new_up_to": (int,),
    "explain": (bool,),
    "tone": (str,),
    "length": (str,),
}
"""What two configurations may differ in: arguments of `Recommender.recommend`, with their types."""


@dataclass(frozen=True)
class Experiment:
    """Two configurations and how the users are parted.

    Attributes:
        name: letters, digits, `-` and `_`. share: of the users who get B, above 0 and below 1. A, B: options, see `OPTIONS`.
    """

    name: str
    share: float = 0.5
    A: Mapping[str, Any] = field(default_factory=dict)
    B: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises: SettingsError: a name, a share or an option that means nothing."""
        if not self.name or not all(character.isalnum() or character in "-_" for character in self.name):
            raise SettingsError(f"an experiment's name is of letters, digits, - and _, not {self.name!r}")
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
        """The experiment in a JSON file: `{"name": "novelty", "share": 0.5, "A": {}, "B": {"novelty": 0.5}}`.

        Raises: FormatError: it cannot be read. SettingsError: it means nothing.
        """
        try:
            told = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise FormatError(file, None, f"cannot be read as JSON ({error})") from error
        if not isinstance(told, dict) or not set(told) <= set(cls.__dataclass_fields__) or "name" not in told:
            raise FormatError(file, None, f"wanted an object with a name, and of {', '.join(cls.__dataclass_fields__)} what is needed")
        if not isinstance(told["name"], str) or not all(isinstance(told.get(arm, {}), dict) for arm in ARMS):
            raise FormatError(file, None, "wanted a text as the name, and objects as A and B")
        return cls(**told)

    def arm(self, user_id: str) -> str:
        """The user's arm as served lists are logged with it: `name/A` or `name/B`."""
        return f"{self.name}/{ARMS[self._is_b(user_id)]}"

    def options(self, user_id: str) -> Mapping[str, Any]:
        """The options of the user's arm."""
        return self.B if self._is_b(user_id) else self.A

    def _is_b(self, user_id: str) -> bool:
        return bool(draws([f"{self.name}\0{user_id}"], 0)[0] < self.share)
