"""Closed vocabulary of explanations: words that relate facts without stating any.

Adjectives that promise something (waterproof, stylish, durable), places, people and numbers are excluded on purpose: an explanation may
use such a word only if the evidence contains it.
"""

import re

from ...data.store_words import DEFAULT_WORDS, StoreWords

JOINING_WORDS = frozenset(
    """
    a an the this that it its is are be to of in on at with for by as and or so too also both
    you your what which who when while once now then there next soon later after before already still
    can could may might will would has have had having
    go goes come comes fit fits suit suits complete completes complement complements round rounds add adds adding work works
    need needs want wants look looking thinking considering
    well together along alongside beside useful handy natural sensible logical
    worth step addition companion choice pick thing one first
    off up more since because are those something likely
    """.split()
)

STORE_WORDS = frozenset(
    """
    shopper shoppers reviewer bought rated looked said wrote from where there
    first second two other times usual share close description descriptions alike liked not yet any category item
    """.split()
)
"""Words of the clauses that the store fills in."""
COMMENTING_WORDS = frozenset(
    """
    about against aisle aisles another anything apart ask asked been behind belong belongs but buy buying came case caution choose
    choosing complaint consider critical curious decide did do else exact fairness far figures find get getting going got hand
    hear help helps here here's hint home how idea if interest it's just keep know knowing let like line list looks make maker
    makes mean meant mentioned mind name our people perhaps place plan planning point price put read reads ready reason reasons
    reservation review reviews same say says see sense shopping should show side sides start stop store such suggest take takes
    tell them they things think though thought told try us use using was way we what's whoever why wonder wondering word you're
    """.split()
)
"""Further words for a model that is trained to explain: words that point to evidence, weigh it, or hedge."""

COUNT_WORDS = frozenset("most some often than lately other".split())
"""Words that stand for a count in a text for customers; a model may not write them by itself."""

OWNER_WORDS = frozenset("owner owners having".split())
"""Words for somebody who has an item; unsuitable where items are watched, taken or visited."""

NEGATION_WORDS = frozenset("not no any never without".split())
"""Words that would reverse a fact; a model may not write them."""

HEDGE_WORDS = frozenset("could may might would perhaps".split())
"""A sentence about weak facts needs one of these."""

OWNERSHIP_WORDS = frozenset("have your yours already had".split())
"""Words that claim that the shopper owns an item; excluded if the shopper only viewed it."""

COMPLAINT_WORDS = frozenset("reservation reservations caution doubt complaint critical less".split())
"""Words that introduce a complaint."""

CONCESSION_WORDS = COMPLAINT_WORDS | frozenset("though although but however still yet not other caveat against".split())
"""A quoted complaint must be preceded by one of these."""

ATTRIBUTION_WORDS = frozenset("reviewer reviewers reviewer's review reviews reviewed owner quoted quote".split())
"""Words that introduce what somebody wrote: only a quote may follow, or a statistic would be attributed to a reviewer."""

_WORD = re.compile(r"[^\W\d_]+")
_PLACEHOLDER = re.compile(r"\{\w+\}")
_YOUR_OWN = re.compile(r"\b([Yy])our (?=\{own\})")
_YOU_HAVE = re.compile(r"\b([Yy])ou (?:have|got) (?=(?:the|your) \{own\})")
_IN_STORE = re.compile(r"\b[Ii]n (?:our|this) store, ")
_TO_GET = re.compile(r"(?<=\bto )get(?= after\b)")
_HAVE_YOU = re.compile(r"\bhave you\b")
_TO_HAVE = re.compile(r"\b(?:to|you) have\b")


def suits_store(wording: str, words: StoreWords) -> bool:
    """Whether a generated wording can be shown in a store: it has no noun or verb of a shop where the store has its own.

    Args:
        wording: Text with `{slot}` placeholders, whose values are in the store's words already.
        words: The store's words.
    """
    text = _PLACEHOLDER.sub("", wording).casefold()
    foreign: set[str] = set()
    if words.item != DEFAULT_WORDS.item:
        foreign |= {"item", "items"}
    if words.user != DEFAULT_WORDS.user:
        foreign |= {"shopper", "shoppers"}
    if words.verb is not None:
        foreign |= {"bought", "buy", "buys", "buying", "rated", "shopping", "aisle", "aisles"} - {words.base, words.past}
    if not words.means_owning:
        foreign |= OWNER_WORDS | {"store", "shop"}
    return not foreign & set(_WORD.findall(text)) and (words.means_owning or not _TO_HAVE.search(text))


def wording_for_store(wording: str, words: StoreWords) -> str | None:
    """Return a generated wording as it fits a store; None if it cannot be shown there.

    Where users do not own items afterwards, it says what they did: "you have the {own}" becomes "you took the {own}", and "your {own}"
    becomes "the {own}". Nothing else may say that they have it.
    """
    if not words.means_owning:
        wording = _YOU_HAVE.sub(rf"\1ou {words.past} ", _IN_STORE.sub("", _TO_GET.sub(words.base, wording)))
        wording = _YOUR_OWN.sub(lambda match: "The " if match[1] == "Y" else "the ", wording)
        if "{own}" in wording and {*OWNERSHIP_WORDS, "got", "get"} & set(_WORD.findall(_HAVE_YOU.sub("", wording.casefold()))):
            return None
    return wording if suits_store(wording, words) else None
