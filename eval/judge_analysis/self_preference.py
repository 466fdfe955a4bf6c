"""Self-preference: whether a judge prefers texts of its own base model more than a judge with another base model does.

The writer of a system's texts is named by its file or by the caller; base models are compared by name (`base_model`). A judge that prefers
its own texts may be right: only the difference to a judge with another base model, on the same pairs, is a bias.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..judge.recommendation_lists import RecommendationList
from ..stats.bootstrap import Interval, bootstrap_mean
from .bias import Bias, self_preference_bias
from .pairwise import JudgedPair, judge_outcomes, user_indices

NO_WRITER = "-"
"""Written by people, or by an unknown writer."""
# What follows the base in a model name: size, tuning, storage format, date.
_SUFFIX = re.compile(
    r"[-_:](?:\d+(?:\.\d+)?[bmk]\b|a\d+b\b|instruct|chat|it\b|base\b|gguf|awq|gptq|fp8|fp16|bf16|int[48]|nf4|q\d|\d{4}|latest).*$"
)


@dataclass(frozen=True, slots=True)
class SelfPreference:
    """Preference of a judge for texts of its own base model.

    Attributes:
        judge: Name of the judge.
        base: Base model of the judge and the writer.
        system: System with texts of that base model.
        writer: Model that wrote them.
        against: System that they are compared with.
        pairs: Number of scored pairs.
        preferred: Win rate of the judge's own texts.
        references: Judges with another base model.
        bias: Difference to the references, None without references.
    """

    judge: str
    base: str
    system: str
    writer: str
    against: str
    pairs: int
    preferred: Interval
    references: tuple[str, ...]
    bias: Bias | None

    @property
    def sentence(self) -> str:
        """Conclusion in words, for the report."""
        text = f"{self.judge} judges texts that {self.writer} wrote ({self.system}), a model of its own base by their names ({self.base})"
        text += f"; its own won {self.preferred.value:.2f} [{self.preferred.low:.2f}, {self.preferred.high:.2f}] of {self.pairs:,} pairs"
        if self.bias is None:
            conclusion = (
                "Without a judge of another base on the same pairs, a bias cannot be distinguished from better texts: add one (--judge)."
            )
            return f"{text}. {conclusion}"
        value = self.bias.value
        difference = f"{value.value:+.2f} [{value.low:+.2f}, {value.high:+.2f}] more than for {' and '.join(self.references)}"
        if not self.bias.significant:
            conclusion = "no self-preference was found"
        else:
            conclusion = "it prefers its own" if value.value > 0 else "it is harder on its own"
        return f"{text}, {difference}: {conclusion}."

    def to_dict(self) -> dict[str, Any]:
        """Return the preference as JSON."""
        return {
            "judge": self.judge,
            "base": self.base,
            "system": self.system,
            "written_by": self.writer,
            "against": self.against,
            "pairs": self.pairs,
            "own_preferred": self.preferred.to_dict(),
            "references": list(self.references),
            "beyond_the_references": self.bias.to_dict() if self.bias else None,
            "sentence": self.sentence,
        }


def base_model(name: str) -> str:
    """Return the base of a model name: `HuggingFaceTB/SmolLM2-135M-Instruct` and `smollm2` both give `smollm2`; empty for `NO_WRITER`.

    A name without a known suffix (`judge`, a local folder) is its own base.
    """
    stem = name.strip().rstrip("/").rpartition("/")[2].lower()
    return "" if stem in ("", NO_WRITER) else _SUFFIX.sub("", stem)


def common_writer(answers: Sequence[RecommendationList]) -> str:
    """Return the model that a file names as the writer of its explanations; empty if it names none or several."""
    writers = {entry.writer for answer in answers for entry in answer.entries if entry.explanation.strip()}
    return writers.pop() if len(writers) == 1 else ""


def self_preferences(pairs: Sequence[JudgedPair], judges: Mapping[str, str], writers: Mapping[str, str], seed: int) -> list[SelfPreference]:
    """Return the self-preference of each judge for each system that shares its base model.

    Pairs of explanations are used if there are any, else pairs of lists, which contain the explanations.

    Args:
        pairs: Judged pairs.
        judges: Name to model, in the order of the pairs' judgements.
        writers: System to model; missing systems have no known writer.
        seed: Seed of the bootstrap.
    """
    writer_bases = {system: base_model(name) for system, name in writers.items()}
    judge_bases = {name: base_model(model) for name, model in judges.items()}
    preferences = []
    for index, (judge, base) in enumerate(judge_bases.items()):
        for system, writer_base in writer_bases.items():
            if not base or base != writer_base:
                continue
            for against in _opponents(pairs, system):
                # Two systems of one base show no preference, and a reference must share a base with neither.
                if writer_bases.get(against) == base:
                    continue
                partial = {base, writer_bases.get(against, "")}
                references = [number for number, name in enumerate(judge_bases) if judge_bases[name] not in partial]
                compared = [pair for pair in pairs if {pair.question.system, pair.question.against} == {system, against}]
                compared = [pair for pair in compared if pair.question.criterion == "explanations"] or compared
                scored, preferred, bias = _measure(compared, system, index, references, seed)
                reference_names = tuple(list(judge_bases)[number] for number in references)
                preferences.append(SelfPreference(judge, base, system, writers[system], against, scored, preferred, reference_names, bias))
    return preferences


def _opponents(pairs: Sequence[JudgedPair], system: str) -> list[str]:
    """Return the systems that a system is compared with."""
    compared = [(pair.question.system, pair.question.against) for pair in pairs]
    return list(dict.fromkeys(names[names[0] == system] for names in compared if system in names))


def _measure(
    pairs: Sequence[JudgedPair], system: str, judge: int, references: Sequence[int], seed: int
) -> tuple[int, Interval, Bias | None]:
    """Return the number of scored pairs, the win rate of `system`, and the difference to the references.

    Args: judge, references: indices into the judgements of a pair.
    """
    users = user_indices(pairs)
    clusters = np.array([users[pair.question.user] for pair in pairs], np.int64)
    is_left = np.array([pair.question.system == system for pair in pairs])
    wins = [np.where(is_left, outcomes.values, 1 - outcomes.values) for outcomes in judge_outcomes(pairs)]  # 1 if `system` is better
    own = wins[judge]
    bias = None
    if references:
        others = np.stack([wins[number] for number in references])  # (references, pairs)
        scored = (~np.isnan(others)).sum(axis=0)
        reference = np.where(scored > 0, np.nansum(others, axis=0) / np.maximum(scored, 1), np.nan)
        bias = self_preference_bias(own, reference, clusters, seed=seed)
    return int((~np.isnan(own)).sum()), bootstrap_mean(own, clusters, seed=seed), bias
