"""Questions about people that a store is offered only if it understands them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.segments.example_questions import EXAMPLE_QUESTIONS, suggested_questions
from crossaisle.recommend.segments.probe import Probe


@pytest.fixture(scope="module")
def probe(demo_workspace: Workspace, settings: Settings) -> Iterator[Probe]:
    found = Probe(demo_workspace, settings.with_(llm="none"))
    yield found
    found.index.close()


def test_what_is_offered_is_understood_and_enough_shoppers_stand_behind_it(probe: Probe) -> None:
    found = suggested_questions(probe, 5)
    assert found[0] == "people who started running"
    assert len(found) == 5
    categories = set()
    for text in found:
        asked = probe.understand(text)
        assert len(asked.cohort) >= probe.min_users
        ((kind, _),) = {(one["kind"], one["how"]) for one in asked.interpretation()}
        assert kind == "text"
        broad = [path[0] for path in probe.catalogue.items["category"].filter(asked.cohort_items).to_list()]
        categories.add(max(set(broad), key=broad.count))
        assert broad.count(max(set(broad), key=broad.count)) >= 0.7 * len(broad)
    assert len(categories) == 5


def test_what_the_store_has_nothing_for_is_not_offered(probe: Probe) -> None:
    found = suggested_questions(probe, len(EXAMPLE_QUESTIONS))
    assert not {"people who started programming", "people who like detective stories", "people who play the guitar"} & set(found)
    # The words are near something, but too few things or too scattered to be what was meant.
    assert not {"people who are planning a city trip", "people who work from home"} & set(found)


def test_where_few_may_be_told_of_nothing_is_offered(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "min_users", 300)
    assert suggested_questions(probe) == []


def test_offering_tells_nothing(probe: Probe) -> None:
    ledger = probe.workspace.path / "privacy.db"
    before = ledger.stat().st_mtime_ns if ledger.exists() else None
    suggested_questions(probe)
    assert (ledger.stat().st_mtime_ns if ledger.exists() else None) == before
