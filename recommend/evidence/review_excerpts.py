"""Excerpts of untrusted store texts for use in a sentence: verbatim review quotations, positive or negative, and display names.

A quotation is shown verbatim or not at all; a title is shortened, never reworded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from ...data.privacy.pii_masking import mask_personal_data
from ...data.records import Item
from ...llm.explain.reasons import MAX_NAME_CHARS, MAX_QUOTE_CHARS, NO_QUOTES
from ...prompts.injection import is_prompt_injection, truncate_at_injection
from ...prompts.sanitize import sanitize_for_prompt, shorten
from .complaint_detection import is_complaint, may_be_complaint

MAX_WHOLE_TITLE_CHARS = 40
"""Titles up to this length are names as they are: "Machine learning with Python" is not "Machine learning"."""
MAX_REVIEW_CHARS = 5000
"""Characters of a review that are read."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
# Abbreviations: their full stop does not end a sentence.
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|no|nr|tel|approx|vs|etc|inc|max|min|e\.g|i\.e)\.$", re.IGNORECASE)
_QUOTATION = frozenset('"“”„‟«»＂〝〞❝❞')
# Separators after which a store's title continues as a list of keywords.
_KEYWORDS = re.compile(r" [|¦/(\[–—-]|,(?!\d)|: |; | with | for ", re.IGNORECASE)


def praise_sentences(text: str) -> list[str]:
    """Return the verbatim sentences of a review that may be shown as praise, each cut at a word boundary.

    Unsuitable are sentences with personal data (masking it would not be verbatim), quotation marks, characters that sanitizing would
    change, mostly repeated words, or a possible complaint. A review with a prompt injection is not quoted at all.
    """
    # The rating is for the whole review: a positive review may contain a complaint, which is no reason to buy.
    return list(_suitable_sentences(text, lambda sentence, _: not may_be_complaint(sentence)))


def praise_excerpt(text: str, about: str = "") -> str | None:
    """Return the sentence for praise that shares most words with `about`, else the first; None if there is none."""
    return _most_shared(praise_sentences(text), about)


def complaint_excerpt(text: str, about: str = "") -> str | None:
    """Return a verbatim sentence of a review that is a clear complaint; None if there is none. Conditions as for `praise_sentences`."""
    # The end of a sentence may reverse its beginning; and the complaint must not be in the part that is cut off.
    return _most_shared(_suitable_sentences(text, lambda sentence, quote: is_complaint(sentence) and is_complaint(quote)), about)


def _suitable_sentences(text: str, is_suitable: Callable[[str, str], bool]) -> Iterator[str]:
    """Yield the presentable, suitable sentences. Args: is_suitable: called with a sentence and with its excerpt."""
    text = text[:MAX_REVIEW_CHARS]
    masked: str | None = None
    for sentence in _SENTENCE_END.split(text):
        quote = shorten(sentence.strip(), MAX_QUOTE_CHARS)
        if not _presentable(quote) or not is_suitable(sentence, quote):
            continue
        if masked is None:
            # On the whole review: an injection may span several sentences, and a name is introduced in one sentence and used in the next.
            if is_prompt_injection(text):
                return
            masked = mask_personal_data(text)
        if quote in masked:
            yield quote


def _most_shared(quotes: Iterable[str], about: str) -> str | None:
    """Return the first of the quotes that share most words with a text."""
    about_stems = stems(about)
    return max(quotes, key=lambda quote: len(about_stems & stems(quote)), default=None)


def _presentable(quote: str) -> bool:
    """Whether a text is a complete sentence that can be put in quotation marks unchanged."""
    words = quote.casefold().split()
    return (
        len(quote) >= 25
        and len(words) >= 5
        and 2 * len(set(words)) > len(words)
        and quote == sanitize_for_prompt(quote, MAX_QUOTE_CHARS)
        and not _QUOTATION & set(quote)
        and not _ABBREVIATION.search(quote)
    )


def stems(text: str) -> set[str]:
    """Return the content words of a text as lower-case stems."""
    # The first four letters approximate a stem: "camping" matches "camp", "tents" matches "tent".
    return {word[:4] for word in re.findall(r"[^\W\d_]{4,}", text.casefold())}


def display_name(item: Item) -> str:
    """Return the name of an item for use in a sentence: its title, or the beginning of a long one, without trailing keywords.

    A title is cut before a prompt injection; if nothing is left, the item id is used.
    """
    harmless = truncate_at_injection(item.title)
    title = sanitize_for_prompt(harmless, 200) or sanitize_for_prompt(item.item_id, MAX_NAME_CHARS)
    is_whole = harmless == item.title and len(title) <= MAX_WHOLE_TITLE_CHARS
    for separator in _KEYWORDS.finditer(title) if not is_whole else ():
        head = title[: separator.start()]
        if len(head) >= 12 and len(head.split()) >= 2:
            title = head
            break
    return shorten(title, MAX_NAME_CHARS).translate(NO_QUOTES).rstrip(".,:;- ")
