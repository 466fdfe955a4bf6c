"""Verdict on a judge: the effect of each threshold, and the lowest level decides."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from crossaisle.eval.judge_analysis.bias import Bias
from crossaisle.eval.judge_analysis.trust import NOT_CALIBRATED, TaskAgreement, trust_verdict
from crossaisle.eval.stats.agreement import HumanAgreement, JudgeAgreement, human_agreement, judge_agreement
from crossaisle.eval.stats.bootstrap import Interval

UNKNOWN = Interval(math.nan, math.nan, math.nan)


def near(value: float) -> Interval:
    return Interval(value, value - 0.05, value + 0.05)


def task(kappa: float = 0.6, beside: float = 0.0, answered: float = 1.0, units: int = 500, people: bool = True) -> TaskAgreement:
    human = HumanAgreement(near(0.6), near(0.65), near(0.6), units, 3)
    return TaskAgreement(
        "relation", JudgeAgreement(near(kappa), near(kappa), near(beside), near(0.8), answered), human if people else None, units
    )


CASES = [
    (task(), "ranking", "people among themselves 0.60"),
    (task(kappa=0.42), "large", "0.40 is wanted to rank"),
    (task(beside=-0.2), "large", "below the average person"),
    (task(answered=0.9), "large", "90% of the units were scored"),
    (task(answered=0.7), "none", "only 70% of the units"),
    (task(kappa=0.22), "none", "0.20 is wanted"),
    (task(units=60), "none", "only 60 labelled units"),
    (task(people=False), "large", "how far people agree is not known here"),
    (task(kappa=0.7, people=False), "ranking", "kappa with people 0.70"),
    (TaskAgreement("relation", JudgeAgreement(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, 1.0), None, 500), "none", "unknown"),
]


@pytest.mark.parametrize(("agreement", "level", "words"), CASES)
def test_each_threshold(agreement: TaskAgreement, level: str, words: str) -> None:
    verdict = trust_verdict([agreement])
    assert verdict.level == level
    assert words in verdict.sentence
    assert verdict.by_task == {"relation": level}


@pytest.mark.parametrize(("size", "level"), [(0.05, "ranking"), (-0.2, "large"), (0.3, "none"), (math.nan, "large")])
def test_bias_lowers_the_level(size: float, level: str) -> None:
    verdict = trust_verdict([task()], [Bias("order", Interval(size, size, size), 100), Bias("length", near(3.0), 100)])
    assert verdict.level == level
    assert "length" not in verdict.sentence  # in points of a score, which has no threshold


def test_lowest_task_decides_and_is_named() -> None:
    verdict = trust_verdict([task(), TaskAgreement("which", task(kappa=0.1).judge, None, 500)])
    assert verdict.level == "none"
    assert verdict.by_task == {"relation": "ranking", "which": "none"}
    assert verdict.reasons == ("which: kappa with people 0.10 (at least 0.05), 0.20 is wanted",)
    assert verdict.sentence.startswith("This judge is not usable, and the scores below are no evidence")


def test_verdict_without_a_calibration() -> None:
    assert trust_verdict([]) is NOT_CALIBRATED
    assert trust_verdict([]).level == "none"


def test_verdict_contains_its_thresholds() -> None:
    content = trust_verdict([task()]).to_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["thresholds"]["kappa_for_ranking"] == 0.4  # type: ignore[index]


@pytest.mark.parametrize(("skill", "level"), [(0.85, "ranking"), (0.5, "large"), (0.0, "none")])
def test_level_of_judges_with_known_skill(skill: float, level: str) -> None:
    """People choose the true label in 85 % of the cases and guess otherwise; a judge as good as they can rank, one that guesses cannot."""
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 900)

    def rater(share: float) -> np.ndarray:
        return np.where(random.random(900) < share, truth, random.integers(0, 3, 900)).astype(float)

    people, users = np.stack([rater(0.85) for _ in range(3)], axis=1), np.repeat(np.arange(300), 3)
    judge = judge_agreement(rater(skill), people, users)
    assert trust_verdict([TaskAgreement("relation", judge, human_agreement(people, users), 900)]).level == level
