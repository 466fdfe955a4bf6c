"""A judge held against people: its answers to questions that people answered, beside how far people agree among themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..stats.agreement import HumanAgreement, JudgeAgreement, ReliabilityCurve, human_agreement, judge_agreement, reliability_curve
from ..stats.bootstrap import Interval
from .human_labels import Labelled
from .trust import Calibrated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """One task.

    Attributes:
        people: None where every question has one label only. curve: of the answer's own chance, where the judge gives chances.
        constant: accuracy of always saying what people say most. by_part: accuracy in each slice.
    """

    task: str
    units: int
    judge: JudgeAgreement
    people: HumanAgreement | None
    curve: ReliabilityCurve | None
    constant: float
    by_part: Mapping[str, Interval]

    def calibrated(self) -> Calibrated:
        """What the verdict is made from."""
        return Calibrated(self.task, self.judge, self.people, self.units)

    def to_dict(self) -> dict[str, object]:
        """As a report holds it."""
        judge = {name: _shown(getattr(self.judge, name)) for name in ("majority", "pairwise", "beside", "accuracy")}
        people = self.people and {
            **{name: _shown(getattr(self.people, name)) for name in ("pairwise", "leave_one_out", "alpha")},
            "units": self.people.units,
            "raters": self.people.raters,
        }
        curve = self.curve and {
            "error": round(self.curve.error, 5),
            "bins": [{**asdict(one), "share": one.share.to_dict()} for one in self.curve.bins],
        }
        return {
            "task": self.task,
            "units": self.units,
            "judge": {**judge, "answered": round(self.judge.answered, 5)},
            "people": people,
            "reliability": curve,
            "constant_accuracy": round(self.constant, 5),
            "by_part": {part: value.to_dict() for part, value in self.by_part.items()},
        }


def calibrate(cases: Sequence[Labelled], answers: Floats, *, seed: int = 0) -> Calibration:
    """How a judge's answers to one task's questions agree with people's.

    Args:
        cases: of one task. answers: (cases,) the place of the chosen option, NaN where unscored; or (cases, options) the chance of each,
            rows of NaN where unscored. Then the likeliest counts as chosen, the first of several, and there is a reliability curve.
    Raises: ValueError: no cases, or not as many answers.
    """
    if not len(cases) or len(answers) != len(cases):
        raise ValueError(f"{len(answers)} answers for {len(cases)} questions")
    ratings, clusters = label_matrix(cases)
    chances = answers if answers.ndim == 2 else None
    chosen = _likeliest(answers) if chances is not None else answers
    judge = judge_agreement(chosen, ratings, clusters, seed=seed)
    several = ratings.shape[1] > 1
    said = (~np.isnan(ratings)).sum(axis=1)
    told = ~np.isnan(chosen)
    share = np.full(len(cases), math.nan)
    share[told] = (ratings[told] == chosen[told][:, None]).sum(axis=1) / np.maximum(said[told], 1)
    curve = None
    if chances is not None:
        own = np.full(len(cases), math.nan)
        own[told] = chances[told].max(axis=1)
        curve = reliability_curve(own, share, clusters, seed=seed)
    labels = ratings[~np.isnan(ratings)]
    parts = sorted({case.part for case in cases if case.part})
    at = {part: np.asarray([case.part == part for case in cases]) for part in parts}
    return Calibration(
        cases[0].task,
        len(cases),
        judge,
        human_agreement(ratings, clusters, seed=seed) if several else None,
        curve,
        float(np.bincount(labels.astype(int)).max() / len(labels)),
        {part: judge_agreement(chosen[at[part]], ratings[at[part]], clusters[at[part]], seed=seed).accuracy for part in parts},
    )


def label_matrix(cases: Sequence[Labelled]) -> tuple[Floats, NDArray[np.int64]]:
    """(cases, annotators) what each annotator said, NaN where nothing; and (cases,) the cluster's number."""
    people = {who: place for place, who in enumerate(sorted({who for case in cases for who in case.labels}))}
    ratings = np.full((len(cases), len(people)), math.nan)
    for row, case in enumerate(cases):
        for who, label in case.labels.items():
            ratings[row, people[who]] = label
    _, clusters = np.unique([case.cluster for case in cases], return_inverse=True)
    return ratings, clusters.astype(np.int64)


def _likeliest(chances: Floats) -> Floats:
    told = np.asarray(~np.isnan(chances).any(axis=1))
    return np.where(told, np.where(told[:, None], chances, 0).argmax(axis=1), np.nan)


def _shown(value: Interval) -> dict[str, float | None]:
    return value.to_dict()
