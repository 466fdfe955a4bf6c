"""Query auditing: a differencing attacker, exhaustive small cases, and a log that persists."""

from __future__ import annotations

import itertools
import re
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.data.errors import QueryError, SettingsError, SuppressedError, WorkspaceError
from crossaisle.data.privacy.disclosure import CountCell
from crossaisle.data.privacy.query_audit import QueryAuditLog

PARENTS = {"a": None, "a1": "a", "a2": "a", "b": None, "b1": "b", "b11": "b1"}
LEAVES = ("a1", "a2", "b11", "b1", "a")


def did(bought: list[set[str]]) -> dict[str, frozenset[int]]:
    """Users of every cell; a category includes the users of its descendants."""
    users_of: dict[str, set[int]] = {name: set() for name in PARENTS}
    for user, names in enumerate(bought):
        for name in names:
            up: str | None = name
            while up is not None:
                users_of[up].add(user)
                up = PARENTS[up]
    return {name: frozenset(users) for name, users in users_of.items()}


def ask(releases: QueryAuditLog, cohort: frozenset[int], cells: dict[str, frozenset[int]], based: bool = True) -> frozenset[str]:
    """Names of the disclosed cells, with or without base rates."""
    given = {name: CountCell(len(cohort & users), len(users) if based else None, PARENTS.get(name)) for name, users in cells.items()}
    return frozenset(given) - releases.admit_query("q", np.array(sorted(cohort), np.int64), given)


def below(name: str) -> set[str]:
    return {other for other in PARENTS if other == name or (PARENTS[other] and other in _descendants(name))}


def _descendants(name: str) -> set[str]:
    children = {other for other, parent in PARENTS.items() if parent == name}
    return children | {deep for child in children for deep in _descendants(child)}


def breaches(
    answers: list[tuple[frozenset[int], frozenset[str]]], cells: dict[str, frozenset[int]], users: int, few: int, based: bool = True
) -> list[str]:
    """Groups of 1 to few - 1 users that an attacker finds by differencing two counts, one of which is known to contain the other.

    `answers` are (cohort, disclosed names). The number of all users is always public, and with base rates also the count of all users
    for every disclosed name; the complement of each cohort is therefore disclosed too.
    """
    everyone, names = frozenset(range(users)), frozenset().union(*(shown for _, shown in answers)) if answers else frozenset()
    known = [*answers, (everyone, names if based else frozenset())]
    known += [(everyone - cohort, shown if based else frozenset()) for cohort, shown in answers]
    breached = []

    def learn(group: frozenset[int], how: str) -> None:
        if 0 < len(group) < few:
            breached.append(f"{how}: {sorted(group)}")

    for cohort, shown in known:
        learn(cohort, "cohort")
        for name in shown:
            learn(cohort & cells[name], name)
    for (outer, more), (inner, less) in itertools.product(known, known):
        if not inner <= outer:
            continue
        learn(outer - inner, "cohort less cohort")
        for name in less:
            learn(outer - (inner & cells[name]), f"cohort less {name}")
        for high in more:
            for low in less & below(high):
                learn((outer & cells[high]) - (inner & cells[low]), f"{high} less {low}")
        # Differences within each cohort, then between cohorts.
        for name in more & less:
            learn((outer - inner) - cells[name], f"the rest without {name}")
            for low in (more & less & below(name)) - {name}:
                learn((outer - inner) & (cells[name] - cells[low]), f"the rest of {name} without {low}")
    return breached


@st.composite
def stories(draw: st.DrawFn) -> tuple[int, list[set[str]], list[frozenset[int]]]:
    """Users, their purchases, and cohorts that often differ from an earlier one by a few users, or are its complement."""
    users = draw(st.integers(12, 40))
    bought = draw(st.lists(st.sets(st.sampled_from(LEAVES), max_size=3), min_size=users, max_size=users))
    cohorts: list[frozenset[int]] = []
    everyone = frozenset(range(users))
    for _ in range(draw(st.integers(1, 6))):
        fresh = draw(st.frozensets(st.integers(0, users - 1)))
        start = draw(st.sampled_from(cohorts)) if cohorts else fresh
        how = draw(st.sampled_from(["fresh", "more", "less", "opposite", "again", "swap"]))
        few = frozenset(itertools.islice(iter(sorted(fresh)), draw(st.integers(1, 8))))
        made = {
            "fresh": fresh,
            "more": start | few,
            "less": start - few,
            "opposite": everyone - start - few,
            "again": start,
            "swap": start ^ few,
        }
        cohorts.append(made[how])
    return users, bought, cohorts


@pytest.mark.parametrize("based", [True, False])
@given(stories(), st.integers(2, 4))
@settings(max_examples=300, deadline=None)
def test_differencing_any_two_counts_never_reveals_few_users(
    based: bool, story: tuple[int, list[set[str]], list[frozenset[int]]], few: int
) -> None:
    users, bought, cohorts = story
    cells = did(bought)
    answers: list[tuple[frozenset[int], frozenset[str]]] = []
    with tempfile.TemporaryDirectory() as folder:
        releases = QueryAuditLog(Path(folder), "s", users, few)
        for cohort in cohorts:
            try:
                shown = ask(releases, cohort, cells, based)
            except SuppressedError:
                continue
            assert all(len(cohort & cells[name]) >= few for name in shown)
            answers.append((cohort, shown))
        assert breaches(answers, cells, users, few, based) == []
        # Repeated with a new object and without a bitmap cache: the same answers.
        again = QueryAuditLog(Path(folder), "s", users, few, cache_bytes=0)
        for cohort, shown in answers:
            assert ask(again, cohort, cells, based) == shown


def test_the_attacker_of_these_tests_finds_unprotected_groups() -> None:
    cells = did([{"a1"} if user < 10 else set() for user in range(30)])
    half, names = frozenset(range(15)), frozenset({"a"})
    assert breaches([(half, names)], cells, 30, 3) == []
    assert any("cohort less cohort: [15]" in users_of for users_of in breaches([(half, names), (half | {15}, names)], cells, 30, 3))
    assert any("a: [9]" in users_of for users_of in breaches([(frozenset(range(9, 25)), names)], cells, 30, 3))


# ------------------------------------------------------------------ examples

USERS = 1000
CELLS = {"stoves": frozenset(range(0, 1000, 3)), "lamps": frozenset(range(100, 700, 2))}


def span(start: int, stop: int) -> frozenset[int]:
    return frozenset(range(start, stop))


@pytest.fixture
def releases(tmp_path: Path) -> QueryAuditLog:
    return QueryAuditLog(tmp_path, "s1", USERS, 20)


def test_freely_overlapping_groups_are_answered_in_full(releases: QueryAuditLog) -> None:
    assert ask(releases, span(0, 500), CELLS) == {"stoves", "lamps"}
    assert ask(releases, span(300, 800), CELLS) == {"stoves", "lamps"}
    assert ask(releases, span(0, 400), CELLS) == {"stoves", "lamps"}  # 100 fewer than the first, 50 of them with lamps


@pytest.mark.parametrize("other", [span(0, 519), span(0, 481), span(10, 509), span(519, 1000), span(481, 1000), span(491, 990)])
def test_nearly_identical_or_complementary_group_is_rejected(releases: QueryAuditLog, other: frozenset[int]) -> None:
    ask(releases, span(0, 500), CELLS)
    with pytest.raises(SuppressedError, match=r"an earlier one \('q'\) differ by, or both leave out, fewer than 20 users"):
        ask(releases, other, CELLS)
    assert isinstance(SuppressedError(""), QueryError)
    # A rejected query is not recorded: a query similar only to the rejected one is answered.
    assert ask(releases, span(0, 540), CELLS)


def test_unknown_user_numbers_raise_value_error(releases: QueryAuditLog) -> None:
    for cohort in (np.arange(-1, 100), np.arange(900, USERS + 1)):
        with pytest.raises(ValueError, match="user numbers of this snapshot must be 0 to 999"):
            releases.admit_query("q", cohort, {})


@pytest.mark.parametrize("other", [span(0, 520), span(0, 480), span(500, 1000), span(520, 1000), span(0, 500)])
def test_identical_complementary_or_sufficiently_different_group_is_answered(releases: QueryAuditLog, other: frozenset[int]) -> None:
    ask(releases, span(0, 500), CELLS)
    ask(releases, other, CELLS)


def test_cells_that_grew_by_few_users_are_suppressed(releases: QueryAuditLog) -> None:
    assert ask(releases, span(0, 500), CELLS) == {"stoves", "lamps"}
    assert ask(releases, span(0, 530), CELLS) == set()  # 10 more with stoves, 15 with lamps
    assert ask(releases, span(0, 500), CELLS) == {"stoves", "lamps"}
    assert ask(releases, span(0, 560), CELLS) == {"stoves", "lamps"}  # 20 and 30 more, 30 without lamps


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (span(0, 500), span(0, 600)),  # of the 100 between them, all but 10
        (span(0, 500), span(500, 900)),  # of the 100 in neither
        (span(0, 600), span(500, 1000)),  # of the 100 in both
    ],
)
def test_cell_with_nearly_all_of_the_difference_is_suppressed(tmp_path: Path, one: frozenset[int], two: frozenset[int]) -> None:
    rest = (two - one) if one < two else (one & two) or span(0, USERS) - one - two
    assert len(rest) == 100
    few = frozenset(sorted(rest)[:10])
    cells = {
        "x": span(0, USERS) - few - frozenset(range(0, 1000, 5)) | frozenset(sorted(rest)[10:]),
        "y": span(0, USERS) - frozenset(range(0, 1000, 5)),
    }
    for i, (first, second) in enumerate(((one, two), (two, one))):
        releases = QueryAuditLog(tmp_path, str(i), USERS, 20)
        assert ask(releases, first, cells) == {"x", "y"}
        assert ask(releases, second, cells) == {"y"}


def test_one_decoy_does_not_bypass_the_audit(releases: QueryAuditLog) -> None:
    ask(releases, span(0, 500), CELLS)
    assert ask(releases, span(1, 530), CELLS) == set()  # not nested because of user 0, who knows about himself


def test_decoy_that_hides_the_target_does_not_bypass_the_audit(releases: QueryAuditLog) -> None:
    # User 0 bought it, and so did one of the 100 new ones: the counts are equal, and user 0 knows why.
    cells = {"x": {0, 550} | span(100, 300) | span(700, 900), "y": span(0, 1000) - {0, 550} - span(100, 300) - span(700, 900)}
    cells = {name: frozenset(users) for name, users in cells.items()}
    assert ask(releases, span(0, 500), cells) == {"x", "y"}
    assert ask(releases, span(1, 600), cells) == set()


def test_children_of_a_cell_suppressed_for_an_earlier_answer_are_suppressed(tmp_path: Path) -> None:
    # Of the 200 more, all but 10 bought from b, and 100 of them b1.
    cells = {"b": span(100, 690) | span(800, 900), "b1": span(100, 600) | span(800, 850)}
    releases = QueryAuditLog(tmp_path, "s", USERS, 20)
    assert ask(releases, span(0, 500), cells) == {"b", "b1"}
    assert ask(releases, span(0, 700), cells) == set()
    assert ask(QueryAuditLog(tmp_path, "other", USERS, 20), span(0, 700), cells) == {"b", "b1"}


def test_complement_of_disjoint_groups_is_protected(releases: QueryAuditLog) -> None:
    cells = {"rare": span(80, 120) | span(400, 440) | span(600, 610)}
    assert ask(releases, span(0, 200), cells) == {"rare"}
    assert ask(releases, span(300, 500), cells) == set()  # 40 + 40 of 90: the other 10 are in neither


def test_complement_is_not_protected_without_base_rates(releases: QueryAuditLog) -> None:
    cells = {"rare": span(80, 120) | span(400, 440) | span(600, 610)}
    for cohort in (span(0, 200), span(300, 500)):
        assert ask(releases, cohort, cells, based=False) == {"rare"}
    with pytest.raises(ValueError, match="the base of 'rare'"):
        ask(releases, span(0, 200), cells)  # with base rates it would be


def test_item_of_a_later_query_is_compared_with_its_category_in_both_answers(tmp_path: Path) -> None:
    releases = QueryAuditLog(tmp_path, "s", USERS, 20)
    # 167 of the first 500 bought from b without b1, 10 more by 750, 30 more after that; 40 of the 250 between did not buy from b at all.
    without = frozenset(range(0, 500, 3)) | span(700, 710) | span(800, 830)
    cells = {"b": span(0, 900) - span(510, 550), "b1": span(0, 900) - span(510, 550) - without}
    assert ask(releases, span(0, 500), cells) == {"b", "b1"}
    assert ask(releases, span(0, 750), cells) == {"b"}
    other = QueryAuditLog(tmp_path, "other", USERS, 20)
    assert ask(other, span(0, 750), cells) == {"b", "b1"}
    third = QueryAuditLog(tmp_path, "third", USERS, 20)
    assert ask(third, span(0, 500), cells) == ask(third, span(0, 700), cells) == {"b", "b1"}


def test_too_small_or_nearly_complete_group_is_rejected(releases: QueryAuditLog) -> None:
    for cohort in (span(0, 19), frozenset()):
        with pytest.raises(SuppressedError, match="fewer than 20 users are in this group.* use a broader group"):
            ask(releases, cohort, CELLS)
    with pytest.raises(SuppressedError, match="all but fewer than 20 users are in this group"):
        ask(releases, span(0, 981), CELLS)
    assert ask(releases, span(0, 1000), CELLS) == {"stoves", "lamps"}
    assert ask(releases, span(0, 20), CELLS) == set()


def test_threshold_of_one_suppresses_nothing_and_still_records(tmp_path: Path) -> None:
    off = QueryAuditLog(tmp_path, "s", USERS, 1)
    for cohort in (span(0, 500), span(0, 501), span(0, 501), span(0, 1)):
        assert ask(off, cohort, CELLS) == set(CELLS)
    with pytest.raises(SuppressedError, match="this group and an earlier one"):
        ask(QueryAuditLog(tmp_path, "s", USERS, 20), span(0, 502), CELLS)


def test_bitmaps_beyond_the_prefix_are_compared(tmp_path: Path) -> None:
    """300,000 users whose cohorts differ only beyond the prefix; small groups are stored sparsely."""
    users, cells = 300_000, {"x": frozenset(range(0, 300_000, 2))}
    half = frozenset(np.random.default_rng(1).permutation(users)[:150_000].tolist())
    tail = frozenset(range(users - 5, users))
    for memory in (2**20, 0):
        folder = tmp_path / str(memory)
        folder.mkdir()
        releases = QueryAuditLog(folder, "s", users, 20, memory)
        for cohort in (half - tail, frozenset(range(200_000, 290_000, 3000)), frozenset(range(0, users, 3))):
            ask(releases, cohort, cells)
        for cohort in (half | tail, frozenset(range(203_000, 290_000, 3000))):
            with pytest.raises(SuppressedError, match="this group and an earlier one"):
                ask(releases, cohort, cells)
        assert ask(releases, frozenset(range(0, users, 5)), cells) == {"x"}


def test_snapshots_are_audited_separately(tmp_path: Path) -> None:
    ask(QueryAuditLog(tmp_path, "s1", USERS), span(0, 500), CELLS)
    assert ask(QueryAuditLog(tmp_path, "s2", USERS), span(0, 501), CELLS)
    with pytest.raises(SuppressedError):
        ask(QueryAuditLog(tmp_path, "s1", USERS), span(0, 501), CELLS)


def test_changed_base_within_a_snapshot_raises_value_error(releases: QueryAuditLog) -> None:
    ask(releases, span(0, 500), CELLS)
    with pytest.raises(ValueError, match="the base of 'stoves' is 333, and was 334"):
        ask(releases, span(200, 700), {"stoves": CELLS["stoves"] - {999}})


def test_variants_of_one_property_are_compared(releases: QueryAuditLog) -> None:
    cohort = np.arange(500)
    assert releases.admit_query("90 days", cohort, {"stoves": CountCell(100, 334)}) == frozenset()
    assert releases.admit_query("30 days", cohort, {"stoves": CountCell(90, 334)}) == {"stoves"}
    assert releases.admit_query("10 days", cohort, {"stoves": CountCell(80, 334)}) == frozenset()


# ------------------------------------------------------------------ storage

ADMIT = """
import sys
import numpy as np
from pathlib import Path
from crossaisle.data.errors import SuppressedError
from crossaisle.data.privacy.disclosure import CountCell
from crossaisle.data.privacy.query_audit import QueryAuditLog
releases = QueryAuditLog(Path(sys.argv[1]), "s1", 1000)
for start in range(0, 400, 40):
    try:
        releases.admit_query("q", np.arange(start, start + 300 + int(sys.argv[2])), {"x": CountCell(100, 500)})
        print(start)
    except SuppressedError:
        pass
"""


def test_only_one_of_two_processes_with_similar_queries_is_answered(tmp_path: Path) -> None:
    both = [
        subprocess.Popen([sys.executable, "-c", ADMIT, str(tmp_path), str(more)], stdout=subprocess.PIPE, text=True, cwd="/")
        for more in (0, 5)
    ]
    answered = sorted(int(line) for process in both for line in process.communicate(timeout=120)[0].split())
    assert answered == list(range(0, 400, 40))
    assert [process.returncode for process in both] == [0, 0]


def test_rows_of_another_object_are_loaded(tmp_path: Path) -> None:
    one, two = QueryAuditLog(tmp_path, "s1", USERS), QueryAuditLog(tmp_path, "s1", USERS)
    ask(one, span(0, 500), CELLS)
    ask(two, span(100, 700), CELLS)
    for late, cohort in ((one, span(101, 700)), (two, span(0, 505))):
        with pytest.raises(SuppressedError):
            ask(late, cohort, CELLS)


def test_deleted_file_is_created_again(tmp_path: Path) -> None:
    releases = QueryAuditLog(tmp_path, "s1", USERS)
    for _ in range(2):
        ask(releases, span(0, 500), CELLS)
    (tmp_path / "privacy.db").unlink()
    ask(QueryAuditLog(tmp_path, "s1", USERS), span(200, 700), CELLS)
    with pytest.raises(SuppressedError):
        ask(releases, span(200, 701), CELLS)


def test_repeated_query_adds_no_rows(releases: QueryAuditLog) -> None:
    ask(releases, span(0, 500), CELLS)
    before = (releases.folder / "privacy.db").read_bytes()
    for _ in range(3):
        assert ask(releases, span(0, 500), CELLS) == {"stoves", "lamps"}
    assert (releases.folder / "privacy.db").read_bytes() == before


def test_damaged_bitmap_is_an_error(tmp_path: Path) -> None:
    ask(QueryAuditLog(tmp_path, "s1", USERS), span(0, 500), CELLS)
    for blob in (b"nonsense", b""):
        with sqlite3.connect(tmp_path / "privacy.db") as database:
            database.execute("UPDATE cohorts SET head = ?", (blob,))
        database.close()
        with pytest.raises(WorkspaceError, match=re.escape("privacy.db is damaged")):
            ask(QueryAuditLog(tmp_path, "s1", USERS), span(100, 600), CELLS)
    with pytest.raises(SettingsError, match="min_users is 0"):
        QueryAuditLog(tmp_path, "s1", USERS, 0)


def test_untrusted_query_text_is_stored_and_quoted_safely(tmp_path: Path) -> None:
    releases = QueryAuditLog(tmp_path, "s1", USERS)
    releases.admit_query("phones\x1b[31m\n'; DROP TABLE cohorts; \udcff", np.arange(500), {})
    with pytest.raises(SuppressedError) as caught:
        releases.admit_query("q", np.arange(501), {})
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
