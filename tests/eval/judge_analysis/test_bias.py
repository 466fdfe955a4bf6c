"""The audit finds what was planted: a synthetic judge of known bias and noise, over many seeds."""

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
    """Scores a text by its quality, with biases of known size; what a user's texts share is in the noise too.

    Attributes: noise: standard deviation of one score. first: share of pairs in which only the place decides. length: points per doubling.
        brand: points for a known one. place: points for each place further down. own: points for its own base.
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
        told = quality + self.length * doublings + self.brand * known + self.place * np.asarray(place) + self.own * own
        return told + self.random.normal(0, self.noise, len(quality))

    def prefer(self, shown_first: np.ndarray, shown_second: np.ndarray) -> np.ndarray:
        """1 where it holds the first shown better."""
        honest = self.score(shown_first) > self.score(shown_second)
        return np.where(self.random.random(len(honest)) < self.first, 1.0, honest.astype(float))


def qualities(seed: int) -> np.ndarray:
    random = np.random.default_rng([9, seed])
    return 3 + np.repeat(random.normal(0, 0.5, USERS), EACH) + random.normal(0, 0.5, SIZE)


def order(seed: int) -> Bias:
    judge, left, right = SyntheticJudge(seed, first=0.3), qualities(seed), qualities(seed + 10_000)
    return bias.order(judge.prefer(left, right), 1 - judge.prefer(right, left), CLUSTERS)[0]


def length(seed: int) -> Bias:
    judge, quality = SyntheticJudge(seed, length=0.25), qualities(seed)
    short = np.full(SIZE, 40.0)
    return bias.length(judge.score(quality), judge.score(quality, doublings=1.5), short, short * 2**1.5, CLUSTERS)


def brand(seed: int) -> Bias:
    judge, quality = SyntheticJudge(seed, brand=0.2), qualities(seed)
    return bias.brand(judge.score(quality), judge.score(quality, known=1), CLUSTERS)[0]


def place(seed: int) -> Bias:
    judge, quality = SyntheticJudge(seed, place=-0.1), np.repeat(qualities(seed), 4)
    places = np.concatenate([judge.random.permutation(10)[:4] for _ in range(SIZE)])
    return bias.place(judge.score(quality, place=places), places, np.repeat(np.arange(SIZE), 4), np.repeat(CLUSTERS, 4))


def own(seed: int) -> Bias:
    judge, reference = SyntheticJudge(seed, own=0.3), SyntheticJudge(seed + 1)
    mine, theirs = qualities(seed) + 0.5, qualities(seed + 10_000)  # its own base really writes better, and that is no bias
    return bias.own_base(judge.score(mine, own=1) - judge.score(theirs), reference.score(mine) - reference.score(theirs), CLUSTERS)


def repeat(seed: int) -> Bias:
    judge, quality = SyntheticJudge(seed, noise=0.35), qualities(seed)
    return bias.repeat(judge.score(quality), judge.score(quality), CLUSTERS)[1]


PLANTED: list[tuple[Callable[[int], Bias], float]] = [(order, 0.3), (length, 0.25), (brand, 0.2), (place, -0.1), (own, 0.3), (repeat, 0.35)]


@pytest.mark.parametrize(("measure", "truth"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_the_planted_bias_is_recovered_within_its_interval(measure: Callable[[int], Bias], truth: float) -> None:
    """Of 95 % intervals about 95 % hold it: over 120 seeds, fewer than 87 % or so would be no chance. And it is told from none."""
    found = [measure(seed) for seed in range(SEEDS)]
    inside = np.mean([one.value.low <= truth <= one.value.high for one in found])
    assert 0.88 <= inside <= 1
    assert np.mean([one.value.value for one in found]) == pytest.approx(truth, abs=0.1 * abs(truth))
    assert np.mean([one.shown for one in found]) > 0.7


def test_a_judge_without_bias_is_seldom_accused() -> None:
    accused = dict.fromkeys(("order", "length", "brand", "place", "own"), 0)
    for seed in range(SEEDS):
        judge, quality, other = SyntheticJudge(seed), qualities(seed), qualities(seed + 10_000)
        forward, backward = judge.prefer(quality, other), 1 - judge.prefer(other, quality)
        places = np.tile(np.arange(4), SIZE)
        ones = np.ones(SIZE)
        for one in (
            bias.order(forward, backward, CLUSTERS)[0],
            bias.length(judge.score(quality), judge.score(quality), ones, 2 * ones, CLUSTERS),
            bias.brand(judge.score(quality), judge.score(quality), CLUSTERS)[0],
            bias.place(judge.score(np.repeat(quality, 4)), places, np.repeat(np.arange(SIZE), 4), np.repeat(CLUSTERS, 4)),
            bias.own_base(judge.score(quality), judge.score(quality), CLUSTERS),
        ):
            accused[one.name] += one.shown
    assert max(accused.values()) <= 0.12 * SEEDS, accused


def test_flips_and_repeats_by_hand() -> None:
    first, second = np.asarray([1.0, 1, 0, 0.5, math.nan]), np.asarray([1.0, 0, 1, 1, 1])
    shift, flips = bias.order(first, second, np.arange(5))
    assert (shift.value.value, flips.value.value, flips.cases) == (pytest.approx(-0.5 / 4), 0.5, 4)
    differs, spread = bias.repeat(np.asarray([3.0, 4, 2]), np.asarray([3.0, 2, math.nan]), np.arange(3))
    assert differs.value.value == 0.5
    assert spread.value.value == pytest.approx(1.0)


def test_a_brand_swap_moves_nothing_beyond_the_noise_of_asking_again() -> None:
    judge, quality = SyntheticJudge(5), qualities(5)
    unknown, known, again = (judge.score(quality) for _ in range(3))
    _, beyond = bias.brand(unknown, known, CLUSTERS, again)
    _, naive = bias.brand(unknown, known, CLUSTERS)
    assert beyond.value.low < 0 < beyond.value.high
    assert naive.value.low > 0.3
    either = np.where(np.arange(SIZE) % 2, 0.8, -0.8)  # loves half of the brands and hates the others
    moved, any_way = bias.brand(unknown, known + either, CLUSTERS, again)
    assert not moved.shown
    assert any_way.shown


def test_what_never_varies_cannot_be_told() -> None:
    ones = np.ones(SIZE)
    assert math.isnan(bias.length(ones, ones, ones, ones, CLUSTERS).value.value)
    assert math.isnan(bias.place(ones, ones, np.arange(SIZE), CLUSTERS).value.value)
    told = bias.own_base(ones * math.nan, ones, CLUSTERS).to_dict()
    assert (told["value"], told["cases"], told["shown"]) == (None, 0, False)
