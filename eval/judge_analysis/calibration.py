"""Calibration of a judge on questions with human labels (`judge calibrate`), stored for later reports.

The options of each question are shuffled, so that a preference for the first letter gains nothing. A calibration is valid for one judge
with its sampling settings; reports of other judges do not use it.
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
from ...data.errors import FormatError, SettingsError, storage_errors
from ...llm.chat.messages import ChatRequest
from ..judge.question import Judge, Judgement, JudgeQuestion
from ..stats.agreement import HumanAgreement, JudgeAgreement
from ..stats.bootstrap import Interval
from .bias import Bias, repeat_bias
from .human_agreement import TaskCalibration, calibrate_task
from .human_labels import LabelledCase, LabelTask
from .trust import TaskAgreement, TrustVerdict, trust_verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

CALIBRATION_FILE = "calibration.json"
PROMPT = "judge_labels"
LETTERS = "ABCDE"
MAX_TEXT_CHARS = 1500
"""Characters of a text that are shown to the judge."""
_OPTION_SECTIONS: Mapping[LabelTask, Sequence[str]] = {
    "relation": ("relation_complement", "relation_substitute", "relation_neither"),
    "reason": ("reason_good", "reason_none"),
    "mismatch": ("mismatch_right", "mismatch_other"),
}
"""Prompt sections with the options of a task, in their order; the cases of other tasks have their own options."""


def sample_cases(cases: Mapping[LabelTask, Sequence[LabelledCase]], max_cases: int, seed: int) -> dict[LabelTask, list[LabelledCase]]:
    """Return at most `max_cases` randomly sampled cases of each task, in their original order."""

    def sample(task_cases: Sequence[LabelledCase]) -> list[LabelledCase]:
        shuffled = sorted(task_cases, key=lambda case: hashlib.sha256(f"{seed} {case.key}".encode("utf-8", "replace")).digest())
        keys = {case.key for case in shuffled[:max_cases]}
        return [case for case in task_cases if case.key in keys]

    return {task: sample(task_cases) for task, task_cases in cases.items()}


def build_question(case: LabelledCase) -> JudgeQuestion:
    """Return the question to a judge; its letters are the options in `option_order`."""
    prompt = prompts.load(PROMPT)
    if case.task in _OPTION_SECTIONS:
        options = [prompt.render(section) for section in _OPTION_SECTIONS[case.task]]
    else:
        options = [prompts.sanitize_for_prompt(option, MAX_TEXT_CHARS) for option in case.options]
    lettered = [f"{letter}: {options[index]}" for letter, index in zip(LETTERS, option_order(case), strict=False)]
    parts = [prompt.render("part", mark=mark, text=prompts.sanitize_for_prompt(text, MAX_TEXT_CHARS)) for mark, text in case.parts.items()]
    user = prompt.render("user", question=prompt.render(case.task), parts=parts, options=lettered)
    request = ChatRequest(prompt.render("system"), user, "answer", tuple(LETTERS[: len(options)]))
    prompt_hash = hashlib.sha256(json.dumps([prompt.id, prompt.sections], sort_keys=True).encode()).hexdigest()
    return JudgeQuestion(case.task, prompt.id, prompt_hash, request, "people", case.cluster, item=case.key)


def option_order(case: LabelledCase) -> list[int]:
    """Return the option index of each letter: a permutation seeded with the key of the case."""
    rng = np.random.default_rng(int(hashlib.sha256(case.key.encode("utf-8", "replace")).hexdigest()[:16], 16))
    return [int(index) for index in rng.permutation(len(case.options))]


def answer_matrix(
    cases: Sequence[LabelledCase], judgements: Mapping[int, Judgement], questions: Sequence[JudgeQuestion]
) -> NDArray[np.float64]:
    """Return the judge's answers; NaN where unscored.

    Args:
        cases: Cases of one task.
        judgements: Judgements by the object id of their question.
        questions: Questions of the cases, in their order.

    Returns:
        (cases, options) probability of each option if all scored answers have probabilities; else (cases,) index of the chosen option.
    """
    width = max(len(case.options) for case in cases)
    probabilities, chosen = np.full((len(cases), width), math.nan), np.full(len(cases), math.nan)
    all_have_probabilities = True
    for row, (case, question) in enumerate(zip(cases, questions, strict=True)):
        judgement = judgements.get(id(question))
        if judgement is None or judgement.chosen is None:
            continue
        option_of_letter = dict(zip(LETTERS, option_order(case), strict=False))
        chosen[row] = option_of_letter[judgement.chosen]
        if judgement.probabilities is None:
            all_have_probabilities = False
        else:
            probabilities[row] = 0.0
            for letter, probability in judgement.probabilities.items():
                probabilities[row, option_of_letter[letter]] = probability
    return probabilities if all_have_probabilities and not np.isnan(chosen).all() else chosen


@dataclass(frozen=True, slots=True)
class JudgeCalibration:
    """Calibration of one judge.

    Attributes:
        judge: Name of the judge.
        about: Description of the judge with its sampling settings, from `Judge.about`.
        tasks: Agreement with people by task.
        biases: Biases that were measured along with it.
    """

    judge: str
    about: Mapping[str, Any]
    tasks: Sequence[TaskCalibration]
    biases: Sequence[Bias]

    def verdict(self) -> TrustVerdict:
        """Return how far the judge can be trusted, by this calibration alone."""
        return trust_verdict([task.agreement() for task in self.tasks], self.biases)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `calibration.json`."""
        return {
            "crossaisle": __version__,
            "judge": self.judge,
            "about": dict(self.about),
            "verdict": self.verdict().to_dict(),
            "tasks": [task.to_dict() for task in self.tasks],
            "biases": [bias.to_dict() for bias in self.biases],
        }


def build_calibration(
    judge: str,
    about: Mapping[str, Any],
    cases: Mapping[LabelTask, Sequence[LabelledCase]],
    judgements: Sequence[Judgement],
    questions: Mapping[LabelTask, Sequence[JudgeQuestion]],
    seed: int,
) -> JudgeCalibration:
    """Return the calibration of a judge from its judgements.

    Args:
        judge: Name of the judge.
        about: Description of the judge, from `Judge.about`.
        cases: Cases by task.
        judgements: Judgements of the questions.
        questions: Questions of the cases by task, in the order of the cases.
        seed: Seed of the bootstrap.
    """
    first = {id(judgement.question): judgement for judgement in judgements if judgement.repeat == 0}
    tasks = [calibrate_task(task_cases, answer_matrix(task_cases, first, questions[task]), seed=seed) for task, task_cases in cases.items()]
    return JudgeCalibration(judge, about, tasks, consistency_bias(judgements, seed))


def repeated_pairs(judgements: Sequence[Judgement]) -> list[tuple[Judgement, Judgement]]:
    """Return the first and the repeated judgement of each repeated question."""
    first = {id(judgement.question): judgement for judgement in judgements if judgement.repeat == 0}
    return [
        (first[id(judgement.question)], judgement) for judgement in judgements if judgement.repeat == 1 and id(judgement.question) in first
    ]


def consistency_bias(judgements: Sequence[Judgement], seed: int) -> list[Bias]:
    """Return the share of repeated questions with another answer, as a list of one; empty without repetitions."""
    pairs = [(first, second) for first, second in repeated_pairs(judgements) if first.chosen is not None and second.chosen is not None]
    if not pairs:
        return []
    codes = {
        label: code for code, label in enumerate(sorted({judgement.chosen for pair in pairs for judgement in pair if judgement.chosen}))
    }
    users = {user: index for index, user in enumerate(dict.fromkeys(first.question.user for first, _ in pairs))}
    answers = np.array([[codes[judgement.chosen] for judgement in pair if judgement.chosen] for pair in pairs], np.float64)  # (calls, 2)
    clusters = np.array([users[first.question.user] for first, _ in pairs], np.int64)
    return [repeat_bias(answers[:, 0], answers[:, 1], clusters, seed=seed)[0]]


def write_calibration(calibration: JudgeCalibration, out: Path) -> Path:
    """Write `calibration.json` into a folder and return its path.

    Raises:
        StorageError: The file cannot be written.
    """
    path = out / CALIBRATION_FILE
    with storage_errors(f"the calibration in {out}"):
        write_atomically(
            path, (json.dumps(calibration.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")
        )
    return path


@dataclass(frozen=True, slots=True)
class SavedCalibration:
    """Content of a calibration file that a verdict needs.

    Attributes:
        about: Description of the judge, from `Judge.about`.
        tasks: Agreement with people by task.
        biases: Biases that were measured along with it.
    """

    about: Mapping[str, Any]
    tasks: tuple[TaskAgreement, ...]
    biases: tuple[Bias, ...]

    def matches(self, judge: Judge) -> bool:
        """Return whether the calibration is of this judge, at any endpoint address."""
        saved, current = ({name: value for name, value in about.items() if name != "endpoint"} for about in (self.about, judge.about()))
        return saved == current


def read_calibration(path: Path) -> SavedCalibration:
    """Return the calibration in a file of `write_calibration`.

    Raises:
        FormatError: The file is not a calibration.
        SettingsError: The file does not exist.
    """
    if not path.is_file():
        raise SettingsError(f"no calibration file {path}: create {CALIBRATION_FILE} with `crossaisle judge calibrate`")
    try:
        content = json.loads(path.read_text("utf-8"))
        tasks = tuple(_task_agreement(task) for task in content["tasks"])
        biases = tuple(Bias(bias["bias"], _interval(bias), bias["cases"]) for bias in content["biases"])
        return SavedCalibration(dict(content["about"]), tasks, biases)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(path, None, f"not a calibration of a judge ({type(error).__name__}: {error})") from None


def _task_agreement(task: Mapping[str, Any]) -> TaskAgreement:
    judge, people = task["judge"], task["people"]
    judge_agreement = JudgeAgreement(
        majority=_interval(judge["majority"]),
        pairwise=_interval(judge["pairwise"]),
        beside=_interval(judge["beside"]),
        accuracy=_interval(judge["accuracy"]),
        answered=float(judge["answered"]),
    )
    human_agreement = people and HumanAgreement(
        pairwise=_interval(people["pairwise"]),
        leave_one_out=_interval(people["leave_one_out"]),
        alpha=_interval(people["alpha"]),
        units=int(people["units"]),
        raters=int(people["raters"]),
    )
    return TaskAgreement(str(task["task"]), judge_agreement, human_agreement or None, int(task["units"]))


def _interval(content: Mapping[str, Any]) -> Interval:
    value, low, high = (math.nan if content[name] is None else float(content[name]) for name in ("value", "low", "high"))
    return Interval(value, low, high)


def verdict_with_biases(calibration: SavedCalibration | None, biases: Sequence[Bias]) -> TrustVerdict:
    """Return the verdict by a calibration, with the biases of a later run in place of the calibration's own."""
    if calibration is None:
        return trust_verdict([])
    measured = {bias.name for bias in biases if not math.isnan(bias.value.value)}
    return trust_verdict(calibration.tasks, [*(bias for bias in calibration.biases if bias.name not in measured), *biases])
