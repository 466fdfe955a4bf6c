"""The prompt that asks whether a shopper would also need an item: histories and candidates as sanitized text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ... import prompts
from ...prompts.injection import truncate_at_injection

if TYPE_CHECKING:
    from ...data.records import Item
    from ...prompts import Prompt

MAX_HISTORY_ITEMS = 10
"""Number of history items in the prompt, the most recent ones."""
MAX_TITLE_CHARS = 70
"""Titles are truncated here; the rest of a store's title is mostly keywords."""
MAX_FACT_CHARS = 200
PLACEHOLDER = "\ue000"
"""Placeholder of the candidate in a rendered message: a private-use character, which sanitized text cannot contain."""
BEHAVIOUR = "\ue001"
"""Placeholder of a soft token, another private-use character."""


def user_message(prompt: Prompt, history: Sequence[Item], need: str | None, *, behaviour: bool = False) -> str:
    """Return the user's message about a history, with `PLACEHOLDER` for the candidate.

    Args:
        prompt: A version of the prompt `rank`.
        history: Oldest first; all of it is in the message.
        need: The shopper's text query.
        behaviour: Whether it has `BEHAVIOUR` for a soft token; versions before 4 have none.
    """
    query = prompts.sanitize_for_prompt(need) if need else None
    items = [describe(item) for item in history]
    return prompt.render("user", history=items, need=query, candidate=PLACEHOLDER, behaviour=BEHAVIOUR if behaviour else None)


def candidate_text(prompt: Prompt, item: Item, fact: str | None = None, *, behaviour: bool = False) -> str:
    """Return the question about one candidate.

    Args:
        prompt: A version of the prompt `rank`.
        item: The candidate.
        fact: A sentence about who bought it; only versions 2 and 3 show it.
        behaviour: Whether it has `BEHAVIOUR` for a soft token; versions before 4 have none.
    """
    sanitized = prompts.sanitize_for_prompt(fact, MAX_FACT_CHARS) if fact else None
    mark = BEHAVIOUR if behaviour else None
    return prompt.render("candidate", title=_title(item), category=_category(item), fact=sanitized, behaviour=mark)


def describe(item: Item) -> str:
    """Return an item as one line of sanitized text: its title and its top-level category."""
    title = _title(item) or prompts.sanitize_for_prompt(item.item_id, MAX_TITLE_CHARS)
    return f"{title} ({category})" if (category := _category(item)) else title


def _title(item: Item) -> str:
    """Return the title without prompt injections: instructions to a model are no property of the item."""
    return prompts.sanitize_for_prompt(truncate_at_injection(item.title), MAX_TITLE_CHARS)


def _category(item: Item) -> str:
    return prompts.sanitize_for_prompt(" › ".join(item.category[:1]), 60)
