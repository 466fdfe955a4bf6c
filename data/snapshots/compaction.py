"""`events compact`: merges logged events into a new snapshot, so that they can be indexed and trained on.

The new tables and the number of their last event become valid by one rename of `workspace.json`: a killed process leaves the old
snapshot, without any of the new events, or the new one with all of them. The log is not changed.

Impressions, dismissals and searches without an item are not interactions: they stay in the log, for live profiles and the online report.
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
from .rewrite import copy_tables, remove_derived_files, users_to_erase, with_pseudonyms

if TYPE_CHECKING:
    import polars as pl

    from ..events import Event, EventLog
    from ..privacy.pseudonyms import Pseudonyms
    from ..workspace import Workspace

Progress = Callable[[str, int, int], None]
PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Compaction:
    """Result of a compaction.

    Attributes:
        snapshot: Id of the resulting snapshot.
        changed: Whether the snapshot is a new one.
        last: Number of the last event processed.
        events: Number of events processed.
        interactions: Interactions added to the snapshot.
        repeated: Events with the same user, item, kind and time as an existing interaction.
        unknown_items: Events about items missing from the snapshot; not merged.
        other: Impressions, dismissals and searches without an item.
        forgotten: Users removed from the snapshot because they were erased in the log.
        pseudonymised: Whether the user ids are pseudonyms now.
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
        """The result as a JSON-serializable dict."""
        return asdict(self)


def compact(workspace: Workspace, log: EventLog, *, pseudonymise: bool = False, progress: Progress = lambda *_: None) -> Compaction:
    """Merge the events that the snapshot does not contain into a new snapshot.

    Args:
        workspace: Workspace to update.
        log: Its event log.
        pseudonymise: Replace all user ids by pseudonyms. If some ids are pseudonyms already, all are replaced; otherwise one person
            would have two ids.
        progress: Called with a description, the number of finished parts and of all parts.

    Raises:
        WorkspaceBusyError, WorkspaceError, StorageError: Nothing was changed.
    """
    with workspace.writing(f"crossaisle events compact -w {workspace.path}"), storage_errors(f"the snapshot in {workspace.path}"):
        first, last = int(workspace.manifest.folded.get(log.identity, 0)), log.last_sequence()
        erased = users_to_erase(workspace, log)
        interactions = workspace.table("interactions")
        kept = interactions.filter(~interactions["user_id"].is_in(sorted(erased))) if erased else interactions
        pseudonyms = _pseudonyms(kept, pseudonymise, log, first, last)
        with workspace.staging() as staging, workspace.staging() as folder:
            parts = InteractionSorter(folder)
            parts.add(with_pseudonyms(kept, pseudonyms))
            items = added_items.items(workspace)["item_id"]
            processed = unknown = other = 0
            for page in _pages(log, first, last):
                new = interactions_of([event for event in page if event.kind in INTERACTIONS and event.item_id is not None])
                known = new.filter(new["item_id"].is_in(items.implode()))
                parts.add(with_pseudonyms(known, pseudonyms))
                processed, other, unknown = processed + len(page), other + len(page) - len(new), unknown + len(new) - len(known)
                progress("folding events", processed, max(last - first, processed))
            result = parts.finish(staging / "interactions.parquet", lambda part, of: progress("sorting interactions", part, of))
            added = result.rows - len(kept)
            before, folded = str(workspace.manifest.snapshot), {**workspace.manifest.folded, log.identity: max(first, last)}
            if added or erased or pseudonyms is not None or added_items.file(workspace).exists():
                copy_tables(workspace, staging, pseudonyms, erased)
                if erased:
                    remove_derived_files(workspace)
                source = workspace.manifest.source
                snapshot = workspace.replace_snapshot(staging, category_level=None, words=None, source=source, folded=folded)
            else:
                snapshot = before
                workspace.record_folded(folded)
    return Compaction(
        snapshot=snapshot,
        changed=snapshot != before,
        last=max(first, last),
        events=processed,
        interactions=added,
        repeated=processed - other - unknown - added,
        unknown_items=unknown,
        other=other,
        forgotten=len(erased),
        pseudonymised=pseudonyms is not None,
    )


def interactions_of(events: list[Event]) -> pl.DataFrame:
    """Interactions table of events; each must have an item and a kind in `INTERACTIONS`."""
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


def _pseudonyms(kept: pl.DataFrame, requested: bool, log: EventLog, first: int, last: int) -> Pseudonyms | None:
    """The mapping for user ids, or None; if any user has a pseudonym, all get one."""
    needed = (
        requested
        or log.pseudonyms is not None
        or any(is_pseudonym(user) for user in kept["user_id"].unique().to_list())
        or any(is_pseudonym(event.user_id) for page in _pages(log, first, last) for event in page)
    )
    return log.hashes if needed else None


def _pages(log: EventLog, first: int, last: int) -> Iterator[list[Event]]:
    """The events with numbers above `first` and up to `last_sequence`."""
    while page := log.events_after(first, PAGE, until=last):
        yield [event for _, event in page]
        first = page[-1][0]
