"""Questions of every kind about users whose histories are known, against lists written by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events
from crossaisle.train.questions import CATEGORIES_PER_USER, COLD_MAX_USERS, KINDS, MAX_SHORT_HISTORY, Questions, sample_questions

ITEMS = {
    "tent": "Camping",
    "rope": "Camping",
    "stove": "Kitchen",
    "pan": "Kitchen",
    "lamp": "Home",
    "rug": "Home",
    "pen": "Desk",
    "odd": "",
}
NAMES = list(ITEMS)
Asked = tuple[tuple[str, ...], frozenset[str]]
"""History and targets of a question."""


def world(histories: dict[str, list[str]], *, order: str = "time", alike: tuple[str, str] | None = None) -> Any:
    """The part of a training view that questions are sampled from; two items may have the same text."""
    items = pl.DataFrame({"item_id": NAMES, "title": NAMES, "category": [[name] if name else [] for name in ITEMS.values()]})
    rows = [(user, item, day) for user, history in histories.items() for day, item in enumerate(history)]
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").with_columns(kind=pl.lit("purchase"))
    if order == "none":
        table = table.drop("timestamp")
    catalogue = Catalogue.build(items, table, 1)
    vectors = np.eye(len(NAMES), dtype=np.float32)
    if alike:
        vectors[NAMES.index(alike[1])] = vectors[NAMES.index(alike[0])]
    return SimpleNamespace(events=Events.build(table, catalogue), catalogue=catalogue, vectors=vectors)


def sample(view: Any, *, seed: int = 0, user_counts: list[int] | None = None, max_users: int = 100) -> Questions:
    everybody = np.ones(len(view.events.users), dtype=bool)
    counts = np.full(len(NAMES), 9) if user_counts is None else np.asarray(user_counts)
    return sample_questions(view, everybody, counts, np.random.default_rng(seed), max_users)


def asked(questions: Questions, kind: str) -> list[Asked]:
    cases = questions.cases
    return [
        (tuple(NAMES[row] for row in cases.histories[case]), frozenset(NAMES[row] for row in cases.targets[case]))
        for case in np.flatnonzero(questions.kind == KINDS.index(kind)).tolist()
    ]


def over_seeds(view: Any, kind: str, **options: Any) -> set[Asked]:
    """All questions of a kind that some seeds sample."""
    return {question for seed in range(60) for question in asked(sample(view, seed=seed, **options), kind)}


ORDERED = {"ann": ["tent", "stove", "rope", "lamp", "pan"]}


def test_the_questions_of_an_ordered_history_are_those_written_by_hand() -> None:
    view = world(ORDERED)
    entries = [(("tent",), frozenset({"stove", "pan"})), (("tent", "stove", "rope"), frozenset({"lamp"}))]
    whole = {
        (("stove", "lamp", "pan"), frozenset({"tent", "rope"})),
        (("tent", "rope", "lamp"), frozenset({"stove", "pan"})),
        (("tent", "stove", "rope", "pan"), frozenset({"lamp"})),
    }
    for seed in range(5):
        questions = sample(view, seed=seed)
        assert asked(questions, "entry") == entries  # nothing was had before camping
        assert set(asked(questions, "whole")) == whole
        assert len(asked(questions, "whole")) == len(asked(questions, "short")) == 3
        assert asked(questions, "cold") == []
    newest = {(history[-count:], targets) for history, targets in whole for count in (1, 2, 3)}
    assert over_seeds(view, "short") == newest
    assert over_seeds(view, "cut") == {
        (("tent",), frozenset({"stove", "lamp", "pan"})),
        (("tent", "stove"), frozenset({"lamp"})),
        (("tent", "stove", "rope"), frozenset({"lamp"})),
    }


def test_without_an_order_an_entry_is_a_whole_category_and_moments_are_sampled() -> None:
    view = world({"ann": ["tent", "stove", "lamp"]}, order="none")
    assert view.events.order == "none"
    pairs = [{"tent", "stove"}, {"tent", "lamp"}, {"stove", "lamp"}]
    by_history = {frozenset(pair): frozenset({"tent", "stove", "lamp"} - pair) for pair in pairs}
    for seed in range(5):
        questions = sample(view, seed=seed)
        for kind in ("entry", "whole"):
            assert {frozenset(history): targets for history, targets in asked(questions, kind)} == by_history
    shorts = {(frozenset(history), *targets) for history, targets in over_seeds(view, "short")}
    others = {target: {"tent", "stove", "lamp"} - {target} for target in ("tent", "stove", "lamp")}
    assert shorts == {(frozenset(part), target) for target, rest in others.items() for part in (rest, *({one} for one in rest))}
    cuts = {(frozenset(history), targets) for history, targets in over_seeds(view, "cut")}
    every = frozenset({"tent", "stove", "lamp"})
    assert cuts == {(part, every - part) for part in (*map(frozenset, pairs), *(frozenset({one}) for one in every))}


def test_a_repeated_purchase_does_not_move_the_entry_of_its_category() -> None:
    """Camping is entered with the first tent, not with the last one, so nothing was had before it."""
    view = world({"ann": ["tent", "stove", "tent", "lamp"]})
    assert asked(sample(view), "entry") == [(("tent",), frozenset({"stove"})), (("stove", "tent"), frozenset({"lamp"}))]
    assert over_seeds(view, "cut") == {
        (("tent",), frozenset({"stove", "lamp"})),
        (("tent", "stove"), frozenset({"lamp"})),
        (("stove", "tent"), frozenset({"lamp"})),
    }


def test_cold_targets_have_at_most_two_users() -> None:
    counts = [9] * len(NAMES)
    for item, users in (("tent", COLD_MAX_USERS), ("stove", 0), ("lamp", COLD_MAX_USERS + 1)):
        counts[NAMES.index(item)] = users
    questions = sample(world(ORDERED), user_counts=counts)
    assert set(asked(questions, "cold")) == {
        (("stove", "lamp", "pan"), frozenset({"tent"})),
        (("tent", "rope", "lamp"), frozenset({"stove"})),
    }


def test_near_duplicates_of_a_history_item_are_no_targets() -> None:
    view = world(ORDERED, alike=("tent", "pan"))
    assert asked(sample(view), "entry")[0] == (("tent",), frozenset({"stove"}))
    for kind in KINDS:
        assert not any("tent" in history and "pan" in targets for history, targets in over_seeds(view, kind))
    alone = world({"ann": ["tent", "pan"]}, alike=("tent", "pan"))
    assert len(sample(alone)) == 0


def test_items_without_a_category_are_in_histories_but_no_targets() -> None:
    questions = sample(world({"ann": ["tent", "odd", "stove"]}))
    assert asked(questions, "entry") == [(("tent", "odd"), frozenset({"stove"}))]
    assert not any("odd" in targets for kind in KINDS for _, targets in asked(questions, kind))


def test_users_of_one_category_are_not_asked_about() -> None:
    assert len(sample(world({"ann": ["tent", "rope"], "bob": ["stove"]}))) == 0


def test_only_the_given_users_are_asked_about() -> None:
    view = world({"ann": ["tent", "stove"], "bob": ["lamp", "pen"], "cat": ["pan", "rug"]})
    selected = np.asarray([False, True, False])
    questions = sample_questions(view, selected, np.full(len(NAMES), 9), np.random.default_rng(0), 10)
    assert set(questions.cases.users) == {"bob"}
    few = sample(world({f"u{number}": ["tent", "stove"] for number in range(50)}), max_users=7)
    assert len(set(few.cases.users)) == 7


@given(
    st.dictionaries(st.sampled_from(["ann", "bob", "cat", "dan"]), st.lists(st.sampled_from(NAMES), min_size=1, max_size=8), min_size=1),
    st.sampled_from(["time", "none"]),
    st.integers(0, 2**20),
)
def test_targets_are_new_and_histories_precede_them(histories: dict[str, list[str]], order: str, seed: int) -> None:
    questions = sample(world(histories, order=order), seed=seed)
    limits = {"entry": CATEGORIES_PER_USER, "whole": CATEGORIES_PER_USER, "short": CATEGORIES_PER_USER, "cold": 0, "cut": 1}
    for kind, limit in limits.items():
        users = [user for user, code in zip(questions.cases.users, questions.kind.tolist(), strict=True) if code == KINDS.index(kind)]
        assert all(users.count(user) <= limit for user in users)
        for user, (history, targets) in zip(users, asked(questions, kind), strict=True):
            past = histories[user]
            assert targets
            assert len(set(history)) == len(history) > 0
            assert targets | set(history) <= set(past)
            assert not {ITEMS[item] for item in targets} & {ITEMS[item] for item in history}
            if kind in ("entry", "whole", "short"):
                (category,) = {ITEMS[item] for item in targets}
                assert targets == {item for item in past if ITEMS[item] == category}
            if kind == "whole":
                assert set(history) == {item for item in past if ITEMS[item] != category}
            if kind == "short":
                assert len(history) <= MAX_SHORT_HISTORY
            if kind == "entry" and order == "time":
                entry = min(position for position, item in enumerate(past) if ITEMS[item] == category)
                assert set(history) == set(past[:entry])


@pytest.mark.parametrize("per_kind", [1, 5, 1000])
def test_a_sample_has_at_most_so_many_questions_of_each_kind(per_kind: int) -> None:
    questions = sample(world({f"u{number}": ORDERED["ann"] for number in range(20)}), user_counts=[0] * len(NAMES))
    sampled = questions.sampled(per_kind, np.random.default_rng(0))
    for code in range(len(KINDS)):
        assert (sampled.kind == code).sum() == min(per_kind, (questions.kind == code).sum())
    assert len(sampled) == len(sampled.cases)
