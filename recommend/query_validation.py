"""Limits of a recommendation query."""

from __future__ import annotations

from ..data.errors import EmptyHistoryError, QueryError
from ..data.records import Query
from .constraints.eligibility import validate_rules

MAX_RECOMMENDATIONS = 100
MAX_TEXT_CHARS = 2000
MAX_ITEMS = 1000


def validate_query(query: Query) -> None:
    """Check that a query is not empty and within the limits.

    Raises:
        EmptyHistoryError: neither a user, items nor a text.
        QueryError: k, rules, novelty, items or text out of bounds.
    """
    if not 1 <= query.k <= MAX_RECOMMENDATIONS:
        raise QueryError(f"k must be 1 to {MAX_RECOMMENDATIONS}, not {query.k}")
    if query.text and len(query.text) > MAX_TEXT_CHARS:
        raise QueryError(f"the text has {len(query.text):,} characters; the maximum is {MAX_TEXT_CHARS:,}")
    if len(query.items) > MAX_ITEMS:
        raise QueryError(f"{len(query.items):,} items are too many for one query; give the latest {MAX_ITEMS:,} at most")
    if not 0 <= query.new_items <= query.k:
        raise QueryError(f"new items must be 0 to {query.k} (k), not {query.new_items}")
    if query.new_up_to < 0:
        raise QueryError(f"the maximum number of users of a new item must be 0 or more, not {query.new_up_to}")
    if not 0 <= query.novelty <= 1:
        raise QueryError(f"novelty must be 0 to 1, not {query.novelty:g}")
    validate_rules(query.rules)
    if not (query.user_id or query.items or query.text):
        raise EmptyHistoryError("there is nothing to go by: give a user, items or a text")
