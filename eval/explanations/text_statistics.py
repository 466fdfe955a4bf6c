"""How explanations are worded: variety, the features they speak of, length, and how hard they are to read. Knows nothing of truth.

Every figure is of many texts together; of no text at all it is NaN.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

_SENTENCE_END = re.compile(r"[.!?]+[”\"')]*(?=\s|$)")
_VOWELS = re.compile(r"[aeiouyäöüéèêáàâíóúœæ]+")
_SILENT = re.compile(r"(?:[^aeiouyl]|[aeiouy]l)(?:e|(?<![cghsxz])es|(?<![dt])ed)$")


def distinct(texts: Sequence[str], n: int) -> float:
    """Distinct runs of n words over all runs of n words, 0 to 1; words are what stands between spaces, with its capitals and marks.

    Source: Li et al., NAACL 2016, who divide by the number of words; by the runs that there are, texts that never repeat come to 1.
    """
    runs = [run for text in texts for run in _runs(text.split(), n)]
    return len(set(runs)) / len(runs) if runs else float("nan")


def unique_sentences(texts: Sequence[str]) -> float:
    """Distinct texts over texts, above 0 and at most 1; spaces aside, they must be the same letter by letter.

    Source: Li et al., CIKM 2020 (USR), where an explanation is one sentence, as it is here.
    """
    return len({" ".join(text.split()) for text in texts}) / len(texts) if texts else float("nan")


def commonest_opening(texts: Sequence[str], names: Sequence[str], words: int = 6) -> float:
    """Share of the texts whose first words, those of names left aside, are the commonest first words, 0 to 1.

    Args: names: for each text, the names that may stand in it, as one string.
    """
    openings = Counter(_opening(text, own, words) for text, own in zip(texts, names, strict=True))
    return max(openings.values()) / len(texts) if texts else float("nan")


def mentions(text: str, features: Collection[str]) -> set[str]:
    """Those of the features that stand in a text in whole words, without regard to case."""
    return {feature for feature in features if re.search(rf"(?<!\w){re.escape(feature)}(?!\w)", text, re.IGNORECASE)}


def feature_coverage(mentioned: Sequence[Collection[str]], features: Collection[str]) -> float:
    """FCR: the share of all features that any text speaks of, 0 to 1; NaN without features.

    Args: mentioned: the features of each text (`mentions`). features: all that there are; others do not count.
    Source: Li et al., CIKM 2020 (NETE) and ACL 2021 (PETER).
    """
    whole = set(features)
    return len(whole & set().union(*mentioned)) / len(whole) if whole else float("nan")


def feature_matching(mentioned: Sequence[Collection[str]], wanted: Sequence[Collection[str]]) -> float:
    """FMR: the share of texts that speak of what they were meant to speak of, 0 to 1; texts meant for nothing do not count.

    Args: mentioned: the features of each text. wanted: those that each is meant for: any one of them will do.
    Source: as `feature_coverage`; there each text is meant for exactly one feature.
    """
    matched = [bool(set(told) & set(meant)) for told, meant in zip(mentioned, wanted, strict=True) if meant]
    return sum(matched) / len(matched) if matched else float("nan")


def mean_words(texts: Sequence[str]) -> float:
    """Mean length in words, as `distinct` has them."""
    return sum(len(text.split()) for text in texts) / len(texts) if texts else float("nan")


def grade(texts: Sequence[str]) -> float:
    """Flesch-Kincaid grade of all texts as one: the years of an American school that reading them takes; below 0 for the very easy.

    What does not end in a full stop is a sentence, too. Words without a letter, numbers above all, are left out; product names are not,
    and make a text look harder than it is.

    Source: Kincaid et al., 1975: 0.39 words per sentence + 11.8 syllables per word - 15.59, by `syllables`.
    """
    words = [word for text in texts for word in re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text)]
    if not words:
        return float("nan")
    sentences = sum(bool(part.strip()) for text in texts for part in _SENTENCE_END.split(text))
    return 0.39 * len(words) / sentences + 11.8 * sum(map(syllables, words)) / len(words) - 15.59


def syllables(word: str) -> int:
    """The syllables of an English word, 1 or more, by a rule of thumb: runs of vowels (y is one), less a silent e.

    Silent is a last e after a consonant ("make"), also before s ("makes", but not "boxes") or d ("looked", but not "added"); not in
    "table", where the consonant is an l after another one. "Idea" gets two, "sacred" one.
    """
    small = word.casefold()
    return max(1, len(_VOWELS.findall(small)) - bool(_SILENT.search(small)))


def _runs(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _opening(text: str, names: str, words: int) -> str:
    own = set(re.split(r"\W+", names))
    return " ".join([word for word in re.split(r"\W+", text) if word and word not in own][:words])
