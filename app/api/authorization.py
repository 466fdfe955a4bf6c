"""Authorization of API requests: API keys with scopes, rate limits, and checks of the Host and Origin headers.

Without keys a server answers on loopback only, and only requests whose Host header names loopback. This rejects pages of other sites that
resolve their own name to this address (DNS rebinding). Requests that change something are also rejected if they come from another origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .errors import RequestRejected

if TYPE_CHECKING:
    from fastapi import Request
    from starlette.requests import HTTPConnection

    from ..service.api_keys import ApiKey, ApiKeys
    from .rate_limit import RateLimiter

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1", "[::1]")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Authorizer:
    """Accepts or rejects API requests.

    Attributes:
        api_keys: API keys of the workspace; None requires no key.
        rate_limiter: Rate limit of each key, or of each client address without keys; None for no limit.
        allowed_origins: Other origins whose pages may call the API.
    """

    api_keys: ApiKeys | None = None
    rate_limiter: RateLimiter | None = None
    allowed_origins: Sequence[str] = ()

    def authorize(self, request: Request, scope: str | None) -> None:
        """Check that a request may be answered, and note the id of its key in `request.scope["key_id"]`.

        Args:
            request: The request; its body is not read.
            scope: Scope that the key must have; None requires no key.

        Raises:
            RequestRejected: 401 for a missing or invalid key, 403 for a missing scope or a foreign origin, 421 for a foreign host, 429 for
                too many requests.
        """
        self.check_host(request)
        if request.method not in _SAFE_METHODS:
            self.check_origin(request)
        if scope is None:
            return
        client = request.client.host if request.client else "-"
        if self.api_keys is not None:
            key = self._authenticate(request, self.api_keys)
            request.scope["key_id"] = client = key.key_id
            if not key.allows(scope):
                raise RequestRejected(403, "scope", f"this API key lacks the scope {scope}; use a key that has it")
        if self.rate_limiter is not None and (wait := self.rate_limiter.acquire(client)):
            raise RequestRejected(429, "rate", f"too many requests; retry in {wait} seconds", {"Retry-After": str(wait)})

    def _authenticate(self, request: Request, api_keys: ApiKeys) -> ApiKey:
        """Return the valid key of a request. Raises: RequestRejected: 401."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        key = api_keys.verify(credentials.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            fault = "invalid or revoked API key" if credentials else "missing API key"
            detail = f"{fault}: send `Authorization: Bearer KEY`"
            raise RequestRejected(401, "key", detail, {"WWW-Authenticate": 'Bearer realm="crossaisle"'})
        return key

    def check_host(self, connection: HTTPConnection) -> None:
        """Check that the Host header names loopback, if no API keys are required. Raises: RequestRejected: 421."""
        if self.api_keys is None and _host(connection) not in LOOPBACK_HOSTS:
            raise RequestRejected(421, "host", "without API keys this server answers only to the names localhost and 127.0.0.1")

    def check_origin(self, connection: HTTPConnection) -> None:
        """Check that the request comes from no page of another site, or from an allowed one. Raises: RequestRejected: 403."""
        origin = connection.headers.get("origin")
        if origin is None or origin in self.allowed_origins:
            return
        if urlsplit(origin).netloc.lower() != connection.headers.get("host", "").lower():
            raise RequestRejected(403, "origin", "pages of another site may not send this request; allow them with --origin")


def _host(connection: HTTPConnection) -> str:
    """The host name in the Host header, without the port."""
    try:
        return (urlsplit("//" + connection.headers.get("host", "")).hostname or "").lower()
    except ValueError:
        return ""
