"""A shop's week, with nothing but its commands: files, index, service, what shoppers do, folding, index, training, recommendations."""

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
QUIET = {"CROSSAISLE_LLM": "none"}


def command(*arguments: str | Path) -> Any:
    done = run(*arguments, env=QUIET)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def test_what_shoppers_do_is_served_folded_indexed_learned_and_recommended(make_store: Store, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    histories = {f"u{n:03}": list(HABITS[n % 4]) for n in range(240)} | {f"t{n}": ["tent"] for n in range(5)}
    command("ingest", "-w", shop, "--format", "files", make_store(ITEMS, histories))
    command("index", "-w", shop)
    ask = ("recommend", "-w", shop, "--items", "tent", "-k", "3", "--no-explain", "--json")
    before = command(*ask)["recommendations"]

    # A new habit, seen by the service only: sixty people who buy a tent, and then a puzzle.
    told = [
        {"user_id": f"n{n}", "kind": "purchase", "item_id": item, "timestamp": NOW + 86_400_000 * day + n, "idempotency_key": f"{n}-{item}"}
        for n in range(60)
        for day, item in enumerate(("tent", "puzzle"))
    ]
    serve = [str(PROGRAM), "serve", "-w", str(shop), "--port", "0", "--no-console"]
    with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True, env={**os.environ, **QUIET}) as process:
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        with httpx.Client(base_url=address, timeout=60) as client:
            retry_until_listening(lambda: client.get("/v1/ready")).raise_for_status()
            assert client.post("/v1/events", json=told).json() == {"accepted": 120, "repeated": 0}
            assert client.post("/v1/events", json=told[:7]).json() == {"accepted": 0, "repeated": 7}
            served = client.post("/v1/recommend", json={"user": "n7", "k": 3}).json()["recommendations"]
            assert served
            assert not {"tent", "puzzle"} & {one["item_id"] for one in served}, "what was bought leaves at once"
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert process.returncode in (0, -signal.SIGTERM)

    command("events", "compact", "-w", shop)
    stale = run(*ask, env=QUIET)
    assert (stale.returncode, "crossaisle index" in stale.stderr) == (2, True)
    command("index", "-w", shop)
    command("train", "-w", shop, "blend")
    after = command(*ask)
    first = after["recommendations"][0]
    assert first["item_id"] == "puzzle"
    assert before[0]["item_id"] != "puzzle"
    assert "graph" in first["channels"], "the trained model has its say"
    explained = command(*(word for word in ask if word != "--no-explain"))["recommendations"][0]["explanation"]
    assert "60" in json.dumps(explained["evidence"]), "the reason counts the new shoppers"

    # Nothing was lost on the way, and nothing is folded twice.
    events = pl.read_parquet(next((shop / "snapshots").glob("*/interactions.parquet"), None) or shop / "interactions.parquet")
    assert events.filter(pl.col("user_id").str.starts_with("n")).height == 120
    assert command("events", "compact", "-w", shop, "--json")["interactions"] == 0
