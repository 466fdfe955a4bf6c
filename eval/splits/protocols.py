"""Split protocols: evaluation cases sampled from a snapshot, and the data to hold out for them.

    users           whole users are held out; the targets are in the category that the user entered last, the history is all before
    whole-category  the same users are held out; the targets are all items of one sampled category, the history is all other categories
    leave-one-out   the target is each user's last interaction, the history is all before
    temporal        the targets are interactions from a given time on, the history is all before

Only the interactions that association counts are made from are used (purchases, else ratings, else everything; see `Events`), so a view of
the target is never in the history. In data without an order, the target category or the last item is sampled with the seed, so `users`
and `whole-category` are of one kind there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import QueryError
from ...data.splits import HeldOut, Part, Split
from ...retrieval.items.interactions import NEVER
from ...retrieval.items.ordered_events import OrderedEvents
from ...retrieval.items.ragged import RaggedArray
from .cases import CandidateScope, Cases, EligibleItems

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ...data.workspace import Workspace
    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.items.interactions import Events

MIN_TEST_CASES = 1000
"""Number of test cases that a split by users aims at."""
TEST_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares of the users to test: the first that yields `MIN_TEST_CASES` cases, else the last."""


@dataclass(frozen=True)
class SampledCases:
    """Evaluation cases, and the data that training for them must not see."""

    cases: Cases
    held_out: HeldOut


def resolve_split(split: Split, events: Events, catalogue: Catalogue) -> Split:
    """Return the split with its data-dependent values: the shares of the protocols of whole users, the times of `temporal`.

    Args:
        split: For `temporal`, its `moment` is the start of the test period if given.
        events: All events of the snapshot.
        catalogue: Catalogue of the items.

    Raises:
        QueryError: A temporal split of data without times, or without interactions before or after its start.
    """
    if split.holds_out_users:
        return with_test_share(split, events, catalogue)
    if split.protocol == "temporal":
        test_start, validation_start = split_moments(events, split.moment)
        return split.with_(moment=test_start, validation_moment=validation_start)
    return split


def with_test_share(split: Split, events: Events, catalogue: Catalogue) -> Split:
    """Return the split with a test share that yields enough cases, and half of the remaining users at most for validation."""
    user, category = events.user.astype(np.int64), catalogue.category[events.row].astype(np.int64)
    user_categories = np.unique(user * len(catalogue.nodes) + category) // len(catalogue.nodes)
    has_several = np.bincount(user_categories, minlength=len(events.users)) > 1
    share = next((share for share in TEST_SHARES if share * has_several.sum() >= MIN_TEST_CASES), TEST_SHARES[-1])
    return split.with_(test=share, validation=min(share, 0.5 - share / 2 if share < 0.5 else 0.2))


def sample_cases(split: Split, events: Events, catalogue: Catalogue, part: Part, scope: CandidateScope) -> SampledCases:
    """Return the cases of one part of a split.

    For `validation`, the test data is held out as well, so nothing is tuned on it.
    """
    ordered_events = OrderedEvents.from_events(events, split.seed)
    if split.holds_out_users:
        by_order = split.protocol == "users" and events.order != "none"
        sampled = _held_out_user_cases(split, ordered_events, catalogue, part, by_order=by_order)
    elif split.protocol == "leave-one-out":
        sampled = _leave_one_out_cases(ordered_events, catalogue, part)
    else:
        sampled = _temporal_cases(split, ordered_events, part)
    return SampledCases(replace(sampled.cases, scope=scope), sampled.held_out)


def held_out_for_file(users: Iterable[str], workspace: Workspace) -> HeldOut:
    """Return the data to hold out for a file that names users: everything of those who have interactions or reviews in the workspace."""
    known_users = {*workspace.table("interactions")["user_id"], *workspace.table("reviews")["user_id"]}
    return HeldOut(users=frozenset(users) & known_users)


def split_moments(events: Events, test_start: int | None = None) -> tuple[int, int]:
    """Return the start of the test and the validation period, in milliseconds since 1970.

    80 % of the interactions are before the test period, and 90 % of those before the validation period.

    Args:
        events: All events of the snapshot.
        test_start: Start of the test period; None to choose it by the shares above.

    Raises:
        QueryError: The interactions have no times, or none is before or after the start.
    """
    times = np.sort(events.time[events.time != NEVER])
    if events.order != "time" or len(times) < 2:
        raise QueryError("the interactions have no times, so a temporal split is impossible; use --protocol users or leave-one-out")
    start = int(times[int(0.8 * len(times))]) if test_start is None else test_start
    earlier = times[times < start]
    if not len(earlier) or times[-1] < start:
        first, last = (np.datetime64(int(moment), "ms").astype("datetime64[D]") for moment in (times[0], times[-1]))
        raise QueryError(f"no interactions {'before' if not len(earlier) else 'after'} that date; they range from {first} to {last}")
    return start, int(earlier[int(0.9 * len(earlier))])


# ---------------------------------------------------------------------- protocols


def _held_out_user_cases(split: Split, events: OrderedEvents, catalogue: Catalogue, part: Part, *, by_order: bool) -> SampledCases:
    """Cases of held-out users, by user.

    Args:
        split: Split with its shares.
        events: Ordered events.
        catalogue: Catalogue of the items.
        part: Users to take.
        by_order: Whether the targets are in the category entered last, and the history is all before. Otherwise the target category is
            sampled from those of the user, and the history is all of the other categories.
    """
    ids = events.ids.to_list()
    is_test, is_chosen = split.users(ids, "test"), split.users(ids, part)
    is_held_out = is_test | is_chosen
    category, category_count = catalogue.category[events.row], len(catalogue.nodes)
    has_category = catalogue.nodes[category] >= 0
    candidates = is_chosen[events.user] & has_category

    def key_of(selected: NDArray[np.bool_]) -> NDArray[np.int64]:
        return events.user[selected].astype(np.int64) * category_count + category[selected]

    # The first event of every (user, category), in the order of events.
    entries, first = np.unique(key_of(candidates), return_index=True)
    entry_index = np.flatnonzero(candidates)[first]
    owner = entries // category_count
    rank = entry_index.astype(np.float64) if by_order else np.random.default_rng(split.seed + 1).random(len(entries))
    if split.protocol == "whole-category":
        # A category in which the user has nothing that can be ranked is sampled only if there is no other; the user is then left out.
        can_be_target = EligibleItems(catalogue, "new").rankable[events.row] & candidates
        rank[~np.isin(entries, key_of(can_be_target))] -= 1
    order = np.lexsort((rank, owner))
    last = np.flatnonzero(np.append(np.diff(owner[order]) != 0, True)) if len(order) else np.empty(0, np.int64)
    has_several = np.bincount(owner, minlength=len(ids)) > 1
    target_category = np.full(len(ids), -1, dtype=np.int64)
    target_start = np.full(len(ids), np.iinfo(np.int64).max, dtype=np.int64)
    target_category[owner[order[last]]] = entries[order[last]] % category_count
    target_start[owner[order[last]]] = entry_index[order[last]]
    in_case = has_several[events.user]
    is_target = in_case & (category == target_category[events.user])
    is_before = (np.arange(len(events.user)) < target_start[events.user]) | (not by_order)
    exclusions = {"users of one category only": int((is_chosen & ~has_several).sum())}
    cases = _cases(events, in_case & ~is_target & is_before, is_target, exclusions)
    return SampledCases(cases, HeldOut(users=frozenset(user for user, held in zip(ids, is_held_out, strict=True) if held)))


def _leave_one_out_cases(events: OrderedEvents, catalogue: Catalogue, part: Part) -> SampledCases:
    import polars as pl

    held_out_count = 1 if part == "test" else 2
    from_end = events.starts[1:][events.user] - 1 - np.arange(len(events.user))
    is_target, is_before = from_end == held_out_count - 1, from_end >= held_out_count
    long_enough = np.diff(events.starts) > held_out_count
    cases = _cases(
        events,
        is_before & long_enough[events.user],
        is_target & long_enough[events.user],
        {"users with too few interactions": int((~long_enough).sum())},
    )
    is_held_out = from_end < held_out_count
    pairs = pl.DataFrame(
        {
            "user_id": events.ids.gather(events.user[is_held_out]),
            "item_id": catalogue.items["item_id"].gather(events.row[is_held_out]),
        }
    )
    return SampledCases(cases, HeldOut(pairs=pairs))


def _temporal_cases(split: Split, events: OrderedEvents, part: Part) -> SampledCases:
    start = split.moment if part == "test" else split.validation_moment
    if start is None:
        raise ValueError("a temporal split needs its moments; call `resolve_split` first")
    end = np.iinfo(np.int64).max if part == "test" or split.moment is None else split.moment
    is_before, is_target = events.time < start, (events.time >= start) & (events.time < end)
    user_count = len(events.ids)
    has_history = np.bincount(events.user[is_before], minlength=user_count) > 0
    has_target = np.bincount(events.user[is_target], minlength=user_count) > 0
    in_case = (has_history & has_target)[events.user]
    exclusions = {"users without a history then": int((has_target & ~has_history).sum())}
    return SampledCases(_cases(events, is_before & in_case, is_target & in_case, exclusions), HeldOut(moment=start))


def _cases(events: OrderedEvents, is_history: NDArray[np.bool_], is_target: NDArray[np.bool_], exclusions: dict[str, int]) -> Cases:
    """Cases of all users with a target. Items are distinct; a repeated item keeps its latest position."""
    users = np.unique(events.user[is_target])
    return Cases(
        [str(user) for user in events.ids.gather(users)],
        _distinct_rows(events, is_history, users),
        _distinct_rows(events, is_target, users),
        [None] * len(users),
        exclusions={reason: count for reason, count in exclusions.items() if count},
    )


def _distinct_rows(events: OrderedEvents, selected: NDArray[np.bool_], users: NDArray[np.int32]) -> RaggedArray:
    """The distinct item rows of each user's selected events, oldest first."""
    index = np.flatnonzero(selected & np.isin(events.user, users))[::-1]  # newest first, so np.unique finds the latest position of an item
    key = (events.user[index].astype(np.int64) << 32) | events.row[index]
    _, latest = np.unique(key, return_index=True)
    index = np.sort(index[latest])
    starts = np.append(np.searchsorted(events.user[index], users), len(index))
    return RaggedArray(starts.astype(np.int64), events.row[index])
