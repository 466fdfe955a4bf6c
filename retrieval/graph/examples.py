"""What the graph is trained on: from what a user had before entering a category to what the user then had of it.

As the evaluation by users asks it. Knows nothing of models.
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
    """Examples by number.

    Attributes:
        user: (examples,) numbers. category: (examples,) code of the category that is entered.
        histories: distinct rows, oldest first, none of that category. targets: distinct rows of it. had: everything that the user had.
    """

    user: NDArray[np.int64]
    category: NDArray[np.int64]
    histories: RaggedArray
    targets: RaggedArray
    items: RaggedArray

    @classmethod
    def from_events(cls, events: Events, catalogue: Catalogue, max_history: int, rng: np.random.Generator) -> CategoryEntryExamples:
        """An example for each category that a user entered after another one; without an order, for each category of a user of several.

        Ties in time are in the order of the random numbers. Args: newest: distinct items of a history, at most.
        """
        ordered = events.order != "none"
        by_time = np.lexsort((rng.random(len(events)), events.time, events.user))
        user, row = events.user.astype(np.int64), events.row[by_time].astype(np.int64)
        category, categories = catalogue.category[row].astype(np.int64), len(catalogue.nodes)
        placed = np.flatnonzero(catalogue.nodes[category] >= 0)
        entered, first = np.unique(user[placed] * categories + category[placed], return_index=True)
        owner, position = entered // categories, placed[first]
        start = events.starts[owner]
        # In an order, something of another category came before; without one, there is another category.
        several = category[start] != entered % categories if ordered else np.bincount(owner, minlength=len(events.users))[owner] > 1
        owner, entered, position, start = owner[several], entered[several], position[several], start[several]
        code = entered % categories
        whole = (start, events.starts[owner + 1])
        histories = _spans(start, position if ordered else whole[1], row).of_category(code, category, other=True)
        targets = _spans(*whole, row).of_category(code, category)
        n = len(owner)
        return cls(
            owner, code, histories.distinct_items(n).newest(max_history), targets.distinct_items(n), _spans(*whole, row).distinct_items(n)
        )

    def __len__(self) -> int:
        return len(self.user)

    def subset(self, numbers: NDArray[np.int64]) -> CategoryEntryExamples:
        """Some of the examples."""
        runs = (one.part(numbers) for one in (self.histories, self.targets, self.items))
        return CategoryEntryExamples(self.user[numbers], self.category[numbers], *runs)


@dataclass(frozen=True)
class EventSpans:
    """Places in a list of events, by owner."""

    owner: NDArray[np.int64]
    position: NDArray[np.int64]
    row: NDArray[np.int64]

    def of_category(self, code: NDArray[np.int64], category: NDArray[np.int64], *, other: bool = False) -> EventSpans:
        """Those that are of their owner's category, or those that are not."""
        kept = (category[self.position] == code[self.owner]) != other
        return EventSpans(self.owner[kept], self.position[kept], self.row)

    def distinct_items(self, owners: int) -> RaggedArray:
        """Distinct rows by owner, each at its latest place."""
        owner, place = self.owner[::-1], self.position[::-1]  # newest first: np.unique then finds the latest place
        _, latest = np.unique((owner << 32) | self.row[place], return_index=True)
        latest = np.sort(len(owner) - 1 - latest)
        starts = np.searchsorted(self.owner[latest], np.arange(owners + 1))
        return RaggedArray(starts.astype(np.int64), self.row[self.position[latest]].astype(np.int32))


def _spans(start: NDArray[np.int64], end: NDArray[np.int64], row: NDArray[np.int64]) -> EventSpans:
    lengths = end - start
    owner = np.repeat(np.arange(len(start)), lengths)
    first = np.cumsum(lengths) - lengths
    return EventSpans(owner, np.arange(int(lengths.sum())) - np.repeat(first, lengths) + np.repeat(start, lengths), row)


@dataclass(frozen=True)
class TargetLeakEdges:
    """What the examples themselves put into the links: each (history item, target) of each example.

    Attributes:
        example, entry, target: (pairs,) number of the example, of the entry of all histories, of the entry of all targets.
        first, later: (pairs,) rows. shared, followed: (pairs,) what the user counts in the pair's shared users, and in those who had
            `later` shortly after `first`. together, follows: (pairs,) the same as parts of the entries of `ItemLinks`, 0 where it has none.
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
        """The pairs of some examples."""
        histories, targets = examples.histories, examples.targets
        many = histories.lengths * targets.lengths
        example = np.repeat(np.arange(len(examples)), many)
        within = np.arange(int(many.sum())) - np.repeat(np.cumsum(many) - many, many)
        entry = histories.starts[example] + within // targets.lengths[example]
        target = targets.starts[example] + within % targets.lengths[example]
        first, later = histories.rows[entry].astype(np.int64), targets.rows[target].astype(np.int64)
        user = examples.user[example]
        shared = entries_at(edges.matrix, user, first) * entries_at(edges.matrix, user, later)
        ones = np.ones(len(edges.successions), dtype=np.float32)
        followed = lookup(edges.successions, ones, edges.succession_keys(user, first, later))
        together = shared / np.sqrt(np.maximum(links.user_weights[first] * links.user_weights[later], 1e-9))
        together = np.minimum(together, entries_at(links.together, first, later))
        follows = np.minimum(followed / (links.user_weights[first] + links.shrinkage), entries_at(links.follows, first, later))
        return cls(example, entry, target, first, later, shared, followed, together, follows)

    def edge_weights(self, pairs: NDArray[np.int64], items: int) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """What some of the pairs put into the edges, as `hops` takes it off."""
        first, later = self.first[pairs], self.later[pairs]
        there, back = first * items + later, later * items + first  # reached * items + source
        both = np.concatenate([there, back])
        return {
            TOGETHER: _sum_by_key(both, np.tile(self.shared[pairs], 2)),
            BEFORE: _sum_by_key(back, self.succeeded[pairs]),
            AFTER: _sum_by_key(there, self.succeeded[pairs]),
        }


def _sum_by_key(keys: NDArray[np.int64], amounts: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    distinct, place = np.unique(keys, return_inverse=True)
    return distinct, np.bincount(place, weights=amounts, minlength=len(distinct)).astype(np.float32)
