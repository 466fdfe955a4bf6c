"""A probe's answer from counts with noise: epsilon-differentially private, whatever else the asker knows.

Per question the noise covers one vector: the cohort, the users of the store, and for every category how many of the cohort went on to it
and how many of all users did from anything. A user is in `MOST` of each at most. All else of the answer is made from these numbers alone;
medians, items and quotations would tell more and are left out. Two stores are neighbours when one user's history is empty in one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import QueryError, SuppressedError
from ...data.privacy.budget_ledger import PrivacyBudget
from ...data.privacy.disclosure import bound_contributions
from ...data.privacy.disclosure import noisy_counts as blurred
from ...retrieval.associations import statistics
from ...retrieval.associations.pair_counts import EventSequence
from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL
from ...retrieval.items.interactions import distinct
from .resolved_query import ResolvedQuery
from .results import CategoryNeed, SegmentResult

if TYPE_CHECKING:
    from numpy.typing import NDArray


MAX_CATEGORIES_PER_USER = 5
"""Categories in which one user is counted at most, of those that followed and of those that are usual: more of them, more noise."""
SENSITIVITY = 2 + 2 * MAX_CATEGORIES_PER_USER
"""What one user changes in the vector at most: the cohort, the total, and the categories."""


def true_counts(asked: ResolvedQuery) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The true vector and the nodes of its categories; every user is in `ENTRIES_PER_USER` of its numbers at most.

    Which categories are counted depends on the catalogue and the question alone.

    Returns: (2 + 2 * categories,) cohort, total, then who went on to each, then who did from anything; (categories,) nodes.
    """
    population = asked.population
    catalogue, events = population.catalogue, population.events
    code = catalogue.tree.at(asked.depth)
    own = code[asked.cohort.item_mask & (code >= 0)]
    nodes = np.setdiff1d(code[code >= 0], own).astype(np.int64)
    place = np.full(len(catalogue.tree) + 1, -1, dtype=np.int64)
    place[nodes] = np.arange(len(nodes))
    followed = population.events_after(asked.cohort)
    # A store-wide cap on a user's events would depend on that user alone; it is the same for both neighbours.
    moments = EventSequence.of(events, code, len(catalogue.tree), population.window, population.weights)
    reached = moments.reached()
    parts = []
    for seed, user, thing in (
        ("followed", followed.user.astype(np.int64), place[code[followed.row]]),
        ("usual", moments.user[reached].astype(np.int64), place[moments.thing[reached]]),
    ):
        key = distinct((user[thing >= 0] << 32) | thing[thing >= 0])
        user, thing = key >> 32, key & 0xFFFFFFFF
        parts.append(np.bincount(thing[bound_contributions(user, thing, MAX_CATEGORIES_PER_USER, seed)], minlength=len(nodes)))
    return np.concatenate([[len(asked.cohort), population.user_count], *parts]).astype(np.int64), nodes


def private_result(asked: ResolvedQuery, ledger: PrivacyBudget, min_users: int, k: int, epsilon: float) -> SegmentResult:
    """The answer to a question, paid for with `epsilon` of the workspace's budget; the same question is answered alike for nothing.

    Raises:
        QueryError: a reverse question. BudgetSpentError, QueryError: see `PrivacyBudget.answer`.
        SuppressedError: the noisy cohort is below `min_users`.
    """

    if asked.reverse:
        raise QueryError(
            'with an epsilon only "what do they need next" is answered, not "who would need it"; '
            "ask about the group itself, or without an epsilon"
        )
    events = asked.population.events
    window = asked.population.window // events.unit

    def release() -> dict[str, Any]:
        true, nodes = true_counts(asked)
        return {"counts": blurred(true, per_user=SENSITIVITY, epsilon=epsilon).tolist(), "nodes": nodes.tolist()}

    answer = ledger.answer(f"{asked.canonical_key} window {window}", epsilon, release)
    cohort, total = (max(number, 0) for number in answer["counts"][:2])
    half = len(answer["nodes"])
    users = np.clip(np.asarray(answer["counts"][2 : 2 + half], np.float64), 0, max(cohort, 0))
    went = np.maximum(np.asarray(answer["counts"][2 + half :], np.float64), users)
    if cohort < min_users:
        raise SuppressedError(
            f"after noise this group has fewer than {min_users} users (understood: {asked.summary()}); ask about a broader one"
        )
    base = np.minimum(went / max(total, 1), 1)
    lift = statistics.lift(users, cohort, went, max(total, 1))
    low, high = _lift_interval(users, cohort, went, max(total, 1), SENSITIVITY / epsilon)
    # Of so many noisy numbers some are large by noise alone: what is shown must pass what the largest of them would reach.
    least = SENSITIVITY / epsilon * (1 + cohort / max(total, 1)) * np.log(2 * max(half, 1) / SIGNIFICANCE_LEVEL)
    shown = np.flatnonzero((users >= min_users) & (low > 1) & (users - cohort * base >= least))
    shown = shown[np.argsort(-low[shown], kind="stable")][:k]
    needs = tuple(
        CategoryNeed(
            category=asked.population.catalogue.tree.paths[answer["nodes"][i]],
            sources=("behaviour",),
            users=int(users[i]),
            of=cohort,
            share=float(users[i] / cohort),
            base_rate=float(base[i]),
            lift=float(lift[i]),
            lift_interval=(float(low[i]), float(high[i])),
            reach=int(cohort - users[i]),
        )
        for i in shown
    )
    return SegmentResult(
        question=asked.text,
        direction=asked.parsed.direction,
        understood=asked.interpretation(),
        cohort=cohort,
        of=total,
        needs=needs,
        suppressed=0,
        privacy={"min_users": min_users, "epsilon": epsilon, "spent": ledger.spent, "left": ledger.remaining},
        order=events.order,
        window=window,
        level=asked.depth,
        verb=events.verb,
        filters=asked.filters.to_dict(),
        notes=(
            f"all counts carry noise of about ±{round(SENSITIVITY / epsilon * 1.4):,} users, for privacy; "
            f"a user counts in {MAX_CATEGORIES_PER_USER} categories at most",
            *(() if needs else ("nothing stands out of the noise; a larger group, or a larger epsilon, may tell more",)),
        ),
    )


def _lift_interval(
    users: NDArray[np.float64], cohort: int, went: NDArray[np.float64], total: int, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(categories,) the 95 % interval of the lift, the noise included: its variance on the log scale is that of counting and of noise."""
    low, high = statistics.lift_interval(users, cohort, went, total)
    middle = statistics.lift(users, cohort, went, total)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = 2 * scale**2 * (1 / users**2 + 1 / went**2 + 1 / cohort**2 + 1 / total**2)
        counting = (np.log(high / np.maximum(low, 1e-12)) / (2 * statistics.Z)) ** 2
        factor = np.exp(statistics.Z * np.sqrt(counting + noise))
        return np.nan_to_num(middle / factor, nan=0.0), np.nan_to_num(middle * factor, nan=np.inf)
