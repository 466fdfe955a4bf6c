"""All figures of one judging, as `judge.json` holds them: the verdict on the judge, scores, pairs, stability, disagreements, cost, prompts.

Several judges are a panel: a score is the mean of those who gave one, and how far they agree stands beside it. Intervals are of 95 %, by
resampling users.
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
from ...data.errors import storing
from ..judge import injection_filter, rubrics
from ..judge.question import Judgement, Question
from ..judge.question_plan import Plan
from ..judge.runner import Ran
from ..stats.agreement import krippendorff_alpha
from ..stats.bootstrap import bootstrap_mean, paired_difference
from . import bias as audit
from . import bias_probes, pairwise, self_preference
from .bias import Bias
from .calibration import Known, repeats, with_run
from .trust import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

READ = 6
"""Disagreements of each kind that are shown."""
NOT_CALIBRATED = "not calibrated"


@dataclass
class Judged:
    """What there is to report.

    Attributes:
        plan: the questions. panel: each judge's name, what it says it is, and its run. systems: name of each to what it is.
        audit, audited: variants that were asked about to find the judges' biases, and those runs.
        users: that were judged. calibrations: of the judges, by name; those that are not in it were not calibrated. seed: of intervals.
    """

    plan: Plan
    panel: Sequence[tuple[str, Mapping[str, Any], Ran]]
    systems: Mapping[str, Mapping[str, Any]]
    users: int
    calibrations: Mapping[str, Known] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    audit: bias_probes.Audit = field(default_factory=bias_probes.Audit)
    audited: Sequence[tuple[str, Mapping[str, Any], Ran]] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and each judge's judgement of it, in the panel's order; None where a judge was not asked."""

    question: Question
    judgements: tuple[Judgement | None, ...]

    @property
    def score(self) -> float:
        """The mean of the judges who gave a score, NaN where none did."""
        given = [one.score for one in self.judgements if one is not None and one.score is not None]
        return sum(given) / len(given) if given else math.nan


def build(judged: Judged) -> dict[str, Any]:
    """The report."""
    asked = _asked(judged, 0)
    own = _own(judged, asked)
    biases = _biases(judged, asked, own)
    return {
        "crossaisle": __version__,
        "verdict": {name: _verdict(judged.calibrations.get(name), found) for name, found in biases.items()},
        "users": judged.users,
        "systems": {name: dict(about) for name, about in judged.systems.items()},
        "withheld": injection_filter.report(judged.plan.answers),
        "criteria": _criteria(judged, [one for one in asked if not one.question.against]),
        "pairs": pairwise.build([one for one in asked if one.question.against], judged.seed),
        "panel": _panel(judged, asked),
        "repeats": _repeats(judged),
        "biases": {name: [bias.to_dict() for bias in found] for name, found in biases.items()},
        "own": [one.to_dict() for one in own],
        "disagreements": _disagreements(judged, asked),
        "not_asked": judged.plan.told(),
        "judges": {name: {"about": dict(about), "run": ran.to_dict()} for name, about, ran in judged.panel},
        "audit": {name: ran.to_dict() for name, _, ran in judged.audited},
        "prompts": _prompts([*judged.plan.questions, *judged.audit.plan.questions]),
        "options": dict(judged.options),
    }


def _verdict(known: Known | None, biases: Sequence[Bias]) -> dict[str, Any]:
    found = with_run(known, biases)
    return {"verdict": LEVELS[found.level] if known else NOT_CALIBRATED, "calibrated": known is not None, **found.to_dict()}


def write(report: Mapping[str, Any], out: Path) -> Path:
    """Writes `judge.json` into the folder; returns its path. Raises: StorageError: it cannot be written."""
    path = out / "judge.json"
    with storing(f"the report in {out}"):
        write_atomically(
            path, (json.dumps(_plain(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")
        )
    return path


# ------------------------------------------------------------------ scores


def _asked(judged: Judged, repeat: int) -> list[Asked]:
    """Every question with what the judges made of it the first time, or the second."""
    of_judge = [{id(one.question): one for one in ran.judgements if one.repeat == repeat} for _, _, ran in judged.panel]
    found = [Asked(question, tuple(one.get(id(question)) for one in of_judge)) for question in judged.plan.questions]
    return [one for one in found if any(part is not None for part in one.judgements)]


def _criteria(judged: Judged, asked: Sequence[Asked]) -> dict[str, Any]:
    by_name: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        by_name[one.question.criterion].append(one)
    found: dict[str, Any] = {}
    for name, these in by_name.items():
        about = rubrics.rubric(name)
        of_system: dict[str, list[Asked]] = defaultdict(list)
        for one in these:
            of_system[one.question.system].append(one)
        found[name] = {
            "question": about.question,
            "high_is": rubrics.HIGH_IS.get(name, "good"),
            "systems": {
                system: {**_told(parts, judged.seed), "slices": _slices(parts, judged.seed)} for system, parts in of_system.items()
            },
            "differences": _differences(of_system, judged.seed),
        }
    return found


def _told(asked: Sequence[Asked], seed: int, *, draws: int = 2000) -> dict[str, Any]:
    """How many scores there are, their mean with its interval, and how they are spread."""
    values = np.array([one.score for one in asked], np.float64)
    given = [part for one in asked for part in one.judgements if part is not None]
    counts = np.bincount(np.round(values[~np.isnan(values)]).astype(int), minlength=6)[1:6]
    return {
        "asked": len(asked),
        "scored": int((~np.isnan(values)).sum()),
        "unscored": sum(part.score is None for part in given),
        "by_probabilities": sum(part.likely is not None for part in given),
        **bootstrap_mean(values, _clusters(one.question.user for one in asked), seed=seed, resamples=draws).to_dict(),
        "spread": dict(zip(rubrics.SCORES, counts.tolist(), strict=True)),
    }


def _slices(asked: Sequence[Asked], seed: int) -> dict[str, dict[str, Any]]:
    parts: dict[str, dict[str, list[Asked]]] = defaultdict(lambda: defaultdict(list))
    for one in asked:
        for cut, part in one.question.slices:
            parts[cut][part].append(one)
    return {cut: {part: _short(these, seed) for part, these in sorted(of_cut.items())} for cut, of_cut in parts.items()}


def _short(asked: Sequence[Asked], seed: int) -> dict[str, Any]:
    told = _told(asked, seed, draws=500)
    return {name: told[name] for name in ("scored", "value", "low", "high")}


def _differences(of_system: Mapping[str, Sequence[Asked]], seed: int) -> list[dict[str, Any]]:
    """Each system's mean score of a user less another's, paired by user."""
    means = {system: _by_user(these) for system, these in of_system.items()}
    names, found = list(means), []
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            users = sorted(set(means[one]) & set(means[other]))
            if len(users) < 2:
                continue
            mine, theirs = (np.array([means[system][user] for user in users]) for system in (one, other))
            found.append(
                {
                    "system": one,
                    "against": other,
                    "users": len(users),
                    **paired_difference(mine, theirs, np.arange(len(users)), seed=seed).to_dict(),
                }
            )
    return found


def _by_user(asked: Sequence[Asked]) -> dict[str, float]:
    scores: dict[str, list[float]] = defaultdict(list)
    for one in asked:
        if not math.isnan(one.score):
            scores[one.question.user].append(one.score)
    return {user: sum(values) / len(values) for user, values in scores.items()}


def _clusters(users: Iterable[str]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(user, len(numbers)) for user in users], np.int64)


# ------------------------------------------------------------------ how steady, how much of one mind


def _panel(judged: Judged, asked: Sequence[Asked]) -> dict[str, Any]:
    """Krippendorff's alpha among the judges, by criterion; nothing where there is one judge."""
    if len(judged.panel) < 2:
        return {}
    by_name: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        by_name[one.question.criterion].append(one)
    found = {}
    for name, these in by_name.items():
        given = [[math.nan if part is None or part.score is None else part.score for part in one.judgements] for one in these]
        clusters = _clusters(one.question.user for one in these)
        alpha = krippendorff_alpha(np.array(given, np.float64), clusters, level="interval", seed=judged.seed)
        found[name] = {"questions": len(these), "alpha": alpha.to_dict()}
    return found


def _repeats(judged: Judged) -> dict[str, Any]:
    """Of each judge, how the second answers to the same questions compare with the first."""
    found = {}
    for name, _, ran in judged.panel:
        first = {id(one.question): one for one in ran.judgements if one.repeat == 0}
        both = [(first[id(one.question)], one) for one in ran.judgements if one.repeat == 1 and id(one.question) in first]
        scored = [(a, b) for a, b in both if a.score is not None and b.score is not None]
        same = np.array([float(a.chosen == b.chosen) for a, b in scored])
        clusters = _clusters(a.question.user for a, _ in scored)
        apart = [abs(a.score - b.score) for a, b in scored if a.score is not None and b.score is not None]
        found[name] = {
            "repeated": len(both),
            "scored_both_times": len(scored),
            "same": bootstrap_mean(same, clusters, seed=judged.seed).to_dict(),
            "apart": round(sum(apart) / len(apart), 5) if apart else None,
        }
    return found


def _own(judged: Judged, asked: Sequence[Asked]) -> list[self_preference.Own]:
    """What judges make of texts that their own base wrote; nothing where nobody is known to have."""
    writers = {name: str(about["written_by"]) for name, about in judged.systems.items() if about.get("written_by")}
    judges = {name: str(about.get("model", "")) for name, about, _ in judged.panel}
    return self_preference.found(pairwise.paired([one for one in asked if one.question.against]), judges, writers, judged.seed)


def _biases(judged: Judged, asked: Sequence[Asked], own: Sequence[self_preference.Own]) -> dict[str, list[Bias]]:
    """Of each judge, what of its biases this very run shows: by the order of pairs, by asking again, by its own texts, by variants."""
    pairs = pairwise.paired([one for one in asked if one.question.against])
    clusters = _clusters(pair.question.user for pair in pairs)
    found: dict[str, list[Bias]] = {}
    for number, (name, _, ran) in enumerate(judged.panel):
        found[name] = repeats(ran.judgements, judged.seed)
        if pairs:
            verdicts = np.array([[side[number] for side in pair.verdicts()] for pair in pairs], np.float64)  # (pairs, 2)
            found[name] += audit.order(verdicts[:, 0], verdicts[:, 1], clusters, seed=judged.seed)
    for one in own:
        if one.bias is not None:
            found[one.judge].append(one.bias)
    for name, _, ran in judged.audited:
        found[name] += bias_probes.biases(judged.audit, ran.judgements, judged.seed)
    return found


def _disagreements(judged: Judged, asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """What is worth reading: pairs whose winner hangs on the order, questions that split the panel, answers that changed."""
    found = list(pairwise.flips([one for one in asked if one.question.against]))[:READ]
    if len(judged.panel) > 1:
        split = sorted(asked, key=lambda one: -_apart(one))[:READ]
        found += [_read("the judges disagree", one.question, one.judgements) for one in split if _apart(one) > 0]
    for _, _, ran in judged.panel:
        first = {id(one.question): one for one in ran.judgements if one.repeat == 0}
        again = [(first[id(one.question)], one) for one in ran.judgements if one.repeat == 1 and id(one.question) in first]
        changed = [pair for pair in again if pair[0].chosen and pair[1].chosen and pair[0].chosen != pair[1].chosen]
        found += [_read("asked twice, answered twice", a.question, (a, b)) for a, b in changed[:READ]]
    return found


def _apart(asked: Asked) -> float:
    given = [one.score for one in asked.judgements if one is not None and one.score is not None]
    scale = 1.0 if asked.question.against else 4.0
    return (max(given) - min(given)) / scale if given else 0.0


def _read(why: str, question: Question, judgements: Iterable[Judgement | None]) -> dict[str, Any]:
    said = [{"judge": one.judge, "chosen": one.chosen, "reason": one.reason} for one in judgements if one is not None]
    return {"why": why, "about": str(question), "shown": question.asked.user, "said": said}


def _prompts(questions: Iterable[Question]) -> list[dict[str, str]]:
    """Every prompt that was used, with its text."""
    used = dict(sorted({one.prompt: one.prompt_hash for one in questions}.items()))
    frame = {"judge_frame.v1": ""} if any(not name.startswith("judge_pair") for name in used) else {}
    found = []
    for name, digest in (frame | used).items():
        stem, _, version = name.rpartition(".v")
        sections = prompts.load(stem, int(version)).sections
        found.append({"prompt": name, "hash": digest, "text": "\n".join(f"## {head}\n{text}" for head, text in sections.items())})
    return found


def _plain(value: Any) -> Any:
    """The same with null for what is no number, and figures rounded."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value
