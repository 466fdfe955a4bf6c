"""`judge calibrate`: a judge answers questions that people answered, and what came of it is kept for the reports that follow.

The answers stand in an order that is drawn for each question, so that a judge who likes the first letter gains nothing by it. A
calibration is of one judge, with its sampling settings; a report about another does not carry it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__, prompts
from ...data.atomic_files import write_atomically
from ...data.errors import FormatError, SettingsError, storing
from ...llm.chat.messages import Asked
from ..judge.question import Judge, Judgement, Question
from ..stats.agreement import HumanAgreement, JudgeAgreement
from ..stats.bootstrap import Interval
from . import bias as audit
from .bias import Bias
from .human_agreement import Calibration, calibrate
from .human_labels import Labelled, Task
from .trust import Calibrated, Verdict, verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE = "calibration.json"
PROMPT = "judge_labels"
LETTERS = "ABCDE"
TEXT = 1500
"""Characters that are shown of a text."""
_WORDED: Mapping[Task, Sequence[str]] = {
    "relation": ("relation_complement", "relation_substitute", "relation_neither"),
    "reason": ("reason_good", "reason_none"),
    "mismatch": ("mismatch_right", "mismatch_other"),
}
"""Sections that word the options of a task, in their order; other tasks have options of their own."""


def sampled(found: Mapping[Task, Sequence[Labelled]], most: int, seed: int) -> dict[Task, list[Labelled]]:
    """At most so many questions of each task, by lot, in their order."""

    def drawn(cases: Sequence[Labelled]) -> list[Labelled]:
        lot = sorted(cases, key=lambda case: hashlib.sha256(f"{seed} {case.key}".encode("utf-8", "replace")).digest())
        kept = {case.key for case in lot[:most]}
        return [case for case in cases if case.key in kept]

    return {task: drawn(cases) for task, cases in found.items()}


def question(case: Labelled) -> Question:
    """The question for a judge; its letters stand for the options in `order`."""
    prompt = prompts.load(PROMPT)
    options = (
        [prompt.render(name) for name in _WORDED[case.task]] if case.task in _WORDED else [prompts.fence(o, TEXT) for o in case.options]
    )
    told = [f"{letter}: {options[place]}" for letter, place in zip(LETTERS, order(case), strict=False)]
    parts = [prompt.render("part", mark=mark, text=prompts.fence(text, TEXT)) for mark, text in case.parts.items()]
    user = prompt.render("user", question=prompt.render(case.task), parts=parts, options=told)
    asked = Asked(prompt.render("system"), user, "answer", tuple(LETTERS[: len(options)]))
    digest = hashlib.sha256(json.dumps([prompt.id, prompt.sections], sort_keys=True).encode()).hexdigest()
    return Question(case.task, prompt.id, digest, asked, "people", case.cluster, item=case.key)


def order(case: Labelled) -> list[int]:
    """The place of the option that each letter stands for, drawn by the question's key."""
    draw = np.random.default_rng(int(hashlib.sha256(case.key.encode("utf-8", "replace")).hexdigest()[:16], 16))
    return [int(place) for place in draw.permutation(len(case.options))]


def answers(cases: Sequence[Labelled], judgements: Mapping[int, Judgement], questions: Sequence[Question]) -> NDArray[np.float64]:
    """(cases, options) the chance of each option where the judge gives chances of all that it answered; else (cases,) the place chosen.

    NaN where unscored. Args: judgements: by the id of their question. questions: of the cases, in their order.
    """
    width = max(len(case.options) for case in cases)
    chances, chosen, all_told = np.full((len(cases), width), math.nan), np.full(len(cases), math.nan), True
    for row, (case, asked) in enumerate(zip(cases, questions, strict=True)):
        one = judgements.get(id(asked))
        if one is None or one.chosen is None:
            continue
        places = dict(zip(LETTERS, order(case), strict=False))
        chosen[row] = places[one.chosen]
        if one.likely is None:
            all_told = False
        else:
            chances[row] = 0.0
            for letter, chance in one.likely.items():
                chances[row, places[letter]] = chance
    return chances if all_told and not np.isnan(chosen).all() else chosen


@dataclass(frozen=True, slots=True)
class Held:
    """A calibration of one judge. Attributes: about: the judge as it says it is. tasks: in figures. biases: that were measured with it."""

    judge: str
    about: Mapping[str, Any]
    tasks: Sequence[Calibration]
    biases: Sequence[Bias]

    def verdict(self) -> Verdict:
        """How far the judge can be trusted, by this alone."""
        return verdict([task.calibrated() for task in self.tasks], self.biases)

    def to_dict(self) -> dict[str, Any]:
        """As `calibration.json` holds it."""
        return {
            "crossaisle": __version__,
            "judge": self.judge,
            "about": dict(self.about),
            "verdict": self.verdict().to_dict(),
            "tasks": [task.to_dict() for task in self.tasks],
            "biases": [bias.to_dict() for bias in self.biases],
        }


def held(
    judge: str, about: Mapping[str, Any], found: Mapping[Task, Sequence[Labelled]], judgements: Sequence[Judgement],
    questions: Mapping[Task, Sequence[Question]], seed: int,
) -> Held:  # fmt: skip
    """What a judge's answers to people's questions amount to."""
    first = {id(one.question): one for one in judgements if one.repeat == 0}
    tasks = [calibrate(cases, answers(cases, first, questions[task]), seed=seed) for task, cases in found.items()]
    return Held(judge, about, tasks, repeats(judgements, seed))


def repeats(judgements: Sequence[Judgement], seed: int) -> list[Bias]:
    """How often the judge says another thing when it is asked again; nothing where nothing was asked twice."""
    first = {id(one.question): one for one in judgements if one.repeat == 0}
    both = [(first[id(one.question)], one) for one in judgements if one.repeat == 1 and id(one.question) in first]
    both = [(a, b) for a, b in both if a.chosen is not None and b.chosen is not None]
    if not both:
        return []
    codes = {label: number for number, label in enumerate(sorted({one.chosen for pair in both for one in pair if one.chosen}))}
    users = {user: number for number, user in enumerate(dict.fromkeys(a.question.user for a, _ in both))}
    said = np.array([[codes[one.chosen] for one in pair if one.chosen] for pair in both], np.float64)  # (calls, 2)
    clusters = np.array([users[a.question.user] for a, _ in both], np.int64)
    return [audit.repeat(said[:, 0], said[:, 1], clusters, seed=seed)[0]]


def write(told: Held, out: Path) -> Path:
    """Writes `calibration.json` into the folder; returns its path. Raises: StorageError: it cannot be written."""
    path = out / FILE
    with storing(f"the calibration in {out}"):
        write_atomically(
            path, (json.dumps(told.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")
        )
    return path


@dataclass(frozen=True, slots=True)
class Known:
    """What a file says of a judge's calibration: enough for a verdict together with what a later run measures."""

    about: Mapping[str, Any]
    tasks: tuple[Calibrated, ...]
    biases: tuple[Bias, ...]

    def of(self, judge: Judge) -> bool:
        """Whether it is of this very judge, wherever the endpoint may be that serves it."""
        apart = [{name: value for name, value in about.items() if name != "endpoint"} for about in (self.about, judge.about())]
        return apart[0] == apart[1]


def read(path: Path) -> Known:
    """What a file of `write` says. Raises: FormatError: it is none. SettingsError: it is not there."""
    if not path.is_file():
        raise SettingsError(f"there is no file {path}; --calibration wants the {FILE} that `crossaisle judge calibrate` wrote")
    try:
        told = json.loads(path.read_text("utf-8"))
        tasks = tuple(_calibrated(task) for task in told["tasks"])
        biases = tuple(Bias(bias["bias"], _interval(bias), bias["cases"]) for bias in told["biases"])
        return Known(dict(told["about"]), tasks, biases)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(path, None, f"it is no calibration of a judge ({type(error).__name__}: {error})") from None


def _calibrated(told: Mapping[str, Any]) -> Calibrated:
    judge, people = told["judge"], told["people"]
    agreement = JudgeAgreement(
        majority=_interval(judge["majority"]),
        pairwise=_interval(judge["pairwise"]),
        beside=_interval(judge["beside"]),
        accuracy=_interval(judge["accuracy"]),
        answered=float(judge["answered"]),
    )
    among = people and HumanAgreement(
        pairwise=_interval(people["pairwise"]),
        leave_one_out=_interval(people["leave_one_out"]),
        alpha=_interval(people["alpha"]),
        units=int(people["units"]),
        raters=int(people["raters"]),
    )
    return Calibrated(str(told["task"]), agreement, among or None, int(told["units"]))


def _interval(told: Mapping[str, Any]) -> Interval:
    value, low, high = (math.nan if told[name] is None else float(told[name]) for name in ("value", "low", "high"))
    return Interval(value, low, high)


def with_run(known: Known | None, biases: Sequence[Bias]) -> Verdict:
    """The verdict for a report: by the calibration, and by the biases that the report's own run shows, in place of earlier ones."""
    if known is None:
        return verdict([])
    measured = {bias.name for bias in biases if not math.isnan(bias.value.value)}
    return verdict(known.tasks, [*(bias for bias in known.biases if bias.name not in measured), *biases])
