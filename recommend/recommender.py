"""Recommender: from a query to explained recommendations.

query -> shopper -> candidates (retrieval) -> scores (blend, LLM) -> list (rules) -> evidence -> explanations
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data import deadlines
from ..data.errors import EndpointError, UnknownUserError
from ..data.events.records import now_ms
from ..data.records import Candidate, Explanation, LLMUse, Query, Recommendation, Recommendations, Rules
from ..data.settings import Settings
from ..data.workspace import Workspace
from ..llm.explain.audiences import Audience, Style, explain_for
from ..llm.explain.briefs import Tone
from ..llm.explain.constrained_decoding import Length
from ..llm.explain.reasons import Reason
from ..llm.models.usage import LLMUsage, measure_usage
from ..prompts.sanitize import sanitize_for_prompt
from ..retrieval.fusion import channel_weights, fuse_candidates, with_channel
from ..retrieval.index.vector_index import ITEMS
from .components import WorkspaceComponents
from .constraints import exploration
from .constraints.eligibility import NO_ROWS, eligible_items
from .constraints.exploration import ExplorationResult
from .constraints.list_selection import ListSelection, cap_per_category
from .constraints.popularity_penalty import popularity_penalized_scores
from .evidence.gatherer import UserText
from .llm_use import BLEND, RANKS, Reading, llm_use
from .profiles.histories import EMPTY_HISTORY, History
from .profiles.shopper import Shopper, shopper_of_query
from .query_validation import MAX_TEXT_CHARS, validate_query
from .ranking.features import LLM_CHANNEL
from .ranking.ranked_candidates import ScoredCandidates
from .text_understanding import not_understood

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.channels.base import CandidateQuery

POOL_SIZE, WIDE_POOL_SIZE = 20, 200
"""Candidates that are ranked for a text query; and candidates retrieved where a cap per category excludes most of them."""


class Recommender(WorkspaceComponents):
    """Recommendations from one workspace. Create it with `Recommender.open(path)`; models are loaded on first use."""

    @classmethod
    def open(cls, workspace: Workspace | str | Path, *, llm: str | None = None, settings: Settings | None = None) -> Recommender:
        """Open a workspace.

        Args:
            workspace: the workspace or its folder.
            llm: overrides the LLM of the settings; `none` ranks and explains without an LLM.
            settings: by default, those of the environment.
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
        audience: Audience = "marketer",
        on_ranked: Callable[[Recommendations], None] | None = None,
        on_explained: Callable[[Recommendation], None] | None = None,
    ) -> Recommendations:
        """Recommend items from other categories, best first. Give a user, items, a text, or any combination.

        Args:
            user_id: a user of the workspace.
            items: item ids of a session or basket, oldest first; they follow the user's history.
            text: a text query; with live events, the default is the user's most recent search.
            rules: what the recommendations must satisfy.
            k: number of recommendations, 1 to 100.
            novelty: popularity penalty, from 0 (none) to 1 (see `constraints.popularity_penalty`).
            new_items: slots at the end of the list that are reserved for new items.
            new_up_to: maximum number of users of a new item.
            explore: random seed; items with few users are then shown occasionally, and the propensities are logged (see
                `constraints.exploration`).
            explain: whether to generate explanations.
            without: items of the history to leave out, to see their effect.
            tone: plain, warm or expert; for explanations that the LLM writes.
            length: line, paragraph or bullets; for explanations that the LLM writes.
            audience: customer (no counts, with texts for a mail), marketer, or analyst (all facts and figures).
            on_ranked: callback with the ranked list, before explanations are generated.
            on_explained: callback with each recommendation once it is explained, in any order.
        Raises:
            UnknownUserError, UnknownItemError: an id is not in the workspace.
            EmptyHistoryError: no history, items or text.
            QueryError: k, rules, novelty, text, tone, length or audience out of bounds.
            ModelMissingError: the LLM is not installed.
        """
        text = text.strip() if text and text.strip() else None
        if text is None and user_id is not None and self.live is not None:
            text = self.live.recent_search(user_id, now_ms())
        query = Query(user_id, tuple(items), text, rules or Rules(), k, novelty, new_items, new_up_to, tuple(without))
        validate_query(query)
        style = Style(tone, length, audience)
        with measure_usage() as usage:
            return self._recommend(query, explore, explain, style, on_ranked, on_explained, usage)

    def _recommend(
        self,
        query: Query,
        explore: int | None,
        explain: bool,
        style: Style,
        on_ranked: Callable[[Recommendations], None] | None,
        on_explained: Callable[[Recommendation], None] | None,
        usage: LLMUsage,
    ) -> Recommendations:
        """Return the answer to a valid query. Args: usage: counts what the LLM does meanwhile; the others as of `recommend`."""
        timings: dict[str, float] = {}
        with _timed(timings, "retrieve"):
            shopper = self.shopper(query)
            text_vectors = np.empty((0, 0), np.float32)
            if query.text:
                text_vectors = self._embedder.encode([sanitize_for_prompt(query.text, MAX_TEXT_CHARS)])
            mask, removed = eligible_items(query.rules, self.catalogue, shopper.rows, shopper.owned, shopper.dismissed)
            candidate_query = shopper.profile.candidate_query(text_vectors)
            candidates = self._candidates(query, shopper, candidate_query, mask)
        with _timed(timings, "rank"):
            ranked, scores, reading = self._rank(query, shopper, candidate_query, candidates)
            selection = ListSelection(self.catalogue, query)
            rows = [self.catalogue.row(candidate.item_id) for candidate, _ in ranked]
            shown = self._select(selection, rows, scores, explore)
        by_row = dict(zip(rows, ranked, strict=True))
        recommendations = self._recommendations([by_row[row] for row in shown.rows], shown)
        if explore is not None:
            user_id = query.user_id
            stored_id = user_id if user_id is None or self.live is None else self.live.stored_user_id(user_id)
            logged = [(recommendation.item.item_id, recommendation.propensity or 0.0) for recommendation in recommendations]
            exploration.log_propensities(self.workspace.path, stored_id, explore, logged)
        unsatisfied = (*self._not_understood(query, text_vectors), *selection.unsatisfied(shown.rows, mask, removed))
        if on_ranked is not None:
            on_ranked(Recommendations(query, recommendations, unsatisfied, dict(timings), self._llm_use(reading, usage)))
        with _timed(timings, "explain"):
            if explain:
                shares = candidates.positive_contributions(shown.rows) if isinstance(candidates, ScoredCandidates) else {}
                chosen = [by_row[row][0] for row in shown.rows]
                reasons = self._reasons(query, shopper, chosen, shares, text_vectors)
                deadlines.check()
                recommendations = self._explained(recommendations, reasons, style, on_explained)
        return Recommendations(query, recommendations, unsatisfied, timings, self._llm_use(reading, usage))

    # ------------------------------------------------------------------ the shopper

    def shopper(self, query: Query) -> Shopper:
        """Return the shopper of a query.

        Raises:
            UnknownUserError, UnknownItemError: an id is not in the workspace.
            EmptyHistoryError: no history, items or text.
            QueryError: an excluded item is not in the history.
        """
        history, dismissed = EMPTY_HISTORY, NO_ROWS
        if query.user_id is not None:
            history = self.history(query.user_id)
            if self.live:
                dismissed = self.live.dismissed(query.user_id, self.catalogue.rows)
        return shopper_of_query(query, history, dismissed, self.catalogue, self.item_attributes)

    def history(self, user_id: str) -> History:
        """Return the interactions of a user, from the snapshot and from live events.

        Raises: UnknownUserError
        """
        history = self.histories.of(user_id) if self.live is None and user_id in self.histories else None
        if self.live is not None:
            history = self.live.history(user_id, self.histories, self.catalogue.rows)
        if history is None:
            raise UnknownUserError(
                f"user {user_id!r} is not among the {len(self.histories):,} of this workspace; "
                "for somebody new give item ids (--items) or a text (--text)"
            )
        return history

    # ------------------------------------------------------------------ candidates

    def _pool(self, query: Query, candidate_query: CandidateQuery, mask: NDArray[np.bool_]) -> list[Candidate]:
        """Return the best candidates of the channels for a text query, by fused rank."""
        cap, size = query.rules.max_per_category, max(POOL_SIZE, query.k)
        pool = self.retriever.candidates(
            candidate_query, mask, WIDE_POOL_SIZE if cap else size, other_than_anchor=query.rules.scope == "other"
        )
        if not cap:
            return pool
        # The cap applies before the pool is cut, otherwise a few categories would fill it.
        by_row = {self.catalogue.row(candidate.item_id): candidate for candidate in pool}
        return [by_row[row] for row in cap_per_category(list(by_row), self.catalogue, cap, size)]

    def _candidates(
        self, query: Query, shopper: Shopper, candidate_query: CandidateQuery, mask: NDArray[np.bool_]
    ) -> ScoredCandidates | list[Candidate]:
        """Return the candidates: scored by the blend, or fused by rank."""
        new = mask & (self.catalogue.users <= query.new_up_to) if query.new_items else None
        other_than_anchor = query.rules.scope == "other"
        # Blends are fitted to histories only; text queries use rank fusion.
        if len(shopper.rows) and not query.text:
            return self.blend_ranker.rank(candidate_query, shopper.profile, mask, other_than_anchor=other_than_anchor, also=new)
        pool = self._pool(query, candidate_query, mask)
        if new is None:
            return pool
        in_pool = {candidate.item_id for candidate in pool}
        new_candidates = self.retriever.candidates(candidate_query, new, query.new_items, other_than_anchor=other_than_anchor)
        return [*pool, *(candidate for candidate in new_candidates if candidate.item_id not in in_pool)]

    # ------------------------------------------------------------------ ranking

    def rerank(self, scored: ScoredCandidates, candidate_query: CandidateQuery) -> ScoredCandidates:
        """Return the blend's candidates re-ranked by the LLM, where it has a weight."""
        if self._reranker is None or not len(scored.proposals):
            return scored
        try:
            return self._reranker.rerank(scored, candidate_query, self.llm_weight.weight, self.settings.rerank_depth)
        except EndpointError as error:  # the blend's order is good without it, and the answer says so
            return replace(scored, llm_failure=str(error))

    def _rank(
        self, query: Query, shopper: Shopper, candidate_query: CandidateQuery, candidates: ScoredCandidates | Sequence[Candidate]
    ) -> tuple[list[tuple[Candidate, float]], NDArray[np.float64], Reading]:
        """Return the candidates with their scores from 0 to 1, (candidates,) the scores that order them, and what the LLM read."""
        if isinstance(candidates, ScoredCandidates):
            candidates = self.rerank(candidates, candidate_query)
            margins = candidates.logit_margins
            read = 0 if margins is None else int(np.isfinite(margins).sum())
            reading = Reading(BLEND, read, candidates.mean_llm_weight, candidates.llm_failure or self.llm_weight.reason)
            return self.blend_ranker.candidates(candidates, candidate_query), candidates.scores, reading
        weights = {**channel_weights(candidate_query), LLM_CHANNEL: self.text_weight.weight}
        reading = Reading(RANKS, 0, 0.0, self.text_weight.reason)
        if self._ranker and candidates:
            records = self.catalogue.records
            item_rows = [self.catalogue.row(candidate.item_id) for candidate in candidates]
            try:
                logit_margins = self._ranker.scores(records(shopper.rows.tolist()), query.text, records(item_rows))
            except EndpointError as error:
                reading = Reading(RANKS, 0, 0.0, str(error))
            else:
                candidates = with_channel(candidates, LLM_CHANNEL, logit_margins)
                reading = Reading(RANKS, len(item_rows), weights[LLM_CHANNEL], "")
        fused = fuse_candidates(candidates, weights)
        return fused, np.asarray([score for _, score in fused], dtype=np.float64), reading

    def _llm_use(self, reading: Reading, usage: LLMUsage) -> LLMUse:
        """Return what the LLM did for an answer. Args: reading: for the order. usage: tokens and texts so far."""
        adapter = self._ranking_adapter if reading.candidates and (reading.order == BLEND or self._adapter_knows_texts) else None
        return llm_use(self.settings.llm_name, adapter, reading, usage)

    def _select(self, selection: ListSelection, rows: list[int], scores: NDArray[np.float64], explore: int | None) -> ExplorationResult:
        """Return the rows of the list. Args: rows: (candidates,) item rows. scores: (candidates,). explore: random seed, or None."""
        users = self.catalogue.users[rows]
        scores = popularity_penalized_scores(scores, users, selection.query.novelty)
        if explore is not None:
            return exploration.thompson_sample(scores, users, rows, selection.select, explore)
        return ExplorationResult(selection.select([rows[index] for index in np.argsort(-scores, kind="stable")]), [])

    def _recommendations(self, chosen: Sequence[tuple[Candidate, float]], shown: ExplorationResult) -> tuple[Recommendation, ...]:
        """Return the recommendations without explanations. Args: chosen: candidates of the list with their scores. shown: its rows."""
        propensities: Sequence[float | None] = shown.propensities or [None] * len(chosen)
        return tuple(
            Recommendation(rank, item, round(score, 4), candidate.scores, candidate.anchor, None, propensity)
            for rank, (item, (candidate, score), propensity) in enumerate(
                zip(self.catalogue.records(shown.rows), chosen, propensities, strict=True), start=1
            )
        )

    def _not_understood(self, query: Query, text_vectors: NDArray[np.float32]) -> list[str]:
        """A sentence for a text that means nothing to the store. Args: text_vectors: (texts, dimensions) of the query's text."""
        if not query.text:
            return []
        (nearest,) = self.index.nearest(ITEMS, text_vectors[:1], lambda _, ids: [True] * len(ids), 1)
        sentence = not_understood(query.text, nearest[0][1] if nearest else 0.0, self.catalogue)
        return [sentence] if sentence else []

    # ------------------------------------------------------------------ explanations

    def _reasons(
        self,
        query: Query,
        shopper: Shopper,
        chosen: Sequence[Candidate],
        channel_shares: Mapping[int, Mapping[str, float]],
        text_vectors: NDArray[np.float32],
    ) -> list[Reason]:
        """Return the facts for each candidate of the list. Args: channel_shares: see `ScoredCandidates.positive_contributions`."""
        known = ((candidate.item_id, candidate.anchor, candidate.text_anchor) for candidate in chosen)
        ids = {item_id for three in known for item_id in three if item_id}
        items = {item.item_id: item for item in self.catalogue.records([self.catalogue.row(item_id) for item_id in sorted(ids)])}
        user_text = UserText(query.text, text_vectors[0]) if query.text else None
        by_id = {self.catalogue.id(row): shares for row, shares in channel_shares.items()}
        return self._gatherer.reasons(chosen, items, shopper.bought, user_text, shopper.profile, by_id)

    def _explained(
        self,
        recommendations: tuple[Recommendation, ...],
        reasons: list[Reason],
        style: Style,
        on_explained: Callable[[Recommendation], None] | None,
    ) -> tuple[Recommendation, ...]:
        """Return the recommendations with their explanations."""

        def on_ready(index: int, explanation: Explanation) -> None:
            if on_explained is not None:
                on_explained(replace(recommendations[index], explanation=explanation))

        categories = [recommendation.item.category[-1] if recommendation.item.category else None for recommendation in recommendations]
        explanations = explain_for(self._explainer, reasons, style, categories, on_ready if on_explained else None)
        return tuple(
            replace(recommendation, explanation=explanation)
            for recommendation, explanation in zip(recommendations, explanations, strict=True)
        )


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Record the duration of a stage in milliseconds; checks the request's deadline first."""
    deadlines.check()
    start = time.perf_counter()
    yield
    timings[stage] = round((time.perf_counter() - start) * 1000, 1)
