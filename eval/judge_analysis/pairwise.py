"""Pairs judged in both orders: outcomes, win rates and strengths.

A system wins a pair only if it is preferred in both orders. A judge that prefers the first text, or the second, in both orders has judged
the position: a flip, which counts as a tie and is reported.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..judge.question import Judgement, JudgeQuestion, PanelJudgement
from ..stats.bradley_terry import bradley_terry
from ..stats.power import conclusions, minimum_detectable_effect, pairs_needed
from ..stats.win_rates import PairOutcomes, length_controlled, pair_outcomes, win_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

TARGET_EFFECT = 0.1
"""Difference of a win rate from one half for which the required number of pairs is reported."""


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """Texts of two systems for one user, judged in both orders.

    Attributes:
        question: Question of the order with `system` shown as A.
        straight: Judgements of that order, one per judge.
        swapped: Judgements of the other order, one per judge.
    """

    question: JudgeQuestion
    straight: tuple[Judgement | None, ...]
    swapped: tuple[Judgement | None, ...]

    def verdicts(self) -> tuple[list[float], list[float]]:
        """Return each judge's verdict on `system` when shown first, and second: 1 better, 0 worse, 0.5 tie, NaN unscored."""
        return [_verdict(judgement) for judgement in self.straight], [_verdict(judgement) for judgement in self.swapped]

    @property
    def lengths(self) -> tuple[int, int]:
        """Characters of the two texts as shown to the judge."""
        return tuple(len(_section(self.question.request.user, mark)) for mark in ("A", "B"))  # type: ignore[return-value]  # two


def judged_pairs(judgements: Iterable[PanelJudgement]) -> list[JudgedPair]:
    """Return the pairs that were judged in both orders."""
    orders: dict[tuple[str, str, str, str, str], dict[bool, PanelJudgement]] = defaultdict(dict)
    for judgement in judgements:
        question = judgement.question
        orders[question.criterion, question.system, question.against, question.user, question.item][question.swapped] = judgement
    return [
        JudgedPair(by_order[False].question, by_order[False].judgements, by_order[True].judgements)
        for by_order in orders.values()
        if len(by_order) == 2
    ]


def pairwise_report(judgements: Sequence[PanelJudgement], seed: int) -> dict[str, Any]:
    """Return, by what is compared (lists, explanations), each two systems and, for more than two, strengths on one scale."""
    by_criterion: dict[str, dict[tuple[str, str], list[JudgedPair]]] = defaultdict(lambda: defaultdict(list))
    for pair in judged_pairs(judgements):
        by_criterion[pair.question.criterion][pair.question.system, pair.question.against].append(pair)
    return {name: _criterion_report(by_systems, seed) for name, by_systems in by_criterion.items()}


def _criterion_report(by_systems: Mapping[tuple[str, str], Sequence[JudgedPair]], seed: int) -> dict[str, Any]:
    users = user_indices([pair for pairs in by_systems.values() for pair in pairs])
    outcomes = {names: panel_outcomes(pairs) for names, pairs in by_systems.items()}
    content: dict[str, Any] = {"matrix": [_comparison(*names, pairs, outcomes[names], users, seed) for names, pairs in by_systems.items()]}
    systems = list(dict.fromkeys(name for names in by_systems for name in names))
    if len(systems) > 2:
        content["strengths"] = _strengths(systems, by_systems, outcomes, users, seed)
    return content


def _strengths(
    systems: Sequence[str],
    by_systems: Mapping[tuple[str, str], Sequence[JudgedPair]],
    outcomes: Mapping[tuple[str, str], NDArray[np.float64]],
    users: Mapping[str, int],
    seed: int,
) -> list[dict[str, Any]]:
    system_index = {system: index for index, system in enumerate(systems)}
    rows = [
        (system_index[left], system_index[right], outcome, users[pair.question.user])
        for (left, right), pairs in by_systems.items()
        for pair, outcome in zip(pairs, outcomes[left, right].tolist(), strict=True)
    ]
    lefts, rights, values, clusters = zip(*rows, strict=True)
    strengths = bradley_terry(
        np.array(lefts, np.int64), np.array(rights, np.int64), np.array(values, np.float64), np.array(clusters, np.int64), list(systems),
        seed=seed,
    )  # fmt: skip
    return [
        {"system": result.system, "strength": result.strength.to_dict(), "wins": result.wins, "pairs": result.pairs} for result in strengths
    ]


def panel_outcomes(pairs: Sequence[JudgedPair]) -> NDArray[np.float64]:
    """Return (pairs,) majority outcomes of the judges: 1 if `system` is better, 0 if worse, 0.5 for a tie, NaN if unscored."""
    by_judge = np.stack([outcomes.values for outcomes in judge_outcomes(pairs)], axis=1)  # (pairs, judges)
    scored = ~np.isnan(by_judge)
    majority = np.sign(np.where(scored, by_judge - 0.5, 0).sum(axis=1))
    return np.where(scored.any(axis=1), majority / 2 + 0.5, np.nan)


def judge_outcomes(pairs: Sequence[JudgedPair]) -> list[PairOutcomes]:
    """Return the outcomes of the pairs, one object per judge."""
    verdicts = np.array([pair.verdicts() for pair in pairs], np.float64)  # (pairs, 2, judges)
    return [pair_outcomes(verdicts[:, 0, judge], verdicts[:, 1, judge]) for judge in range(verdicts.shape[2])]


def user_indices(pairs: Sequence[JudgedPair]) -> dict[str, int]:
    """Return an index for each user, in the order of the pairs."""
    return {user: index for index, user in enumerate(dict.fromkeys(pair.question.user for pair in pairs))}


def _comparison(
    left: str, right: str, pairs: Sequence[JudgedPair], outcomes: NDArray[np.float64], users: Mapping[str, int], seed: int
) -> dict[str, Any]:
    """Return the statistics of two systems. Args: outcomes: (pairs,) panel outcomes."""
    clusters = np.array([users[pair.question.user] for pair in pairs], np.int64)
    lengths = np.array([pair.lengths for pair in pairs], np.float64)  # (pairs, 2)
    wins = win_rate(outcomes, clusters, seed=seed)
    controlled = length_controlled(outcomes, lengths[:, 0], lengths[:, 1], clusters, seed=seed)
    by_judge = judge_outcomes(pairs)
    flips = sum(judge.flips for judge in by_judge)
    scored = sum(len(judge.values) - judge.unscored for judge in by_judge)
    return {
        "system": left,
        "against": right,
        "pairs": len(pairs),
        "users": len(set(clusters.tolist())),
        "wins": int((outcomes == 1).sum()),
        "ties": int((outcomes == 0.5).sum()),
        "losses": int((outcomes == 0).sum()),
        "unscored": int(np.isnan(outcomes).sum()),
        "flips": flips,
        "flip_rate": flips / scored if scored else None,
        "win_rate": wins.to_dict(),
        "win_rate_at_equal_length": controlled.win_rate.to_dict(),
        "longer_is_preferred": controlled.slope.to_dict(),
        "characters": [round(float(mean), 1) for mean in lengths.mean(axis=0)],
        "smallest_detectable_difference": minimum_detectable_effect(outcomes, clusters),
        "pairs_needed_for_60_percent": pairs_needed(outcomes, clusters, TARGET_EFFECT),
        "conclusions": conclusions(outcomes, clusters, wins, left, right),
    }


def order_flips(judgements: Sequence[PanelJudgement]) -> Iterator[dict[str, Any]]:
    """Yield, as JSON, the pairs where a judge's winner changes with the order, with the reasons of both orders."""
    for pair in judged_pairs(judgements):
        for straight, swapped in zip(pair.straight, pair.swapped, strict=True):
            if straight is None or swapped is None or {_verdict(straight), _verdict(swapped)} != {0.0, 1.0}:
                continue
            yield {
                "why": "the winner hangs on the order",
                "about": str(pair.question),
                "shown": pair.question.request.user,
                "said": [
                    {"judge": judgement.judge, "chosen": judgement.chosen, "reason": judgement.reason, "order": order}
                    for judgement, order in ((straight, "as shown"), (swapped, "A and B exchanged"))
                ],
            }


def _verdict(judgement: Judgement | None) -> float:
    """Return 1 if `system` is chosen, 0 if the other is, 0.5 for a tie, NaN if unscored; by the choice, not its probability."""
    if judgement is None or judgement.chosen is None:
        return math.nan
    if judgement.chosen == "tie":
        return 0.5
    return float((judgement.chosen == "A") != judgement.question.swapped)


def _section(text: str, mark: str) -> str:
    """Return the text between two delimiters of the prompt, which sanitized text cannot contain."""
    return text.partition(f"<{mark}>\n")[2].partition(f"\n</{mark}>")[0]
