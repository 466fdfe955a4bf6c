"""What things are for, as facts: a use that a history item and the recommended item share, or that of the recommended item alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ...data.privacy.pii_masking import mask_personal_data
from ...data.records import Evidence, Item
from ...llm.explain.reasons import MAX_QUOTE_CHARS, NO_QUOTES
from ...llm.explain.slots import with_article
from ...prompts.injection import is_prompt_injection
from ...prompts.sanitize import sanitize_for_prompt
from ...retrieval.uses.wording import use_phrase
from .review_excerpts import praise_excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ...retrieval.uses.shared import SharedUse
    from ...retrieval.uses.store import StoreUses, Use, UseSentence
    from .fact_ranking import RankedFacts
    from .quotations import Encode

MAX_USE_CHARS = 40
MIN_PURPOSE_COSINE = 0.2
"""Minimum cosine of a use and the name of what the shopper has: below it, the use does not say why this shopper may need the item."""
MIN_TEXT_COSINE, MAX_TEXT_GAP = 0.5, 0.05
"""Minimum cosine of a use and a text query that is about it, and how far it may be below that of the store's closest use."""


def add_shared_use(facts: RankedFacts, shared: SharedUse, anchor: Item, item: Item, name_of: Callable[[Item], str]) -> bool:
    """Add what both items are for, and a quotation that names it, if a review of the item does; return whether one does.

    Args: name_of: Returns the name of an item for a sentence.
    """
    phrase = _phrase(shared.use)
    name, own, lift = name_of(item), name_of(anchor), shared.use.support.lift
    unnamed = {item.item_id: name, anchor.item_id: own}
    near = [unnamed[item_id] for item_id in shared.use.near_items if item_id in unnamed]
    judged = f", {with_article(near[0])} as judged by its description" if near else ""
    facts.add(
        "use",
        Evidence("use", f"both are for {phrase}{judged}", anchor.item_id, round(lift, 2) if math.isfinite(lift) else None),
        f"both are for {phrase}.",
        f"{with_article(name, sentence_start=True)} and {with_article(own)} are both for {phrase}.",
        use=phrase,
    )
    if quote := use_quotation(shared):
        facts.add(
            "quote",
            Evidence("review", quote, item.item_id),
            f"a reviewer wrote “{quote}”",
            f"A reviewer of {with_article(name)} wrote “{quote}”",
            quote=f"“{quote}”",
        )
    return quote is not None


def add_purpose(facts: RankedFacts, use: Use, item: Item, name: str, *, worded: bool) -> str:
    """Add what an item is for, and return it as it stands behind "for".

    Args:
        facts: Facts about the item.
        use: The use.
        item: The item.
        name: Its name for a sentence.
        worded: Whether a count of shoppers links the item with the history, beside which a generated wording may state it.
    """
    phrase = _phrase(use)
    facts.add("purpose", _named_evidence(item, name, use), None, None, purpose=phrase if worded else None)
    return phrase


def add_named_use(facts: RankedFacts, use: Use, item: Item, name: str) -> None:
    """Add a use of an item that a text query is about."""
    phrase = _phrase(use)
    sentence = f"{with_article(name, sentence_start=True)} is for {phrase}."
    facts.add("use", _named_evidence(item, name, use), f"it is for {phrase}.", sentence, use=phrase)


def closest_named_use(uses: StoreUses, item_id: str, topics: Sequence[str], vectors: Encode) -> tuple[Use, int] | None:
    """Return the use that an item's texts name and that fits something of the shopper best, and what that is; None if none fits.

    Args:
        uses: Uses of the store.
        item_id: The item.
        topics: Names of what the shopper has, the most important first.
        vectors: Embeds texts as unit vectors.

    Returns: The use, and the index of its topic.
    """
    named = [use for use in uses.of_item(item_id) if item_id in use.items]
    if not named or not topics:
        return None
    cosines = _cosines(named, topics, vectors)
    topic, use = np.unravel_index(int(cosines.argmax()), cosines.shape)
    return (named[use], int(topic)) if cosines[topic, use] >= MIN_PURPOSE_COSINE else None


def use_of_text(uses: StoreUses, item_id: str, text: str, vectors: Encode) -> Use | None:
    """Return the named use of an item that a text query is about; None if it is about another use of the store, or about none.

    Args: as for `closest_named_use`; text is the query.
    """
    if not uses.uses:
        return None
    cosines = _cosines(uses.uses, [text], vectors)[0]
    least = max(MIN_TEXT_COSINE, float(cosines.max()) - MAX_TEXT_GAP)
    about = [(float(cosine), use) for cosine, use in zip(cosines, uses.uses, strict=True) if cosine >= least and item_id in use.items]
    return max(about, key=lambda pair: pair[0])[1] if about else None


def _cosines(uses: Sequence[Use], topics: Sequence[str], vectors: Encode) -> NDArray[np.float32]:
    """(topics, uses) cosines of topics and "for camping"."""
    encoded = np.asarray(vectors([*topics, *(f"for {use_phrase(use)}" for use in uses)]))
    cosines: NDArray[np.float32] = encoded[: len(topics)] @ encoded[len(topics) :].T
    return cosines


def use_quotation(shared: SharedUse) -> str | None:
    """Return a sentence of a review of the recommended item that names the use; None if no review does, or none may be quoted."""
    sentences = (sentence.sentence for sentence in shared.candidate_sentences if sentence.source == "review")
    return next((quote for sentence in sentences if (quote := praise_excerpt(sentence, shared.use.name))), None)


def _phrase(use: Use) -> str:
    return sanitize_for_prompt(use_phrase(use), MAX_USE_CHARS)


def _named_evidence(item: Item, name: str, use: Use) -> Evidence:
    """The use of one item with the sentence that names it, as evidence."""
    sentence: UseSentence = use.sentences_of(item.item_id)[0]
    text = sanitize_for_prompt(sentence.sentence, MAX_QUOTE_CHARS).translate(NO_QUOTES)
    is_shown = not is_prompt_injection(sentence.sentence) and mask_personal_data(text) == text
    source = f"{sentence.source}: “{text}”" if is_shown else sentence.source
    return Evidence("use", f"{name}: for {_phrase(use)} ({source})", item.item_id)
