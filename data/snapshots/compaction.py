"""`events compact`: folds the log into a new snapshot, so that what happened in the shop can be indexed and trained on.

The new tables and the number of the last event that they hold become valid in one rename of `workspace.json`: a kill at any moment
leaves the old snapshot, onto which all events are still to be folded, or the new one that holds them. The log stays whole.

Impressions and dismissals are no interactions, nor are searches in words only: they stay in the log, where the live state and the report
look for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import storage_errors
from ..events.records import INTERACTIONS
from ..privacy.pseudonyms import is_pseudonym
from ..readers.external_sort import InteractionSorter
from . import added_items
from .rewrite import copy_tables, remove_derived_files, renamed, users_to_erase

if TYPE_CHECKING:
    import polars as pl

    from ..events import Event, EventLog
    from ..privacy.pseudonyms import Pseudonyms
    from ..workspace import Workspace

Progress = Callable[[str, int, int], None]
PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Compaction:
    """What was folded.

    Attributes:
        snapshot: id of the snapshot that holds it. changed: whether that is a new one. last: number of the last event looked at.
        events: looked at now. interactions: added to the snapshot. repeated: alike in user, item, kind and moment to one that was there.
        unknown_items: events of items that the snapshot does not hold; they come in when `ingest` has brought the items.
        other: impressions, dismissals and searches in words. forgotten: users taken out of the snapshot, whom the log had forgotten.
        pseudonymised: whether user ids are pseudonyms now.
    """

    snapshot: str
    changed: bool
    last: int
    events: int
    interactions: int
    repeated: int
    unknown_items: int
    other: int
    forgotten: int
    pseudonymised: bool

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return asdict(self)


def compact(workspace: Workspace, log: EventLog, *, pseudonymise: bool = False, progress: Progress = lambda *_: None) -> Compaction:
    """Folds the events that the snapshot does not hold yet into a new one.

    Args: pseudonymise: replace all user ids by pseudonyms; where some are pseudonyms already, all become so, or a person would be two.
    Raises: WorkspaceBusyError, WorkspaceError, StorageError: nothing was changed.
    """
    with workspace.writing(f"crossaisle events compact -w {workspace.path}"), storage_errors(f"the snapshot in {workspace.path}"):
        first, last = int(workspace.manifest.folded.get(log.identity, 0)), log.last_sequence()
        gone = users_to_erase(workspace, log)
        held = workspace.table("interactions")
        past = held.filter(~held["user_id"].is_in(sorted(gone))) if gone else held
        names = _names(past, pseudonymise, log, first, last)
        with workspace.staging() as staging, workspace.staging() as folder:
            parts = InteractionSorter(folder)
            parts.add(renamed(past, names))
            items = added_items.items(workspace)["item_id"]
            seen = unknown = other = 0
            for page in _pages(log, first, last):
                told = table([event for event in page if event.kind in INTERACTIONS and event.item_id is not None])
                known = told.filter(told["item_id"].is_in(items.implode()))
                parts.add(renamed(known, names))
                seen, other, unknown = seen + len(page), other + len(page) - len(told), unknown + len(told) - len(known)
                progress("folding events", seen, max(last - first, seen))
            done = parts.finish(staging / "interactions.parquet", lambda part, of: progress("sorting interactions", part, of))
            added = done.rows - len(past)
            before, folded = str(workspace.manifest.snapshot), {**workspace.manifest.folded, log.identity: max(first, last)}
            if added or gone or names is not None or added_items.file(workspace).exists():
                copy_tables(workspace, staging, names, gone)
                if gone:
                    remove_derived_files(workspace)
                source = workspace.manifest.source
                snapshot = workspace.replace_snapshot(staging, category_level=None, item_noun=None, source=source, folded=folded)
            else:
                snapshot = before
                workspace.record_folded(folded)
    return Compaction(
        snapshot=snapshot,
        changed=snapshot != before,
        last=max(first, last),
        events=seen,
        interactions=added,
        repeated=seen - other - unknown - added,
        unknown_items=unknown,
        other=other,
        forgotten=len(gone),
        pseudonymised=names is not None,
    )


def table(events: list[Event]) -> pl.DataFrame:
    """Events as interactions; each must be one."""
    import polars as pl

    from ..readers.interaction_tables import empty_table

    columns = {
        "user_id": [event.user_id for event in events],
        "item_id": [event.item_id for event in events],
        "kind": [INTERACTIONS[event.kind] for event in events],
        "timestamp": [event.timestamp for event in events],
        "value": [None] * len(events),
        "position": [None] * len(events),
    }
    return pl.DataFrame(columns, schema=empty_table("interactions").schema)


def _names(past: pl.DataFrame, wanted: bool, log: EventLog, first: int, last: int) -> Pseudonyms | None:
    """What replaces user ids, or None: where anybody goes by a pseudonym, everybody does."""
    some = (
        wanted
        or log.pseudonyms is not None
        or any(is_pseudonym(user) for user in past["user_id"].unique().to_list())
        or any(is_pseudonym(event.user_id) for page in _pages(log, first, last) for event in page)
    )
    return log.hashes if some else None


def _pages(log: EventLog, first: int, last: int) -> Iterator[list[Event]]:
    """The events with numbers above `first` and up to `last_sequence`."""
    while found := log.events_after(first, PAGE, until=last):
        yield [event for _, event in found]
        first = found[-1][0]
