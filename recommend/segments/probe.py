"""Questions to a store: who needs what next, whose shoppers need this, and how do two groups differ.

question -> names -> cohort -> what followed -> figures -> what may be told -> sentences
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import QueryError
from ...data.privacy.budget_ledger import PrivacyBudget
from ...data.privacy.disclosure import MIN_USERS, CountCell, check_min_users
from ...data.privacy.query_audit import QueryAuditLog
from ...data.settings import Settings
from ...data.workspace import Workspace
from ...prompts.sanitize import sanitize_for_prompt
from ...retrieval.associations import count_store, mining, statistics
from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL
from ...retrieval.index.builder import load
from ...retrieval.index.embedder import Embedder
from ...retrieval.index.vector_index import ITEMS
from ...retrieval.items.interactions import Events
from ...retrieval.items.texts import review_ids
from ..evidence.declared_relations import DeclaredRelations
from ..evidence.review_excerpts import display_name
from ..evidence.review_table import ReviewTable
from . import next_purchases
from .cohorts import Cohort, Population
from .comparison import cohort_differences
from .disclosure_control import DisclosedCells, cell_name, disclose
from .fallback_needs import MAX_ITEMS, FallbackNeeds, popular_items
from .need_sentences import NeedSentences, item_ids
from .private_counts import private_result
from .query.entity_linking import EntityLinker
from .query.filters import NO_FILTERS, Filters
from .query.grammar import parse
from .query.query_tree import negated_terms
from .resolved_query import ResolvedQuery
from .results import CategoryNeed, CohortComparison, ItemNeed, SegmentResult

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ...llm.models.language_model import LanguageModel
    from ...retrieval.items.catalogue import Catalogue

DEFAULT_BUDGET = 10.0
"""Sum of the epsilons that a workspace answers for, over its whole life."""
MAX_NEEDS = 100
NEAREST_ITEMS = 300
"""Items that a free text is compared with."""


class Probe:
    """Questions to one workspace; `Probe.open(path)` makes one, models are loaded when first needed."""

    def __init__(self, workspace: Workspace, settings: Settings, *, min_users: int = MIN_USERS, budget: float = DEFAULT_BUDGET) -> None:
        """Raises: NoIndexError, StaleIndexError: the workspace must be indexed first. SettingsError: min_users or budget mean nothing."""
        self.workspace, self.settings, self.min_users = workspace, settings, check_min_users(min_users)
        self.catalogue, self.index, pairs = load(workspace, settings)
        self._substitutes = _substitutes(pairs, self.catalogue)
        folder = mining.folder(workspace)
        about = count_store.about(folder)
        self.events = Events.build(workspace.table("interactions"), self.catalogue)
        self.window = int(about["window"]) // self.events.unit
        self.population = Population(
            self.events,
            self.catalogue,
            int(about["window"]),
            count_store.load_user_weights(folder),
            lambda depth: count_store.margins(folder, depth),
        )
        snapshot = str(workspace.manifest.snapshot)
        self.audit_log = QueryAuditLog(workspace.path, snapshot, len(self.events.users), self.min_users)
        self.privacy_budget = PrivacyBudget(workspace.path, snapshot, budget)
        self._periods: dict[tuple[int | None, int | None], Population] = {}

    @classmethod
    def open(
        cls,
        workspace: Workspace | str | Path,
        *,
        llm: str | None = None,
        settings: Settings | None = None,
        min_users: int = MIN_USERS,
        budget: float = DEFAULT_BUDGET,
    ) -> Probe:
        """Questions to a workspace.

        Args:
            llm: overrides the settings' model; `none` has the figures' own sentences.
            min_users: the fewest users that are told of. budget: for answers with `epsilon`.
        Raises: NoWorkspaceError, NoIndexError, StaleIndexError, SettingsError
        """
        opened = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
        return cls(opened, (settings or Settings.read()).with_(llm=llm), min_users=min_users, budget=budget)

    def ask(
        self,
        question: str,
        *,
        filters: Filters = NO_FILTERS,
        k: int = 10,
        level: int | None = None,
        epsilon: float | None = None,
        words: bool = True,
    ) -> SegmentResult:
        """What the users that a question means need next; for "who would need a tripod?", whose users need it.

        Args:
            question: names of categories, items, brands, or free text, joined with and, or, not. k: how many needs, 1 to 100.
            level: depth of the categories in the answer, 1 = broadest; default, that of the question's categories, else the workspace's.
            epsilon: answers with differentially private counts and pays so much of the budget. words: whether to word each need.
        Raises:
            QueryError: nobody matches, a name or filter means nothing, or k is out of bounds; says what was understood and what to try.
            SuppressedError: too few users to tell of. BudgetSpentError: epsilon is more than is left.
        """
        _check(k)
        asked = self.understand(question, filters, level)
        finding = (
            private_result(asked, self.privacy_budget, self.min_users, k, epsilon) if epsilon is not None else self._counted(asked, k)[0]
        )
        if not words:
            return finding
        quoted = [[] if epsilon is not None or asked.reverse else item_ids(need) for need in finding.needs]
        return self._need_sentences.add_sentences(finding, *asked.cohort_label, quoted, noisy=epsilon is not None)

    def compare(
        self, question: str, against: str, *, filters: Filters = NO_FILTERS, k: int = 10, level: int | None = None
    ) -> CohortComparison:
        """Where two groups differ in what they go on to, the largest ratio of their shares first.

        Raises: as `ask`; QueryError also for "who would need ...".
        """
        _check(k)
        asked = [self.understand(text, filters, level) for text in (question, against)]
        if any(one.reverse for one in asked):
            raise QueryError('two groups are compared by what they need next: ask for both as in "phones", not as in "who needs phones"')
        asked = [replace(one, depth=max(one.depth for one in asked)) for one in asked]
        (first, one_step), (second, other_step) = (self._counted(one, k) for one in asked)
        steps = (one_step, other_step)
        differences = cohort_differences(self.catalogue.tree.paths, *steps, self.min_users, k)
        # Each figure is told of its own group under the same rules as an answer about that group alone.
        for one, step, side in zip(asked, steps, (0, 1), strict=True):
            names = {cell_name(step, found.category): found for found in differences}
            cells = {name: CountCell(found.users[side]) for name, found in names.items()}
            hidden = self.audit_log.admit_query(one.text, one.cohort.users, cells)
            differences = tuple(found for name, found in names.items() if name not in hidden)
        return CohortComparison((first, second), differences)

    def understand(self, text: str, filters: Filters = NO_FILTERS, level: int | None = None) -> ResolvedQuery:
        """What a question means in this store, and the users it means.

        Raises: QueryError, as `ask`.
        """
        filters.check()
        if level is not None and level < 1:
            raise QueryError(f"the level must be 1 (the broadest) or more, not {level}")
        question = parse(text, self._entity_linker.is_name)
        meant = self._entity_linker.resolve_all(question.tree)
        wanted = set(meant) - negated_terms(question.tree)
        allowed = filters.rows(self.catalogue)
        rows = {term: meaning.item_mask & allowed if term in wanted else meaning.item_mask for term, meaning in meant.items()}
        depths = [len(meant[term].name) if meant[term].kind == "category" else self.catalogue.level for term in wanted]
        depth = min(level or max(depths), max(self.catalogue.tree.levels, 1))
        population = self._population(filters)
        asked = ResolvedQuery(
            text, question, meant, rows, filters, population, population.cohort(question.tree, rows, at_least=filters.at_least), depth
        )
        empty = next((term for term in wanted if not rows[term].any()), None)
        if empty is not None:
            raise QueryError(
                f"no item of {sanitize_for_prompt(empty.text, 60)!r} satisfies the filters (understood: {asked.summary()}); loosen one of them"
            )
        if filters.first_time:
            asked = replace(asked, cohort=self._first_time_cohort(asked))
        return asked

    # ------------------------------------------------------------------ counting and telling

    def _counted(self, asked: ResolvedQuery, k: int) -> tuple[SegmentResult, next_purchases.TransitionStats]:
        """The answer, as far as it may be told, and all that was counted for it."""
        if not len(asked.cohort):
            raise QueryError(f"nobody {self.events.verb} that (understood: {asked.summary()}); take a condition out or ask more broadly")
        population, cohort = asked.population, asked.cohort
        items: next_purchases.TransitionStats | None = None
        inside: dict[int, list[int]] = {}
        if asked.reverse:
            step = next_purchases.source_categories(population, cohort, asked.depth)
        else:
            followed = population.events_after(cohort)
            step = next_purchases.next_categories(population, cohort, followed, asked.depth)
        best, fdr, sure, tested = self._surest(step, 3 * k)  # some may have to be withheld
        if not asked.reverse:
            node = self.catalogue.tree.at(asked.depth)
            items = next_purchases.next_items(population, cohort, followed, np.isin(node, step.codes[best]), min_users=self.min_users)
            instead = np.zeros(len(self.catalogue), dtype=bool)  # what the cohort's things could be replaced by is no need of theirs
            instead[self._substitutes[1][cohort.item_mask[self._substitutes[0]]]] = True
            inside = {i: _strongest(items, node, int(step.codes[i]), instead) for i in best}
        told = disclose(self.audit_log, self.catalogue, asked.text, cohort.users, step, best, items, inside, k)
        declared = self._fallback_needs.relation_counts(asked)
        found = tuple(
            CategoryNeed(
                category=self.catalogue.tree.paths[int(step.codes[i])],
                sources=("behaviour", *(("knowledge",) if not asked.reverse and declared[int(step.codes[i])] else ())),
                users=int(step.users[i]),
                of=int(step.totals[i]),
                share=float(step.share[i]),
                share_interval=(float(step.share_low[i]), float(step.share_high[i])),
                base_rate=float(step.base_rate[i]),
                lift=float(step.lift[i]),
                lift_interval=(float(step.lift_low[i]), float(step.lift_high[i])),
                llr=float(step.llr[i]),
                fdr=float(fdr[i]),
                reach=self._reach(int(step.totals[i] - step.cohort_users[i]), i in told.reach),
                median_days=None if self.events.order == "none" else round(float(step.median_gap[i]) / self.events.unit, 1),
                items=self._items(int(step.codes[i]), asked.depth, items, told.items.get(i, ())) if items else (),
            )
            for i in told.needs
        )
        if not asked.reverse:
            found += self._fallback_needs.declared_needs(asked, found, k)
            found += self._fallback_needs.text_needs(asked, found, step, k)
        return self._finding(asked, found, told, sure, tested), step

    def _surest(self, step: next_purchases.TransitionStats, n: int) -> tuple[list[int], NDArray[np.float64], int, int]:
        """The first `n` places of a step that are more frequent than chance would have it, best first; the false-discovery rates; how many
        are sure, of how many that were looked at."""
        # What could not be told of, however it came out, is not looked at: that choice does not depend on what came out.
        tested = (step.baseline_users >= self.min_users) & (step.totals >= self.min_users)
        fdr = np.ones(len(step.p_value))
        fdr[tested] = statistics.false_discovery_rate(step.p_value[tested], int(tested.sum()))
        sure = np.flatnonzero((fdr <= SIGNIFICANCE_LEVEL) & (step.lift > 1) & (step.users > 0))
        best: list[int] = sure[np.argsort(-step.lift_low[sure], kind="stable")][:n].tolist()
        return best, fdr, len(sure), int(tested.sum())

    def _reach(self, users: int, exact: bool) -> int:
        """How many have it not yet; rounded down where the exact number, less the others, would tell of few."""
        return users if exact else users // self.min_users * self.min_users

    def _items(self, node: int, depth: int, items: next_purchases.TransitionStats, places: Sequence[int]) -> tuple[ItemNeed, ...]:
        """The strongest items of a need; where too few went to any, the most popular ones, as examples without figures."""
        shown = [
            ItemNeed(
                self.catalogue.id(int(items.codes[j])),
                display_name(self.catalogue.records([int(items.codes[j])])[0]),
                int(items.users[j]),
                float(items.lift[j]),
                (float(items.lift_low[j]), float(items.lift_high[j])),
            )
            for j in places
        ]
        have = {item.item_id for item in shown}
        return (*shown, *popular_items(self.catalogue, node, depth, have, MAX_ITEMS - len(shown)))

    def _finding(
        self, asked: ResolvedQuery, found: tuple[CategoryNeed, ...], told: DisclosedCells, sure: int, looked_at: int
    ) -> SegmentResult:
        return SegmentResult(
            question=asked.text,
            direction=asked.parsed.direction,
            understood=asked.interpretation(),
            cohort=len(asked.cohort),
            of=asked.population.user_count,
            needs=found,
            suppressed=told.suppressed,
            privacy={"min_users": self.min_users, "epsilon": None},
            order=self.events.order,
            window=self.window,
            level=asked.depth,
            verb=self.events.verb,
            filters=asked.filters.to_dict(),
            notes=tuple(self._notes(asked, sure, looked_at)),
        )

    def _notes(self, asked: ResolvedQuery, sure: int, looked_at: int) -> Iterator[str]:
        for term, meaning in asked.meanings.items():
            if meaning.choices and meaning.match != "meaning":
                others = "; ".join(sanitize_for_prompt(choice.ask, 90) for choice in meaning.choices[:3])
                yield f"“{sanitize_for_prompt(term.text, 60)}” could also be: {others}"
        if not sure:
            deeper = f"; narrower categories may tell more (level {asked.depth + 1})" if asked.depth < self.catalogue.tree.levels else ""
            yield f"nothing among {looked_at} categories is more frequent here than chance would have it{deeper}"
        if self.events.order == "none":
            yield "this store's interactions have no order: a figure says who has both, not which came first"

    # ------------------------------------------------------------------ who

    def _population(self, filters: Filters) -> Population:
        period = filters.period
        if period == (None, None):
            return self.population
        if period not in self._periods:
            self._periods[period] = self.population.in_period(*period)
        return self._periods[period]

    def _first_time_cohort(self, asked: ResolvedQuery) -> Cohort:
        """Those whose first time was in the period, or, without one, whose only time it was."""
        events, since = self.events, asked.filters.period[0]
        of_it = asked.cohort_items[events.row]
        good = np.ones(len(events.users), dtype=bool)
        if asked.filters.period == (None, None):
            good = np.bincount(events.user[of_it], minlength=len(events.users)) == 1
        elif since is not None:
            good[events.user[of_it & (events.time < since)]] = False
        inside = np.zeros(len(events.users), dtype=bool)
        inside[asked.cohort.users] = True
        return asked.cohort.restricted_to(good & inside, asked.population.events)

    # ------------------------------------------------------------------ parts, made when first needed

    @cached_property
    def _entity_linker(self) -> EntityLinker:
        return EntityLinker(self.catalogue, self._nearest_items)

    def _nearest_items(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The item rows nearest to a text and their cosines, best first."""
        vector = self._embedder.encode([sanitize_for_prompt(text, 500)])
        (page,) = self.index.nearest(ITEMS, vector, lambda _, keys: [key in self.catalogue.rows for key in keys], NEAREST_ITEMS)
        rows = np.asarray([self.catalogue.rows[key] for key, _ in page], dtype=np.int64)
        return rows, np.asarray([cosine for _, cosine in page], dtype=np.float32)

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder(str((self.workspace.manifest.index or {})["embedder"]), threads=self.settings.threads)

    @cached_property
    def _fallback_needs(self) -> FallbackNeeds:
        relations = DeclaredRelations(self.workspace.table("relations"), self.catalogue)
        return FallbackNeeds(self.catalogue, relations, lambda texts: self._embedder.encode(texts), self.min_users)

    @cached_property
    def llm(self) -> LanguageModel | None:
        """The language model of the settings; None for `none`."""
        from ...llm.models.language_model import LanguageModel

        return None if self.settings.llm == "none" else LanguageModel.load(self.settings)

    @cached_property
    def _need_sentences(self) -> NeedSentences:
        reviews = self.workspace.table("reviews")
        return NeedSentences(self.llm, ReviewTable(reviews.with_columns(review_ids(reviews)).sort("item_id", maintain_order=True)))


def _check(k: int) -> None:
    if not 1 <= k <= MAX_NEEDS:
        raise QueryError(f"k must be 1 to {MAX_NEEDS}, not {k}")


def _substitutes(pairs: pl.DataFrame, catalogue: Catalogue) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The item rows of all pairs that are labelled substitutes: (sources, targets)."""
    import polars as pl

    labelled, rows = pairs.filter(pl.col("substitute")), catalogue.row_table()
    source, target = (
        labelled.select(name).join(rows, left_on=name, right_on="item_id", maintain_order="left")["row"].to_numpy()
        for name in ("source", "target")
    )
    return source, target


def _strongest(items: next_purchases.TransitionStats, node: NDArray[np.int32], of: int, instead: NDArray[np.bool_]) -> list[int]:
    """Places of the items of a category whose lift is surely highest, substitutes, (items,) which, left out."""
    places = np.flatnonzero((node[items.codes] == of) & (items.lift > 1) & ~instead[items.codes])
    return [int(j) for j in places[np.argsort(-items.lift_low[places], kind="stable")][:MAX_ITEMS]]
