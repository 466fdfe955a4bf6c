"""Bias estimates recover the known biases of a synthetic judge, over many seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from crossaisle.eval.judge_analysis import bias
from crossaisle.eval.judge_analysis.bias import Bias

USERS, EACH, SEEDS = 60, 3, 120
CLUSTERS = np.repeat(np.arange(USERS), EACH)
SIZE = USERS * EACH


@dataclass
class SyntheticJudge:
    """Judge that scores the quality of a text with noise and biases of known size.

    Attributes:
        seed: Seed of the noise.
        noise: Standard deviation of one score.
        first: Share of pairs in which the first text wins by its position.
        length: Points per doubling of the length.
        brand: Points for a known brand.
        place: Points per position further down.
        own: Points for a text of the judge's own base model.
    """

    seed: int
    noise: float = 0.4
    first: float = 0.0
    length: float = 0.0
    brand: float = 0.0
    place: float = 0.0
    own: float = 0.0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def score(
        self, quality: np.ndarray, *, doublings: float = 0, known: float = 0, place: np.ndarray | float = 0, own: float = 0
    ) -> np.ndarray:
        score = quality + self.length * doublings + self.brand * known + self.place * np.asarray(place) + self.own * own
        return score + self.random.normal(0, self.noise, len(quality))

    def prefer(self, shown_first: np.ndarray, shown_second: np.ndarray) -> np.ndarray:
        """Return (pairs,) 1 where the first text wins, else 0."""
        honest = self.score(shown_first) > self.score(shown_second)
        return np.where(self.random.random(len(honest)) < self.first, 1.0, honest.astype(float))


def qualities(seed: int) -> np.ndarray:
    random = np.random.default_rng([9, seed])
    return 3 + np.repeat(random.normal(0, 0.5, USERS), EACH) + random.normal(0, 0.5, SIZE)


def order(seed: int) -> Bias:
    judge, left, right = SyntheticJudge(seed, first=0.3), qualities(seed), qualities(seed + 10_000)
    return bias.order_bias(judge.prefer(left, right), 1 - judge.prefer(right, left), CLUSTERS)[0]


def length(seed: int) -> Bias:
    judge, quality = SyntheticJudge(seed, length=0.25), qualities(seed)
    short = np.full(SIZE, 40.0)
    return bias.length_bias(judge.score(quality), judge.score(quality, doublings=1.5), short, short * 2**1.5, CLUSTERS)


def brand(seed: int) -> Bias:
    judge, quality = SyntheticJudge(seed, brand=0.2), qualities(seed)
    return bias.brand_bias(judge.score(quality), judge.score(quality, known=1), CLUSTERS)[0]


def place(seed: int) -> Bias:
    judge, quality = SyntheticJudge(seed, place=-0.1), np.repeat(qualities(seed), 4)
    places = np.concatenate([judge.random.permutation(10)[:4] for _ in range(SIZE)])
    return bias.position_bias(judge.score(quality, place=places), places, np.repeat(np.arange(SIZE), 4), np.repeat(CLUSTERS, 4))


def own(seed: int) -> Bias:
    judge, reference = SyntheticJudge(seed, own=0.3), SyntheticJudge(seed + 1)
    mine, theirs = qualities(seed) + 0.5, qualities(seed + 10_000)  # its own base model writes better texts, which is no bias
    return bias.self_preference_bias(
        judge.score(mine, own=1) - judge.score(theirs), reference.score(mine) - reference.score(theirs), CLUSTERS
    )


def repeat(seed: int) -> Bias:
    judge, quality = SyntheticJudge(seed, noise=0.35), qualities(seed)
    return bias.repeat_bias(judge.score(quality), judge.score(quality), CLUSTERS)[1]


KNOWN_BIASES: list[tuple[Callable[[int], Bias], float]] = [
    (order, 0.3),
    (length, 0.25),
    (brand, 0.2),
    (place, -0.1),
    (own, 0.3),
    (repeat, 0.35),
]


@pytest.mark.parametrize(("measure", "truth"), KNOWN_BIASES, ids=lambda value: getattr(value, "__name__", ""))
def test_known_bias_is_recovered_within_its_interval(measure: Callable[[int], Bias], truth: float) -> None:
    """About 95 % of the 95 % intervals contain the truth: over 120 seeds less than 88 % is no chance. Most exclude 0."""
    estimates = [measure(seed) for seed in range(SEEDS)]
    coverage = np.mean([estimate.value.low <= truth <= estimate.value.high for estimate in estimates])
    assert 0.88 <= coverage <= 1
    assert np.mean([estimate.value.value for estimate in estimates]) == pytest.approx(truth, abs=0.1 * abs(truth))
    assert np.mean([estimate.significant for estimate in estimates]) > 0.7


def test_unbiased_judge_is_rarely_significant() -> None:
    significant = dict.fromkeys(("order", "length", "brand", "place", "own"), 0)
    for seed in range(SEEDS):
        judge, quality, other = SyntheticJudge(seed), qualities(seed), qualities(seed + 10_000)
        forward, backward = judge.prefer(quality, other), 1 - judge.prefer(other, quality)
        places = np.tile(np.arange(4), SIZE)
        ones = np.ones(SIZE)
        for estimate in (
            bias.order_bias(forward, backward, CLUSTERS)[0],
            bias.length_bias(judge.score(quality), judge.score(quality), ones, 2 * ones, CLUSTERS),
            bias.brand_bias(judge.score(quality), judge.score(quality), CLUSTERS)[0],
            bias.position_bias(judge.score(np.repeat(quality, 4)), places, np.repeat(np.arange(SIZE), 4), np.repeat(CLUSTERS, 4)),
            bias.self_preference_bias(judge.score(quality), judge.score(quality), CLUSTERS),
        ):
            significant[estimate.name] += estimate.significant
    assert max(significant.values()) <= 0.12 * SEEDS, significant


def test_flips_and_repeats_by_hand() -> None:
    first, second = np.asarray([1.0, 1, 0, 0.5, math.nan]), np.asarray([1.0, 0, 1, 1, 1])
    shift, flips = bias.order_bias(first, second, np.arange(5))
    assert (shift.value.value, flips.value.value, flips.cases) == (pytest.approx(-0.5 / 4), 0.5, 4)
    differs, spread = bias.repeat_bias(np.asarray([3.0, 4, 2]), np.asarray([3.0, 2, math.nan]), np.arange(3))
    assert differs.value.value == 0.5
    assert spread.value.value == pytest.approx(1.0)


def test_brand_effect_is_corrected_for_the_noise_of_repeated_calls() -> None:
    judge, quality = SyntheticJudge(5), qualities(5)
    unknown, known, again = (judge.score(quality) for _ in range(3))
    _, corrected = bias.brand_bias(unknown, known, CLUSTERS, again)
    _, naive = bias.brand_bias(unknown, known, CLUSTERS)
    assert corrected.value.low < 0 < corrected.value.high
    assert naive.value.low > 0.3
    either = np.where(np.arange(SIZE) % 2, 0.8, -0.8)  # favours half of the brands, penalizes the others
    signed, either_direction = bias.brand_bias(unknown, known + either, CLUSTERS, again)
    assert not signed.significant
    assert either_direction.significant


def test_bias_without_variation_is_nan() -> None:
    ones = np.ones(SIZE)
    assert math.isnan(bias.length_bias(ones, ones, ones, ones, CLUSTERS).value.value)
    assert math.isnan(bias.position_bias(ones, ones, np.arange(SIZE), CLUSTERS).value.value)
    content = bias.self_preference_bias(ones * math.nan, ones, CLUSTERS).to_dict()
    assert (content["value"], content["cases"], content["shown"]) == (None, 0, False)
