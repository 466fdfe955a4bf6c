"""Questions to begin with about people rather than goods ("people who started running"), of those that a store understands.

A store that sells nothing for runners would take the words for whatever is least unlike them; so each question is put to the store before
it is offered, and stays only where what it was taken for is of one kind and enough shoppers had it. Nothing is told by that, and nothing
counts as told.
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
"""Turns of a life that goods, courses, films or trips go with."""
MIN_ITEMS = 4
"""Items that a question must be taken for: fewer are like it by accident."""
MIN_CATEGORY_SHARE = 0.7
"""Share of them that must be of one broad category; the words of a question that is understood do not scatter."""


def suggested_questions(probe: Probe, limit: int = 3) -> list[str]:
    """Questions about people that the store understands, no two about the same broad category; at most `limit`, may be none."""
    found: dict[int, str] = {}
    for text in EXAMPLE_QUESTIONS:
        if len(found) == limit:
            break
        try:
            asked = probe.understand(text)
        except QueryError:
            continue
        about = _main_category(asked, probe)
        if about is not None:
            found.setdefault(about, text)
    return list(found.values())


def _main_category(asked: ResolvedQuery, probe: Probe) -> int | None:
    """The broad category that a question is about; None where it was not really understood, or is about too few or about everybody."""
    if not probe.min_users <= len(asked.cohort) <= asked.population.user_count / 2:
        return None
    broad = probe.catalogue.tree.at(1)[asked.cohort_items]
    ((category, most),) = Counter(broad[broad >= 0].tolist()).most_common(1) or [(-1, 0)]
    return category if len(broad) >= MIN_ITEMS and most >= MIN_CATEGORY_SHARE * len(broad) else None
