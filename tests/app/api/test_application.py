"""The HTTP API on a real socket: every address, problem details for errors, limits, the request queue, and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import queue
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from fastapi import FastAPI

import crossaisle
from crossaisle.app.api.application import create
from crossaisle.app.api.state import ServerOptions
from crossaisle.app.schemas.requests import ItemRequest, RecommendRequest
from crossaisle.app.service.store_service import StoreService
from crossaisle.data import deadlines
from crossaisle.data.errors import TimedOutError
from crossaisle.data.events.served_lists import ServedLists
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace

from ...http_server import assert_problem, running_server

USER = "s001"


@pytest.fixture(scope="module")
def shop_path(demo_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A writable copy of the demo store."""
    path = tmp_path_factory.mktemp("application") / "shop"
    shutil.copytree(demo_workspace.path, path)
    return path


@pytest.fixture(scope="module")
def app(shop_path: Path, settings: Settings) -> FastAPI:
    return create(StoreService.open(shop_path, llm="none", settings=settings), ServerOptions(max_body_bytes=100_000))


@pytest.fixture(scope="module")
def api(app: FastAPI) -> Iterator[httpx.Client]:
    with running_server(app) as client:
        yield client


# ---------------------------------------------------------------------- responses


def test_recommend_responds_with_the_json_of_the_command_line_and_an_id(api: httpx.Client, app: FastAPI) -> None:
    body = {"user": USER, "k": 3, "rules": {"max_price": 60, "exclude_categories": ["Kitchen"]}, "tone": "plain"}
    over_http = api.post("/v1/recommend", json=body).json()
    direct = app.state.crossaisle.store.recommend(RecommendRequest.model_validate(body))
    for response in (over_http, direct):
        response.pop("timings_ms")
        assert len(response.pop("recommendation_id")) == 32
    assert over_http == direct
    recommendations = over_http["recommendations"]
    assert [item["rank"] for item in recommendations] == [1, 2, 3]
    assert all(item["price"] <= 60 and item["category"][0] != "Kitchen" for item in recommendations)
    assert all(item["explanation"]["verified"] for item in recommendations)


def test_a_basket_or_a_text_is_a_valid_query(api: httpx.Client) -> None:
    for_basket = api.post("/v1/recommend", json={"items": ["CA-003"], "k": 2}).json()["recommendations"]
    text_query = {"text": "something to cook with on a trip", "k": 2, "explain": False}
    for_text = api.post("/v1/recommend", json=text_query).json()["recommendations"]
    assert len(for_basket) == len(for_text) == 2
    assert for_text[0]["explanation"] is None


def test_a_batch_has_a_response_or_a_problem_for_each_query(api: httpx.Client) -> None:
    body = {"requests": [{"user": USER, "k": 1}, {"user": "nobody"}, {"items": ["CA-003"], "k": 1}]}
    first, second, third = api.post("/v1/recommend:batch", json=body).json()["answers"]
    assert len(first["recommendations"]) == len(third["recommendations"]) == 1
    assert second["problem"]["status"] == 404
    assert second["problem"]["type"] == "urn:crossaisle:problem:unknown-user"


def test_the_stream_starts_with_the_list_and_has_the_same_explanations(api: httpx.Client) -> None:
    with api.stream("POST", "/v1/recommend:stream", json={"user": USER, "k": 3}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        sent = list(stream_events(response))
    assert [name for name, _ in sent] == ["ranked", "explanation", "explanation", "explanation", "done"]
    expected = api.post("/v1/recommend", json={"user": USER, "k": 3}).json()["recommendations"]
    ranked = sent[0][1]["recommendations"]
    assert [item["item_id"] for item in ranked] == [item["item_id"] for item in expected]
    assert all(item["explanation"] is None for item in ranked)
    assert [data["explanation"] for _, data in sent[1:4]] == [item["explanation"] for item in expected]
    assert sent[-1][1]["recommendation_id"]
    assert_problem(api.post("/v1/recommend:stream", json={"user": "nobody"}), 404, "nobody")


def test_an_analyst_gets_a_list_of_all_facts(api: httpx.Client) -> None:
    answer = api.post("/v1/recommend", json={"user": USER, "k": 3, "audience": "analyst"}).json()
    explanations = [entry["explanation"] for entry in answer["recommendations"]]
    assert len(explanations) == 3
    for explanation in explanations:
        heading, *lines = explanation["text"].split("\n")
        ids = [fact["id"] for fact in explanation["evidence"]]
        assert heading.endswith(":")
        assert len(lines) == len(ids) > 1
        assert sorted(claim["evidence"] for claim in explanation["claims"]) == sorted(ids)
        for fact in explanation["evidence"]:
            (line,) = (line for line in lines if line.endswith(f" ({fact['id']})"))
            assert fact["text"] in line
        assert "customer_copy" not in explanation


@pytest.mark.parametrize("audience", ["customer", "analyst"])
def test_the_stream_has_the_same_explanations_for_each_audience(api: httpx.Client, audience: str) -> None:
    body = {"user": USER, "k": 3, "audience": audience}
    with api.stream("POST", "/v1/recommend:stream", json=body) as response:
        streamed = [data["explanation"] for name, data in stream_events(response) if name == "explanation"]
    expected = [entry["explanation"] for entry in api.post("/v1/recommend", json=body).json()["recommendations"]]
    assert streamed == expected
    assert len(streamed) == 3
    assert any("customer_copy" in explanation for explanation in streamed) == (audience == "customer")


def stream_events(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """The server-sent events of a response, as they arrive."""
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line:
            yield name, json.loads(line.removeprefix("data: "))


@pytest.fixture
def explainer_steps(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> queue.Queue[str]:
    """Makes each explanation wait for "continue" in the queue; "cancelled" is put into it when the work is cancelled."""
    explainer, steps = app.state.crossaisle.store.recommender._explainer, queue.Queue[str]()
    explain = explainer.explain

    def explain_stepwise(reasons: Any, tone: Any, length: Any, on_explained: Any) -> Any:
        def wait_for_step(index: int, text: Any) -> None:
            while True:
                try:
                    deadlines.check()
                except TimedOutError:
                    steps.put("cancelled")
                    raise
                with contextlib.suppress(queue.Empty):
                    assert steps.get(timeout=0.05) == "continue"
                    break
            on_explained(index, text)

        return explain(reasons, tone, length, wait_for_step)

    monkeypatch.setattr(explainer, "explain", explain_stepwise)
    return steps


def test_each_explanation_is_sent_before_the_next_is_generated(api: httpx.Client, explainer_steps: queue.Queue[str]) -> None:
    with api.stream("POST", "/v1/recommend:stream", json={"user": USER, "k": 3}, timeout=30) as response:
        events = stream_events(response)
        name, ranked = next(events)  # before any explanation
        assert (name, len(ranked["recommendations"])) == ("ranked", 3)
        for rank in (1, 2, 3):
            explainer_steps.put("continue")
            name, data = next(events)
            assert (name, data["rank"]) == ("explanation", rank)
            assert data["item_id"] == ranked["recommendations"][rank - 1]["item_id"]
            assert data["explanation"]["text"]
            assert data["explanation"]["evidence"]
        name, done = next(events)
        assert name == "done"
        assert done["recommendation_id"] == ranked["recommendation_id"]
        assert not list(events)


def test_disconnecting_from_a_stream_cancels_the_work_and_logs_the_list_as_served(
    api: httpx.Client, app: FastAPI, explainer_steps: queue.Queue[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), api.stream("POST", "/v1/recommend:stream", json={"user": USER, "k": 3}) as response:
        events = stream_events(response)
        ranked = next(events)[1]
        explainer_steps.put("continue")
        assert next(events)[0] == "explanation"
    assert explainer_steps.get(timeout=10) == "cancelled"
    pool = app.state.crossaisle.answer_pool
    while pool.pending:
        time.sleep(0.01)
    served = ServedLists.read(app.state.crossaisle.store.log).slots.filter(pl.col("recommendation_id") == ranked["recommendation_id"])
    assert served["item_id"].to_list() == [item["item_id"] for item in ranked["recommendations"]]
    assert [kind is None for kind in served["explanation"].to_list()] == [False, True, True]
    assert "bug" not in caplog.text


def test_why_probe_atlas_and_profile(api: httpx.Client) -> None:
    item = api.post("/v1/recommend", json={"user": USER, "k": 1, "explain": False}).json()["recommendations"][0]["item_id"]
    why = api.get("/v1/why", params={"user": USER, "item": item, "counterfactuals": False}).json()
    assert (why["item_id"], why["rank"]) == (item, 1)
    too_expensive = api.get("/v1/why", params={"user": USER, "item": item, "max_price": 0.01, "counterfactuals": False}).json()
    assert too_expensive["left_out"] == "outside the price range"
    segment = api.post("/v1/probe", json={"question": "audio & video", "words": False}).json()
    assert segment["cohort"]["users"] > 20
    assert segment["needs"][0]["lift"] > 1
    atlas = api.get("/v1/atlas").json()
    names = [category["name"][-1] for category in atlas["categories"]]
    pair = max(atlas["pairs"], key=lambda candidate: candidate["lift"])
    assert pair["users"] >= 20
    assert pair["lift_interval"][0] <= pair["lift"]
    assert names[pair["source"]] != names[pair["target"]]
    assert api.get(f"/v1/profile/{USER}").json()["user_id"] == USER
    comparison = api.post("/v1/probe", json={"question": "kitchen", "against": "baby"})
    assert comparison.status_code == 200, comparison.text


def test_health_ready_metrics_and_pages(api: httpx.Client) -> None:
    assert api.get("/v1/health").json() == {"status": "ok"}
    assert api.get("/v1/ready").json()["items"] == 382
    metrics = api.get("/metrics").text
    assert 'crossaisle_requests_total{code="200",method="GET",route="/v1/health"}' in metrics
    assert USER not in metrics
    page = api.get("/docs").text
    assert "/v1/recommend:batch" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://127.0.0.1", "")
    description = api.get("/openapi.json").json()
    assert description["paths"]["/v1/items"]["post"]["security"] == [{"key": ["admin"]}]
    assert {"/v1/recommend", "/v1/recommend:stream", "/v1/events", "/v1/users/{user}"} <= set(description["paths"])


def test_headers_and_request_ids(api: httpx.Client) -> None:
    response = api.get("/v1/ready", headers={"X-Request-ID": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert response.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in api.get("/v1/ready", headers={"Origin": "https://shop.example"}).headers
    assert api.get("/v1/ready", headers={"X-Request-ID": "<script>"}).headers["x-request-id"] != "<script>"


# ---------------------------------------------------------------------- events


def test_the_next_recommendation_takes_an_event_into_account(api: httpx.Client) -> None:
    def recommended() -> list[str]:
        response = api.post("/v1/recommend", json={"user": "s002", "k": 5, "explain": False}).json()
        return [item["item_id"] for item in response["recommendations"]]

    before = recommended()
    events = [{"user_id": "s002", "kind": "dismiss", "item_id": before[0]}, {"user_id": "s002", "kind": "purchase", "item_id": before[1]}]
    assert api.post("/v1/events", json=events).json() == {"accepted": 2, "repeated": 0}
    after = recommended()
    assert before[0] not in after
    assert before[1] not in after


def test_a_repeated_event_counts_once_and_an_unknown_user_becomes_known(api: httpx.Client) -> None:
    event = {"user_id": "stranger", "kind": "purchase", "item_id": "CA-003", "idempotency_key": "k1"}
    assert_problem(api.post("/v1/recommend", json={"user": "stranger"}), 404)
    assert api.post("/v1/events", json=event).json() == {"accepted": 1, "repeated": 0}
    assert api.post("/v1/events", json=event).json() == {"accepted": 0, "repeated": 1}
    assert len(api.post("/v1/recommend", json={"user": "stranger", "k": 2}).json()["recommendations"]) == 2
    assert api.delete("/v1/users/stranger").json() == {"events": 1, "served": 1, "in_snapshot": False}
    assert_problem(api.get("/v1/profile/stranger"), 404)


# ---------------------------------------------------------------------- items

NEW = {
    "item_id": "NEW-1",
    "title": "Quiet hand-cranked coffee grinder for camping mornings",
    "category": ["Brew Gear", "Grinders"],
    "description": "Grinds coffee beans by hand.",
    "price": 39.0,
}


def test_a_new_item_is_recommended_immediately_and_after_a_restart(shop_path: Path, settings: Settings) -> None:
    query = {"text": "hand coffee grinder", "rules": {"include_categories": ["Brew Gear"]}, "k": 1, "explain": False}
    with running_server(create(StoreService.open(shop_path, llm="none", settings=settings))) as api:
        assert_problem(api.post("/v1/recommend", json=query), 422, "Brew Gear")
        before = api.post("/v1/recommend", json={"user": USER, "explain": False}).json()["recommendations"]
        assert api.post("/v1/items", json={"items": [NEW]}).json() == {"added": 1, "changed": 0}
        recommendations = api.post("/v1/recommend", json=query).json()["recommendations"]
        assert [item["item_id"] for item in recommendations] == ["NEW-1"]
        assert recommendations[0]["price"] == 39.0
        # The item is a valid history, and the lists of other users do not change.
        assert api.post("/v1/recommend", json={"items": ["NEW-1"], "k": 3}).json()["recommendations"]
        after = api.post("/v1/recommend", json={"user": USER, "explain": False}).json()["recommendations"]
        assert [item["item_id"] for item in after] == [item["item_id"] for item in before]
        # The item may be among the nearest texts of others, whose smoothed counts then move a little.
        assert [item["score"] for item in after] == pytest.approx([item["score"] for item in before], abs=0.01)
        assert api.post("/v1/items", json={"items": [{**NEW, "price": 29.0}]}).json() == {"added": 0, "changed": 1}
        with Workspace(shop_path).writing("a test"):
            assert_problem(api.post("/v1/items", json={"items": [{**NEW, "price": 1.0}]}), 409, "another process")
    reopened = StoreService.open(shop_path, llm="none", settings=settings)
    response = reopened.recommend(RecommendRequest.model_validate(query))
    assert [(item["item_id"], item["price"]) for item in response["recommendations"]] == [("NEW-1", 29.0)]
    reopened.close()


def test_index_merges_added_items_into_the_snapshot(shop_path: Path, settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "shop"
    shutil.copytree(shop_path, path)
    store = StoreService.open(path, llm="none", settings=settings)
    store.put_items([ItemRequest.model_validate({**NEW, "item_id": "NEW-2"})])
    store.close()
    crossaisle.index(Workspace(path), settings)
    assert Workspace(path).table("items")["item_id"].to_list()[-1] == "NEW-2"
    assert not list((path / "added").iterdir())
    recommender = crossaisle.Recommender.open(path, llm="none")
    assert recommender.index.vectors("items", ["NEW-2"])
    recommender.close()


# ---------------------------------------------------------------------- errors

INVALID = [
    ("POST", "/v1/recommend", {"json": {}}, 422, "nothing to go by"),
    ("POST", "/v1/recommend", {"json": {"user": "nobody"}}, 404, "nobody"),
    ("POST", "/v1/recommend", {"json": {"items": ["nothing"]}}, 404, "nothing"),
    ("POST", "/v1/recommend", {"json": {"user": USER, "k": 0}}, 422, "k: "),
    ("POST", "/v1/recommend", {"json": {"user": USER, "k": 101}}, 422, "k: "),
    ("POST", "/v1/recommend", {"json": {"user": USER, "k": 2, "new_items": 3}}, 422, "new items"),
    ("POST", "/v1/recommend", {"json": {"user": USER, "new_items": 1, "new_up_to": -1}}, 422, "new_up_to"),
    ("POST", "/v1/recommend", {"json": {"user": USER, "colour": "red"}}, 422, "colour"),
    ("POST", "/v1/recommend", {"json": {"user": USER, "audience": "nobody"}}, 422, "audience"),
    ("POST", "/v1/recommend", {"json": {"user": USER, "rules": {"min_price": 5, "max_price": 2}}}, 422, "price"),
    ("POST", "/v1/recommend", {"json": {"user": USER, "rules": {"include_categories": ["Kitchn"]}}}, 422, "Kitchen"),
    ("POST", "/v1/recommend", {"json": {"user": USER, "rules": {"max_price": -1}}}, 422, "rules.max_price"),
    ("POST", "/v1/recommend", {"json": {"user": "a\nb"}}, 422, "user"),
    ("POST", "/v1/recommend", {"json": {"text": "x" * 2001}}, 422, "text"),
    ("POST", "/v1/recommend", {"json": {"items": ["CA-003"] * 1001}}, 422, "items"),
    ("POST", "/v1/recommend", {"json": [1]}, 422, "JSON"),
    ("POST", "/v1/recommend", {"json": None}, 422, "JSON"),
    ("POST", "/v1/recommend", {"content": b"{", "headers": {"content-type": "application/json"}}, 422, "not JSON"),
    ("POST", "/v1/recommend", {"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}, 422, "not JSON"),
    ("POST", "/v1/recommend", {"content": b"[" * 50_000, "headers": {"content-type": "application/json"}}, 400, "body"),
    ("POST", "/v1/recommend", {"content": b'{"user": "s001", "novelty": NaN}', "headers": {"content-type": "application/json"}}, 422, "novelty"),
    ("POST", "/v1/recommend", {"content": b'{"user": "\\ud800"}', "headers": {"content-type": "application/json"}}, 422, "user"),
    ("POST", "/v1/recommend", {"content": b'{"user": "s001"}', "headers": {"content-type": "text/plain"}}, 422, "Content-Type"),
    ("POST", "/v1/recommend", {"content": b"x" * 100_001}, 413, "larger"),
    ("POST", "/v1/recommend", {"content": iter([b"x" * 60_000] * 2), "headers": {"content-type": "application/json"}}, 413, "larger"),
    ("POST", "/v1/recommend:batch", {"json": {"requests": []}}, 422, "requests"),
    ("POST", "/v1/recommend:batch", {"json": {"requests": [{"user": USER, "k": "many"}]}}, 422, "requests.0.k"),
    ("GET", "/v1/recommend", {}, 405, "method"),
    ("GET", "/v1/nothing", {}, 404, "/docs"),
    ("GET", "/nothing", {}, 404, "/docs"),
    ("GET", "/v1/why", {}, 422, "item"),
    ("GET", "/v1/why", {"params": {"item": "CA-003"}}, 422, "nothing to go by"),
    ("GET", "/v1/why", {"params": {"item": "no", "user": USER}}, 404, "no"),
    ("GET", "/v1/why", {"params": {"item": "CA-003", "user": USER, "scope": "all"}}, 422, "scope"),
    ("POST", "/v1/probe", {"json": {"question": ""}}, 422, "question"),
    ("POST", "/v1/probe", {"json": {"question": "phones", "since": "yesterday"}}, 422, "2024-01-31"),
    ("POST", "/v1/probe", {"json": {"question": "phones", "where": ["colour~red"]}}, 422, "condition"),
    ("POST", "/v1/probe", {"json": {"question": "phones", "against": "baby", "epsilon": 1}}, 422, "epsilon"),
    ("POST", "/v1/probe", {"json": {"question": "phones", "epsilon": 99, "words": False}}, 403, "budget"),
    ("GET", "/v1/atlas", {"params": {"level": 0}}, 422, "level"),
    ("GET", "/v1/profile/nobody", {}, 404, "nobody"),
    ("POST", "/v1/events", {"json": {"user_id": USER, "kind": "purchase"}}, 422, "item_id"),
    ("POST", "/v1/events", {"json": {"user_id": USER, "kind": "steal", "item_id": "CA-003"}}, 422, "kind"),
    ("POST", "/v1/events", {"json": {"user_id": USER, "kind": "click", "item_id": "CA-003", "timestamp": 5}}, 422, "timestamp"),
    ("POST", "/v1/events", {"json": []}, 422, "1,000"),
    ("POST", "/v1/events", {"json": 5}, 422, "JSON"),
    ("POST", "/v1/items", {"json": {"items": [{"item_id": "new"}]}}, 422, "items.0.title"),
    ("POST", "/v1/items", {"json": {"items": []}}, 422, "items"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "content", "status", "word"), INVALID)
def test_an_invalid_request_is_answered_with_one_sentence(
    api: httpx.Client, method: str, path: str, content: dict[str, object], status: int, word: str
) -> None:
    assert_problem(api.request(method, path, **content), status, word)  # type: ignore[arg-type]


def test_a_rejected_list_of_events_records_none_of_them(api: httpx.Client) -> None:
    good = {"user_id": "half", "kind": "click", "item_id": "CA-003"}
    assert_problem(api.post("/v1/events", json=[good, {**good, "timestamp": 5}]), 422)
    assert_problem(api.get("/v1/profile/half"), 404)


def test_a_bug_is_a_500_with_a_request_id_and_without_internals(
    app: FastAPI, api: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> dict[str, object]:
        raise RuntimeError("the password of s001 is sesame")

    monkeypatch.setattr(app.state.crossaisle.store, "profile", broken)
    with caplog.at_level(logging.INFO):
        problem = assert_problem(api.get(f"/v1/profile/{USER}"), 500)
    assert "sesame" not in json.dumps(problem)
    assert str(problem["request_id"]) in caplog.text
    assert "test_application.py" in caplog.text
    assert "sesame" not in caplog.text


# ---------------------------------------------------------------------- worker pool


def test_a_full_queue_rejects_with_retry_after_and_a_late_request_is_cancelled(shop_path: Path, settings: Settings) -> None:
    store = StoreService.open(shop_path, llm="none", settings=settings)
    app = create(store, ServerOptions(timeout=1.0, max_waiting=1))
    released, cancelled = threading.Event(), []

    def slow(_: object) -> dict[str, object]:
        try:
            while not released.is_set():
                deadlines.check()
                time.sleep(0.01)
        except Exception as error:
            cancelled.append(error)
            raise
        return {}

    with running_server(app) as api, ThreadPoolExecutor(4) as callers:
        store.profile = slow  # type: ignore[method-assign]
        pool = app.state.crossaisle.answer_pool
        first = [callers.submit(api.get, f"/v1/profile/u{i}") for i in range(3)]  # two run, one waits
        while pool.pending < 3:
            time.sleep(0.01)
        rejected = api.get("/v1/profile/u4")
        assert_problem(rejected, 503, "wait")
        assert int(rejected.headers["retry-after"]) >= 1
        assert api.get("/v1/health").status_code == 200
        for late in first:
            assert_problem(late.result(), 503, "within 1 seconds")
        while pool.pending:
            time.sleep(0.01)
        assert len(cancelled) >= 2  # the running ones were cancelled; the waiting one never started, or was cancelled immediately
        released.set()
        assert api.get("/v1/profile/u5").status_code == 200


def test_work_is_cancelled_when_the_client_disconnects(shop_path: Path, settings: Settings) -> None:
    store = StoreService.open(shop_path, llm="none", settings=settings)
    app = create(store, ServerOptions(timeout=300))
    cancelled = threading.Event()

    def slow(_: object) -> dict[str, object]:
        try:
            for _ in range(6000):
                deadlines.check()
                time.sleep(0.01)
        except TimedOutError:
            cancelled.set()
            raise
        return {}

    with running_server(app) as api:
        store.profile = slow  # type: ignore[method-assign]
        with pytest.raises(httpx.ReadTimeout):
            api.get("/v1/profile/x", timeout=0.3)
        assert cancelled.wait(30)


def test_shutdown_waits_for_running_requests(shop_path: Path, settings: Settings) -> None:
    store = StoreService.open(shop_path, llm="none", settings=settings)
    started = threading.Event()

    def slow(_: object) -> dict[str, object]:
        started.set()
        time.sleep(0.5)
        return {"done": True}

    with ThreadPoolExecutor(1) as callers:
        with running_server(create(store, ServerOptions())) as api:
            store.profile = slow  # type: ignore[method-assign]
            response = callers.submit(httpx.get, f"{api.base_url}/v1/profile/x", timeout=20)
            assert started.wait(20)
        assert response.result().json() == {"done": True}


def test_concurrent_requests_get_their_own_responses(api: httpx.Client) -> None:
    users = [f"s{number:03d}" for number in range(10, 40)]

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=api.base_url, timeout=60) as client:
            requests = [client.post("/v1/recommend", json={"user": user, "k": 3, "explain": False}) for user in users]
            return list(await asyncio.gather(*requests))

    concurrent = [response.json() for response in asyncio.run(ask())]
    assert [response["query"]["user_id"] for response in concurrent] == users
    sequential = [api.post("/v1/recommend", json={"user": user, "k": 3, "explain": False}).json() for user in users[:5]]
    for one, other in zip(concurrent, sequential, strict=False):
        assert one["recommendations"] == other["recommendations"]


def test_concurrent_requests_share_a_batch_of_the_llm_and_get_the_scores_of_single_requests(shop_path: Path, settings: Settings) -> None:
    store = StoreService.open(shop_path, settings=settings.with_(llm="smollm2", quantization="nf4", llm_policy="always"))
    users = ["s011", "s012", "s013"]
    with running_server(create(store, ServerOptions(timeout=300))) as api, ThreadPoolExecutor(len(users)) as callers:
        api.timeout = httpx.Timeout(300)

        def ask(user: str) -> dict[str, float]:
            query = {"user": user, "text": "something for a weekend away", "k": 20, "explain": False}
            response = api.post("/v1/recommend", json=query)
            assert response.status_code == 200, response.text
            return {item["item_id"]: item["channels"]["llm"] for item in response.json()["recommendations"]}

        together = list(callers.map(ask, users))
        batcher = store.recommender._pack_batcher
        assert batcher is not None
        assert batcher.pack_count == 3
        assert batcher.forward_count < 3
        alone = ask(users[0])
    # The model computes in bf16, whose rounding depends on the shape of the matrices.
    assert together[0].keys() == alone.keys()
    assert max(abs(together[0][item] - alone[item]) for item in alone) < 0.25
    assert together[0] != together[1]
