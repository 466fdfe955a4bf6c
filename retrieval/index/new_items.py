"""Items that came after a channel was trained, and how new items come to be found at all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import StaleIndexError, storing
from ...data.snapshots import added_items
from ..channels.base import CandidateQuery
from ..items.texts import item_texts
from .vector_index import ITEMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.records import Item
    from ...data.workspace import Workspace
    from ..channels.base import LazyAnchorChannel
    from .embedder import Embedder
    from .vector_index import VectorIndex


def add(workspace: Workspace, index: VectorIndex, embedder: Embedder, items: Sequence[Item], snapshot: str | None) -> tuple[int, int]:
    """Adds items to a workspace, or changes them, and embeds them into its index; returns how many are new and how many changed.

    A kill before the end leaves the items as they were, at most with vectors that belong to nobody and that the next `index` drops.

    Args: snapshot: that the index was opened for.
    Raises: WorkspaceBusyError: another process is writing. StaleIndexError: the workspace has another snapshot by now. StorageError.
    """
    import polars as pl

    with workspace.writing("the request"):
        if workspace.manifest.snapshot != snapshot:
            raise StaleIndexError(f"{workspace.path} has another snapshot since it was opened; open it again (start the service anew)")
        table = pl.DataFrame(
            {
                "title": [item.title for item in items],
                "category": [list(item.category) for item in items],
                "brand": [item.brand for item in items],
                "description": [item.description for item in items],
            },
            schema={"title": pl.String, "category": pl.List(pl.String), "brand": pl.String, "description": pl.String},
        )
        texts = item_texts(table).to_list()
        with storing(f"the index of {workspace.path}"):
            marks = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
            index.put(ITEMS, [item.item_id for item in items], embedder.encode(texts), marks)
        return added_items.put(workspace, items)


@dataclass(frozen=True)
class Before:
    """A channel that was trained when only the first `known` of `total` items were there: it says nothing of the others."""

    channel: LazyAnchorChannel
    known: int
    total: int

    def scores(self, seeds: CandidateQuery) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As the channel has it."""
        return self.item_scores(seeds), self.anchors(seeds, np.arange(self.total))

    def item_scores(self, seeds: CandidateQuery) -> NDArray[np.float32]:
        """(items,) the scores alone, 0 for what came later."""
        found = np.zeros(self.total, np.float32)
        past, _ = self._past(seeds)
        if len(past.rows):
            found[: self.known] = self.channel.item_scores(past)
        return found

    def anchors(self, seeds: CandidateQuery, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) the places of some items, -1 for what came later."""
        found = np.full(len(rows), -1, dtype=np.int64)
        past, place = self._past(seeds)
        old = rows < self.known
        if len(past.rows) and old.any():
            at = self.channel.anchors(past, rows[old])
            found[old] = np.where(at >= 0, place[at], -1)
        return found

    def _past(self, seeds: CandidateQuery) -> tuple[CandidateQuery, NDArray[np.int64]]:
        """The part of a history that the channel knows, and where each item of it stood."""
        place = np.flatnonzero(seeds.rows < self.known)
        likings = None if seeds.undecayed is None else seeds.undecayed[place]
        return CandidateQuery(seeds.rows[place], seeds.weights[place], seeds.text_vectors, likings), place
