"""Agreement of a judge with people on questions that people labelled, next to the agreement of people among themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..stats.agreement import HumanAgreement, JudgeAgreement, human_agreement, judge_agreement
from ..stats.bootstrap import Interval
from ..stats.reliability import ReliabilityCurve, reliability_curve
from .human_labels import LabelledCase
from .trust import TaskAgreement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TaskCalibration:
    """Calibration of a judge on one task.

    Attributes:
        task: Name of the task.
        units: Number of labelled cases.
        judge: Agreement of the judge with people.
        people: Agreement of people, None where each case has a single label.
        curve: Reliability of the probability of the chosen option, None without probabilities.
        constant_accuracy: Accuracy of always choosing the most frequent label.
        by_part: Accuracy in each slice.
    """

    task: str
    units: int
    judge: JudgeAgreement
    people: HumanAgreement | None
    curve: ReliabilityCurve | None
    constant_accuracy: float
    by_part: Mapping[str, Interval]

    def agreement(self) -> TaskAgreement:
        """Return the part that a verdict needs."""
        return TaskAgreement(self.task, self.judge, self.people, self.units)

    def to_dict(self) -> dict[str, object]:
        """Return the calibration as JSON."""
        judge = {name: getattr(self.judge, name).to_dict() for name in ("majority", "pairwise", "beside", "accuracy")}
        people = self.people and {
            **{name: getattr(self.people, name).to_dict() for name in ("pairwise", "leave_one_out", "alpha")},
            "units": self.people.units,
            "raters": self.people.raters,
        }
        curve = self.curve and {
            "error": round(self.curve.error, 5),
            "bins": [{**asdict(reliability_bin), "share": reliability_bin.share.to_dict()} for reliability_bin in self.curve.bins],
        }
        return {
            "task": self.task,
            "units": self.units,
            "judge": {**judge, "answered": round(self.judge.answered, 5)},
            "people": people,
            "reliability": curve,
            "constant_accuracy": round(self.constant_accuracy, 5),
            "by_part": {part: accuracy.to_dict() for part, accuracy in self.by_part.items()},
        }


def calibrate_task(cases: Sequence[LabelledCase], answers: Floats, *, seed: int = 0) -> TaskCalibration:
    """Return the agreement of a judge's answers with human labels.

    Args:
        cases: Cases of one task.
        answers: (cases,) index of the chosen option, NaN where unscored; or (cases, options) probabilities, rows of NaN where unscored.
            With probabilities the first most probable option counts as chosen, and there is a reliability curve.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: There are no cases, or the number of answers differs.
    """
    if not len(cases) or len(answers) != len(cases):
        raise ValueError(f"{len(answers)} answers for {len(cases)} questions")
    ratings, clusters = label_matrix(cases)
    probabilities = answers if answers.ndim == 2 else None
    chosen = _most_probable(answers) if probabilities is not None else answers
    scored = ~np.isnan(chosen)
    curve = None
    if probabilities is not None:
        label_counts = (~np.isnan(ratings)).sum(axis=1)
        agreeing_share = np.full(len(cases), math.nan)
        agreeing_share[scored] = (ratings[scored] == chosen[scored][:, None]).sum(axis=1) / np.maximum(label_counts[scored], 1)
        confidence = np.full(len(cases), math.nan)
        confidence[scored] = probabilities[scored].max(axis=1)
        curve = reliability_curve(confidence, agreeing_share, clusters, seed=seed)
    labels = ratings[~np.isnan(ratings)]
    parts = sorted({case.part for case in cases if case.part})
    in_part = {part: np.asarray([case.part == part for case in cases]) for part in parts}
    return TaskCalibration(
        cases[0].task,
        len(cases),
        judge_agreement(chosen, ratings, clusters, seed=seed),
        human_agreement(ratings, clusters, seed=seed) if ratings.shape[1] > 1 else None,
        curve,
        float(np.bincount(labels.astype(int)).max() / len(labels)),
        {part: judge_agreement(chosen[rows], ratings[rows], clusters[rows], seed=seed).accuracy for part, rows in in_part.items()},
    )


def label_matrix(cases: Sequence[LabelledCase]) -> tuple[Floats, NDArray[np.int64]]:
    """Return (cases, annotators) option indices, NaN where an annotator has no label; and (cases,) cluster indices."""
    columns = {annotator: column for column, annotator in enumerate(sorted({annotator for case in cases for annotator in case.labels}))}
    ratings = np.full((len(cases), len(columns)), math.nan)
    for row, case in enumerate(cases):
        for annotator, label in case.labels.items():
            ratings[row, columns[annotator]] = label
    _, clusters = np.unique([case.cluster for case in cases], return_inverse=True)
    return ratings, clusters.astype(np.int64)


def _most_probable(probabilities: Floats) -> Floats:
    """Return (cases,) the index of the first most probable option, NaN where unscored."""
    scored = np.asarray(~np.isnan(probabilities).any(axis=1))
    return np.where(scored, np.where(scored[:, None], probabilities, 0).argmax(axis=1), np.nan)
