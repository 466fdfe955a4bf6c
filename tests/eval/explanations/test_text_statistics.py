"""Text statistics by hand, and against a second implementation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.eval.explanations import text_statistics

TEXTS = st.lists(st.lists(st.sampled_from(["a", "b", "c", "A"]), max_size=7).map(" ".join), max_size=6)


def test_distinct_by_hand() -> None:
    assert text_statistics.distinct_n(["a b a b", "b a"], 1) == pytest.approx(2 / 6)
    assert text_statistics.distinct_n(["a b a b", "b a"], 2) == pytest.approx(2 / 4)
    assert text_statistics.distinct_n(["a b", "c d"], 2) == 1
    assert math.isnan(text_statistics.distinct_n(["a"], 2))
    assert math.isnan(text_statistics.distinct_n([], 1))


@given(TEXTS, st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_distinct_matches_a_plain_loop(texts: list[str], n: int) -> None:
    seen: list[list[str]] = []
    total = 0
    for text in texts:
        words = text.split()
        for start in range(len(words)):
            run = words[start : start + n]
            if len(run) == n:
                total += 1
                if run not in seen:
                    seen.append(run)
    assert text_statistics.distinct_n(texts, n) == pytest.approx(len(seen) / total if total else math.nan, nan_ok=True)


@given(TEXTS)
@settings(max_examples=50, deadline=None)
def test_duplicating_the_texts_halves_distinct_n(texts: list[str]) -> None:
    for value, twice in (
        (text_statistics.distinct_n(texts, 2), text_statistics.distinct_n(texts * 2, 2)),
        (text_statistics.unique_sentences(texts), text_statistics.unique_sentences(texts * 2)),
    ):
        assert twice == pytest.approx(value / 2, nan_ok=True)


def test_unique_sentences_by_hand() -> None:
    assert text_statistics.unique_sentences(["It fits.", "It  fits. ", "it fits."]) == pytest.approx(2 / 3)
    assert math.isnan(text_statistics.unique_sentences([]))


def test_openings_skip_names() -> None:
    texts = ["With your Dome Tent, the Mug is what you need now", "With your Pan, the Lid is what you need, too", "The Lid it is"]
    assert text_statistics.commonest_opening(texts, ["Dome Tent Mug", "Pan Lid", "Lid"]) == pytest.approx(2 / 3)
    assert text_statistics.commonest_opening(texts, ["", "", ""]) == pytest.approx(1 / 3)


def test_features_by_hand() -> None:
    features = ["waterproof", "5.0", "light"]
    mentioned = [
        text_statistics.mentioned_features(text, features)
        for text in ("Waterproof, with Bluetooth 5.0.", "Delightful", "It is waterproof.")
    ]
    assert mentioned == [{"waterproof", "5.0"}, set(), {"waterproof"}]
    assert text_statistics.feature_coverage(mentioned, features) == pytest.approx(2 / 3)
    assert text_statistics.feature_matching(mentioned, [["5.0"], ["light"], ["waterproof"]]) == pytest.approx(2 / 3)
    assert text_statistics.feature_matching(mentioned, [["light", "5.0"], [], []]) == 1
    assert text_statistics.feature_coverage([{"red"}], ["blue"]) == 0
    assert math.isnan(text_statistics.feature_coverage(mentioned, []))
    assert math.isnan(text_statistics.feature_matching(mentioned, [[], [], []]))
    with pytest.raises(ValueError, match="zip"):
        text_statistics.feature_matching(mentioned, [[]])


@pytest.mark.parametrize(
    ("word", "count"),
    {
        "tent": 1, "kettle": 2, "make": 1, "makes": 1, "boxes": 2, "looked": 1, "added": 2, "table": 2, "tables": 2, "rules": 1, "handled": 2,
        "the": 1, "be": 1, "shoppers": 2, "association": 4, "rhythm": 1, "Tree": 1, "bought": 1, "mm": 1, "description": 3, "also": 2,
    }.items(),
)  # fmt: skip
def test_syllables_by_hand(word: str, count: int) -> None:
    assert text_statistics.syllables(word) == count


def test_grade_by_hand() -> None:
    # Six words, six syllables, one sentence; then 13 words, 14 syllables, 3 sentences.
    assert text_statistics.flesch_kincaid_grade(["The cat sat on the mat."]) == pytest.approx(0.39 * 6 + 11.8 - 15.59)
    assert text_statistics.flesch_kincaid_grade(["The cat sat on the mat.", "It looked up! The kettle did 25 not"]) == pytest.approx(
        0.39 * 13 / 3 + 11.8 * 14 / 13 - 15.59
    )
    # A point inside a number or before a closing quotation mark does not end a sentence.
    assert text_statistics.flesch_kincaid_grade(["He said “it is 1.2 long.”"]) == text_statistics.flesch_kincaid_grade(
        ["He said it is long"]
    )
    assert math.isnan(text_statistics.flesch_kincaid_grade(["12 %"]))


@given(st.text(max_size=12))
@settings(max_examples=50, deadline=None)
def test_every_word_has_a_syllable(word: str) -> None:
    assert text_statistics.syllables(word) >= 1


def test_mean_words() -> None:
    assert text_statistics.mean_words(["a b", "c"]) == 1.5
    assert math.isnan(text_statistics.mean_words([]))
