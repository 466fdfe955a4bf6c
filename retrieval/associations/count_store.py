"""Stored counts behind the associations, for incremental counting of the next snapshot.

    counts/<generation>/
      0.parquet 1.parquet ...        pair counts by depth: 0 for items, then the category levels
      0-margins.parquet ...          marginal counts, one row per item or category, by name
      events.parquet users.parquet   the counted events: user, item, time

A folder is complete before `workspace.json` references it, and is never changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import StaleIndexError
from ...data.hashing import splitmix64
from ..items.interactions import Events, distinct
from .pair_counts import EventSequence, MarginalCounts, PairCounts, StreamingPairCounter, chunks_by_cost
from .rules import MIN_SUPPORT, CountTable, spaces
from .user_weights import user_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..items.catalogue import Catalogue

VERSION = 1
"""Version of the counting rules; counts of another version are recomputed."""
MARGIN_COLUMNS = {"users": "users", "followers": "went", "ways": "ways"}
"""Fields of `MarginalCounts` and their column names in the files."""


@dataclass(frozen=True)
class CountSnapshot:
    """Counts and the events behind them.

    Attributes:
        tables: counts of items, then of categories by level.
        events: the counted events, with rows numbered as `tables[0].names`.
        window: as in `EventSequence`.
        weight: (users,) see `user_weights`.
        since: users counted incrementally since the last full count.
    """

    tables: Sequence[CountTable]
    events: Events
    window: int
    weight: NDArray[np.int64]
    since: int = 0


def save(folder: Path, counted: CountSnapshot, paths: Sequence[str]) -> None:
    """Write counts into an empty folder.

    Args:
        counted: the counts.
        paths: (items,) full category path of each item, to detect changes.
    """
    import polars as pl

    for one in counted.tables:
        pairs, margins = one.pairs, one.margins
        pl.DataFrame({name: getattr(pairs, name) for name in PairCounts.__dataclass_fields__}).write_parquet(
            folder / f"{one.depth}.parquet"
        )
        columns = {f"{column}{kind}": getattr(margins, field)[kind] for field, column in MARGIN_COLUMNS.items() for kind in (0, 1)}
        totals = {"total": margins.total.tolist(), "things": margins.things.tolist()}
        pl.DataFrame({"name": pl.Series(one.names, dtype=pl.String), **columns}).write_parquet(
            folder / f"{one.depth}-margins.parquet", metadata={"totals": json.dumps(totals)}
        )
    events = counted.events
    pl.DataFrame({"user": events.user, "row": events.row, "time": events.time}).write_parquet(folder / "events.parquet")
    pl.DataFrame({"user_id": events.users, "weight": counted.weight}).write_parquet(folder / "users.parquet")
    pl.DataFrame({"path": pl.Series(paths, dtype=pl.String)}).write_parquet(folder / "paths.parquet")
    about = {
        "version": VERSION,
        "since": counted.since,
        "order": events.order,
        "verb": events.verb,
        "window": counted.window,
        "depths": len(counted.tables),
    }
    (folder / "about.json").write_text(json.dumps(about))


def about(folder: Path) -> dict[str, Any]:
    """Metadata of a folder of counts: order, window, depths.

    Raises: StaleIndexError: the folder is missing, damaged or of another version.
    """
    try:
        metadata = json.loads((folder / "about.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _stale(folder, type(error).__name__) from error
    if metadata.get("version") != VERSION:
        raise _stale(folder, f"version {metadata.get('version')}, expected {VERSION}")
    return dict(metadata)


def margins(folder: Path, depth: int) -> MarginalCounts:
    """Marginal counts of items (depth 0) or of a category level. Raises: StaleIndexError, as `about`."""
    import polars as pl

    file = folder / f"{depth}-margins.parquet"
    try:
        table, totals = pl.read_parquet(file), json.loads(pl.read_parquet_metadata(file)["totals"])
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
        raise _stale(folder, type(error).__name__) from error
    parts = {field: np.stack([table[f"{column}{kind}"].to_numpy() for kind in (0, 1)]) for field, column in MARGIN_COLUMNS.items()}
    return MarginalCounts(**parts, total=np.asarray(totals["total"], np.int64), things=np.asarray(totals["things"], np.int64))


def load_user_weights(folder: Path) -> NDArray[np.int64]:
    """(users,) stored user weights. Raises: StaleIndexError, as `about`."""
    import polars as pl

    try:
        return pl.read_parquet(folder / "users.parquet")["weight"].to_numpy()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _stale(folder, type(error).__name__) from error


def recount(folder: Path, events: Events, catalogue: Catalogue, window: int, paths: Sequence[str]) -> tuple[CountSnapshot, int] | None:
    """Counts of a new snapshot from stored counts and the users that changed since.

    Returns:
        The counts and the number of users counted; None when a full count is needed: another window or order, more than a fifth of the
        users changed since the last full count, or items with changed categories.
    Raises: StaleIndexError, as `about`.
    """
    import polars as pl

    stored = about(folder)
    if (stored["order"], stored["verb"], stored["window"]) != (events.order, events.verb, window):
        return None
    if stored["depths"] != catalogue.tree.levels + 1:
        return None
    try:
        old_items = pl.read_parquet(folder / "0-margins.parquet", columns=["name"])["name"]
        old_paths = pl.read_parquet(folder / "paths.parquet")["path"]
        table = pl.read_parquet(folder / "events.parquet")
        known = pl.read_parquet(folder / "users.parquet")
        old_users = known["user_id"]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _stale(folder, type(error).__name__) from error
    now = pl.DataFrame({"name": catalogue.items["item_id"], "path": pl.Series(paths, dtype=pl.String)}).with_row_index("row")
    then = pl.DataFrame({"name": old_items, "old_path": old_paths}).join(now, on="name", how="left", maintain_order="left")
    gone = then["row"].null_count() > 0
    if gone or (then["path"] != then["old_path"]).any():
        return None
    row_of = then["row"].cast(pl.Int32).to_numpy()
    # One numbering of users and items for both snapshots: the new one, followed by users that no longer exist.
    everyone = pl.concat([events.users, old_users]).unique(maintain_order=True)
    number = pl.DataFrame({"user_id": old_users}).join(
        everyone.to_frame("user_id").with_row_index("n"), on="user_id", maintain_order="left"
    )
    before = _sorted(
        number["n"].cast(pl.Int32).to_numpy()[table["user"].to_numpy()], row_of[table["row"].to_numpy()], table["time"].to_numpy()
    )
    after = (events.user, events.row, events.time)
    changed = _changed(before, after, len(everyone))
    since = int(stored["since"] + changed.sum())
    if since * 5 > len(everyone):
        return None
    was = changed[before[0]]
    old = Events(before[0][was], before[1][was], before[2][was], events.order, everyone, events.verb)
    new = Events(*after, events.order, everyone, events.verb)
    # User weights are fixed until the next full count; otherwise one changed user could change all weights.
    weight = user_weights(new)
    weight[number["n"].to_numpy()] = known["weight"].to_numpy()
    tallies = []
    for depth, names, code in spaces(catalogue):
        kept = _renumbered(folder, depth, names)
        yesterday = EventSequence.of(old, code, len(names), window, weight)
        today = EventSequence.of(new, code, len(names), window, weight)
        tallies.append(_updated(kept, yesterday, today, changed, depth, names))
    return CountSnapshot(tallies, events, window, weight[: len(events.users)], since), int(changed.sum())


def _sorted(
    user: NDArray[np.int32], row: NDArray[np.int32], time: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    order = np.argsort(user, kind="stable")
    return user[order], row[order], time[order]


def _changed(before: tuple[NDArray[Any], ...], after: tuple[NDArray[Any], ...], users: int) -> NDArray[np.bool_]:
    """(users,) mask of users with different events, compared by sums of hashes, independent of the order within a user."""

    def hash_sums(events: tuple[NDArray[Any], ...]) -> NDArray[np.uint64]:
        user, row, time = events
        mixed = splitmix64(time.astype(np.uint64) ^ splitmix64(row.astype(np.uint64)))
        sums = np.zeros(users, dtype=np.uint64)
        if len(user):
            first = np.flatnonzero(np.diff(user, prepend=-1))
            sums[user[first]] = np.add.reduceat(mixed, first)
        return sums

    return np.asarray(hash_sums(before) != hash_sums(after))


def _renumbered(folder: Path, depth: int, names: Sequence[str]) -> tuple[MarginalCounts, PairCounts]:
    """Stored counts under the current numbering; new items and categories have zero counts."""
    import polars as pl

    kept, old = margins(folder, depth), pl.read_parquet(folder / f"{depth}-margins.parquet", columns=["name"])
    place = (
        old.join(pl.DataFrame({"name": names}).with_row_index("n"), on="name", how="left", maintain_order="left")["n"]
        .to_numpy()
        .astype(np.int64)
    )
    table = pl.read_parquet(folder / f"{depth}.parquet")
    pairs = PairCounts(*(table[name].to_numpy() for name in PairCounts.__dataclass_fields__))
    things, before = len(names), len(old)
    key = place[pairs.key // max(before, 1)] * things + place[pairs.key % max(before, 1)]
    order = np.argsort(key, kind="stable")
    parts = {}
    for field in MARGIN_COLUMNS:
        parts[field] = np.zeros((2, things), dtype=np.int64)
        parts[field][:, place] = getattr(kept, field)
    return (
        MarginalCounts(**parts, total=kept.total, things=kept.things),
        PairCounts(key[order], pairs.both[order], pairs.support[order], pairs.weight[order]),
    )


def _updated(
    kept: tuple[MarginalCounts, PairCounts],
    old: EventSequence,
    new: EventSequence,
    changed: NDArray[np.bool_],
    depth: int,
    names: Sequence[str],
) -> CountTable:
    """Stored counts minus the old counts of the changed users plus their new counts.

    Pairs with a single user are not stored. When a changed user adds such a pair, the one other possible user is looked up.
    """
    gone, came = StreamingPairCounter(old.only(changed)), StreamingPairCounter(new.only(changed))
    minus, plus = (PairCounts.chained(list(one.blocks())) for one in (gone, came))
    margins_now, pairs = kept[0] - gone.margins + came.margins, kept[1]
    stored = _among(minus.key, pairs.key)
    # A pair that is not stored had at most one user: if that was a changed user, there is no other.
    lone = minus.key[~stored]
    fresh = plus.key[~(_among(plus.key, pairs.key) | _among(plus.key, lone))]
    others = _holding(new, ~changed, fresh)
    extra = PairCounts.chained(list(StreamingPairCounter(new.only(others)).blocks())) if others.any() else PairCounts.none()
    extra = extra.where(_among(extra.key, fresh))
    pairs = pairs - minus.where(stored) + extra + plus
    return CountTable(depth, names, margins_now, pairs.where(pairs.both >= MIN_SUPPORT))


def _among(keys: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(keys,) mask of keys contained in an ascending array."""
    if not len(ascending):
        return np.zeros(len(keys), dtype=bool)
    at = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    return np.asarray(ascending[at] == keys)


def _holding(moments: EventSequence, among: NDArray[np.bool_], keys: NDArray[np.int64], chunk: int = 4_000_000) -> NDArray[np.bool_]:
    """(users,) mask of users in `among` with both members of any of the pairs."""
    some = moments.only(among)
    owner_first = distinct((some.user.astype(np.int64) << 32) | some.thing)
    thing_first = distinct((some.thing.astype(np.int64) << 32) | some.user)
    starts = np.searchsorted(thing_first >> 32, np.arange(moments.things + 1))
    holders = np.diff(starts)
    left, right = keys // max(moments.things, 1), keys % max(moments.things, 1)
    keep = left < right  # each pair occurs in both directions
    left, right = left[keep], right[keep]
    rare = np.where(holders[left] <= holders[right], left, right)
    common = left + right - rare
    found = np.zeros(moments.users, dtype=bool)
    for part in chunks_by_cost(holders[rare], chunk):
        n = holders[rare[part]]
        place = np.repeat(starts[rare[part]] - np.cumsum(n) + n, n) + np.arange(int(n.sum()))
        user = thing_first[place] & 0xFFFFFFFF
        found[user[_among((user << 32) | np.repeat(common[part], n), owner_first)]] = True
    return found


def _stale(folder: Path, why: str) -> StaleIndexError:
    return StaleIndexError(f"the counts of {folder.parent.parent} cannot be read ({why}); run `crossaisle index -w {folder.parent.parent}`")
