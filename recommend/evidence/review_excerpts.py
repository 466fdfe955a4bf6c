"""What of a store's own texts may stand in a sentence: a verbatim stretch of a review, in praise or in complaint, a product's name.

Both are written by strangers. A quotation is shown as it was written or not at all; a name is cut, never reworded.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ...data.privacy.pii_masking import mask_personal_data
from ...data.records import Item
from ...llm.explain.reasons import MAX_NAME_CHARS, MAX_QUOTE_CHARS, NO_QUOTES
from ...prompts.injection import is_prompt_injection, truncate_at_injection
from ...prompts.sanitize import sanitize_for_prompt, shorten
from .complaint_detection import is_complaint, may_be_complaint

MAX_REVIEW_CHARS = 5000
"""Characters of a review that are looked at."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
# A point that ends no sentence, so what stands before it is no whole thought.
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|no|nr|tel|approx|vs|etc|inc|max|min|e\.g|i\.e)\.$", re.IGNORECASE)
_QUOTATION = frozenset('"“”„‟«»＂〝〞❝❞')
# Where a store's title turns into a list of keywords.
_KEYWORDS = re.compile(r" [|¦/(\[–—-]|,(?!\d)|: |; | with | for ", re.IGNORECASE)


def praise_excerpt(text: str, about: str = "") -> str | None:
    """A verbatim stretch of a review that may be shown, cut at a word border; None if there is none.

    Of the fitting sentences the one that shares most words with `about`, else the first. Left out: what says who somebody is or how
    to reach them (masking it would no longer be verbatim), what holds a quotation mark, what the fence would have to change, what
    only repeats itself, and what complains. A review that gives orders to a model is not quoted at all.
    """
    # The rating is of the whole review; a sentence of it may still complain, and a complaint is no reason to buy.
    return _best_sentence(text, about, lambda sentence, _: not may_be_complaint(sentence))


def complaint_excerpt(text: str, about: str = "") -> str | None:
    """A verbatim stretch of a review that surely complains about the item; None if there is none. All else is as for `quotable`."""
    # The whole sentence may turn what its beginning says; and the complaint must not be in the part that is cut off.
    return _best_sentence(text, about, lambda sentence, quote: is_complaint(sentence) and is_complaint(quote))


def _best_sentence(text: str, about: str, fits: Callable[[str, str], bool]) -> str | None:
    """The presentable sentence of a review that fits and shares most words with `about`, else the first; None if there is none."""
    text, wanted = text[:MAX_REVIEW_CHARS], stems(about)
    best: tuple[int, str] | None = None
    masked: str | None = None
    for sentence in _SENTENCE_END.split(text):
        quote = shorten(sentence.strip(), MAX_QUOTE_CHARS)
        if not _presentable(quote) or not fits(sentence, quote):
            continue
        if masked is None:
            # Of the whole review: an order is often given in several sentences, and a name is introduced in one and used in the next.
            if is_prompt_injection(text):
                return None
            masked = mask_personal_data(text)
        shared = len(wanted & stems(quote))
        if quote in masked and (best is None or shared > best[0]):
            best = shared, quote
    return best[1] if best else None


def _presentable(quote: str) -> bool:
    """Whether a stretch is a whole thought that can stand between quotation marks as it is."""
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
    """The words of a text by which it is told what it is about, without their endings and in small letters."""
    # Four letters stand in for a stem: "camping" meets "camp", "tents" meets "tent".
    return {word[:4] for word in re.findall(r"[^\W\d_]{4,}", text.casefold())}


def display_name(item: Item) -> str:
    """What an item is called in a sentence: the beginning of its title, up to where the keywords start.

    A title that speaks to a model ends where it begins to; one that begins with it is not said at all, but the item's id.
    """
    title = sanitize_for_prompt(truncate_at_injection(item.title), 200) or sanitize_for_prompt(item.item_id, MAX_NAME_CHARS)
    for border in _KEYWORDS.finditer(title):
        head = title[: border.start()]
        if len(head) >= 12 and len(head.split()) >= 2:
            title = head
            break
    return shorten(title, MAX_NAME_CHARS).translate(NO_QUOTES).rstrip(".,:;- ")
