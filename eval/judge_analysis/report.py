"""Report of a judging as `judge.json`: verdict on the judge, scores, pairs, consistency, disagreements, cost, prompts.

With several judges a score is the mean over the judges that gave one, and their agreement is reported. Intervals are 95 % intervals that
resample users. The keys and texts of the report are read by the console and by users' programs.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__, prompts
from ...data.atomic_files import write_atomically
from ...data.errors import storage_errors
from ..judge import injection_filter, rubrics
from ..judge.question import Judgement, JudgeQuestion, PanelJudgement
from ..judge.question_plan import QuestionPlan
from ..judge.runner import RunResult
from ..stats.agreement import krippendorff_alpha
from ..stats.bootstrap import bootstrap_mean, paired_difference
from . import bias_probes, pairwise
from .bias import Bias, order_bias
from .calibration import SavedCalibration, consistency_bias, repeated_pairs, verdict_with_biases
from .self_preference import SelfPreference, self_preferences
from .trust import LEVEL_LABELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_DISAGREEMENTS = 6
"""Disagreements of each kind in the report."""
NOT_CALIBRATED = "not calibrated"


@dataclass
class JudgingResult:
    """Input of a report.

    Attributes:
        plan: Questions.
        panel: Name, description (`Judge.about`) and run of each judge.
        systems: Description of each judged system by name.
        users: Number of judged users.
        calibrations: Calibrations by name of the judge; other judges are not calibrated.
        options: Options of the panel, copied to the report.
        seed: Seed of the bootstrap.
        probes: Bias probes.
        probe_runs: Runs of the bias probes, like `panel`.
    """

    plan: QuestionPlan
    panel: Sequence[tuple[str, Mapping[str, Any], RunResult]]
    systems: Mapping[str, Mapping[str, Any]]
    users: int
    calibrations: Mapping[str, SavedCalibration] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    probes: bias_probes.BiasProbes = field(default_factory=bias_probes.BiasProbes)
    probe_runs: Sequence[tuple[str, Mapping[str, Any], RunResult]] = ()


def build_report(result: JudgingResult) -> dict[str, Any]:
    """Return the report; `write_report` makes it valid JSON."""
    judgements = _panel_judgements(result)
    scores = [judgement for judgement in judgements if not judgement.question.against]
    pairs = [judgement for judgement in judgements if judgement.question.against]
    preferences = _self_preferences(result, pairs)
    biases = _biases(result, pairs, preferences)
    return {
        "crossaisle": __version__,
        "verdict": {name: _verdict(result.calibrations.get(name), judge_biases) for name, judge_biases in biases.items()},
        "users": result.users,
        "systems": {name: dict(description) for name, description in result.systems.items()},
        "withheld": injection_filter.injection_report(result.plan.answers),
        "criteria": _criteria(result, scores),
        "pairs": pairwise.pairwise_report(pairs, result.seed),
        "panel": _panel_agreement(result, judgements),
        "repeats": _consistency(result),
        "biases": {name: [bias.to_dict() for bias in judge_biases] for name, judge_biases in biases.items()},
        "own": [preference.to_dict() for preference in preferences],
        "disagreements": _disagreements(result, judgements),
        "not_asked": result.plan.skipped(),
        "judges": {name: {"about": dict(about), "run": run.to_dict()} for name, about, run in result.panel},
        "audit": {name: run.to_dict() for name, _, run in result.probe_runs},
        "prompts": _prompts([*result.plan.questions, *result.probes.plan.questions]),
        "options": dict(result.options),
    }


def _verdict(calibration: SavedCalibration | None, biases: Sequence[Bias]) -> dict[str, Any]:
    verdict = verdict_with_biases(calibration, biases)
    label = LEVEL_LABELS[verdict.level] if calibration else NOT_CALIBRATED
    return {"verdict": label, "calibrated": calibration is not None, **verdict.to_dict()}


def write_report(report: Mapping[str, Any], out: Path) -> Path:
    """Write `judge.json` into a folder and return its path.

    Raises:
        StorageError: The file cannot be written.
    """
    path = out / "judge.json"
    with storage_errors(f"the report in {out}"):
        write_atomically(
            path, (json.dumps(_json_value(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")
        )
    return path


# ------------------------------------------------------------------ scores


def _panel_judgements(result: JudgingResult) -> list[PanelJudgement]:
    """Return each question with the first judgement of each judge; questions without any judgement are omitted."""
    by_judge = [{id(judgement.question): judgement for judgement in run.judgements if judgement.repeat == 0} for _, _, run in result.panel]
    judgements = [
        PanelJudgement(question, tuple(by_question.get(id(question)) for by_question in by_judge)) for question in result.plan.questions
    ]
    return [judgement for judgement in judgements if any(part is not None for part in judgement.judgements)]


def _by_criterion(judgements: Sequence[PanelJudgement]) -> dict[str, list[PanelJudgement]]:
    groups: dict[str, list[PanelJudgement]] = defaultdict(list)
    for judgement in judgements:
        groups[judgement.question.criterion].append(judgement)
    return groups


def _criteria(result: JudgingResult, judgements: Sequence[PanelJudgement]) -> dict[str, Any]:
    """Return the scores of each criterion and system, and the differences between systems."""
    content: dict[str, Any] = {}
    for name, group in _by_criterion(judgements).items():
        by_system: dict[str, list[PanelJudgement]] = defaultdict(list)
        for judgement in group:
            by_system[judgement.question.system].append(judgement)
        content[name] = {
            "question": rubrics.rubric(name).question,
            "high_is": rubrics.HIGH_IS.get(name, "good"),
            "systems": {
                system: {**_score_statistics(of_system, result.seed), "slices": _slices(of_system, result.seed)}
                for system, of_system in by_system.items()
            },
            "differences": _differences(by_system, result.seed),
        }
    return content


def _score_statistics(judgements: Sequence[PanelJudgement], seed: int, *, resamples: int = 2000) -> dict[str, Any]:
    """Return counts, the mean with its interval, and the histogram of the rounded scores."""
    scores = np.array([judgement.score for judgement in judgements], np.float64)
    given = [part for judgement in judgements for part in judgement.judgements if part is not None]
    histogram = np.bincount(np.round(scores[~np.isnan(scores)]).astype(int), minlength=6)[1:6]
    return {
        "asked": len(judgements),
        "scored": int((~np.isnan(scores)).sum()),
        "unscored": sum(judgement.score is None for judgement in given),
        "by_probabilities": sum(judgement.probabilities is not None for judgement in given),
        **bootstrap_mean(scores, _clusters(judgement.question.user for judgement in judgements), seed=seed, resamples=resamples).to_dict(),
        "spread": dict(zip(rubrics.SCORES, histogram.tolist(), strict=True)),
    }


def _slices(judgements: Sequence[PanelJudgement], seed: int) -> dict[str, dict[str, Any]]:
    """Return the count and the mean of each slice, by slice dimension."""
    slices: dict[str, dict[str, list[PanelJudgement]]] = defaultdict(lambda: defaultdict(list))
    for judgement in judgements:
        for dimension, name in judgement.question.slices:
            slices[dimension][name].append(judgement)
    return {
        dimension: {name: _slice_statistics(group, seed) for name, group in sorted(by_name.items())}
        for dimension, by_name in slices.items()
    }


def _slice_statistics(judgements: Sequence[PanelJudgement], seed: int) -> dict[str, Any]:
    statistics = _score_statistics(judgements, seed, resamples=500)
    return {name: statistics[name] for name in ("scored", "value", "low", "high")}


def _differences(by_system: Mapping[str, Sequence[PanelJudgement]], seed: int) -> list[dict[str, Any]]:
    """Return the differences between systems of the mean score of a user, paired by user."""
    means = {system: _user_means(judgements) for system, judgements in by_system.items()}
    names, differences = list(means), []
    for number, left in enumerate(names):
        for right in names[number + 1 :]:
            users = sorted(set(means[left]) & set(means[right]))
            if len(users) < 2:
                continue
            left_means, right_means = (np.array([means[system][user] for user in users]) for system in (left, right))
            difference = paired_difference(left_means, right_means, np.arange(len(users)), seed=seed)
            differences.append({"system": left, "against": right, "users": len(users), **difference.to_dict()})
    return differences


def _user_means(judgements: Sequence[PanelJudgement]) -> dict[str, float]:
    scores: dict[str, list[float]] = defaultdict(list)
    for judgement in judgements:
        if not math.isnan(judgement.score):
            scores[judgement.question.user].append(judgement.score)
    return {user: sum(values) / len(values) for user, values in scores.items()}


def _clusters(users: Iterable[str]) -> NDArray[np.int64]:
    """Return (cases,) an index for each user."""
    indices: dict[str, int] = {}
    return np.array([indices.setdefault(user, len(indices)) for user in users], np.int64)


# ------------------------------------------------------------------ consistency, agreement and biases


def _panel_agreement(result: JudgingResult, judgements: Sequence[PanelJudgement]) -> dict[str, Any]:
    """Return Krippendorff's alpha of the judges by criterion; empty for a single judge."""
    if len(result.panel) < 2:
        return {}
    content = {}
    for name, group in _by_criterion(judgements).items():
        ratings = [[math.nan if part is None or part.score is None else part.score for part in judgement.judgements] for judgement in group]
        clusters = _clusters(judgement.question.user for judgement in group)
        alpha = krippendorff_alpha(np.array(ratings, np.float64), clusters, level="interval", seed=result.seed)
        content[name] = {"questions": len(group), "alpha": alpha.to_dict()}
    return content


def _consistency(result: JudgingResult) -> dict[str, Any]:
    """Return, for each judge, the agreement of repeated judgements with the first ones."""
    content = {}
    for name, _, run in result.panel:
        pairs = repeated_pairs(run.judgements)
        scored = [(first, second) for first, second in pairs if first.score is not None and second.score is not None]
        same = np.array([float(first.chosen == second.chosen) for first, second in scored])
        clusters = _clusters(first.question.user for first, _ in scored)
        distances = [abs(first.score - second.score) for first, second in scored if first.score is not None and second.score is not None]
        content[name] = {
            "repeated": len(pairs),
            "scored_both_times": len(scored),
            "same": bootstrap_mean(same, clusters, seed=result.seed).to_dict(),
            "apart": round(sum(distances) / len(distances), 5) if distances else None,
        }
    return content


def _self_preferences(result: JudgingResult, judgements: Sequence[PanelJudgement]) -> list[SelfPreference]:
    """Return the judges' preferences for texts of their own base model; empty if no writer is known."""
    writers = {name: str(description["written_by"]) for name, description in result.systems.items() if description.get("written_by")}
    judges = {name: str(about.get("model", "")) for name, about, _ in result.panel}
    return self_preferences(pairwise.judged_pairs(judgements), judges, writers, result.seed)


def _biases(result: JudgingResult, judgements: Sequence[PanelJudgement], preferences: Sequence[SelfPreference]) -> dict[str, list[Bias]]:
    """Return the biases of each judge in this run: consistency, order of pairs, self-preference, and bias probes."""
    pairs = pairwise.judged_pairs(judgements)
    clusters = _clusters(pair.question.user for pair in pairs)
    biases: dict[str, list[Bias]] = {}
    for number, (name, _, run) in enumerate(result.panel):
        biases[name] = consistency_bias(run.judgements, result.seed)
        if pairs:
            verdicts = np.array([[order[number] for order in pair.verdicts()] for pair in pairs], np.float64)  # (pairs, 2)
            biases[name] += order_bias(verdicts[:, 0], verdicts[:, 1], clusters, seed=result.seed)
    for preference in preferences:
        if preference.bias is not None:
            biases[preference.judge].append(preference.bias)
    for name, _, run in result.probe_runs:
        biases[name] += bias_probes.measure_biases(result.probes, run.judgements, result.seed)
    return biases


# ------------------------------------------------------------------ disagreements and prompts


def _disagreements(result: JudgingResult, judgements: Sequence[PanelJudgement]) -> list[dict[str, Any]]:
    """Return examples to read: pairs with a flip, questions that the judges disagree on, repetitions with another answer."""
    pairs = [judgement for judgement in judgements if judgement.question.against]
    examples = list(pairwise.order_flips(pairs))[:MAX_DISAGREEMENTS]
    if len(result.panel) > 1:
        split = sorted(judgements, key=lambda judgement: -_disagreement(judgement))[:MAX_DISAGREEMENTS]
        examples += [
            _example("the judges disagree", judgement.question, judgement.judgements) for judgement in split if _disagreement(judgement) > 0
        ]
    for _, _, run in result.panel:
        changed = [
            (first, second)
            for first, second in repeated_pairs(run.judgements)
            if first.chosen and second.chosen and first.chosen != second.chosen
        ]
        examples += [
            _example("asked twice, answered twice", first.question, (first, second)) for first, second in changed[:MAX_DISAGREEMENTS]
        ]
    return examples


def _disagreement(judgement: PanelJudgement) -> float:
    """Return the range of the judges' scores relative to the scale, 0 to 1."""
    scores = [part.score for part in judgement.judgements if part is not None and part.score is not None]
    scale = 1.0 if judgement.question.against else 4.0
    return (max(scores) - min(scores)) / scale if scores else 0.0


def _example(why: str, question: JudgeQuestion, judgements: Iterable[Judgement | None]) -> dict[str, Any]:
    verdicts = [
        {"judge": judgement.judge, "chosen": judgement.chosen, "reason": judgement.reason}
        for judgement in judgements
        if judgement is not None
    ]
    return {"why": why, "about": str(question), "shown": question.request.user, "said": verdicts}


def _prompts(questions: Iterable[JudgeQuestion]) -> list[dict[str, str]]:
    """Return the id, the hash and the text of each prompt in use."""
    used = dict(sorted({question.prompt: question.prompt_hash for question in questions}.items()))
    frame = {"judge_frame.v1": ""} if any(not name.startswith("judge_pair") for name in used) else {}
    content = []
    for name, prompt_hash in (frame | used).items():
        stem, _, version = name.rpartition(".v")
        sections = prompts.load(stem, int(version)).sections
        content.append({"prompt": name, "hash": prompt_hash, "text": "\n".join(f"## {head}\n{text}" for head, text in sections.items())})
    return content


def _json_value(value: Any) -> Any:
    """Return the value with floats rounded and non-finite floats as None."""
    if isinstance(value, Mapping):
        return {str(name): _json_value(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(part) for part in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value
