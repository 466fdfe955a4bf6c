"""Pairs as they were judged in both orders: outcomes, and what follows from them.

The better of two is who is preferred whichever stands first. A judge who prefers the first both times, or the second, has judged the place
and not the thing: a flip, which counts as a tie and is counted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..judge.question import Judgement, Question
from ..stats.bradley_terry import bradley_terry
from ..stats.power import conclusions, minimum_detectable_effect, pairs_needed
from ..stats.win_rates import PairOutcomes, length_controlled, pair_outcomes, win_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .report import Asked

TARGET = 0.1
"""Difference of a win rate from one half for which the pairs that would be needed are told."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two systems' answers to one user, in both orders; each part is what the judges made of it.

    Attributes: question: of the order in which `system` stands first. straight, swapped: judgements of the two orders, a judge each.
    """

    question: Question
    straight: tuple[Judgement | None, ...]
    swapped: tuple[Judgement | None, ...]

    def verdicts(self) -> tuple[list[float], list[float]]:
        """Each judge's verdict on `system` where it is shown first, and second: 1 better, 0 worse, 0.5 tie, NaN unscored."""
        return [_verdict(one) for one in self.straight], [_verdict(one) for one in self.swapped]

    @property
    def lengths(self) -> tuple[int, int]:
        """Characters that the judge read of the two."""
        return tuple(len(_between(self.question.asked.user, mark)) for mark in ("A", "B"))  # type: ignore[return-value]  # two


def paired(asked: Iterable[Asked]) -> list[Pair]:
    """The pairs of which both orders were asked."""
    halves: dict[tuple[str, str, str, str, str], dict[bool, Asked]] = defaultdict(dict)
    for one in asked:
        question = one.question
        halves[question.criterion, question.system, question.against, question.user, question.item][question.swapped] = one
    return [Pair(both[False].question, both[False].judgements, both[True].judgements) for both in halves.values() if len(both) == 2]


def build(asked: Sequence[Asked], seed: int) -> dict[str, Any]:
    """By what is compared (lists, explanations): every two systems beside each other, and all of them on one scale where they are more."""
    by_name: dict[str, dict[tuple[str, str], list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in paired(asked):
        by_name[pair.question.criterion][pair.question.system, pair.question.against].append(pair)
    return {name: _compared(of_name, seed) for name, of_name in by_name.items()}


def _compared(of_name: Mapping[tuple[str, str], Sequence[Pair]], seed: int) -> dict[str, Any]:
    clusters = users([pair for pairs in of_name.values() for pair in pairs])
    values = {names: panel_outcomes(pairs) for names, pairs in of_name.items()}
    found: dict[str, Any] = {"matrix": [_two(*names, pairs, values[names], clusters, seed) for names, pairs in of_name.items()]}
    systems = list(dict.fromkeys(name for names in of_name for name in names))
    if len(systems) > 2:
        found["strengths"] = _strengths(systems, of_name, values, clusters, seed)
    return found


def _strengths(
    systems: Sequence[str],
    of_name: Mapping[tuple[str, str], Sequence[Pair]],
    values: Mapping[tuple[str, str], NDArray[np.float64]],
    numbers: Mapping[str, int],
    seed: int,
) -> list[dict[str, Any]]:
    place = {system: number for number, system in enumerate(systems)}
    rows = [
        (place[one], place[other], value, numbers[pair.question.user])
        for (one, other), pairs in of_name.items()
        for pair, value in zip(pairs, values[one, other].tolist(), strict=True)
    ]
    left, right, outcome, clusters = zip(*rows, strict=True)
    found = bradley_terry(
        np.array(left, np.int64), np.array(right, np.int64), np.array(outcome, np.float64), np.array(clusters, np.int64), list(systems),
        seed=seed,
    )  # fmt: skip
    return [{"system": one.system, "strength": one.strength.to_dict(), "wins": one.wins, "pairs": one.pairs} for one in found]


def panel_outcomes(pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """(pairs,) what most judges find, each in both orders: 1 where `system` is better, 0.5 for a tie, also of the judges; NaN unscored."""
    each = np.stack([found.values for found in judge_outcomes(pairs)], axis=1)  # (pairs, judges)
    told = ~np.isnan(each)
    votes = np.sign(np.where(told, each - 0.5, 0).sum(axis=1))
    return np.where(told.any(axis=1), votes / 2 + 0.5, np.nan)


def judge_outcomes(pairs: Sequence[Pair]) -> list[PairOutcomes]:
    """Each judge's outcomes of the pairs."""
    verdicts = np.array([pair.verdicts() for pair in pairs], np.float64)  # (pairs, 2, judges)
    return [pair_outcomes(verdicts[:, 0, judge], verdicts[:, 1, judge]) for judge in range(verdicts.shape[2])]


def users(pairs: Sequence[Pair]) -> dict[str, int]:
    """A number for each user."""
    return {user: number for number, user in enumerate(dict.fromkeys(pair.question.user for pair in pairs))}


def _two(one: str, other: str, pairs: Sequence[Pair], values: NDArray[np.float64], numbers: Mapping[str, int], seed: int) -> dict[str, Any]:
    clusters = np.array([numbers[pair.question.user] for pair in pairs], np.int64)
    lengths = np.array([pair.lengths for pair in pairs], np.float64)  # (pairs, 2)
    won = win_rate(values, clusters, seed=seed)
    at_equal = length_controlled(values, lengths[:, 0], lengths[:, 1], clusters, seed=seed)
    each = judge_outcomes(pairs)
    scored = sum(len(found.values) - found.unscored for found in each)
    return {
        "system": one,
        "against": other,
        "pairs": len(pairs),
        "users": len(set(clusters.tolist())),
        "wins": int((values == 1).sum()),
        "ties": int((values == 0.5).sum()),
        "losses": int((values == 0).sum()),
        "unscored": int(np.isnan(values).sum()),
        "flips": sum(found.flips for found in each),
        "flip_rate": sum(found.flips for found in each) / scored if scored else None,
        "win_rate": won.to_dict(),
        "win_rate_at_equal_length": at_equal.win_rate.to_dict(),
        "longer_is_preferred": at_equal.slope.to_dict(),
        "characters": [round(float(mean), 1) for mean in lengths.mean(axis=0)],
        "smallest_detectable_difference": minimum_detectable_effect(values, clusters),
        "pairs_needed_for_60_percent": pairs_needed(values, clusters, TARGET),
        "conclusions": conclusions(values, clusters, won, one, other),
    }


def flips(asked: Sequence[Asked]) -> Iterator[dict[str, Any]]:
    """The pairs whose winner a judge changes with the order, with both reasons."""
    for pair in paired(asked):
        for straight, swapped in zip(pair.straight, pair.swapped, strict=True):
            if straight is None or swapped is None or {_verdict(straight), _verdict(swapped)} != {0.0, 1.0}:
                continue
            yield {
                "why": "the winner hangs on the order",
                "about": str(pair.question),
                "shown": pair.question.asked.user,
                "said": [
                    {"judge": one.judge, "chosen": one.chosen, "reason": one.reason, "order": order}
                    for one, order in ((straight, "as shown"), (swapped, "A and B exchanged"))
                ],
            }


def _verdict(judgement: Judgement | None) -> float:
    """1 where `system` is chosen, 0 where the other is, 0.5 for neither, NaN where nothing is; by the choice, not by its probability."""
    if judgement is None or judgement.chosen is None:
        return math.nan
    if judgement.chosen == "tie":
        return 0.5
    return float((judgement.chosen == "A") != judgement.question.swapped)


def _between(text: str, mark: str) -> str:
    """What stands between the marks, which the fence keeps everybody else from writing."""
    return text.partition(f"<{mark}>\n")[2].partition(f"\n</{mark}>")[0]
