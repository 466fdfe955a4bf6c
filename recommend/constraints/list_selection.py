"""From an order of candidates to the few that are shown: not all of one category, and places kept for what is new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...data.records import Query
    from ...retrieval.items.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Shortlist:
    """What may stand together in an answer."""

    catalogue: Catalogue
    query: Query

    def pick(self, order: Sequence[int]) -> list[int]:
        """The rows that are shown, of all candidates' rows best first; at most as many as the query asks for."""
        top = spread(order, self.catalogue, self.query.rules.max_per_category, self.query.k)
        if not self.query.new_items:
            return top
        return with_places(top, order, self.catalogue.users <= self.query.new_up_to, self.query.new_items, self.query.k)

    def missing(self, top: Sequence[int]) -> tuple[str, ...]:
        """What could not be kept, in words."""
        new = int((self.catalogue.users[list(top)] <= self.query.new_up_to).sum())
        if new >= self.query.new_items:
            return ()
        return (
            f"{new} of {self.query.new_items} new items: no other item that {who_had(self.query.new_up_to)} satisfies the rules "
            "and is like the history",
        )


def with_places(top: Sequence[int], order: Sequence[int], new: NDArray[np.bool_], places: int, k: int) -> list[int]:
    """A list with its last places given to the best new items; those that are in it already count.

    Args: top: rows that are shown. order: all candidates' rows, best first. new: (items,) which are new. places: to give, of `k`.
    """
    there = {row for row in top if new[row]}
    more = list(islice((row for row in order if new[row] and row not in there), max(0, places - len(there))))
    known = {*islice((row for row in top if row not in there), max(0, k - len(more) - len(there)))}
    return [*(row for row in top if row in there or row in known), *more]


def who_had(most: int) -> str:
    """Who had an item that is new, in words: `nobody had yet`, `at most 2 users had`."""
    return "nobody had yet" if not most else f"at most {most} user{'s' if most > 1 else ''} had"


def spread(order: Sequence[int], catalogue: Catalogue, most: int | None, k: int) -> list[int]:
    """The first `k` rows of an order, in that order, with at most `most` of one category.

    Without a `most` no category takes more than half of the list (two of five) as long as others can fill it: a list of five
    sofas answers one need.
    """
    picked = _at_most(order, catalogue, most or max(2, k // 2), k)
    if most is None and len(picked) < k:
        there = set(picked)
        picked += [row for row in order if row not in there][: k - len(picked)]
    place = {row: at for at, row in enumerate(order)}
    return sorted(picked, key=place.__getitem__)


def _at_most(order: Iterable[int], catalogue: Catalogue, most: int, k: int) -> list[int]:
    taken: dict[int, int] = {}
    picked: list[int] = []
    for row in order:
        if len(picked) == k:
            break
        code = int(catalogue.category[row])
        if taken.get(code, 0) < most:
            taken[code] = taken.get(code, 0) + 1
            picked.append(row)
    return picked
