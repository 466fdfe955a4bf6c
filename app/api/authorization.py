"""Who may ask for what: API keys with scopes, a rate for each key, and no other site's page in between.

Without keys a service answers on loopback only, and only to requests that name loopback as their host: a page of a stranger that has its
own name point here (DNS rebinding) is turned away, and so is one that posts from another origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .errors import Refused

if TYPE_CHECKING:
    from fastapi import Request
    from starlette.requests import HTTPConnection

    from ..service.api_keys import Key, Keys
    from .rate_limit import Rates

LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Guard:
    """Decides about requests to the API.

    Attributes:
        keys: of the workspace; None asks nobody for one. rates: how often a key, or without keys an address, may ask; None as often as it
            likes. origins: of other sites whose pages may ask.
    """

    keys: Keys | None = None
    rates: Rates | None = None
    origins: Sequence[str] = ()

    def admit(self, request: Request, scope: str | None) -> None:
        """Lets a request through, or not.

        Args: scope: that its key must have; None is for everybody.
        Raises: Refused: 401 without a key, 403 with one that may not, 421 for a strange host, 429 too often.
        """
        self.check_host(request)
        if request.method not in _SAFE:
            self.check_origin(request)
        if scope is None:
            return
        name = request.client.host if request.client else "-"
        if self.keys is not None:
            key = self._key(request, self.keys)
            request.scope["key_id"] = name = key.key_id
            if not key.may(scope):
                raise Refused(403, "scope", f"this key may not do that; it takes one with the scope {scope}")
        if self.rates is not None and (wait := self.rates.take(name)):
            raise Refused(429, "rate", f"too many requests; ask again in {wait} seconds", {"Retry-After": str(wait)})

    def _key(self, request: Request, keys: Keys) -> Key:
        kind, _, told = request.headers.get("authorization", "").partition(" ")
        key = keys.find(told.strip()) if kind.lower() == "bearer" else None
        if key is None:
            wanted = "an API key is wanted, as the header `Authorization: Bearer KEY`"
            said = f"{wanted}; the one given is none, or was revoked" if told else wanted
            raise Refused(401, "key", said, {"WWW-Authenticate": 'Bearer realm="crossaisle"'})
        return key

    def check_host(self, request: HTTPConnection) -> None:
        """Raises: Refused: no keys are asked for, and the request was not meant for loopback."""
        if self.keys is None and _host(request) not in LOOPBACK:
            raise Refused(421, "host", "without API keys this server answers only to the names localhost and 127.0.0.1")

    def check_origin(self, request: HTTPConnection) -> None:
        """Raises: Refused: a page of another site asks, one that is not let in."""
        origin = request.headers.get("origin")
        if origin is None or origin in self.origins:
            return
        if urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
            raise Refused(403, "origin", "a page of another site may not ask this")


def _host(request: HTTPConnection) -> str:
    """The name in the Host header, without the port."""
    try:
        return (urlsplit("//" + request.headers.get("host", "")).hostname or "").lower()
    except ValueError:
        return ""
