"""HTTP connection to a model at an OpenAI-compatible endpoint, left alone for a while after a failure.

Answers of a store must not wait for a broken endpoint again and again. Knows nothing of what is asked. The API key is read from the
environment, is sent as a header, and appears in no message.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...data.errors import EndpointError
from ..chat.openai_endpoint import API_KEY_VARIABLES, validated_url

if TYPE_CHECKING:
    import httpx

PAUSE_SECONDS = 30.0
"""Time after a failure in which the endpoint is not called."""


class EndpointConnection:
    """Connections to one endpoint. Threads may share it.

    Args:
        url: Address up to `/v1`, with or without the prefix `openai:`.
        concurrency: Maximum number of connections.
        environment: Source of the API key, `os.environ` by default.

    Raises:
        SettingsError: The address is invalid or contains credentials.
    """

    def __init__(self, url: str, concurrency: int, environment: Mapping[str, str] | None = None) -> None:
        self.url, self._concurrency = validated_url(url), concurrency
        environment = os.environ if environment is None else environment
        self._key = next((value for name in API_KEY_VARIABLES if (value := environment.get(name, "").strip())), "")
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._paused_until, self._failure = 0.0, ""

    def client(self) -> httpx.Client:
        """Return the HTTP client, with the API key; opened if necessary."""
        import httpx

        with self._lock:
            if self._client is None:
                headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
                limits = httpx.Limits(max_connections=self._concurrency, max_keepalive_connections=self._concurrency)
                self._client = httpx.Client(headers=headers, limits=limits)
            return self._client

    def check_pause(self) -> None:
        """Raise an error while the endpoint is left alone.

        Raises:
            EndpointError: It has failed within the last `PAUSE_SECONDS`.
        """
        with self._lock:
            remaining, failure = self._paused_until - time.monotonic(), self._failure
        if remaining > 0:
            raise EndpointError(f"the endpoint is not asked for {remaining:.0f} more seconds, because {failure}")

    def failed(self, reason: str) -> EndpointError:
        """Return the error of a failure, and leave the endpoint alone from now on. Args: reason: A clause, such as "it is busy"."""
        with self._lock:
            self._paused_until, self._failure = time.monotonic() + PAUSE_SECONDS, reason
        return EndpointError(f"the endpoint is not used: {reason}")

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
