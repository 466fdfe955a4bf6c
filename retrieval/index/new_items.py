"""Adding items to an indexed workspace: the item table and its vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...data.errors import StaleIndexError, storage_errors
from ...data.snapshots import added_items
from ..items.texts import item_texts
from .vector_index import ITEMS

if TYPE_CHECKING:
    from ...data.records import Item
    from ...data.workspace import Workspace
    from .embedder import Embedder
    from .vector_index import VectorIndex


def add(workspace: Workspace, index: VectorIndex, embedder: Embedder, items: Sequence[Item], snapshot: str | None) -> tuple[int, int]:
    """Add or change items of a workspace and embed them into its index; returns (added, changed).

    Killing the process leaves the items unchanged; leftover vectors are dropped by the next `index`.

    Args: snapshot: snapshot for which the index was opened.
    Raises:
        WorkspaceBusyError: another process is writing.
        StaleIndexError: the workspace has a newer snapshot.
        StorageError: the disk is full or not writable.
    """
    import polars as pl

    with workspace.writing("the request"):
        if workspace.manifest.snapshot != snapshot:
            raise StaleIndexError(f"{workspace.path} has a newer snapshot than the one opened; open it again (restart the service)")
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
        with storage_errors(f"the index of {workspace.path}"):
            hashes = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
            index.put(ITEMS, [item.item_id for item in items], embedder.encode(texts), hashes)
        return added_items.upsert(workspace, items)
