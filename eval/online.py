"""Online evaluation: click-through and conversion by channel, category pair, position and explanation type, and A/B tests.

The unit of analysis is a slot: one position of one served list (`places` in the report). A slot counts as clicked or bought once, however
many events it receives. An event is attributed to a slot if it names the list's id, belongs to the list's user, concerns an item of the
list, and arrives within the attribution window. Events that name no list are never attributed. Intervals allow for correlation between the
slots of one user (see `proportions`).

Rates by position or channel are descriptive, not causal: the first positions hold the items that were scored highest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..data.ab_tests import ARMS
from ..data.events.records import now_ms
from ..data.events.served_lists import ServedLists
from .stats.bootstrap import Interval
from .stats.confidence_sequences import STOPPING_RULE, compare_arms
from .stats.proportions import clustered_rate

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

DAY_MS = 86_400_000
"""Milliseconds per day."""
ATTRIBUTION_WINDOW_MS = 7 * DAY_MS
"""Default time after a list in which an event is attributed to it, in milliseconds."""
MAX_CLOCK_SKEW_MS = 300_000
"""How far an event's timestamp may precede its list's, in milliseconds: client clocks run behind."""
OUTCOME_EVENTS: Mapping[str, tuple[str, ...]] = {
    "clicks": ("click", "cart", "purchase"),
    "carts": ("cart", "purchase"),
    "purchases": ("purchase",),
}
"""Outcome to the event kinds that imply it: a purchase implies a cart, and a cart a click, even if the shop did not send those events."""
GROUP_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "by_channel": ("channel",),
    "by_pair": ("source", "target"),
    "by_position": ("position",),
    "by_explanation": ("explanation",),
}
"""Report section to the columns that its rows are grouped by."""
Basis = Literal["served", "impressions"]


@dataclass(frozen=True)
class SlotOutcomes:
    """Slots of served lists with their outcomes.

    Attributes:
        slots: One row per slot: the columns of `ServedLists.slots`, and user (the list's user, or the list itself if anonymous), known
            (bool, whether the user is known), served_at, arm, and clicks, carts, purchases (bool).
        unattributed: Reason to the number of events that were not attributed to a slot.
        event_counts: Event kind to the number of events that name a list.
    """

    slots: pl.DataFrame
    unattributed: Mapping[str, int]
    event_counts: Mapping[str, int]

    @classmethod
    def from_served(cls, served: ServedLists, window: int = ATTRIBUTION_WINDOW_MS, basis: Basis = "served") -> SlotOutcomes:
        """Attribute events to the slots of served lists.

        Args:
            served: Served lists with the events that name them.
            window: Attribution window in milliseconds.
            basis: `served` counts all slots, `impressions` only slots with an impression event.
        """
        import polars as pl

        lists = served.lists.rename({"user_id": "owner", "timestamp": "served_at"})
        slots = served.slots.join(lists, on="recommendation_id", how="inner", maintain_order="left")
        events = served.responses.join(lists, on="recommendation_id", how="left", maintain_order="left").join(
            slots.select("recommendation_id", "item_id", "position"),
            on=("recommendation_id", "item_id"),
            how="left",
            maintain_order="left",
        )
        outside_window = (pl.col("timestamp") > pl.col("served_at") + window) | (
            pl.col("timestamp") < pl.col("served_at") - MAX_CLOCK_SKEW_MS
        )
        reasons = (
            pl.when(pl.col("served_at").is_null())
            .then(pl.lit("names a list that is not among these"))
            .when(pl.col("owner").is_not_null() & (pl.col("owner") != pl.col("user_id")))
            .then(pl.lit("of another user than the list"))
            .when(pl.col("position").is_null())
            .then(pl.lit("about an item that was not in the list"))
            .when(outside_window)
            .then(pl.lit("outside the window"))
        )
        events = events.with_columns(reasons.alias("reason"))
        attributed = events.filter(pl.col("reason").is_null())
        for outcome, kinds in {**OUTCOME_EVENTS, "seen": ("impression",)}.items():
            matches = attributed.filter(pl.col("kind").is_in(kinds)).select("recommendation_id", "position").unique()
            matches = matches.with_columns(pl.lit(True).alias(outcome))
            slots = slots.join(matches, on=("recommendation_id", "position"), how="left", maintain_order="left")
        slots = slots.with_columns(
            *(pl.col(outcome).fill_null(False) for outcome in (*OUTCOME_EVENTS, "seen")),
            pl.col("owner").is_not_null().alias("known"),
            pl.col("owner").fill_null(pl.lit("list:") + pl.col("recommendation_id")).alias("user"),
        )
        if basis == "impressions":
            slots = slots.filter(pl.col("seen"))
        rejected = events.filter(pl.col("reason").is_not_null()).group_by("reason").len().sort("reason")
        return cls(slots, dict(rejected.iter_rows()), dict(events.group_by("kind").len().sort("kind").iter_rows()))


def online_report(
    served: ServedLists, *, window: int = ATTRIBUTION_WINDOW_MS, basis: Basis = "served", b_share: float = 0.5, now: int | None = None
) -> dict[str, Any]:
    """Return all metrics of the served lists as a JSON-ready dict.

    Args:
        served: Served lists with the events that name them.
        window: Attribution window in milliseconds.
        basis: See `SlotOutcomes.from_served`.
        b_share: Probability of arm B, as configured in the experiments.
        now: Milliseconds since 1970; None for the current time.
    """
    import polars as pl

    now = now_ms() if now is None else now
    outcomes = SlotOutcomes.from_served(served, window, basis)
    slots = outcomes.slots
    return {
        "lists": slots["recommendation_id"].n_unique(),
        "places": len(slots),
        "users": slots.filter("known")["user"].n_unique(),
        "lists_within_window": slots.filter(pl.col("served_at") > now - window)["recommendation_id"].n_unique(),
        "window_days": window / DAY_MS,
        "basis": basis,
        "answers": dict(outcomes.event_counts),
        "unattributed": dict(outcomes.unattributed),
        "overall": slot_metrics(slots),
        **{section: metrics_by_group(slots, columns) for section, columns in GROUP_COLUMNS.items()},
        "experiments": [experiment_report(slots, name, window, b_share, now) for name in _experiment_names(slots)],
    }


def slot_metrics(slots: pl.DataFrame) -> dict[str, Any]:
    """Return counts and rates of some slots: `ctr` is clicked slots per slot, `conversion` bought slots per slot."""
    import polars as pl

    per_user = slots.group_by("user", maintain_order=True).agg(pl.len().alias("slots"), *(pl.col(name).sum() for name in OUTCOME_EVENTS))
    trials = per_user["slots"].to_numpy()
    rates: dict[str, Interval] = {name: clustered_rate(per_user[name].to_numpy(), trials) for name in OUTCOME_EVENTS}
    return {
        "places": len(slots),
        "users": len(per_user),
        **{name: int(per_user[name].sum()) for name in OUTCOME_EVENTS},
        "ctr": rates["clicks"].to_dict(),
        "cart_rate": rates["carts"].to_dict(),
        "conversion": rates["purchases"].to_dict(),
    }


def metrics_by_group(slots: pl.DataFrame, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the metrics of each group of slots, largest group first (positions in ascending order); null is a group of its own."""
    groups = slots.partition_by(columns, as_dict=True, maintain_order=True)
    rows = [{**dict(zip(columns, key, strict=True)), **slot_metrics(group)} for key, group in groups.items()]
    if columns == ("position",):
        return sorted(rows, key=lambda row: int(row["position"]))
    return sorted(rows, key=lambda row: (-row["places"], [str(row[column]) for column in columns]))


def experiment_report(slots: pl.DataFrame, name: str, window: int, b_share: float, now: int) -> dict[str, Any]:
    """Return the metrics of each arm, and the difference B - A with an anytime-valid interval.

    The comparison uses one observation per user: whether anything was clicked (bought) within the window after the first list of the
    experiment. Users enter the comparison once that time is over, so an observation never changes. Users in both arms are excluded.
    """
    import polars as pl

    experiment_slots = slots.filter(pl.col("arm").is_in([f"{name}/{arm}" for arm in ARMS]))
    in_first_window = pl.col("served_at") <= pl.col("served_at").min().over("user") + window
    users = (
        experiment_slots.filter("known")
        .with_columns(in_first_window.alias("in_first_window"))
        .group_by("user")
        .agg(
            pl.col("served_at").min().alias("since"),
            pl.col("arm").n_unique().alias("arms"),
            (pl.col("arm").first() == f"{name}/{ARMS[1]}").alias("is_b"),
            *((pl.col(outcome) & pl.col("in_first_window")).any().alias(outcome) for outcome in ("clicks", "purchases")),
        )
        .sort("since", "user")
    )
    completed = users.filter((pl.col("arms") == 1) & (pl.col("since") <= now - 2 * window))
    is_b = completed["is_b"].to_numpy()
    return {
        "name": name,
        "arms": {arm: slot_metrics(experiment_slots.filter(pl.col("arm") == f"{name}/{arm}")) for arm in ARMS},
        "in_both_arms": int((users["arms"] > 1).sum()),
        "still_open": int(((users["arms"] == 1) & (users["since"] > now - 2 * window)).sum()),
        "share_of_b": {
            "wanted": b_share,
            "found": round(float(is_b.mean()), 4) if len(is_b) else None,
            "p": _sample_ratio_p_value(is_b, b_share),
        },
        "clicked": compare_arms(completed["clicks"].to_numpy().astype(np.float64), is_b, b_share).to_dict(),
        "bought": compare_arms(completed["purchases"].to_numpy().astype(np.float64), is_b, b_share).to_dict(),
        "rule": STOPPING_RULE,
    }


def _experiment_names(slots: pl.DataFrame) -> list[str]:
    """Names of the experiments that the lists were served in, sorted."""
    arms = slots["arm"].drop_nulls().unique().to_list()
    return sorted({arm.rpartition("/")[0] for arm in arms if arm.rpartition("/")[2] in ARMS and "/" in arm})


def _sample_ratio_p_value(is_b: NDArray[np.bool_], b_share: float) -> float | None:
    """Two-sided p-value of the sample ratio mismatch test (normal approximation); None without users.

    A value near 0 means that arm assignment or its logging is broken, so the arms must not be compared.
    """
    if not len(is_b):
        return None
    z_score = abs(float(is_b.mean()) - b_share) / math.sqrt(b_share * (1 - b_share) / len(is_b))
    return round(math.erfc(z_score / math.sqrt(2)), 5)
