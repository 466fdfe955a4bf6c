"""A snapshot without what is held out, as the baselines and as the product's own channels want it.

Nothing of the workspace's own associations or counts is used: they know the test. Only the vectors of item texts are the workspace's, which
no shopper's doing went into; reviews of what is held out are left out of the search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...retrieval.associations.rules import Associations, table, tally
from ...retrieval.associations.user_weights import weights
from ...retrieval.channels import behavioural
from ...retrieval.channels.text_similarity import Alike, Likeness
from ...retrieval.index.vector_index import REVIEWS, VectorIndex
from ...retrieval.items.catalogue import Catalogue
from ...retrieval.items.interactions import NEVER, Events
from ...retrieval.items.ragged import Runs
from ...retrieval.items.texts import review_ids
from ...retrieval.retriever import Retriever
from .training_data import TrainingData

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ...data.splits import HeldOut
    from ...data.workspace import Workspace
    from ...retrieval.channels.base import Channel


@dataclass(frozen=True)
class TrainingView:
    """What may be known.

    Attributes:
        interactions, reviews: those that are not held out. catalogue: of all items, its counts of these interactions alone.
        vectors: (items, dimensions) of the items' texts. withheld: ids of the reviews that are held out. window: as `Moments` has it.
        alike: which items read alike, which whoever is held out has no part in; the folds of a training look it up together.
    """

    interactions: pl.DataFrame
    reviews: pl.DataFrame
    catalogue: Catalogue
    vectors: NDArray[np.float32]
    index: VectorIndex
    withheld_reviews: frozenset[str]
    window: int | None
    text_neighbours: Alike

    @classmethod
    def from_workspace(
        cls, workspace: Workspace, held_out: HeldOut, index: VectorIndex, vectors: NDArray[np.float32], alike: Alike | None = None
    ) -> TrainingView:
        """The workspace's snapshot without what is held out."""
        interactions = held_out.known(workspace.table("interactions"))
        reviews = workspace.table("reviews").with_columns(review_ids(workspace.table("reviews")))
        kept = held_out.known(reviews)
        about = (workspace.manifest.index or {}).get("associations") or {}
        catalogue = Catalogue.build(workspace.table("items"), interactions, workspace.manifest.category_level)
        events = Events.build(interactions, catalogue)
        window = about["window"] * events.unit if about.get("order") == events.order else None
        withheld = frozenset(reviews["review_id"].to_list()) - frozenset(kept["review_id"].to_list())
        return cls(interactions, kept, catalogue, vectors, index, withheld, window, alike or Alike(vectors))

    @cached_property
    def events(self) -> Events:
        """The known events."""
        return Events.build(self.interactions, self.catalogue)

    @cached_property
    def training_data(self) -> TrainingData:
        """What a baseline is fitted to."""
        events = self.events
        return TrainingData(
            histories=Runs(events.starts, events.row),
            timestamps=None if events.order != "time" else np.where(events.time == NEVER, events.time.min(initial=0), events.time),
            item_count=len(self.catalogue),
            category=self.catalogue.category,
            vectors=self.vectors,
        )

    @cached_property
    def associations(self) -> Associations:
        """What goes with what, counted anew."""
        tallies = tally(self.events, self.catalogue, weights(self.events), window=self.window)
        return Associations.load(table(tallies, self.catalogue.total_users), self.catalogue)

    @cached_property
    def full_catalogue_channels(self) -> dict[str, Channel]:
        """The channels that say something of every item, counted anew."""
        return {**behavioural.count(self.events, len(self.catalogue), self.text_neighbours), "semantic": Likeness(self.vectors)}

    @cached_property
    def retriever(self) -> Retriever:
        """The product's channels, knowing only this."""
        return self.with_channels({})

    def with_channels(self, further: Mapping[str, Channel]) -> Retriever:
        """The product's channels and further ones, which must not know more than this."""
        return Retriever(self.catalogue, _FilteredIndex(self.index, self.withheld_reviews), self.associations, further)


class _FilteredIndex:
    """Vectors without some of the reviews."""

    def __init__(self, index: VectorIndex, withheld: frozenset[str]) -> None:
        self._index, self._withheld = index, withheld

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        return self._index.vectors(name, ids)

    def nearest(
        self,
        name: str,
        vectors: NDArray[np.float32],
        wanted: Callable[[int, list[str]], Sequence[bool]],
        n: int,
        *,
        rounds: int | None = None,
    ) -> list[list[tuple[str, float]]]:
        if name != REVIEWS or not self._withheld:
            return self._index.nearest(name, vectors, wanted, n, rounds=rounds)

        def may(query: int, ids: list[str]) -> Sequence[bool]:
            return [ok and key not in self._withheld for key, ok in zip(ids, wanted(query, ids), strict=True)]

        return self._index.nearest(name, vectors, may, n, rounds=rounds)
