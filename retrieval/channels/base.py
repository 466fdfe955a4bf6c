"""Contracts of the channels: what a channel scores, and how a channel that learns is trained, stored and loaded.

A channel scores every item for a query and names the history item behind each score. This module knows no particular channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    from ..items.catalogue import Catalogue
    from ..items.interactions import Events

ChannelScores = tuple["NDArray[np.float32]", "NDArray[np.int64]"]
"""(items,) scores, 0 without evidence; (items,) anchors: index in the history of the item that contributes most, -1 for none."""
BUILTIN_CHANNELS = ("semantic", "associations", "popularity")
"""Channels of every retriever; stores with declared relations also have `relations`."""
Progress = Callable[[str, int, int], None]
"""Callback with the stage, the steps done and the number of steps."""


@dataclass(frozen=True)
class CandidateQuery:
    """What candidates are retrieved for: a weighted history and text vectors.

    Attributes:
        rows: (history,) distinct item rows, most recent last.
        weights: (history,) weights of the history items, above 0, decayed with age.
        text_vectors: (texts, dimensions) unit vectors of the shopper's texts; may be empty.
        undecayed: (history,) weights before the decay; None for 1 each.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    text_vectors: NDArray[np.float32]
    undecayed: NDArray[np.float64] | None = None

    @property
    def undecayed_weights(self) -> NDArray[np.float64]:
        """(history,) weights by kind of interaction, independent of age, above 0."""
        return np.ones(len(self.rows)) if self.undecayed is None else self.undecayed


# ---------------------------------------------------------------------- scoring


class Channel(Protocol):
    """Scores every item for a query."""

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return the scores of all items and their anchors."""


@runtime_checkable
class LazyAnchorChannel(Channel, Protocol):
    """A channel that computes anchors on demand, because they cost more than the scores."""

    def item_scores(self, query: CandidateQuery) -> NDArray[np.float32]:
        """(items,) scores without anchors."""

    def anchors(self, query: CandidateQuery, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) anchors of some items."""


class CachedChannel:
    """A channel with a cache of one query, for callers that take candidates of the same query several times."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._query: CandidateQuery | None = None
        self._scores: NDArray[np.float32]
        self._anchors: NDArray[np.int64] | None = None  # None for a channel with lazy anchors

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return the scores of all items and their anchors, as the wrapped channel computes them."""
        scores = self.item_scores(query)
        return scores, self.channel.scores(query)[1] if self._anchors is None else self._anchors

    def item_scores(self, query: CandidateQuery) -> NDArray[np.float32]:
        """(items,) scores without anchors."""
        if self._query is not query:
            if isinstance(self.channel, LazyAnchorChannel):
                self._scores, self._anchors = self.channel.item_scores(query), None
            else:
                self._scores, self._anchors = self.channel.scores(query)
            self._query = query
        return self._scores

    def anchors(self, query: CandidateQuery, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) anchors of some items."""
        if isinstance(self.channel, LazyAnchorChannel):
            return self.channel.anchors(query, rows)
        return self.scores(query)[1][rows]


class PaddedChannel:
    """A channel over the first items of a catalogue that has grown since: later items score 0 and have no anchor."""

    def __init__(self, channel: Channel, known: int, total: int) -> None:
        """Wrap a channel.

        Args:
            channel: Channel that scores the first `known` items.
            known: Number of items that the channel scores.
            total: Number of items in the catalogue.
        """
        self.known, self.total = known, total
        self._cached = CachedChannel(channel)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return the scores of all items and their anchors."""
        return self.item_scores(query), self.anchors(query, np.arange(self.total))

    def item_scores(self, query: CandidateQuery) -> NDArray[np.float32]:
        """(items,) scores without anchors, 0 for later items."""
        padded = np.zeros(self.total, np.float32)
        known_query, _ = self._known_part(query)
        if len(known_query.rows):
            padded[: self.known] = self._cached.item_scores(known_query)
        return padded

    def anchors(self, query: CandidateQuery, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) anchors of some items, -1 for later ones."""
        padded = np.full(len(rows), -1, dtype=np.int64)
        known_query, history_index = self._known_part(query)
        is_known = rows < self.known
        if len(known_query.rows) and is_known.any():
            anchors = self._cached.anchors(known_query, rows[is_known])
            padded[is_known] = np.where(anchors >= 0, history_index[anchors], -1)
        return padded

    def _known_part(self, query: CandidateQuery) -> tuple[CandidateQuery, NDArray[np.int64]]:
        """The query with the known part of its history, and the index of each of those items in the whole history."""
        index = np.flatnonzero(query.rows < self.known)
        undecayed = None if query.undecayed is None else query.undecayed[index]
        return CandidateQuery(query.rows[index], query.weights[index], query.text_vectors, undecayed), index


# ---------------------------------------------------------------------- training


class ChannelTrainingView(Protocol):
    """The data that a channel may be trained on: a snapshot, or the part of it that is not held out."""

    @property
    def interactions(self) -> pl.DataFrame:
        """Interactions of all kinds, by user, oldest first."""

    @property
    def relations(self) -> pl.DataFrame | None:
        """The store's declared relations between items; None without any."""

    @property
    def events(self) -> Events:
        """Events of those interactions that counts are made from."""

    @property
    def catalogue(self) -> Catalogue:
        """All items, with counts of these interactions."""

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(items, dimensions) text embeddings of the items, unit vectors; zero rows for items without a text."""


def _no_progress(stage: str, done: int, total: int) -> None:
    """Ignore the progress."""


@dataclass(frozen=True)
class TaughtPairs:
    """Pairs of items that a teacher, not the shoppers, says are needed together.

    Attributes:
        rows: (pairs, 2) item rows: what a person has, and what they need with it.
        about: Entries for the cards of the models that are trained on them: the teacher, and the hash of its labels.
    """

    rows: NDArray[np.int32]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class TrainingContext:
    """What all steps of one training run share.

    Attributes:
        seed: Random seed of the run.
        about: Entries of the cards about the data: snapshot and held-out split.
        configs: Channel name to its training configuration, where it is not the default one.
        trials: Channel name to the trials of its hyperparameter search, for its card.
        progress: Progress callback.
        taught: Pairs by a teacher, which the text heads learn in addition to the store's own; None for none.
    """

    seed: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    configs: Mapping[str, Any] = field(default_factory=dict)
    trials: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    progress: Progress = _no_progress
    taught: TaughtPairs | None = None

    def rng(self, *stream: int) -> np.random.Generator:
        """Return a generator of random numbers.

        Args:
            stream: Numbers that keep the random numbers of different steps independent.
        """
        return np.random.default_rng([self.seed, *stream] if stream else self.seed)


@dataclass(frozen=True)
class ServedItems:
    """The items that a loaded channel scores.

    Attributes:
        ids: (items,) item ids; those of the snapshot first, then those added since.
        vectors: (items, dimensions) their text embeddings.
        snapshot: Id of the snapshot.
        snapshot_size: Number of items of the snapshot.
    """

    ids: Sequence[str]
    vectors: NDArray[np.float32]
    snapshot: str | None
    snapshot_size: int


class TrainableChannel(Channel, Protocol):
    """A channel that is fitted to a training view and stored in a folder of the workspace.

    `fit` and `load` are the only ways to make one. A new channel needs a class with this protocol and an entry in
    `retrieval.trainable_channels.TRAINABLE_CHANNELS`; training, storage, loading and the blend's features follow from that.
    """

    name: ClassVar[str]
    """Name of the channel, and of its folder in the workspace."""

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Metrics of the training, as JSON values; empty if they were not loaded."""

    def __len__(self) -> int:
        """Return the number of items that the channel scores; it may score fewer than there are, those of its snapshot."""

    @classmethod
    def fit(cls, view: ChannelTrainingView, context: TrainingContext) -> Self:
        """Return the channel fitted to a view.

        Raises:
            TrainingError: There is too little data, or the training diverged.
        """

    def save(self, folder: Path) -> None:
        """Replace a folder with the channel and its `card.json`, atomically.

        Raises:
            StorageError: The folder cannot be written.
        """

    @classmethod
    def load(cls, folder: Path, items: ServedItems) -> Self:
        """Return the channel of a folder.

        Raises:
            StaleTrainingError: It was trained on another snapshot and cannot score this one.
            StaleIndexError, NotTrainedError: It was trained on another embedder's vectors, or cannot be read.
        """
