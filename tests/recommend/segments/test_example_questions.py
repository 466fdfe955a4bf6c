"""Suggested questions: only those that fit the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.segments.example_questions import EXAMPLE_QUESTIONS, suggested_questions
from crossaisle.recommend.segments.probe import Probe


@pytest.fixture(scope="module")
def probe(demo_workspace: Workspace, settings: Settings) -> Iterator[Probe]:
    opened = Probe(demo_workspace, settings.with_(llm="none"))
    yield opened
    opened.index.close()


def test_suggestions_mean_items_of_one_category_and_enough_users(probe: Probe) -> None:
    questions = suggested_questions(probe, 5)
    assert questions[0] == "people who started running"
    assert len(questions) == 5
    categories = set()
    for text in questions:
        query = probe.understand(text)
        assert len(query.cohort) >= probe.min_users
        assert {meaning["kind"] for meaning in query.interpretation()} <= {"text", "use"}
        broad = [path[0] for path in probe.catalogue.items["category"].filter(query.cohort_items).to_list()]
        main = max(set(broad), key=broad.count)
        categories.add(main)
        assert broad.count(main) >= 0.7 * len(broad)
    assert len(categories) == 5


def test_questions_that_do_not_fit_the_store_are_not_suggested(probe: Probe) -> None:
    questions = suggested_questions(probe, len(EXAMPLE_QUESTIONS))
    assert not {"people who started programming", "people who like detective stories", "people who play the guitar"} & set(questions)
    # Some items are similar, but they are too few or of too many categories.
    assert not {"people who are planning a city trip", "people who work from home"} & set(questions)


def test_nothing_is_suggested_if_all_cohorts_are_below_min_users(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "min_users", 300)
    assert suggested_questions(probe) == []


def test_suggesting_records_nothing_in_the_audit_log(probe: Probe) -> None:
    database = probe.workspace.path / "privacy.db"
    before = database.stat().st_mtime_ns if database.exists() else None
    suggested_questions(probe)
    assert (database.stat().st_mtime_ns if database.exists() else None) == before
