"""One open workspace that all doors share: the API and the console ask it, and it is loaded once.

Every method may be called from any thread and answers plain JSON types, the same that the command line prints. What needs an order
of its own is kept here: one question to the probe at a time (its privacy ledger is a file), one writer of items. Every list that is
given out is logged with an id, and what shoppers do is known to the next list. Knows nothing of HTTP.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ... import __version__
from ...data.ab_tests import Experiment
from ...data.errors import CrossaisleError
from ...data.events import Event, EventLog
from ...data.events.records import new_id
from ...data.privacy.disclosure import MIN_USERS
from ...data.privacy.pseudonyms import Pseudonyms
from ...data.records import Item, Recommendation, Recommendations
from ...data.settings import Settings
from ...data.workspace import Workspace
from ...recommend.attribution.profile_summary import profile_summary
from ...recommend.attribution.why import why
from ...recommend.category_map.matrix import build_category_map
from ...recommend.profiles.live_events import LiveEvents
from ...recommend.recommender import Recommender
from ...recommend.segments.example_questions import suggested_questions
from ...recommend.segments.probe import DEFAULT_BUDGET, Probe
from ...recommend.serialization import explanation_to_dict, to_dict
from ...recommend.served_list import shown_items
from ..schemas.requests import EventRequest, ItemRequest, ProbeRequest, RecommendRequest, WhyRequest
from .build_status import build_steps, latest_reports

if TYPE_CHECKING:
    from ...recommend.category_map.matrix import CategoryMap

T = TypeVar("T")
OnPart = Callable[[dict[str, Any]], None]
"""Takes a part of an answer that is there before the rest."""
MAX_MATCHES = 50
"""Users or items that a search for a beginning lists at most."""
EVENT_REFRESH_SECONDS = 0.05
"""Seconds for which what other processes recorded may be unseen here."""


class StoreService:
    """What can be asked of one workspace; `StoreService.open(path)` makes one."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        *,
        min_users: int = MIN_USERS,
        budget: float = DEFAULT_BUDGET,
        report_folders: Sequence[Path] = (),
        events: str | None = None,
        pseudonymise: bool = False,
        experiment: Experiment | None = None,
    ) -> None:
        """A shop over a workspace.

        Args:
            min_users, budget: of answers about groups (see `Probe`). evaluations: folders that reports were written to.
            events: `postgresql+psycopg://...` of the log of events; None is the settings' own, or the file in the workspace.
            pseudonymise: keeps user ids in the log as keyed hashes only. experiment: two configurations, one of which a known user gets.
        Raises:
            NoIndexError, StaleIndexError: the workspace must be indexed first. SettingsError: min_users, budget or the URL mean nothing.
            MissingExtraError, WorkspaceError, StorageError: the log cannot be opened.
        """
        self.workspace, self.settings, self.min_users = workspace, settings, min_users
        self.recommender = Recommender(workspace, settings, shared=True)
        hidden = Pseudonyms.open(workspace.path, settings.pseudonym_key) if pseudonymise else None
        self.log = EventLog.open(workspace, events or settings.events, pseudonyms=hidden, key=settings.pseudonym_key)
        self.live = self.recommender.live = LiveEvents.open(workspace, self.log)
        self.experiment = experiment
        self._refreshed_at = time.monotonic()
        self._probe = Probe(workspace, settings, min_users=min_users, budget=budget)
        self._probe_lock, self._items_lock = threading.Lock(), threading.Lock()
        self._report_folders = tuple(report_folders)
        self._started_at = time.time()

    @classmethod
    def open(cls, workspace: str | Path, *, llm: str | None = None, settings: Settings | None = None, **options: Any) -> StoreService:
        """The shop of a workspace.

        Args: llm: overrides the settings' model; `none` ranks and explains without one. options: as the constructor has them.
        Raises: NoWorkspaceError, NoIndexError, StaleIndexError, SettingsError
        """
        return cls(Workspace(workspace), (settings or Settings.read()).with_(llm=llm), **options)

    # ------------------------------------------------------------------ one shopper

    def recommend(self, asked: RecommendRequest, on_ranked: OnPart | None = None, on_explained: OnPart | None = None) -> dict[str, Any]:
        """What a shopper would want next and why, as `recommend --json` has it, with the `recommendation_id` that clicks then name.

        A list that `listed` was told has been shown, and is logged, also where the rest comes to nothing.

        Args:
            listed: is told the list as soon as it stands, before there are reasons; it has its `recommendation_id` by then.
            worded: is told `rank`, `item_id` and `explanation` as soon as one stands; the order need not be the list's.
        Raises: UnknownUserError, UnknownItemError, EmptyHistoryError, QueryError; ModelMissingError: the LLM was not pulled.
            TimedOutError: the deadline of the work at hand is over (see `data.deadlines`).
        """
        self._refresh_events()
        recommender = self.recommender
        wanted = _options(asked)
        arm = None
        if self.experiment is not None and asked.user is not None:
            arm = self.experiment.arm(asked.user)
            wanted |= self.experiment.options(asked.user)
        key, out = new_id(), dict[int, Recommendation]()

        def the_list(answer: Recommendations) -> dict[str, Any]:
            out.update({one.rank: one for one in answer.items})
            return {**to_dict(answer), "recommendation_id": key}

        def the_reason(one: Recommendation) -> dict[str, Any]:
            out[one.rank] = one
            return explanation_to_dict(one)

        try:
            found = self._recommend(asked, wanted, _callback(the_list, on_ranked), _callback(the_reason, on_explained))
        except CrossaisleError:
            if out:
                self.log.append_served_list(asked.user, shown_items([*out.values()], recommender.catalogue), arm=arm, key=key)
            raise
        self.log.append_served_list(asked.user, shown_items(found.items, recommender.catalogue), arm=arm, key=key)
        return {**to_dict(found), "recommendation_id": key}

    def preview(self, asked: RecommendRequest, on_ranked: OnPart | None = None, on_explained: OnPart | None = None) -> dict[str, Any]:
        """The list for somebody who looks at a shopper, as `recommend` has it, but it is not recorded as served.

        Args: listed, worded, Raises: as `recommend` has them.
        """
        self.live.catch_up()
        return to_dict(self._recommend(asked, _options(asked), _callback(to_dict, on_ranked), _callback(explanation_to_dict, on_explained)))

    def _recommend(
        self,
        asked: RecommendRequest,
        wanted: Mapping[str, Any],
        on_ranked: Callable[[Recommendations], None] | None,
        on_explained: Callable[[Recommendation], None] | None,
    ) -> Recommendations:
        return self.recommender.recommend(
            user_id=asked.user,
            items=asked.items,
            text=asked.text,
            rules=asked.rules.rules(),
            k=asked.k,
            without=asked.without,
            on_ranked=on_ranked,
            on_explained=on_explained,
            **wanted,
        )

    def why(self, asked: WhyRequest) -> dict[str, Any]:
        """Why an item is recommended to a shopper, or why not.

        Raises: UnknownUserError, UnknownItemError, EmptyHistoryError, QueryError
        """
        self._refresh_events()
        found = why(
            self.recommender,
            asked.item,
            user_id=asked.user,
            items=asked.items,
            rules=asked.rules(),
            k=asked.k,
            without=asked.without,
            counterfactual=asked.counterfactuals,
        )
        return found.to_dict()

    def profile(self, user: str) -> dict[str, Any]:
        """What is known of a shopper.

        Raises: UnknownUserError, EmptyHistoryError
        """
        self._refresh_events()
        return profile_summary(self.recommender, user)

    def history(self, user: str) -> list[dict[str, Any]]:
        """A user's interactions, oldest first: item_id, title, category, kind, timestamp (None where there is no clock).

        Raises: UnknownUserError
        """
        from ...recommend.profiles.profile import KINDS
        from ...retrieval.items.interactions import NEVER

        self._refresh_events()
        recommender = self.recommender
        past = recommender.history(user)
        return [
            {
                "item_id": item.item_id,
                "title": item.title,
                "category": list(item.category),
                "kind": KINDS[kind],
                "timestamp": None if moment == NEVER else moment,
            }
            for item, kind, moment in zip(
                recommender.catalogue.records(past.rows.tolist()), past.kinds.tolist(), past.times.tolist(), strict=True
            )
        ]

    # ------------------------------------------------------------------ many shoppers

    def probe(self, asked: ProbeRequest) -> dict[str, Any]:
        """What a group of shoppers needs next; with `against`, where two groups differ.

        Raises: QueryError, SuppressedError, BudgetSpentError
        """
        with self._probe_lock:
            if asked.against is not None:
                return self._probe.compare(asked.question, asked.against, filters=asked.filters(), k=asked.k, level=asked.level).to_dict()
            return self._probe.ask(
                asked.question, filters=asked.filters(), k=asked.k, level=asked.level, epsilon=asked.epsilon, words=asked.words
            ).to_dict()

    def suggested_questions(self) -> list[str]:
        """Questions about people to begin with, that this store understands and enough shoppers stand behind; may be none."""
        with self._probe_lock:
            return self._suggested_questions

    @cached_property
    def _suggested_questions(self) -> list[str]:
        return suggested_questions(self._probe)

    def atlas(self, level: int | None = None) -> dict[str, Any]:
        """What every category does for every other: `categories` with their users, and `pairs` whose figures may be told.

        Raises: QueryError: a level below 1.
        """
        with self._probe_lock:
            found = self._atlases.get(level)
            if found is None:
                found = self._atlases[level] = _category_map(build_category_map(self.workspace, self.settings, level=level, min_users=self.min_users))
        return found

    @cached_property
    def _atlases(self) -> dict[int | None, dict[str, Any]]:
        return {}

    # ------------------------------------------------------------------ what shoppers do

    def record_events(self, told: Sequence[EventRequest]) -> dict[str, int]:
        """Keeps events, all or none: how many were `accepted`, and how many were `repeated` ones. The next answers know them.

        Raises: QueryError: an event is off. WorkspaceBusyError, WorkspaceError, StorageError: the log cannot be written.
        """
        done = self.log.append([Event(**one.model_dump()) for one in told])
        self.live.catch_up()
        return {"accepted": done.accepted, "repeated": done.repeated}

    def forget(self, user: str) -> dict[str, Any]:
        """Removes a shopper from the log, and from every answer from now on; one that was never there is no error.

        Returns: `events` and `served` that were removed; `in_snapshot`: whether the files that the store was read from still hold the
            person, out of which `crossaisle events forget-user` takes them.
        """
        done = self.log.forget(user)
        self.live.catch_up()
        there = any(name in self.recommender.histories for name in self.log.known_ids(user))
        return {"events": done.events, "served": done.served, "in_snapshot": there}

    def _refresh_events(self) -> None:
        """Takes in what other processes recorded meanwhile."""
        now = time.monotonic()
        if now - self._refreshed_at > EVENT_REFRESH_SECONDS:
            self._refreshed_at = now
            self.live.catch_up()

    # ------------------------------------------------------------------ what is on offer

    def put_items(self, items: Sequence[ItemRequest]) -> dict[str, int]:
        """Adds items or changes them, all or none: how many are new (`added`) and how many were there (`changed`).

        They can be recommended when this returns, also after a restart. Answers about groups of shoppers have them after the next `index`,
        and so do figures: nobody had them yet. Requests that are under way go by what was there when they began.
        Raises: WorkspaceBusyError: another process is writing. StaleIndexError: the snapshot was replaced meanwhile. StorageError.
        """
        records = [Item(**{**item.model_dump(), "category": tuple(item.category)}) for item in items]
        with self._items_lock:
            self.recommender, new, changed = self.recommender.with_items(records)
        return {"added": new, "changed": changed}

    # ------------------------------------------------------------------ looking up

    def find_users(self, prefix: str = "", limit: int = MAX_MATCHES) -> list[str]:
        """Ids of users that begin so, at most `limit`: in the order of the snapshot, then one that only events know; nobody forgotten."""
        self._refresh_events()
        recommender, live = self.recommender, self.live
        begin = (user for user in (*recommender.histories, prefix) if user and user.startswith(prefix))
        there = (user for user in dict.fromkeys(begin) if live.history(user, recommender.histories, recommender.catalogue.rows) is not None)
        return list(islice(there, min(limit, MAX_MATCHES)))

    def find_items(self, prefix: str = "", limit: int = MAX_MATCHES) -> list[dict[str, Any]]:
        """Items whose id, title or a word of the title begins so, without regard to case: item_id, title, category, price, image."""
        import polars as pl

        items, wanted = self.recommender.catalogue.items, prefix.strip().lower()
        title = pl.col("title").str.to_lowercase()
        begins = title.str.starts_with(wanted)
        inside = begins | title.str.contains(f" {wanted}", literal=True) | pl.col("item_id").str.to_lowercase().str.starts_with(wanted)
        columns = [name for name in ("item_id", "title", "category", "price", "image") if name in items.columns]
        # What begins so comes before what has it further inside.
        found = items.filter(inside).sort(begins.filter(inside), descending=True, maintain_order=True) if wanted else items
        return [{**row, "category": list(row["category"] or ())} for row in found.head(min(limit, MAX_MATCHES)).select(columns).to_dicts()]

    # ------------------------------------------------------------------ the shop itself

    def quality(self) -> dict[str, Any]:
        """The last evaluation and judge's report, what was built when, and the shop's health."""
        return {**latest_reports(self.workspace, self._report_folders), "built": build_steps(self.workspace), "health": self.health()}

    def health(self) -> dict[str, Any]:
        """Whether what answers needs is there, in a few figures."""
        recommender = self.recommender
        return {
            "status": "ok",
            "version": __version__,
            "snapshot": self.workspace.manifest.snapshot,
            "items": len(recommender.catalogue),
            "users": len(recommender.histories),
            "item_noun": self.workspace.manifest.item_noun,
            "llm": self.settings.llm,
            "trained": recommender.blend_ranker is not None,
            "uptime_seconds": round(time.time() - self._started_at),
        }

    def load_models(self) -> None:
        """Loads what would otherwise be loaded by the first request; a shop that cannot do that is not opened for customers.

        Raises: ModelMissingError, ModelError: the embedder or the LLM cannot be had.
        """
        self.recommender.warm()

    def close(self) -> None:
        """Frees files and connections; what was taken has been answered by then."""
        self.recommender.close()
        self.log.close()


def _category_map(found: CategoryMap) -> dict[str, Any]:
    """An atlas as JSON: categories, and the pairs of which figures may be told, strongest first."""
    import numpy as np

    rows, columns = np.nonzero(np.isfinite(found.lift))
    order = np.argsort(-found.lift_low[rows, columns], kind="stable")
    return {
        "categories": [{"name": list(path), "users": int(users)} for path, users in zip(found.paths, found.users, strict=True)],
        "pairs": [
            {
                "source": int(rows[i]),
                "target": int(columns[i]),
                "users": int(found.support[at]),
                "share": _number(found.share[at]),
                "base_rate": _number(found.base_rate[at]),
                "lift": _number(found.lift[at]),
                "lift_interval": [_number(found.lift_low[at]), _number(found.lift_high[at])],
                "sure": bool(found.significant[at]),
            }
            for i in order.tolist()
            for at in [(rows[i], columns[i])]
        ],
        "order": found.order,
        "window": found.window,
        "verb": found.verb,
        "suppressed": found.suppressed,
        "privacy": {"min_users": found.min_users},
    }


def _number(value: Any) -> float | None:
    """A figure with four digits behind the point; None where it is not finite, which JSON cannot hold."""
    import math

    return round(float(value), 4) if math.isfinite(value) else None


def _callback(make: Callable[[T], dict[str, Any]], tell: OnPart | None) -> Callable[[T], None] | None:
    """What makes a part of an answer and tells it; None where nobody wants it."""
    return None if tell is None else lambda found: tell(make(found))


def _options(asked: RecommendRequest) -> dict[str, Any]:
    """What of a request an experiment may set otherwise."""
    return {name: getattr(asked, name) for name in ("novelty", "new_items", "new_up_to", "explain", "tone", "length")}
