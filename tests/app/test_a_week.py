"""The life cycle of a workspace by its commands: ingest, index, serve, events, compact, index, train, recommend."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from ..command_line import PROGRAM, run
from ..http_server import retry_until_listening

Store = Callable[..., Path]
ITEMS = {
    "tent": "Camping", "rope": "Camping", "stove": "Kitchen", "pan": "Kitchen", "lamp": "Home", "rug": "Home",
    "novel": "Books", "atlas": "Books", "ball": "Sports", "racket": "Sports", "kite": "Toys", "puzzle": "Toys",
}  # fmt: skip
HABITS = [("rope", "pan", "lamp"), ("stove", "rug", "atlas"), ("ball", "novel", "puzzle"), ("racket", "lamp", "kite")]
NOW = 1_710_000_000_000
WITHOUT_LLM = {"CROSSAISLE_LLM": "none"}


def command(*arguments: str | Path) -> Any:
    """Run a command that must succeed; its output, parsed with --json."""
    process = run(*arguments, env=WITHOUT_LLM)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout) if "--json" in arguments else process.stdout


def test_events_are_served_compacted_indexed_trained_on_and_recommended(make_store: Store, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    histories = {f"u{n:03}": list(HABITS[n % 4]) for n in range(240)} | {f"t{n}": ["tent"] for n in range(5)}
    command("ingest", "-w", shop, "--format", "files", make_store(ITEMS, histories))
    command("index", "-w", shop)
    query = ("recommend", "-w", shop, "--items", "tent", "-k", "3", "--no-explain", "--json")
    before = command(*query)["recommendations"]

    # A new pattern that only the server sees: sixty users buy a tent, and then a puzzle.
    events = [
        {"user_id": f"n{n}", "kind": "purchase", "item_id": item, "timestamp": NOW + 86_400_000 * day + n, "idempotency_key": f"{n}-{item}"}
        for n in range(60)
        for day, item in enumerate(("tent", "puzzle"))
    ]
    serve = [str(PROGRAM), "serve", "-w", str(shop), "--port", "0", "--no-console"]
    with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True, env={**os.environ, **WITHOUT_LLM}) as process:
        assert process.stderr is not None
        address = next(match[0] for line in process.stderr if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
        with httpx.Client(base_url=address, timeout=60) as client:
            retry_until_listening(lambda: client.get("/v1/ready")).raise_for_status()
            assert client.post("/v1/events", json=events).json() == {"accepted": 120, "repeated": 0}
            assert client.post("/v1/events", json=events[:7]).json() == {"accepted": 0, "repeated": 7}
            served = client.post("/v1/recommend", json={"user": "n7", "k": 3}).json()["recommendations"]
            assert served
            assert not {"tent", "puzzle"} & {item["item_id"] for item in served}, "purchased items are excluded immediately"
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert process.returncode in (0, -signal.SIGTERM)

    command("events", "compact", "-w", shop)
    stale = run(*query, env=WITHOUT_LLM)
    assert (stale.returncode, "crossaisle index" in stale.stderr) == (2, True)
    command("index", "-w", shop)
    command("train", "-w", shop, "blend")
    after = command(*query)
    first = after["recommendations"][0]
    assert first["item_id"] == "puzzle"
    assert before[0]["item_id"] != "puzzle"
    assert "factors" in first["channels"], "a trained channel must contribute"
    explained = command(*(word for word in query if word != "--no-explain"))["recommendations"][0]["explanation"]
    assert "60" in json.dumps(explained["evidence"]), "the evidence must count the new users"

    # No event is lost, and none is merged twice.
    interactions = pl.read_parquet(next((shop / "snapshots").glob("*/interactions.parquet"), None) or shop / "interactions.parquet")
    assert interactions.filter(pl.col("user_id").str.starts_with("n")).height == 120
    assert command("events", "compact", "-w", shop, "--json")["interactions"] == 0
