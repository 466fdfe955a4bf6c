"""Users whom a file names, held out of a training in addition to its split, and their entry in the model cards.

A card must prove that a user was held out without naming anyone. It therefore stores a salted hash of each id, so that an evaluation can
look up its own users, also those of a part of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cases import load_users
from .protocols import held_out_for_file

if TYPE_CHECKING:
    from ...data.workspace import Workspace

CARD_KEY = "held_out_users"
"""Entry of a model card; None, or missing in cards of former versions, if no file was given."""
HASH_LENGTH = 16
"""Hexadecimal digits stored of each SHA-256, 64 bits: a chance match has a probability of 1e-12 with ten million users."""


@dataclass(frozen=True, slots=True)
class UserFile:
    """Users to hold out, from a file.

    Attributes:
        path: The file.
        named: Number of users that it names.
        known: Users of the file that the workspace knows, by interactions or reviews.
    """

    path: Path
    named: int
    known: frozenset[str]

    @classmethod
    def load(cls, path: Path, workspace: Workspace) -> UserFile:
        """Read a file of cases or of other JSON objects with a `user_id`, one a line.

        Raises:
            FormatError: The file cannot be read, or a line has no `user_id`.
            QueryError: The file names no users.
        """
        users = load_users(path)
        return cls(path, len(users), held_out_for_file(users, workspace).users)

    def summary(self) -> str:
        """Return one sentence about how many users are held out, for people."""
        if not self.known:
            return f"none of the {self.named:,} users of {self.path} is in the workspace, so nothing more is held out"
        others = self.named - len(self.known)
        return f"{len(self.known):,} of the {self.named:,} users of {self.path} are held out" + (
            f"; the other {others:,} are not in the workspace" if others else ""
        )

    def to_dict(self) -> dict[str, Any]:
        """The numbers of users and the summary, without ids."""
        return {"users": self.named, "held_out": len(self.known), "summary": self.summary()}


def card_entry(users: Iterable[str], snapshot: str) -> dict[str, Any] | None:
    """Return the card's entry for held-out users: their number and the sorted hashes of their ids; None without any.

    Args:
        users: User ids.
        snapshot: Snapshot of the workspace, the salt of the hashes.
    """
    hashes = sorted(user_hash(user, snapshot) for user in set(users))
    return {"users": len(hashes), "sha256": hashes} if hashes else None


def user_hash(user: str, snapshot: str) -> str:
    """Return the truncated SHA-256 of a user id, salted with the snapshot."""
    return hashlib.sha256(f"{snapshot}\0{user}".encode()).hexdigest()[:HASH_LENGTH]


def hashes_of_card(card: Mapping[str, Any]) -> frozenset[str]:
    """Return the hashes of the users that a card names as held out; none if it has no readable entry."""
    entry = card.get(CARD_KEY)
    hashes = entry.get("sha256") if isinstance(entry, Mapping) else None
    return frozenset(value for value in hashes if isinstance(value, str)) if isinstance(hashes, list) else frozenset()
