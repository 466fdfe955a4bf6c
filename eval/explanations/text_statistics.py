"""Text statistics of explanations: variety, mentioned features, length and readability. This module does not know what is true.

Every statistic is over many texts together; over no texts it is NaN.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

_SENTENCE_END = re.compile(r"[.!?]+[”\"')]*(?=\s|$)")
_VOWELS = re.compile(r"[aeiouyäöüéèêáàâíóúœæ]+")
_SILENT = re.compile(r"(?:[^aeiouyl]|[aeiouy]l)(?:e|(?<![cghsxz])es|(?<![dt])ed)$")


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Return distinct-n: distinct n-grams over all n-grams, 0 to 1, of whitespace-separated words with case and punctuation.

    Source: Li et al., NAACL 2016, who divide by the number of words; divided by the number of n-grams, texts without repetition score 1.
    """
    ngrams = [ngram for text in texts for ngram in _ngrams(text.split(), n)]
    return len(set(ngrams)) / len(ngrams) if ngrams else float("nan")


def unique_sentences(texts: Sequence[str]) -> float:
    """Return distinct texts over all texts, above 0 and at most 1; texts that differ only in whitespace are equal.

    Source: Li et al., CIKM 2020 (USR), where an explanation is one sentence, as it is here.
    """
    return len({" ".join(text.split()) for text in texts}) / len(texts) if texts else float("nan")


def commonest_opening(texts: Sequence[str], names: Sequence[str], words: int = 6) -> float:
    """Return the share of texts that start with the most frequent first words, 0 to 1.

    Args:
        texts: Texts.
        names: For each text, the names that may occur in it, as one string; words of names are skipped.
        words: Number of first words to compare.
    """
    openings = Counter(_opening(text, text_names, words) for text, text_names in zip(texts, names, strict=True))
    return max(openings.values()) / len(texts) if texts else float("nan")


def mentioned_features(text: str, features: Collection[str]) -> set[str]:
    """Return the features that occur in a text in whole words, case-insensitively."""
    return {feature for feature in features if re.search(rf"(?<!\w){re.escape(feature)}(?!\w)", text, re.IGNORECASE)}


def feature_coverage(mentioned: Sequence[Collection[str]], features: Collection[str]) -> float:
    """Return the feature coverage ratio (FCR): the share of all features that any text mentions, 0 to 1; NaN without features.

    Args:
        mentioned: Features mentioned by each text (`mentioned_features`).
        features: All features; others are ignored.

    Source: Li et al., CIKM 2020 (NETE) and ACL 2021 (PETER).
    """
    all_features = set(features)
    return len(all_features & set().union(*mentioned)) / len(all_features) if all_features else float("nan")


def feature_matching(mentioned: Sequence[Collection[str]], wanted: Sequence[Collection[str]]) -> float:
    """Return the feature matching ratio (FMR): the share of texts that mention a feature wanted of them, 0 to 1.

    Texts without a wanted feature are left out.

    Args:
        mentioned: Features mentioned by each text.
        wanted: Features wanted of each text, any one of which is a match.

    Source: as `feature_coverage`; there each text has exactly one wanted feature.
    """
    matched = [bool(set(in_text) & set(features)) for in_text, features in zip(mentioned, wanted, strict=True) if features]
    return sum(matched) / len(matched) if matched else float("nan")


def mean_words(texts: Sequence[str]) -> float:
    """Return the mean number of whitespace-separated words."""
    return sum(len(text.split()) for text in texts) / len(texts) if texts else float("nan")


def flesch_kincaid_grade(texts: Sequence[str]) -> float:
    """Return the Flesch-Kincaid grade of all texts as one: US school years needed to read them; below 0 for very easy texts.

    A text without a final full stop is a sentence, too. Tokens without a letter, mostly numbers, are left out. Product names are not, and
    raise the grade.

    Source: Kincaid et al., 1975: 0.39 words per sentence + 11.8 syllables per word - 15.59, with `syllables`.
    """
    words = [word for text in texts for word in re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text)]
    if not words:
        return float("nan")
    sentences = sum(bool(part.strip()) for text in texts for part in _SENTENCE_END.split(text))
    return 0.39 * len(words) / sentences + 11.8 * sum(map(syllables, words)) / len(words) - 15.59


def syllables(word: str) -> int:
    """Return the approximate number of syllables of an English word, 1 or more: groups of vowels (with y), minus a silent e.

    A final e is silent after a consonant ("make"), also before s ("makes", but not "boxes") or d ("looked", but not "added"); not in
    "table", where the consonant is an l after another one. "Idea" gets two, "sacred" one.
    """
    lower = word.casefold()
    return max(1, len(_VOWELS.findall(lower)) - bool(_SILENT.search(lower)))


def _ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _opening(text: str, names: str, words: int) -> str:
    name_words = set(re.split(r"\W+", names))
    return " ".join([word for word in re.split(r"\W+", text) if word and word not in name_words][:words])
