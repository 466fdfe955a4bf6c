"""What came of what was shown: click rate and conversion by channel, category pair, position and kind of reason, and A/B tests.

An answer is put down to a served list when it names the list's id, is of the user whom the list was for, is about an item of the list, and
came within the window after it. Nothing is put down by guessing: a purchase that names no list counts for none. The unit is a place of
a list; it was clicked or not, bought or not, however often. Intervals allow for one shopper's places being alike (`rates`).

A rate by position or channel says what happened and not why: what stands first is also what was thought best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..data.ab_tests import ARMS
from ..data.events.records import milliseconds
from ..data.events.served_lists import ServedLists
from .stats.bootstrap import Interval
from .stats.confidence_sequences import STOPPING_RULE, compare_arms
from .stats.proportions import clustered_rate

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

DAY_MS = 86_400_000
"""Milliseconds."""
ATTRIBUTION_WINDOW_MS = 7 * DAY_MS
MAX_CLOCK_SKEW_MS = 300_000
"""Milliseconds that a shopper's clock may be behind ours."""
OUTCOME_EVENTS: Mapping[str, tuple[str, ...]] = {
    "clicks": ("click", "cart", "purchase"),
    "carts": ("cart", "purchase"),
    "purchases": ("purchase",),
}
"""Who bought had put into the cart, and who did that had clicked, whether or not the shop sent those events too."""
GROUP_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "by_channel": ("channel",),
    "by_pair": ("source", "target"),
    "by_position": ("position",),
    "by_explanation": ("explanation",),
}
Basis = Literal["served", "impressions"]


@dataclass(frozen=True)
class SlotOutcomes:
    """Places with what became of each.

    Attributes:
        places: columns of `ServedLists.places`, and user (of the list, or the list itself for somebody unknown), known (whether it is a
            user), served_at, arm, and clicks, carts, purchases (bool).
        unattributed: why an answer was put down to no place -> how many.
        kinds: kind of answer -> how many named a list.
    """

    slots: pl.DataFrame
    unattributed: Mapping[str, int]
    event_counts: Mapping[str, int]

    @classmethod
    def from_served(cls, served: ServedLists, window: int = ATTRIBUTION_WINDOW_MS, basis: Basis = "served") -> SlotOutcomes:
        """What became of the places of some lists.

        Args: window: milliseconds after a list within which an answer counts. basis: all served places, or those that an `impression`
            says were seen.
        """
        import polars as pl

        lists = served.lists.rename({"user_id": "owner", "timestamp": "served_at"})
        places = served.places.join(lists, on="recommendation_id", how="inner", maintain_order="left")
        answers = served.answers.join(lists, on="recommendation_id", how="left", maintain_order="left").join(
            places.select("recommendation_id", "item_id", "position"),
            on=("recommendation_id", "item_id"),
            how="left",
            maintain_order="left",
        )
        late = (pl.col("timestamp") > pl.col("served_at") + window) | (pl.col("timestamp") < pl.col("served_at") - MAX_CLOCK_SKEW_MS)
        reasons = (
            pl.when(pl.col("served_at").is_null())
            .then(pl.lit("names a list that is not among these"))
            .when(pl.col("owner").is_not_null() & (pl.col("owner") != pl.col("user_id")))
            .then(pl.lit("of another user than the list"))
            .when(pl.col("position").is_null())
            .then(pl.lit("about an item that was not in the list"))
            .when(late)
            .then(pl.lit("outside the window"))
        )
        answers = answers.with_columns(reasons.alias("reason"))
        counted = answers.filter(pl.col("reason").is_null())
        columns = []
        for name, kinds in {**OUTCOME_EVENTS, "seen": ("impression",)}.items():
            hit = counted.filter(pl.col("kind").is_in(kinds)).select("recommendation_id", "position").unique()
            columns.append(hit.with_columns(pl.lit(True).alias(name)))
        for column in columns:
            places = places.join(column, on=("recommendation_id", "position"), how="left", maintain_order="left")
        places = places.with_columns(
            *(pl.col(name).fill_null(False) for name in (*OUTCOME_EVENTS, "seen")),
            pl.col("owner").is_not_null().alias("known"),
            pl.col("owner").fill_null(pl.lit("list:") + pl.col("recommendation_id")).alias("user"),
        )
        if basis == "impressions":
            places = places.filter(pl.col("seen"))
        left = answers.filter(pl.col("reason").is_not_null()).group_by("reason").len().sort("reason")
        return cls(places, dict(left.iter_rows()), dict(answers.group_by("kind").len().sort("kind").iter_rows()))


def online_report(
    served: ServedLists, *, window: int = ATTRIBUTION_WINDOW_MS, basis: Basis = "served", b_share: float = 0.5, now: int | None = None
) -> dict[str, Any]:
    """All figures of some served lists, as JSON holds them.

    Args: window, basis: as `Outcomes.of` has them. share: of B, as the experiments were set. now: milliseconds since 1970; None is now.
    """
    import polars as pl

    moment = milliseconds() if now is None else now
    outcomes = SlotOutcomes.from_served(served, window, basis)
    slots = outcomes.slots
    return {
        "lists": slots["recommendation_id"].n_unique(),
        "places": len(slots),
        "users": slots.filter("known")["user"].n_unique(),
        "lists_within_window": slots.filter(pl.col("served_at") > moment - window)["recommendation_id"].n_unique(),
        "window_days": window / DAY_MS,
        "basis": basis,
        "answers": dict(outcomes.event_counts),
        "unattributed": dict(outcomes.unattributed),
        "overall": slot_metrics(slots),
        **{name: metrics_by_group(slots, columns) for name, columns in GROUP_COLUMNS.items()},
        "experiments": [experiment_report(slots, name, window, b_share, moment) for name in _experiments(slots)],
    }


def slot_metrics(slots: pl.DataFrame) -> dict[str, Any]:
    """Counts and rates of some places: `ctr` is places clicked per place, `conversion` places bought per place."""
    import polars as pl

    sums = slots.group_by("user", maintain_order=True).agg(pl.len().alias("places"), *(pl.col(name).sum() for name in OUTCOME_EVENTS))
    trials = sums["places"].to_numpy()
    rates: dict[str, Interval] = {name: clustered_rate(sums[name].to_numpy(), trials) for name in OUTCOME_EVENTS}
    return {
        "places": len(slots),
        "users": len(sums),
        **{name: int(sums[name].sum()) for name in OUTCOME_EVENTS},
        "ctr": rates["clicks"].to_dict(),
        "cart_rate": rates["carts"].to_dict(),
        "conversion": rates["purchases"].to_dict(),
    }


def metrics_by_group(slots: pl.DataFrame, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """The figures of each group of places, the largest group first (positions in their order); what is not known is a group, too."""
    groups = slots.partition_by(columns, as_dict=True, maintain_order=True)
    rows = [{**dict(zip(columns, key, strict=True)), **slot_metrics(part)} for key, part in groups.items()]
    if columns == ("position",):
        return sorted(rows, key=lambda one: int(one["position"]))
    return sorted(rows, key=lambda one: (-one["places"], [str(one[name]) for name in columns]))


def experiment_report(slots: pl.DataFrame, name: str, window: int, b_share: float, now: int) -> dict[str, Any]:
    """The arms of an experiment with their figures, and B less A with an interval that may be looked at any time.

    One user counts once: whether anything was clicked (bought) within the window after the user's first list of the experiment, which must
    be over, so that a figure once told does not change. Users who were in both arms count for neither.
    """
    import polars as pl

    mine = slots.filter(pl.col("arm").is_in([f"{name}/{arm}" for arm in ARMS]))
    first = pl.col("served_at") <= pl.col("served_at").min().over("user") + window
    users = (
        mine.filter("known")
        .with_columns(first.alias("first"))
        .group_by("user")
        .agg(
            pl.col("served_at").min().alias("since"),
            pl.col("arm").n_unique().alias("arms"),
            (pl.col("arm").first() == f"{name}/{ARMS[1]}").alias("is_b"),
            *((pl.col(what) & pl.col("first")).any().alias(what) for what in ("clicks", "purchases")),
        )
        .sort("since", "user")
    )
    kept = users.filter((pl.col("arms") == 1) & (pl.col("since") <= now - 2 * window))
    is_b = kept["is_b"].to_numpy()
    return {
        "name": name,
        "arms": {arm: slot_metrics(mine.filter(pl.col("arm") == f"{name}/{arm}")) for arm in ARMS},
        "in_both_arms": int((users["arms"] > 1).sum()),
        "still_open": int(((users["arms"] == 1) & (users["since"] > now - 2 * window)).sum()),
        "share_of_b": {"wanted": b_share, "found": round(float(is_b.mean()), 4) if len(is_b) else None, "p": _uneven(is_b, b_share)},
        "clicked": compare_arms(kept["clicks"].to_numpy().astype(np.float64), is_b, b_share).to_dict(),
        "bought": compare_arms(kept["purchases"].to_numpy().astype(np.float64), is_b, b_share).to_dict(),
        "rule": STOPPING_RULE,
    }


def _experiments(places: pl.DataFrame) -> list[str]:
    """The names of the experiments that lists were served in."""
    arms = places["arm"].drop_nulls().unique().to_list()
    return sorted({arm.rpartition("/")[0] for arm in arms if arm.rpartition("/")[2] in ARMS and "/" in arm})


def _uneven(is_b: NDArray[np.bool_], share: float) -> float | None:
    """How often a fair lot parts so many users as unevenly, or more so (normal approximation); None without users.

    Next to never means that something is wrong with how arms are given or logged, and then no figure of the two may be compared.
    """
    if not len(is_b):
        return None
    off = abs(float(is_b.mean()) - share) / math.sqrt(share * (1 - share) / len(is_b))
    return round(math.erfc(off / math.sqrt(2)), 5)
