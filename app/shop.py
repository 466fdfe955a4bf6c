"""One open workspace that all doors share: the API and the console ask it, and it is loaded once.

Every method may be called from any thread and answers plain JSON types, the same that the command line prints. What needs an order
of its own is kept here: one question to the probe at a time (its privacy ledger is a file), one writer of items. Knows nothing of HTTP.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..data.errors import UnknownUserError
from ..data.privacy import MIN_USERS
from ..data.settings import Settings
from ..data.workspace import Workspace
from ..recommend.answer import to_dict
from ..recommend.atlas import build
from ..recommend.portrait import portrait
from ..recommend.probe import BUDGET, Probe
from ..recommend.recommender import Recommender
from ..recommend.why import why
from .requests import ProbeRequest, RecommendRequest, WhyRequest
from .reports import built, reports

if TYPE_CHECKING:
    from ..recommend.atlas import Atlas

LISTED = 50
"""Users or items that a search for a beginning lists at most."""


class Shop:
    """What can be asked of one workspace; `Shop.open(path)` makes one."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        *,
        min_users: int = MIN_USERS,
        budget: float = BUDGET,
        evaluations: Sequence[Path] = (),
    ) -> None:
        """Args: min_users, budget: of answers about groups (see `Probe`). evaluations: folders that reports were written to.

        Raises: NoIndexError, StaleIndexError: the workspace must be indexed first. SettingsError: min_users or budget mean nothing.
        """
        self.workspace, self.settings, self.min_users = workspace, settings, min_users
        self.recommender = Recommender(workspace, settings)
        self._probe = Probe(workspace, settings, min_users=min_users, budget=budget)
        self._probing = threading.Lock()
        self._evaluations = tuple(evaluations)
        self._since = time.time()

    @classmethod
    def open(cls, workspace: str | Path, *, llm: str | None = None, settings: Settings | None = None, **options: Any) -> Shop:
        """The shop of a workspace.

        Args: llm: overrides the settings' model; `none` ranks and explains without one. options: as the constructor has them.
        Raises: NoWorkspaceError, NoIndexError, StaleIndexError, SettingsError
        """
        return cls(Workspace(workspace), (settings or Settings.read()).with_(llm=llm), **options)

    # ------------------------------------------------------------------ one shopper

    def recommend(self, asked: RecommendRequest) -> dict[str, Any]:
        """What a shopper would want next and why, as `recommend --json` has it.

        Raises: UnknownUserError, UnknownItemError, EmptyHistoryError, QueryError; ModelMissingError: the LLM was not pulled.
        """
        found = self.recommender.recommend(
            user_id=asked.user,
            items=asked.items,
            text=asked.text,
            rules=asked.rules.rules(),
            k=asked.k,
            novelty=asked.novelty,
            new_items=asked.new_items,
            explain=asked.explain,
            without=asked.without,
            tone=asked.tone,
            length=asked.length,
        )
        return to_dict(found)

    def why(self, asked: WhyRequest) -> dict[str, Any]:
        """Why an item is recommended to a shopper, or why not.

        Raises: UnknownUserError, UnknownItemError, EmptyHistoryError, QueryError
        """
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
        return portrait(self.recommender, user)

    def history(self, user: str) -> list[dict[str, Any]]:
        """A user's interactions, oldest first: item_id, title, category, kind, timestamp (None where there is no clock).

        Raises: UnknownUserError
        """
        from ..recommend.profile import KINDS
        from ..retrieval.events import NEVER

        recommender = self.recommender
        if user not in recommender.histories:
            raise UnknownUserError(f"user {user!r} is not among the {len(recommender.histories):,} of this workspace")
        past = recommender.histories.of(user)
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
        with self._probing:
            if asked.against is not None:
                return self._probe.compare(asked.question, asked.against, filters=asked.filters(), k=asked.k, level=asked.level).to_dict()
            return self._probe.ask(
                asked.question, filters=asked.filters(), k=asked.k, level=asked.level, epsilon=asked.epsilon, words=asked.words
            ).to_dict()

    def suggestions(self, limit: int = 8) -> list[str]:
        """Questions to begin with: the names of the categories that most users of the store went to, of which enough can be told."""
        catalogue = self.recommender.catalogue
        most = sorted(range(len(catalogue.categories)), key=lambda code: -int(catalogue.category_users[code]))
        named = [catalogue.categories[code] for code in most if catalogue.category_users[code] >= self.min_users]
        return [name.lower() for name in dict.fromkeys(named) if name][:limit]

    def atlas(self, level: int | None = None) -> dict[str, Any]:
        """What every category does for every other: `categories` with their users, and `pairs` whose figures may be told.

        Raises: QueryError: a level below 1.
        """
        with self._probing:
            found = self._atlases.get(level)
            if found is None:
                found = self._atlases[level] = _atlas(build(self.workspace, self.settings, level=level, min_users=self.min_users))
        return found

    @cached_property
    def _atlases(self) -> dict[int | None, dict[str, Any]]:
        return {}

    # ------------------------------------------------------------------ looking up

    def users(self, prefix: str = "", limit: int = LISTED) -> list[str]:
        """Ids of users that begin so, at most `limit`, in the order of the snapshot."""
        return list(islice((user for user in self.recommender.histories if user.startswith(prefix)), min(limit, LISTED)))

    def find_items(self, prefix: str = "", limit: int = LISTED) -> list[dict[str, Any]]:
        """Items whose id, title or a word of the title begins so, without regard to case: item_id, title, category, price, image."""
        import polars as pl

        items, wanted = self.recommender.catalogue.items, prefix.strip().lower()
        title = pl.col("title").str.to_lowercase()
        begins = title.str.starts_with(wanted)
        inside = begins | title.str.contains(f" {wanted}", literal=True) | pl.col("item_id").str.to_lowercase().str.starts_with(wanted)
        columns = [name for name in ("item_id", "title", "category", "price", "image") if name in items.columns]
        # What begins so comes before what has it further inside.
        found = items.filter(inside).sort(begins.filter(inside), descending=True, maintain_order=True) if wanted else items
        return [{**row, "category": list(row["category"] or ())} for row in found.head(min(limit, LISTED)).select(columns).to_dicts()]

    # ------------------------------------------------------------------ the shop itself

    def quality(self) -> dict[str, Any]:
        """The last evaluation and judge's report, what was built when, and the shop's health."""
        return {**reports(self.workspace, self._evaluations), "built": built(self.workspace), "health": self.health()}

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
            "trained": recommender.trained is not None,
            "uptime_seconds": round(time.time() - self._since),
        }

    def warm(self) -> None:
        """Loads what would otherwise be loaded by the first request; a shop that cannot do that is not opened for customers.

        Raises: ModelMissingError, ModelError: the embedder or the LLM cannot be had.
        """
        self.recommender.warm()

    def close(self) -> None:
        """Frees files and connections."""
        self.recommender.index.close()


def _atlas(found: Atlas) -> dict[str, Any]:
    """An atlas as JSON: categories, and the pairs of which figures may be told, strongest first."""
    import numpy as np

    rows, columns = np.nonzero(np.isfinite(found.lift))
    order = np.argsort(-found.low[rows, columns], kind="stable")
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
                "lift_interval": [_number(found.low[at]), _number(found.high[at])],
                "sure": bool(found.sure[at]),
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
