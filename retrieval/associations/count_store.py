"""The counts behind the associations, kept beside them so that the next snapshot need not be counted from the start.

    counts/<generation>/
      0.parquet 1.parquet ...        pairs by depth: 0 for items, then the levels of categories
      0-margins.parquet ...          the margins, one line a thing, by name
      events.parquet users.parquet   what was counted: user, item, time

A folder is written whole before `workspace.json` names it, and is never changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import StaleIndexError
from ...data.hashing import mix
from ..items.interactions import Events, distinct
from .pair_counts import Counting, Margins, Moments, PairCounts, stretches
from .rules import MIN_SUPPORT, Tally, spaces
from .user_weights import weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..items.catalogue import Catalogue

VERSION = 1
"""Of how things are counted; counts of another one are counted again."""


@dataclass(frozen=True)
class Counted:
    """Counts and what they were counted from.

    Attributes:
        tallies: items, then categories by level. events: with rows numbered as `tallies[0].names`.
        window: as in `Moments`. weight: (users,) see `weights`. since: users counted since all were counted together.
    """

    tallies: Sequence[Tally]
    events: Events
    window: int
    weight: NDArray[np.int64]
    since: int = 0


def save(folder: Path, counted: Counted, paths: Sequence[str]) -> None:
    """Writes counts into an empty folder.

    Args: paths: (items,) the whole category path of each item, by which a changed one is noticed.
    """
    import polars as pl

    for one in counted.tallies:
        pairs, margins = one.pairs, one.margins
        pl.DataFrame({name: getattr(pairs, name) for name in PairCounts.__dataclass_fields__}).write_parquet(
            folder / f"{one.depth}.parquet"
        )
        columns = {f"{name}{heads}": getattr(margins, name)[heads] for name in ("users", "went", "ways") for heads in (0, 1)}
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
        "depths": len(counted.tallies),
    }
    (folder / "about.json").write_text(json.dumps(about))


def about(folder: Path) -> dict[str, Any]:
    """What a folder of counts says of itself: order, window, depths.

    Raises: StaleIndexError: it is gone, damaged or of another version.
    """
    try:
        said = json.loads((folder / "about.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _stale(folder, type(error).__name__) from error
    if said.get("version") != VERSION:
        raise _stale(folder, f"version {said.get('version')}, wanted {VERSION}")
    return dict(said)


def margins(folder: Path, depth: int) -> Margins:
    """The margins of one kind of thing. Raises: StaleIndexError, as `about`."""
    import polars as pl

    file = folder / f"{depth}-margins.parquet"
    try:
        table, totals = pl.read_parquet(file), json.loads(pl.read_parquet_metadata(file)["totals"])
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
        raise _stale(folder, type(error).__name__) from error
    parts = {name: np.stack([table[f"{name}{heads}"].to_numpy() for heads in (0, 1)]) for name in ("users", "went", "ways")}
    return Margins(**parts, total=np.asarray(totals["total"], np.int64), things=np.asarray(totals["things"], np.int64))


def user_weights(folder: Path) -> NDArray[np.int64]:
    """(users,) what each user counts. Raises: StaleIndexError, as `about`."""
    import polars as pl

    try:
        return pl.read_parquet(folder / "users.parquet")["weight"].to_numpy()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _stale(folder, type(error).__name__) from error


def recount(folder: Path, events: Events, catalogue: Catalogue, window: int, paths: Sequence[str]) -> tuple[Counted, int] | None:
    """The tallies of a new snapshot from kept counts and the users who changed since.

    Returns: the counts, and how many users were counted; None where counting from the start is what it would come to: another window
        or order, a fifth of the users changed since all were counted, or items in other categories than before.
    Raises: StaleIndexError, as `about`.
    """
    import polars as pl

    said = about(folder)
    if (said["order"], said["verb"], said["window"]) != (events.order, events.verb, window) or said["depths"] != catalogue.tree.levels + 1:
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
    # One numbering of users and items for both snapshots: today's, and after it the users that are no more.
    everyone = pl.concat([events.users, old_users]).unique(maintain_order=True)
    number = pl.DataFrame({"user_id": old_users}).join(
        everyone.to_frame("user_id").with_row_index("n"), on="user_id", maintain_order="left"
    )
    before = _sorted(
        number["n"].cast(pl.Int32).to_numpy()[table["user"].to_numpy()], row_of[table["row"].to_numpy()], table["time"].to_numpy()
    )
    after = (events.user, events.row, events.time)
    changed = _changed(before, after, len(everyone))
    since = int(said["since"] + changed.sum())
    if since * 5 > len(everyone):
        return None
    was = changed[before[0]]
    old = Events(before[0][was], before[1][was], before[2][was], events.order, everyone, events.verb)
    new = Events(*after, events.order, everyone, events.verb)
    # What a user counts for is fixed until all are counted again, or one would change everybody alike.
    weight = weights(new)
    weight[number["n"].to_numpy()] = known["weight"].to_numpy()
    tallies = []
    for depth, names, code in spaces(catalogue):
        kept = _renumbered(folder, depth, names)
        yesterday = Moments.of(old, code, len(names), window, weight)
        today = Moments.of(new, code, len(names), window, weight)
        tallies.append(_updated(kept, yesterday, today, changed, depth, names))
    return Counted(tallies, events, window, weight[: len(events.users)], since), int(changed.sum())


def _sorted(
    user: NDArray[np.int32], row: NDArray[np.int32], time: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    order = np.argsort(user, kind="stable")
    return user[order], row[order], time[order]


def _changed(before: tuple[NDArray[Any], ...], after: tuple[NDArray[Any], ...], users: int) -> NDArray[np.bool_]:
    """(users,) whose events are not the same in both; compared by count and by sums of hashes, in any order within a user."""

    def marks(events: tuple[NDArray[Any], ...]) -> NDArray[np.uint64]:
        user, row, time = events
        mixed = mix(time.astype(np.uint64) ^ mix(row.astype(np.uint64)))
        sums = np.zeros(users, dtype=np.uint64)
        if len(user):
            first = np.flatnonzero(np.diff(user, prepend=-1))
            sums[user[first]] = np.add.reduceat(mixed, first)
        return sums

    return np.asarray(marks(before) != marks(after))


def _renumbered(folder: Path, depth: int, names: Sequence[str]) -> tuple[Margins, PairCounts]:
    """Kept counts under the numbers that things have now; things that are new have none."""
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
    for name in ("users", "went", "ways"):
        parts[name] = np.zeros((2, things), dtype=np.int64)
        parts[name][:, place] = getattr(kept, name)
    return (
        Margins(**parts, total=kept.total, things=kept.things),
        PairCounts(key[order], pairs.both[order], pairs.support[order], pairs.weight[order]),
    )


def _updated(
    kept: tuple[Margins, PairCounts], old: Moments, new: Moments, changed: NDArray[np.bool_], depth: int, names: Sequence[str]
) -> Tally:
    """Kept counts less those of the changed users as they were, plus those as they are.

    Pairs of a single user were not kept. Where the changed users now bring such a pair, the one other user who may have it is looked up.
    """
    gone, came = Counting(old.only(changed)), Counting(new.only(changed))
    minus, plus = (PairCounts.chained(list(one.blocks())) for one in (gone, came))
    margins_now, pairs = kept[0] - gone.margins + came.margins, kept[1]
    stored = _among(minus.key, pairs.key)
    # A pair that was not kept had one user at most: with one of the changed users there, no other.
    lone = minus.key[~stored]
    fresh = plus.key[~(_among(plus.key, pairs.key) | _among(plus.key, lone))]
    others = _holding(new, ~changed, fresh)
    found = PairCounts.chained(list(Counting(new.only(others)).blocks())) if others.any() else PairCounts.none()
    found = found.where(_among(found.key, fresh))
    pairs = pairs - minus.where(stored) + found + plus
    return Tally(depth, names, margins_now, pairs.where(pairs.both >= MIN_SUPPORT))


def _among(keys: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(keys,) which are in an ascending array."""
    if not len(ascending):
        return np.zeros(len(keys), dtype=bool)
    at = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    return np.asarray(ascending[at] == keys)


def _holding(moments: Moments, among: NDArray[np.bool_], keys: NDArray[np.int64], chunk: int = 4_000_000) -> NDArray[np.bool_]:
    """(users,) those `among` who have both things of any of the pairs."""
    some = moments.only(among)
    owner_first = distinct((some.user.astype(np.int64) << 32) | some.thing)
    thing_first = distinct((some.thing.astype(np.int64) << 32) | some.user)
    starts = np.searchsorted(thing_first >> 32, np.arange(moments.things + 1))
    holders = np.diff(starts)
    left, right = keys // max(moments.things, 1), keys % max(moments.things, 1)
    keep = left < right  # a pair is there in both directions
    left, right = left[keep], right[keep]
    rare = np.where(holders[left] <= holders[right], left, right)
    common = left + right - rare
    found = np.zeros(moments.users, dtype=bool)
    for part in stretches(holders[rare], chunk):
        n = holders[rare[part]]
        place = np.repeat(starts[rare[part]] - np.cumsum(n) + n, n) + np.arange(int(n.sum()))
        user = thing_first[place] & 0xFFFFFFFF
        found[user[_among((user << 32) | np.repeat(common[part], n), owner_first)]] = True
    return found


def _stale(folder: Path, why: str) -> StaleIndexError:
    return StaleIndexError(f"the counts of {folder.parent.parent} cannot be read ({why}); run `crossaisle index -w {folder.parent.parent}`")
