"""The verdict on a judge: what each threshold does, and that the lowest of all decides."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from crossaisle.eval.judge_analysis.bias import Bias
from crossaisle.eval.judge_analysis.trust import NOT_CALIBRATED, Calibrated, verdict
from crossaisle.eval.stats.agreement import HumanAgreement, JudgeAgreement, human_agreement, judge_agreement
from crossaisle.eval.stats.bootstrap import Interval

UNKNOWN = Interval(math.nan, math.nan, math.nan)


def near(value: float) -> Interval:
    return Interval(value, value - 0.05, value + 0.05)


def task(kappa: float = 0.6, beside: float = 0.0, answered: float = 1.0, units: int = 500, people: bool = True) -> Calibrated:
    among = HumanAgreement(near(0.6), near(0.65), near(0.6), units, 3)
    return Calibrated(
        "relation", JudgeAgreement(near(kappa), near(kappa), near(beside), near(0.8), answered), among if people else None, units
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
    (Calibrated("relation", JudgeAgreement(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, 1.0), None, 500), "none", "unknown"),
]


@pytest.mark.parametrize(("one", "level", "words"), CASES)
def test_each_threshold(one: Calibrated, level: str, words: str) -> None:
    found = verdict([one])
    assert found.level == level
    assert words in found.sentence
    assert found.by_task == {"relation": level}


@pytest.mark.parametrize(("size", "level"), [(0.05, "ranking"), (-0.2, "large"), (0.3, "none"), (math.nan, "large")])
def test_a_bias_takes_away_what_agreement_gave(size: float, level: str) -> None:
    found = verdict([task()], [Bias("order", Interval(size, size, size), 100), Bias("length", near(3.0), 100)])
    assert found.level == level
    assert "length" not in found.sentence  # in points of a score, which no threshold fits


def test_the_lowest_of_all_tasks_decides_and_is_named() -> None:
    found = verdict([task(), Calibrated("which", task(kappa=0.1).judge, None, 500)])
    assert found.level == "none"
    assert found.by_task == {"relation": "ranking", "which": "none"}
    assert found.reasons == ("which: kappa with people 0.10 (at least 0.05), 0.20 is wanted",)
    assert found.sentence.startswith("This judge is not usable, and the scores below are no evidence")


def test_without_people_nothing_is_known() -> None:
    assert verdict([]) is NOT_CALIBRATED
    assert verdict([]).level == "none"


def test_it_is_told_with_its_thresholds() -> None:
    told = verdict([task()]).to_dict()
    assert json.loads(json.dumps(told)) == told
    assert told["thresholds"]["kappa_for_ranking"] == 0.4  # type: ignore[index]


@pytest.mark.parametrize(("skill", "level"), [(0.85, "ranking"), (0.5, "large"), (0.0, "none")])
def test_judges_of_known_skill_come_where_they_belong(skill: float, level: str) -> None:
    """People name the truth in 85 of 100 cases and else guess; a judge that does likewise ranks, one that guesses is of no use."""
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 900)

    def rater(share: float) -> np.ndarray:
        return np.where(random.random(900) < share, truth, random.integers(0, 3, 900)).astype(float)

    people, users = np.stack([rater(0.85) for _ in range(3)], axis=1), np.repeat(np.arange(300), 3)
    judge = judge_agreement(rater(skill), people, users)
    assert verdict([Calibrated("relation", judge, human_agreement(people, users), 900)]).level == level
