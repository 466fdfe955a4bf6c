"""Quotations that speak to a reason: the sentence of an item's reviews that is closest to what the shopper has or said.

Whole reviews are compared first, by their vectors in the index, then the sentences of the closest ones. A sentence must also be about the
reviewed item: "my headphones are fifteen years old" says nothing of the screen protector that it was written about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...retrieval.index.vector_index import REVIEWS
from ...retrieval.items.texts import review_ids
from .justification import JustificationHead, head_for
from .review_excerpts import complaint_excerpt, praise_sentences
from .review_table import ReviewTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.workspace import Workspace
    from ...retrieval.index.vector_index import VectorSearch

    Encode = Callable[[Sequence[str]], NDArray[np.float32]]

MIN_TOPIC_COSINE, MIN_NAME_COSINE = 0.35, 0.15
"""Minimum cosine of a quoted sentence and the topic it should speak to, and of the sentence and the name of the reviewed item."""
MIN_REVIEW_COSINE = 0.3
"""Minimum cosine of a negative review and the topic."""
JUSTIFICATION_WEIGHT = 0.3
"""Weight of the probability that a sentence is a good justification, beside its cosine: it decides between about equally close ones."""
MAX_REVIEWS_READ = 8
"""Reviews of an item whose sentences are compared, those closest to a topic."""
MAX_CACHED_VECTORS = 10_000


@dataclass(frozen=True, slots=True)
class Quotation:
    """A verbatim sentence of a review.

    Attributes:
        text: The sentence.
        topic: Position of the topic that it speaks to.
        cosine: Cosine of the sentence and the topic; for a complaint, of the review and the topic.
    """

    text: str
    topic: int
    cosine: float


@dataclass(frozen=True)
class Quotations:
    """Finds quotations in the reviews of a store.

    Attributes:
        reviews: The reviews by item.
        index: Vectors of the reviews.
        encode: Embeds texts as unit vectors, in the space of the index.
        head: Judges how well a sentence justifies a recommendation; None judges nothing.
    """

    reviews: ReviewTable
    index: VectorSearch
    encode: Encode
    head: JustificationHead | None = None
    _vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of_workspace(cls, workspace: Workspace, index: VectorSearch, encode: Encode) -> Quotations:
        """Return the quotations of a workspace's reviews. Args: index, encode: of the workspace."""
        reviews = workspace.table("reviews")
        by_item = ReviewTable(reviews.with_columns(review_ids(reviews)).sort("item_id", maintain_order=True))
        return cls(by_item, index, encode, head_for((workspace.manifest.index or {}).get("embedder_digest")))

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (texts, dimensions) unit vectors; those of recent texts are not computed again."""
        # Threads share the cache, and any of them may clear it: what this call needs is kept apart.
        needed = {text: self._vectors.get(text) for text in texts}
        if missing := [text for text, vector in needed.items() if vector is None]:
            computed = dict(zip(missing, self.encode(missing), strict=True))
            needed |= computed
            if len(self._vectors) + len(computed) > MAX_CACHED_VECTORS:
                self._vectors.clear()
            if len(computed) <= MAX_CACHED_VECTORS:
                self._vectors.update(computed)
        return np.stack([vector for text in texts if (vector := needed[text]) is not None])

    def praise(self, item_id: str, name: str, topics: Sequence[str]) -> Quotation | None:
        """Return the sentence of a positive review that speaks to one of the topics most clearly; None if no sentence does.

        Args:
            item_id: The reviewed item.
            name: Its name.
            topics: What the shopper has or said; of equally close ones the first.
        """
        reviews = self._closest(item_id, topics, negative=False)
        sentences = list(dict.fromkeys(sentence for _, text in reviews for sentence in praise_sentences(text)))
        if not sentences:
            return None
        vectors = self.vectors(sentences)
        cosines = vectors @ self.vectors(topics).T
        cosines[vectors @ self.vectors([name])[0] < MIN_NAME_COSINE] = -1.0
        worth = cosines + JUSTIFICATION_WEIGHT * self.head.probabilities(vectors)[:, None] if self.head else cosines
        sentence, topic = divmod(int(np.where(cosines >= MIN_TOPIC_COSINE, worth, -1.0).argmax()), len(topics))
        best = float(cosines[sentence, topic])
        return Quotation(sentences[sentence], topic, best) if best >= MIN_TOPIC_COSINE else None

    def complaint(self, item_id: str, topic: str) -> Quotation | None:
        """Return a complaint from the negative review of an item that is closest to a topic; None without one."""
        for cosine, text in self._closest(item_id, [topic], negative=True):
            if cosine < MIN_REVIEW_COSINE:
                return None
            if quote := complaint_excerpt(text, topic):
                return Quotation(quote, 0, cosine)
        return None

    def _closest(self, item_id: str, topics: Sequence[str], *, negative: bool) -> list[tuple[float, str]]:
        """Return the reviews of an item that are closest to a topic, each with its cosine, closest first."""
        reviews = self.reviews.texts(item_id, negative)
        stored = self.index.vectors(REVIEWS, [review_id for review_id, _ in reviews]) if reviews and topics else {}
        if not stored:
            return []
        wanted = self.vectors(topics)
        by_cosine = [(float((wanted @ stored[review_id]).max()), text) for review_id, text in reviews if review_id in stored]
        return sorted(by_cosine, key=lambda pair: (-pair[0], pair[1]))[:MAX_REVIEWS_READ]
