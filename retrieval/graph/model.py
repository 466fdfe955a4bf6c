"""The trained graph model: scores items for histories from item vectors, category heads and direct links, with numpy and scipy only.

Users and items are the nodes of the graph. A user has no vector of its own: it is pooled from the history at query time, with weights by
age and learned attention, separately for each target category (head). An item's vectors come from its text and its neighbors. A score is
a sum of contributions of the history items; the largest one is the anchor. `trainer` trains the model, `storage` stores it. No rules,
channels or language models are known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..items.ragged import RaggedArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy import sparse

DECAY, MIN_WEIGHT = 0.7, 0.02
"""Weight of a history item relative to the next newer one, and the smallest weight, if only the order of a history is known."""
MAX_CELLS = 8_000_000
"""Contributions computed at once."""
SCALARS = ("gamma", "tau", "alpha_together", "alpha_follows", "epsilon_together", "epsilon_follows", "beta")
"""Learned scalars:

- `gamma`: exponent of a history item's weight in the attention.
- `tau`: log of the factor of the cosines.
- `alpha_*`, `epsilon_*`: a kind of link adds alpha * log(1 + votes / exp(epsilon)).
- `beta`: factor of the log of the item's users.
"""
LINKS = ("together", "follows")
"""Kinds of direct links, as in `ItemLinks`."""
SHARPNESS = {"time": (0.25, 0.6), "position": (0.25, 0.6), "none": (0.1, 0.1)}
"""Exponents of a history item's weight in its votes by kind of link, for each order of the events: common users are evidence for old
history items, too, successions mostly for the newest, and without an order age has no meaning."""


@dataclass(frozen=True, slots=True)
class GraphConfig:
    """Configuration of the graph and its training."""

    convolution: Literal["normalised", "attention"] = "normalised"
    """Convolution: symmetrically normalized weighted sums over neighbors, or GATv2."""
    size: int = 64
    """Dimensions of the vectors, a multiple of 4."""
    layers: int = 1
    """Number of convolutions; 0 uses texts alone."""
    neighbours: int = 10
    """Edges of each type into an item, those with the largest normalized weight."""
    drawn: int = 20
    """Edges sampled into a node in a training step."""
    partners: int = 200
    """Direct links of an item, of each kind."""
    window: int = 3
    """Number of later events that succeed an event."""
    shrinkage: float = 20.0
    """Users that the share of successions is damped by."""
    direct: bool = True
    """Whether direct links add to the scores."""
    few: int = 50
    """Training examples below which a target category uses the shared head."""
    history: int = 50
    """Largest number of history items of an example, the newest."""
    batch: int = 128
    """Examples of a training step."""
    negatives: int = 2048
    """Expected number of sampled negatives of a step; a smaller catalogue is used as a whole."""
    hard: int = 30
    """Items with the largest votes of direct links, which are always negatives of an example."""
    examples: int = 10_000
    """Largest number of examples of an epoch, sampled for each."""
    epochs: int = 12
    """Largest number of epochs."""
    patience: int = 3
    """Epochs without a better validation NDCG@10 after which training ends."""
    rate: float = 1e-3
    """Learning rate."""
    decay: float = 0.01
    """Weight decay."""
    dropout: float = 0.2
    """Dropout of the convolutions' output."""
    bare: float = 0.2
    """Share of the items without neighbors in a training step, as new items are."""
    alone: float = 0.2
    """Share of a step's examples without direct links, so that the vectors alone learn to rank."""
    across: float = 0.5
    """Share of the loss that ranks over all new categories; the rest ranks within the target's category."""
    seed: int = 0
    """Random seed."""


@dataclass(frozen=True)
class GraphModel:
    """A trained graph.

    Attributes:
        arrays: Parameters by name.
            target, history: (items, size) unit vectors of items as targets and as parts of a history.
            turn: (heads, size, size) linear map that a head adds to a user's vector.
            keys: (heads + 1, size) attention keys; the last one is for predicting categories.
            category, category_bias: (categories, size) and (categories,) parameters of the category prediction.
            head: (categories,) head of each category.
            item_category, users: (items,) category code and number of users.
            scalars: See `SCALARS`.
            sharpness: See `SHARPNESS`.
            together_values, together_partners, together_starts, and the same for follows: Direct links in csr format.
        config: Configuration.
        card: Dimensions of the embeddings, metrics of the training, and entries about the data.
    """

    arrays: Mapping[str, NDArray[Any]]
    config: GraphConfig
    card: Mapping[str, Any]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.arrays["target"])

    # ------------------------------------------------------------------ one history

    def scores(self, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the scores of all items for a weighted history, and their anchors.

        The order of the history has no effect if the weights are permuted with it.

        Args:
            rows: (history,) distinct item rows.
            weights: (history,) weights above 0.

        Returns:
            (items,) logits of any sign, comparable within one history only; (items,) int64 indices into `rows`, -1 where no history item
            contributes.
        """
        history = _single(rows)
        return self.scores_of(history, weights)[0], self._anchors(history, weights)

    def anchors(self, rows: NDArray[np.int64], weights: NDArray[np.float64], items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (items,) the anchors of some items, as `scores` does for all.

        Args:
            rows: (history,) distinct item rows.
            weights: (history,) weights above 0.
            items: Rows of the items.
        """
        return self._anchors(_single(rows), weights, items)

    def attention(self, rows: NDArray[np.int64], weights: NDArray[np.float64], category: int | None = None) -> NDArray[np.float32]:
        """Return (history,) the attention of each history item, which sums to 1.

        Args:
            rows: (history,) distinct item rows.
            weights: (history,) weights above 0.
            category: Code of the target category; None for the prediction of categories.
        """
        shares = self._attention(_single(rows), weights)
        return shares[:, -1 if category is None else self.arrays["head"][category]]

    # ------------------------------------------------------------------ many histories

    def scores_of(self, histories: RaggedArray, weights: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Return (cases, items) scores as in `scores`.

        Args:
            histories: (cases,) item rows, oldest first.
            weights: (entries,) weights above 0; None for weights by age.
        """
        arrays, weights = self.arrays, age_weights(histories) if weights is None else weights
        shares, vectors = self._attention(histories, weights), self.history[histories.rows]
        log_users = np.log1p(arrays["users"])
        scores = np.empty((len(histories), len(self)), dtype=np.float32)
        for head, items in enumerate(self._items_by_head):
            user = _pooled(histories, shares[:, head], vectors)  # (cases, size)
            scores[:, items] = np.exp(self.scalar["tau"]) * (user + user @ arrays["turn"][head].T) @ self.target[items].T
        category_scores = _pooled(histories, shares[:, -1], vectors) @ arrays["category"].T + arrays["category_bias"]  # (cases, categories)
        scores += category_scores[:, arrays["item_category"]] + self.scalar["beta"] * log_users
        for name, sharpness, pairs in self.links:
            votes = histories.matrix(len(self), link_weights(histories, weights, sharpness)) @ pairs
            scores += self.scalar[f"alpha_{name}"] * np.log1p(votes.toarray() / np.exp(self.scalar[f"epsilon_{name}"]))
        scores[histories.lengths == 0] = log_users  # popularity for an empty history
        return scores

    # ------------------------------------------------------------------ parameters

    @cached_property
    def target(self) -> NDArray[np.float32]:
        """(items, size) vectors of items as targets."""
        return np.asarray(self.arrays["target"], dtype=np.float32)

    @cached_property
    def history(self) -> NDArray[np.float32]:
        """(items, size) vectors of items as parts of a history."""
        return np.asarray(self.arrays["history"], dtype=np.float32)

    @cached_property
    def scalar(self) -> dict[str, float]:
        """The learned scalars by name."""
        return dict(zip(SCALARS, self.arrays["scalars"].tolist(), strict=True))

    @cached_property
    def links(self) -> list[tuple[str, float, sparse.csr_array]]:
        """Direct links: kind, exponent of a history item's weight, and (items, items) matrix; empty without direct links."""
        from scipy import sparse

        links = []
        for name, sharpness in zip(LINKS, self.arrays["sharpness"].tolist(), strict=True):
            if self.config.direct:
                values, partners, starts = (np.asarray(self.arrays[f"{name}_{part}"]) for part in ("values", "partners", "starts"))
                pairs = sparse.csr_array((values.astype(np.float32), partners, starts), shape=(len(self), len(self)))
                links.append((name, float(sharpness), pairs))
        return links

    @cached_property
    def _items_by_head(self) -> list[NDArray[np.int64]]:
        heads = self.arrays["head"][self.arrays["item_category"]]
        return [np.flatnonzero(heads == head) for head in range(len(self.arrays["turn"]))]

    def _attention(self, histories: RaggedArray, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """(entries, heads + 1) attention; the last column is for the prediction of categories."""
        logits = self.scalar["gamma"] * np.log(weights)[:, None] + self.history[histories.rows] @ self.arrays["keys"].T
        starts = histories.starts[:-1][histories.lengths > 0]
        if not len(starts):
            return np.empty((0, logits.shape[1]), np.float32)
        lengths = histories.lengths[histories.lengths > 0]
        exponentials = np.exp(logits - np.repeat(np.maximum.reduceat(logits, starts), lengths, axis=0))
        return np.asarray(exponentials / np.repeat(np.add.reduceat(exponentials, starts), lengths, axis=0), dtype=np.float32)

    def _anchors(self, history: RaggedArray, weights: NDArray[np.float64], items: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Index of the history item with the largest contribution to each item, -1 if none is positive. Args: items: None for all."""
        from scipy import sparse

        arrays, rows = self.arrays, history.rows.astype(np.int64)
        anchors = np.full(len(self), -1, dtype=np.int64)
        is_requested = np.ones(len(self), dtype=bool) if items is None else np.zeros(len(self), dtype=bool)
        is_requested[items] = True
        if not len(rows):
            return anchors if items is None else anchors[items]
        shares, vectors = self._attention(history, weights), self.history[rows]
        category_parts = (shares[:, -1:] * vectors) @ arrays["category"].T  # (history, categories)
        link_parts = []
        for name, sharpness, pairs in self.links:
            votes = sparse.csc_array(pairs[rows] * link_weights(history, weights, sharpness)[:, None])
            total = np.asarray(votes.sum(axis=0)).reshape(-1)
            # The log of the sum is divided in the proportions of the votes.
            per_vote = self.scalar[f"alpha_{name}"] * np.log1p(total / np.exp(self.scalar[f"epsilon_{name}"])) / np.maximum(total, 1e-12)
            link_parts.append((votes, per_vote))
        for head, head_items in enumerate(self._items_by_head):
            pooled = shares[:, head, None] * vectors
            user_parts = np.exp(self.scalar["tau"]) * (pooled + pooled @ arrays["turn"][head].T)
            head_items = head_items[is_requested[head_items]]
            for block in np.array_split(head_items, max(1, len(head_items) * len(rows) // MAX_CELLS)):
                contributions = user_parts @ self.target[block].T + category_parts[:, arrays["item_category"][block]]
                for votes, per_vote in link_parts:
                    contributions += votes[:, block].toarray() * per_vote[block]
                best = contributions.argmax(axis=0)
                anchors[block] = np.where(np.take_along_axis(contributions, best[None], axis=0)[0] > 0, best, -1)
        return anchors if items is None else anchors[items]


def age_weights(histories: RaggedArray) -> NDArray[np.float64]:
    """Return (entries,) weights of history items by age, for histories without other weights."""
    return np.maximum(DECAY ** histories.age.astype(np.float64), MIN_WEIGHT)


def link_weights(histories: RaggedArray, weights: NDArray[np.float64], sharpness: float) -> NDArray[np.float32]:
    """Return (entries,) the weights to the power of `sharpness`, normalized to sum to 1 in each history."""
    powers = weights**sharpness
    totals = np.bincount(histories.row_index, weights=powers, minlength=len(histories))
    return np.asarray(powers / totals[histories.row_index], dtype=np.float32)


def _single(rows: NDArray[np.int64]) -> RaggedArray:
    """A ragged array of one history."""
    return RaggedArray(np.asarray([0, len(rows)]), np.asarray(rows, dtype=np.int32))


def _pooled(histories: RaggedArray, shares: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(cases, size) weighted sums of each history's vectors."""
    from scipy import sparse

    columns = np.arange(len(shares))
    return np.asarray(
        sparse.csr_array((shares, columns, histories.starts), shape=(len(histories), len(shares))) @ vectors, dtype=np.float32
    )
