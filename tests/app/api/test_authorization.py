"""Who may ask: API keys, their scopes and rates, other names and sites, the login of the console, and no secret anywhere."""

from __future__ import annotations

import json
import logging
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from crossaisle.app.api.application import create
from crossaisle.app.api.login import local_path
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
def told(shop_path: Path) -> dict[str, str]:
    """A key for each scope."""
    keys = ApiKeys(shop_path)
    return {scope: keys.create([scope], f"for {scope}") for scope in ("read", "events", "admin")}


@pytest.fixture(scope="module")
def app(shop_path: Path, told: dict[str, str], settings: Settings) -> FastAPI:
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


def test_a_key_is_kept_as_a_hash_by_its_owner_alone(shop_path: Path, told: dict[str, str]) -> None:
    file = shop_path / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = file.read_text()
    for key in told.values():
        prefix, key_id, secret = key.split("_", 2)
        assert prefix == "crossaisle"
        assert len(secret) == 43  # 256 bits
        assert key_id in content
        assert secret not in content


def test_only_the_whole_key_is_found_and_only_until_it_is_revoked(tmp_path: Path) -> None:
    keys, other = ApiKeys(tmp_path), ApiKeys(tmp_path)
    key = keys.create(["read", "read"], "site")
    found = other.verify(key)
    assert found is not None
    assert found.scopes == ("read",)
    assert "hash" not in repr(found)
    second = keys.create(["events"])
    swapped = f"crossaisle_{key.split('_')[1]}_{second.split('_', 2)[2]}"
    for wrong in ("", "crossaisle", key[:-1], key + "x", key.replace("crossaisle", "other"), swapped, f"crossaisle_{found.key_id}_"):
        assert other.verify(wrong) is None
    keys.revoke(found.key_id)
    assert other.verify(key) is None
    assert other.verify(second) is not None
    with pytest.raises(SettingsError, match="keys list"):
        keys.revoke(found.key_id)
    with pytest.raises(SettingsError, match="read, events, admin"):
        keys.create(["root"])
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(WorkspaceError, match="make new keys"):
        ApiKeys(tmp_path)


def test_each_scope_opens_its_own_doors(api: httpx.Client, told: dict[str, str]) -> None:
    event = {"user_id": "u", "kind": "click", "item_id": "CA-003"}
    doors = {
        "read": lambda key: api.post("/v1/recommend", json={"user": USER, "k": 1, "explain": False}, headers=bearer(key)),
        "events": lambda key: api.post("/v1/events", json=event, headers=bearer(key)),
        "admin": lambda key: api.delete("/v1/users/u", headers=bearer(key)),
    }
    for needed, ask in doors.items():
        for scope, key in told.items():
            answer = ask(key)
            if scope in (needed, "admin"):
                assert answer.status_code == 200, answer.text
            else:
                assert_problem(answer, 403, needed)
    answer = api.post("/v1/recommend", json={"user": USER})
    assert_problem(answer, 401, "Authorization")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert_problem(api.post("/v1/recommend", content=b"{", headers=bearer("crossaisle_00000000_x")), 401)  # before the body is read
    assert_problem(api.get("/metrics"), 401)
    assert api.get("/metrics", headers=bearer(told["read"])).status_code == 200
    assert api.get("/v1/health").status_code == 200


def test_a_revoked_key_is_turned_away_by_a_running_service(api: httpx.Client, shop_path: Path) -> None:
    keys = ApiKeys(shop_path)
    key = keys.create(["read"])
    assert api.get(f"/v1/profile/{USER}", headers=bearer(key)).status_code == 200
    keys.revoke(key.split("_")[1])
    assert_problem(api.get(f"/v1/profile/{USER}", headers=bearer(key)), 401)


# ---------------------------------------------------------------------- rates


def test_a_bucket_fills_as_time_goes_by() -> None:
    now = [0.0]
    rates = RateLimiter(2.0, 3.0, clock=lambda: now[0])
    assert [rates.acquire("a") for _ in range(4)] == [0, 0, 0, 1]
    assert rates.acquire("b") == 0  # another's is another
    now[0] += 0.5
    assert [rates.acquire("a") for _ in range(2)] == [0, 1]
    now[0] += 100
    assert [rates.acquire("a") for _ in range(4)] == [0, 0, 0, 1]  # never more than the burst


def test_too_often_is_a_429_that_says_when(shop_path: Path, told: dict[str, str], settings: Settings) -> None:
    app = create(
        StoreService.open(shop_path, llm="none", settings=settings), ServerOptions(api_keys=ApiKeys(shop_path), requests_per_second=0.1)
    )
    with running_server(app, **bearer(told["read"])) as api:
        codes = [api.get("/v1/atlas").status_code for _ in range(3)]
        assert codes == [200, 429, 429]
        answer = api.get("/v1/atlas")
        assert_problem(answer, 429, "too many")
        assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert api.get("/v1/atlas", headers=bearer(told["admin"])).status_code == 200  # another key has a bucket of its own
        assert api.get("/v1/health").status_code == 200


# ---------------------------------------------------------------------- other names, other sites


def test_without_keys_only_loopback_is_answered_and_no_other_site(shop_path: Path, settings: Settings) -> None:
    with running_server(create(StoreService.open(shop_path, llm="none", settings=settings))) as api:
        assert_problem(api.get("/v1/atlas", headers={"Host": "evil.example"}), 421, "localhost")
        assert_problem(api.get("/docs", headers={"Host": "evil.example"}), 421)
        assert_problem(api.get("/anything", headers={"Host": "evil.example"}), 421)
        asked = {"json": {"user": USER, "k": 1, "explain": False}}
        assert_problem(api.post("/v1/recommend", headers={"Origin": "https://evil.example"}, **asked), 403, "another site")  # type: ignore[arg-type]
        own = str(api.base_url).rstrip("/")
        assert api.post("/v1/recommend", headers={"Origin": own}, **asked).status_code == 200  # type: ignore[arg-type]


def test_a_site_that_is_let_in_may_ask_and_no_other(api: httpx.Client, told: dict[str, str]) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    answer = api.options("/v1/recommend", headers={"Origin": "https://shop.example", **asked})
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-credentials" not in answer.headers
    assert "access-control-allow-origin" not in api.options("/v1/recommend", headers={"Origin": "https://evil.example", **asked}).headers
    answer = api.get(f"/v1/profile/{USER}", headers={"Origin": "https://shop.example", **bearer(told["read"])})
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


# ---------------------------------------------------------------------- the console's login


def entered(api: httpx.Client, key: str, where: str = "/") -> httpx.Response:
    """What the login's form answers to a key."""
    form = api.get("/login", params={"next": where})
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', form.text)
    assert token
    return api.post("/login", data={"key": key, "csrf": token[1], "next": where})


def test_the_console_is_behind_the_login(api: httpx.Client, app: FastAPI, shop_path: Path, told: dict[str, str]) -> None:
    html = {"Accept": "text/html"}
    with httpx.Client(base_url=api.base_url) as browser:
        turned = browser.get("/?q=1", headers=html)
        assert turned.status_code == 303
        assert turned.headers["location"] == "/login?next=%2F%3Fq%3D1"
        assert_problem(browser.get("/"), 401)
        assert entered(browser, "crossaisle_00000000_nothing").status_code == 403
        assert entered(browser, told["events"]).status_code == 403
        key = ApiKeys(shop_path).create(["read"])
        answer = entered(browser, key, "/?q=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/?q=1")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert browser.get("/").text == "<h1>console</h1>"
        # the cookie is of this browser, this key and this process
        session = browser.cookies["crossaisle_session"]
        for forged in (session[:-1] + ("0" if session[-1] != "0" else "1"), "x", "", session.replace(".", ".9", 1)):
            assert_problem(httpx.get(f"{api.base_url}/", cookies={"crossaisle_session": forged}), 401)
        # another site's form has neither the token nor the form's cookie
        assert_problem(browser.post("/logout", data={"csrf": "0" * 64}), 403)
        assert_problem(browser.post("/logout", headers={"Origin": "https://evil.example"}), 403)
        assert browser.post("/login", data={"key": key, "csrf": "0" * 64}).status_code == 403
        ApiKeys(shop_path).revoke(key.split("_")[1])
        assert_problem(browser.get("/"), 401)


def test_logging_out_ends_it(api: httpx.Client, told: dict[str, str]) -> None:
    with httpx.Client(base_url=api.base_url) as browser:
        entered(browser, told["read"])
        assert browser.get("/").status_code == 200
        token = re.search(r'value="([0-9a-f]+)"', browser.get("/logout").text)
        assert token
        assert browser.post("/logout", data={"csrf": token[1]}).status_code == 303
        assert_problem(browser.get("/"), 401)


@pytest.mark.parametrize(
    "where", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\r\nb", "evil"]
)
def test_a_login_leads_nowhere_else(where: str) -> None:
    assert local_path(where) == "/"
    assert local_path("/probe?q=phones") == "/probe?q=phones"


# ---------------------------------------------------------------------- no secret anywhere


def test_no_secret_and_no_text_of_a_person_is_in_logs_metrics_or_errors(
    api: httpx.Client, told: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    planted = "sesame-4711"
    answers = []
    with caplog.at_level(logging.DEBUG):
        for headers in (bearer(f"crossaisle_00000000_{planted}"), {**bearer(told["admin"]), "Cookie": f"crossaisle_session={planted}"}):
            answers += [
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
        assert entered(api, planted).status_code == 403
    assert {answer.status_code for answer in answers} >= {200, 401, 404, 422}
    ours = [record for record in caplog.records if record.name.startswith("crossaisle")]
    assert len(ours) >= len(answers)
    assert not [record.getMessage() for record in ours if planted in record.getMessage()]
    assert planted not in api.get("/metrics", headers=bearer(told["read"])).text
    # What somebody asks for by name is named in the answer to that caller; a value that was wrong in form is not.
    for answer in answers:
        if answer.status_code == 401:
            assert planted not in answer.text
    secret = told["admin"].split("_", 2)[2]
    assert secret not in caplog.text
    assert secret not in json.dumps([answer.text for answer in answers])


def test_users_are_pseudonyms_in_the_log_where_that_is_asked_for(shop_path: Path, tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "shop"
    shutil.copytree(shop_path, path)
    (path / "keys.json").unlink()
    for left in path.glob("events.db*"):
        left.unlink()
    with running_server(create(StoreService.open(path, llm="none", settings=settings, pseudonymise=True))) as api:
        event = {"user_id": "maria-7", "kind": "purchase", "item_id": "CA-003"}
        assert api.post("/v1/events", json=event).json()["accepted"] == 1
        assert api.post("/v1/recommend", json={"user": "maria-7", "k": 1, "explain": False}).json()["recommendations"]
    content = b"".join(file.read_bytes() for file in path.glob("events.db*"))
    assert b"CA-003" in content
    assert b"maria-7" not in content
