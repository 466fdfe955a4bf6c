"""The category map as JSON: categories, and the pairs of categories whose statistics may be disclosed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ...recommend.category_map.matrix import CategoryMap


def category_map_to_dict(category_map: CategoryMap) -> dict[str, Any]:
    """Return a category map as JSON types, its pairs ordered by the lower bound of their lift, highest first."""
    rows, columns = np.nonzero(np.isfinite(category_map.lift))
    order = np.argsort(-category_map.lift_low[rows, columns], kind="stable")
    categories = zip(category_map.paths, category_map.users, strict=True)
    return {
        "categories": [{"name": list(path), "users": int(users)} for path, users in categories],
        "pairs": [_pair(category_map, int(rows[i]), int(columns[i])) for i in order.tolist()],
        "order": category_map.order,
        "window": category_map.window,
        "verb": category_map.verb,
        "suppressed": category_map.suppressed,
        "privacy": {"min_users": category_map.min_users},
    }


def _pair(category_map: CategoryMap, source: int, target: int) -> dict[str, Any]:
    cell = (source, target)
    return {
        "source": source,
        "target": target,
        "users": int(category_map.support[cell]),
        "share": _rounded(category_map.share[cell]),
        "base_rate": _rounded(category_map.base_rate[cell]),
        "lift": _rounded(category_map.lift[cell]),
        "lift_interval": [_rounded(category_map.lift_low[cell]), _rounded(category_map.lift_high[cell])],
        "sure": bool(category_map.significant[cell]),
    }


def _rounded(value: Any) -> float | None:
    """A number with four decimals; None if it is not finite, which JSON cannot represent."""
    return round(float(value), 4) if math.isfinite(value) else None
