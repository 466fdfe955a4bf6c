"""A query in, explained recommendations out: history, candidates, the LLM's margins, fusion, rules, reasons.

query -> seeds -> candidates (retrieval) -> margins (llm) -> fused order -> rules on the list -> evidence -> explanations
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data import deadlines
from ..data.errors import EmptyHistoryError, QueryError, UnknownUserError
from ..data.events.records import now_ms
from ..data.records import Candidate, Explanation, Item, Query, Recommendation, Recommendations, Rules
from ..data.settings import Settings
from ..data.workspace import Workspace
from ..llm.explain.briefs import LENGTHS, TONES, Tone
from ..llm.explain.constrained_decoding import Length
from ..llm.explain.entailment import EntailmentModel
from ..llm.explain.explainer import Explainer
from ..llm.explain.reasons import Reason
from ..llm.models.language_model import LanguageModel
from ..llm.ranking.ranker import Ranker
from ..llm.ranking.request_batching import PackBatcher
from ..prompts.sanitize import sanitize_for_prompt
from ..retrieval.associations.item_users import ItemUsers
from ..retrieval.associations.rules import Associations
from ..retrieval.channels.base import CandidateQuery
from ..retrieval.fusion import channel_weights, fuse_candidates, with_channel
from ..retrieval.index import new_items as newcomers
from ..retrieval.index.builder import load
from ..retrieval.index.embedder import Embedder
from ..retrieval.items.interactions import NEVER
from ..retrieval.items.texts import review_ids
from ..retrieval.retriever import Retriever
from .constraints import exploration
from .constraints.eligibility import eligible_items, validate_rules
from .constraints.exploration import ExplorationResult
from .constraints.list_selection import ListSelection, cap_per_category
from .constraints.popularity_penalty import popularity_penalized_scores
from .evidence.declared_relations import DeclaredRelations
from .evidence.gatherer import EvidenceGatherer, UserText, count_recent_users
from .evidence.review_table import ReviewTable
from .profiles.histories import EMPTY_HISTORY, Histories, History
from .profiles.live_events import LiveEvents
from .profiles.profile import ItemAttributes, Profile
from .ranking.llm_loading import add_explainer_adapter, load_ranking_llm
from .ranking.llm_reranker import LLMReranker
from .ranking.ranked_candidates import ScoredCandidates
from .ranking.trained_ranker import BlendRanker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.index.vector_index import VectorIndex

POOL_SIZE, WIDE_POOL_SIZE = 20, 200
"""Candidates that the LLM reads; and that are looked at where a rule on the list as a whole will leave most of them out."""
MAX_TEXT_CHARS = 2000
MAX_RECOMMENDATIONS = 100


@dataclass(frozen=True, slots=True)
class Shopper:
    """What the query says of whom: the profile, and the rows of what is owned, of what was bought, and of what was dismissed."""

    profile: Profile
    owned: NDArray[np.int64]
    bought: frozenset[int]
    dismissed: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def rows(self) -> NDArray[np.int64]:
        """(items,) of the history, oldest first, each once at its latest place."""
        return self.profile.rows


class Recommender:
    """Recommendations from one workspace; `Recommender.open(path)` makes one, models are loaded when first needed."""

    def __init__(self, workspace: Workspace, settings: Settings, *, shared: bool = False, index: VectorIndex | None = None) -> None:
        """A recommender over an open workspace.

        Args:
            shared: many threads ask at once, and what the LLM reads for them is read together (see `llm.ranking.request_batching`).
            index: of the workspace, where it is open already.
        Raises: NoIndexError, StaleIndexError: the workspace must be indexed first.
        """
        self.workspace, self.settings = workspace, settings
        self._packs = PackBatcher() if shared else None
        self.catalogue, self.index, table = load(workspace, settings, added=True, index=index)
        self.associations = Associations.load(table, self.catalogue)
        self.retriever = Retriever(self.catalogue, self.index, self.associations)
        self.live: LiveEvents | None = None
        """What events add to the snapshot; None where there are none."""

    @classmethod
    def open(cls, workspace: Workspace | str | Path, *, llm: str | None = None, settings: Settings | None = None) -> Recommender:
        """A recommender over a workspace.

        Args: llm: overrides the settings' model; `none` ranks and explains without one. settings: default, the surroundings'.
        Raises: NoWorkspaceError, NoIndexError, StaleIndexError, SettingsError
        """
        opened = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
        return cls(opened, (settings or Settings.read()).with_(llm=llm))

    def recommend(
        self,
        *,
        user_id: str | None = None,
        items: Sequence[str] = (),
        text: str | None = None,
        rules: Rules | None = None,
        k: int = 5,
        novelty: float = 0.0,
        new_items: int = 0,
        new_up_to: int = 0,
        explore: int | None = None,
        explain: bool = True,
        without: Sequence[str] = (),
        tone: Tone = "warm",
        length: Length = "line",
        on_ranked: Callable[[Recommendations], None] | None = None,
        on_explained: Callable[[Recommendation], None] | None = None,
    ) -> Recommendations:
        """What this shopper would want next from another category, best first.

        Args:
            user_id: a user of the workspace. items: ids, oldest first, of a session or basket; they come after the user's history.
            text: what the shopper says. Any mix of the three will do. With live events, None is what the user just searched.
            rules: what the recommendations must satisfy. k: how many, 1 to 100.
            novelty: 0 to 1, how strongly it counts against an item that many have it (see `novelty`).
            new_items: places at the end of the list that are kept for new items. new_up_to: how many users may have had what is new; 0
                is what nobody had yet.
            explore: a seed; what few had is then shown now and then, and the propensities are logged (see `exploration`).
            explain: whether to give reasons.
            without: items of the history that are taken as never had, to see what they change.
            tone: plain, warm or expert. length: line, paragraph or bullets. Of reasons that a model has learned to word; others are one
                plain sentence.
            listed: is told the answer as soon as the list stands, before there are reasons.
            worded: is told each recommendation as soon as its reason stands, which need not be in the list's order.
        Raises:
            UnknownUserError, UnknownItemError; EmptyHistoryError: nothing to go by.
            QueryError: k, rules, novelty or text out of bounds.
            ModelMissingError: the LLM was not pulled.
        """
        said = text.strip() if text and text.strip() else None
        if said is None and user_id is not None and self.live is not None:
            said = self.live.recent_search(user_id, now_ms())
        query = Query(user_id, tuple(items), said, rules or Rules(), k, novelty, new_items, new_up_to, tuple(without))
        self.accept(query)
        if tone not in TONES or length not in LENGTHS:
            raise QueryError(f"a tone is {', '.join(TONES)} and a length {', '.join(LENGTHS)}, not {tone!r} and {length!r}")
        timings: dict[str, float] = {}
        with _timed(timings, "retrieve"):
            shopper = self.shopper(query)
            vector = self._embedder.encode([sanitize_for_prompt(query.text, MAX_TEXT_CHARS)]) if query.text else np.empty((0, 0), np.float32)
            mask, removed = eligible_items(query.rules, self.catalogue, shopper.rows, shopper.owned, shopper.dismissed)
            seeds = shopper.profile.candidate_query(vector)
            pool = self._candidates(query, shopper, seeds, mask)
        with _timed(timings, "rank"):
            ranked, fit = self._rank(query, shopper, seeds, pool)
            rows = [self.catalogue.row(candidate.item_id) for candidate, _ in ranked]
            fit = popularity_penalized_scores(fit, self.catalogue.users[rows], query.novelty)
            shortlist = ListSelection(self.catalogue, query)
            if explore is None:
                shown = ExplorationResult(shortlist.select([rows[place] for place in np.argsort(-fit, kind="stable")]), [])
            else:
                shown = exploration.thompson_sample(fit, self.catalogue.users[rows], rows, shortlist.select, explore)
            top = shown.rows
        by_row = dict(zip(rows, ranked, strict=True))
        chosen = [by_row[row] for row in top]
        chances: Sequence[float | None] = shown.propensities or [None] * len(top)
        found = tuple(
            Recommendation(rank, item, round(score, 4), candidate.scores, candidate.anchor, None, propensity)
            for rank, (item, (candidate, score), propensity) in enumerate(
                zip(self.catalogue.records(top), chosen, chances, strict=True), start=1
            )
        )
        if explore is not None:
            user = user_id if user_id is None or self.live is None else self.live.stored_user_id(user_id)
            exploration.log_propensities(self.workspace.path, user, explore, [(one.item.item_id, one.propensity or 0.0) for one in found])
        missing = (*self._unsatisfied(query, len(found), mask, removed), *shortlist.unsatisfied(top))
        if on_ranked is not None:
            on_ranked(Recommendations(query, found, missing, dict(timings)))
        with _timed(timings, "explain"):
            if explain:
                moved = pool.positive_contributions(top) if isinstance(pool, ScoredCandidates) else {}
                reasons = self._reasons(query, shopper, [candidate for candidate, _ in chosen], moved, vector)
                deadlines.check()
                bare = found

                def stands(place: int, text: Explanation) -> None:
                    if on_explained is not None:
                        on_explained(replace(bare[place], explanation=text))

                texts = self._explainer.explain(reasons, tone, length, stands if on_explained else None)
                found = tuple(replace(one, explanation=text) for one, text in zip(bare, texts, strict=True))
        return Recommendations(query, found, missing, timings)

    # ------------------------------------------------------------------ steps

    def accept(self, query: Query) -> None:
        """Refuses a query that asks for what cannot be.

        Raises: EmptyHistoryError: nothing to go by. QueryError: k, rules, novelty, items or text out of bounds.
        """
        if not 1 <= query.k <= MAX_RECOMMENDATIONS:
            raise QueryError(f"k must be 1 to {MAX_RECOMMENDATIONS}, not {query.k}")
        if query.text and len(query.text) > MAX_TEXT_CHARS:
            raise QueryError(f"the text has {len(query.text):,} characters; say it in at most {MAX_TEXT_CHARS:,}")
        if len(query.items) > 1000:
            raise QueryError(f"{len(query.items):,} items are too many for one query; the latest 1,000 at most")
        if not 0 <= query.new_items <= query.k:
            raise QueryError(f"new items must be 0 to {query.k}, as many as are asked for, not {query.new_items}")
        if query.new_up_to < 0:
            raise QueryError(f"the users that a new item may have must be 0 or more, not {query.new_up_to}")
        if not 0 <= query.novelty <= 1:
            raise QueryError(f"novelty must be 0 to 1, not {query.novelty:g}")
        validate_rules(query.rules)
        if not (query.user_id or query.items or query.text):
            raise EmptyHistoryError("there is nothing to go by: give a user, items or a text")

    def shopper(self, query: Query) -> Shopper:
        """What a query says of whom: the rows of a history, the query's items last.

        Raises: UnknownUserError, UnknownItemError; EmptyHistoryError: nobody, or nothing left; QueryError: without what is not there.
        """
        past = self.history(query.user_id) if query.user_id is not None else EMPTY_HISTORY
        session = np.asarray([self.catalogue.row(item) for item in query.items], dtype=np.int64)
        owned = np.concatenate([past.rows[past.owned], session])
        kinds, never = np.zeros(len(session), np.int8), np.full(len(session), NEVER)  # what is in the basket counts as bought
        events = np.concatenate([past.rows, session])
        gone = self._gone(query, events)
        kept = ~np.isin(events, gone)
        profile = Profile(events[kept], np.concatenate([past.kinds, kinds])[kept], np.concatenate([past.times, never])[kept], self.item_attributes)
        if not len(profile.rows) and not query.text:
            if len(gone):
                raise EmptyHistoryError(f"nothing is left of the history without {', '.join(map(repr, query.without))}")
            raise EmptyHistoryError(f"user {query.user_id!r} has no history yet; give item ids (--items) or a text (--text)")
        bought = frozenset(past.rows[past.bought].tolist()) - set(gone.tolist())
        dismissed = self.live.dismissed(query.user_id, self.catalogue.rows) if self.live and query.user_id is not None else None
        return Shopper(profile, np.setdiff1d(owned, gone), bought, np.empty(0, np.int64) if dismissed is None else dismissed)

    def history(self, user_id: str) -> History:
        """What a user did, in the snapshot and since.

        Raises: UnknownUserError
        """
        found = self.histories.of(user_id) if self.live is None and user_id in self.histories else None
        if self.live is not None:
            found = self.live.history(user_id, self.histories, self.catalogue.rows)
        if found is None:
            raise UnknownUserError(
                f"user {user_id!r} is not among the {len(self.histories):,} of this workspace; "
                "for somebody new give item ids (--items) or a text (--text)"
            )
        return found

    def _gone(self, query: Query, events: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the history that the query does without."""
        gone = np.asarray([self.catalogue.row(item) for item in query.without], dtype=np.int64)
        strange = [item for item, row in zip(query.without, gone.tolist(), strict=True) if row not in events]
        if strange:
            raise QueryError(f"{strange[0]!r} is not in the history, so nothing is to be seen without it")
        return gone

    def fuse_channels(self, query: Query, seeds: CandidateQuery, mask: NDArray[np.bool_]) -> list[tuple[Candidate, float]]:
        """All candidates of the channels, fused by rank without the LLM, with their scores.

        First those that a list is made of, in the list's order, then the others as the channels have them together.
        """
        first = fuse_candidates(self._pool(query, seeds, mask), channel_weights(seeds))
        there = {candidate.item_id for candidate, _ in first}
        wide = self.retriever.candidates(seeds, mask, WIDE_POOL_SIZE, other_than_anchor=query.rules.scope == "other")
        return [*first, *(pair for pair in fuse_candidates(wide, channel_weights(seeds)) if pair[0].item_id not in there)]

    def _pool(self, query: Query, seeds: CandidateQuery, mask: NDArray[np.bool_]) -> list[Candidate]:
        """What the LLM reads: the best of the channels, fused."""
        cap, most = query.rules.max_per_category, max(POOL_SIZE, query.k)
        pool = self.retriever.candidates(seeds, mask, WIDE_POOL_SIZE if cap else most, other_than_anchor=query.rules.scope == "other")
        if not cap:
            return pool
        # Before the pool is cut to what the LLM reads, or a few categories would fill it.
        by_row = {self.catalogue.row(candidate.item_id): candidate for candidate in pool}
        return [by_row[row] for row in cap_per_category(list(by_row), self.catalogue, cap, most)]

    def _candidates(
        self, query: Query, shopper: Shopper, seeds: CandidateQuery, mask: NDArray[np.bool_]
    ) -> ScoredCandidates | list[Candidate]:
        """What may be ranked: scored by the learned blend, or the best of the channels, fused."""
        new = mask & (self.catalogue.users <= query.new_up_to) if query.new_items else None
        # The blend was learned from histories alone; what is said in words goes the way that was not.
        if self.blend_ranker and len(shopper.rows) and not query.text:
            return self.blend_ranker.rank(seeds, shopper.profile, mask, other_than_anchor=query.rules.scope == "other", also=new)
        pool = self._pool(query, seeds, mask)
        if new is None:
            return pool
        there = {candidate.item_id for candidate in pool}
        more = self.retriever.candidates(seeds, new, query.new_items, other_than_anchor=query.rules.scope == "other")
        return [*pool, *(candidate for candidate in more if candidate.item_id not in there)]

    def _rank(
        self, query: Query, shopper: Shopper, seeds: CandidateQuery, pool: ScoredCandidates | Sequence[Candidate]
    ) -> tuple[list[tuple[Candidate, float]], NDArray[np.float64]]:
        """The candidates with their scores from 0 to 1, with the LLM's margins where it is asked; and the values that order them."""
        if isinstance(pool, ScoredCandidates):
            assert self.blend_ranker is not None
            pool = self.rerank(pool, seeds)
            return self.blend_ranker.candidates(pool, seeds), pool.scores
        if self._ranker and pool:
            rows = [self.catalogue.row(candidate.item_id) for candidate in pool]
            records = self.catalogue.records
            pool = with_channel(pool, "llm", self._ranker.scores(records(shopper.rows.tolist()), query.text, records(rows)))
        fused = fuse_candidates(pool, channel_weights(seeds))
        return fused, np.asarray([score for _, score in fused], dtype=np.float64)

    def rerank(self, ranked: ScoredCandidates, seeds: CandidateQuery) -> ScoredCandidates:
        """The learned order with the LLM's vote, where it has one."""
        return (
            self._reader.rerank(ranked, seeds, self.blend_ranker.llm_weight)
            if self._reader and self.blend_ranker and len(ranked.proposals)
            else ranked
        )

    def _reasons(
        self,
        query: Query,
        shopper: Shopper,
        chosen: Sequence[Candidate],
        moved: Mapping[int, Mapping[str, float]],
        vector: NDArray[np.float32],
    ) -> list[Reason]:
        ids = {candidate.item_id for candidate in chosen} | {candidate.anchor for candidate in chosen if candidate.anchor}
        records = self.catalogue.records([self.catalogue.row(key) for key in sorted(ids)])
        said = UserText(query.text, vector[0]) if query.text else None
        items = {item.item_id: item for item in records}
        by_id = {self.catalogue.id(row): adds for row, adds in moved.items()}
        return self._gatherer.reasons(chosen, items, shopper.bought, said, shopper.profile, by_id)

    def _unsatisfied(self, query: Query, found: int, mask: NDArray[np.bool_], removed: Sequence[tuple[str, int]]) -> tuple[str, ...]:
        if found >= query.k:
            return ()
        left = int(mask.sum())
        if left > found and query.rules.max_per_category is not None:
            return (f"{found} of {query.k}: at most {query.rules.max_per_category} per category was asked for",)
        if left > found:
            return (f"{found} of {query.k}: the channels proposed no more of the {left:,} items that satisfy the rules",)
        strictest = max(removed, key=lambda rule: rule[1], default=None)
        because = f"; left out most: {strictest[0]} ({strictest[1]:,} items)" if strictest else ""
        return (f"{found} of {query.k}: {left:,} of {len(self.catalogue):,} items satisfy the rules{because}",)

    # ------------------------------------------------------------------ parts, loaded when first needed

    def warm(self) -> None:
        """Loads now what would be loaded when first needed, so that the first of many threads finds it there.

        Raises: ModelMissingError, ModelError: the embedder or the LLM cannot be had.
        """
        _ = self.histories, self.item_attributes, self.blend_ranker, self._embedder, self._ranker, self._reader, self._explainer, self._gatherer

    def close(self) -> None:
        """Reads what waits for the LLM to its end, and frees the index's files and connections."""
        if self._packs is not None:
            self._packs.close()
        self.index.close()

    def with_items(self, items: Sequence[Item]) -> tuple[Recommender, int, int]:
        """A recommender of the same workspace that has some items added or changed, ready to be asked; this one stays as it is.

        The two share the models, the index and the live events; what hangs on the items is made anew, as opening the workspace does.

        Returns: the recommender, how many items are new, how many changed. Raises: as `retrieval.index.new_items.add`.
        """
        # Of its own: it is read anew under the lock, and what this recommender was opened on must not change under it.
        workspace = Workspace(self.workspace.path)
        new, changed = newcomers.add(workspace, self.index, self._embedder, items, self.workspace.manifest.snapshot)
        other = Recommender(workspace, self.settings, index=self.index)
        other._packs, other.live = self._packs, self.live
        other.__dict__.update({name: self.__dict__[name] for name in ("_embedder", "_llm", "_explainer") if name in self.__dict__})
        other.warm()
        return other, new, changed

    @cached_property
    def histories(self) -> Histories:
        """The histories of the workspace's users; iterating it gives their ids."""
        return Histories.build(self.workspace.table("interactions"), self.catalogue)

    @cached_property
    def item_attributes(self) -> ItemAttributes:
        """What profiles ask of the items."""
        return ItemAttributes.from_catalogue(self.catalogue)

    @cached_property
    def blend_ranker(self) -> BlendRanker | None:
        """The learned blend, None where none was trained."""
        return BlendRanker.load(self.workspace, self.catalogue, self.index, self.associations)

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder(str((self.workspace.manifest.index or {})["embedder"]), threads=self.settings.threads)

    @cached_property
    def _llm(self) -> LanguageModel | None:
        if self.settings.llm == "none":
            return None
        llm = load_ranking_llm(self.workspace.path, self.settings) if self.uses_llm_weight else LanguageModel.load(self.settings)
        add_explainer_adapter(llm, self.workspace.path, self.settings)
        return llm

    @cached_property
    def uses_llm_weight(self) -> bool:
        """Whether a tuned LLM has a say in the learned order."""
        return self.settings.llm != "none" and self.blend_ranker is not None and self.blend_ranker.llm_weight.weight > 0

    @cached_property
    def _ranker(self) -> Ranker | None:
        """The LLM for what no blend orders; an adapter was not taught to read what a shopper says, so it is off."""
        return Ranker(self._llm, version=1 if self._llm.has_ranking_adapter else None, batcher=self._packs) if self._llm else None

    @cached_property
    def _reader(self) -> LLMReranker | None:
        return LLMReranker(Ranker(self._llm, batcher=self._packs), self.catalogue, self.associations) if self.uses_llm_weight and self._llm else None

    @cached_property
    def _explainer(self) -> Explainer:
        entailment = EntailmentModel.load(self.settings.nli) if self.settings.nli and self._llm else None
        return Explainer(self._llm, cache=self.settings.home / "wordings", entailment=entailment)

    @cached_property
    def _gatherer(self) -> EvidenceGatherer:
        reviews = self.workspace.table("reviews")
        named = reviews.with_columns(review_ids(reviews)).sort("item_id", maintain_order=True)
        interactions = self.workspace.table("interactions")
        return EvidenceGatherer(
            self.catalogue,
            self.index,
            ItemUsers.build(interactions, self.catalogue),
            ReviewTable(named),
            DeclaredRelations(self.workspace.table("relations"), self.catalogue),
            count_recent_users(interactions, self.catalogue),
        )


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    deadlines.check()
    start = time.perf_counter()
    yield
    timings[stage] = round((time.perf_counter() - start) * 1000, 1)
