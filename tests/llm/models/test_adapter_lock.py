"""The adapter lock: threads with the same adapter run together, others one after another in order, without starvation."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossaisle.llm.models.adapter_lock import UNKNOWN, AdapterLock

ADAPTERS = [None, "rank", "word"]


class Model:
    """Records the active adapter, and fails if it is switched while another thread computes."""

    def __init__(self) -> None:
        self.lock, self.adapter, self.computing, self.max_computing = AdapterLock(), "?", 0, 0
        self.activated: list[str | None] = []
        self.counter_lock = threading.Lock()

    def activate(self, adapter: str | None) -> None:
        with self.counter_lock:
            assert self.computing == 0, "switched while another thread computes"
            self.adapter = adapter  # type: ignore[assignment]
            self.activated.append(adapter)

    def compute(self, adapter: str | None, seconds: float) -> None:
        with self.lock.use(adapter, self.activate):
            with self.counter_lock:
                self.computing += 1
                self.max_computing = max(self.max_computing, self.computing)
            time.sleep(seconds)
            assert self.adapter == adapter
            with self.counter_lock:
                self.computing -= 1


@pytest.mark.parametrize("seed", range(5))
def test_threads_compute_only_with_their_own_adapter(seed: int) -> None:
    rng, model = random.Random(seed), Model()
    work = [(rng.choice(ADAPTERS), rng.random() / 500) for _ in range(120)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda arguments: model.compute(*arguments), work))
    assert model.adapter is None, "no adapter is active while the model is idle"
    assert model.max_computing > 1, "threads with the same adapter compute together"


def test_a_steady_stream_for_one_adapter_does_not_starve_another() -> None:
    model, stop, began = Model(), threading.Event(), threading.Event()

    def stream() -> None:
        while not stop.is_set():
            model.compute("rank", 0.005)
            began.set()

    threads = [threading.Thread(target=stream) for _ in range(4)]
    for thread in threads:
        thread.start()
    began.wait(10)
    other = threading.Thread(target=model.compute, args=("word", 0))
    other.start()
    other.join(60)  # a starved thread would never finish: the stream ends only afterwards
    starved = other.is_alive()
    stop.set()
    for thread in [*threads, other]:
        thread.join()
    assert not starved
    assert "word" in model.activated


def test_a_nested_block_restores_the_outer_adapter() -> None:
    model = Model()
    with model.lock.use("rank", model.activate):
        with model.lock.use("word", model.activate):
            assert model.adapter == "word"
            with model.lock.use("word", model.activate):
                assert model.adapter == "word"
        assert model.adapter == "rank"
        with model.lock.use(None, model.activate):
            assert model.adapter is None
        assert model.adapter == "rank"
    assert model.adapter is None


def test_an_exception_releases_the_lock() -> None:
    model = Model()
    with pytest.raises(ZeroDivisionError), model.lock.use("rank", model.activate):
        raise ZeroDivisionError
    model.compute("word", 0)
    assert model.activated == ["rank", None, "word", None]


def test_exclusive_waits_until_no_thread_computes() -> None:
    model, inside = Model(), threading.Event()

    def slow() -> None:
        with model.lock.use("rank", model.activate):
            inside.set()
            time.sleep(0.1)
            model.adapter = "done"

    thread = threading.Thread(target=slow)
    thread.start()
    inside.wait(10)
    with model.lock.exclusive():
        assert model.adapter in ("done", None)
        assert model.lock.active == UNKNOWN
    thread.join()
    model.compute("rank", 0)
    assert model.activated[-2:] == ["rank", None]
