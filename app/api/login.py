"""The console's door where it is not on loopback: an API key is shown once, a signed cookie remembers it.

The cookie names the key, says when it ends and is signed with a secret that lives as long as the process; scripts cannot read it, and
other sites' forms do not send it along. A revoked key ends its sessions at once. The form's token is bound to a cookie of its own, so
that no other site's form is taken for ours (OWASP, signed double submit).
"""

import hmac
import secrets
import time
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

from ..service.api_keys import Key, Keys
from .authorization import Guard
from .errors import Refused, problem
from .rate_limit import Rates

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Receive, Scope, Send

SESSION, FORM = "crossaisle_session", "crossaisle_form"
LASTS = 12 * 3600
"""Seconds of a session."""
SCOPE = "read"
"""What a key must be good for to open the console."""
API = ("/v1", "/metrics", "/docs", "/openapi.json", "/login", "/logout")
"""Addresses that see to themselves; everything else is the console."""
_LONGEST = 4096
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>crossaisle: log in</title><style>:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:15vh auto;padding:0 1rem}
input,button{font:inherit;width:100%;box-sizing:border-box;padding:.6rem;margin:.3rem 0}</style></head><body><main>
<h1>crossaisle</h1>SAID<form method="post" action="/login"><label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<input type="hidden" name="csrf" value="CSRF"><input type="hidden" name="next" value="NEXT"><button type="submit">Log in</button></form>
</main></body></html>"""


class Login:
    """Sessions of one process.

    Args: keys: that open the console. secure: whether the cookies are for HTTPS only.
    """

    def __init__(self, keys: Keys, *, secure: bool = False) -> None:
        self.keys, self.secure = keys, secure
        self.tries = Rates(0.5, 10)
        self._secret = secrets.token_bytes(32)

    def sign(self, purpose: str, text: str) -> str:
        """What only this process can have written, for one purpose."""
        return hmac.digest(self._secret, f"{purpose}\0{text}".encode(), "sha256").hex()

    def signed(self, purpose: str, text: str, told: str) -> bool:
        """Whether it has."""
        return hmac.compare_digest(self.sign(purpose, text), told)

    def session(self, key: Key) -> str:
        """A session's cookie for a key."""
        about = f"{key.key_id}.{int(time.time()) + LASTS}.{secrets.token_hex(8)}"
        return f"{about}.{self.sign('session', about + key.hash)}"

    def who(self, connection: "HTTPConnection") -> Key | None:
        """Whose session a request belongs to, None without a valid one."""
        about, _, told = connection.cookies.get(SESSION, "").rpartition(".")
        key_id, _, rest = about.partition(".")
        key, ends = self.keys.get(key_id), rest.partition(".")[0]
        if key is None or not self.signed("session", about + key.hash, told):
            return None
        return key if int(ends) > time.time() and key.may(SCOPE) else None


class Gate:
    """Before the console: on loopback it keeps other names and sites out, elsewhere also everybody who is not logged in."""

    def __init__(self, app: "ASGIApp", login: Login | None, guard: Guard) -> None:
        self.app, self.login, self.guard = app, login, guard

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Lets a connection through, or not."""
        from fastapi.responses import RedirectResponse
        from starlette.requests import HTTPConnection

        path = scope.get("path", "")
        if scope["type"] not in ("http", "websocket") or any(path == one or path.startswith(f"{one}/") for one in API):
            await self.app(scope, receive, send)
            return
        connection, scope["console"] = HTTPConnection(scope), True
        socket = scope["type"] == "websocket"
        try:
            self.guard.check_host(connection)
            if socket or scope["method"] not in ("GET", "HEAD"):
                self.guard.check_origin(connection)
            if self.login is not None and self.login.who(connection) is None:
                raise Refused(401, "login", "log in at /login first")
        except Refused as refused:
            if socket:
                await send({"type": "websocket.close", "code": 1008})
            elif refused.status == 401 and "text/html" in connection.headers.get("accept", ""):
                where = path + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
                await RedirectResponse(f"/login?next={quote(where, safe='')}", status_code=303)(scope, receive, send)
            else:
                told = problem(
                    refused.status, refused.kind, refused.detail, request_id=scope.get("request_id", ""), headers=refused.headers
                )
                await told(scope, receive, send)
            return
        await self.app(scope, receive, send)


def login_routes(login: Login, guard: Guard) -> "APIRouter":
    """The login's page and what its forms go to."""
    from fastapi import APIRouter, Request
    from fastapi.responses import HTMLResponse, RedirectResponse, Response

    routes = APIRouter(include_in_schema=False)

    def form(status: int = 200, said: str = "", where: str = "/") -> HTMLResponse:
        nonce = secrets.token_hex(16)
        page = _PAGE.replace("SAID", f'<p role="alert">{escape(said)}</p>' if said else "")
        page = page.replace("CSRF", login.sign("form", nonce)).replace("NEXT", escape(where, quote=True))
        answer = HTMLResponse(page, status_code=status, headers={"Cache-Control": "no-store"})
        answer.set_cookie(FORM, nonce, path="/login", httponly=True, samesite="strict", secure=login.secure)
        return answer

    @routes.get("/login")
    async def ask(request: Request) -> Response:
        return form(where=local(request.query_params.get("next", "/")))

    @routes.post("/login")
    async def enter(request: Request) -> Response:
        guard.check_origin(request)
        if wait := login.tries.take(request.client.host if request.client else "-"):
            raise Refused(429, "rate", f"too many tries; wait {wait} seconds", {"Retry-After": str(wait)})
        told = dict(parse_qsl((await request.body())[:_LONGEST].decode("utf-8", "replace")))
        where = local(told.get("next", "/"))
        if not login.signed("form", request.cookies.get(FORM, ""), told.get("csrf", "")):
            return form(403, "That form was too old. Try again.", where)
        key = login.keys.find(told.get("key", "").strip())
        if key is None or not key.may(SCOPE):
            return form(403, "That is no key that may read here.", where)
        answer = RedirectResponse(where, status_code=303)
        answer.set_cookie(SESSION, login.session(key), max_age=LASTS, httponly=True, samesite="lax", secure=login.secure)
        return answer

    @routes.get("/logout")
    async def leaving(request: Request) -> Response:
        token = login.sign("logout", request.cookies.get(SESSION, ""))
        return HTMLResponse(
            f'<!doctype html><html lang="en"><title>crossaisle: log out</title><form method="post" action="/logout">'
            f'<input type="hidden" name="csrf" value="{token}"><button>Log out</button></form></html>'
        )

    @routes.post("/logout")
    async def leave(request: Request) -> Response:
        guard.check_origin(request)
        told = dict(parse_qsl((await request.body())[:_LONGEST].decode("utf-8", "replace")))
        if not login.signed("logout", request.cookies.get(SESSION, ""), told.get("csrf", "")):
            raise Refused(403, "form", "that form was too old; open /logout again")
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(SESSION)
        return answer

    return routes


def local(where: str) -> str:
    """A path of this server; `/` for anything that would lead elsewhere."""
    parts = urlsplit(where.replace("\\", "/"))
    fine = where.startswith("/") and not where.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc and where.isprintable()
    return where if fine else "/"
