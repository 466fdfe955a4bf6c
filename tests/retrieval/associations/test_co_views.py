"""What is looked at and bought together, against loops over small worlds."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.retrieval.associations.co_views import co_view_counts
from crossaisle.retrieval.items.catalogue import Catalogue

NAMES = ["phone", "twin", "case", "charger", "lamp", "sofa"]
ITEMS = pl.DataFrame({"item_id": NAMES, "title": NAMES, "category": [["Things"]] * len(NAMES)})


@given(
    st.lists(
        st.tuples(
            st.sampled_from([f"u{n}" for n in range(6)]),
            st.sampled_from([*NAMES[:5], "gone"]),
            st.sampled_from(["view", "click", "cart", "purchase", "search"]),
        ),
        max_size=40,
    ),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 12),
)
@settings(max_examples=100, deadline=None)
def test_co_view_and_co_purchase_counts_equal_hand_counts(rows: list[tuple[str, str, str]], lookers: int, most: int, block: int) -> None:
    interactions = pl.DataFrame(
        sorted(rows, key=lambda row: row[0]), schema={"user_id": pl.String, "item_id": pl.String, "kind": pl.String}, orient="row"
    )
    found = co_view_counts(interactions, Catalogue.build(ITEMS, interactions, 1), min_viewers=lookers, most=most, block=block)
    if not any(kind in ("view", "click") for _, _, kind in rows):
        assert found is None
        return
    assert found is not None
    viewed, bought = np.zeros((len(NAMES), len(NAMES)), int), np.zeros((len(NAMES), len(NAMES)), int)
    for user in {user for user, _, _ in rows}:
        own = [(item, kind) for who, item, kind in interactions.iter_rows() if who == user and kind != "search" and item in NAMES]
        seen = [item for i, (item, _) in enumerate(own) if item not in [later for later, _ in own[i + 1 :]]][-most:]
        had = {item for item, kind in own if kind == "purchase"}
        for a in seen:
            for b in seen:
                viewed[NAMES.index(a), NAMES.index(b)] += a != b
                bought[NAMES.index(a), NAMES.index(b)] += a != b and a in had and b in had
    np.testing.assert_array_equal(found[0].toarray(), np.where(viewed >= lookers, viewed, 0))
    np.testing.assert_array_equal(found[1].toarray(), np.where(viewed >= lookers, bought, 0))
