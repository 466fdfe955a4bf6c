"""What a probe answers, as records and as JSON holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...data.records import Category

NeedSource = Literal["behaviour", "knowledge", "text"]


@dataclass(frozen=True, slots=True)
class ItemNeed:
    """An item inside a need. Figures are None where too few users would be told of: it is then only an example from the category."""

    item_id: str
    title: str
    users: int | None = None
    lift: float | None = None
    lift_interval: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The item as JSON holds it."""
        return {
            "item_id": self.item_id,
            "title": self.title,
            "users": self.users,
            "lift": _rounded(self.lift),
            "lift_interval": _rounded_interval(self.lift_interval),
        }


@dataclass(frozen=True, slots=True)
class CategoryNeed:
    """A category that a cohort needs next; asked the other way round, a category whose shoppers need what was named.

    Attributes:
        users: of `of` users, how many went on to it. None, with all other figures, where only text or knowledge speaks for it.
        share: users / of. base_rate: the share after any other thing (see `retrieval.associations.pair_counts`). lift: share over base rate.
        fdr: false-discovery rate among all categories that were looked at. llr: log-likelihood ratio.
        reach: how many of the cohort do not have it at all yet; rounded down to a multiple of min_users where the exact number would, less
            the others, tell of few.
        median_days: between having what makes the cohort and this; positions where there is no clock, None without order.
        sources: what speaks for it, the first named `source` in JSON. sentence: in words, checked against the figures.
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
        """The need as JSON holds it."""
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
    """The answer to one question.

    Attributes:
        understood: what each name was taken for (see `terms.Meaning.to_dict`), `"not": true` for what was ruled out.
        cohort: users that the question means. of: users of the store, or of the period.
        direction: next: what they need; reverse: whose shoppers need what was named.
        needs: best first. suppressed: figures left out because they would point at few.
        privacy: min_users, epsilon, and what is left of the budget.
        order: what tells which came first: time, position or none. window: days, or positions. level: depth of the categories.
        notes: what the reader should know besides, in sentences.
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

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON holds it."""
        return {
            "question": self.question,
            "direction": self.direction,
            "understood": [dict(one) for one in self.understood],
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
    """A category that one cohort goes on to more, or less, often than another; ratio of the shares with its 95 % interval."""

    category: Category
    users: tuple[int, int]
    share: tuple[float, float]
    ratio: float
    ratio_interval: tuple[float, float]
    fdr: float

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON holds it."""
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
    """Two cohorts side by side: where they differ beyond chance, the largest ratio first. Who is in both counts in both."""

    cohorts: tuple[SegmentResult, SegmentResult]
    differences: tuple[CohortDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON holds it."""
        return {
            "cohorts": [finding.to_dict() for finding in self.cohorts],
            "differences": [difference.to_dict() for difference in self.differences],
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)


def _rounded_interval(value: tuple[float, float] | None) -> list[float | None] | None:
    return None if value is None else [_rounded(value[0]), _rounded(value[1])]
