"""What judging costs: tokens, prices, and a limit that is kept to.

Money is set aside before a call is made, by an estimate that is rather too high, and settled by what the endpoint counted; so a run of many
calls at once does not go beyond its limit by what is under way.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ...data.errors import SettingsError
from ...llm.chat.messages import Asked

CHARACTERS = 3.0
"""Of a token, as estimated where an endpoint's tokenizer is not known. English has about 4; other languages and numbers fewer."""
FRAME = 20
"""Tokens that a chat template adds, estimated."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in whatever currency; 0 where it costs nothing or is not known."""

    input: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        """Raises: SettingsError: a price below 0."""
        if not (0 <= self.input < float("inf") and 0 <= self.output < float("inf")):
            raise SettingsError("a price is a number of 0 or more, of a million tokens")

    def of(self, prompt: float, completion: float) -> float:
        """What so many tokens cost."""
        return (prompt * self.input + completion * self.output) / 1e6


def estimated(asked: Asked) -> int:
    """Tokens of a question where nobody counts them."""
    return int(len(asked.system + asked.user) / CHARACTERS) + FRAME


class Purse:
    """What was spent and what may be. Threads share it.

    Args: limit: in the currency of the prices, None for none.
    Raises: SettingsError: a limit without a price, which could never be reached, or one that is not above 0.
    """

    def __init__(self, prices: Prices, limit: float | None = None) -> None:
        if limit is not None and not 0 < limit < float("inf"):
            raise SettingsError(f"--spend-limit is a sum above 0, not {limit}")
        if limit is not None and not (prices.input or prices.output):
            raise SettingsError("--spend-limit needs --price-in and --price-out, of a million tokens, or nothing is known to cost")
        self.prices, self.limit = prices, limit
        self.spent = 0.0
        self._aside = 0.0
        self._lock = threading.Lock()

    def take(self, cost: float) -> bool:
        """Sets a cost aside; False, and nothing is set aside, where it might not be covered."""
        with self._lock:
            if self.limit is not None and self.spent + self._aside + cost > self.limit:
                return False
            self._aside += cost
            return True

    def settle(self, aside: float, cost: float) -> None:
        """Puts back what was set aside and spends what it came to."""
        with self._lock:
            self._aside -= aside
            self.spent += cost
