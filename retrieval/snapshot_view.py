"""A snapshot, or the part of it that is not held out, as channels are trained on it and loaded for it (see `ChannelTrainingView`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from .channels.base import ServedItems
from .items.interactions import Events

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from ..data.workspace import Workspace
    from .items.catalogue import Catalogue


@dataclass(frozen=True)
class SnapshotView:
    """Interactions of a snapshot with the catalogue and its vectors.

    Attributes:
        workspace: Workspace of the snapshot.
        interactions: The interactions, by user, oldest first.
        catalogue: All items, those of the snapshot first, with counts of these interactions.
        vectors: (items, dimensions) text embeddings of the items.
    """

    workspace: Workspace
    interactions: pl.DataFrame
    catalogue: Catalogue
    vectors: NDArray[np.float32]

    @property
    def relations(self) -> pl.DataFrame | None:
        """The store's declared relations between items; None without any."""
        relations = self.workspace.table("relations")
        return relations if len(relations) else None

    @cached_property
    def events(self) -> Events:
        """Events of the interactions."""
        return Events.build(self.interactions, self.catalogue)

    @cached_property
    def served_items(self) -> ServedItems:
        """The items that a channel loaded for this view scores."""
        return ServedItems(self.catalogue.ids, self.vectors, self.workspace.manifest.snapshot, len(self.workspace.table("items")))
