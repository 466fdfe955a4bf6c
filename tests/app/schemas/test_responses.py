"""The API's description says what answers look like, and they look like that: every address, with answers that have something in them."""

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
from crossaisle.app.schemas import responses
from crossaisle.app.service.store_service import Shop
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace

from ...http_server import running

USER = "s001"
CHECKS = [response_schema_conformance, status_code_conformance, content_type_conformance]
EVENT = {"user_id": USER, "kind": "click", "item_id": "CA-003"}
ASKED: list[tuple[str, str, Any, Any]] = [
    ("POST", "/v1/recommend", {"user": USER, "k": 3}, responses.RecommendAnswer),
    ("POST", "/v1/recommend", {"items": ["CA-003"], "text": "to cook on a trip", "k": 2, "new_items": 1}, responses.RecommendAnswer),
    ("POST", "/v1/recommend", {"user": USER, "k": 100, "rules": {"max_price": 1}}, responses.RecommendAnswer),
    ("POST", "/v1/recommend:batch", {"requests": [{"user": USER, "k": 1}, {"user": "nobody"}]}, responses.BatchAnswer),
    ("GET", "/v1/why?item=CL-015&user=s001", None, responses.WhyAnswer),
    ("GET", "/v1/why?item=CL-015&user=s001&max_price=0.01&counterfactuals=false", None, responses.WhyAnswer),
    ("POST", "/v1/probe", {"question": "phones and not cases"}, responses.ProbeAnswer),
    ("POST", "/v1/probe", {"question": "who would need headphones?", "words": False}, responses.ProbeAnswer),
    ("POST", "/v1/probe", {"question": "people who started running", "words": False}, responses.ProbeAnswer),
    ("POST", "/v1/probe", {"question": "kitchen", "epsilon": 1, "words": False}, responses.ProbeAnswer),
    ("POST", "/v1/probe", {"question": "kitchen", "against": "baby"}, responses.ComparisonAnswer),
    ("GET", "/v1/atlas?level=2", None, responses.AtlasAnswer),
    ("GET", f"/v1/profile/{USER}", None, responses.ProfileAnswer),
    ("POST", "/v1/events", [EVENT, EVENT], responses.EventsAnswer),
    ("POST", "/v1/items", {"items": [{"item_id": "x1", "title": "X", "category": ["A"], "price": 1.0}]}, responses.ItemsAnswer),
    ("DELETE", "/v1/users/s399", None, responses.ForgottenAnswer),
    ("GET", "/v1/health", None, responses.HealthAnswer),
    ("GET", "/v1/ready", None, responses.ReadyAnswer),
    ("POST", "/v1/recommend", {"user": USER, "k": "many"}, responses.ProblemAnswer),
    ("GET", "/v1/profile/nobody", None, responses.ProblemAnswer),
]


@pytest.fixture(scope="module")
def api(demo_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[httpx.Client]:
    path = tmp_path_factory.mktemp("shapes") / "shop"
    shutil.copytree(demo_workspace.path, path)
    with running(create(Shop.open(path, llm="none", settings=settings))) as client:
        yield client


def same(shape: Any, told: Any) -> None:
    """A shape has a field for everything in an answer, of the right type: nothing is dropped, filled in or turned into something else."""
    known = TypeAdapter(shape)
    read = known.validate_json(json.dumps(told), strict=True)
    assert json.loads(known.dump_json(read, by_alias=True, exclude_unset=True)) == told


@pytest.mark.parametrize(("method", "path", "body", "shape"), ASKED)
def test_answers_are_what_the_description_says(api: httpx.Client, method: str, path: str, body: Any, shape: Any) -> None:
    answer = api.request(method, path, json=body)
    told = answer.json()
    assert (answer.status_code < 400) == (shape is not responses.ProblemAnswer), told
    same(shape, told)
    schema = schemathesis.openapi.from_url(f"{api.base_url}/openapi.json")
    template = {"/v1/profile": "/v1/profile/{user}", "/v1/users": "/v1/users/{user}"}.get(path.rpartition("/")[0], path.partition("?")[0])
    operation = schema[template][method]
    case = operation.Case() if body is None else operation.Case(body=body, media_type="application/json")
    case.validate_response(answer, checks=CHECKS)


def test_a_wrong_answer_would_be_found(api: httpx.Client) -> None:
    schema = schemathesis.openapi.from_url(f"{api.base_url}/openapi.json")
    answer = api.post("/v1/recommend", json={"user": USER, "k": 1})
    told = answer.json()
    told["recommendations"][0]["score"] = "high"
    wrong = httpx.Response(
        200, json=told, request=answer.request, headers=dict(answer.headers) | {"content-length": str(len(json.dumps(told)))}
    )
    wrong.elapsed = answer.elapsed
    with pytest.raises(FailureGroup) as caught:
        schema["/v1/recommend"]["POST"].Case(body={"user": USER}, media_type="application/json").validate_response(wrong, checks=CHECKS)
    assert any("'high'" in str(fault) or '"high"' in str(fault) for fault in caught.value.exceptions)


def test_a_stream_s_events_have_their_shapes(api: httpx.Client) -> None:
    answer = api.post("/v1/recommend:stream", json={"user": USER, "k": 2})
    lines = [line for line in answer.text.splitlines() if line]
    names = [line.removeprefix("event: ") for line in lines[::2]]
    assert names == ["ranked", "explanation", "explanation", "done"]
    for name, line in zip(names, lines[1::2], strict=True):
        same(responses.STREAMED[name], json.loads(line.removeprefix("data: ")))


def test_every_address_describes_its_answer_and_its_problems(api: httpx.Client) -> None:
    described = api.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        for method, about in methods.items():
            (good,) = about["responses"]["200"]["content"].values()
            if path.endswith(":stream"):
                shapes = [one["$ref"] for one in good["x-events"].values()]
            else:
                shapes = [one["$ref"] for one in (good["schema"], *good["schema"].get("anyOf", ())) if "$ref" in one]
            assert shapes, (path, method)
            shapes.append(about["responses"]["4XX"]["content"]["application/problem+json"]["schema"]["$ref"])
            for name in shapes:
                assert described["components"]["schemas"][name.removeprefix("#/components/schemas/")]["properties"]
