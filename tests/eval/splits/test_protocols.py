"""Split protocols and cases: no test data is known, ties are random, unusable targets are counted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.data.errors import FormatError, QueryError
from crossaisle.data.splits import HeldOut, Split, hash_uniforms
from crossaisle.eval.splits import cases as case_files
from crossaisle.eval.splits import protocols
from crossaisle.eval.splits.cases import Cases, EligibleItems
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.items.ragged import RaggedArray

ITEMS = pl.DataFrame(
    {
        "item_id": list("abcdefgh"),
        "title": ["A", "B", "C", "D", "E", "F", "", "H"],
        "category": [["One"], ["One"], ["Two"], ["Two"], ["Three"], ["Three"], ["Three"], []],
    }
)


def store(rows: list[tuple[str, str, int | None]], column: str = "timestamp") -> tuple[pl.DataFrame, Catalogue, Events]:
    schema = {"user_id": pl.String, "item_id": pl.String, column: pl.Int64}
    table = pl.DataFrame(rows, schema=schema, orient="row").with_columns(kind=pl.lit("purchase")).sort("user_id", column)
    catalogue = Catalogue.build(ITEMS, table, 1)
    return table, catalogue, Events.build(table, catalogue)


def ids(cases: Cases, catalogue: Catalogue) -> dict[str, tuple[list[str], list[str]]]:
    return {
        user: ([catalogue.id(row) for row in cases.histories[i]], [catalogue.id(row) for row in cases.targets[i]])
        for i, user in enumerate(cases.users)
    }


def test_users_protocol_by_hand() -> None:
    _, catalogue, events = store(
        [("u", "a", 1), ("u", "c", 2), ("u", "b", 3), ("u", "e", 4), ("u", "a", 5), ("u", "f", 6), ("v", "a", 1), ("v", "b", 2)]
    )
    sampled = protocols.sample_cases(Split("users", 0, test=1.0, validation=0.0), events, catalogue, "test", "new")
    # The category entered last is Three: later items of other categories are not in the history, and e and f are both targets.
    assert ids(sampled.cases, catalogue) == {"u": (["a", "c", "b"], ["e", "f"])}
    assert sampled.cases.exclusions == {"users of one category only": 1}
    assert sampled.held_out.users == {"u", "v"}


WHOLE = Split("whole-category", 0, test=1.0, validation=0.0)


def test_whole_category_by_hand() -> None:
    history = [("u", "a", 1), ("u", "c", 2), ("u", "b", 3), ("u", "e", 4), ("u", "a", 5), ("u", "f", 6)]
    _, catalogue, events = store([*history, ("v", "a", 1), ("v", "b", 2)])
    answers = {
        "One": (["c", "e", "f"], ["b", "a"]),  # a is bought twice and keeps its latest position
        "Two": (["b", "e", "a", "f"], ["c"]),
        "Three": (["c", "b", "a"], ["e", "f"]),
    }
    sampled_answers = []
    for seed in range(12):
        sampled = protocols.sample_cases(WHOLE.with_(seed=seed), events, catalogue, "test", "new")
        assert sampled.cases.exclusions == {"users of one category only": 1}
        assert sampled.held_out.users == {"u", "v"}
        sampled_answers.append(ids(sampled.cases, catalogue)["u"])
    assert all(answer in answers.values() for answer in sampled_answers)
    assert all(answer in sampled_answers for answer in answers.values()), "every category is sampled by some seed"
    again = protocols.sample_cases(WHOLE, events, catalogue, "test", "new")
    assert ids(again.cases, catalogue)["u"] == sampled_answers[0]


def test_whole_category_samples_only_categories_that_can_be_targets() -> None:
    # g has no title and h no category, so One is the only category of u that can be ranked; v has nothing in a second category.
    _, catalogue, events = store([("u", "g", 1), ("u", "a", 2), ("u", "h", 3), ("v", "h", 1), ("v", "a", 2)])
    for seed in range(12):
        cases = protocols.sample_cases(WHOLE.with_(seed=seed), events, catalogue, "test", "new").cases
        cases = cases.with_eligible_targets(EligibleItems(catalogue, "new"))
        assert ids(cases, catalogue) == {"u": (["g", "h"], ["a"])}


def test_whole_category_holds_out_the_users_of_the_users_protocol() -> None:
    rows = [(f"u{i}", item, day) for i in range(300) for day, item in enumerate("ace")]
    table, catalogue, events = store(rows)
    resolved = {name: protocols.resolve_split(Split(name, 5), events, catalogue) for name in ("users", "whole-category")}
    assert resolved["users"].with_(protocol="whole-category") == resolved["whole-category"]
    for part in ("test", "validation"):
        by_protocol = {name: protocols.sample_cases(split, events, catalogue, part, "new") for name, split in resolved.items()}
        users, whole = by_protocol["users"], by_protocol["whole-category"]
        assert users.held_out.users == whole.held_out.users
        assert list(users.cases.users) == list(whole.cases.users)
        assert not whole.held_out.users & set(whole.held_out.training_rows(table)["user_id"])
        assert {len(history) for history, _ in ids(users.cases, catalogue).values()} == {2}
        assert {targets[0] for _, targets in ids(users.cases, catalogue).values()} == {"e"}, "the category entered last"
        assert {targets[0] for _, targets in ids(whole.cases, catalogue).values()} == set("ace")


def test_without_an_order_users_and_whole_category_are_the_same() -> None:
    _, catalogue, events = store([(f"u{i}", item, None) for i in range(40) for item in "ace"])
    assert events.order == "none"
    users, whole = (
        protocols.sample_cases(WHOLE.with_(protocol=name), events, catalogue, "test", "new") for name in ("users", WHOLE.protocol)
    )
    assert ids(users.cases, catalogue) == ids(whole.cases, catalogue)


def test_leave_one_out_by_hand() -> None:
    table, catalogue, events = store([("u", "a", 1), ("u", "c", 2), ("u", "a", 3), ("u", "d", 4), ("v", "b", 1)])
    test = protocols.sample_cases(Split("leave-one-out"), events, catalogue, "test", "any")
    assert ids(test.cases, catalogue) == {"u": (["c", "a"], ["d"])}
    assert test.held_out.training_rows(table).select("user_id", "item_id").rows() == [("u", "a"), ("u", "c"), ("u", "a")]
    validation = protocols.sample_cases(Split("leave-one-out"), events, catalogue, "validation", "any")
    assert ids(validation.cases, catalogue) == {"u": (["a", "c"], ["a"])}
    assert len(validation.cases.with_eligible_targets(EligibleItems(catalogue, "any"))) == 0, "its target is in the history"
    assert "d" not in validation.held_out.training_rows(table)["item_id"], "the test target is not known in validation"


def test_temporal_protocol_by_hand() -> None:
    table, catalogue, events = store([("u", "a", 10), ("u", "c", 20), ("u", "e", 30), ("v", "a", 25), ("w", "a", 5)])
    sampled = protocols.sample_cases(Split("temporal", moment=20, validation_moment=10), events, catalogue, "test", "new")
    assert ids(sampled.cases, catalogue) == {"u": (["a"], ["c", "e"])}
    assert sampled.held_out.training_rows(table)["timestamp"].max() == 10
    assert sampled.cases.exclusions == {"users without a history then": 1}
    with pytest.raises(QueryError, match="no interactions after that date; they range from 1970-01-01"):
        protocols.split_moments(events, 10**12)
    with pytest.raises(QueryError, match="have no times, so a temporal split is impossible"):
        protocols.split_moments(store([("u", "a", None), ("u", "b", None)])[2])


def test_ties_in_time_are_ordered_by_the_seed() -> None:
    _, catalogue, events = store([(f"u{i}", item, 7) for i in range(60) for item in "ac"])
    by_seed = {
        seed: ids(protocols.sample_cases(Split("leave-one-out", seed), events, catalogue, "test", "any").cases, catalogue)
        for seed in (1, 1, 2)
    }
    targets = [targets_of_user[0] for _, targets_of_user in by_seed[1].values()]
    assert 15 < targets.count("a") < 45
    assert targets != [targets_of_user[0] for _, targets_of_user in by_seed[2].values()]
    again = protocols.sample_cases(Split("leave-one-out", 1), events, catalogue, "test", "any").cases
    assert ids(again, catalogue) == by_seed[1]


def test_the_part_of_a_user_depends_on_the_user_alone() -> None:
    users = [f"user {i}" for i in range(20_000)]
    assert hash_uniforms(users, 3)[500:600].tolist() == hash_uniforms(users[500:600], 3).tolist()
    assert np.abs(np.quantile(hash_uniforms(users, 3), [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < 0.02
    split = Split("users", 3)
    test, validation = split.users(users, "test"), split.users(users, "validation")
    assert not (test & validation).any()
    assert abs(np.corrcoef(hash_uniforms(users, 3), hash_uniforms(users, 4))[0, 1]) < 0.03


WORLD = st.lists(
    st.tuples(st.sampled_from([f"u{i}" for i in range(8)]), st.sampled_from("abcdefgh"), st.integers(0, 5)), min_size=1, max_size=50
)


@settings(max_examples=60, deadline=None)
@given(WORLD, st.sampled_from(["users", "whole-category", "leave-one-out", "temporal"]), st.integers(0, 3), st.booleans())
def test_no_test_data_is_known(rows, protocol, seed, clock):
    table, catalogue, events = store(rows if clock else [(user, item, None) for user, item, _ in rows])
    if protocol == "temporal" and not clock:
        return
    split = Split(protocol, seed, test=0.6, validation=0.3, moment=3, validation_moment=2)
    scope = "any" if protocol == "leave-one-out" else "new"
    seen = {}
    for part in ("test", "validation"):
        sampled = protocols.sample_cases(split, events, catalogue, part, scope)
        cases = sampled.cases.with_eligible_targets(EligibleItems(catalogue, scope))
        known = set(sampled.held_out.training_rows(table).select("user_id", "item_id").rows())
        owned = set(table.select("user_id", "item_id").rows())
        for user, (history, targets) in ids(cases, catalogue).items():
            assert targets
            assert history
            assert not set(history) & set(targets)
            assert not {(user, item) for item in targets} & known
            assert {(user, item) for item in (*history, *targets)} <= owned, "no data leaks between users"
            assert "g" not in targets, "items without a title are not eligible"
            if scope == "new":
                category = dict(zip(ITEMS["item_id"], [(path or [""])[0] for path in ITEMS["category"].to_list()], strict=True))
                assert not {category[item] for item in history} & {category[item] for item in targets}
        seen[part] = {(user, item) for user, (_, targets) in ids(cases, catalogue).items() for item in targets}
    validation_known = set(
        protocols.sample_cases(split, events, catalogue, "validation", scope)
        .held_out.training_rows(table)
        .select("user_id", "item_id")
        .rows()
    )
    assert not seen["test"] & validation_known


def test_eligible_items() -> None:
    _, catalogue, _ = store([("u", "a", 1)])
    cases = Cases(["u", "v"], RaggedArray.of([[0, 2], [0]]), RaggedArray.of([[4], [2]]), [None, "two"], "new")
    eligible = EligibleItems(catalogue, "new")
    mask = eligible.mask(cases, slice(0, 2))
    assert [catalogue.id(row) for row in np.flatnonzero(mask[0])] == ["e", "f"]
    assert [catalogue.id(row) for row in np.flatnonzero(mask[1])] == ["c", "d"]
    any_scope = EligibleItems(catalogue, "any").mask(Cases(["u"], RaggedArray.of([[0]]), RaggedArray.of([[1]]), [None], "any"), slice(0, 1))
    assert [catalogue.id(row) for row in np.flatnonzero(any_scope[0])] == ["b", "c", "d", "e", "f", "h"]


HISTORY = st.lists(st.integers(0, 7), max_size=4, unique=True)


@given(
    st.lists(st.tuples(HISTORY, st.sampled_from([None, "one", "Two", "three"])), min_size=1, max_size=6), st.sampled_from(["new", "any"])
)
def test_eligible_items_by_loops(histories, scope) -> None:
    _, catalogue, _ = store([("u", "a", 1)])
    names = [name for _, name in histories]
    cases = Cases(["u"] * len(names), RaggedArray.of([rows for rows, _ in histories]), RaggedArray.of([[]] * len(names)), names, scope)
    eligible = EligibleItems(catalogue, scope)
    for block in (slice(0, len(names)), slice(1, 3)):
        for mask, (history, name) in zip(eligible.mask(cases, block), histories[block], strict=True):
            known = {catalogue.category[row] for row in history}
            for row in range(8):
                allowed = eligible.in_category(name)[row] if name else scope == "any" or catalogue.category[row] not in known
                assert mask[row] == (eligible.rankable[row] and allowed and row not in history)


def test_held_out_pairs_and_users() -> None:
    table = pl.DataFrame({"user_id": ["u", "u", "v", "w"], "item_id": ["a", "b", "a", "c"], "timestamp": [1, 9, 2, None]})
    assert HeldOut(frozenset({"v"})).training_rows(table)["user_id"].to_list() == ["u", "u", "w"]
    pairs = pl.DataFrame({"user_id": ["u"], "item_id": ["a"]})
    assert HeldOut(pairs=pairs).training_rows(table)["item_id"].to_list() == ["b", "a", "c"]
    assert HeldOut(moment=5).training_rows(table)["item_id"].to_list() == ["a", "a", "c"]


def test_case_file_round_trip(tmp_path) -> None:
    _, catalogue, _ = store([("u", "a", 1)])
    for scope in ("new", "any"):
        cases = Cases(["ü", "v"], RaggedArray.of([[0, 1], [2]]), RaggedArray.of([[4], [0, 5]]), [None, "One"], scope)
        case_files.save_cases(cases, catalogue, tmp_path / "cases.jsonl")
        loaded = case_files.load_cases(tmp_path / "cases.jsonl", catalogue)
        assert ids(loaded, catalogue) == ids(cases, catalogue)
        assert (list(loaded.users), list(loaded.target_categories), loaded.scope) == (["ü", "v"], [None, "One"], scope)


GOOD = '{"user_id": "u", "history": ["a"], "targets": ["c"], "target_category": null}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no cases"),
        ("no json\n", "line 1: invalid JSON"),
        (GOOD + "[1]\n", "line 2: expected an object"),
        ('{"user_id": "u", "history": "a", "targets": []}\n', '"history" is not a list'),
        ('{"user_id": "u", "history": [], "targets": [7]}\n', '"targets" is not a list of item ids'),
        (GOOD.replace("null", "3"), "must be a name or null"),
        (GOOD.replace("null", '"Nowhere"'), "no item has the category 'Nowhere'"),
        (GOOD.replace('"c"', '"zz"'), "1 of 2 items are unknown among the 8"),
        (GOOD + GOOD.replace("null", 'null, "scope": "any"'), "evaluate them as two files"),
    ],
)
def test_invalid_case_file(tmp_path, text, message) -> None:
    _, catalogue, _ = store([("u", "a", 1)])
    (tmp_path / "cases.jsonl").write_text(text)
    with pytest.raises((FormatError, QueryError), match=message):
        case_files.load_cases(tmp_path / "cases.jsonl", catalogue)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no users; write one JSON object per line"),
        ("u1\n", "line 1: invalid JSON"),
        (GOOD + '{"history": []}\n', 'line 2: expected an object with "user_id"'),
        (None, "cannot be read"),
    ],
)
def test_invalid_user_file(tmp_path, text, message) -> None:
    if text is not None:
        (tmp_path / "users.jsonl").write_text(text)
    with pytest.raises((FormatError, QueryError), match=message):
        case_files.load_users(tmp_path / "users.jsonl")


def test_users_of_a_file(tmp_path) -> None:
    (tmp_path / "users.jsonl").write_text(GOOD * 2 + '\n{"user_id": "v"}\n')
    assert case_files.load_users(tmp_path / "users.jsonl") == {"u", "v"}


def test_few_unknown_items_are_counted(tmp_path) -> None:
    _, catalogue, _ = store([("u", "a", 1)])
    (tmp_path / "cases.jsonl").write_text(GOOD * 20 + GOOD.replace('"a"', '"a", "zz"'))
    assert case_files.load_cases(tmp_path / "cases.jsonl", catalogue).exclusions == {"items of the file that are unknown": 1}
    with pytest.raises(FormatError, match="cannot be read"):
        case_files.load_cases(tmp_path / "none.jsonl", catalogue)
