"""A model behind an OpenAI-compatible endpoint (vLLM, llama.cpp, Ollama, `transformers serve`, hosted ones), asked one question at a time.

What endpoints differ in is found out by asking: an option that one does not know is left out from then on. Failures that may pass are
tried again; the rest is told in one sentence. The key is read from the environment and taken out of every text that comes back, so that
it stands in no log, file or message whatever the endpoint says.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...data.errors import EndpointError, RefusedError, SettingsError, TooLongError
from .backoff import Pace, pause, retry_after
from .messages import Asked, Reply, among, bare

if TYPE_CHECKING:
    from openai import OpenAI

PREFIX = "openai:"
KEYS = ("CROSSAISLE_JUDGE_KEY", "OPENAI_API_KEY")
"""Variables of the environment that may hold the key; the first that is set counts."""
TRIES = 6
TIMEOUT = 120.0
"""Seconds for one call."""
PATIENCE = 600.0
"""Seconds: an endpoint that asks to wait longer than this is taken to be closed for today."""
ALTERNATIVES = 20
"""Most likely tokens that are asked for at each place: what OpenAI gives at most, and more than five scores need."""
_OPTIONAL = ("logprobs", "response_format", "temperature", "max_tokens", "seed")
_LONG = re.compile(r"context[ _-]?(?:length|window|size)|maximum context|too many tokens|prompt is too long|exceeds? .{0,40}\btokens", re.I)

logger = logging.getLogger(__name__)


class Endpoint:
    """A chat model at an address. Threads may share it.

    Args:
        url: the address up to `/v1`. model: as the endpoint names it; None takes the only one that it has.
        temperature: 0 for the likeliest answer. max_tokens: of an answer. timeout: seconds for one call. tries: of one question.
        pace: when calls may be made. environment: where the key is looked for, `os.environ` unless given.
    Raises: SettingsError: an address that is none, or that holds a password. EndpointError: no model was named and it has not just one.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        temperature: float = 0.0,
        max_tokens: int = 200,
        timeout: float = TIMEOUT,
        tries: int = TRIES,
        pace: Pace | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.url, self.temperature, self.max_tokens, self.tries = checked(url), temperature, max_tokens, tries
        self.pace = pace or Pace()
        environment = os.environ if environment is None else environment
        self._key_name = next((name for name in KEYS if environment.get(name, "").strip()), None)
        self._key = environment[self._key_name].strip() if self._key_name else ""
        self._timeout = timeout
        self._client_lock = threading.Lock()
        self._client: OpenAI | None = None
        self._left_out: frozenset[str] = frozenset()
        self.model = model or self._only_model()

    def about(self) -> dict[str, Any]:
        """All that a reply hangs on besides the question."""
        return {"endpoint": self.url, "model": self.model, "temperature": self.temperature, "max_tokens": self.max_tokens}

    def ask(self, asked: Asked, *, repeat: int = 0) -> Reply:
        """The endpoint's reply.

        Args: repeat: number of the repetition, as the seed of an endpoint that draws.
        Raises:
            EndpointError: it cannot be reached, fails again and again, wants another key or does not know the model.
            TooLongError: the question does not fit its context. RefusedError: it does not answer this very question.
            StoppedError: the run is being ended.
        """
        failures, cause = 0, ""
        while failures < self.tries:
            self.pace.wait()
            start = time.monotonic()
            try:
                completion = self._create(asked, repeat)
                return self._reply(completion, asked, time.monotonic() - start, failures + 1)
            except _PassingError as error:
                failures, cause = failures + 1, str(error)
                logger.info("%s: %s; failure %d of %d", self.url, cause, failures, self.tries)
                if error.wait is not None and error.wait > PATIENCE:
                    raise EndpointError(f"{self.url} asks to wait for {error.wait:,.0f} seconds ({cause}); run again then") from None
                if failures == self.tries:
                    break
                if error.wait is not None:
                    self.pace.hold(error.wait)
                else:
                    self.pace.sleep(pause(failures))
        raise EndpointError(f"{self.url} did not answer {self.tries} times in a row; the last time: {cause}")

    def tokens(self, asked: Asked) -> None:
        """Only the endpoint can count them."""

    def stop(self) -> None:
        """Ends every wait, for good; calls under way break off."""
        self.pace.stop()
        self.close()

    def close(self) -> None:
        """Closes the connections; the next question opens new ones."""
        with self._client_lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    # ------------------------------------------------------------------ one call

    def _create(self, asked: Asked, repeat: int) -> Any:
        """The completion as the client gives it, after leaving out what the endpoint does not know."""
        while True:
            left_out = self._left_out
            try:
                return self._call(self._options(asked, repeat, left_out))
            except RefusedError as error:
                unknown = {name for name in _OPTIONAL if name not in left_out and name in str(error)}
                # An endpoint that does not say which option it means is asked once without those that fewest know.
                unknown = unknown or {"logprobs", "response_format"} - left_out
                if not unknown:
                    raise
                try:
                    completion = self._call(self._options(asked, repeat, left_out | unknown))
                except RefusedError:
                    if not any(name in str(error) for name in unknown):
                        raise error from None  # it was not the options
                    self._left_out |= unknown
                    continue
                self._left_out |= unknown
                return completion

    def _options(self, asked: Asked, repeat: int, left_out: frozenset[str]) -> dict[str, Any]:
        options: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": asked.system}, {"role": "user", "content": asked.user}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": repeat,
            "logprobs": True,
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": asked.schema()}},
        }
        if "logprobs" not in left_out:
            options["top_logprobs"] = ALTERNATIVES
        if "max_tokens" in left_out:
            options["max_completion_tokens"] = self.max_tokens  # what newer models of OpenAI call it
        return {name: value for name, value in options.items() if name not in left_out}

    def _call(self, options: Mapping[str, Any]) -> Any:
        import openai

        try:
            return self._connected().chat.completions.create(**options)
        except openai.APIStatusError as error:
            raise self._explained(error.status_code, self._clean(_said(error)), error.response.headers) from None
        except openai.APITimeoutError:
            raise _PassingError(f"no answer within {self._timeout:g} seconds") from None
        except (openai.APIConnectionError, openai.APIResponseValidationError) as error:
            raise _PassingError(self._clean(f"{error} {error.__cause__ or ''}".strip())) from None
        except ValueError as error:  # a body that is no JSON
            raise _PassingError(self._clean(f"an answer that is no JSON ({error})")) from None

    def _explained(self, status: int, said: str, headers: Mapping[str, str]) -> Exception:
        """The error for a status of 400 or more."""
        if status in (401, 403):
            key = f"the key in {self._key_name}" if self._key_name else f"a call without a key; put one into {KEYS[0]} or {KEYS[1]}"
            return EndpointError(f"{self.url} refuses {key} ({status}: {said})")
        if status in (408, 409, 425, 429) or status >= 500:
            return _PassingError(f"{status}: {said}", retry_after(headers))
        if _LONG.search(said):
            return TooLongError(f"the question does not fit the context of {self.model} ({said})")
        # Some say 400 of an unknown model; a model that is named for what it cannot do is known.
        quoted = any(f"{mark}{self.model}{mark}" in said for mark in "'\"`")
        if status == 404 or (status == 400 and quoted and not any(name in said for name in _OPTIONAL)):
            had = self._models()
            names = f"; it has {', '.join(had[:10])}" if had else ""
            return EndpointError(f"{self.url} does not know the model {self.model!r}, or is no OpenAI-compatible address{names} ({said})")
        return RefusedError(f"{self.url} refuses the question ({status}: {said})")

    def _reply(self, completion: Any, asked: Asked, seconds: float, calls: int) -> Reply:
        """Raises: _PassingError: what came is not a completion."""
        try:
            choice = completion.choices[0]
            text, finish = choice.message.content or "", choice.finish_reason or "stop"
            if not isinstance(text, str):
                raise TypeError
        except (AttributeError, IndexError, TypeError):
            raise _PassingError("an answer that is not a chat completion") from None
        usage = getattr(completion, "usage", None)
        chosen, likely = _at_the_choice(getattr(choice, "logprobs", None), asked)
        return Reply(
            text=self._clean(text),
            finish=str(finish),
            chosen=chosen,
            probabilities=likely,
            prompt_tokens=_whole(getattr(usage, "prompt_tokens", None)),
            completion_tokens=_whole(getattr(usage, "completion_tokens", None)),
            seconds=seconds,
            calls=calls,
        )

    # ------------------------------------------------------------------ the endpoint

    def _connected(self) -> OpenAI:
        with self._client_lock:
            if self._client is None:
                from openai import OpenAI

                # Tries are counted here, so that each of them keeps to the pace; a key must be given even where none is wanted.
                self._client = OpenAI(api_key=self._key or "none", base_url=self.url, timeout=self._timeout, max_retries=0)
            return self._client

    def _models(self) -> list[str]:
        """Names of the models that the endpoint says it has; none where it does not say."""
        import openai

        try:
            return sorted(self._clean(str(model.id)) for model in self._connected().models.list().data)
        except (openai.OpenAIError, ValueError, AttributeError, TypeError):
            return []

    def _only_model(self) -> str:
        had = self._models()
        if len(had) != 1:
            says = f"it has {', '.join(had[:10])}" if had else "it does not say what it has"
            raise EndpointError(f"{self.url} was asked for its only model, but {says}; name one with --model")
        return had[0]

    def _clean(self, text: str) -> str:
        """The text without the key, should the endpoint repeat it."""
        return text.replace(self._key, "(the key)") if self._key else text


class _PassingError(Exception):
    """A failure that may be gone the next time. Attributes: wait: seconds that the endpoint asks for, None where it does not."""

    def __init__(self, cause: str, wait: float | None = None) -> None:
        super().__init__(" ".join(cause.split())[:300])
        self.wait = wait


def checked(address: str) -> str:
    """The address of an endpoint without `openai:` before it and the stroke behind it.

    Raises: SettingsError: it is no http address, or holds a user, a password or a query, where keys are put and then written into logs.
    """
    url = address.removeprefix(PREFIX).rstrip("/")
    parts = urlsplit(url)
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError("an endpoint is named as openai:http://host:port/v1; what was given is no such address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(f"an endpoint's address is openai:http://host:port/v1 and no more; a key belongs into {KEYS[0]}")
    return url


def _said(error: Any) -> str:
    """What an endpoint said of a failure, in the ways in which they say it."""
    body = error.body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        told = inner.get("message") or inner.get("detail") if isinstance(inner, Mapping) else inner
        body = f"{told or json.dumps(body)} {inner.get('code') or ''}" if isinstance(inner, Mapping) else told
    return " ".join(str(body or error.message).split())[:300]


def _at_the_choice(logprobs: Any, asked: Asked) -> tuple[str | None, dict[str, float] | None]:
    """The label where the answer chooses and the probability of each; the choice is the last label that was written."""
    from math import exp

    try:
        for place in reversed(logprobs.content or ()):
            if (chosen := bare(place.token)) in asked.labels:
                return chosen, among(asked.labels, _summed((other.token, exp(other.logprob)) for other in place.top_logprobs))
    except (AttributeError, TypeError, ValueError, OverflowError):
        pass
    return None, None


def _summed(pairs: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for token, probability in pairs:
        found[token] = found.get(token, 0.0) + probability
    return found


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
