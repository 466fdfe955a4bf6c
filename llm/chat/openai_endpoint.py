"""Chat model behind an OpenAI-compatible endpoint (vLLM, llama.cpp, Ollama, `transformers serve`, hosted services).

Differences between endpoints are detected by use: a parameter that an endpoint rejects is omitted from then on. Temporary failures are
retried by the OpenAI client, which respects Retry-After; other failures become one-sentence errors. The API key is read from the
environment and removed from all text that is returned, so that it appears in no log, file or message even if the endpoint repeats it.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...data.errors import EndpointError, RefusedError, SettingsError, TooLongError
from ...data.settings import ENDPOINT_PREFIX
from .messages import ChatRequest, ChatResponse, normalized_label_probabilities, strip_token
from .rate_limit import RequestRateLimiter, StoppedError

if TYPE_CHECKING:
    from openai import OpenAI

API_KEY_VARIABLES = ("CROSSAISLE_JUDGE_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the API key; the first one that is set is used."""
MAX_ATTEMPTS = 6
TIMEOUT = 120.0
"""Seconds for one call."""
TOP_LOGPROBS = 20
"""Number of alternatives requested for each token: the maximum of OpenAI, and more than five scores need."""
_OPTIONAL = ("logprobs", "response_format", "temperature", "max_tokens", "seed")
_TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size)|maximum context|too many tokens|prompt is too long|exceeds? .{0,40}\btokens", re.I
)


class OpenAIEndpoint:
    """A chat model at a URL. Threads may share it.

    Args:
        url: URL up to `/v1`.
        model: Name of the model at the endpoint; None uses the only model that it serves.
        temperature: Sampling temperature; 0 for the most likely answer.
        max_tokens: Maximum length of an answer.
        timeout: Seconds for one call.
        max_attempts: Maximum number of calls for one request.
        rate_limiter: Limits the rate of calls, retries included; no limit by default.
        environment: Source of the API key, `os.environ` by default.

    Raises:
        SettingsError: The URL is invalid or contains credentials.
        EndpointError: No model was named and the endpoint does not serve exactly one.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        temperature: float = 0.0,
        max_tokens: int = 200,
        timeout: float = TIMEOUT,
        max_attempts: int = MAX_ATTEMPTS,
        rate_limiter: RequestRateLimiter | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.url, self.temperature, self.max_tokens, self.max_attempts = validated_url(url), temperature, max_tokens, max_attempts
        self.rate_limiter = rate_limiter or RequestRateLimiter()
        environment = os.environ if environment is None else environment
        self._key_name = next((name for name in API_KEY_VARIABLES if environment.get(name, "").strip()), None)
        self._key = environment[self._key_name].strip() if self._key_name else ""
        self._timeout = timeout
        self._client_lock = threading.Lock()
        self._client: OpenAI | None = None
        self._calls = _Calls()
        self._unsupported: frozenset[str] = frozenset()
        self.model = model or self._only_model()

    def about(self) -> dict[str, Any]:
        """Return everything besides the request that a response depends on."""
        return {"endpoint": self.url, "model": self.model, "temperature": self.temperature, "max_tokens": self.max_tokens}

    def ask(self, request: ChatRequest, *, repeat: int = 0) -> ChatResponse:
        """Return the endpoint's response.

        Args:
            request: The request.
            repeat: Number of the repetition, used as the seed.

        Raises:
            EndpointError: The endpoint is unreachable, fails repeatedly, rejects the API key or does not serve the model.
            TooLongError: The request does not fit the context of the model.
            RefusedError: The endpoint refuses this request.
            StoppedError: `stop` was called.
        """
        calls, message = 0, ""
        for attempt in range(self.max_attempts):
            completion = self._create(request, repeat)
            calls += self._calls.count
            try:
                return self._response(completion, request, time.monotonic() - self._calls.sent_at, calls)
            except _UnreadableError as error:  # the client does not retry a response with status 200
                message = str(error)
            if attempt < self.max_attempts - 1:
                self.rate_limiter.sleep(0.5 * 2.0**attempt)
        raise self._no_answer(message, calls)

    def tokens(self, request: ChatRequest) -> None:
        """Return None: only the endpoint can count tokens."""

    def stop(self) -> None:
        """Send no more calls. A call in progress ends with its response or its timeout, and a pause before a retry ends first."""
        self.rate_limiter.stop()
        self.close()

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._client_lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    # ------------------------------------------------------------------ one call

    def _create(self, request: ChatRequest, repeat: int) -> Any:
        """Return the completion as the client returns it, after omitting the parameters that the endpoint does not support."""
        while True:
            unsupported = self._unsupported
            try:
                return self._call(self._parameters(request, repeat, unsupported))
            except RefusedError as error:
                rejected = {name for name in _OPTIONAL if name not in unsupported and name in str(error)}
                # An endpoint that does not name the parameter is called once without the least supported ones.
                rejected = rejected or {"logprobs", "response_format"} - unsupported
                if not rejected:
                    raise
                try:
                    completion = self._call(self._parameters(request, repeat, unsupported | rejected))
                except RefusedError:
                    if not any(name in str(error) for name in rejected):
                        raise error from None  # the parameters were not the cause
                    self._unsupported |= rejected
                    continue
                self._unsupported |= rejected
                return completion

    def _parameters(self, request: ChatRequest, repeat: int, unsupported: frozenset[str]) -> dict[str, Any]:
        schema = {"name": "answer", "strict": True, "schema": request.schema()}
        parameters: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": repeat,
            "logprobs": True,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }
        if "logprobs" not in unsupported:
            parameters["top_logprobs"] = TOP_LOGPROBS
        if "max_tokens" in unsupported:
            parameters["max_completion_tokens"] = self.max_tokens  # the name for newer models of OpenAI
        return {name: value for name, value in parameters.items() if name not in unsupported}

    def _call(self, parameters: Mapping[str, Any]) -> Any:
        """Return the completion, or None if the body is not JSON; failures that the client has retried in vain are final."""
        import openai

        self._calls.count = 0
        try:
            return self._connect().chat.completions.create(**parameters)
        except openai.APIStatusError as error:
            raise self._status_error(error.status_code, self._redacted(_error_message(error)), error.response.headers) from None
        except openai.APITimeoutError:
            raise self._no_answer(f"no answer within {self._timeout:g} seconds", self._calls.count) from None
        except openai.APIConnectionError as error:
            raise self._no_answer(self._redacted(f"{error} {error.__cause__ or ''}".strip()), self._calls.count) from None
        except (ValueError, openai.APIResponseValidationError):
            return None
        except RuntimeError:  # the client is closed
            if self.rate_limiter.is_stopped:
                raise StoppedError from None
            raise

    def _status_error(self, status: int, message: str, headers: Mapping[str, str]) -> Exception:
        """Return the error for a status of 400 or more."""
        if status in (401, 403):
            key = f"the key in {self._key_name}" if self._key_name else f"a call without a key; set {' or '.join(API_KEY_VARIABLES)}"
            return EndpointError(f"{self.url} refuses {key} ({status}: {message})")
        if status in (408, 409, 425, 429) or status >= 500:
            return self._no_answer(f"{status}: {message}", self._calls.count, headers.get("retry-after"))
        if _TOO_LONG.search(message):
            return TooLongError(f"the request does not fit the context of {self.model} ({message})")
        # Some endpoints answer 400 for an unknown model. A model that is quoted for a parameter that it does not support is known.
        quoted = any(f"{mark}{self.model}{mark}" in message for mark in "'\"`")
        if status == 404 or (status == 400 and quoted and not any(name in message for name in _OPTIONAL)):
            models = self._models()
            names = f"; it has {', '.join(models[:10])}" if models else ""
            return EndpointError(
                f"{self.url} does not know the model {self.model!r}, or is not an OpenAI-compatible endpoint{names} ({message})"
            )
        return RefusedError(f"{self.url} refuses the request ({status}: {message})")

    def _no_answer(self, message: str, calls: int, retry_after: str | None = None) -> EndpointError:
        """Return the error for a request without an answer. Args: retry_after: header of the last response."""
        message = " ".join(message.split())[:300]
        if retry_after is not None and calls < self.max_attempts:  # longer than the client is willing to wait
            return EndpointError(f"{self.url} requests a pause (Retry-After: {retry_after}; {message}); run again afterwards")
        return EndpointError(f"{self.url} did not answer {calls} times in a row; last error: {message}")

    def _response(self, completion: Any, request: ChatRequest, seconds: float, calls: int) -> ChatResponse:
        """Raises: _UnreadableError: the body is not a chat completion."""
        try:
            choice = completion.choices[0]
            text, finish = choice.message.content or "", choice.finish_reason or "stop"
            if not isinstance(text, str):
                raise TypeError
        except (AttributeError, IndexError, TypeError):
            raise _UnreadableError("a response that is not a chat completion") from None
        usage = getattr(completion, "usage", None)
        chosen, probabilities = _choice(getattr(choice, "logprobs", None), request)
        return ChatResponse(
            text=self._redacted(text),
            finish=str(finish),
            chosen=chosen,
            probabilities=probabilities,
            prompt_tokens=_count(getattr(usage, "prompt_tokens", None)),
            completion_tokens=_count(getattr(usage, "completion_tokens", None)),
            seconds=seconds,
            calls=calls,
        )

    # ------------------------------------------------------------------ the endpoint

    def _connect(self) -> OpenAI:
        with self._client_lock:
            if self._client is None:
                from openai import DefaultHttpxClient, OpenAI

                self._client = OpenAI(
                    api_key=self._key or "none",  # the client requires a key even if the endpoint does not
                    base_url=self.url,
                    timeout=self._timeout,
                    max_retries=self.max_attempts - 1,
                    http_client=DefaultHttpxClient(event_hooks={"request": [self._before_call]}),
                )
            return self._client

    def _before_call(self, call: Any) -> None:
        """Apply the rate limit to a chat call, whether it is a first attempt or one of the client's retries, and count it."""
        if call.method != "POST":  # listing the models
            return
        self.rate_limiter.wait()
        self._calls.count += 1
        self._calls.sent_at = time.monotonic()

    def _models(self) -> list[str]:
        """Return the names of the models that the endpoint lists; an empty list if it lists none."""
        import openai

        client = self._connect().with_options(max_retries=0)
        try:
            return sorted(self._redacted(str(model.id)) for model in client.models.list().data)
        except (openai.OpenAIError, ValueError, AttributeError, TypeError):
            return []

    def _only_model(self) -> str:
        models = self._models()
        self.close()  # an endpoint without requests holds no connection
        if len(models) != 1:
            reason = f"it serves {', '.join(models[:10])}" if models else "it lists no models"
            raise EndpointError(f"no model was named for {self.url}, and {reason}; name one with --model")
        return models[0]

    def _redacted(self, text: str) -> str:
        """Return the text without the API key, in case the endpoint repeats it."""
        return text.replace(self._key, "(the key)") if self._key else text


class _Calls(threading.local):
    """Calls of the current thread for one request: their number, and the time when the last one was sent (`time.monotonic`)."""

    count = 0
    sent_at = 0.0


class _UnreadableError(Exception):
    """A response with status 200 whose body is not a chat completion."""


def validated_url(address: str) -> str:
    """Return the URL of an endpoint without the prefix `openai:` and without a trailing slash.

    Raises:
        SettingsError: It is not an http URL, or contains a user, a password or a query: keys in a URL end up in logs.
    """
    url = address.removeprefix(ENDPOINT_PREFIX).rstrip("/")
    parts = urlsplit(url)
    try:
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise SettingsError("invalid endpoint address: use the form openai:http://host:port/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(
            f"an endpoint address has the form openai:http://host:port/v1 without credentials; set the key in {API_KEY_VARIABLES[0]}"
        )
    return url


def _error_message(error: Any) -> str:
    """Return the message of an error response, in the formats that endpoints use."""
    body = error.body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        if isinstance(inner, Mapping):
            body = f"{inner.get('message') or inner.get('detail') or json.dumps(body)} {inner.get('code') or ''}"
        else:
            body = inner
    return " ".join(str(body or error.message).split())[:300]


def _choice(logprobs: Any, request: ChatRequest) -> tuple[str | None, dict[str, float] | None]:
    """Return the label at the position of the choice and the probability of each label. The choice is the last label in the text."""
    from math import exp

    try:
        for position in reversed(logprobs.content or ()):
            if (chosen := strip_token(position.token)) in request.labels:
                probabilities = _summed((token.token, exp(token.logprob)) for token in position.top_logprobs)
                return chosen, normalized_label_probabilities(request.labels, probabilities)
    except (AttributeError, TypeError, ValueError, OverflowError):
        pass
    return None, None


def _summed(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the total probability of each token text."""
    totals: defaultdict[str, float] = defaultdict(float)
    for token, probability in pairs:
        totals[token] += probability
    return totals


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
