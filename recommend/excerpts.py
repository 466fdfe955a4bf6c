"""What of a store's own texts may stand in a sentence: a verbatim stretch of a review, a product's name.

Both are written by strangers. A quotation is shown as it was written or not at all; a name is cut, never reworded.
"""

from __future__ import annotations

import re

from ..data.records import Item
from ..llm.explainer import NAME, NO_QUOTES, QUOTE
from ..prompts.fence import fence, shorten

# What could be somebody's address, number or order stays unquoted; masking it would no longer be verbatim.
_PRIVATE = re.compile(r"@|https?:|www\.|\d{5,}|\d{3}[-. ]\d{3,}")
# A review that talks to a machine is not one about the item; it could do no harm in quotation marks, but it is no reason either.
_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:instructions?|previous|above|rules?)\b|\b(?:system|assistant|user)\s*:|\bprompt\b",
    re.IGNORECASE,
)
# The rating is of the whole review; a sentence of it may still complain, and a complaint is no reason to buy.
_COMPLAINT = re.compile(
    r"\b(?:not|no|never|nothing|hardly|barely|but|however|although|though|unfortunately|only|except|wish|less|worse|worst|poor|bad|cheap|"
    r"broke|breaks?|broken|fades?|faded|leaks?|leaked|returned|refund|disappoint\w*|problems?|issues?|fails?|failed|wrong|missing|"
    r"too \w+)\b|n['’]t\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
# Where a store's title turns into a list of keywords.
_KEYWORDS = re.compile(r" [|¦/(\[–—-]|,(?!\d)|: |; | with | for ", re.IGNORECASE)


def quotable(text: str, about: str = "") -> str | None:
    """A verbatim stretch of a review that may be shown, cut at a word border; None if there is none.

    Of the fitting sentences the one that shares most words with `about`, else the first. Left out: what holds an address, a
    long number or a quotation mark, what the fence would have to change, what complains, and what gives orders to a model.
    """
    wanted = stems(about)
    best: tuple[int, str] | None = None
    for sentence in _SENTENCE_END.split(text):
        quote = shorten(sentence.strip(), QUOTE)
        whole = len(quote) >= 25 and len(quote.split()) >= 5
        if (
            whole
            and quote == fence(quote, QUOTE)
            and not _PRIVATE.search(quote)
            and not _ORDERS.search(quote)
            and not _COMPLAINT.search(sentence)
            and not any(c in quote for c in '"“”')
        ):
            shared = len(wanted & stems(quote))
            if best is None or shared > best[0]:
                best = shared, quote
    return best[1] if best else None


def stems(text: str) -> set[str]:
    """The words of a text by which it is told what it is about, without their endings and in small letters."""
    # Four letters stand in for a stem: "camping" meets "camp", "tents" meets "tent".
    return {word[:4] for word in re.findall(r"[^\W\d_]{4,}", text.casefold())}


def display_name(item: Item) -> str:
    """What an item is called in a sentence: the beginning of its title, up to where the keywords start."""
    title = fence(item.title, 200) or fence(item.item_id, NAME)
    for border in _KEYWORDS.finditer(title):
        head = title[: border.start()]
        if len(head) >= 12 and len(head.split()) >= 2:
            title = head
            break
    return shorten(title, NAME).translate(NO_QUOTES).rstrip(".,:;- ")
