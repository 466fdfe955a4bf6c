"""Items whose texts are close to a use that they do not name: a sleeping mat for "camping", a puppy harness for "a puppy".

Embeddings find them: "for camping" against the text of each item. The closest sentence of the item's own text supports the link; it does
not name the use, which is why such a link is kept apart from named ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .english import ENGLISH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .grouping import Encode

MIN_COSINE, MIN_DEVIATIONS = 0.33, 2.5
"""Minimum cosine of a use and an item's text, and minimum number of standard deviations above the mean of all items. Names of things that
many texts are close to ("backpacks") fail the second. Chosen on the bundled embedder and the demo store."""
KINDS = ("occasion", "task", "person")
"""Kinds of uses that items are near to. Texts close to a place are often about another thing that is found there."""
_BLOCK = 4096
"""Items that are compared at once, which bounds the memory."""
_PART = re.compile(r"[^\W_]+|[,;:()|/–—]")
_BOUNDARIES = frozenset("and with for in of from to by on".split())


@dataclass(frozen=True, slots=True)
class NearItem:
    """An item that is close to a use.

    Attributes:
        use: Position of the use.
        row: Row of the item.
    """

    use: int
    row: int


def near_items(phrases: Sequence[str], titles: Sequence[str], vectors: NDArray[np.float32], encode: Encode) -> list[NearItem]:
    """Return the items that are close to each use, in the order of the uses and then of the rows.

    Args:
        phrases: Name of each use as the object of "for".
        titles: (items,) titles.
        vectors: (items, dimensions) unit vectors of the items' texts.
        encode: Embeds texts as unit vectors.
    """
    if not phrases or not len(vectors):
        return []
    uses = encode([f"for {phrase}" for phrase in phrases]).T
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(vectors), _BLOCK)]
    total, squares = np.zeros(len(phrases)), np.zeros(len(phrases))
    for block in blocks:
        cosines = (vectors[block] @ uses).astype(np.float64)
        total, squares = total + cosines.sum(axis=0), squares + (cosines**2).sum(axis=0)
    mean = total / len(vectors)
    least = np.maximum(mean + MIN_DEVIATIONS * np.sqrt(np.maximum(squares / len(vectors) - mean**2, 0.0)), MIN_COSINE)
    found = [
        NearItem(use, block.start + row)
        for block in blocks
        for row, use in np.argwhere(vectors[block] @ uses >= least).tolist()
        if not is_named_for(titles[block.start + row], phrases[use])
    ]
    return sorted(found, key=lambda near: (near.use, near.row))


def is_named_for(title: str, phrase: str) -> bool:
    """Whether a title says that the item is the thing itself: a dome tent is not "for the tent", a desk charger is "for the desk".

    >>> is_named_for("Norrvik Dome Tent 2 m", "the tent"), is_named_for("Brindvolt Desk Charger", "the desk")
    (True, False)
    """
    thing = ENGLISH.singular(phrase.casefold().split()[-1])
    parts = [*_PART.findall(title.casefold()), ""]
    return any(
        ENGLISH.singular(word) == thing and (not follower.isalpha() or follower in _BOUNDARIES) for word, follower in pairwise(parts)
    )


def closest_sentences(sentences: Sequence[Sequence[str]], phrases: Sequence[str], encode: Encode) -> list[str | None]:
    """Return the sentence of each list that is closest to a use; None for an empty list.

    Args:
        sentences: Sentences of an item, for each pair of item and use.
        phrases: Name of each pair's use as the object of "for".
        encode: Embeds texts as unit vectors.
    """
    texts = sorted({sentence for own in sentences for sentence in own} | {f"for {phrase}" for phrase in phrases})
    if not texts:
        return []
    vectors = dict(zip(texts, encode(texts), strict=True))
    closest: list[str | None] = []
    for own, phrase in zip(sentences, phrases, strict=True):
        cosines = [float(vectors[sentence] @ vectors[f"for {phrase}"]) for sentence in own]
        closest.append(own[int(np.argmax(cosines))] if cosines else None)
    return closest
