"""Authorization: API keys, scopes, rate limits, foreign hosts and origins, the console login, and no secrets in logs or responses."""

from __future__ import annotations

import json
import logging
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.requests import HTTPConnection

from crossaisle.app.api.application import create
from crossaisle.app.api.login import FORM_COOKIE, SESSION_COOKIE, SESSION_SECONDS, LoginSessions, local_path
from crossaisle.app.api.rate_limit import RateLimiter
from crossaisle.app.api.state import ServerOptions
from crossaisle.app.service.api_keys import ApiKeys
from crossaisle.app.service.store_service import StoreService
from crossaisle.data.errors import SettingsError, WorkspaceError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace

from ...http_server import assert_problem, running_server

USER = "s001"


@pytest.fixture(scope="module")
def shop_path(demo_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guarded") / "shop"
    shutil.copytree(demo_workspace.path, path)
    return path


@pytest.fixture(scope="module")
def keys(shop_path: Path) -> dict[str, str]:
    """A key for each scope."""
    api_keys = ApiKeys(shop_path)
    return {scope: api_keys.create([scope], f"for {scope}") for scope in ("read", "events", "admin")}


@pytest.fixture(scope="module")
def app(shop_path: Path, keys: dict[str, str], settings: Settings) -> FastAPI:
    def console(app: FastAPI, _: StoreService) -> None:
        @app.get("/")
        async def page() -> HTMLResponse:
            return HTMLResponse("<h1>console</h1>")

    options = ServerOptions(api_keys=ApiKeys(shop_path), console=console, allowed_origins=("https://shop.example",))
    return create(StoreService.open(shop_path, llm="none", settings=settings), options)


@pytest.fixture(scope="module")
def api(app: FastAPI) -> Iterator[httpx.Client]:
    with running_server(app) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# ---------------------------------------------------------------------- keys


def test_keys_are_stored_as_hashes_in_a_file_readable_by_its_owner_only(shop_path: Path, keys: dict[str, str]) -> None:
    file = shop_path / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = file.read_text()
    for key in keys.values():
        prefix, key_id, secret = key.split("_", 2)
        assert prefix == "crossaisle"
        assert len(secret) == 43  # 256 bits
        assert key_id in content
        assert secret not in content


def test_only_a_complete_key_is_accepted_and_only_until_it_is_revoked(tmp_path: Path) -> None:
    api_keys, in_server = ApiKeys(tmp_path), ApiKeys(tmp_path)
    key = api_keys.create(["read", "read"], "site")
    stored = in_server.verify(key)
    assert stored is not None
    assert stored.scopes == ("read",)
    assert "hash" not in repr(stored)
    second = api_keys.create(["events"])
    swapped = f"crossaisle_{key.split('_')[1]}_{second.split('_', 2)[2]}"
    for wrong in ("", "crossaisle", key[:-1], key + "x", key.replace("crossaisle", "other"), swapped, f"crossaisle_{stored.key_id}_"):
        assert in_server.verify(wrong) is None
    api_keys.revoke(stored.key_id)
    assert in_server.verify(key) is None
    assert in_server.verify(second) is not None
    with pytest.raises(SettingsError, match="keys list"):
        api_keys.revoke(stored.key_id)
    with pytest.raises(SettingsError, match="read, events, admin"):
        api_keys.create(["root"])
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(WorkspaceError, match="make new keys"):
        ApiKeys(tmp_path)


def test_each_address_requires_its_scope(api: httpx.Client, keys: dict[str, str]) -> None:
    event = {"user_id": "u", "kind": "click", "item_id": "CA-003"}
    requests = {
        "read": lambda key: api.post("/v1/recommend", json={"user": USER, "k": 1, "explain": False}, headers=bearer(key)),
        "events": lambda key: api.post("/v1/events", json=event, headers=bearer(key)),
        "admin": lambda key: api.delete("/v1/users/u", headers=bearer(key)),
    }
    for required, send in requests.items():
        for scope, key in keys.items():
            response = send(key)
            if scope in (required, "admin"):
                assert response.status_code == 200, response.text
            else:
                assert_problem(response, 403, required)
    response = api.post("/v1/recommend", json={"user": USER})
    assert_problem(response, 401, "Authorization")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert_problem(api.post("/v1/recommend", content=b"{", headers=bearer("crossaisle_00000000_x")), 401)  # before the body is read
    assert_problem(api.get("/metrics"), 401)
    assert api.get("/metrics", headers=bearer(keys["read"])).status_code == 200
    assert api.get("/v1/health").status_code == 200


def test_a_running_server_rejects_a_revoked_key(api: httpx.Client, shop_path: Path) -> None:
    api_keys = ApiKeys(shop_path)
    key = api_keys.create(["read"])
    assert api.get(f"/v1/profile/{USER}", headers=bearer(key)).status_code == 200
    api_keys.revoke(key.split("_")[1])
    assert_problem(api.get(f"/v1/profile/{USER}", headers=bearer(key)), 401)


# ---------------------------------------------------------------------- rate limits


def test_a_token_bucket_refills_over_time() -> None:
    now = [0.0]
    limiter = RateLimiter(2.0, 3.0, clock=lambda: now[0])
    assert [limiter.acquire("a") for _ in range(4)] == [0, 0, 0, 1]
    assert limiter.acquire("b") == 0  # each name has its own bucket
    now[0] += 0.5
    assert [limiter.acquire("a") for _ in range(2)] == [0, 1]
    now[0] += 100
    assert [limiter.acquire("a") for _ in range(4)] == [0, 0, 0, 1]  # never more than the burst


def test_too_many_requests_are_rejected_with_retry_after(shop_path: Path, keys: dict[str, str], settings: Settings) -> None:
    app = create(
        StoreService.open(shop_path, llm="none", settings=settings), ServerOptions(api_keys=ApiKeys(shop_path), requests_per_second=0.1)
    )
    with running_server(app, **bearer(keys["read"])) as api:
        codes = [api.get("/v1/atlas").status_code for _ in range(3)]
        assert codes == [200, 429, 429]
        response = api.get("/v1/atlas")
        assert_problem(response, 429, "too many")
        assert 1 <= int(response.headers["retry-after"]) <= 10
        assert api.get("/v1/atlas", headers=bearer(keys["admin"])).status_code == 200  # another key has a bucket of its own
        assert api.get("/v1/health").status_code == 200


# ---------------------------------------------------------------------- foreign hosts and origins


def test_without_keys_foreign_hosts_and_origins_are_rejected(shop_path: Path, settings: Settings) -> None:
    with running_server(create(StoreService.open(shop_path, llm="none", settings=settings))) as api:
        assert_problem(api.get("/v1/atlas", headers={"Host": "evil.example"}), 421, "localhost")
        assert_problem(api.get("/docs", headers={"Host": "evil.example"}), 421)
        assert_problem(api.get("/anything", headers={"Host": "evil.example"}), 421)
        body = {"json": {"user": USER, "k": 1, "explain": False}}
        assert_problem(api.post("/v1/recommend", headers={"Origin": "https://evil.example"}, **body), 403, "another site")  # type: ignore[arg-type]
        own_origin = str(api.base_url).rstrip("/")
        assert api.post("/v1/recommend", headers={"Origin": own_origin}, **body).status_code == 200  # type: ignore[arg-type]


def test_only_allowed_origins_pass_cors(api: httpx.Client, keys: dict[str, str]) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    response = api.options("/v1/recommend", headers={"Origin": "https://shop.example", **preflight})
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-credentials" not in response.headers
    foreign = api.options("/v1/recommend", headers={"Origin": "https://evil.example", **preflight})
    assert "access-control-allow-origin" not in foreign.headers
    response = api.get(f"/v1/profile/{USER}", headers={"Origin": "https://shop.example", **bearer(keys["read"])})
    assert response.headers["access-control-allow-origin"] == "https://shop.example"


# ---------------------------------------------------------------------- console login


def log_in(browser: httpx.Client, key: str, next_path: str = "/") -> httpx.Response:
    """Submit the login form with a key."""
    form = browser.get("/login", params={"next": next_path})
    token = re.search(r'name="csrf" value="([\w-]+)"', form.text)
    assert token
    return browser.post("/login", data={"key": key, "csrf": token[1], "next": next_path})


def test_the_console_requires_a_login(api: httpx.Client, shop_path: Path, keys: dict[str, str]) -> None:
    html = {"Accept": "text/html"}
    with httpx.Client(base_url=api.base_url) as browser:
        redirect = browser.get("/?q=1", headers=html)
        assert redirect.status_code == 303
        assert redirect.headers["location"] == "/login?next=%2F%3Fq%3D1"
        assert_problem(browser.get("/"), 401)
        assert log_in(browser, "crossaisle_00000000_nothing").status_code == 403
        assert log_in(browser, keys["events"]).status_code == 403
        key = ApiKeys(shop_path).create(["read"])
        response = log_in(browser, key, "/?q=1")
        assert (response.status_code, response.headers["location"]) == (303, "/?q=1")
        cookie = response.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert f"max-age={SESSION_SECONDS}" in cookie
        assert browser.get("/").text == "<h1>console</h1>"
        # forms of other sites have neither the token nor the cookie of the form
        assert_problem(browser.post("/logout", data={"csrf": "0" * 43}), 403)
        assert_problem(browser.post("/logout", headers={"Origin": "https://evil.example"}), 403)
        assert browser.post("/login", data={"key": key, "csrf": "0" * 43}).status_code == 403
        ApiKeys(shop_path).revoke(key.split("_")[1])
        assert_problem(browser.get("/"), 401)


def test_a_forged_session_cookie_is_rejected(api: httpx.Client, shop_path: Path, keys: dict[str, str]) -> None:
    with httpx.Client(base_url=api.base_url) as browser:
        log_in(browser, keys["read"])
        payload, timestamp, signature = browser.cookies[SESSION_COOKIE].split(".")
        assert signed_in(api, f"{payload}.{timestamp}.{signature}")
    other_process = LoginSessions(ApiKeys(shop_path))
    stored = other_process.api_keys.verify(keys["read"])
    assert stored is not None
    other_key = ApiKeys(shop_path).verify(keys["admin"])
    assert other_key is not None
    other_payload = other_process.create_session(other_key).split(".")[0]
    for forged in (
        f"{payload}.{timestamp}.{altered(signature)}",
        f"{payload}.{altered(timestamp)}.{signature}",
        f"{other_payload}.{timestamp}.{signature}",
        f"{payload}.{timestamp}",
        other_process.create_session(stored),
        "x",
        "",
    ):
        assert not signed_in(api, forged), forged


def altered(text: str) -> str:
    """The text with another first character."""
    return ("A" if text[0] != "A" else "B") + text[1:]


def signed_in(api: httpx.Client, session: str) -> bool:
    """Whether the console accepts a session cookie."""
    return httpx.get(f"{api.base_url}/", cookies={SESSION_COOKIE: session}).status_code == 200


def test_a_session_ends_after_its_lifetime(shop_path: Path, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = LoginSessions(ApiKeys(shop_path))
    key = sessions.api_keys.verify(keys["read"])
    assert key is not None
    cookie = f"{SESSION_COOKIE}={sessions.create_session(key)}".encode()
    connection = HTTPConnection({"type": "http", "headers": [(b"cookie", cookie)]})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + SESSION_SECONDS - 60)
    assert sessions.session_key(connection) == key
    monkeypatch.setattr(time, "time", lambda: now + SESSION_SECONDS + 60)
    assert sessions.session_key(connection) is None


@pytest.mark.parametrize("secure", [False, True])
def test_cookies_are_restricted_to_https_on_request(secure: bool, shop_path: Path, keys: dict[str, str], settings: Settings) -> None:
    store = StoreService.open(shop_path, llm="none", settings=settings)
    options = ServerOptions(api_keys=ApiKeys(shop_path), secure_cookies=secure)
    with running_server(create(store, options)) as api:
        form = api.get("/login")
        assert ("secure" in form.headers["set-cookie"].lower()) == secure
        token = re.search(r'name="csrf" value="([\w-]+)"', form.text)
        assert token
        cookies = {FORM_COOKIE: re.findall(rf"{FORM_COOKIE}=(\w+)", form.headers["set-cookie"])[0]}
        response = httpx.post(f"{api.base_url}/login", data={"key": keys["read"], "csrf": token[1]}, cookies=cookies)
        assert response.status_code == 303
        assert ("secure" in response.headers["set-cookie"].lower()) == secure


def test_logging_out_ends_the_session(api: httpx.Client, keys: dict[str, str]) -> None:
    with httpx.Client(base_url=api.base_url) as browser:
        log_in(browser, keys["read"])
        assert browser.get("/").status_code == 200
        token = re.search(r'value="([\w-]+)"', browser.get("/logout").text)
        assert token
        assert browser.post("/logout", data={"csrf": token[1]}).status_code == 303
        assert_problem(browser.get("/"), 401)


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\r\nb", "evil"]
)
def test_a_login_never_redirects_to_another_site(target: str) -> None:
    assert local_path(target) == "/"
    assert local_path("/probe?q=phones") == "/probe?q=phones"


# ---------------------------------------------------------------------- secrets


def test_logs_metrics_and_errors_contain_no_secrets_and_no_personal_text(
    api: httpx.Client, keys: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    planted = "sesame-4711"
    responses = []
    with caplog.at_level(logging.DEBUG):
        for headers in (bearer(f"crossaisle_00000000_{planted}"), {**bearer(keys["admin"]), "Cookie": f"crossaisle_session={planted}"}):
            responses += [
                api.post("/v1/recommend", json={"text": planted, "k": 1, "explain": False}, headers=headers),
                api.post("/v1/recommend", json={"text": 5, planted: planted}, headers=headers),
                api.post("/v1/events", json={"user_id": planted, "kind": planted}, headers=headers),
                api.post("/v1/events", json={"user_id": planted, "kind": "search", "text": planted}, headers=headers),
                api.get("/v1/why", params={"item": "CA-003", "items": planted}, headers=headers),
                api.get(f"/{planted}", headers=headers),
                api.post("/v1/recommend", content=planted, headers=headers),
                api.delete(f"/v1/users/{planted}", headers=headers),
                api.get("/v1/health", headers={**headers, "X-Request-ID": f"{planted}!"}),
            ]
        assert log_in(api, planted).status_code == 403
    assert {response.status_code for response in responses} >= {200, 401, 404, 422}
    records = [record for record in caplog.records if record.name.startswith("crossaisle")]
    assert len(records) >= len(responses)
    assert not [record.getMessage() for record in records if planted in record.getMessage()]
    assert planted not in api.get("/metrics", headers=bearer(keys["read"])).text
    # Responses to an authorized caller may repeat an unknown id that the caller sent.
    for response in responses:
        if response.status_code == 401:
            assert planted not in response.text
    secret = keys["admin"].split("_", 2)[2]
    assert secret not in caplog.text
    assert secret not in json.dumps([response.text for response in responses])


def test_the_event_log_has_pseudonyms_of_users_on_request(shop_path: Path, tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "shop"
    shutil.copytree(shop_path, path)
    (path / "keys.json").unlink()
    for file in path.glob("events.db*"):
        file.unlink()
    with running_server(create(StoreService.open(path, llm="none", settings=settings, pseudonymise=True))) as api:
        event = {"user_id": "maria-7", "kind": "purchase", "item_id": "CA-003"}
        assert api.post("/v1/events", json=event).json()["accepted"] == 1
        assert api.post("/v1/recommend", json={"user": "maria-7", "k": 1, "explain": False}).json()["recommendations"]
    content = b"".join(file.read_bytes() for file in path.glob("events.db*"))
    assert b"CA-003" in content
    assert b"maria-7" not in content
