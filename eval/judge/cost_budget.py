"""Cost of judging: tokens, prices, and a spend limit.

The cost of a call is reserved before the call by an upper estimate and replaced by the endpoint's token counts afterwards, so that calls in
flight cannot exceed the limit.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ...data.errors import SettingsError
from ...llm.chat.messages import ChatRequest

CHARS_PER_TOKEN = 3.0
"""Estimate where the endpoint's tokenizer is unknown. English has about 4; other languages and numbers fewer."""
CHAT_TEMPLATE_TOKENS = 20
"""Estimate of the tokens that a chat template adds."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices per million tokens in any currency; 0 where free or unknown.

    Attributes:
        input: Price of prompt tokens.
        output: Price of completion tokens.

    Raises:
        SettingsError: A price is negative or not finite.
    """

    input: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.input < float("inf") and 0 <= self.output < float("inf")):
            raise SettingsError("--price-in and --price-out must be 0 or more, per million tokens")

    def cost(self, prompt: float, completion: float) -> float:
        """Return the cost of a number of prompt and completion tokens."""
        return (prompt * self.input + completion * self.output) / 1e6


def estimate_tokens(request: ChatRequest) -> int:
    """Return an estimate of the prompt tokens of a request."""
    return int(len(request.system + request.user) / CHARS_PER_TOKEN) + CHAT_TEMPLATE_TOKENS


class CostBudget:
    """Spent and reserved cost with an optional limit. Thread-safe.

    Args:
        prices: Prices of the judge.
        limit: Spend limit in the currency of the prices, None for no limit.

    Raises:
        SettingsError: The limit is not above 0, or all prices are 0, so that it could never be reached.
    """

    def __init__(self, prices: Prices, limit: float | None = None) -> None:
        if limit is not None and not 0 < limit < float("inf"):
            raise SettingsError(f"--spend-limit must be above 0, not {limit}")
        if limit is not None and not (prices.input or prices.output):
            raise SettingsError("--spend-limit has no effect without prices: set --price-in and --price-out, per million tokens")
        self.prices, self.limit = prices, limit
        self.spent = 0.0
        self._reserved = 0.0
        self._lock = threading.Lock()

    def reserve(self, cost: float) -> bool:
        """Reserve a cost. Return False, without a reservation, if it might exceed the limit."""
        with self._lock:
            if self.limit is not None and self.spent + self._reserved + cost > self.limit:
                return False
            self._reserved += cost
            return True

    def commit(self, reserved: float, cost: float) -> None:
        """Release a reservation and add the actual cost to `spent`."""
        with self._lock:
            self._reserved -= reserved
            self.spent += cost
