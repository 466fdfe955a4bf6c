"""What the LLM is told of a candidate: where the store's own order has it, how many who had a history item had it too, how much it is had.

The counts are those of the associations at hand. In training they are counted without the shopper who is asked, so that no fact knows the
answer. A figure is told by a word of a short scale and as a number: the word is what a small model can learn within minutes, and it means
the same in every store.
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
    from ...retrieval.retriever import Proposals

MAX_TITLE_CHARS = 60
"""Characters of a title inside a fact."""
NO_CO_OCCURRENCE = "Never seen together"
FREQUENCY_WORDS = ("Hardly ever", "Seldom", "Sometimes", "Often", "Very often", "Nearly always")
FREQUENCY_THRESHOLDS = (0.02, 0.05, 0.12, 0.25, 0.5)
"""Shares of those who had the history item from which each word but the first is used."""
RANK_WORDS = (
    "The store's first choice",
    "One of the store's first three",
    "One of the store's first six",
    "One of the store's first ten",
    "Not among the store's first ten",
    "Far down the store's list",
)
RANK_LIMITS = (1, 3, 6, 10, 20)
"""Places up to which each but the last of those is said."""
RANK_PROMPT_VERSION = 3
"""Version of the prompt `rank` from which the place in the store's own order is told."""
POPULARITY_WORDS = ("A bestseller", "Popular", "Well known", "Little known", "Hardly known")
POPULARITY_THRESHOLDS = (0.01, 0.05, 0.2, 0.5)
"""Shares of all items, had by more shoppers than this one, from which each word but the first is used."""


def anchor_pair_counts(found: Proposals, seeds: CandidateQuery, associations: Associations) -> NDArray[np.int32]:
    """(candidates, 3): the row of the history item that makes the most telling pair, -1 for none; users of both; users of that item."""
    told = np.full((len(found), 3), [-1, 0, 0], dtype=np.int32)
    places = found.places.get("associations")
    if places is None:
        return told
    there = np.flatnonzero(places >= 0)
    anchors = seeds.rows[places[there]]
    told[there, 0] = anchors
    told[there, 1] = np.asarray(associations.items[anchors, found.rows[there]]).reshape(-1)
    told[there, 2] = associations.source_users[anchors]
    told[told[:, 1] <= 0] = (-1, 0, 0)
    return told


def fact_sentences(
    pair_counts: NDArray[np.int32], users: NDArray[np.int32], catalogue: Catalogue, ranks: NDArray[np.int64] | None = None
) -> Sequence[str]:
    """The facts in words.

    Args:
        told: as `pairs` has it. users: (candidates,) shoppers who had each candidate, without the one who is asked.
        places: (candidates,) place of each in the order without the LLM, from 1; None says nothing of it.
    """
    facts = _count_sentences(pair_counts, users, catalogue)
    if ranks is None:
        return facts
    return [f"{RANK_WORDS[bisect_left(RANK_LIMITS, place)]}. {fact}" for place, fact in zip(ranks.tolist(), facts, strict=True)]


def _count_sentences(told: NDArray[np.int32], users: NDArray[np.int32], catalogue: Catalogue) -> Sequence[str]:
    """What was counted of each candidate, in words."""
    titles, verb = catalogue.items["title"], catalogue.verb
    more = (catalogue.users > users[:, None]).mean(axis=1)
    found = []
    for (anchor, both, had), ahead in zip(told.tolist(), more.tolist(), strict=True):
        standing = POPULARITY_WORDS[bisect(POPULARITY_THRESHOLDS, ahead)]
        if anchor < 0:
            found.append(f"{NO_CO_OCCURRENCE}. {standing}.")
            continue
        share = both / had
        title = sanitize_for_prompt(titles[anchor], MAX_TITLE_CHARS)
        found.append(
            f'{FREQUENCY_WORDS[bisect(FREQUENCY_THRESHOLDS, share)]}: {_share(share)} of 100 who {verb} "{title}" also {verb} it. {standing}.'
        )
    return found


def _share(share: float) -> str:
    return str(round(100 * share)) if share >= 0.005 else "less than 1"
