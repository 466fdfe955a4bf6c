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
    first second two other times usual share close description not yet any category item
    """.split()
)
"""Words of the clauses that the store fills in."""
COMMENTING_WORDS = frozenset(
    """
    about account added against another answer bear been begin behind belong belongs besides between brand case categories choose
    compare compared comparison concerned connects consider considered considers count counterpart counts critical date decide do
    enough entry evidence exact facts far figure figures followed follows get given going held hence here hint how if interest into
    itself joined judge judged keep keeping kind know latter lead leads led let level like liking line link linked links list listed
    listing maker matter measured mentioned mind name near news note noted our over owner pair paper perhaps picked pieces point
    points price put puts quote quoted read reads reason reasons record records regard regards relate relation relevant remark
    reservation review reviewed reviewer's reviewers reviews same say says see seen sense sentence set should show side sides somebody
    speak speaking speaks stands start store store's take taken taking tell tells terms texts than them therefore these they things
    think though thought thus told us use view was way we weigh weighing whether whoever why wondered wondering word wording words
    writes
    """.split()
)
"""Further words for a model that is trained to explain: words that point to evidence, weigh it, or hedge."""

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
        foreign |= {"bought", "buy", "buys", "rated"} - {words.base, words.past}
    if not words.means_owning:
        foreign |= OWNER_WORDS
    return not foreign & set(_WORD.findall(text)) and (words.means_owning or not _TO_HAVE.search(text))
