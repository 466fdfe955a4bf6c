"""Configuration of the teacher: which model at which endpoint, and how many requests it may be sent."""

from __future__ import annotations

from dataclasses import dataclass

from ...data.errors import SettingsError
from ...data.settings import ENDPOINT_PREFIX
from ...llm.chat.openai_endpoint import validated_url

DEFAULT_BUDGET = 2000


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """A large model that grades questions before the training.

    Attributes:
        endpoint: `openai:http://host:port/v1`.
        model: Name of the model at the endpoint.
        budget: Maximum number of requests, retries included. A question takes two.
        timeout: Seconds for one request. An endpoint that hangs is given up after `max_attempts` times this.
        max_attempts: Maximum number of requests for one answer, if the endpoint is busy, fails or is too slow.
        concurrency: Requests at the same time.

    Raises:
        SettingsError: The endpoint is invalid, no model is named, or a number is out of range.
    """

    endpoint: str
    model: str
    budget: int = DEFAULT_BUDGET
    timeout: float = 90.0
    max_attempts: int = 3
    concurrency: int = 4

    def __post_init__(self) -> None:
        if not self.endpoint.startswith(ENDPOINT_PREFIX):
            raise SettingsError(f"the teacher must be an endpoint, openai:http://host:port/v1, not {self.endpoint!r}")
        validated_url(self.endpoint)
        if not self.model.strip():
            raise SettingsError(f"name the model at the endpoint {self.endpoint} with --teacher-model")
        if not isinstance(self.budget, int) or isinstance(self.budget, bool) or self.budget < 2:
            raise SettingsError(f"the teacher's budget must be a whole number of 2 or more requests, not {self.budget}")
        if not (self.timeout > 0 and self.max_attempts >= 1 and self.concurrency >= 1):
            raise SettingsError("the teacher's timeout, max_attempts and concurrency must be above 0")
