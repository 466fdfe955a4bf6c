"""From an order of candidates to the few that are shown: not all of one category, and places kept for what is new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data.records import Query
    from ..retrieval.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Shortlist:
    """What may stand together in an answer."""

    catalogue: Catalogue
    query: Query

    def pick(self, order: Sequence[int]) -> list[int]:
        """The rows that are shown, of all candidates' rows best first; at most as many as the query asks for."""
        top = spread(order, self.catalogue, self.query.rules.max_per_category, self.query.k)
        return self._with_new(top, order) if self.query.new_items else top

    def _with_new(self, top: Sequence[int], order: Sequence[int]) -> list[int]:
        """The list with its last places given to the best items that nobody had yet; those that are in it already count."""
        users, query = self.catalogue.users, self.query
        there = {row for row in top if users[row] == 0}
        others = (row for row in order if users[row] == 0 and row not in there)
        more = list(islice(others, max(0, query.new_items - len(there))))
        known = [row for row in top if row not in there][: max(0, query.k - len(more) - len(there))]
        return [*(row for row in top if row in there or row in known), *more]

    def missing(self, top: Sequence[int]) -> tuple[str, ...]:
        """What could not be kept, in words."""
        new = int((self.catalogue.users[list(top)] == 0).sum())
        if new >= self.query.new_items:
            return ()
        return (
            f"{new} of {self.query.new_items} new items: no other item that nobody had yet satisfies the rules and is like the history",
        )


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
