"""Matching of names as users write them: normalization, singular and plural, word stems, spelling mistakes. English plurals and stop words.

Knows nothing of what a name refers to: a `NameIndex` maps names to numbers of the caller.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MatchType = Literal["exact", "plural", "inside the name", "spelling", "meaning"]
STOP_WORDS = frozenset(
    "a an the of for in on to with and or by from at as is are was were be been who that which what where when why how people "
    "persons someone anyone everyone users customers shoppers buyers owners those they them their his her my our your you we it "
    "its like likes love loves lovers fans start starts started starting begin began begun took take taken up got get getting into "
    "has have had just new first recently want wants go goes going planning plan do does did something things stuff every all some "
    "any this these not only also next need needs having being doing".split()
)
NO_ROWS: NDArray[np.int64] = np.empty(0, dtype=np.int64)
# Words that a store appends to a name without narrowing it: "Pet Supplies" are for pets.
_GENERIC_WORDS = frozenset("supply product store shop item good equipment gear department".split())
_IRREGULAR = {"women": "woman", "men": "man", "children": "child", "mice": "mouse", "feet": "foot", "teeth": "tooth", "people": "person"}
# Snowball leaves "shelv" of shelves and "knive" of knives, but "shelf" and "knife".
_V_FOR_F = re.compile("v$|(?<=i)v(?=e$)")
_ACCENTS = re.compile("[̀-ͯ]")
# Plus and sharp are kept: C, C++ and C# are different names.
_ASCII_MARKS = re.compile(r"[^0-9a-z+#]+")


class NameIndex:
    """Lookup of names of one kind: exact, in singular or plural, or with a spelling mistake.

    Args:
        names: Pairs of a name and a number that it refers to; a name may have several numbers.

    Attributes:
        numbers: Numbers of each normalized name, in the order given.
        with_comma: Normalized names that are written with a comma.
        by_key: Normalized names by the key that singular and plural share.
    """

    def __init__(self, names: Iterable[tuple[str, int]]) -> None:
        self.numbers: dict[str, list[int]] = {}
        self.with_comma: set[str] = set()
        for name, number in names:
            if normalized := normalize_name(name):
                of_name = self.numbers.setdefault(normalized, [])
                if number not in of_name[-1:]:
                    of_name.append(number)
                if "," in name:
                    self.with_comma.add(normalized)
        self.by_key: dict[str, list[str]] = {}
        for normalized in self.numbers:
            self.by_key.setdefault(singular_key(normalized), []).append(normalized)

    def lookup(self, normalized: str) -> list[tuple[int, MatchType]]:
        """Return the numbers of a normalized name, and of names that differ from it by singular and plural."""
        return [
            (number, "exact" if name == normalized else "plural")
            for name in self.by_key.get(singular_key(normalized), ())
            for number in self.numbers[name]
        ]

    def similar(self, normalized: str, cutoff: float, n: int) -> list[tuple[float, str]]:
        """Return at most `n` (similarity, name) pairs, most similar first.

        Args:
            cutoff: Minimum normalized Indel similarity, from 0 to 1: twice the longest common subsequence over the sum of the lengths.
        """
        from rapidfuzz import process
        from rapidfuzz.distance import Indel

        cutoff -= 1e-9  # a similarity equal to the cutoff passes in spite of rounding
        matches = process.extract(normalized, self.numbers.keys(), scorer=Indel.normalized_similarity, score_cutoff=cutoff, limit=None)
        return sorted(((similarity, name) for name, similarity, _ in matches), key=lambda match: (-match[0], match[1]))[:n]


def normalize_name(text: str) -> str:
    """Return a name in lower case without accents, punctuation and a leading "the", `&` as "and"; ` > ` between levels is kept."""
    if ">" in text or "›" in text:  # messages show ">" as "›"
        return " > ".join(filter(None, map(normalize_name, re.split("[>›]", text))))
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    text = text.casefold().replace("&", " and ").replace("'", "").replace("’", "")
    words = (_ASCII_MARKS.sub(" ", text) if text.isascii() else "".join(map(_letter_or_space, text))).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] == "the" else words)


@lru_cache(maxsize=4096)
def _letter_or_space(character: str) -> str:
    return character if character in "+#" or unicodedata.category(character)[0] not in "PSZC" else " "


def singular_key(normalized: str) -> str:
    """Return the normalized name with its last word in the form that singular and plural share."""
    head, space, last = normalized.rpartition(" ")
    return head + space + singular(last)


@lru_cache(maxsize=65536)
def singular(word: str) -> str:
    """Return the form that the singular and plural of an English noun share; a key, not always a word.

    Narrower than `word_stem`, which has one stem for dress and dressing, ear and earring, animal and animation: a name must not mean
    another. Based on the S-stemmer (Harman, JASIS 1991), with the endings -es and -ves and a few irregular nouns.
    """
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
    """Return the stem that the forms of an English word share: bakes, baked and baking. Source: Snowball's English stemmer (Porter2)."""
    from snowballstemmer.english_stemmer import EnglishStemmer  # type: ignore[import-untyped]

    if not word[-1:].isalpha():  # a number or a model name, which has no ending; stores have many
        return word
    word = _IRREGULAR.get(word.removesuffix("s"), word)  # "women", and "women's" without its apostrophe
    # A new stemmer for every word, because it keeps the word in its own state and requests run in several threads.
    return _V_FOR_F.sub("f", EnglishStemmer().stemWord(word))


def without_generic_words(words: Iterable[str]) -> list[str]:
    """Return the words without those that do not narrow a name, such as "supply"; all of them if nothing would be left."""
    listed = list(words)
    return [word for word in listed if word not in _GENERIC_WORDS] or listed


def category_heads(name: str) -> set[tuple[str, int]]:
    """Return the heads of a category name as singular words, each with the number of other words in the name.

    The head of an English noun phrase is last: "Cell Phones & Accessories" are phones, and accessories; "Phone Cases" are not phones.
    """
    words = without_generic_words(singular(word) for word in normalize_name(name).split() if word != "and")
    heads = set()
    for part in re.split(r",|&|\band\b", name, flags=re.IGNORECASE):
        singulars = without_generic_words(singular(word) for word in normalize_name(part).split())
        heads |= {
            (" ".join(singulars[start:]), len(words) - len(singulars) + start)
            for start in range(len(singulars))
            if singulars[start] not in STOP_WORDS
        }
    return heads


def group_by_name(names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group equal names: (items,) group number of each, the same for equal normalized names; (groups,) first row of each group."""
    _, rows, numbers = np.unique(np.asarray([normalize_name(name) for name in names], dtype=object), return_index=True, return_inverse=True)
    return numbers.astype(np.int64), rows.astype(np.int64)


def title_postings(titles: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Return the inverted index of some titles: for each word stem the rows whose title has it, ascending."""
    words = [normalize_name(title).split() for title in titles]
    numbers: dict[str, int] = {}
    number_of = {word: numbers.setdefault(word_stem(word), len(numbers)) for word in dict.fromkeys(chain.from_iterable(words))}
    stems = [{number_of[word] for word in of_title} for of_title in words]
    flat = np.fromiter(chain.from_iterable(stems), dtype=np.int64)
    rows = np.repeat(np.arange(len(titles)), [len(of_title) for of_title in stems])[np.argsort(flat, kind="stable")]
    starts = np.searchsorted(np.sort(flat), np.arange(len(numbers) + 1))
    return {stem: rows[starts[number] : starts[number + 1]] for stem, number in numbers.items()}
