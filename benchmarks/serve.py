"""The service under load on the demo store: events, recommendations without and with the LLM, shared forward passes, memory.

    python benchmarks/serve.py [--seconds 60] [--requests 2000] [--quantizations nf4,bf16]

The server is its own process (`crossaisle serve`); the clients are threads of this one on the same cores, so run it alone. Load at a rate
is open-loop: requests are sent on schedule whether or not earlier ones were answered, and latency is measured from the scheduled time.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from record import quantiles, write
from stores import workspace

import crossaisle
from crossaisle.data.events import EventLog
from crossaisle.data.records import Query, Rules
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.llm.ranking.request_batching import PackBatcher
from crossaisle.recommend.constraints.eligibility import eligible_items

PROGRAM = Path(sys.executable).with_name("crossaisle")
CALLERS = 8


class Server:
    """A running `crossaisle serve`."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port
        self._local = threading.local()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body of one answer; each thread keeps its connection."""
        last, connection = getattr(self._local, "kept", (0.0, None))
        if connection is None or time.monotonic() - last > 2:  # the server closes what is idle for five seconds
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
        answer = connection.getresponse()
        found = answer.status, answer.read()
        self._local.kept = (time.monotonic(), connection)
        return found

    def memory_mb(self) -> float:
        """Resident memory of the server."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)


@contextmanager
def serving(shop: Path, *options: str) -> Iterator[Server]:
    """A server that has loaded its models; stopped by SIGTERM."""
    command = [str(PROGRAM), "serve", "-w", str(shop), "--port", "0", "--no-console", "--timeout", "120", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = next(line for line in process.stderr if line.startswith("crossaisle: serving"))
        server = Server(process, int(first.split(" at ")[1].split(",")[0].rsplit(":", 1)[1]))
        drain = threading.Thread(target=lambda: [None for _ in process.stderr or ()], daemon=True)
        drain.start()
        while True:
            try:
                if server.ask("GET", "/v1/ready")[0] == 200:
                    break
            except OSError:
                time.sleep(0.1)
        try:
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)
            drain.join()


def at_rate(rate: float, seconds: float, call: Callable[[int], bool]) -> dict[str, Any]:
    """Open-loop load from `4 * CALLERS` threads. Args: call: sends the n-th request and returns whether it succeeded."""
    total, late, bad = int(rate * seconds), [], []
    start = time.perf_counter() + 0.2

    def one(number: int) -> None:
        due = start + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        if not call(number):
            bad.append(number)
        late.append(1000 * (time.perf_counter() - due))

    with ThreadPoolExecutor(4 * CALLERS) as threads:
        list(threads.map(one, range(total)))
    took = time.perf_counter() - start
    return {"rate": rate, "sent": total, "failed": len(bad), "answered_per_second": round(total / took, 1), "milliseconds": quantiles(late)}


def at_once(callers: int, seconds: float, call: Callable[[int], bool]) -> dict[str, Any]:
    """Closed-loop load: each client sends its next request after its previous response."""
    times: list[float] = []
    bad: list[int] = []
    stop = time.perf_counter() + seconds
    start = time.perf_counter()

    def one(caller: int) -> None:
        number = caller
        while time.perf_counter() < stop:
            begun = time.perf_counter()
            if not call(number):
                bad.append(number)
            times.append(1000 * (time.perf_counter() - begun))
            number += callers

    with ThreadPoolExecutor(callers) as threads:
        list(threads.map(one, range(callers)))
    took = time.perf_counter() - start
    return {
        "callers": callers,
        "answered": len(times),
        "failed": len(bad),
        "per_second": round(len(times) / took, 2),
        "milliseconds": quantiles(times),
    }


def events(server: Server, shop: Path, seconds: float) -> dict[str, Any]:
    """300 events a second, one per request; number of events in the log afterwards."""

    def call(number: int) -> bool:
        event = {"user_id": f"load{number % 500}", "kind": "click", "item_id": "CA-003", "idempotency_key": f"load-{number}"}
        return server.ask("POST", "/v1/events", event)[0] == 200

    found = at_rate(300, seconds, call)
    log = EventLog.open(crossaisle.Workspace(shop))
    kept = sum(len(log.events_of(f"load{number}")) for number in range(500))
    log.close()
    return {**found, "in_the_log": kept, "lost": found["sent"] - kept}


def packs(shop: Path, quantization: str, rounds: int) -> dict[str, Any]:
    """Users ranked per second by 8 threads, 20 candidates each: shared forward passes against one after another, alternating."""
    recommender = crossaisle.Recommender.open(shop, llm="none")
    ranker = Ranker(LanguageModel.load(crossaisle.Settings.read().with_(llm="smollm2", quantization=quantization)))
    encoded = []
    for user in list(recommender.histories)[:CALLERS]:
        shopper = recommender.shopper(Query(user))
        mask, _ = eligible_items(Rules(), recommender.catalogue, shopper.rows, shopper.owned)
        pool = recommender.retriever.candidates(shopper.profile.candidate_query(), mask, 20)
        records = recommender.catalogue.records
        rows = [recommender.catalogue.row(candidate.item_id) for candidate in pool]
        encoded.append(ranker.encode(records(shopper.rows.tolist()), None, records(rows)))
    shared, turn = PackBatcher(), threading.Lock()

    def together(number: int) -> None:
        shared.logit_margins(ranker.scorer, encoded[number])

    def alone(number: int) -> None:
        with turn:
            ranker.scorer.logit_margins(encoded[number])

    took: dict[str, list[float]] = {"together": [], "alone": []}
    with ThreadPoolExecutor(CALLERS) as threads:
        list(threads.map(together, range(CALLERS)))
        for _ in range(rounds):
            for name, call in (("together", together), ("alone", alone)):
                start = time.perf_counter()
                list(threads.map(call, range(CALLERS)))
                took[name].append(time.perf_counter() - start)
    shared.close()
    recommender.close()
    per_second = {name: round(CALLERS / min(values), 2) for name, values in took.items()}
    return {
        "tokens_of_a_shopper": round(sum(len(prefix) + sum(map(len, candidates)) for prefix, candidates in encoded) / CALLERS),
        "shoppers_per_second": per_second,
        "together_over_alone": round(per_second["together"] / per_second["alone"], 3),
        "packs_of_a_forward": round(shared.pack_count / shared.forward_count, 2),
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--quantizations", default="nf4,bf16")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        shutil.copytree(workspace("demo", Path(folder)).path, shop)
        users = [f"s{number:03d}" for number in range(1, 401)]

        def recommend(server: Server, **more: Any) -> Callable[[int], bool]:
            return lambda number: server.ask("POST", "/v1/recommend", {"user": users[number % 400], **more})[0] == 200

        with serving(shop, "--llm", "none") as server:
            at_once(CALLERS, 2, recommend(server))  # what is kept in memory is there
            event_figures = events(server, shop, options.seconds)
            without = at_rate(50, options.seconds / 2, recommend(server))
            most = at_once(CALLERS, options.seconds / 4, recommend(server))
            memory = [server.memory_mb()]
            for start in range(0, options.requests, max(1, options.requests // 4)):
                for number in range(start, min(options.requests, start + max(1, options.requests // 4))):
                    recommend(server)(number)
                memory.append(server.memory_mb())
        with_llm, shared = {}, {}
        for quantization in filter(None, options.quantizations.split(",")):
            with serving(shop, "--llm", "smollm2", "--llm-weight", "0.5", "--quantization", quantization) as server:
                with_llm[quantization] = at_once(CALLERS, options.seconds, recommend(server, explain=False))
            shared[quantization] = packs(shop, quantization, options.rounds)
    write(
        "serve",
        {
            "events": event_figures,
            "recommend_without_llm": without,
            "recommend_without_llm_closed": most,
            "memory_mb": {"requests": options.requests, "before": memory[0], "after_each_quarter": memory[1:]},
            "recommend_with_llm": with_llm,
            "shared_packs": shared,
        },
    )


if __name__ == "__main__":
    main()
