"""Whether a text query means something to a store, so that an answer to gibberish or to another language is not taken for one.

Cosines alone do not tell sense from nonsense: a made-up word is as close to some item as many a sensible need. A text is not understood if
no item is close to it and none of its words occurs in the store's texts. Then the list is a guess, and says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..prompts.injection import is_prompt_injection
from ..prompts.sanitize import sanitize_for_prompt
from .segments.query.name_matching import STOP_WORDS

if TYPE_CHECKING:
    from ..retrieval.items.catalogue import Catalogue

MIN_COSINE = 0.5
"""Cosine of an item from which a text is understood by meaning alone, see `segments.query.entity_linking`."""
MAX_WORDS, MAX_SHOWN_CHARS = 12, 80
"""Words of a text that are looked up, and characters of it that are repeated."""
_WORD = re.compile(r"[^\W\d_]{3,}")


def not_understood(text: str, nearest: float, catalogue: Catalogue) -> str | None:
    """Return a sentence for a text that the store does not understand; None for one that it does.

    Args:
        text: The text query; untrusted.
        nearest: Cosine of the text and its nearest item.
        catalogue: The items.
    """
    words = list(dict.fromkeys(word for word in _WORD.findall(text.casefold()) if word not in STOP_WORDS))[:MAX_WORDS]
    if nearest >= MIN_COSINE or any(_occurs(word, catalogue) for word in words):
        return None
    shown = "the text" if is_prompt_injection(text) else f"“{sanitize_for_prompt(text, MAX_SHOWN_CHARS)}”"
    return f"no {catalogue.words.item} is close to {shown} and none has a word of it: the list is a guess"


def _occurs(word: str, catalogue: Catalogue) -> bool:
    """Whether a title, a category or a description has the word, or one with the beginning of a longer one: "camp" for "camping"."""
    import polars as pl

    pattern = rf"(?i)\b{re.escape(word[: max(4, len(word) - 3)])}" if len(word) > 4 else rf"(?i)\b{re.escape(word)}\b"
    fields = pl.col("title").fill_null("").str.contains(pattern), pl.col("description").fill_null("").str.contains(pattern)
    paths = pl.col("category").list.join(" ").fill_null("").str.contains(pattern)
    return bool(catalogue.items.select(pl.any_horizontal(*fields, paths).any()).item())
