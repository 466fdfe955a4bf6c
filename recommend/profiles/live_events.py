"""What events add to the snapshot: each user's latest interactions, what was dismissed, and what was searched.

The state is a function of the log alone: whoever replays it from the start, or joins late, or is another process, has the same. It is
carried on event by event and looked at when a user is asked about. What `compact` folded into the snapshot is no longer added; dismissals
and searches, for which a snapshot has no place, are.

Impressions change nothing: that something was shown says nothing about the shopper, and a list that fed on itself would drift.
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

UNFOLDED_KINDS: tuple[EventKind, ...] = ("dismiss", "search")
"""Kinds of event that a snapshot does not hold."""
_PURCHASE, _OWNING = KINDS.index("purchase"), [KINDS.index(kind) for kind in OWNING_KINDS]


@dataclass(frozen=True, slots=True)
class LiveInteraction:
    """One interaction. `sequence`: number of the event in the log. kind: code into `profile.KINDS`. time: milliseconds since 1970."""

    sequence: int
    item_id: str
    kind: int
    time: int


@dataclass(slots=True)
class UserEvents:
    """One user's part. dismissed: item to the number of the event. searched: number, time and text of the latest search in words."""

    interactions: list[LiveInteraction] = field(default_factory=list)
    dismissed: dict[str, int] = field(default_factory=dict)
    last_search: tuple[int, int, str] | None = None


class LiveEvents:
    """The state that a log of events makes on top of a snapshot. One object serves all threads of a process."""

    def __init__(self, folded: int = 0, log: EventLog | None = None, snapshot_at: int = 0) -> None:
        """An empty state.

        Args: folded: number of the last event that the snapshot holds. log: where `catch_up` reads. snapshot_at: when the snapshot was
            made, in milliseconds since 1970: it holds nobody who was forgotten before.
        """
        self.folded, self.log, self.snapshot_at = folded, log, snapshot_at
        self.sequence = 0
        self._forgetting = 0
        self._users: dict[str, UserEvents] = {}
        self._forgotten: set[str] = set()
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._begun = self._ended = 0
        """The last reading that began, and the last that ended well; many threads that wait for one share the next."""

    @classmethod
    def open(cls, workspace: Workspace, log: EventLog) -> LiveEvents:
        """The state of a workspace's log as it is now."""
        live = cls(int(workspace.manifest.folded.get(log.identity, 0)), log, workspace.manifest.snapshot_ms)
        live.catch_up()
        return live

    @classmethod
    def open_if_present(cls, workspace: Workspace, settings: Settings) -> LiveEvents | None:
        """The state of a workspace's log where it has one: an address is set, or `events.db` is there; else None, and nothing is made."""
        if settings.events is None and not (workspace.path / FILE).exists():
            return None
        return cls.open(workspace, EventLog.open(workspace, settings.events, key=settings.pseudonym_key))

    # ------------------------------------------------------------------ carried on

    def catch_up(self) -> int:
        """Takes in what the log holds beyond the last event, whichever process appended it; returns how many events this call took.

        Raises: WorkspaceError: the log cannot be read.
        """
        if self.log is None:
            return 0
        taken, begun = 0, self._begun
        with self._reading:
            if self._ended > begun:
                return 0  # somebody's reading began after this was called, and has ended
            self._begun = mine = self._begun + 1
            while self.sequence < self.folded:
                found = self.log.events_after(self.sequence, until=self.folded, kinds=UNFOLDED_KINDS)
                self._take(found)
                taken += len(found)
                if not found:
                    self.sequence = self.folded
            while found := self.log.events_after(self.sequence):
                self._take(found)
                taken += len(found)
            for one in self.log.erasures_after(self._forgetting):
                self.forget(one)
            self._ended = mine
        return taken

    def _take(self, found: Sequence[tuple[int, Event]]) -> None:
        for sequence, event in found:
            self.apply(event, sequence)

    def apply(self, event: Event, sequence: int | None = None) -> None:
        """Takes in one event.

        Args: sequence: its number in the log; one that is not above the last is not taken twice. None is the number that follows.
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
            elif event.kind in INTERACTIONS and event.item_id is not None and number > self.folded:
                done = LiveInteraction(number, event.item_id, KINDS.index(INTERACTIONS[event.kind]), time)
                self._user(event.user_id).interactions.append(done)

    def forget(self, forgetting: ErasureRecord) -> None:
        """Drops what a user did up to a moment; the user's history in the snapshot is not looked at any more either."""
        assert self.log is not None, "only a log tells who was forgotten"
        with self._lock:
            self._forgetting = max(self._forgetting, forgetting.number)
            if forgetting.timestamp >= self.snapshot_at:
                self._forgotten.add(forgetting.mark)
            for user in [user for user in self._users if self.log.mark(user) == forgetting.mark]:
                old = self._users.pop(user)
                done = [one for one in old.interactions if one.sequence > forgetting.sequence]
                dismissed = {item: number for item, number in old.dismissed.items() if number > forgetting.sequence}
                searched = old.last_search if old.last_search and old.last_search[0] > forgetting.sequence else None
                if done or dismissed or searched:
                    self._users[user] = UserEvents(done, dismissed, searched)

    def _user(self, user_id: str) -> UserEvents:
        return self._users.setdefault(user_id, UserEvents())

    # ------------------------------------------------------------------ looked at

    def history(self, user_id: str, histories: Histories, rows: Mapping[str, int]) -> History | None:
        """A user's interactions in the snapshot and since, oldest first; None for a stranger.

        Args: rows: item id to row; an event of an item that is not there is not seen until it is.
        """
        name = self.stored_user_id(user_id)
        with self._lock:
            visitor = self._users.get(name)
            done = list(visitor.interactions) if visitor else []
        past = None if self._is_forgotten(user_id) else next((histories.of(key) for key in (user_id, name) if key in histories), None)
        if past is None and visitor is None:
            return None
        return merge_history(past or EMPTY_HISTORY, [one for one in done if one.item_id in rows], rows)

    def dismissed(self, user_id: str, rows: Mapping[str, int]) -> NDArray[np.int64]:
        """The rows of what a user dismissed, ascending."""
        with self._lock:
            visitor = self._users.get(self.stored_user_id(user_id))
            return np.asarray(sorted(rows[item] for item in (visitor.dismissed if visitor else ()) if item in rows), dtype=np.int64)

    def recent_search(self, user_id: str, now: int) -> str | None:
        """What a user searched last in words, if that was in the present visit and nothing was bought since; else None.

        Args: now: milliseconds since 1970.
        """
        with self._lock:
            visitor = self._users.get(self.stored_user_id(user_id))
            if visitor is None or visitor.last_search is None:
                return None
            number, time, text = visitor.last_search
            met = any(one.kind == _PURCHASE and one.sequence > number for one in visitor.interactions)
        return None if met or time < now - SESSION_GAP_MS else text

    def state(self) -> dict[str, UserEvents]:
        """All users' parts, by user: what a replay must come to."""
        with self._lock:
            return {user: UserEvents(list(one.interactions), dict(one.dismissed), one.last_search) for user, one in self._users.items()}

    def stored_user_id(self, user_id: str) -> str:
        """What the log calls a user, and whatever else is written down must: the id, or its pseudonym."""
        return self.log.stored_id(user_id) if self.log else user_id

    def _is_forgotten(self, user_id: str) -> bool:
        return bool(self._forgotten) and self.log is not None and self.log.mark(user_id) in self._forgotten


def merge_history(past: History, done: list[LiveInteraction], rows: Mapping[str, int]) -> History:
    """A history with what was done since, in the order of time; what is alike in item, kind and time is there once.

    It is the very history that a snapshot gives after the events were folded into it.
    """
    if not done:
        return past
    new = np.asarray([rows[one.item_id] for one in done], dtype=np.int64)
    kinds = np.asarray([one.kind for one in done], dtype=np.int8)
    times = np.asarray([one.time for one in done], dtype=np.int64)
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
