"""Time of a profile update by one event, with all derived figures, for histories of ten to a thousand events.

    python benchmarks/profile_speed.py

A catalogue of 40,000 items with brands and prices is generated; each measurement adds one event and recomputes every figure of the profile.
"""

from __future__ import annotations

import time

import numpy as np
from record import quantiles, write

from crossaisle.recommend.profiles.profile import KINDS, ItemAttributes, Profile

ITEMS, CATEGORIES, BRANDS, EVENTS = 40_000, 200, 2_000, 200


def main() -> None:
    """Measure and write."""
    draw = np.random.default_rng(0)
    facts = ItemAttributes(
        draw.integers(0, CATEGORIES, ITEMS).astype(np.int32),
        draw.integers(-1, BRANDS, ITEMS).astype(np.int64),
        [f"brand {n}" for n in range(BRANDS)],
        draw.normal(size=ITEMS),
    )
    vectors = draw.normal(size=(ITEMS, 384)).astype(np.float32)
    found = {}
    for length in (10, 100, 1000):
        times = np.sort(draw.integers(0, 10**12, length))
        profile = Profile(draw.integers(0, ITEMS, length), draw.integers(0, len(KINDS), length).astype(np.int8), times, facts)
        taken = []
        for number in range(EVENTS):
            row = int(draw.integers(0, ITEMS))
            start = time.perf_counter()
            after = profile.with_event(row, "view", 10**12 + number)
            figures = (
                after.weights,
                after.categories,
                after.brands,
                after.price_level,
                after.kind_counts,
                after.time_span,
                after.searched_items,
                after.session_items,
            )
            taste = after.taste(vectors[after.rows])
            taken.append((time.perf_counter() - start) * 1000)
            assert len(figures) == 8
            assert len(taste) == 384
        found[f"{length} events"] = quantiles(taken)
    write("profile_speed", {"items": ITEMS, "milliseconds for one event more and everything asked": found})


if __name__ == "__main__":
    main()
