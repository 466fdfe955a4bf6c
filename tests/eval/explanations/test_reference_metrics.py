"""Nearness to references, against BLEU and ROUGE written out here, and cosines known by construction."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.data.errors import MissingExtraError
from crossaisle.eval.explanations.reference_metrics import bleu, compare, rouge, similarity

WORDS = st.lists(st.sampled_from(["tent", "stove", "rain", "fits", "well", "it"]), min_size=1, max_size=7)
PAIRS = st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=1, max_size=4)


def runs(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def own_bleu(pairs: list[tuple[list[str], list[list[str]]]], order: int) -> float:
    """Papineni et al., 2002, over a corpus: clipped precisions and a brevity penalty; 2^-k for the k-th precision without a match."""
    logs, misses = 0.0, 0
    for n in range(1, order + 1):
        matched = total = 0
        for words, references in pairs:
            here = runs(words, n)
            most: Counter[tuple[str, ...]] = Counter()
            for reference in references:
                most |= runs(reference, n)
            matched, total = matched + (here & most).total(), total + here.total()
        if not total or (n == 1 and not matched):
            return 0.0
        misses += not matched
        logs += math.log(matched / total if matched else 0.5**misses / total)
    length = sum(len(words) for words, _ in pairs)
    nearest = sum(min((abs(len(r) - len(words)), len(r)) for r in references)[1] for words, references in pairs)
    return min(1.0, math.exp(1 - nearest / length)) * math.exp(logs / order)


def f1(matched: int, told: int, wanted: int) -> float:
    return 2 * matched / (told + wanted) if matched else 0.0


def common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, by its definition."""
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + common(one[1:], other[1:])
    return max(common(one[1:], other), common(one, other[1:]))


def own_rouge(words: list[str], references: list[list[str]]) -> dict[str, float]:
    def grams(reference: list[str], n: int) -> float:
        one, other = runs(words, n), runs(reference, n)
        return f1((one & other).total(), one.total(), other.total())

    return {
        "rouge1": max(grams(reference, 1) for reference in references),
        "rouge2": max(grams(reference, 2) for reference in references),
        "rougeL": max(f1(common(words, reference), len(words), len(reference)) for reference in references),
    }


def joined(pairs: list[tuple[list[str], list[list[str]]]]) -> tuple[list[str], list[list[str]]]:
    return [" ".join(words) for words, _ in pairs], [[" ".join(r) for r in references] for _, references in pairs]


@given(PAIRS)
@settings(max_examples=20, deadline=None)
def test_bleu_against_its_definition(pairs: list[tuple[list[str], list[list[str]]]]) -> None:
    texts, references = joined(pairs)
    for order in (1, 4):
        assert bleu(texts, references, order) == pytest.approx(own_bleu(pairs, order), abs=1e-9)


@given(PAIRS)
@settings(max_examples=20, deadline=None)
def test_rouge_against_its_definition(pairs: list[tuple[list[str], list[list[str]]]]) -> None:
    texts, references = joined(pairs)
    each = [own_rouge(words, own) for words, own in pairs]
    assert rouge(texts, references) == pytest.approx({name: np.mean([scores[name] for scores in each]) for name in each[0]})


def test_by_hand() -> None:
    texts, references = ["the tent fits well"], [["the stove fits well"]]
    assert bleu(texts, references, 1) == pytest.approx(3 / 4)
    # Pairs: 1 of 3; triples 0 of 2, quadruples 0 of 1, which count as 1/2 and 1/4 of a match.
    assert bleu(texts, references, 4) == pytest.approx((3 / 4 * 1 / 3 * 1 / 4 * 1 / 4) ** (1 / 4))
    assert rouge(texts, references) == pytest.approx({"rouge1": 3 / 4, "rouge2": 1 / 3, "rougeL": 3 / 4})


def letters(texts: Sequence[str]) -> np.ndarray:  # type: ignore[type-arg]
    """Counts of a, b and c: vectors whose cosines can be told by looking."""
    return np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=np.float32)


def test_similarity_by_hand() -> None:
    assert similarity(["aa", "b"], [["a", "c"], ["c"]], letters) == pytest.approx(1 / 2)
    assert similarity(["ab"], [["a"]], letters) == pytest.approx(math.sqrt(1 / 2))
    assert similarity([""], [["a"]], letters) == 0
    assert math.isnan(similarity([], [], letters))


@given(st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_a_text_is_its_own_best_reference(texts: list[str]) -> None:
    assert similarity(texts, [[text, "a", "bc"] for text in texts], letters) == pytest.approx(1)


def test_all_figures_together() -> None:
    texts, references = ["a tent beats a cab"], [["it rains a lot", "a tent beats a cab"]]
    figures = compare(texts, references, letters)
    assert (figures.texts, figures.bleu_1, figures.bleu_4, figures.rouge_1, figures.rouge_l) == pytest.approx((1, 1, 1, 1, 1))
    assert figures.similarity == pytest.approx(1)
    assert compare(texts, references).similarity is None
    nothing = compare([], [], letters).to_dict()
    assert nothing.pop("texts") == 0
    assert all(math.isnan(value) for value in nothing.values())


def test_texts_and_references_must_go_together() -> None:
    for references in ([], [[]], ["a text, not a list"]):
        for figure in (bleu, rouge, lambda *both: similarity(*both, letters)):
            with pytest.raises(ValueError, match="reference"):
                figure(["a"], references)


@pytest.mark.parametrize(("figure", "library"), [(bleu, "sacrebleu"), (rouge, "rouge_score")])
def test_a_missing_library_is_named_with_its_extra(figure, library: str, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=r'pip install "crossaisle\[references\]"'):
        figure(["a"], [["a"]])
