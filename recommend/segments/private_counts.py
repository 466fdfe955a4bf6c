"""Differentially private results: segment results from noisy counts, epsilon-private whatever else the recipient knows.

Per question, the noise covers one vector: the size of the cohort, the users of the store, and for every category the users of the cohort
and of the store with a transition to it. A user is in at most `MAX_CATEGORIES_PER_USER` of each. The result is computed from these numbers
alone; medians, items and quotes would disclose more and are left out. Neighbouring data sets differ in one user's history, which is empty
in one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import QueryError, SuppressedError
from ...data.privacy.budget_ledger import PrivacyBudget
from ...data.privacy.disclosure import bound_contributions, noisy_counts
from ...data.store_words import with_indefinite_article
from ...retrieval.associations import statistics
from ...retrieval.associations.pair_counts import EventSequence
from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL
from ...retrieval.items.interactions import distinct
from .resolved_query import ResolvedQuery
from .results import CategoryNeed, SegmentResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CATEGORIES_PER_USER = 5
"""Maximum number of categories in which one user is counted, of the cohort's and of the store's counts; more of them need more noise."""
SENSITIVITY = 2 + 2 * MAX_CATEGORIES_PER_USER
"""Maximum change of the vector by one user, in the L1 norm: the cohort, the total, and the categories."""


def true_counts(query: ResolvedQuery) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the exact vector and the nodes of its categories; every user is in at most `SENSITIVITY` of its numbers.

    Which categories are counted depends on the catalogue and the question alone.

    Returns:
        (2 + 2 * categories,) cohort, total, then users of the cohort and of the store with a transition to each; (categories,) nodes.
    """
    population = query.population
    catalogue, events = population.catalogue, population.events
    code_of_row = catalogue.tree.at(query.depth)
    own = code_of_row[query.cohort.item_mask & (code_of_row >= 0)]
    nodes = np.setdiff1d(code_of_row[code_of_row >= 0], own).astype(np.int64)
    index = np.full(len(catalogue.tree) + 1, -1, dtype=np.int64)
    index[nodes] = np.arange(len(nodes))
    following = population.events_after(query.cohort)
    # The cap on a user's events in a sequence depends on that user alone, so it is the same in both neighbouring data sets.
    sequence = EventSequence.of(events, code_of_row, len(catalogue.tree), population.window, population.weights)
    reached = sequence.reached()
    parts = []
    for seed, user, cell in (
        ("followed", following.user.astype(np.int64), index[code_of_row[following.row]]),
        ("usual", sequence.user[reached].astype(np.int64), index[sequence.thing[reached]]),
    ):
        pairs = distinct((user[cell >= 0] << 32) | cell[cell >= 0])
        user, cell = pairs >> 32, pairs & 0xFFFFFFFF
        parts.append(np.bincount(cell[bound_contributions(user, cell, MAX_CATEGORIES_PER_USER, seed)], minlength=len(nodes)))
    return np.concatenate([[len(query.cohort), population.user_count], *parts]).astype(np.int64), nodes


def private_result(query: ResolvedQuery, budget: PrivacyBudget, min_users: int, k: int, epsilon: float) -> SegmentResult:
    """Return the result of a question from noisy counts, charged to the budget; a repeated question has the same result and costs nothing.

    Args:
        query: The question, not a reverse one.
        budget: Privacy budget of the workspace.
        min_users: Minimum number of users of a count that is shown.
        k: Maximum number of needs.
        epsilon: Privacy loss of the answer; smaller values need more noise.

    Raises:
        BudgetSpentError: The remaining budget is smaller than `epsilon`.
        QueryError: A reverse question, or an invalid epsilon (see `PrivacyBudget.answer`).
        SuppressedError: The noisy cohort is smaller than `min_users`.
    """
    if query.reverse:
        raise QueryError(
            'with an epsilon only "what do they need next" is answered, not "who would need it"; '
            "ask about the group itself, or without an epsilon"
        )
    events = query.population.events
    window = query.population.window // events.unit

    def release() -> dict[str, Any]:
        counts, nodes = true_counts(query)
        return {"counts": noisy_counts(counts, per_user=SENSITIVITY, epsilon=epsilon).tolist(), "nodes": nodes.tolist()}

    answer = budget.answer(f"{query.canonical_key} window {window}", epsilon, release)
    cohort, total = (max(number, 0) for number in answer["counts"][:2])
    categories = len(answer["nodes"])
    users = np.clip(np.asarray(answer["counts"][2 : 2 + categories], np.float64), 0, max(cohort, 0))
    baseline_users = np.maximum(np.asarray(answer["counts"][2 + categories :], np.float64), users)
    words = query.population.catalogue.words
    if cohort < min_users:
        raise SuppressedError(
            f"after noise this group has fewer than {min_users} {words.people} (understood: {query.summary()}); ask about a broader one"
        )
    base_rate = np.minimum(baseline_users / max(total, 1), 1)
    lift = statistics.lift(users, cohort, baseline_users, max(total, 1))
    low, high = _lift_interval(users, cohort, baseline_users, max(total, 1), SENSITIVITY / epsilon)
    # Some of many noisy numbers are large by noise alone: an excess must be larger than the largest expected one without any effect.
    min_excess = SENSITIVITY / epsilon * (1 + cohort / max(total, 1)) * np.log(2 * max(categories, 1) / SIGNIFICANCE_LEVEL)
    shown = np.flatnonzero((users >= min_users) & (low > 1) & (users - cohort * base_rate >= min_excess))
    shown = shown[np.argsort(-low[shown], kind="stable")][:k]
    needs = tuple(
        CategoryNeed(
            category=query.population.catalogue.tree.paths[answer["nodes"][i]],
            sources=("behaviour",),
            users=int(users[i]),
            of=cohort,
            share=float(users[i] / cohort),
            base_rate=float(base_rate[i]),
            lift=float(lift[i]),
            lift_interval=(float(low[i]), float(high[i])),
            reach=int(cohort - users[i]),
        )
        for i in shown
    )
    return SegmentResult(
        question=query.text,
        direction=query.parsed.direction,
        understood=query.interpretation(),
        cohort=cohort,
        of=total,
        needs=needs,
        suppressed=0,
        privacy={"min_users": min_users, "epsilon": epsilon, "spent": budget.spent, "left": budget.remaining},
        order=events.order,
        window=window,
        level=query.depth,
        verb=words.counted_past(events.verb),
        words=words,
        filters=query.filters.to_dict(),
        notes=(
            f"all counts carry noise of about ±{round(SENSITIVITY / epsilon * 1.4):,} {words.people}, for privacy; "
            f"{with_indefinite_article(words.person)} counts in {MAX_CATEGORIES_PER_USER} categories at most",
            *(() if needs else ("nothing stands out of the noise; a larger group, or a larger epsilon, may tell more",)),
        ),
    )


def _lift_interval(
    users: NDArray[np.float64], cohort: int, baseline_users: NDArray[np.float64], total: int, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 95 % interval of the lift, (categories,) each end; its variance on the log scale adds those of sampling and noise."""
    low, high = statistics.lift_interval(users, cohort, baseline_users, total)
    lift = statistics.lift(users, cohort, baseline_users, total)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = 2 * scale**2 * (1 / users**2 + 1 / baseline_users**2 + 1 / cohort**2 + 1 / total**2)
        sampling = (np.log(high / np.maximum(low, 1e-12)) / (2 * statistics.Z)) ** 2
        factor = np.exp(statistics.Z * np.sqrt(sampling + noise))
        return np.nan_to_num(lift / factor, nan=0.0), np.nan_to_num(lift * factor, nan=np.inf)
