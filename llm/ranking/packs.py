"""Packs: a prefix and the candidates that follow it, as token ids, and as rows of a batch with blocks and positions.

Knows nothing of models, shoppers or items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import ModelError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

SOFT_TOKEN = -1
"""Id of a soft token: a vector from the model's projector in place of an embedding."""


@dataclass(frozen=True, slots=True)
class SoftInputs:
    """Numbers that the model's projector maps to the soft tokens of a pack: one in the prefix, and one in each candidate.

    Attributes:
        history: (history size,) float32.
        candidates: (candidates, candidate size) float32.
    """

    history: NDArray[np.float32]
    candidates: NDArray[np.float32]

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> SoftInputs:
        """Return the numbers of some candidates."""
        return SoftInputs(self.history, self.candidates[np.asarray(indices, dtype=np.int64)])


@dataclass(frozen=True, slots=True)
class Pack:
    """A prefix and the candidates that follow it.

    Attributes:
        prefix: Token ids; `SOFT_TOKEN` for a soft token.
        candidates: Token ids of each candidate.
        soft: What the soft tokens are made from; None if there are none.
    """

    prefix: Sequence[int]
    candidates: Sequence[Sequence[int]]
    soft: SoftInputs | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return len(self.prefix) + sum(map(len, self.candidates))

    def take(self, indices: Sequence[int]) -> Pack:
        """Return the pack of some candidates."""
        soft = None if self.soft is None else self.soft.take(indices)
        return Pack(self.prefix, [self.candidates[index] for index in indices], soft)


@dataclass(frozen=True, slots=True)
class Row:
    """One pack as a row of a batch.

    Attributes:
        ids: Token ids (length,).
        block: Number of the block of each token (length,), 0 for the prefix.
        position: Position id of each token (length,).
        last: Index of the last token of each candidate (candidates,).
        vectors: Embeddings of the soft tokens, in their order (soft tokens, hidden); None if there are none.
    """

    ids: list[int]
    block: torch.Tensor
    position: torch.Tensor
    last: torch.Tensor
    vectors: torch.Tensor | None

    @classmethod
    def from_pack(cls, pack: Pack, vectors: torch.Tensor | None = None) -> Row:
        """Return the row of a pack. Args: vectors: embeddings of its soft tokens."""
        import torch

        prefix, candidates = pack.prefix, pack.candidates
        lengths = [len(prefix), *map(len, candidates)]
        return cls(
            [*prefix, *(token for candidate in candidates for token in candidate)],
            torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)),
            torch.cat([torch.arange(len(prefix)), *(torch.arange(len(prefix), len(prefix) + n) for n in lengths[1:])]),
            torch.tensor(lengths).cumsum(0)[1:] - 1,
            vectors,
        )

    def split(self, length: int) -> tuple[Row, Row]:
        """Return the rows of the prefix and of the candidates. Args: length: tokens of the prefix."""
        soft = self.ids[:length].count(SOFT_TOKEN)
        first, second = (None, None) if self.vectors is None else (self.vectors[:soft], self.vectors[soft:])
        prefix = Row(self.ids[:length], self.block[:length], self.position[:length], self.last[:0], first)
        return prefix, Row(self.ids[length:], self.block[length:], self.position[length:], self.last - length, second)

    def padded(self, values: torch.Tensor, length: int) -> torch.Tensor:
        """Return the values extended to `length` by counting on from the last one, so that each padding token attends only to itself."""
        import torch

        more = torch.arange(1, length - len(values) + 1)
        return torch.cat([values, values[-1] + more])


def split_into_packs(prefix: int, lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Return the indices of the candidates in each pack, in their order.

    Args:
        prefix: Number of tokens of the prefix.
        lengths: Number of tokens of each candidate.
        limit: Maximum number of tokens of a pack, prefix included.

    Raises:
        ModelError: One candidate does not fit even alone.
    """
    packs: list[list[int]] = []
    remaining = 0
    for i, length in enumerate(lengths):
        if prefix + length > limit:
            raise ModelError(
                f"a prompt of {prefix + length} tokens does not fit the maximum of {limit} tokens; use a shorter history or text"
            )
        if not packs or length > remaining:
            packs.append([])
            remaining = limit - prefix
        packs[-1].append(i)
        remaining -= length
    return packs
