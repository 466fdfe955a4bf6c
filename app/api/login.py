"""Console login for hosts other than loopback: exchanges an API key for a signed session cookie.

The cookie holds the id of the key and the time of login, signed by itsdangerous with a secret that lives as long as the process. Scripts
cannot read it, and forms of other sites do not send it. A session ends after `SESSION_SECONDS`, or at once when its key is revoked. The
token of each form is bound to a cookie, so that forms of other sites are rejected (OWASP, signed double-submit cookie).
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from itsdangerous import BadData, Signer, URLSafeTimedSerializer
from jinja2 import Environment, StrictUndefined
from starlette.requests import HTTPConnection

from .errors import RequestRejected, problem_response
from .rate_limit import RateLimiter

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ..service.api_keys import ApiKey, ApiKeys
    from .authorization import Authorizer

SESSION_COOKIE, FORM_COOKIE = "crossaisle_session", "crossaisle_form"
SESSION_SECONDS = 12 * 3600
"""Lifetime of a session."""
CONSOLE_SCOPE = "read"
"""Scope that a key must have to open the console."""
OTHER_PATHS = ("/v1", "/metrics", "/docs", "/openapi.json", "/login", "/logout")
"""Paths that check authorization themselves; every other path belongs to the console."""
_ATTEMPTS_PER_SECOND, _ATTEMPT_BURST = 0.5, 10.0
_MAX_FORM_BYTES = 4096
_TEMPLATES = Environment(autoescape=True, undefined=StrictUndefined)
_LOGIN_PAGE = _TEMPLATES.from_string(
    """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>crossaisle: log in</title><style>:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:15vh auto;padding:0 1rem}
input,button{font:inherit;width:100%;box-sizing:border-box;padding:.6rem;margin:.3rem 0}</style></head><body><main>
<h1>crossaisle</h1>{% if message %}<p role="alert">{{ message }}</p>{% endif %}<form method="post" action="/login">
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<input type="hidden" name="csrf" value="{{ token }}"><input type="hidden" name="next" value="{{ next_path }}">
<button type="submit">Log in</button></form></main></body></html>"""
)
_LOGOUT_PAGE = _TEMPLATES.from_string(
    """<!doctype html><html lang="en"><title>crossaisle: log out</title><form method="post" action="/logout">
<input type="hidden" name="csrf" value="{{ token }}"><button>Log out</button></form></html>"""
)


class LoginSessions:
    """Login sessions of one process.

    Args:
        api_keys: API keys of the workspace.
        secure_cookies: Whether the cookies are restricted to HTTPS.
    """

    def __init__(self, api_keys: ApiKeys, *, secure_cookies: bool = False) -> None:
        self.api_keys, self.secure_cookies = api_keys, secure_cookies
        self.rate_limiter = RateLimiter(_ATTEMPTS_PER_SECOND, _ATTEMPT_BURST)
        self._secret = secrets.token_bytes(32)
        self._serializer = URLSafeTimedSerializer(self._secret, salt="session", signer_kwargs={"digest_method": hashlib.sha256})

    def create_session(self, key: ApiKey) -> str:
        """Return the session cookie of a key."""
        return str(self._serializer.dumps(key.key_id))

    def session_key(self, connection: HTTPConnection) -> ApiKey | None:
        """Return the key of a connection's session; None without a valid session, or if the key was revoked."""
        try:
            key_id = self._serializer.loads(connection.cookies.get(SESSION_COOKIE, ""), max_age=SESSION_SECONDS)
        except BadData:
            return None
        key = self.api_keys.get(key_id)
        return key if key is not None and key.allows(CONSOLE_SCOPE) else None

    def form_token(self, form: str, cookie: str) -> str:
        """Return the token that binds a form to the value of a cookie."""
        return self._signer(form).get_signature(cookie).decode()

    def check_form_token(self, form: str, cookie: str, token: str) -> bool:
        """Return whether `token` is the form's token for the cookie."""
        return self._signer(form).verify_signature(cookie, token)

    def _signer(self, form: str) -> Signer:
        return Signer(self._secret, salt=f"form:{form}", digest_method=hashlib.sha256)


class LoginMiddleware:
    """ASGI middleware for the console's paths: checks host and origin and, if keys are required, the session.

    Args:
        app: The inner application.
        sessions: Login sessions; None on loopback without keys.
        authorizer: Checks the Host and Origin headers.
    """

    def __init__(self, app: ASGIApp, sessions: LoginSessions | None, authorizer: Authorizer) -> None:
        self.app, self.sessions, self.authorizer = app, sessions, authorizer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a connection on, redirect a browser to the login page, or reject the connection."""
        path = scope.get("path", "")
        if scope["type"] not in ("http", "websocket") or any(path == prefix or path.startswith(f"{prefix}/") for prefix in OTHER_PATHS):
            await self.app(scope, receive, send)
            return
        connection, scope["console"] = HTTPConnection(scope), True
        try:
            self._authorize(connection)
        except RequestRejected as rejection:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            if rejection.status == 401 and "text/html" in connection.headers.get("accept", ""):
                target = path + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
                response: Response = RedirectResponse(f"/login?next={quote(target, safe='')}", status_code=303)
            else:
                request_id = scope.get("request_id", "")
                response = problem_response(
                    rejection.status, rejection.kind, rejection.detail, request_id=request_id, headers=rejection.headers
                )
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _authorize(self, connection: HTTPConnection) -> None:
        """Raises: RequestRejected: 421 or 403 for a foreign host or origin, 401 without a session."""
        self.authorizer.check_host(connection)
        if connection.scope["type"] == "websocket" or connection.scope["method"] not in ("GET", "HEAD"):
            self.authorizer.check_origin(connection)
        if self.sessions is not None and self.sessions.session_key(connection) is None:
            raise RequestRejected(401, "login", "no valid session: log in at /login")


def login_routes(sessions: LoginSessions, authorizer: Authorizer) -> APIRouter:
    """Return the routes `/login` and `/logout`: a page each, and what its form posts to."""
    routes = APIRouter(include_in_schema=False)

    def login_page(status: int = 200, message: str = "", next_path: str = "/") -> HTMLResponse:
        nonce = secrets.token_hex(16)
        html = _LOGIN_PAGE.render(message=message, token=sessions.form_token("login", nonce), next_path=next_path)
        response = HTMLResponse(html, status_code=status, headers={"Cache-Control": "no-store"})
        response.set_cookie(FORM_COOKIE, nonce, path="/login", httponly=True, samesite="strict", secure=sessions.secure_cookies)
        return response

    async def form_fields(request: Request) -> dict[str, str]:
        return dict(parse_qsl((await request.body())[:_MAX_FORM_BYTES].decode("utf-8", "replace")))

    @routes.get("/login")
    async def show_login(request: Request) -> Response:
        return login_page(next_path=local_path(request.query_params.get("next", "/")))

    @routes.post("/login")
    async def log_in(request: Request) -> Response:
        authorizer.check_origin(request)
        if wait := sessions.rate_limiter.acquire(request.client.host if request.client else "-"):
            raise RequestRejected(429, "rate", f"too many login attempts; retry in {wait} seconds", {"Retry-After": str(wait)})
        fields = await form_fields(request)
        next_path = local_path(fields.get("next", "/"))
        if not sessions.check_form_token("login", request.cookies.get(FORM_COOKIE, ""), fields.get("csrf", "")):
            return login_page(403, "The form has expired. Try again.", next_path)
        key = sessions.api_keys.verify(fields.get("key", "").strip())
        if key is None or not key.allows(CONSOLE_SCOPE):
            return login_page(403, f"Invalid API key, or a key without the scope {CONSOLE_SCOPE}.", next_path)
        response = RedirectResponse(next_path, status_code=303)
        cookie = sessions.create_session(key)
        response.set_cookie(SESSION_COOKIE, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="lax", secure=sessions.secure_cookies)
        return response

    @routes.get("/logout")
    async def show_logout(request: Request) -> Response:
        return HTMLResponse(_LOGOUT_PAGE.render(token=sessions.form_token("logout", request.cookies.get(SESSION_COOKIE, ""))))

    @routes.post("/logout")
    async def log_out(request: Request) -> Response:
        authorizer.check_origin(request)
        fields = await form_fields(request)
        if not sessions.check_form_token("logout", request.cookies.get(SESSION_COOKIE, ""), fields.get("csrf", "")):
            raise RequestRejected(403, "form", "the form has expired; open /logout again")
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(SESSION_COOKIE)
        return response

    return routes


def local_path(target: str) -> str:
    """Return `target` if it is a path of this server, otherwise `/`; prevents redirects to other sites."""
    parts = urlsplit(target.replace("\\", "/"))
    is_local = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return target if is_local and target.isprintable() else "/"
