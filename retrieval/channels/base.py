"""What a channel is asked and what it answers: seeds in, a score for every item out. Knows no channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ChannelScores = tuple["NDArray[np.float32]", "NDArray[np.int64]"]
"""(items,) scores, 0 where nothing points; (items,) the place in the history of the item that says most, -1 where nothing points."""


@dataclass(frozen=True)
class CandidateQuery:
    """What candidates are looked for from.

    Attributes:
        rows: (history,) item rows, distinct, most recent last. weights: (history,) how much each counts, above 0.
        texts: (texts, dimensions) unit vectors of what the shopper said; may be empty.
        likings: (history,) the weights before older items were made to count less; None is 1 each.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    text_vectors: NDArray[np.float32]
    undecayed: NDArray[np.float64] | None = None

    @property
    def undecayed_weights(self) -> NDArray[np.float64]:
        """(history,) what was done with each item, however long ago, above 0."""
        return np.ones(len(self.rows)) if self.undecayed is None else self.undecayed


class Channel(Protocol):
    """What scores every item for a history."""

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """How strongly a history points at each item, and from where."""


class CachedChannel:
    """A channel that keeps its last answer: whoever takes candidates of one history in several ways asks it once."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._query: CandidateQuery | None = None
        self._scores: NDArray[np.float32]
        self._anchors: NDArray[np.int64] | None = None  # of a channel that tells them with the scores

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """As the channel has it."""
        values = self.item_scores(query)
        return values, self.channel.scores(query)[1] if self._anchors is None else self._anchors

    def item_scores(self, query: CandidateQuery) -> NDArray[np.float32]:
        """(items,) the scores alone."""
        if self._query is not query:
            told = (self.channel.item_scores(query), None) if isinstance(self.channel, LazyAnchorChannel) else self.channel.scores(query)
            self._query, (self._scores, self._anchors) = query, told
        return self._scores

    def anchors(self, query: CandidateQuery, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) the places of some items."""
        if isinstance(self.channel, LazyAnchorChannel):
            return self.channel.anchors(query, rows)
        return self.scores(query)[1][rows]


@runtime_checkable
class LazyAnchorChannel(Channel, Protocol):
    """A channel to which telling from where costs more than the scores, and that tells it later, of some items only."""

    def item_scores(self, query: CandidateQuery) -> NDArray[np.float32]:
        """(items,) the scores alone."""

    def anchors(self, query: CandidateQuery, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) the places of some items."""
