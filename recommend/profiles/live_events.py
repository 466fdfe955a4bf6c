"""Live events on top of the snapshot: each user's new interactions, dismissals and searches.

The state is a function of the event log alone: a process that replays the log from the start, or joins late, has the same state. It is
updated event by event and read per request. Interactions that `compact` folded into the snapshot are not added again; dismissals and
searches, which a snapshot does not store, are.

Impressions do not change the state: that an item was shown says nothing about the user, and a list that influenced itself would drift.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...data.events import EventLog
from ...data.events.database import FILE
from ...data.events.records import INTERACTIONS, ErasureRecord, Event, EventKind
from ...data.records import OWNING_KINDS
from ...retrieval.items.interactions import NEVER
from .histories import EMPTY_HISTORY, Histories, History
from .profile import KINDS, SESSION_GAP_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.settings import Settings
    from ...data.workspace import Workspace

UNFOLDED_KINDS: tuple[EventKind, ...] = ("dismiss", "search", "purchase")
"""Kinds of event that change more than what a snapshot stores: a purchase ends a search."""
_PURCHASE, _OWNING = KINDS.index("purchase"), [KINDS.index(kind) for kind in OWNING_KINDS]


@dataclass(frozen=True, slots=True)
class LiveInteraction:
    """One interaction.

    Attributes:
        sequence: number of the event in the log.
        item_id: the item.
        kind: code into `profile.KINDS`.
        time: milliseconds since 1970, or `NEVER`.
    """

    sequence: int
    item_id: str
    kind: int
    time: int


@dataclass(slots=True)
class UserEvents:
    """State of one user.

    Attributes:
        interactions: since the snapshot, in the order of the log.
        dismissed: item id to the number of the event.
        last_search: number, time and text of the latest text search, if nothing was bought since.
    """

    interactions: list[LiveInteraction] = field(default_factory=list)
    dismissed: dict[str, int] = field(default_factory=dict)
    last_search: tuple[int, int, str] | None = None


class LiveEvents:
    """State of an event log on top of a snapshot. Thread-safe; one object per process."""

    def __init__(self, folded: int = 0, log: EventLog | None = None, snapshot_at: int = 0) -> None:
        """Create an empty state.

        Args:
            folded: number of the last event in the snapshot.
            log: read by `catch_up`.
            snapshot_at: creation time of the snapshot in milliseconds since 1970; users erased before are not in it.
        """
        self.folded, self.log, self.snapshot_at = folded, log, snapshot_at
        self.sequence = 0
        self._last_erasure = 0
        self._users: dict[str, UserEvents] = {}
        self._forgotten: set[str] = set()
        self._lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._reads_started = self._reads_finished = 0
        """Numbers of the last read that started, and of the last that succeeded; threads that wait for a read share the next one."""

    @classmethod
    def open(cls, workspace: Workspace, log: EventLog) -> LiveEvents:
        """Read the current state of a workspace's log."""
        live = cls(int(workspace.manifest.folded.get(log.identity, 0)), log, workspace.manifest.snapshot_ms)
        live.catch_up()
        return live

    @classmethod
    def open_if_present(cls, workspace: Workspace, settings: Settings) -> LiveEvents | None:
        """Read the state of a workspace's log, if it has one: a URL in the settings, or the file `events.db`. Creates nothing."""
        if settings.events is None and not (workspace.path / FILE).exists():
            return None
        return cls.open(workspace, EventLog.open(workspace, settings.events, key=settings.pseudonym_key))

    # ------------------------------------------------------------------ updates

    def catch_up(self) -> int:
        """Apply all new events of the log, of any process; return how many this call applied.

        Raises: WorkspaceError: the log cannot be read.
        """
        if self.log is None:
            return 0
        applied, started = 0, self._reads_started
        with self._read_lock:
            if self._reads_finished > started:
                return 0  # another thread's read started after this call and has finished
            self._reads_started = current = self._reads_started + 1
            while self.sequence < self.folded:
                events = self.log.events_after(self.sequence, until=self.folded, kinds=UNFOLDED_KINDS)
                applied += self._apply_all(events)
                if not events:
                    self.sequence = self.folded
            while events := self.log.events_after(self.sequence):
                applied += self._apply_all(events)
            for erasure in self.log.erasures_after(self._last_erasure):
                self.forget(erasure)
            self._reads_finished = current
        return applied

    def _apply_all(self, events: Sequence[tuple[int, Event]]) -> int:
        for sequence, event in events:
            self.apply(event, sequence)
        return len(events)

    def apply(self, event: Event, sequence: int | None = None) -> None:
        """Apply one event.

        Args:
            event: the event.
            sequence: its number in the log; an event that was already applied is ignored. None is the next number.
        """
        with self._lock:
            number = self.sequence + 1 if sequence is None else sequence
            if number <= self.sequence:
                return
            self.sequence = number
            time = NEVER if event.timestamp is None else event.timestamp
            if event.kind == "dismiss" and event.item_id is not None:
                self._user(event.user_id).dismissed[event.item_id] = number
            elif event.kind == "search" and event.item_id is None and event.text:
                self._user(event.user_id).last_search = (number, time, event.text)
            if event.kind == "purchase" and event.user_id in self._users:
                self._users[event.user_id].last_search = None
            if event.kind in INTERACTIONS and event.item_id is not None and number > self.folded:
                interaction = LiveInteraction(number, event.item_id, KINDS.index(INTERACTIONS[event.kind]), time)
                self._user(event.user_id).interactions.append(interaction)

    def forget(self, erasure: ErasureRecord) -> None:
        """Erase a user's events up to the erasure, and ignore the user's history in the snapshot from now on."""
        assert self.log is not None, "erasures come from a log"
        with self._lock:
            self._last_erasure = max(self._last_erasure, erasure.number)
            if erasure.timestamp >= self.snapshot_at:
                self._forgotten.add(erasure.mark)
            for user in [user for user in self._users if self.log.mark(user) == erasure.mark]:
                erased = self._users.pop(user)
                interactions = [interaction for interaction in erased.interactions if interaction.sequence > erasure.sequence]
                dismissed = {item: number for item, number in erased.dismissed.items() if number > erasure.sequence}
                last_search = erased.last_search if erased.last_search and erased.last_search[0] > erasure.sequence else None
                if interactions or dismissed or last_search:
                    self._users[user] = UserEvents(interactions, dismissed, last_search)

    def _user(self, user_id: str) -> UserEvents:
        return self._users.setdefault(user_id, UserEvents())

    # ------------------------------------------------------------------ reads

    def history(self, user_id: str, histories: Histories, rows: Mapping[str, int]) -> History | None:
        """Return the interactions of a user in the snapshot and since, oldest first; None for an unknown user.

        Args:
            user_id: the user.
            histories: of the snapshot.
            rows: item id to row; events of other items are left out.
        """
        stored_id = self.stored_user_id(user_id)
        with self._lock:
            user = self._users.get(stored_id)
            interactions = list(user.interactions) if user else []
        past = None
        if not self._is_forgotten(user_id):
            past = next((histories.of(key) for key in (user_id, stored_id) if key in histories), None)
        if past is None and user is None:
            return None
        return merge_history(past or EMPTY_HISTORY, [interaction for interaction in interactions if interaction.item_id in rows], rows)

    def dismissed(self, user_id: str, rows: Mapping[str, int]) -> NDArray[np.int64]:
        """Return the rows of the items that a user dismissed, ascending."""
        with self._lock:
            user = self._users.get(self.stored_user_id(user_id))
            return np.asarray(sorted(rows[item] for item in (user.dismissed if user else ()) if item in rows), dtype=np.int64)

    def recent_search(self, user_id: str, now: int) -> str | None:
        """Return the user's last text search, if it was in the current session and nothing was bought since; else None.

        Args:
            user_id: the user.
            now: milliseconds since 1970.
        """
        with self._lock:
            user = self._users.get(self.stored_user_id(user_id))
            if user is None or user.last_search is None:
                return None
            _, time, text = user.last_search
        return None if time < now - SESSION_GAP_MS else text

    def state(self) -> dict[str, UserEvents]:
        """Return a copy of the state by user, as a replay of the log must reproduce it."""
        with self._lock:
            return {
                user_id: UserEvents(list(user.interactions), dict(user.dismissed), user.last_search)
                for user_id, user in self._users.items()
            }

    def stored_user_id(self, user_id: str) -> str:
        """Return the id of a user in everything that is stored: the id itself, or its pseudonym."""
        return self.log.stored_id(user_id) if self.log else user_id

    def _is_forgotten(self, user_id: str) -> bool:
        return bool(self._forgotten) and self.log is not None and self.log.mark(user_id) in self._forgotten


def merge_history(past: History, interactions: list[LiveInteraction], rows: Mapping[str, int]) -> History:
    """Return a history with new interactions, in the order of time, without duplicates in item, kind and time.

    It equals the history in a snapshot that the events are folded into.
    """
    if not interactions:
        return past
    new = np.asarray([rows[interaction.item_id] for interaction in interactions], dtype=np.int64)
    kinds = np.asarray([interaction.kind for interaction in interactions], dtype=np.int8)
    times = np.asarray([interaction.time for interaction in interactions], dtype=np.int64)
    columns = (
        np.concatenate([past.rows, new]),
        np.concatenate([past.owned, np.isin(kinds, _OWNING)]),
        np.concatenate([past.bought, kinds == _PURCHASE]),
        np.concatenate([past.kinds, kinds]),
        np.concatenate([past.times, times]),
    )
    order = np.argsort(columns[4], kind="stable")
    row, _, _, kind, time = (column[order] for column in columns)
    _, first = np.unique(np.stack([row, kind.astype(np.int64), time]), axis=1, return_index=True)
    kept = np.sort(np.concatenate([first, np.setdiff1d(np.flatnonzero(time == NEVER), first)]))
    return History(*(column[order][kept] for column in columns))
