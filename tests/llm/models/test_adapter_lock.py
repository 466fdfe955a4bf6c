"""Turns at a model: alike at once, unlike one after another, in order, whatever threads do."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossaisle.llm.models.adapter_lock import UNKNOWN, AdapterLock

WAYS = [None, "rank", "word"]


class Model:
    """Notes the way it is brought to, and refuses to be moved while somebody computes in another one."""

    def __init__(self) -> None:
        self.turns, self.way, self.inside, self.most = AdapterLock(), "?", 0, 0
        self.switched: list[str | None] = []
        self.lock = threading.Lock()

    def switch(self, way: str | None) -> None:
        with self.lock:
            assert self.inside == 0, "moved while somebody computes"
            self.way = way  # type: ignore[assignment]
            self.switched.append(way)

    def compute(self, way: str | None, seconds: float) -> None:
        with self.turns.use(way, self.switch):
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            time.sleep(seconds)
            assert self.way == way
            with self.lock:
                self.inside -= 1


@pytest.mark.parametrize("seed", range(5))
def test_nobody_computes_in_a_way_that_is_not_theirs(seed: int) -> None:
    draw, model = random.Random(seed), Model()
    work = [(draw.choice(WAYS), draw.random() / 500) for _ in range(120)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda one: model.compute(*one), work))
    assert model.way is None, "at rest no adapter is on"
    assert model.most > 1, "who wants the same computes at once"


def test_who_wants_another_way_is_not_kept_waiting_by_a_steady_stream() -> None:
    model, stop, began = Model(), threading.Event(), threading.Event()

    def stream() -> None:
        while not stop.is_set():
            model.compute("rank", 0.005)
            began.set()

    streams = [threading.Thread(target=stream) for _ in range(4)]
    for one in streams:
        one.start()
    began.wait(10)
    start = time.monotonic()
    model.compute("word", 0)
    took = time.monotonic() - start
    stop.set()
    for one in streams:
        one.join()
    assert took < 2
    assert "word" in model.switched


def test_a_turn_inside_a_turn_leads_back() -> None:
    model = Model()
    with model.turns.use("rank", model.switch):
        with model.turns.use("word", model.switch):
            assert model.way == "word"
            with model.turns.use("word", model.switch):
                assert model.way == "word"
        assert model.way == "rank"
        with model.turns.use(None, model.switch):
            assert model.way is None
        assert model.way == "rank"
    assert model.way is None


def test_a_failure_gives_the_turn_back() -> None:
    model = Model()
    with pytest.raises(ZeroDivisionError), model.turns.use("rank", model.switch):
        raise ZeroDivisionError
    model.compute("word", 0)
    assert model.switched == ["rank", None, "word", None]


def test_a_model_is_changed_when_nobody_computes() -> None:
    model, inside = Model(), threading.Event()

    def slow() -> None:
        with model.turns.use("rank", model.switch):
            inside.set()
            time.sleep(0.1)
            model.way = "done"

    thread = threading.Thread(target=slow)
    thread.start()
    inside.wait(10)
    with model.turns.exclusive():
        assert model.way in ("done", None)
        assert model.turns.active == UNKNOWN
    thread.join()
    model.compute("rank", 0)
    assert model.switched[-2:] == ["rank", None]
