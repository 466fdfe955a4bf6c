"""Data splits: which users and interactions are held out of training.

With the protocols of whole users (`users`, `whole-category`) a user's part depends only on the user id and the seed: no user moves from
test to training when the snapshot grows, and training and evaluation with the same `Split` agree without exchanging lists.
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

Protocol = Literal["users", "whole-category", "leave-one-out", "temporal", "cases"]
PROTOCOLS: tuple[Protocol, ...] = ("users", "whole-category", "leave-one-out", "temporal")
WHOLE_USER_PROTOCOLS: frozenset[Protocol] = frozenset({"users", "whole-category"})
"""Protocols that hold out whole users: the same ones for the same seed and shares."""
Part = Literal["validation", "test"]


@dataclass(frozen=True, slots=True)
class Split:
    """Parameters of a split.

    Attributes:
        protocol: `users` and `whole-category` (whole users are held out), `leave-one-out` (the last interaction of each user), `temporal`
            (all interactions from a time on), `cases` (the users listed in a file).
        seed: Random seed, also for ties in time.
        test: Share of test users, for `users` and `whole-category`.
        validation: Share of validation users, for `users` and `whole-category`.
        moment: Start of the test period in milliseconds since 1970, for `temporal`.
        validation_moment: Start of the validation period in milliseconds since 1970, for `temporal`.
    """

    protocol: Protocol = "users"
    seed: int = 0
    test: float = 0.1
    validation: float = 0.1
    moment: int | None = None
    validation_moment: int | None = None

    def with_(self, **changes: Any) -> Split:
        """A copy with some values replaced."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The split as a JSON-serializable dict."""
        return asdict(self)

    @property
    def holds_out_users(self) -> bool:
        """Whether whole users are held out, those of `users`."""
        return self.protocol in WHOLE_USER_PROTOCOLS

    def users(self, user_ids: Iterable[str], part: Part) -> NDArray[np.bool_]:
        """Mask of the users in a part, shape (users,)."""
        uniform = hash_uniforms(user_ids, self.seed)
        return uniform < self.test if part == "test" else (uniform >= self.test) & (uniform < self.test + self.validation)


def hash_uniforms(keys: Iterable[str], seed: int) -> NDArray[np.float64]:
    """Uniform number in [0, 1) for each key from a hash of seed and key, shape (keys,); independent of other keys and of the machine."""
    salt = hashlib.blake2b(str(seed).encode(), digest_size=8).digest()
    hashes = b"".join(hashlib.blake2b(key.encode(), digest_size=8, key=salt).digest() for key in keys)
    return (np.frombuffer(hashes, dtype="<u8") >> np.uint64(11)).astype(np.float64) / 2**53


@dataclass(frozen=True)
class HeldOut:
    """Data excluded from training.

    Attributes:
        users: Ids of users held out completely.
        pairs: Held-out (user_id, item_id) pairs, of any kind and time.
        moment: Milliseconds since 1970; all interactions from then on are held out.
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
        """Amount of held-out data for a card or a report, without ids."""
        return {"users": len(self.users), "pairs": 0 if self.pairs is None else len(self.pairs), "moment": self.moment}
