"""Histories of all users as ragged arrays: one array per column, sorted by user and time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.records import OWNING_KINDS
from ...retrieval.items.catalogue import Catalogue
from ...retrieval.items.interactions import NEVER
from .profile import KINDS

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class History:
    """Interactions of one user, oldest first; columns as in `Histories`."""

    rows: NDArray[np.int64]
    owned: NDArray[np.bool_]
    bought: NDArray[np.bool_]
    kinds: NDArray[np.int8]
    times: NDArray[np.int64]


EMPTY_HISTORY = History(np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.bool_), np.empty(0, np.int8), np.empty(0, np.int64))
"""History of a new user."""


@dataclass(frozen=True)
class Histories:
    """Interactions of all users, oldest first within each user.

    Attributes:
        user_index: user id to index.
        offsets: (users + 1,) first interaction of each user.
        rows: (interactions,) item rows.
        owned: (interactions,) bool, whether the user owns the item (a purchase or a rating).
        bought: (interactions,) bool, whether it is a purchase.
        kinds: (interactions,) codes into `profile.KINDS`.
        times: (interactions,) milliseconds since 1970, `NEVER` if unknown.
    """

    user_index: dict[str, int]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int64]
    owned: NDArray[np.bool_]
    bought: NDArray[np.bool_]
    kinds: NDArray[np.int8]
    times: NDArray[np.int64]

    @classmethod
    def build(cls, interactions: pl.DataFrame, catalogue: Catalogue) -> Histories:
        """Build the histories from a snapshot's interactions, which are sorted by user and time."""
        import polars as pl

        joined = (
            interactions.lazy()
            .select("user_id", "item_id", "kind", "timestamp")
            .join(catalogue.row_table().lazy(), on="item_id", how="inner", maintain_order="left")
            .collect()
        )
        users = joined["user_id"]
        offsets = users.ne_missing(users.shift(1)).arg_true().to_numpy().astype(np.int64)
        return cls(
            user_index={user: index for index, user in enumerate(users.gather(offsets).to_list())},
            offsets=np.append(offsets, len(users)),
            rows=joined["row"].to_numpy(),
            owned=joined["kind"].is_in(list(OWNING_KINDS)).to_numpy(),
            bought=(joined["kind"] == "purchase").to_numpy(),
            kinds=joined["kind"].replace_strict({kind: code for code, kind in enumerate(KINDS)}, return_dtype=pl.Int8).to_numpy(),
            times=joined["timestamp"].cast(pl.Int64).fill_null(NEVER).to_numpy(),
        )

    def __len__(self) -> int:
        return len(self.user_index)

    def __iter__(self) -> Iterator[str]:
        return iter(self.user_index)

    def __contains__(self, user_id: str) -> bool:
        return user_id in self.user_index

    def of(self, user_id: str) -> History:
        """Return the history of a user. Raises: KeyError: unknown user."""
        index = self.user_index[user_id]
        part = slice(*self.offsets[index : index + 2])
        return History(self.rows[part], self.owned[part], self.bought[part], self.kinds[part], self.times[part])
