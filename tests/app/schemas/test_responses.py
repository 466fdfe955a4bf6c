"""Responses match the OpenAPI description: every address of the API, with non-empty responses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from pydantic import TypeAdapter
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from crossaisle.app.api.application import create
from crossaisle.app.schemas.base import ProblemResponse
from crossaisle.app.schemas.recommendation_responses import STREAM_EVENTS, BatchResponse, RecommendResponse, WhyResponse
from crossaisle.app.schemas.segment_responses import AtlasResponse, ComparisonResponse, ProbeResponse
from crossaisle.app.schemas.store_responses import (
    EventsResponse,
    ForgottenResponse,
    HealthResponse,
    ItemsResponse,
    ProfileResponse,
    ReadyResponse,
)
from crossaisle.app.service.store_service import StoreService
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace

from ...http_server import running_server

USER = "s001"
CHECKS = [response_schema_conformance, status_code_conformance, content_type_conformance]
EVENT = {"user_id": USER, "kind": "click", "item_id": "CA-003"}
REQUESTS: list[tuple[str, str, Any, Any]] = [
    ("POST", "/v1/recommend", {"user": USER, "k": 3}, RecommendResponse),
    ("POST", "/v1/recommend", {"items": ["CA-003"], "text": "to cook on a trip", "k": 2, "new_items": 1}, RecommendResponse),
    ("POST", "/v1/recommend", {"user": USER, "k": 100, "rules": {"max_price": 1}}, RecommendResponse),
    ("POST", "/v1/recommend", {"user": USER, "k": 3, "audience": "customer"}, RecommendResponse),
    ("POST", "/v1/recommend", {"user": USER, "k": 3, "audience": "analyst"}, RecommendResponse),
    ("POST", "/v1/recommend:batch", {"requests": [{"user": USER, "k": 1}, {"user": "nobody"}]}, BatchResponse),
    ("GET", "/v1/why?item=CL-015&user=s001", None, WhyResponse),
    ("GET", "/v1/why?item=CL-015&user=s001&max_price=0.01&counterfactuals=false", None, WhyResponse),
    ("POST", "/v1/probe", {"question": "phones and not cases"}, ProbeResponse),
    ("POST", "/v1/probe", {"question": "who would need headphones?", "words": False}, ProbeResponse),
    ("POST", "/v1/probe", {"question": "people who started running", "words": False}, ProbeResponse),
    ("POST", "/v1/probe", {"question": "kitchen", "epsilon": 1, "words": False}, ProbeResponse),
    ("POST", "/v1/probe", {"question": "kitchen", "against": "baby"}, ComparisonResponse),
    ("GET", "/v1/atlas?level=2", None, AtlasResponse),
    ("GET", f"/v1/profile/{USER}", None, ProfileResponse),
    ("POST", "/v1/events", [EVENT, EVENT], EventsResponse),
    ("POST", "/v1/items", {"items": [{"item_id": "x1", "title": "X", "category": ["A"], "price": 1.0}]}, ItemsResponse),
    ("DELETE", "/v1/users/s399", None, ForgottenResponse),
    ("GET", "/v1/health", None, HealthResponse),
    ("GET", "/v1/ready", None, ReadyResponse),
    ("POST", "/v1/recommend", {"user": USER, "k": "many"}, ProblemResponse),
    ("GET", "/v1/profile/nobody", None, ProblemResponse),
]


@pytest.fixture(scope="module")
def api(demo_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[httpx.Client]:
    path = tmp_path_factory.mktemp("responses") / "shop"
    shutil.copytree(demo_workspace.path, path)
    with running_server(create(StoreService.open(path, llm="none", settings=settings))) as client:
        yield client


def assert_matches(schema: Any, content: Any) -> None:
    """A schema has a field of the right type for everything in a response: nothing is dropped, filled in or converted."""
    adapter = TypeAdapter(schema)
    parsed = adapter.validate_json(json.dumps(content), strict=True)
    assert json.loads(adapter.dump_json(parsed, by_alias=True, exclude_unset=True)) == content


@pytest.mark.parametrize(("method", "path", "body", "schema"), REQUESTS)
def test_responses_match_the_openapi_description(api: httpx.Client, method: str, path: str, body: Any, schema: Any) -> None:
    response = api.request(method, path, json=body)
    content = response.json()
    assert (response.status_code < 400) == (schema is not ProblemResponse), content
    assert_matches(schema, content)
    openapi = schemathesis.openapi.from_url(f"{api.base_url}/openapi.json")
    template = {"/v1/profile": "/v1/profile/{user}", "/v1/users": "/v1/users/{user}"}.get(path.rpartition("/")[0], path.partition("?")[0])
    operation = openapi[template][method]
    case = operation.Case() if body is None else operation.Case(body=body, media_type="application/json")
    case.validate_response(response, checks=CHECKS)


def test_a_wrong_type_in_a_response_is_detected(api: httpx.Client) -> None:
    openapi = schemathesis.openapi.from_url(f"{api.base_url}/openapi.json")
    response = api.post("/v1/recommend", json={"user": USER, "k": 1})
    content = response.json()
    content["recommendations"][0]["score"] = "high"
    headers = dict(response.headers) | {"content-length": str(len(json.dumps(content)))}
    wrong = httpx.Response(200, json=content, request=response.request, headers=headers)
    wrong.elapsed = response.elapsed
    with pytest.raises(FailureGroup) as caught:
        openapi["/v1/recommend"]["POST"].Case(body={"user": USER}, media_type="application/json").validate_response(wrong, checks=CHECKS)
    assert any("'high'" in str(failure) or '"high"' in str(failure) for failure in caught.value.exceptions)


def test_stream_events_match_their_schemas(api: httpx.Client) -> None:
    response = api.post("/v1/recommend:stream", json={"user": USER, "k": 2})
    lines = [line for line in response.text.splitlines() if line]
    names = [line.removeprefix("event: ") for line in lines[::2]]
    assert names == ["ranked", "explanation", "explanation", "done"]
    for name, line in zip(names, lines[1::2], strict=True):
        assert_matches(STREAM_EVENTS[name], json.loads(line.removeprefix("data: ")))


def test_every_address_describes_its_response_and_its_problems(api: httpx.Client) -> None:
    description = api.get("/openapi.json").json()
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            (success,) = operation["responses"]["200"]["content"].values()
            if path.endswith(":stream"):
                references = [event["$ref"] for event in success["x-events"].values()]
            else:
                references = [part["$ref"] for part in (success["schema"], *success["schema"].get("anyOf", ())) if "$ref" in part]
            assert references, (path, method)
            references.append(operation["responses"]["4XX"]["content"]["application/problem+json"]["schema"]["$ref"])
            for reference in references:
                assert description["components"]["schemas"][reference.removeprefix("#/components/schemas/")]["properties"]
