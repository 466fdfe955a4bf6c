"""Results of segment queries, as dataclasses and for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...data.records import Category
from ...data.store_words import DEFAULT_WORDS, StoreWords

NeedSource = Literal["behaviour", "knowledge", "text"]


@dataclass(frozen=True, slots=True)
class ItemNeed:
    """An item of a needed category.

    Attributes:
        item_id: Id of the item.
        title: Its display name.
        users: Users of the cohort who buy it next. None, with the lift, for an example whose figures would disclose few users.
        lift: Share of the cohort who buy it next over the base rate.
        lift_interval: 95 % interval of the lift.
    """

    item_id: str
    title: str
    users: int | None = None
    lift: float | None = None
    lift_interval: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the item for JSON."""
        return {
            "item_id": self.item_id,
            "title": self.title,
            "users": self.users,
            "lift": _rounded(self.lift),
            "lift_interval": _rounded_interval(self.lift_interval),
        }


@dataclass(frozen=True, slots=True)
class CategoryNeed:
    """A category that a cohort needs next; for a reverse question, a category whose users need what the question names.

    Attributes:
        category: Path, broad to narrow.
        sources: Evidence: behaviour, knowledge (declared relations) or text (similar names); the first is `source` in JSON.
        users: Users, of `of`, who buy from it next. None, with all other figures, without evidence from behaviour.
        of: Users who could: the cohort, or the category's users for a reverse question.
        share: users / of.
        share_interval: 95 % interval of the share.
        base_rate: Share of users who buy from it after anything else (see `retrieval.associations.pair_counts`).
        lift: share / base_rate.
        lift_interval: 95 % interval of the lift.
        llr: Log-likelihood ratio.
        fdr: False-discovery rate among all tested categories.
        reach: Users of the cohort without any item of the category; rounded down to a multiple of min_users if the exact number, subtracted
            from the others, would disclose few users.
        median_days: Median time from what defines the cohort to this; in list positions without times, None without an order.
        sentence: The need in words, checked against the figures.
        items: Items of the category, strongest first.
    """

    category: Category
    sources: tuple[NeedSource, ...]
    users: int | None = None
    of: int | None = None
    share: float | None = None
    share_interval: tuple[float, float] | None = None
    base_rate: float | None = None
    lift: float | None = None
    lift_interval: tuple[float, float] | None = None
    llr: float | None = None
    fdr: float | None = None
    reach: int | None = None
    median_days: float | None = None
    sentence: str = ""
    items: tuple[ItemNeed, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the need for JSON."""
        return {
            "category": list(self.category),
            "users": self.users,
            "of": self.of,
            "share": _rounded(self.share),
            "share_interval": _rounded_interval(self.share_interval),
            "base_rate": _rounded(self.base_rate),
            "lift": _rounded(self.lift),
            "lift_interval": _rounded_interval(self.lift_interval),
            "llr": _rounded(self.llr),
            "fdr": None if self.fdr is None else float(f"{self.fdr:.3g}"),
            "reach": self.reach,
            "median_days": _rounded(self.median_days),
            "source": self.sources[0],
            "sources": list(self.sources),
            "sentence": self.sentence,
            "items": [item.to_dict() for item in self.items],
        }


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """Result of one question.

    Attributes:
        question: The question as the user wrote it.
        direction: `next` for what the cohort needs; `reverse` for the categories whose users need what the question names.
        understood: Meaning of each name (see `meanings.Meaning.to_dict`), `"not": true` for negated names.
        cohort: Number of users that the question describes.
        of: Number of users of the store, or of the period.
        needs: Best first.
        suppressed: Number of needs left out because their figures would disclose few users.
        privacy: min_users, epsilon, and what is left of the privacy budget.
        order: Order of the events: time, position or none.
        window: Maximum time between the two events, in days, or in positions.
        level: Level of the categories, 1 = broadest.
        verb: What the users did, in the store's words: bought, took, looked at.
        filters: Filters that differ from the defaults.
        notes: Sentences that the reader needs besides the figures.
        words: The store's words.
    """

    question: str
    direction: Literal["next", "reverse"]
    understood: tuple[Mapping[str, Any], ...]
    cohort: int
    of: int
    needs: tuple[CategoryNeed, ...]
    suppressed: int
    privacy: Mapping[str, Any]
    order: str
    window: int
    level: int
    verb: str
    filters: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    words: StoreWords = DEFAULT_WORDS

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {
            "question": self.question,
            "direction": self.direction,
            "understood": [dict(meaning) for meaning in self.understood],
            "filters": dict(self.filters),
            "cohort": {"users": self.cohort, "of": self.of},
            "needs": [need.to_dict() for need in self.needs],
            "suppressed": self.suppressed,
            "privacy": dict(self.privacy),
            "counted": {"order": self.order, "window": self.window, "level": self.level, "verb": self.verb},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class CohortDifference:
    """A category from which one cohort buys next more, or less, often than another.

    Attributes:
        category: Path, broad to narrow.
        users: Users of each cohort who buy from it next.
        share: Their share of each cohort.
        ratio: First share / second share.
        ratio_interval: 95 % interval of the ratio.
        fdr: False-discovery rate among all compared categories.
    """

    category: Category
    users: tuple[int, int]
    share: tuple[float, float]
    ratio: float
    ratio_interval: tuple[float, float]
    fdr: float

    def to_dict(self) -> dict[str, Any]:
        """Return the difference for JSON."""
        return {
            "category": list(self.category),
            "users": list(self.users),
            "share": [_rounded(share) for share in self.share],
            "ratio": _rounded(self.ratio),
            "ratio_interval": _rounded_interval(self.ratio_interval),
            "fdr": float(f"{self.fdr:.3g}"),
        }


@dataclass(frozen=True, slots=True)
class CohortComparison:
    """Two cohorts and their significant differences, largest ratio first. Users of both cohorts count in both.

    Attributes:
        cohorts: Result of each question.
        differences: Categories whose shares differ significantly.
    """

    cohorts: tuple[SegmentResult, SegmentResult]
    differences: tuple[CohortDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON."""
        return {
            "cohorts": [result.to_dict() for result in self.cohorts],
            "differences": [difference.to_dict() for difference in self.differences],
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)


def _rounded_interval(value: tuple[float, float] | None) -> list[float | None] | None:
    return None if value is None else [_rounded(value[0]), _rounded(value[1])]
