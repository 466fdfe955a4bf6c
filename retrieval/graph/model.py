"""The graph channel: what a history points at, by a model trained on who had what and on what items say of themselves.

Users and items are nodes (see `graph_edges` and `graph_neighbours`). A user has no vector of its own: it is made of the history when asked,
by weights of age and learned attention, for each target category (head) anew. An item's vectors come from its text and its neighbours, so a
new item has one too. A score adds up what each history item says; which says most is kept as evidence. Here is what answers, with numpy and
scipy alone; `graph_training` makes it, `graph_files` keeps it. Knows nothing of rules, channels or language models.
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
"""Weight of a history item relative to the next newer one, and the least that one counts, where no weights are given."""
MAX_CELLS = 8_000_000
"""Contributions looked at at once."""


@dataclass(frozen=True, slots=True)
class GraphConfig:
    """How the graph is made and trained."""

    convolution: Literal["normalised", "attention"] = "normalised"
    """Symmetrically normalised weighted sums over neighbours, or GATv2."""
    size: int = 64
    """Dimensions of the vectors; a multiple of 4."""
    layers: int = 1
    """Convolutions one after the other; 0 leaves texts alone."""
    neighbours: int = 10
    """Edges of each type into an item, the weightiest."""
    drawn: int = 20
    """Edges drawn into a node in a training step."""
    partners: int = 200
    """Items that an item has direct links to, of each of the two kinds."""
    window: int = 3
    """Places behind an item within which another one follows it."""
    shrinkage: float = 20.0
    """Users that the share of those who had the other item next is damped by."""
    direct: bool = True
    """Whether direct links count beside the vectors."""
    few: int = 50
    """Training examples below which a target category shares its head with the others of so few."""
    history: int = 50
    """Newest items of a history that are trained on."""
    batch: int = 128
    """Examples of a training step."""
    negatives: int = 2048
    """Items drawn against the right ones in a step, about; a smaller catalogue takes part whole."""
    hard: int = 30
    """Items that direct links point at most strongly, which each example is always told from."""
    examples: int = 10_000
    """Examples of a round, at most, drawn anew for each."""
    epochs: int = 12
    """Rounds through the examples, at most."""
    patience: int = 3
    """Rounds without a better NDCG@10 of the held-out users after which training ends."""
    rate: float = 1e-3
    """Learning rate."""
    decay: float = 0.01
    """Weight decay."""
    dropout: float = 0.2
    """Share of what neighbours say that is left out in a training step."""
    bare: float = 0.2
    """Share of the items that are without neighbours in a training step, as new items are."""
    alone: float = 0.2
    """Share of a step's examples that do without direct links, so that vectors learn to rank by themselves."""
    across: float = 0.5
    """Share of the loss that ranks over all new categories, beside the target's own."""
    seed: int = 0
    """Of everything that is drawn."""


@dataclass(frozen=True)
class GraphModel:
    """A trained graph, ready to answer.

    Attributes:
        arrays: by name
            target, history: (items, size) unit vectors of items as targets and as parts of a history;
            turn: (heads, size, size) what a head adds to a user's vector; keys: (heads + 1, size) what attention looks for, the last for
            which category comes next; category, category_bias: (categories, size), (categories,) for the same;
            head: (categories,) each category's; item_category, users: (items,); scalars: see `SCALARS`; sharpness: see `SHARPNESS`;
            text_target, further_target, further: what makes a new item's vector;
            together_values, _partners, _starts and follows_...: direct links in csr.
        config: how it was made. card: figures of the training, and what the caller said of its data.
    """

    arrays: Mapping[str, NDArray[Any]]
    config: GraphConfig
    card: Mapping[str, Any]

    def __len__(self) -> int:
        """How many items it knows."""
        return len(self.arrays["target"])

    # ------------------------------------------------------------------ asked of one history

    def scores(self, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """How strongly a weighted history points at every item, and the history item that says most for each.

        Only which weight an item has matters, not where it stands: a history in another order, each item keeping its weight, scores alike.

        Args: rows: (history,) distinct item rows. weights: (history,) above 0.
        Returns:
            (items,) logits: any sign, higher is better, comparable within one history only;
            (items,) int64 places in `rows`, -1 where no history item says anything for the item.
        """
        history = RaggedArray(np.asarray([0, len(rows)]), np.asarray(rows, dtype=np.int32))
        return self.scores_of(history, weights)[0], self._anchors(history, weights)

    def anchors(self, rows: NDArray[np.int64], weights: NDArray[np.float64], items: NDArray[np.int64]) -> NDArray[np.int64]:
        """(items,) the places that `scores` would tell of some items, without looking at all others."""
        return self._anchors(RaggedArray(np.asarray([0, len(rows)]), np.asarray(rows, dtype=np.int32)), weights, items)

    def attention(self, rows: NDArray[np.int64], weights: NDArray[np.float64], category: int | None = None) -> NDArray[np.float32]:
        """(history,) what share each history item has in the user's vector; they add up to 1.

        Args: category: code of a target category, whose head then looks; None is the look for which categories come next.
        """
        shares = self._attention(RaggedArray(np.asarray([0, len(rows)]), np.asarray(rows, dtype=np.int32)), weights)
        return shares[:, -1 if category is None else self.arrays["head"][category]]

    def user_vector(self, rows: NDArray[np.int64], weights: NDArray[np.float64], category: int | None = None) -> NDArray[np.float32]:
        """(size,) a user from a history alone: nothing is looked up by who it is, nothing is trained.

        Args: category: code of the target category; its product with `item_vector` is then a cosine's multiple. None as in `attention`.
        """
        shares = self.attention(rows, weights, category)
        vector = shares @ self.history[rows] if len(rows) else np.zeros(self.config.size, np.float32)
        return vector if category is None else vector + self.arrays["turn"][self.arrays["head"][category]] @ vector

    def item_vector(self, text_vector: NDArray[np.float32], further: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """(size,) or (texts, size) unit vectors as targets of items that nobody had yet, from their features alone.

        Args: text_vector: (dimensions,) or (texts, dimensions). further: likewise, the further features that the graph was trained with, as
            they were given then; None takes all for usual.
        """
        found = text_vector @ self.arrays["text_target"]
        if further is not None:
            mean, spread = self.arrays["further"]
            found = found + ((further - mean) / spread) @ self.arrays["further_target"]
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-9), dtype=np.float32)

    # ------------------------------------------------------------------ asked of many histories

    def scores_of(self, histories: RaggedArray, weights: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """(cases, items) as `scores` has it.

        Args: weights: (entries,) above 0; None weighs by age alone, `DECAY` a place.
        """
        arrays, weights = self.arrays, age_weights(histories) if weights is None else weights
        shares, vectors = self._attention(histories, weights), self.history[histories.rows]
        popular = np.log1p(arrays["users"])
        found = np.empty((len(histories), len(self)), dtype=np.float32)
        for head, items in enumerate(self._items_by_head):
            user = _pooled(histories, shares[:, head], vectors)  # (cases, size)
            found[:, items] = np.exp(self.scalar["tau"]) * (user + user @ arrays["turn"][head].T) @ self.target[items].T
        category = _pooled(histories, shares[:, -1], vectors) @ arrays["category"].T + arrays["category_bias"]  # (cases, categories)
        found += category[:, arrays["item_category"]] + self.scalar["beta"] * popular
        for name, sharpness, pairs in self.links:
            voted = histories.matrix(len(self), link_weights(histories, weights, sharpness)) @ pairs
            found += self.scalar[f"alpha_{name}"] * np.log1p(voted.toarray() / np.exp(self.scalar[f"epsilon_{name}"]))
        found[histories.lengths == 0] = popular  # nothing is known of the shopper
        return found

    # ------------------------------------------------------------------ parts

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
        """The single numbers that are learned, by name."""
        return dict(zip(SCALARS, self.arrays["scalars"].tolist(), strict=True))

    @cached_property
    def links(self) -> list[tuple[str, float, sparse.csr_array]]:
        """The direct links: name, exponent of a history item's weight, (items, items); none where the config has none."""
        from scipy import sparse

        found = []
        for name, sharpness in zip(LINKS, self.arrays["sharpness"].tolist(), strict=True):
            if self.config.direct:
                values, partners, starts = (np.asarray(self.arrays[f"{name}_{part}"]) for part in ("values", "partners", "starts"))
                pairs = sparse.csr_array((values.astype(np.float32), partners, starts), shape=(len(self), len(self)))
                found.append((name, float(sharpness), pairs))
        return found

    @cached_property
    def _items_by_head(self) -> list[NDArray[np.int64]]:
        heads = self.arrays["head"][self.arrays["item_category"]]
        return [np.flatnonzero(heads == head) for head in range(len(self.arrays["turn"]))]

    def _attention(self, histories: RaggedArray, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """(entries, heads + 1) attention; the last column looks for categories."""
        logits = self.scalar["gamma"] * np.log(weights)[:, None] + self.history[histories.rows] @ self.arrays["keys"].T
        starts = histories.starts[:-1][histories.lengths > 0]
        if not len(starts):
            return np.empty((0, logits.shape[1]), np.float32)
        lengths = histories.lengths[histories.lengths > 0]
        raised = np.exp(logits - np.repeat(np.maximum.reduceat(logits, starts), lengths, axis=0))
        return np.asarray(raised / np.repeat(np.add.reduceat(raised, starts), lengths, axis=0), dtype=np.float32)

    def _anchors(self, history: RaggedArray, weights: NDArray[np.float64], asked: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """(items,) or (asked,) the place whose part of the sum is largest, -1 where none is above 0."""
        from scipy import sparse

        arrays, rows = self.arrays, history.rows.astype(np.int64)
        found = np.full(len(self), -1, dtype=np.int64)
        wanted = np.ones(len(self), dtype=bool) if asked is None else np.zeros(len(self), dtype=bool)
        wanted[asked] = True
        if not len(rows):
            return found if asked is None else found[asked]
        shares, vectors = self._attention(history, weights), self.history[rows]
        offset = (shares[:, -1:] * vectors) @ arrays["category"].T  # (history, categories)
        links = []
        for name, sharpness, pairs in self.links:
            voted = sparse.csc_array(pairs[rows] * link_weights(history, weights, sharpness)[:, None])
            total = np.asarray(voted.sum(axis=0)).reshape(-1)
            # The logarithm of a sum is shared out in the proportions of the sum.
            per = self.scalar[f"alpha_{name}"] * np.log1p(total / np.exp(self.scalar[f"epsilon_{name}"])) / np.maximum(total, 1e-12)
            links.append((voted, per))
        for head, members in enumerate(self._items_by_head):
            mine = shares[:, head, None] * vectors
            turned = np.exp(self.scalar["tau"]) * (mine + mine @ arrays["turn"][head].T)
            members = members[wanted[members]]
            for items in np.array_split(members, max(1, len(members) * len(rows) // MAX_CELLS)):
                parts = turned @ self.target[items].T + offset[:, arrays["item_category"][items]]
                for voted, per in links:
                    parts += voted[:, items].toarray() * per[items]
                best = parts.argmax(axis=0)
                found[items] = np.where(np.take_along_axis(parts, best[None], axis=0)[0] > 0, best, -1)
        return found if asked is None else found[asked]


SCALARS = ("gamma", "tau", "alpha_together", "alpha_follows", "epsilon_together", "epsilon_follows", "beta")
"""What is learned besides vectors: exponent of a history item's weight; logarithm of the cosines' factor; what the logarithm of one plus
direct votes over epsilon (kept as its logarithm) counts, by kind of link; what the logarithm of an item's users counts."""
LINKS = ("together", "follows")
"""The direct links."""
SHARPNESS = {"time": (0.25, 0.6), "position": (0.25, 0.6), "none": (0.1, 0.1)}
"""Exponents of a history item's weight in its direct votes, by what orders the events: who had both tells of old items too, what came next
mostly of the newest; without an order an age means nothing."""


def age_weights(histories: RaggedArray) -> NDArray[np.float64]:
    """(entries,) the weights of histories of which nothing but the order is known."""
    return np.maximum(DECAY ** histories.age.astype(np.float64), MIN_WEIGHT)


def link_weights(histories: RaggedArray, weights: NDArray[np.float64], sharpness: float) -> NDArray[np.float32]:
    """(entries,) what each history item's direct links count: its weight to the power of `sharpness`, of 1 in all of a history."""
    raised = weights**sharpness
    return np.asarray(
        raised / np.bincount(histories.row_index, weights=raised, minlength=len(histories))[histories.row_index], dtype=np.float32
    )


def _pooled(histories: RaggedArray, shares: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(cases, size) weighted sums of a history's vectors."""
    from scipy import sparse

    places = np.arange(len(shares))
    return np.asarray(sparse.csr_array((shares, places, histories.starts), shape=(len(histories), len(shares))) @ vectors, dtype=np.float32)
