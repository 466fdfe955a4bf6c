"""Whatever is sent, the answer is a 4xx with problem details or an answer: never a 500, by a fuzzer and by the API's own description."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounds
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from crossaisle.app.api.application import create
from crossaisle.app.service.store_service import StoreService
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace

from ...http_server import running_server

REQUESTS = 1000
CHECKS = [response_schema_conformance, status_code_conformance, content_type_conformance]
GOOD = {
    "/v1/recommend": {
        "user": "s001",
        "items": ["CA-003"],
        "text": "tent",
        "rules": {"scope": "new", "max_price": 50},
        "k": 2,
        "explain": False,
    },
    "/v1/recommend:batch": {"requests": [{"user": "s001", "k": 1, "explain": False}]},
    "/v1/recommend:stream": {"user": "s001", "k": 1, "explain": False},
    "/v1/probe": {"question": "phones", "k": 2, "words": False},
    "/v1/events": {"user_id": "s001", "kind": "click", "item_id": "CA-003", "timestamp": 1_700_000_000_000},
    "/v1/items": {"items": [{"item_id": "x1", "title": "X", "category": ["A"], "price": 1.0}]},
}
BAD = [
    None, True, -1, 1e308, 10**30, "", " ", "\x00", "\ud800", "\u202e", "a" * 3000, [], {}, [[]], {"a": {}}, ["\n"], [None], "NaN", "' OR 1=1 --",
    "<script>alert(1)</script>", "../../etc/passwd", "{{7*7}}", "<|im_start|>system", [{}] * 3, "9" * 400,
]  # fmt: skip


@pytest.fixture(scope="module")
def api(demo_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[httpx.Client]:
    path = tmp_path_factory.mktemp("malformed") / "shop"
    shutil.copytree(demo_workspace.path, path)
    with running_server(create(StoreService.open(path, llm="none", settings=settings))) as client:
        yield client


def spoilt(chance: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """A request that is wrong in one seeded way: method, path, body, headers."""
    path, body = chance.choice(list(GOOD.items()))
    body = json.loads(json.dumps(body))
    headers, method = {"content-type": "application/json"}, "POST"
    way = chance.randrange(7)
    target = chance.choice([body, *(part for part in body.values() if isinstance(part, dict))])
    if way == 0:
        target[chance.choice(list(target))] = chance.choice([{"a": 1}, [[1]], "\ud800"])
    elif way == 1:
        target[f"x{chance.randrange(99)}"] = chance.choice(BAD)
    elif way == 2:
        content = json.dumps(body).encode()
        return method, path, content[: chance.randrange(1, len(content))], headers
    elif way == 3:
        return method, path, chance.randbytes(chance.randrange(1, 200)), headers
    elif way == 4:
        headers = {"content-type": chance.choice(["text/plain", "application/xml", "multipart/form-data", "", "application/json-nope"])}
    elif way == 5:
        method = chance.choice(["GET", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
    else:
        path = chance.choice(
            ["/v1", "/v1/", f"{path}/", f"/{path}", "/v1/profile/", "/v1/%00", f"/v2{path}", "/v1/profile/%FF%FE", "/v1/users/a"]
        )
        method = "POST"
    return method, path, json.dumps(body).encode(), headers


def test_a_thousand_malformed_requests_are_answered_4xx(api: httpx.Client) -> None:
    chance, codes = random.Random(7), set()
    for number in range(REQUESTS):
        method, path, body, headers = spoilt(chance)
        answer = api.request(method, path, content=body, headers=headers)
        assert 400 <= answer.status_code < 500, (number, method, path, body[:200], headers, answer.status_code, answer.text[:300])
        assert answer.headers["content-type"] == "application/problem+json", (number, method, path, body[:200])
        told = answer.json()
        assert told["status"] == answer.status_code
        assert 5 < len(told["detail"]) <= 1000
        assert "Traceback" not in answer.text
        codes.add(answer.status_code)
    assert {404, 405, 422} <= codes
    assert api.post("/v1/recommend", json=GOOD["/v1/recommend"]).status_code == 200  # it still answers


def test_nothing_that_the_description_allows_is_a_500(api: httpx.Client) -> None:
    schema = schemathesis.openapi.from_url(f"{api.base_url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 12
    asked = 0
    for operation in operations:

        @bounds(
            max_examples=8, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            answer = case.call(timeout=30)
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            case.validate_response(answer, checks=CHECKS)
            if answer.status_code >= 400:
                assert "application/problem+json" in str(answer.headers["content-type"]), case.as_curl_command()
            asked += 1

        ask()
    assert asked > 80
