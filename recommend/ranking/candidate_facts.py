"""Facts about a candidate in the LLM's prompt: rank in the blend's order, co-purchase with a history item, and popularity.

The counts come from the associations that are passed in. In training they exclude the shopper of the query, so that no fact leaks the
target. Each figure appears as a number and as a word of a short scale: a small model learns the words within minutes, and a word means the
same in every store.
"""

from __future__ import annotations

from bisect import bisect, bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...prompts.sanitize import sanitize_for_prompt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.associations.rules import Associations
    from ...retrieval.channels.base import CandidateQuery
    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.retriever import CandidateScores

MAX_TITLE_CHARS = 60
"""Maximum length of a title inside a fact."""
NO_CO_OCCURRENCE = "Never seen together"
FREQUENCY_WORDS = ("Hardly ever", "Seldom", "Sometimes", "Often", "Very often", "Nearly always")
FREQUENCY_THRESHOLDS = (0.02, 0.05, 0.12, 0.25, 0.5)
"""Lower bounds of the co-purchase share for each word after the first."""
RANK_WORDS = (
    "The store's first choice",
    "One of the store's first three",
    "One of the store's first six",
    "One of the store's first ten",
    "Not among the store's first ten",
    "Far down the store's list",
)
RANK_LIMITS = (1, 3, 6, 10, 20)
"""Highest rank for each phrase but the last."""
RANK_PROMPT_VERSIONS = frozenset({3})
"""Versions of the prompt `rank` that contain the rank in the blend's order."""
POPULARITY_WORDS = ("A bestseller", "Popular", "Well known", "Little known", "Hardly known")
POPULARITY_THRESHOLDS = (0.01, 0.05, 0.2, 0.5)
"""Lower bounds, for each word after the first, of the share of items with more users than this one."""


def anchor_pair_counts(proposals: CandidateScores, query: CandidateQuery, associations: Associations) -> NDArray[np.int32]:
    """User counts of each candidate together with its strongest associated history item.

    Returns: (candidates, 3) int32: row of the history item, -1 for none; users of both items; users of the history item.
    """
    counts = np.full((len(proposals), 3), [-1, 0, 0], dtype=np.int32)
    anchor_indices = proposals.anchors.get("associations")
    if anchor_indices is None:
        return counts
    associated = np.flatnonzero(anchor_indices >= 0)
    anchors = query.rows[anchor_indices[associated]]
    counts[associated, 0] = anchors
    counts[associated, 1] = np.asarray(associations.items[anchors, proposals.rows[associated]]).reshape(-1)
    counts[associated, 2] = associations.source_users[anchors]
    counts[counts[:, 1] <= 0] = (-1, 0, 0)
    return counts


def fact_sentences(
    pair_counts: NDArray[np.int32], users: NDArray[np.int32], catalogue: Catalogue, ranks: NDArray[np.int64] | None = None
) -> Sequence[str]:
    """The facts of each candidate as text for the prompt.

    Args:
        pair_counts: (candidates, 3) as returned by `anchor_pair_counts`.
        users: (candidates,) users of each candidate, without the shopper of the query.
        catalogue: the items.
        ranks: (candidates,) rank of each in the order without the LLM, from 1; None leaves it out.
    """
    facts = _count_sentences(pair_counts, users, catalogue)
    if ranks is None:
        return facts
    return [f"{RANK_WORDS[bisect_left(RANK_LIMITS, rank)]}. {fact}" for rank, fact in zip(ranks.tolist(), facts, strict=True)]


def _count_sentences(pair_counts: NDArray[np.int32], users: NDArray[np.int32], catalogue: Catalogue) -> Sequence[str]:
    """Co-purchase and popularity of each candidate as text."""
    titles, verb = catalogue.items["title"], catalogue.verb
    more_popular = (catalogue.users > users[:, None]).mean(axis=1)  # (candidates,) share of items with more users
    sentences = []
    for (anchor, pair_users, anchor_users), share_above in zip(pair_counts.tolist(), more_popular.tolist(), strict=True):
        popularity = POPULARITY_WORDS[bisect(POPULARITY_THRESHOLDS, share_above)]
        if anchor < 0:
            sentences.append(f"{NO_CO_OCCURRENCE}. {popularity}.")
            continue
        share = pair_users / anchor_users
        frequency = FREQUENCY_WORDS[bisect(FREQUENCY_THRESHOLDS, share)]
        title = sanitize_for_prompt(titles[anchor], MAX_TITLE_CHARS)
        sentences.append(f'{frequency}: {_per_hundred(share)} of 100 who {verb} "{title}" also {verb} it. {popularity}.')
    return sentences


def _per_hundred(share: float) -> str:
    return str(round(100 * share)) if share >= 0.005 else "less than 1"
