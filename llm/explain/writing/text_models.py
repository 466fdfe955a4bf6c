"""Models that write freely: a local one from about 1.5B parameters, or one behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ....data import deadlines
from ....data.errors import TooLongError
from ...models.endpoint_connection import EndpointConnection
from ...models.usage import record_usage

if TYPE_CHECKING:
    from ...models.language_model import LanguageModel

SECONDS, CONCURRENCY = 20.0, 8
"""Time for one text, and texts at the same time."""
MAX_ANSWER_CHARS, MAX_ANSWER_BYTES = 4000, 1_000_000


class LocalTextModel:
    """A loaded model that writes one text after the other. Args: llm: the model."""

    concurrency = 1

    def __init__(self, llm: LanguageModel) -> None:
        self.llm = llm

    def write(self, system: str, user: str, max_tokens: int) -> str:
        """Return the answer to a message, by greedy decoding.

        Raises:
            TooLongError: The message does not fit the model's context.
        """
        prompt = self.llm.chat_prompt(system, [("user", user)])
        cut = max(prompt.find(user), 1)
        length = len(self.llm.encode(prompt)) + max_tokens
        if length > self.llm.context:
            raise TooLongError(f"a text of {length:,} tokens does not fit the context of {self.llm.name}, {self.llm.context:,} tokens")
        (text,) = self.llm.generate(prompt[:cut], [prompt[cut:]], max_new_tokens=max_tokens, max_lines=None)
        return text


class RemoteTextModel:
    """A model at an endpoint. Threads may share it.

    Args:
        url: Address up to `/v1`, with or without the prefix `openai:`.
        model: Name of the model at the endpoint.
        seconds: Time for one text; a request's deadline may be earlier.
        environment: Source of the API key, `os.environ` by default.

    Raises:
        SettingsError: The address is invalid or contains credentials.
    """

    concurrency = CONCURRENCY

    def __init__(self, url: str, model: str, *, seconds: float = SECONDS, environment: Mapping[str, str] | None = None) -> None:
        self.connection = EndpointConnection(url, CONCURRENCY, environment)
        self.url, self.model, self.seconds = self.connection.url, model, seconds

    def write(self, system: str, user: str, max_tokens: int) -> str:
        """Return the answer to a message.

        Raises:
            EndpointError: The endpoint cannot be reached, fails, is too slow, answers with nonsense, or has failed lately.
            TimedOutError: The current deadline has passed.
        """
        import httpx

        self.connection.check_pause()
        deadlines.check()
        deadline = deadlines.current()
        limit = min(self.seconds, deadline.remaining()) if deadline is not None else self.seconds
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        body = {"model": self.model, "messages": messages, "max_tokens": max_tokens, "temperature": 0.0}
        try:
            text = json.loads(self._answer(body, time.monotonic() + limit))["choices"][0]["message"]["content"]
            if not isinstance(text, str):
                raise TypeError
        # A RuntimeError is that of a client that another thread closes.
        except (httpx.HTTPError, ValueError, LookupError, TypeError, RuntimeError, RecursionError) as error:
            deadlines.check()
            raise self.connection.failed(f"it did not write a text ({type(error).__name__})") from None
        record_usage(texts_generated=1)
        return text[:MAX_ANSWER_CHARS]

    def _answer(self, body: Mapping[str, object], expires_at: float) -> bytes:
        """The body of an answer, read until a time on the clock of `time.monotonic`: an endpoint may also send it byte by byte."""
        import httpx

        parts, size = [], 0
        timeout = max(expires_at - time.monotonic(), 0.001)
        with self.connection.client().stream("POST", f"{self.url}/chat/completions", json=body, timeout=timeout) as answer:
            answer.raise_for_status()
            for part in answer.iter_bytes():
                parts.append(part)
                size += len(part)
                if time.monotonic() > expires_at or size > MAX_ANSWER_BYTES:
                    raise httpx.ReadTimeout("the answer is too long or too slow")
        return b"".join(parts)

    def close(self) -> None:
        """Close the connections; the next text opens new ones."""
        self.connection.close()
