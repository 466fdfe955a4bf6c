"""Names as people write them: what of two spellings is the same, and finding a name among many. English plurals and common words.

Knows nothing of what a name stands for: a caller's numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MatchType = Literal["exact", "plural", "inside the name", "spelling", "meaning"]
COMPARED = 20
"""Names, of those whose letters promise most, that are compared letter by letter."""
STOP_WORDS = frozenset(
    "a an the of for in on to with and or by from at as is are was were be been who that which what where when why how people "
    "persons someone anyone everyone users customers shoppers buyers owners those they them their his her my our your you we it "
    "its like likes love loves lovers fans start starts started starting begin began begun took take taken up got get getting into "
    "has have had just new first recently want wants go goes going planning plan do does did something things stuff every all some "
    "any this these not only also next need needs".split()
)
# What a shop appends to a name without narrowing it: "Pet Supplies" are what is for pets.
_GENERIC_WORDS = frozenset("supply product store shop item good equipment gear department".split())
_IRREGULAR = {"women": "woman", "men": "man", "children": "child", "mice": "mouse", "feet": "foot", "teeth": "tooth", "people": "person"}


class NameIndex:
    """Names of one kind, each standing for some numbers; found by their folded form, its singular, or with a mistake."""

    def __init__(self, names: Iterable[tuple[str, int]]) -> None:
        self.refs: dict[str, list[int]] = {}
        self.with_comma: set[str] = set()
        for name, ref in names:
            if folded := normalize_name(name):
                of_name = self.refs.setdefault(folded, [])
                if ref not in of_name[-1:]:
                    of_name.append(ref)
                if "," in name:
                    self.with_comma.add(folded)
        self.folded = list(self.refs)
        self.by_key: dict[str, list[str]] = {}
        for folded in self.folded:
            self.by_key.setdefault(singular_key(folded), []).append(folded)

    def lookup(self, folded: str) -> list[tuple[int, MatchType]]:
        """The numbers of a name, exact ones and those that differ in the plural."""
        found: list[tuple[int, MatchType]] = []
        for name in self.by_key.get(singular_key(folded), ()):
            found += [(ref, "exact" if name == folded else "plural") for ref in self.refs[name]]
        return found

    def similar(self, folded: str, cutoff: float, n: int) -> list[tuple[float, str]]:
        """At most `n` names with a ratio of at least `cutoff`, best first; only the most promising by their letters are compared."""
        if not self.folded:
            return []
        counts, lengths = self._letters
        wanted = np.bincount([ord(c) & 63 for c in folded], minlength=64)
        common = np.zeros(len(lengths), dtype=np.int64)
        for letter in np.flatnonzero(wanted):
            common += np.minimum(counts[letter], min(wanted[letter], 255))
        bound = 2 * common / (lengths + len(folded))  # what difflib's ratio cannot exceed
        places = np.flatnonzero(bound >= cutoff)
        places = places[np.argsort(-bound[places], kind="stable")[:COMPARED]]
        matcher = SequenceMatcher(None, "", folded, autojunk=False)  # it prepares its second text once
        ratios = []
        for name in (self.folded[i] for i in places):
            matcher.set_seq1(name)
            ratios.append((matcher.ratio(), name))
        return sorted((pair for pair in ratios if pair[0] >= cutoff), key=lambda pair: (-pair[0], pair[1]))[:n]

    @cached_property
    def _letters(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """((64, names) how often each letter, told by six bits of its code; (names,) lengths)."""
        lengths = np.asarray([len(name) for name in self.folded], dtype=np.int64)
        codes = np.frombuffer("".join(self.folded).encode("utf-32-le"), dtype=np.uint32) & 63
        places = codes.astype(np.int64) * len(lengths) + np.repeat(np.arange(len(lengths)), lengths)
        counts = np.bincount(places, minlength=64 * len(lengths))
        return np.minimum(counts, 255).astype(np.uint8).reshape(64, len(lengths)), lengths


def normalize_name(text: str) -> str:
    """A name without what people leave out or vary: case, accents, punctuation, a leading "the"; ` > ` stays between levels."""
    if ">" in text or "›" in text:  # the second is how a message shows the first
        return " > ".join(filter(None, map(normalize_name, re.split("[>›]", text))))
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    text = text.casefold().replace("&", " and ").replace("'", "").replace("’", "")
    words = (_ASCII_MARKS.sub(" ", text) if text.isascii() else "".join(map(_letter, text))).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] == "the" else words)


_ACCENTS = re.compile("[̀-ͯ]")
# Plus and sharp stay: C, C++ and C# are three.
_ASCII_MARKS = re.compile(r"[^0-9a-z+#]+")
NO_ROWS: NDArray[np.int64] = np.empty(0, dtype=np.int64)


@lru_cache(maxsize=4096)
def _letter(character: str) -> str:
    return character if character in "+#" or unicodedata.category(character)[0] not in "PSZC" else " "


def singular_key(folded: str) -> str:
    """The folded name with its last word in a form that singular and plural share; no word of any language, only a key."""
    head, space, last = folded.rpartition(" ")
    return head + space + singular_stem(last)


@lru_cache(maxsize=65536)
def singular_stem(word: str) -> str:
    if word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    word = _IRREGULAR.get(word, word)
    if len(word) > 3:
        for ending, key in (("ie", "y"), ("ve", "f"), ("fe", "f")):  # batterie(s), movie; shelve(s), glove; knife
            if word.endswith(ending):
                return word[:-2] + key
        if word.endswith(("xe", "che", "she", "sse", "ze", "oe")):  # boxe(s), watche(s), dishe(s), glasse(s), shoe
            return word[:-1]
    return word


@lru_cache(maxsize=65536)
def word_stem(word: str) -> str:
    """Looser than a stem: bakes, baked and baking share it."""
    word = singular_stem(word)
    for ending in ("ing", "ed", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def without_generic(words: Iterable[str]) -> list[str]:
    listed = list(words)
    return [word for word in listed if word not in _GENERIC_WORDS] or listed


def category_heads(name: str) -> set[tuple[str, int]]:
    """The heads of a category's name, each with the number of words beside it.

    English puts the head last: "Cell Phones & Accessories" are phones, and accessories; "Phone Cases" are no phones.
    """
    words = without_generic(singular_stem(word) for word in normalize_name(name).split() if word != "and")
    heads = set()
    for part in re.split(r",|&|\band\b", name, flags=re.IGNORECASE):
        stems = without_generic(singular_stem(word) for word in normalize_name(part).split())
        heads |= {
            (" ".join(stems[start:]), len(words) - len(stems) + start) for start in range(len(stems)) if stems[start] not in STOP_WORDS
        }
    return heads


def group_by_name(names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """((items,) the number of each name, equal when folded alike; (numbers,) a row that has it)."""
    _, rows, numbers = np.unique(np.asarray([normalize_name(name) for name in names], dtype=object), return_index=True, return_inverse=True)
    return numbers.astype(np.int64), rows.astype(np.int64)


def title_postings(titles: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Word to the rows whose title has it, ascending."""
    numbers: dict[str, int] = {}
    words = [{numbers.setdefault(word_stem(word), len(numbers)) for word in normalize_name(title).split()} for title in titles]
    flat = np.fromiter((word for of_title in words for word in of_title), dtype=np.int64)
    rows = np.repeat(np.arange(len(titles)), [len(of_title) for of_title in words])[np.argsort(flat, kind="stable")]
    starts = np.searchsorted(np.sort(flat), np.arange(len(numbers) + 1))
    return {word: rows[starts[number] : starts[number + 1]] for word, number in numbers.items()}
