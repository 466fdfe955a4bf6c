"""The users' histories as runs of rows in one sorted array."""

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
    """One user's interactions, oldest first, columns as in `Histories`."""

    rows: NDArray[np.int64]
    owned: NDArray[np.bool_]
    bought: NDArray[np.bool_]
    kinds: NDArray[np.int8]
    times: NDArray[np.int64]


EMPTY_HISTORY = History(np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.bool_), np.empty(0, np.int8), np.empty(0, np.int64))
"""The history of somebody new."""


@dataclass(frozen=True)
class Histories:
    """Who had what, oldest first.

    Attributes:
        runs: user to the number of the user's run. starts: (users + 1,) where each run begins.
        rows: (interactions,) item rows. kinds: (interactions,) codes into `profile.KINDS`. times: (interactions,) milliseconds since 1970,
            `NEVER` unknown.
        owned: (interactions,) whether the user knows the item from use: bought or rated it. bought: (interactions,) bought it.
    """

    runs: dict[str, int]
    starts: NDArray[np.int64]
    rows: NDArray[np.int64]
    owned: NDArray[np.bool_]
    bought: NDArray[np.bool_]
    kinds: NDArray[np.int8]
    times: NDArray[np.int64]

    @classmethod
    def build(cls, interactions: pl.DataFrame, catalogue: Catalogue) -> Histories:
        """The histories of a snapshot's interactions, which are sorted by user and time."""
        import polars as pl

        joined = (
            interactions.lazy()
            .select("user_id", "item_id", "kind", "timestamp")
            .join(catalogue.row_table().lazy(), on="item_id", how="inner", maintain_order="left")
            .collect()
        )
        users = joined["user_id"]
        starts = users.ne_missing(users.shift(1)).arg_true().to_numpy().astype(np.int64)
        return cls(
            runs={user: run for run, user in enumerate(users.gather(starts).to_list())},
            starts=np.append(starts, len(users)),
            rows=joined["row"].to_numpy(),
            owned=joined["kind"].is_in(list(OWNING_KINDS)).to_numpy(),
            bought=(joined["kind"] == "purchase").to_numpy(),
            kinds=joined["kind"].replace_strict({kind: code for code, kind in enumerate(KINDS)}, return_dtype=pl.Int8).to_numpy(),
            times=joined["timestamp"].cast(pl.Int64).fill_null(NEVER).to_numpy(),
        )

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[str]:
        return iter(self.runs)

    def __contains__(self, user_id: str) -> bool:
        return user_id in self.runs

    def of(self, user_id: str) -> History:
        """A user's history; KeyError for a stranger."""
        run = slice(*self.starts[self.runs[user_id] : self.runs[user_id] + 2])
        return History(self.rows[run], self.owned[run], self.bought[run], self.kinds[run], self.times[run])
