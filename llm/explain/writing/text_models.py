"""Models that write freely: a local one from about 1.5B parameters, or one behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ....data import deadlines
from ....data.errors import EndpointError, TooLongError
from ...chat.openai_endpoint import API_KEY_VARIABLES, validated_url
from ...models.usage import record_usage

if TYPE_CHECKING:
    import httpx

    from ...models.language_model import LanguageModel

SECONDS, CONCURRENCY, PAUSE_SECONDS = 20.0, 8, 30.0
"""Time for one text, texts at the same time, and time after a failure in which the endpoint is not called."""
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
        self.url, self.model, self.seconds = validated_url(url), model, seconds
        environment = os.environ if environment is None else environment
        self._key = next((value for name in API_KEY_VARIABLES if (value := environment.get(name, "").strip())), "")
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._paused_until = 0.0

    def write(self, system: str, user: str, max_tokens: int) -> str:
        """Return the answer to a message.

        Raises:
            EndpointError: The endpoint cannot be reached, fails, is too slow, answers with nonsense, or has failed lately.
            TimedOutError: The current deadline has passed.
        """
        import httpx

        with self._lock:
            if time.monotonic() < self._paused_until:
                raise EndpointError(f"{self.url} has failed lately and is not asked")
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
            with self._lock:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
            raise EndpointError(f"{self.url} did not write a text ({type(error).__name__})") from None
        record_usage(texts_generated=1)
        return text[:MAX_ANSWER_CHARS]

    def _answer(self, body: Mapping[str, object], expires_at: float) -> bytes:
        """The body of an answer, read until a time on the clock of `time.monotonic`: an endpoint may also send it byte by byte."""
        import httpx

        parts, size = [], 0
        timeout = max(expires_at - time.monotonic(), 0.001)
        with self._connected().stream("POST", f"{self.url}/chat/completions", json=body, timeout=timeout) as answer:
            answer.raise_for_status()
            for part in answer.iter_bytes():
                parts.append(part)
                size += len(part)
                if time.monotonic() > expires_at or size > MAX_ANSWER_BYTES:
                    raise httpx.ReadTimeout("the answer is too long or too slow")
        return b"".join(parts)

    def close(self) -> None:
        """Close the connections; the next text opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                import httpx

                headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
                self._client = httpx.Client(headers=headers, limits=httpx.Limits(max_connections=CONCURRENCY))
            return self._client
