"""Candidates in worlds whose right answers are known: who buys a tent then buys a stove."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st
from numpy.typing import NDArray

import crossaisle
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.retrieval.associations.rules import Associations
from crossaisle.retrieval.channels.base import CachedChannel, CandidateQuery, ChannelScores
from crossaisle.retrieval.fusion import CHANNEL_WEIGHTS
from crossaisle.retrieval.index.builder import load
from crossaisle.retrieval.index.embedder import Embedder
from crossaisle.retrieval.retriever import Retriever
from crossaisle.retrieval.top_items import highest

ITEMS = {
    "trail-tent": "Camping", "family-tent": "Camping", "gas-stove": "Cooking", "soup-pot": "Cooking", "desk-lamp": "Office",
    "office-chair": "Office", "dog-bed": "Pets", "cat-toy": "Pets", "pool-float": "Water", "rare-stamp": "Hobby",
}  # fmt: skip
# Twelve campers go from tent to stove, twelve clerks from lamp to chair; the dog bed is what everybody has now and then.
HISTORIES = (
    {f"camper{n}": ["trail-tent", "gas-stove"] for n in range(12)}
    | {f"clerk{n}": ["desk-lamp", "office-chair"] for n in range(12)}
    | {f"owner{n}": ["dog-bed"] for n in range(8)}
    | {"camper0": ["trail-tent", "gas-stove", "dog-bed"], "clerk0": ["desk-lamp", "office-chair", "dog-bed"]}
    | {"loner": ["rare-stamp", "pool-float"]}
)
REVIEWS = {"soup-pot": ["Perfect over an open camp fire in front of the tent."], "cat-toy": ["She chases it through the whole flat."]}


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Path], settings: Settings) -> Iterator[Retriever]:
    path = tmp_path_factory.mktemp("world") / "ws"
    crossaisle.ingest(path, "files", [make_store(ITEMS, HISTORIES, REVIEWS)])
    crossaisle.index(Workspace(path), settings)
    catalogue, index, table = load(Workspace(path), settings)
    yield Retriever(catalogue, index, Associations.load(table, catalogue))
    index.close()


def seeds(retriever: Retriever, *items: str, texts: NDArray[np.float32] | None = None) -> CandidateQuery:
    rows = np.array([retriever.catalogue.row(item) for item in items], dtype=np.int64)
    return CandidateQuery(rows, np.ones(len(rows)), texts if texts is not None else np.empty((0, 384), np.float32))


def outside(retriever: Retriever, *items: str) -> NDArray[np.bool_]:
    """Everything of the categories that these items are not of."""
    catalogue = retriever.catalogue
    return ~np.isin(catalogue.category, [catalogue.category[catalogue.row(item)] for item in items])


def test_tent_buyers_get_a_stove(retriever: Retriever) -> None:
    found = retriever.candidates(seeds(retriever, "trail-tent"), outside(retriever, "trail-tent"), 10)
    first = found[0]
    assert (first.item_id, first.anchor) == ("gas-stove", "trail-tent")
    assert first.scores["associations"] == max(c.scores.get("associations", 0) for c in found)
    assert first.scores["associations"] == pytest.approx(12 / np.sqrt(12))
    assert {"trail-tent", "family-tent"}.isdisjoint(c.item_id for c in found)


def test_the_anchor_is_the_history_item_behind_a_candidate(retriever: Retriever) -> None:
    for history in itertools.permutations(["trail-tent", "desk-lamp"]):
        found = {c.item_id: c for c in retriever.candidates(seeds(retriever, *history), outside(retriever, *history), 10)}
        assert found["gas-stove"].anchor == "trail-tent"
        assert "office-chair" not in found, "it shares the lamp's category"
        assert {c.anchor for c in found.values()} <= {*history, None}


def test_reviews_contribute_to_text_similarity(retriever: Retriever) -> None:
    found = {c.item_id: c for c in retriever.candidates(seeds(retriever, "family-tent"), outside(retriever, "family-tent"), 10)}
    semantic = {key: c.scores.get("semantic", 0.0) for key, c in found.items()}
    assert semantic["soup-pot"] > semantic["desk-lamp"]
    assert semantic["soup-pot"] == max(semantic.values())


def test_text_query_alone(retriever: Retriever, embedder: Embedder) -> None:
    calls = seeds(retriever, texts=embedder.encode(["something for my puppy to sleep on"]))
    found = retriever.candidates(calls, np.ones(len(ITEMS), bool), 10)
    semantic = {c.item_id: c.scores.get("semantic", 0.0) for c in found}
    assert max(semantic, key=lambda key: semantic[key]) == "dog-bed"
    assert all(c.anchor is None for c in found)
    assert all("associations" not in c.scores for c in found)


def test_items_with_few_users_are_not_popular(retriever: Retriever) -> None:
    found = {c.item_id: c for c in retriever.candidates(seeds(retriever), np.ones(len(ITEMS), bool), 20)}
    assert "dog-bed" in found
    assert not {"rare-stamp", "pool-float", "cat-toy"} & found.keys()
    assert all(set(c.scores) == {"popularity"} for c in found.values())


def test_a_pair_of_one_user_is_no_association(retriever: Retriever) -> None:
    found = retriever.candidates(seeds(retriever, "rare-stamp"), outside(retriever, "rare-stamp"), 20)
    assert all("associations" not in c.scores for c in found)


def test_an_item_without_users_is_found_by_its_text(retriever: Retriever) -> None:
    found = {c.item_id: c for c in retriever.candidates(seeds(retriever, "dog-bed"), outside(retriever, "dog-bed"), 20)}
    assert "family-tent" in found
    assert set(found["family-tent"].scores) == {"semantic"}


def test_other_than_anchor(retriever: Retriever) -> None:
    """Of two history items, each proposes nothing of its own category, but may propose of the other's."""
    catalogue = retriever.catalogue
    history = ("trail-tent", "desk-lamp")
    eligible = np.ones(len(catalogue), bool)
    for item in history:
        eligible[catalogue.row(item)] = False
    found = retriever.candidates(seeds(retriever, *history), eligible, 20, other_than_anchor=True)
    assert found
    for candidate in found:
        if candidate.anchor:
            mine, its = catalogue.row(candidate.item_id), catalogue.row(candidate.anchor)
            assert catalogue.category[mine] != catalogue.category[its], candidate
    assert all("associations" not in c.scores for c in found if c.item_id == "office-chair")


@given(
    st.lists(st.sampled_from(list(ITEMS)), max_size=4, unique=True),
    st.lists(st.booleans(), min_size=len(ITEMS), max_size=len(ITEMS)),
    st.integers(0, 12),
    st.booleans(),
)
@options(max_examples=60, deadline=None)
def test_only_eligible_items_and_only_item_ids(retriever: Retriever, history: list[str], allowed: list[bool], n: int, other: bool) -> None:
    eligible = np.array(allowed)
    found = retriever.candidates(seeds(retriever, *history), eligible, n, other_than_anchor=other)
    ids = [candidate.item_id for candidate in found]
    assert len(ids) <= n
    assert len(set(ids)) == len(ids)
    for candidate in found:
        assert eligible[retriever.catalogue.row(candidate.item_id)]
        assert candidate.anchor is None or candidate.anchor in history
        assert candidate.scores
        assert candidate.scores.keys() <= CHANNEL_WEIGHTS.keys()
        assert all(score > 0 for score in candidate.scores.values())


def test_answers_do_not_depend_on_earlier_queries(retriever: Retriever) -> None:
    """Nothing of one shopper's question is left over for the next one's."""
    ask = lambda *items: retriever.candidates(seeds(retriever, *items), outside(retriever, *items), 10)  # noqa: E731
    alone = ask("desk-lamp")
    for others in (("trail-tent",), ("rare-stamp", "dog-bed")):
        answer = ask(*others)
        assert all(candidate.anchor in (*others, None) for candidate in answer)
        assert ask("desk-lamp") == alone
    users = set(HISTORIES)
    assert not users & {text for candidate in alone for text in (candidate.item_id, candidate.anchor, *candidate.scores)}


def test_the_demo_store_answers_for_every_shopper(demo_workspace: Workspace, settings: Settings) -> None:
    catalogue, index, table = load(demo_workspace, settings)
    retriever = Retriever(catalogue, index, Associations.load(table, catalogue))
    histories = demo_workspace.table("interactions").group_by("user_id", maintain_order=True).agg("item_id")
    for user, items in histories.head(25).iter_rows():
        distinct = list(dict.fromkeys(items))
        found = retriever.candidates(seeds(retriever, *distinct), outside(retriever, *distinct), 20)
        assert len(found) == 20, user
        assert not {candidate.item_id for candidate in found} & set(items)
        assert {candidate.anchor for candidate in found} <= {*items, None}
    index.close()


# Nine of every ten items are of one large category, whose worst item still scores above the best of the two small ones.
CROWD = np.asarray([0] * 18 + [1] + [2], dtype=np.int32)
FALLING = np.arange(20, 0, -1).astype(np.float32)


def test_without_a_quota_a_large_category_crowds_the_others_out() -> None:
    rows = np.arange(20)
    assert highest(FALLING, rows, 6).tolist() == [0, 1, 2, 3, 4, 5]
    assert highest(FALLING, rows, 6, CROWD, 0.5).tolist() == [0, 1, 2, 3, 18, 19]  # one place each, the other three by score
    assert highest(FALLING, rows, 6, CROWD, 1.0).tolist() == [0, 1, 2, 3, 18, 19]  # what the small ones cannot fill goes by score, too
    assert highest(FALLING, rows, 6, CROWD, 0.34).tolist() == [0, 1, 2, 3, 4, 18]  # two places for three categories: the best items' own
    assert highest(FALLING, rows, 30, CROWD, 0.5).tolist() == list(range(20))


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4)), min_size=1, max_size=60),
    st.integers(1, 40),
    st.floats(0, 1),
)
def test_a_quota_gives_each_category_its_best_first(items: list[tuple[int, int]], most: int, quota: float) -> None:
    scores = np.asarray([score for score, _ in items], dtype=np.float32)
    category = np.asarray([code for _, code in items], dtype=np.int32)
    taken = highest(scores, np.arange(len(items)), most, category, quota).tolist()
    assert len(taken) == len(set(taken)) == min(most, len(items))
    assert [float(scores[row]) for row in taken] == sorted((float(scores[row]) for row in taken), reverse=True)
    each = int(quota * most) // len(set(category.tolist()))
    for code in set(category.tolist()):
        mine = sorted((row for row in range(len(items)) if category[row] == code), key=lambda row: (-scores[row], row))
        chosen = [row for row in taken if category[row] == code]
        assert chosen == mine[: len(chosen)]  # of a category always its best
        assert len(chosen) >= min(each, len(mine))


def test_a_quota_lets_a_small_category_into_the_candidates(retriever: Retriever) -> None:
    category = retriever.catalogue.category

    class Camping:
        """Points at tents above all."""

        def scores(self, seeds: CandidateQuery) -> ChannelScores:
            scores = np.ones(len(category), np.float32)
            scores[[retriever.catalogue.row("trail-tent"), retriever.catalogue.row("family-tent")]] = 5
            scores[retriever.catalogue.row("cat-toy")] = 2
            return scores, np.zeros(len(category), np.int64)

    one = Retriever(retriever.catalogue, retriever.index, retriever.associations, {"semantic": Camping()})
    lamp = seeds(retriever, "desk-lamp")
    mask = outside(retriever, "desk-lamp")
    toy = retriever.catalogue.row("cat-toy")
    assert toy not in one.propose(lamp, mask, 2).rows
    assert toy in one.propose(lamp, mask, 2, quota=1.0).rows
    with pytest.raises(ValueError, match="the quota must be between 0 and 1"):
        one.propose(lamp, mask, 2, quota=1.5)


class _Counted:
    """Number of calls."""

    def __init__(self) -> None:
        self.calls = 0

    def scores(self, seeds: CandidateQuery) -> ChannelScores:
        self.calls += 1
        return np.asarray([len(seeds.rows)], np.float32), np.zeros(1, np.int64)


class _CountedSparing(_Counted):
    def item_scores(self, seeds: CandidateQuery) -> NDArray[np.float32]:
        self.calls += 1
        return np.asarray([len(seeds.rows)], np.float32)

    def anchors(self, seeds: CandidateQuery, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.zeros(len(rows), np.int64)


@pytest.mark.parametrize("kind", [_Counted, _CountedSparing])
def test_a_cached_channel_scores_each_history_once(kind: type[_Counted]) -> None:
    inner = kind()
    channel = CachedChannel(inner)
    histories = [CandidateQuery(np.arange(n), np.ones(n), np.empty((0, 0), np.float32)) for n in (1, 2)]
    assert [float(channel.item_scores(histories[at])[0]) for at in (0, 0, 1, 1, 0)] == [1, 1, 2, 2, 1]
    assert channel.anchors(histories[0], np.asarray([0])).tolist() == [0]
    assert inner.calls == 3
    assert [values.tolist() for values in channel.scores(histories[0])] == [[1.0], [0]]
