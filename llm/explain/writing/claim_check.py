"""Check of a text that a model wrote freely: each sentence must say no more than the numbered facts that it cites.

Stricter than reading: numbers with their parts, verbatim quotations, names, who has what, in which direction a count goes, negations, and
every word that is neither in a cited fact, nor in the store's own text of the item, nor in a list of words that state no property. It is
closed where the wordings' check is (`grounding`), with a larger list, because the model chooses its words. Reads only text and facts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....data.records import Evidence
from ....prompts.injection import is_prompt_injection
from ..grounding import grounding_faults
from ..vocabulary import NEGATION_WORDS
from .plain_words import PLAIN_WORDS

if TYPE_CHECKING:
    from ..reasons import Reason

MAX_CHARS = {"line": 320, "paragraph": 700, "bullets": 700}
_CITATION = re.compile(r"\s*\[\s*(e\d+(?:\s*[,;]\s*e\d+)*)\s*\]")
_SENTENCES = re.compile(r"(?<=[.!?:”])\s+(?=[A-Z“-])|\n+")
_QUOTATION = re.compile(r"[\"“][^\"“”]*[\"”]")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_LINK = re.compile(r"https?:|www\.|\b\w+\.(?:com|net|org|io)\b|@", re.IGNORECASE)
_NEGATIONS = NEGATION_WORDS | frozenset("none nobody nothing neither nor cannot hardly".split())
_SUFFIXES = ("ings", "ing", "ies", "es", "ed", "ly", "s", "e", "y")
_SHARE = re.compile(r"(?<![\w.,])\d+ (?:out )?of (?:the |all )?\d+")
_ROLE = re.compile(rf"{_SHARE.pattern}|(?<![\w.,])\d+(?:\.\d+)? times")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_PROMISES = frozenset(
    """
    amazing awesome beautiful best better brilliant cheap cheaper cheapest excellent fantastic free great greatest guarantee guaranteed
    ideal incredible lovely luxurious must-have outstanding perfect perfectly premium sale stunning super superb top ultimate unbeatable
    wonderful
    """.split()
)
"""Words of a store's own texts that praise or promise; a reason may not repeat them outside a quotation."""


@dataclass(frozen=True, slots=True)
class CitedSentence:
    """A sentence with the ids of the facts that it cites.

    Attributes:
        text: The sentence without citations.
        ids: The cited ids, each once.
    """

    text: str
    ids: tuple[str, ...]


def cited_sentences(text: str) -> list[CitedSentence]:
    """Return the sentences, or lines of a list, of a text with citations like `[e1, e2]`.

    >>> cited_sentences("Both are for camping [e1]. A reviewer wrote “Dry all night” [e2].")[0]
    CitedSentence(text='Both are for camping.', ids=('e1',))
    """
    found: list[CitedSentence] = []
    # A citation belongs to the sentence that it follows, also behind the full stop.
    moved = re.sub(r"([.!?:])((?:\s*\[\s*e\d[^\]]*\])+)", r"\2\1", text.strip())
    for part in _SENTENCES.split(moved):
        ids = dict.fromkeys(name for match in _CITATION.finditer(part) for name in re.findall(r"e\d+", match[1]))
        if plain := _CITATION.sub("", part).strip():
            found.append(CitedSentence(plain, tuple(ids)))
    return found


def claim_faults(sentences: Sequence[CitedSentence], reason: Reason, length: str) -> list[str]:
    """Return what a text says beyond its facts, in words; an empty list means that it may be shown.

    Args:
        sentences: The text.
        reason: The facts, and what the store says of the items.
        length: line, paragraph or bullets.
    """
    text = " ".join(sentence.text for sentence in sentences)
    facts = {fact.evidence_id: fact for fact in reason.shown_evidence or reason.evidence}
    faults: list[str] = []
    if reason.item not in text:
        faults.append("it does not name the item")
    if len(text) > MAX_CHARS[length]:
        faults.append("it is too long")
    if _LINK.search(_QUOTATION.sub(" ", text)) or is_prompt_injection(_QUOTATION.sub(" ", text)):
        faults.append("it has a link or an instruction")
    if not any(sentence.ids for sentence in sentences):
        faults.append("it cites no fact")
    for sentence in sentences:
        unknown = [name for name in sentence.ids if name not in facts]
        faults += [f"there is no fact {name}" for name in unknown]
        cited = [facts[name] for name in sentence.ids if name in facts]
        faults += _sentence_faults(sentence.text, cited, reason)
    return list(dict.fromkeys(faults))


def _sentence_faults(text: str, cited: Sequence[Evidence], reason: Reason) -> list[str]:
    """What a sentence says beyond the facts it cites."""
    names = [name for name in sorted(reason.product_names, key=len, reverse=True) if name in text]
    known = _known_words(cited, reason)
    # The wordings' check covers numbers, quotations, signs and "most"; its words are fewer, so only those unknown to both are faults.
    faults = []
    for fault in grounding_faults(f"{text} {reason.item}", reason.product_names, cited, allow_lines=True):
        word = re.fullmatch(r"“([^\W\d_]+(?:['’-][^\W\d_]+)*)” is not in the evidence", fault)
        if word and (word[1].casefold() in PLAIN_WORDS or _stem(word[1]) in known) and word[1].casefold() != "most":
            continue
        faults.append(fault)
    bare = _QUOTATION.sub(" ", text)
    for name in names:
        bare = bare.replace(name, " ")
    said = {word.casefold().replace("’", "'") for word in _WORD.findall(bare)}
    in_facts = {word.casefold() for fact in cited if fact.kind not in ("review", "need") for word in _WORD.findall(fact.text)}
    negated = {word for word in said if word in _NEGATIONS or word.endswith("n't")} - in_facts
    faults += [f"“{word}” turns a fact around" for word in sorted(negated)]
    faults += _bare_number_faults(bare, cited)
    faults += _capital_faults(bare, cited, reason)
    return faults + _ownership_faults(text, reason) + _direction_faults(text, reason)


def _known_words(cited: Sequence[Evidence], reason: Reason) -> set[str]:
    """Stems of the words in the cited facts and in the store's texts of the two items."""
    texts = [
        *(fact.text for fact in cited if fact.kind != "review"),
        *reason.product_names,
        reason.background.about,
        reason.background.anchor_about,
    ]
    return {_stem(word) for text in texts for word in _WORD.findall(text) if word.casefold() not in _PROMISES}


def _bare_number_faults(text: str, cited: Sequence[Evidence]) -> list[str]:
    """Parts of a share, or of "3.4 times", that stand alone, unless a cited fact has them alone as well."""
    facts = " ".join(fact.text for fact in cited if fact.kind not in ("review", "need"))
    in_roles = {number for role in _ROLE.findall(facts) for number in _NUMBER.findall(role)}
    alone = set(_NUMBER.findall(_ROLE.sub(" ", facts)))
    bare = _NUMBER.findall(_ROLE.sub(" ", text))
    return [f"the number {number} stands without its other part" for number in bare if number in in_roles - alone]


def _capital_faults(text: str, cited: Sequence[Evidence], reason: Reason) -> list[str]:
    """Names inside a sentence that no cited fact, item or history has."""
    sources = [*(fact.text for fact in cited), *reason.product_names, *reason.background.history, reason.background.about]
    allowed = {word for source in sources for word in _WORD.findall(source)}
    inner = [match[0] for match in _WORD.finditer(text) if match.start() and not re.search(r"[.!?:]\s*$|^[-\s]*$", text[: match.start()])]
    return [f"the name {word} is not in the evidence" for word in inner if word[0].isupper() and word not in allowed and word != "I"]


def _ownership_faults(text: str, reason: Reason) -> list[str]:
    """Claims that the shopper has an item that they do not have."""
    absent = [reason.item, *([reason.anchor] if reason.anchor and not reason.anchor_purchased else [])]
    has = r"(?:your (?:new |own )?|you(?:'ve| have|’ve)? (?:got|bought|have|own|owned|took|purchased)(?: the| a| an)? )"
    return [f"the shopper does not have the {name}" for name in absent if re.search(has + re.escape(name), text, re.IGNORECASE)]


def _direction_faults(text: str, reason: Reason) -> list[str]:
    """Counts that begin with the recommended item: the fact counts the users of the history item."""
    if not reason.anchor:
        return []
    faults = []
    for share in _SHARE.finditer(text):
        rest = text[share.end() :]
        item, anchor = rest.find(reason.item), rest.find(reason.anchor)
        if (item >= 0 and (anchor < 0 or item < anchor) and reason.anchor not in text[: share.start()]) or 0 <= item < anchor:
            faults.append(f"“{share[0]}” counts those with the {reason.anchor}, not with the {reason.item}")
    return faults


def _stem(word: str) -> str:
    """A word without a common ending, of at least three letters."""
    word = word.casefold().replace("’", "'").removesuffix("'s")
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word.removesuffix(suffix)
    return word


def plain_text(sentences: Sequence[CitedSentence], length: str) -> str:
    """Return a text without citations, the lines of a list one below the other."""
    return ("\n" if length == "bullets" else " ").join(sentence.text for sentence in sentences)
