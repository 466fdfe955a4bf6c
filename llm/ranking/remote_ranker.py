"""LLM ranker at an endpoint: the same prompt and the same contract as the local one, with a time limit for each list.

The endpoint is probed once for the first protocol of `remote_protocols` that it speaks. Calls of one list run at the same time, bounded for
the whole ranker. An endpoint that fails or is too slow raises `EndpointError`, and is left alone for a while, so that answers do not wait
for it again; the caller then ranks without it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import prompts
from ...data import deadlines
from ..chat.openai_endpoint import API_KEY_VARIABLES
from ..models.endpoint_connection import EndpointConnection
from ..models.usage import measure_usage, record_usage
from .rank_prompt import MAX_HISTORY_ITEMS, PLACEHOLDER, candidate_text, describe, user_message
from .remote_protocols import PROTOCOLS, Protocol, RankTask, UnusableAnswerError

if TYPE_CHECKING:
    import httpx
    from numpy.typing import NDArray

    from ...data.records import Item
    from ..models.projector import ProjectorInputs
    from .packs import SoftInputs

PROMPT_VERSION = 2
"""Version of the prompt `rank` for models that are not trained on it: with facts about who bought an item, without the store's order."""
CONCURRENCY = 16
"""Calls at the same time."""
SECONDS, OFFLINE_SECONDS = 5.0, 60.0
"""Time for one list: in an answer; in a training or an evaluation."""
PROBE_SECONDS = 30.0
"""Time for one call of the probe: the first call may load the model."""
MAX_ATTEMPTS = 3
"""Calls for one candidate, if the endpoint is busy (429, 503) and there is time."""
_BUSY = (408, 425, 429, 502, 503, 504)
_PROBE = RankTask(
    "You know what people need to go with the things they already have. Answer each question with Yes or No.",
    "A shopper has bought, oldest first:\n- Tent (Camping)\n",
    ['Would the shopper also need "Sleeping bag" (Camping)?', 'Would the shopper also need "Piano" (Music)?'],
    ["Sleeping bag (Camping)", "Piano (Music)"],
)


class RemoteRanker:
    """Scores candidates with a model at an endpoint. Threads may share it.

    Args:
        url: Address up to `/v1`, with or without the prefix `openai:`.
        model: Name of the model at the endpoint.
        seconds: Time for one list; a request's deadline may be earlier.
        concurrency: Number of calls at the same time, of all lists together.
        environment: Source of the API key, `os.environ` by default.

    Raises:
        SettingsError: The address is invalid or contains credentials.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        seconds: float = SECONDS,
        concurrency: int = CONCURRENCY,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.connection = EndpointConnection(url, concurrency, environment)
        self.url, self.model, self.seconds = self.connection.url, model, seconds
        self.prompt = prompts.load("rank", PROMPT_VERSION)
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="remote-ranker")
        self._lock = threading.Lock()
        self._protocol: Protocol | None = None
        self._local = _Local()
        self._closed = False

    def scores(
        self,
        history: Sequence[Item],
        need: str | None,
        candidates: Sequence[Item],
        facts: Sequence[str | None] | None = None,
        behaviour: SoftInputs | None = None,  # noqa: ARG002  # an endpoint reads texts alone
    ) -> NDArray[np.float32]:
        """Return (candidates,) scores, higher is better; their level and scale are the endpoint's.

        Args: See `Ranker.scores`.

        Raises:
            EndpointError: The endpoint cannot be reached, speaks no protocol, fails or is too slow, or is left alone after that.
            TimedOutError: The current deadline has passed.
        """
        if not candidates:
            return np.empty(0, dtype=np.float32)
        self.connection.check_pause()
        # The order of the candidates must not tell what the store thinks of them.
        order = sorted(range(len(candidates)), key=lambda index: candidates[index].item_id)
        listed = facts if facts is not None else [None] * len(candidates)
        before, _ = self.prompt_parts(history, need)
        questions = [candidate_text(self.prompt, candidates[index], listed[index]) for index in order]
        documents = [describe(candidates[index]) for index in order]
        task = RankTask(self.prompt.render("system"), before, questions, documents)
        scores = np.empty(len(candidates), dtype=np.float32)
        scores[order] = self._run(self._spoken().calls(task), self.seconds)
        return scores

    @property
    def behaviour_inputs(self) -> ProjectorInputs | None:
        """None: an endpoint reads texts alone."""
        return None

    def prompt_parts(self, history: Sequence[Item], need: str | None) -> tuple[str, str]:
        """Return the user's message before and after the candidate."""
        before, _, after = user_message(self.prompt, history[-MAX_HISTORY_ITEMS:], need).partition(PLACEHOLDER)
        return before, after

    @property
    def protocol(self) -> str:
        """Name of the protocol that the endpoint speaks; probes it if necessary. Raises: EndpointError: it speaks none."""
        return self._spoken().name

    def close(self) -> None:
        """End the calls in progress, and close the connections."""
        with self._lock:
            self._closed = True
            self.connection.close()
        self._pool.shutdown(cancel_futures=True)

    # ------------------------------------------------------------------ the endpoint

    def _spoken(self) -> Protocol:
        """The protocol of the endpoint, probed once."""
        with self._lock:
            if self._protocol is not None:
                return self._protocol
        reasons = []
        for protocol_type in PROTOCOLS:
            protocol = protocol_type(self._post, self.model)
            try:
                with measure_usage():  # the probe is no part of an answer
                    self._run(protocol.calls(_PROBE), PROBE_SECONDS)
            except UnusableAnswerError as error:
                reasons.append(f"{protocol.name}: {error}")
                continue
            with self._lock:
                self._protocol = protocol
            return protocol
        raise self.connection.failed(f"it cannot rank ({'; '.join(reasons)})")

    def _run(self, calls: Sequence[Callable[[], NDArray[np.float64]]], seconds: float) -> NDArray[np.float64]:
        """The joined results of the calls, made at the same time."""
        deadline = deadlines.current()
        limit = min(seconds, deadline.remaining()) if deadline is not None else seconds
        run = _Run(time.monotonic() + limit)

        def within_limit(call: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
            self._local.run = run
            return call()

        futures: list[Future[NDArray[np.float64]]] = [self._pool.submit(within_limit, call) for call in calls]
        done, waiting = wait(futures, timeout=limit, return_when=FIRST_EXCEPTION)
        for future in waiting:
            future.cancel()
        record_usage(tokens_in=run.tokens)  # here, because a counter belongs to the thread of the request
        error = next((future.exception() for future in done if future.exception() is not None), None)
        if isinstance(error, UnusableAnswerError):
            if self._protocol is not None:
                raise self.connection.failed(str(error))
            raise error
        if error is not None:
            raise error
        if waiting:
            deadlines.check()
            raise self.connection.failed(f"it did not answer within {seconds:g} seconds")
        return np.concatenate([future.result() for future in futures])

    def _post(self, route: str, body: Mapping[str, Any]) -> Any:
        """The JSON of an answer. Raises: UnusableAnswerError: the route refuses the request. EndpointError: no answer."""
        import httpx

        for attempt in range(MAX_ATTEMPTS):
            remaining = self._local.run.expires_at - time.monotonic()
            if remaining <= 0:
                raise self.connection.failed(f"it did not answer within {self.seconds:g} seconds")
            try:
                answer = self._connect().post(f"{self.url}{route}", json=body, timeout=remaining)
            except httpx.TimeoutException:
                raise self.connection.failed(f"it did not answer within {self.seconds:g} seconds") from None
            except (httpx.HTTPError, RuntimeError) as error:
                raise self.connection.failed(f"it cannot be reached ({type(error).__name__})") from None
            if answer.status_code not in _BUSY:
                break
            pause = _retry_after(answer.headers.get("retry-after"), 0.1 * 2.0**attempt)
            if attempt == MAX_ATTEMPTS - 1 or pause > self._local.run.expires_at - time.monotonic():
                raise self.connection.failed(f"it is busy ({answer.status_code})")
            time.sleep(pause)
        if answer.status_code in (401, 403):
            raise self.connection.failed(f"it refuses the key ({answer.status_code}); set {' or '.join(API_KEY_VARIABLES)}")
        if answer.status_code >= 500:
            raise self.connection.failed(f"it fails ({answer.status_code})")
        if answer.status_code >= 400:
            raise UnusableAnswerError(f"{route} answers {answer.status_code}")
        try:
            content = answer.json()
        except ValueError:
            raise UnusableAnswerError("its answer is not JSON") from None
        usage = content.get("usage") if isinstance(content, dict) else None
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens > 0:
            self._local.run.tokens += tokens
        return content

    def _connect(self) -> httpx.Client:
        with self._lock:  # a call that is still running must not open connections after `close`
            if self._closed:
                raise RuntimeError("the ranker is closed")
            return self.connection.client()


@dataclass
class _Run:
    """The calls of one list. Attributes: expires_at: end of its time on the clock of `time.monotonic`. tokens: tokens read so far."""

    expires_at: float
    tokens: int = 0


class _Local(threading.local):
    """The run that a thread of the pool works for."""

    run = _Run(0.0)


def _retry_after(value: str | None, default: float) -> float:
    """Seconds to wait before the next attempt. Args: value: header of the answer."""
    try:
        return max(float(value), 0.0) if value is not None else default
    except ValueError:
        return default
