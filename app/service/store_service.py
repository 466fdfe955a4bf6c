"""One open workspace, shared by the HTTP API and the console and loaded once.

Every method may be called from any thread and returns plain JSON types, the same that the command line prints. The service serializes
what must not run concurrently: questions to the probe (its privacy ledger is a file) and changes of items. It logs every list that it
serves under an id, and takes new events into account in the next list. Knows nothing of HTTP.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

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
from ...recommend.served_list import served_items
from ..schemas.requests import EventRequest, ItemRequest, ProbeRequest, RecommendRequest, WhyRequest
from .build_status import build_steps, latest_reports
from .category_map_json import category_map_to_dict
from .lookup import items_by_prefix, user_interactions, users_by_prefix

T = TypeVar("T")
OnPart = Callable[[dict[str, Any]], None]
"""Callback for a part of a response that is ready before the rest."""
MAX_MATCHES = 50
"""Most users or items that a prefix search returns."""
EVENT_REFRESH_SECONDS = 0.05
"""Longest time for which events of other processes can be missing here."""


class StoreService:
    """All queries and changes of one workspace.

    Args:
        workspace: The indexed workspace.
        settings: Settings of models and storage.
        min_users: Smallest group whose statistics may be shown (k-anonymity threshold; see `Probe`).
        budget: Total privacy budget of the workspace, as the sum of all epsilons.
        report_folders: Output folders of `evaluate` and `judge`, for `quality`.
        events: URL of the event log (`postgresql+psycopg://...`); None for the one in the settings, or the file in the workspace.
        pseudonymise: Whether to store user ids in the event log as keyed hashes only.
        experiment: A/B test whose two configurations known users are split between.

    Raises:
        NoIndexError, StaleIndexError: The workspace must be indexed first.
        SettingsError: `min_users`, `budget` or the URL is invalid.
        MissingExtraError, WorkspaceError, StorageError: The event log cannot be opened.
    """

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
        self.workspace, self.settings, self.min_users = workspace, settings, min_users
        self.recommender = Recommender(workspace, settings, shared=True)
        pseudonyms = Pseudonyms.open(workspace.path, settings.pseudonym_key) if pseudonymise else None
        self.log = EventLog.open(workspace, events or settings.events, pseudonyms=pseudonyms, key=settings.pseudonym_key)
        self.live = self.recommender.live = LiveEvents.open(workspace, self.log)
        self.experiment = experiment
        self._refreshed_at = time.monotonic()
        self._probe = Probe(workspace, settings, min_users=min_users, budget=budget)
        self._probe_lock, self._items_lock = threading.Lock(), threading.Lock()
        self._report_folders = tuple(report_folders)
        self._started_at = time.time()

    @classmethod
    def open(cls, workspace: str | Path, *, llm: str | None = None, settings: Settings | None = None, **options: Any) -> StoreService:
        """Open the workspace in a folder.

        Args:
            workspace: Folder of the workspace.
            llm: Language model instead of the one in the settings; `none` ranks and explains without one.
            settings: Default: the environment.
            **options: Further arguments of the constructor.
        """
        return cls(Workspace(workspace), (settings or Settings.read()).with_(llm=llm), **options)

    # ------------------------------------------------------------------ recommendations

    def recommend(self, request: RecommendRequest, on_ranked: OnPart | None = None, on_explained: OnPart | None = None) -> dict[str, Any]:
        """Recommend items to a shopper, as `recommend --json` prints them, plus the `recommendation_id` that clicks refer to.

        The list is logged as served. A list that was passed to `on_ranked` is logged even if an explanation fails.

        Args:
            request: The query.
            on_ranked: Callback with the ranked list and its `recommendation_id`, before explanations are generated.
            on_explained: Callback with `rank`, `item_id` and `explanation` of each item as it is generated, in any order.

        Raises:
            UnknownUserError, UnknownItemError, EmptyHistoryError, QueryError: The query cannot be answered.
            ModelMissingError: The language model has not been downloaded.
            TimedOutError: The deadline has passed (see `data.deadlines`).
        """
        self._refresh_events()
        catalogue = self.recommender.catalogue
        options, arm = _options(request), None
        if self.experiment is not None and request.user is not None:
            arm = self.experiment.arm(request.user)
            options |= self.experiment.options(request.user)
        recommendation_id, served = new_id(), dict[int, Recommendation]()

        def ranked_to_dict(result: Recommendations) -> dict[str, Any]:
            served.update({recommendation.rank: recommendation for recommendation in result.items})
            return {**to_dict(result), "recommendation_id": recommendation_id}

        def explained_to_dict(recommendation: Recommendation) -> dict[str, Any]:
            served[recommendation.rank] = recommendation
            return explanation_to_dict(recommendation)

        def log_served(items: Sequence[Recommendation]) -> None:
            self.log.append_served_list(request.user, served_items(items, catalogue), arm=arm, key=recommendation_id)

        try:
            result = self._recommend(request, options, _forward(ranked_to_dict, on_ranked), _forward(explained_to_dict, on_explained))
        except CrossaisleError:
            if served:
                log_served([*served.values()])
            raise
        log_served(result.items)
        return {**to_dict(result), "recommendation_id": recommendation_id}

    def preview(self, request: RecommendRequest, on_ranked: OnPart | None = None, on_explained: OnPart | None = None) -> dict[str, Any]:
        """Like `recommend`, but the list is not logged as served: for someone who inspects a shopper's recommendations."""
        self.live.catch_up()
        callbacks = _forward(to_dict, on_ranked), _forward(explanation_to_dict, on_explained)
        return to_dict(self._recommend(request, _options(request), *callbacks))

    def _recommend(
        self,
        request: RecommendRequest,
        options: Mapping[str, Any],
        on_ranked: Callable[[Recommendations], None] | None,
        on_explained: Callable[[Recommendation], None] | None,
    ) -> Recommendations:
        return self.recommender.recommend(
            user_id=request.user,
            items=request.items,
            text=request.text,
            rules=request.rules.rules(),
            k=request.k,
            without=request.without,
            on_ranked=on_ranked,
            on_explained=on_explained,
            **options,
        )

    def why(self, request: WhyRequest) -> dict[str, Any]:
        """Explain why an item is recommended to a shopper or not.

        Raises:
            UnknownUserError, UnknownItemError, EmptyHistoryError, QueryError: The query cannot be answered.
        """
        self._refresh_events()
        return why(
            self.recommender,
            request.item,
            user_id=request.user,
            items=request.items,
            rules=request.rules(),
            k=request.k,
            without=request.without,
            counterfactual=request.counterfactuals,
        ).to_dict()

    def profile(self, user: str) -> dict[str, Any]:
        """The profile of a user.

        Raises:
            UnknownUserError, EmptyHistoryError: Nothing is known about the user.
        """
        self._refresh_events()
        return profile_summary(self.recommender, user)

    def history(self, user: str) -> list[dict[str, Any]]:
        """The interactions of a user, oldest first (see `lookup.user_interactions`)."""
        self._refresh_events()
        return user_interactions(self.recommender, user)

    # ------------------------------------------------------------------ segments and categories

    def probe(self, request: ProbeRequest) -> dict[str, Any]:
        """What a group of shoppers needs next; with `against`, the differences between two groups.

        Raises:
            QueryError: The question was not understood, or matches no users.
            SuppressedError: The group is too small.
            BudgetSpentError: The privacy budget is used up.
        """
        filters = request.filters()
        with self._probe_lock:
            if request.against is not None:
                return self._probe.compare(request.question, request.against, filters=filters, k=request.k, level=request.level).to_dict()
            return self._probe.ask(
                request.question, filters=filters, k=request.k, level=request.level, epsilon=request.epsilon, words=request.words
            ).to_dict()

    def suggested_questions(self) -> list[str]:
        """Example questions about groups of this store that are large enough to answer; can be empty."""
        with self._probe_lock:
            return self._suggested_questions

    @cached_property
    def _suggested_questions(self) -> list[str]:
        return suggested_questions(self._probe)

    def atlas(self, level: int | None = None) -> dict[str, Any]:
        """The category map at a level of the category tree (see `category_map_to_dict`). Raises: QueryError: the level is below 1."""
        with self._probe_lock:
            atlas = self._atlases.get(level)
            if atlas is None:
                category_map = build_category_map(self.workspace, self.settings, level=level, min_users=self.min_users)
                atlas = self._atlases[level] = category_map_to_dict(category_map)
        return atlas

    @cached_property
    def _atlases(self) -> dict[int | None, dict[str, Any]]:
        return {}

    # ------------------------------------------------------------------ events and users

    def record_events(self, events: Sequence[EventRequest]) -> dict[str, int]:
        """Store events, all or none; later recommendations take them into account.

        Returns: The number of `accepted` events, and of events that were `repeated`.

        Raises:
            QueryError: An event is invalid.
            WorkspaceBusyError, WorkspaceError, StorageError: The event log cannot be written.
        """
        appended = self.log.append([Event(**event.model_dump()) for event in events])
        self.live.catch_up()
        return {"accepted": appended.accepted, "repeated": appended.repeated}

    def forget(self, user: str) -> dict[str, Any]:
        """Remove a user from the event log, and from all recommendations from now on. An unknown user is no error.

        Returns: The number of removed `events` and `served` lists; `in_snapshot` is true if the snapshot still contains the user, who is
            removed from it by `crossaisle events forget-user`.
        """
        removed = self.log.forget(user)
        self.live.catch_up()
        in_snapshot = any(user_id in self.recommender.histories for user_id in self.log.known_ids(user))
        return {"events": removed.events, "served": removed.served, "in_snapshot": in_snapshot}

    def _refresh_events(self) -> None:
        """Read the events that other processes recorded."""
        now = time.monotonic()
        if now - self._refreshed_at > EVENT_REFRESH_SECONDS:
            self._refreshed_at = now
            self.live.catch_up()

    # ------------------------------------------------------------------ items, and search by prefix

    def put_items(self, items: Sequence[ItemRequest]) -> dict[str, int]:
        """Add or change items, all or none. They can be recommended when this returns, also after a restart.

        Segment results include them after the next `index`. Requests that are already running do not see them.

        Returns: The number of new items (`added`) and of `changed` ones.

        Raises:
            WorkspaceBusyError: Another process is writing to the workspace.
            StaleIndexError: The snapshot was replaced.
            StorageError: The items cannot be written.
        """
        records = [Item(**{**item.model_dump(), "category": tuple(item.category)}) for item in items]
        with self._items_lock:
            self.recommender, added, changed = self.recommender.with_items(records)
        return {"added": added, "changed": changed}

    def find_users(self, prefix: str = "", limit: int = MAX_MATCHES) -> list[str]:
        """Ids of users that start with `prefix` (see `lookup.users_by_prefix`)."""
        self._refresh_events()
        return users_by_prefix(self.recommender, self.live, prefix, min(limit, MAX_MATCHES))

    def find_items(self, prefix: str = "", limit: int = MAX_MATCHES) -> list[dict[str, Any]]:
        """Items whose id, title or a word of the title starts with `prefix` (see `lookup.items_by_prefix`)."""
        return items_by_prefix(self.recommender.catalogue.items, prefix, min(limit, MAX_MATCHES))

    # ------------------------------------------------------------------ state of the service

    def quality(self) -> dict[str, Any]:
        """The latest evaluation and judge reports, the build steps of the workspace, and the health of the service."""
        return {**latest_reports(self.workspace, self._report_folders), "built": build_steps(self.workspace), "health": self.health()}

    def health(self) -> dict[str, Any]:
        """Status, version, and what the service answers from."""
        manifest, recommender = self.workspace.manifest, self.recommender
        return {
            "status": "ok",
            "version": __version__,
            "snapshot": manifest.snapshot,
            "items": len(recommender.catalogue),
            "users": len(recommender.histories),
            "item_noun": manifest.item_noun,
            "llm": self.settings.llm_name or "none",
            "trained": recommender.blend_ranker.trained,
            "uptime_seconds": round(time.time() - self._started_at),
        }

    def load_models(self) -> None:
        """Load the models that the first request would load otherwise.

        Raises:
            ModelMissingError, ModelError: The embedder or the language model cannot be loaded.
        """
        self.recommender.warm()

    def close(self) -> None:
        """Close files and connections. All running requests must have finished."""
        self.recommender.close()
        self.log.close()


def _forward(convert: Callable[[T], dict[str, Any]], callback: OnPart | None) -> Callable[[T], None] | None:
    """A callback that converts its argument to JSON for `callback`; None if there is none."""
    return None if callback is None else lambda part: callback(convert(part))


def _options(request: RecommendRequest) -> dict[str, Any]:
    """The options of a request that an A/B test may override."""
    return {name: getattr(request, name) for name in ("novelty", "new_items", "new_up_to", "explain", "tone", "length", "audience")}
