"""Verdict on how far a judge can be trusted, from its agreement with people and its biases, with reasons.

Three levels. *For ranking systems*: about as good as one more person, so that a significant difference is a real one. *Only for large
differences*: better than chance, but noise and bias may hide or create small ones. *Not usable*: not shown to be better than chance, or
too biased. The thresholds are conventions with sources; the report contains them, so that readers can apply their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..stats.agreement import HumanAgreement, JudgeAgreement
from .bias import Bias, BiasName

TrustLevel = Literal["ranking", "large", "none"]
LEVEL_LABELS: Mapping[TrustLevel, str] = {
    "ranking": "usable for ranking systems",
    "large": "usable only for large differences",
    "none": "not usable",
}
MIN_UNITS = 100
"""Labelled units: with fewer, the interval of a kappa of 0.5 is wider than the steps between the thresholds here."""
MODERATE, FAIR, SUBSTANTIAL = 0.4, 0.2, 0.6
"""Kappa with the majority of people, at the low end of its interval: `MODERATE` to rank, `FAIR` for large differences. Where the agreement
among people is unknown, `SUBSTANTIAL` to rank. Source: the steps of Landis and Koch, 1977."""
MIN_KAPPA_DIFFERENCE = -0.1
"""Kappa of the judge minus kappa of the average person, at the low end of the interval, to rank. Source: the margin for ordinary annotators
in Calderon et al., ACL 2025, there in accuracy."""
MIN_SCORED_SHARE = {"ranking": 0.95, "large": 0.8}
"""Share of units that must be scored; unscored ones are seldom missing at random."""
MAX_BIAS: Mapping[BiasName, tuple[float, float]] = {"order": (0.1, 0.25), "flips": (0.15, 0.35), "own": (0.1, 0.25), "repeat": (0.1, 0.25)}
"""Largest absolute bias for ranking and for large differences, in shares of verdicts, so that it applies to every scale. The second limit
of `flips` is the rate of published judges (Wang et al., 2024, found more for weak ones). Other biases are in points of a score: reported,
but without a limit."""


@dataclass(frozen=True, slots=True)
class TaskAgreement:
    """Agreement of a judge with people on one task.

    Attributes:
        task: Name of the task.
        judge: Agreement of the judge with people.
        people: Agreement of people, None where each unit has a single label.
        units: Number of labelled units.
    """

    task: str
    judge: JudgeAgreement
    people: HumanAgreement | None
    units: int


@dataclass(frozen=True, slots=True)
class TrustVerdict:
    """How far a judge can be trusted.

    Attributes:
        level: Lowest level of all tasks and biases.
        sentence: Verdict in words.
        reasons: What limits the level, or supports the highest one.
        by_task: Level of each task alone.
    """

    level: TrustLevel
    sentence: str
    reasons: tuple[str, ...]
    by_task: Mapping[str, TrustLevel]

    def to_dict(self) -> dict[str, object]:
        """Return the verdict and the thresholds as JSON."""
        thresholds = {
            "fewest_units": MIN_UNITS,
            "kappa_for_ranking": MODERATE,
            "kappa_for_ranking_without_human_agreement": SUBSTANTIAL,
            "kappa_for_large_differences": FAIR,
            "beside_a_person": MIN_KAPPA_DIFFERENCE,
            "answered": dict(MIN_SCORED_SHARE),
            "biases": {name: list(limits) for name, limits in MAX_BIAS.items()},
        }
        return {
            "level": self.level,
            "sentence": self.sentence,
            "reasons": list(self.reasons),
            "by_task": dict(self.by_task),
            "thresholds": thresholds,
        }


NOT_CALIBRATED = TrustVerdict(
    "none",
    "This judge was not held against people: what it says is not known to mean anything. `crossaisle judge calibrate` would tell.",
    ("no calibration",),
    {},
)
"""Verdict on a judge without a calibration."""


def trust_verdict(tasks: Sequence[TaskAgreement], biases: Sequence[Bias] = ()) -> TrustVerdict:
    """Return the verdict on a judge.

    Args:
        tasks: Agreement by task; if empty, the judge counts as not calibrated.
        biases: Measured biases; those without a limit in `MAX_BIAS` have no effect.
    """
    if not tasks:
        return NOT_CALIBRATED
    task_levels = {task.task: _task_level(task) for task in tasks}
    bias_levels = [_bias_level(bias) for bias in biases if bias.name in MAX_BIAS]
    all_levels = [*task_levels.values(), *bias_levels]
    ascending: Sequence[TrustLevel] = ("none", "large", "ranking")
    lowest = min((level for level, _ in all_levels), key=ascending.index)
    reasons = [reason for level, reason in all_levels if level == lowest or level != "ranking"]
    return TrustVerdict(lowest, _sentence(lowest, reasons), tuple(reasons), {task: level for task, (level, _) in task_levels.items()})


def _task_level(task: TaskAgreement) -> tuple[TrustLevel, str]:
    """Return the level that the agreement on a task allows, and the reason."""
    judge, kappa = task.judge, task.judge.majority
    summary = f"{task.task}: kappa with people {_number(kappa.value)} (at least {_number(kappa.low)})"
    if task.units < MIN_UNITS:
        return "none", f"{task.task}: only {task.units} labelled units, fewer than {MIN_UNITS}"
    if not kappa.low >= FAIR:
        return "none", f"{summary}, {_number(FAIR)} is wanted"
    if judge.answered < MIN_SCORED_SHARE["large"]:
        return "none", f"{task.task}: only {judge.answered:.0%} of the units were scored, {MIN_SCORED_SHARE['large']:.0%} is wanted"
    if judge.answered < MIN_SCORED_SHARE["ranking"]:
        return "large", f"{task.task}: {judge.answered:.0%} of the units were scored, {MIN_SCORED_SHARE['ranking']:.0%} is wanted to rank"
    if task.people is None:
        if kappa.low < SUBSTANTIAL:
            return "large", f"{summary}; how far people agree is not known here, so {_number(SUBSTANTIAL)} is wanted to rank"
        return "ranking", summary
    people = f"people among themselves {_number(task.people.pairwise.value)}, the judge with one of them {_number(judge.pairwise.value)}"
    if kappa.low < MODERATE:
        return "large", f"{summary}, {_number(MODERATE)} is wanted to rank; {people}"
    if not judge.beside.low >= MIN_KAPPA_DIFFERENCE:
        return "large", f"{task.task}: it stands {_number(-judge.beside.value)} of kappa below the average person; {people}"
    return "ranking", f"{summary}; {people}"


def _bias_level(bias: Bias) -> tuple[TrustLevel, str]:
    """Return the level that a bias allows, and the reason. By the estimate: the interval is its precision, not its size."""
    ranking_limit, large_limit = MAX_BIAS[bias.name]
    size = abs(bias.value.value)
    if math.isnan(size):
        return "large", f"{bias.name}: could not be measured"
    level: TrustLevel = "ranking" if size <= ranking_limit else "large" if size <= large_limit else "none"
    return level, f"{bias.name}: {size:.0%} of verdicts, at most {ranking_limit:.0%} to rank and {large_limit:.0%} for large differences"


def _sentence(level: TrustLevel, reasons: Sequence[str]) -> str:
    why = "; ".join(reasons)
    if level == "ranking":
        return f"This judge is {LEVEL_LABELS[level]}: {why}."
    if level == "large":
        return f"This judge is {LEVEL_LABELS[level]}; a small one may be its own noise or bias: {why}."
    return f"This judge is {LEVEL_LABELS[level]}, and the scores below are no evidence for either side: {why}."


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.2f}"
