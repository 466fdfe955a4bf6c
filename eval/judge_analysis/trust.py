"""How far a judge can be trusted, from how it agrees with people and from its biases: a verdict with reasons, for every report.

Three levels. *For ranking systems*: about as good as one more person, so that a difference which its interval shows is one. *Only for large
differences*: better than chance, but noise and bias may hide or make small ones. *Not usable*: no better than chance could be shown, or
too much of it is bias. The thresholds are conventions, each with its source; they are told with the verdict, so that others can differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..stats.agreement import HumanAgreement, JudgeAgreement
from .bias import Bias, Name

Level = Literal["ranking", "large", "none"]
LEVELS: Mapping[Level, str] = {
    "ranking": "usable for ranking systems",
    "large": "usable only for large differences",
    "none": "not usable",
}
FEWEST = 100
"""Labelled units: with fewer, the interval of a kappa of 0.5 is wider than the steps between the thresholds here."""
MODERATE, FAIR, SUBSTANTIAL = 0.4, 0.2, 0.6
"""Kappa with what most people say, at the low end of its interval: `moderate` to rank, `fair` for large differences. Where it is not known
how far people agree among themselves, `substantial` to rank. Source: the steps of Landis and Koch, 1977."""
BESIDE = -0.1
"""How far, in kappa, the judge may stand below the average person, at the low end of the interval, to rank. Source: the margin for
ordinary annotators in Calderon et al., ACL 2025, there in accuracy."""
ANSWERED = {"ranking": 0.95, "large": 0.8}
"""Share of units that must be scored; what is left out is seldom left out at random."""
BIASES: Mapping[Name, tuple[float, float]] = {"order": (0.1, 0.25), "flips": (0.15, 0.35), "own": (0.1, 0.25), "repeat": (0.1, 0.25)}
"""The largest bias, either way, for ranking and for large differences; in shares of verdicts, so they hold for every scale. The second of
`flips` is the rate that published judges reach (Wang et al., 2024, found more for weak ones); others are in points of a score and are
reported, not judged."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One task that a judge was held against people with. Attributes: people: None where each unit has one label only."""

    task: str
    judge: JudgeAgreement
    people: HumanAgreement | None
    units: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far a judge can be trusted.

    Attributes:
        level: the lowest of all tasks and biases. sentence: for a person. reasons: what kept it from a higher level, or holds it up.
        by_task: the level of each task by itself.
    """

    level: Level
    sentence: str
    reasons: tuple[str, ...]
    by_task: Mapping[str, Level]

    def to_dict(self) -> dict[str, object]:
        """As a report holds it, with the thresholds."""
        thresholds = {
            "fewest_units": FEWEST,
            "kappa_for_ranking": MODERATE,
            "kappa_for_ranking_without_human_agreement": SUBSTANTIAL,
            "kappa_for_large_differences": FAIR,
            "beside_a_person": BESIDE,
            "answered": dict(ANSWERED),
            "biases": {name: list(limits) for name, limits in BIASES.items()},
        }
        return {
            "level": self.level,
            "sentence": self.sentence,
            "reasons": list(self.reasons),
            "by_task": dict(self.by_task),
            "thresholds": thresholds,
        }


NOT_CALIBRATED = Verdict(
    "none",
    "This judge was not held against people: what it says is not known to mean anything. `crossaisle judge calibrate` would tell.",
    ("no calibration",),
    {},
)
"""What a report carries where nobody has calibrated the judge."""


def verdict(tasks: Sequence[Calibrated], biases: Sequence[Bias] = ()) -> Verdict:
    """How far a judge can be trusted that did so on these tasks and has these biases.

    Args: tasks: at least one, else the judge counts as not calibrated.
    """
    if not tasks:
        return NOT_CALIBRATED
    found = {one.task: _task(one) for one in tasks}
    limited = [_bias(one) for one in biases if one.name in BIASES]
    order: Sequence[Level] = ("none", "large", "ranking")
    level = min((level for level, _ in [*found.values(), *limited]), key=order.index)
    reasons = [reason for own, reason in [*found.values(), *limited] if own == level or own != "ranking"]
    return Verdict(level, _sentence(level, reasons), tuple(reasons), {task: own for task, (own, _) in found.items()})


def _task(one: Calibrated) -> tuple[Level, str]:
    """The level that a task allows, and why."""
    judge, kappa = one.judge, one.judge.majority
    called = f"{one.task}: kappa with people {_number(kappa.value)} (at least {_number(kappa.low)})"
    if one.units < FEWEST:
        return "none", f"{one.task}: only {one.units} labelled units, fewer than {FEWEST}"
    if not kappa.low >= FAIR:
        return "none", f"{called}, {_number(FAIR)} is wanted"
    if judge.answered < ANSWERED["large"]:
        return "none", f"{one.task}: only {judge.answered:.0%} of the units were scored, {ANSWERED['large']:.0%} is wanted"
    if judge.answered < ANSWERED["ranking"]:
        return "large", f"{one.task}: {judge.answered:.0%} of the units were scored, {ANSWERED['ranking']:.0%} is wanted to rank"
    if one.people is None:
        if kappa.low < SUBSTANTIAL:
            return "large", f"{called}; how far people agree is not known here, so {_number(SUBSTANTIAL)} is wanted to rank"
        return "ranking", called
    among = f"people among themselves {_number(one.people.pairwise.value)}, the judge with one of them {_number(judge.pairwise.value)}"
    if kappa.low < MODERATE:
        return "large", f"{called}, {_number(MODERATE)} is wanted to rank; {among}"
    if not judge.beside.low >= BESIDE:
        return "large", f"{one.task}: it stands {_number(-judge.beside.value)} of kappa below the average person; {among}"
    return "ranking", f"{called}; {among}"


def _bias(one: Bias) -> tuple[Level, str]:
    """The level that a bias allows: by its estimate, for its interval tells how well it is known and not how large it is."""
    ranking, large = BIASES[one.name]
    size = abs(one.value.value)
    if math.isnan(size):
        return "large", f"{one.name}: could not be measured"
    level: Level = "ranking" if size <= ranking else "large" if size <= large else "none"
    return level, f"{one.name}: {size:.0%} of verdicts, at most {ranking:.0%} to rank and {large:.0%} for large differences"


def _sentence(level: Level, reasons: Sequence[str]) -> str:
    why = "; ".join(reasons)
    if level == "ranking":
        return f"This judge is {LEVELS[level]}: {why}."
    if level == "large":
        return f"This judge is {LEVELS[level]}; a small one may be its own noise or bias: {why}."
    return f"This judge is {LEVELS[level]}, and the scores below are no evidence for either side: {why}."


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.2f}"
