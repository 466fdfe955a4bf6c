"""Suggested questions about people rather than goods ("people who started running"), limited to those that fit the store.

A store without anything for runners would resolve the words to its least dissimilar items. So each question is resolved first, and is
suggested only if most of its items belong to one broad category and its cohort is large enough. No count is disclosed, so nothing is
recorded in the query audit log.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ...data.errors import QueryError

if TYPE_CHECKING:
    from .probe import Probe
    from .resolved_query import ResolvedQuery

EXAMPLE_QUESTIONS = (
    "people who started running",
    "people who took up yoga",
    "people who go camping",
    "people who are having a baby",
    "people who got a dog",
    "people who started gardening",
    "people who took up cycling",
    "people who travel a lot",
    "people who started baking",
    "people who work from home",
    "people who play the guitar",
    "people who paint or draw",
    "people who play games with their children",
    "people who are learning a language",
    "people who started programming",
    "people who manage a team",
    "people who like detective stories",
    "people who like science fiction",
    "people who listen to jazz",
    "people who are planning a city trip",
)
"""Activities and life events that goods, courses, films or trips go with."""
MIN_ITEMS = 4
"""Minimum number of items that a question means; fewer may be similar by chance."""
MIN_CATEGORY_SHARE = 0.7
"""Minimum share of these items in one broad category; the items of a misunderstood question are scattered."""


def suggested_questions(probe: Probe, limit: int = 3) -> list[str]:
    """Return at most `limit` questions about people that fit the store, no two about the same broad category; may be empty."""
    by_category: dict[int, str] = {}
    for text in EXAMPLE_QUESTIONS:
        if len(by_category) == limit:
            break
        try:
            query = probe.understand(text)
        except QueryError:
            continue
        category = _main_category(query, probe)
        if category is not None:
            by_category.setdefault(category, text)
    return list(by_category.values())


def _main_category(query: ResolvedQuery, probe: Probe) -> int | None:
    """Return the broad category of a question's items; None if they are few or scattered, or its cohort is small or most of the store."""
    if not probe.min_users <= len(query.cohort) <= query.population.user_count / 2:
        return None
    broad = probe.catalogue.tree.at(1)[query.cohort_items]
    ((category, count),) = Counter(broad[broad >= 0].tolist()).most_common(1) or [(-1, 0)]
    return category if len(broad) >= MIN_ITEMS and count >= MIN_CATEGORY_SHARE * len(broad) else None
