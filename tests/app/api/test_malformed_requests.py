"""Malformed requests are answered with 4xx and problem details, never 500: a mutation fuzzer, and requests generated from OpenAPI."""

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
VALID = {
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
INVALID_VALUES = [
    None, True, -1, 1e308, 10**30, "", " ", "\x00", "\ud800", "\u202e", "a" * 3000, [], {}, [[]], {"a": {}}, ["\n"], [None], "NaN", "' OR 1=1 --",
    "<script>alert(1)</script>", "../../etc/passwd", "{{7*7}}", "<|im_start|>system", [{}] * 3, "9" * 400,
]  # fmt: skip


@pytest.fixture(scope="module")
def api(demo_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[httpx.Client]:
    path = tmp_path_factory.mktemp("malformed") / "shop"
    shutil.copytree(demo_workspace.path, path)
    with running_server(create(StoreService.open(path, llm="none", settings=settings))) as client:
        yield client


def mutated(rng: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """A valid request with one random defect: method, path, body, headers."""
    path, body = rng.choice(list(VALID.items()))
    body = json.loads(json.dumps(body))
    headers, method = {"content-type": "application/json"}, "POST"
    defect = rng.randrange(7)
    target = rng.choice([body, *(part for part in body.values() if isinstance(part, dict))])
    if defect == 0:
        target[rng.choice(list(target))] = rng.choice([{"a": 1}, [[1]], "\ud800"])
    elif defect == 1:
        target[f"x{rng.randrange(99)}"] = rng.choice(INVALID_VALUES)
    elif defect == 2:
        content = json.dumps(body).encode()
        return method, path, content[: rng.randrange(1, len(content))], headers
    elif defect == 3:
        return method, path, rng.randbytes(rng.randrange(1, 200)), headers
    elif defect == 4:
        headers = {"content-type": rng.choice(["text/plain", "application/xml", "multipart/form-data", "", "application/json-nope"])}
    elif defect == 5:
        method = rng.choice(["GET", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
    else:
        path = rng.choice(
            ["/v1", "/v1/", f"{path}/", f"/{path}", "/v1/profile/", "/v1/%00", f"/v2{path}", "/v1/profile/%FF%FE", "/v1/users/a"]
        )
        method = "POST"
    return method, path, json.dumps(body).encode(), headers


def test_a_thousand_malformed_requests_are_answered_4xx(api: httpx.Client) -> None:
    rng, codes = random.Random(7), set()
    for number in range(REQUESTS):
        method, path, body, headers = mutated(rng)
        response = api.request(method, path, content=body, headers=headers)
        assert 400 <= response.status_code < 500, (number, method, path, body[:200], headers, response.status_code, response.text[:300])
        assert response.headers["content-type"] == "application/problem+json", (number, method, path, body[:200])
        problem = response.json()
        assert problem["status"] == response.status_code
        assert 5 < len(problem["detail"]) <= 1000
        assert "Traceback" not in response.text
        codes.add(response.status_code)
    assert {404, 405, 422} <= codes
    assert api.post("/v1/recommend", json=VALID["/v1/recommend"]).status_code == 200  # the server still works


def test_no_request_that_matches_the_openapi_description_is_a_500(api: httpx.Client) -> None:
    schema = schemathesis.openapi.from_url(f"{api.base_url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 12
    sent = 0
    for operation in operations:

        @bounds(
            max_examples=8, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def send(case: schemathesis.Case) -> None:
            nonlocal sent
            response = case.call(timeout=30)
            assert response.status_code < 500, (case.as_curl_command(), response.text)
            case.validate_response(response, checks=CHECKS)
            if response.status_code >= 400:
                assert "application/problem+json" in str(response.headers["content-type"]), case.as_curl_command()
            sent += 1

        send()
    assert sent > 80
