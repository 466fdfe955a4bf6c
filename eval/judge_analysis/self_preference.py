"""Self-preference: whether a judge prefers texts that a model of its own base wrote, beyond what a judge of another base prefers.

Who wrote a system's texts is told by its file or by the user; that a judge is of the same base is read from the two names, as far as these
tell it (`base`). By itself a judge that prefers its own may be right: only beside a judge of another base, on the same pairs, is the rest a
bias.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..judge.recommendation_lists import Answer
from ..stats.bootstrap import Interval, bootstrap_mean
from . import bias as audit
from .bias import Bias
from .pairwise import Pair, judge_outcomes, users

NOBODY = "-"
"""Written by people, or by nobody knows whom."""
# What follows the base in a model's name: its size, what it was tuned for, how it is stored, its date.
_AFTER = re.compile(
    r"[-_:](?:\d+(?:\.\d+)?[bmk]\b|a\d+b\b|instruct|chat|it\b|base\b|gguf|awq|gptq|fp8|fp16|bf16|int[48]|nf4|q\d|\d{4}|latest).*$"
)


@dataclass(frozen=True, slots=True)
class Own:
    """A judge beside texts of its own base.

    Attributes:
        judge, base: its name and its base. system, writer: whose texts are of that base. against: the other system.
        pairs: that were scored. preferred: win rate of its own. references: judges of another base. bias: beyond them; None without any.
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
        """What can be said, in words."""
        told = f"{self.judge} judges texts that {self.writer} wrote ({self.system}), a model of its own base by their names ({self.base})"
        told += f"; its own won {self.preferred.value:.2f} [{self.preferred.low:.2f}, {self.preferred.high:.2f}] of {self.pairs:,} pairs"
        if self.bias is None:
            return f"{told}. Without a judge of another base on the same pairs, a bias cannot be told from better texts: add one (--judge)."
        value = self.bias.value
        beside = f"{value.value:+.2f} [{value.low:+.2f}, {value.high:+.2f}] more than for {' and '.join(self.references)}"
        found = (
            ("it prefers its own" if value.value > 0 else "it is harder on its own") if self.bias.shown else "no self-preference was found"
        )
        return f"{told}, {beside}: {found}."

    def to_dict(self) -> dict[str, Any]:
        """As a report holds it."""
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


def base(model: str) -> str:
    """The base that a model's name tells: `HuggingFaceTB/SmolLM2-135M-Instruct` and `smollm2` are both `smollm2`. Empty for nobody.

    A name that tells nothing (`judge`, a folder of one's own) is a base of its own.
    """
    name = model.strip().rstrip("/").rpartition("/")[2].lower()
    return "" if name in ("", NOBODY) else _AFTER.sub("", name)


def writer(answers: Sequence[Answer]) -> str:
    """The model that a file names as the writer of its explanations; empty where it names none, or several."""
    named = {entry.writer for answer in answers for entry in answer.entries if entry.explanation.strip()}
    return named.pop() if len(named) == 1 else ""


def found(pairs: Sequence[Pair], judges: Mapping[str, str], writers: Mapping[str, str], seed: int) -> list[Own]:
    """Of every judge and every system that share a base: what it makes of its own.

    The pairs of explanations count where there are any, else those of lists, which hold them.

    Args: judges: name to model, in the order of the pairs' judgements. writers: system to model; those that are not in it are nobody's.
    """
    of_writer = {system: base(name) for system, name in writers.items()}
    of_judge = {name: base(model) for name, model in judges.items()}
    told = []
    for place, (judge, mine) in enumerate(of_judge.items()):
        for system, theirs in of_writer.items():
            if not mine or mine != theirs:
                continue
            for against in _against(pairs, system):
                # Both of one base say nothing of a preference, and a reference must be partial to neither.
                if of_writer.get(against) == mine:
                    continue
                partial = {mine, of_writer.get(against, "")}
                others = [number for number, name in enumerate(of_judge) if of_judge[name] not in partial]
                told.append(_one(pairs, (judge, place), others, list(of_judge), (mine, system, writers[system], against), seed))
    return told


def _against(pairs: Sequence[Pair], system: str) -> list[str]:
    both = [(pair.question.system, pair.question.against) for pair in pairs]
    return list(dict.fromkeys(names[names[0] == system] for names in both if system in names))


def _one(
    pairs: Sequence[Pair], judge: tuple[str, int], others: Sequence[int], names: Sequence[str], about: tuple[str, str, str, str], seed: int
) -> Own:
    mine, system, wrote, against = about
    these = [pair for pair in pairs if {pair.question.system, pair.question.against} == {system, against}]
    these = [pair for pair in these if pair.question.criterion == "explanations"] or these
    numbers = users(these)
    clusters = np.array([numbers[pair.question.user] for pair in these], np.int64)
    first = np.array([pair.question.system == system for pair in these])
    each = [np.where(first, one.values, 1 - one.values) for one in judge_outcomes(these)]  # 1 where the judge's own is better
    own = each[judge[1]]
    bias = None
    if others:
        rest = np.stack([each[number] for number in others])
        reference = np.where((~np.isnan(rest)).any(axis=0), np.nansum(rest, axis=0) / np.maximum((~np.isnan(rest)).sum(axis=0), 1), np.nan)
        bias = audit.own_base(own, reference, clusters, seed=seed)
    return Own(
        judge[0], mine, system, wrote, against, int((~np.isnan(own)).sum()), bootstrap_mean(own, clusters, seed=seed),
        tuple(names[number] for number in others), bias,
    )  # fmt: skip
