"""The training view: a snapshot without its held-out data, for the baselines and for the product's own channels.

Associations and counts are recomputed, because those of the workspace include the test data. Only the item text vectors are taken from the
workspace, since no interaction went into them. Held-out reviews are excluded from the search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...retrieval.associations.rules import Associations, association_table, count_pairs
from ...retrieval.associations.user_weights import user_weights
from ...retrieval.channels import behavioural
from ...retrieval.channels.channel_configs import DEFAULT_CONFIGS, CountedConfig
from ...retrieval.channels.declared_relations import relation_channels
from ...retrieval.channels.text_similarity import TextNeighbors, TextSimilarity
from ...retrieval.index.vector_index import REVIEWS, VectorIndex
from ...retrieval.items.catalogue import Catalogue
from ...retrieval.items.interactions import NEVER, Events
from ...retrieval.items.ragged import RaggedArray
from ...retrieval.items.relations import DeclaredRelations
from ...retrieval.items.texts import review_ids
from ...retrieval.retriever import Retriever
from ...retrieval.snapshot_view import SnapshotView
from .training_data import TrainingData

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ...data.splits import HeldOut
    from ...data.workspace import Workspace
    from ...retrieval.channels.base import Channel


@dataclass(frozen=True)
class TrainingView(SnapshotView):
    """A snapshot without its held-out data: the interactions, and the counts of the catalogue, are those that are not held out.

    Attributes:
        held_out: The held-out data.
        reviews: Reviews that are not held out.
        index: Vector index of the workspace.
        withheld_reviews: Ids of the held-out reviews.
        window: Co-occurrence window of the workspace's associations, in units of event time; None for no window.
        text_neighbors: Nearest items by text. They do not depend on the held-out data, so all folds of a training share them.
    """

    held_out: HeldOut
    reviews: pl.DataFrame
    index: VectorIndex
    withheld_reviews: frozenset[str]
    window: int | None
    text_neighbors: TextNeighbors

    @classmethod
    def from_workspace(
        cls,
        workspace: Workspace,
        held_out: HeldOut,
        index: VectorIndex,
        vectors: NDArray[np.float32],
        text_neighbors: TextNeighbors | None = None,
    ) -> TrainingView:
        """Return the workspace's snapshot without the held-out data.

        Args:
            workspace: Indexed workspace.
            held_out: Data to hold out.
            index: Vector index of the workspace.
            vectors: (items, dimensions) text embeddings of the items.
            text_neighbors: Text neighbors to share with other views; None for new ones.
        """
        interactions = held_out.training_rows(workspace.table("interactions"))
        reviews = workspace.table("reviews").with_columns(review_ids(workspace.table("reviews")))
        known_reviews = held_out.training_rows(reviews)
        indexed = (workspace.manifest.index or {}).get("associations") or {}
        catalogue = Catalogue.build(workspace.table("items"), interactions, workspace.manifest.category_level, workspace.manifest.words)
        events = Events.build(interactions, catalogue)
        return cls(
            workspace=workspace,
            held_out=held_out,
            interactions=interactions,
            reviews=known_reviews,
            catalogue=catalogue,
            vectors=vectors,
            index=index,
            withheld_reviews=frozenset(reviews["review_id"].to_list()) - frozenset(known_reviews["review_id"].to_list()),
            window=indexed["window"] * events.unit if indexed.get("order") == events.order else None,
            text_neighbors=text_neighbors or TextNeighbors(vectors),
        )

    def without_users(self, users: frozenset[str]) -> TrainingView:
        """Return the view that holds out further users."""
        held_out = replace(self.held_out, users=self.held_out.users | users)
        return TrainingView.from_workspace(self.workspace, held_out, self.index, self.vectors, self.text_neighbors)

    @cached_property
    def training_data(self) -> TrainingData:
        """Training data of the baselines."""
        events = self.events
        return TrainingData(
            histories=RaggedArray(events.starts, events.row),
            timestamps=None if events.order != "time" else np.where(events.time == NEVER, events.time.min(initial=0), events.time),
            item_count=len(self.catalogue),
            category=self.catalogue.category,
            vectors=self.vectors,
        )

    @cached_property
    def associations(self) -> Associations:
        """Association rules counted from the events."""
        tallies = count_pairs(self.events, self.catalogue, user_weights(self.events), window=self.window)
        return Associations.load(association_table(tallies, self.catalogue.total_users), self.catalogue)

    def full_catalogue_channels(self, configs: Mapping[str, CountedConfig] = DEFAULT_CONFIGS) -> dict[str, Channel]:
        """Return the channels that score every item: behavioural ones counted from the events, text similarity, and relations if any.

        Args:
            configs: Configurations of the counted channels.
        """
        counted = behavioural.behavioural_channels(self.events, self.catalogue, self.text_neighbors, configs)
        return {**counted, "semantic": TextSimilarity(self.vectors), **self.relation_channels}

    @cached_property
    def relation_channels(self) -> dict[str, Channel]:
        """The channel of the declared relations by name; empty without any. It depends on no interactions."""
        return relation_channels(DeclaredRelations(self.workspace.table("relations"), self.catalogue))

    @cached_property
    def retriever(self) -> Retriever:
        """The product's untrained retriever over this view."""
        return self.with_channels(self.relation_channels)

    def with_channels(self, channels: Mapping[str, Channel]) -> Retriever:
        """Return the product's retriever with additional channels, which must be trained on this view only."""
        return Retriever(self.catalogue, _FilteredIndex(self.index, self.withheld_reviews), self.associations, channels)


class _FilteredIndex:
    """A vector index without some of the reviews."""

    def __init__(self, index: VectorIndex, withheld_reviews: frozenset[str]) -> None:
        self._index, self._withheld_reviews = index, withheld_reviews

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
        if name != REVIEWS or not self._withheld_reviews:
            return self._index.nearest(name, vectors, wanted, n, rounds=rounds)

        def allowed(query: int, ids: list[str]) -> Sequence[bool]:
            return [ok and key not in self._withheld_reviews for key, ok in zip(ids, wanted(query, ids), strict=True)]

        return self._index.nearest(name, vectors, allowed, n, rounds=rounds)
