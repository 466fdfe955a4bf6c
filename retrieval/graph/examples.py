"""Training examples of the graph: the history before a user entered a category, and the user's items of that category as targets.

They correspond to the cases of the users protocol. No models are known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..items.ragged import RaggedArray
from .edges import ItemLinks, UserItemEdges, entries_at, lookup
from .neighbor_sampling import AFTER, BEFORE, TOGETHER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..items.catalogue import Catalogue
    from ..items.interactions import Events


@dataclass(frozen=True)
class CategoryEntryExamples:
    """Examples of category entries.

    Attributes:
        user: (examples,) user numbers.
        category: (examples,) code of the entered category.
        histories: (examples,) distinct item rows of other categories, oldest first.
        targets: (examples,) distinct item rows of the category.
        items: (examples,) all distinct item rows of the user.
    """

    user: NDArray[np.int64]
    category: NDArray[np.int64]
    histories: RaggedArray
    targets: RaggedArray
    items: RaggedArray

    @classmethod
    def from_events(cls, events: Events, catalogue: Catalogue, max_history: int, rng: np.random.Generator) -> CategoryEntryExamples:
        """Return an example for each category that a user entered after another one.

        Without an order, there is one for each category of a user who has several.

        Args:
            events: Events of the users.
            catalogue: Catalogue of the items.
            max_history: Largest number of distinct items of a history, the newest.
            rng: Generator that orders ties in time.
        """
        ordered = events.order != "none"
        by_time = np.lexsort((rng.random(len(events)), events.time, events.user))
        user, row = events.user.astype(np.int64), events.row[by_time].astype(np.int64)
        category, category_count = catalogue.category[row].astype(np.int64), len(catalogue.nodes)
        has_category = np.flatnonzero(catalogue.nodes[category] >= 0)
        entries, first = np.unique(user[has_category] * category_count + category[has_category], return_index=True)
        owner, entry_index = entries // category_count, has_category[first]
        start = events.starts[owner]
        # With an order, the user's first event must be of another category; without one, the user must have another category.
        has_history = category[start] != entries % category_count if ordered else np.bincount(owner, minlength=len(events.users))[owner] > 1
        owner, entries, entry_index, start = owner[has_history], entries[has_history], entry_index[has_history], start[has_history]
        code = entries % category_count
        end = events.starts[owner + 1]
        histories = _spans(start, entry_index if ordered else end, row).of_category(code, category, other=True)
        targets = _spans(start, end, row).of_category(code, category)
        count = len(owner)
        return cls(
            owner,
            code,
            histories.distinct_items(count).newest(max_history),
            targets.distinct_items(count),
            _spans(start, end, row).distinct_items(count),
        )

    def __len__(self) -> int:
        return len(self.user)

    def subset(self, indices: NDArray[np.int64]) -> CategoryEntryExamples:
        """Return the examples with these indices."""
        arrays = (array.part(indices) for array in (self.histories, self.targets, self.items))
        return CategoryEntryExamples(self.user[indices], self.category[indices], *arrays)


@dataclass(frozen=True)
class EventSpans:
    """Events selected for each of several owners.

    Attributes:
        owner: (selected,) owner of each selected event, ascending.
        position: (selected,) index of the event.
        row: (events,) item row of every event.
    """

    owner: NDArray[np.int64]
    position: NDArray[np.int64]
    row: NDArray[np.int64]

    def of_category(self, code: NDArray[np.int64], category: NDArray[np.int64], *, other: bool = False) -> EventSpans:
        """Return the events of their owner's category, or those of other categories.

        Args:
            code: (owners,) category codes.
            category: (events,) category codes.
            other: Whether to return those of other categories.
        """
        kept = (category[self.position] == code[self.owner]) != other
        return EventSpans(self.owner[kept], self.position[kept], self.row)

    def distinct_items(self, owners: int) -> RaggedArray:
        """Return the distinct item rows of each owner, each at its latest position."""
        owner, position = self.owner[::-1], self.position[::-1]  # newest first, so np.unique finds the latest position
        _, latest = np.unique((owner << 32) | self.row[position], return_index=True)
        latest = np.sort(len(owner) - 1 - latest)
        starts = np.searchsorted(self.owner[latest], np.arange(owners + 1))
        return RaggedArray(starts.astype(np.int64), self.row[self.position[latest]].astype(np.int32))


def _spans(start: NDArray[np.int64], end: NDArray[np.int64], row: NDArray[np.int64]) -> EventSpans:
    """The events from `start` to `end` of each owner."""
    lengths = end - start
    owner = np.repeat(np.arange(len(start)), lengths)
    offset = np.cumsum(lengths) - lengths
    return EventSpans(owner, np.arange(int(lengths.sum())) - np.repeat(offset, lengths) + np.repeat(start, lengths), row)


@dataclass(frozen=True)
class TargetLeakEdges:
    """What an example's own user contributes to the links between its history and its targets; training subtracts it.

    Attributes:
        example: (pairs,) example of each pair of a history item and a target.
        entry: (pairs,) index of the history item among the entries of all histories.
        target: (pairs,) index of the target among the entries of all targets.
        first: (pairs,) row of the history item.
        later: (pairs,) row of the target.
        shared: (pairs,) contribution of the user to the common users of the pair.
        succeeded: (pairs,) contribution of the user to those who had `later` soon after `first`.
        together, follows: (pairs,) the same as parts of the entries of `ItemLinks`, 0 where there is no link.
    """

    example: NDArray[np.int64]
    entry: NDArray[np.int64]
    target: NDArray[np.int64]
    first: NDArray[np.int64]
    later: NDArray[np.int64]
    shared: NDArray[np.float32]
    succeeded: NDArray[np.float32]
    together: NDArray[np.float32]
    follows: NDArray[np.float32]

    @classmethod
    def from_examples(cls, examples: CategoryEntryExamples, edges: UserItemEdges, links: ItemLinks) -> TargetLeakEdges:
        """Return the contributions of the examples' users to the links."""
        histories, targets = examples.histories, examples.targets
        pair_counts = histories.lengths * targets.lengths
        example = np.repeat(np.arange(len(examples)), pair_counts)
        within = np.arange(int(pair_counts.sum())) - np.repeat(np.cumsum(pair_counts) - pair_counts, pair_counts)
        entry = histories.starts[example] + within // targets.lengths[example]
        target = targets.starts[example] + within % targets.lengths[example]
        first, later = histories.rows[entry].astype(np.int64), targets.rows[target].astype(np.int64)
        user = examples.user[example]
        shared = entries_at(edges.matrix, user, first) * entries_at(edges.matrix, user, later)
        ones = np.ones(len(edges.successions), dtype=np.float32)
        succeeded = lookup(edges.successions, ones, edges.succession_keys(user, first, later))
        together = shared / np.sqrt(np.maximum(links.user_weights[first] * links.user_weights[later], 1e-9))
        together = np.minimum(together, entries_at(links.together, first, later))
        follows = np.minimum(succeeded / (links.user_weights[first] + links.shrinkage), entries_at(links.follows, first, later))
        return cls(example, entry, target, first, later, shared, succeeded, together, follows)

    def edge_weights(self, pairs: NDArray[np.int64], items: int) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Return what some of the pairs contribute to the typed edges, as `sample_layers` subtracts it.

        Args:
            pairs: Indices of pairs.
            items: Number of items.

        Returns:
            Type of edge to ascending keys (reached item * items + source item) and the weights to subtract.
        """
        first, later = self.first[pairs], self.later[pairs]
        forward, backward = first * items + later, later * items + first
        return {
            TOGETHER: _sum_by_key(np.concatenate([forward, backward]), np.tile(self.shared[pairs], 2)),
            BEFORE: _sum_by_key(backward, self.succeeded[pairs]),
            AFTER: _sum_by_key(forward, self.succeeded[pairs]),
        }


def _sum_by_key(keys: NDArray[np.int64], amounts: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Distinct keys, ascending, and the sum of the amounts of each."""
    distinct, index = np.unique(keys, return_inverse=True)
    return distinct, np.bincount(index, weights=amounts, minlength=len(distinct)).astype(np.float32)
