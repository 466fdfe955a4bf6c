"""Threads that share a commit: each work is done once, no thread waits forever, and a failure reaches the whole batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from crossaisle.data.events.group_commit import GroupCommit


def test_single_thread_is_served_immediately() -> None:
    group = GroupCommit[int](lambda works: [work * 2 for work in works])
    assert [group.submit(n) for n in range(5)] == [0, 2, 4, 6, 8]


def test_many_threads_get_their_own_results_from_few_calls() -> None:
    calls: list[int] = []
    busy = threading.Lock()

    def write(works: Sequence[int]) -> list[int]:
        assert busy.acquire(blocking=False), "two calls at once"
        calls.append(len(works))
        time.sleep(0.002)  # simulated disk write
        busy.release()
        return [work + 1 for work in works]

    group, finished = GroupCommit[int](write), []

    def work(who: int) -> None:
        for n in range(40):
            assert group.submit(who * 1000 + n) == who * 1000 + n + 1
            finished.append(n)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "the thread waits forever"
    assert sum(calls) == len(finished) == 320
    assert len(calls) < 200, "commits must be shared"


def test_failure_is_raised_for_the_whole_batch_and_not_later() -> None:
    inside, leave = threading.Event(), threading.Event()

    def write(works: Sequence[str]) -> list[str]:
        if "first" in works:
            inside.set()
            leave.wait(10)
        if "bad" in works:
            raise ValueError("a bad one")
        return list(works)

    group, outcomes = GroupCommit[str](write), {}

    def work(name: str) -> None:
        try:
            outcomes[name] = group.submit(name)
        except ValueError as error:
            outcomes[name] = str(error)

    threads = [threading.Thread(target=work, args=("first",))]
    threads[0].start()
    inside.wait(10)
    for name in ("bad", "good"):
        threads.append(threading.Thread(target=work, args=(name,)))
        threads[-1].start()
    while group.waiting < 2:
        time.sleep(0.001)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert outcomes == {"first": "first", "bad": "a bad one", "good": "a bad one"}
    assert group.submit("later") == "later"


def test_interrupted_leader_leaves_nobody_waiting() -> None:
    def write(works: Sequence[str]) -> list[str]:
        if "stop" in works:
            raise KeyboardInterrupt
        return list(works)

    group = GroupCommit[str](write)
    with pytest.raises(KeyboardInterrupt):
        group.submit("stop")
    assert group.submit("go") == "go"
