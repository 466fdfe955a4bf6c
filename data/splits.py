"""Who and what is held out of a snapshot, so that what is trained and what is tested on never meet.

A user's part hangs on the user's id and the seed alone: a snapshot that grows moves nobody from the tested to the trained ones, and a
training and an evaluation that name the same `Split` agree without handing lists around.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

Protocol = Literal["users", "leave-one-out", "temporal", "cases"]
PROTOCOLS: tuple[Protocol, ...] = ("users", "leave-one-out", "temporal")
Part = Literal["validation", "test"]


@dataclass(frozen=True, slots=True)
class Split:
    """How a snapshot is parted.

    Attributes:
        protocol: `users` (whole users are held out), `leave-one-out` (everybody's last interaction), `temporal` (all after a moment),
            `cases` (the users whom a file names).
        seed: of all that is drawn, ties in time included.
        test, validation: shares of the users, for `users`.
        moment, validation_moment: milliseconds since 1970, for `temporal`; what happens then or later is held out.
    """

    protocol: Protocol = "users"
    seed: int = 0
    test: float = 0.1
    validation: float = 0.1
    moment: int | None = None
    validation_moment: int | None = None

    def with_(self, **given: Any) -> Split:
        """A copy with some values replaced."""
        return replace(self, **given)

    def to_dict(self) -> dict[str, Any]:
        """The split as JSON holds it."""
        return asdict(self)

    def users(self, user_ids: Iterable[str], part: Part) -> NDArray[np.bool_]:
        """(users,) which are in a part, by `hash_uniforms`."""
        drawn = hash_uniforms(user_ids, self.seed)
        return drawn < self.test if part == "test" else (drawn >= self.test) & (drawn < self.test + self.validation)


def hash_uniforms(keys: Iterable[str], seed: int) -> NDArray[np.float64]:
    """(keys,) a number in [0, 1) for each key, the same whichever other keys there are, on every machine."""
    salt = hashlib.blake2b(str(seed).encode(), digest_size=8).digest()
    found = b"".join(hashlib.blake2b(key.encode(), digest_size=8, key=salt).digest() for key in keys)
    return (np.frombuffer(found, dtype="<u8") >> np.uint64(11)).astype(np.float64) / 2**53


@dataclass(frozen=True)
class HeldOut:
    """What a training must not see.

    Attributes:
        users: ids of users held out whole. pairs: (user_id, item_id), of any kind and time. moment: from when on nothing is known.
    """

    users: frozenset[str] = frozenset()
    pairs: pl.DataFrame | None = field(default=None)
    moment: int | None = None

    def training_rows(self, events: pl.DataFrame) -> pl.DataFrame:
        """The rows of interactions or reviews that may be trained on, in their order.

        Args: events: with columns user_id and item_id, and timestamp where there is a moment; a row without a time is older than all.
        """
        import polars as pl

        kept = events
        if self.users:
            kept = kept.filter(~pl.col("user_id").is_in(sorted(self.users)))
        if self.pairs is not None and len(self.pairs):
            pairs = self.pairs.select("user_id", "item_id").unique()
            kept = kept.join(pairs, on=["user_id", "item_id"], how="anti", maintain_order="left")
        if self.moment is not None:
            kept = kept.filter(pl.col("timestamp").fill_null(self.moment - 1) < self.moment)
        return kept

    def to_dict(self) -> Mapping[str, Any]:
        """How much is held out, as a card or a report tells it; no ids."""
        return {"users": len(self.users), "pairs": 0 if self.pairs is None else len(self.pairs), "moment": self.moment}
