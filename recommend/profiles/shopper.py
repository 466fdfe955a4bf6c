"""The shopper of a query: profile, owned, bought and dismissed items."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import EmptyHistoryError, QueryError
from ...retrieval.items.interactions import NEVER
from .profile import KINDS, Profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.records import Query
    from ...retrieval.items.catalogue import Catalogue
    from .histories import History
    from .profile import ItemAttributes

_PURCHASE = KINDS.index("purchase")


@dataclass(frozen=True, slots=True)
class Shopper:
    """Who a query is for.

    Attributes:
        profile: of the history and the query's items.
        owned: rows of the items that the shopper owns, ascending.
        bought: rows of the items that the shopper bought.
        dismissed: rows of the items that the shopper does not want to see.
    """

    profile: Profile
    owned: NDArray[np.int64]
    bought: frozenset[int]
    dismissed: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def rows(self) -> NDArray[np.int64]:
        """(items,) rows of the history, each once at its latest position, oldest first."""
        return self.profile.rows


def shopper_of_query(
    query: Query, history: History, dismissed: NDArray[np.int64], catalogue: Catalogue, item_attributes: ItemAttributes
) -> Shopper:
    """Return the shopper of a query: the history, then the query's items as purchases, without the excluded items.

    Args:
        query: its items and exclusions.
        history: of the user; empty without one.
        dismissed: rows of the items that the user dismissed.
        catalogue, item_attributes: the items.
    Raises:
        UnknownItemError: an item of the query is not in the catalogue.
        EmptyHistoryError: no history, items or text.
        QueryError: an excluded item is not in the history.
    """
    session = np.asarray([catalogue.row(item) for item in query.items], dtype=np.int64)
    rows = np.concatenate([history.rows, session])
    kinds = np.concatenate([history.kinds, np.full(len(session), _PURCHASE, np.int8)])
    times = np.concatenate([history.times, np.full(len(session), NEVER)])
    excluded = _excluded_rows(query, rows, catalogue)
    kept = ~np.isin(rows, excluded)
    profile = Profile(rows[kept], kinds[kept], times[kept], item_attributes)
    if not len(profile.rows) and not query.text:
        if len(excluded):
            raise EmptyHistoryError(f"nothing is left of the history without {', '.join(map(repr, query.without))}")
        raise EmptyHistoryError(f"user {query.user_id!r} has no history yet; give item ids (--items) or a text (--text)")
    owned = np.setdiff1d(np.concatenate([history.rows[history.owned], session]), excluded)
    bought = frozenset(history.rows[history.bought].tolist()) - set(excluded.tolist())
    return Shopper(profile, owned, bought, dismissed)


def _excluded_rows(query: Query, rows: NDArray[np.int64], catalogue: Catalogue) -> NDArray[np.int64]:
    """Return the rows of `query.without`. Args: rows: (interactions,) of the history and the query."""
    excluded = np.asarray([catalogue.row(item) for item in query.without], dtype=np.int64)
    absent = [item for item, row in zip(query.without, excluded.tolist(), strict=True) if row not in rows]
    if absent:
        raise QueryError(f"{absent[0]!r} is not in the history, so it cannot be excluded")
    return excluded
