"""`Probe`: questions about groups of users: what they need next, who needs an item, how two groups differ.

question -> query tree -> meanings of the names -> cohort -> transition statistics -> disclosure control -> sentences
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import QueryError, StaleIndexError
from ...data.privacy.budget_ledger import PrivacyBudget
from ...data.privacy.disclosure import MIN_USERS, CountCell, check_min_users
from ...data.privacy.query_audit import QueryAuditLog
from ...data.settings import Settings
from ...data.workspace import Workspace
from ...prompts.sanitize import sanitize_for_prompt
from ...retrieval.associations import count_store, mining
from ...retrieval.index.builder import load
from ...retrieval.index.embedder import Embedder
from ...retrieval.index.vector_index import ITEMS
from ...retrieval.items.interactions import Events
from ...retrieval.items.relations import DeclaredRelations
from ...retrieval.uses.store import read_uses
from ..evidence.quotations import Quotations
from .cohorts import Cohort, Population
from .comparison import cohort_differences
from .disclosure_control import cell_name
from .exact_counts import ExactCounter
from .fallback_needs import FallbackNeeds
from .need_sentences import NeedSentences
from .private_counts import private_result
from .query.entity_linking import EntityLinker
from .query.filters import NO_FILTERS, Filters
from .query.grammar import parse
from .query.query_tree import negated_terms
from .query.use_names import UseNames
from .resolved_query import ResolvedQuery
from .results import CohortComparison, SegmentResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...llm.models.language_model import LanguageModel

DEFAULT_BUDGET = 10.0
"""Privacy budget of a workspace: maximum sum of the epsilons of all its noisy answers."""
MAX_NEEDS = 100
"""Maximum number of needs in a result."""
NEAREST_ITEMS = 300
"""Number of items retrieved for a free text."""


class Probe:
    """Answers questions about the users of one workspace; open it with `Probe.open(path)`. Models are loaded on first use.

    Args:
        workspace: An indexed workspace.
        settings: Models and threads.
        min_users: Smallest group whose statistics may be shown (k-anonymity threshold).
        budget: Privacy budget: maximum sum of the epsilons of all noisy answers of the workspace.

    Raises:
        NoIndexError, StaleIndexError: The workspace is not indexed, or changed since; run `index`.
        SettingsError: `min_users` or `budget` is out of range.
    """

    def __init__(self, workspace: Workspace, settings: Settings, *, min_users: int = MIN_USERS, budget: float = DEFAULT_BUDGET) -> None:
        self.workspace, self.settings, self.min_users = workspace, settings, check_min_users(min_users)
        self.catalogue, self.index, pairs = load(workspace, settings)
        folder = mining.folder(workspace)
        window = int(count_store.about(folder)["window"])
        self.events = Events.build(workspace.table("interactions"), self.catalogue)
        self.population = Population(
            self.events, self.catalogue, window, count_store.load_user_weights(folder), lambda depth: count_store.margins(folder, depth)
        )
        snapshot = str(workspace.manifest.snapshot)
        self.audit_log = QueryAuditLog(workspace.path, snapshot, len(self.events.users), self.min_users)
        self.privacy_budget = PrivacyBudget(workspace.path, snapshot, budget)
        relations = DeclaredRelations(workspace.table("relations"), self.catalogue)
        fallback_needs = FallbackNeeds(self.catalogue, relations, lambda texts: self._embedder.encode(texts), self.min_users)
        self._exact_counter = ExactCounter(self.catalogue, self.events, window // self.events.unit, self.audit_log, fallback_needs, pairs)
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
        """Open a workspace for questions.

        Args:
            workspace: A workspace or its folder.
            llm: Language model in place of the settings'; `none` for template sentences.
            settings: Default, those of the environment.
            min_users: Smallest group whose statistics may be shown (k-anonymity threshold).
            budget: Privacy budget for answers with `epsilon`.

        Raises:
            NoWorkspaceError: The folder is not a workspace.
            NoIndexError, StaleIndexError: The workspace is not indexed, or changed since; run `index`.
            SettingsError: A setting is invalid.
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
        """Return what a group of users needs next; for a reverse question ("who would need a tripod?"), the categories whose users need it.

        Args:
            question: Names of categories, items and brands, or free text, joined with and, or, not.
            filters: Period, prices and other conditions on the cohort.
            k: Maximum number of needs, 1 to 100.
            level: Level of the categories in the result, 1 = broadest; default, that of the question's categories, else the workspace's.
            epsilon: Privacy loss for differentially private counts, charged to the budget; None for exact counts.
            words: Whether to add a sentence to each need.

        Raises:
            QueryError: No user matches, a name or a filter is invalid, or k is out of range; the message has what was understood.
            SuppressedError: The group is too small, or differs by too few users from an earlier one.
            BudgetSpentError: The remaining budget is smaller than `epsilon`.
        """
        _check_k(k)
        query = self.understand(question, filters, level)
        noisy = epsilon is not None
        if epsilon is not None:
            result = private_result(query, self.privacy_budget, self.min_users, k, epsilon)
        else:
            result, _ = self._exact_counter.result(query, k)
        if not words:
            return result
        quoted_items = [() if noisy or query.reverse else need.items for need in result.needs]
        return self._need_sentences.add_sentences(result, *query.cohort_label, quoted_items, noisy=noisy)

    def compare(
        self, question: str, against: str, *, filters: Filters = NO_FILTERS, k: int = 10, level: int | None = None
    ) -> CohortComparison:
        """Return the significant differences between the needs of two groups, largest ratio of their shares first.

        Args:
            question: The first group (see `ask`).
            against: The second group.
            filters: Conditions on both cohorts.
            k: Maximum number of needs of each group and of differences, 1 to 100.
            level: Level of the categories; default, the deeper of the two questions' levels.

        Raises:
            QueryError: As in `ask`, and for a reverse question.
            SuppressedError: As in `ask`.
        """
        _check_k(k)
        queries = [self.understand(text, filters, level) for text in (question, against)]
        if any(query.reverse for query in queries):
            raise QueryError('two groups are compared by what they need next: ask for both as in "phones", not as in "who needs phones"')
        depth = max(query.depth for query in queries)
        queries = [replace(query, depth=depth) for query in queries]
        (first, first_stats), (second, second_stats) = (self._exact_counter.result(query, k) for query in queries)
        differences = cohort_differences(self.catalogue.tree.paths, first_stats, second_stats, self.min_users, k)
        # Each count is disclosed for its own group, under the same rules as a result about that group alone.
        for side, (query, stats) in enumerate(zip(queries, (first_stats, second_stats), strict=True)):
            by_cell = {cell_name(stats, difference.category): difference for difference in differences}
            cells = {name: CountCell(difference.users[side]) for name, difference in by_cell.items()}
            hidden = self.audit_log.admit_query(query.text, query.cohort.users, cells)
            differences = tuple(difference for name, difference in by_cell.items() if name not in hidden)
        return CohortComparison((first, second), differences)

    def understand(self, text: str, filters: Filters = NO_FILTERS, level: int | None = None) -> ResolvedQuery:
        """Return the meaning of a question in this store and its cohort, without disclosing any count.

        Raises:
            QueryError: As in `ask`.
        """
        filters.check()
        if level is not None and level < 1:
            raise QueryError(f"the level must be 1 (the broadest) or more, not {level}")
        parsed = parse(text, self._entity_linker.is_name)
        meanings = self._entity_linker.resolve_all(parsed.tree)
        positive = set(meanings) - negated_terms(parsed.tree)
        allowed = filters.rows(self.catalogue)
        item_masks = {term: meaning.item_mask & allowed if term in positive else meaning.item_mask for term, meaning in meanings.items()}
        depths = [len(meanings[term].name) if meanings[term].kind == "category" else self.catalogue.level for term in positive]
        depth = min(level or max(depths), max(self.catalogue.tree.levels, 1))
        population = self._population(filters)
        cohort = population.cohort(parsed.tree, item_masks, at_least=filters.at_least)
        query = ResolvedQuery(text, parsed, meanings, item_masks, filters, population, cohort, depth)
        empty = next((term for term in positive if not item_masks[term].any()), None)
        if empty is not None:
            name = sanitize_for_prompt(empty.text, 60)
            raise QueryError(
                f"no {self.catalogue.words.item} of {name!r} satisfies the filters (understood: {query.summary()}); loosen one of them"
            )
        return replace(query, cohort=self._first_time_cohort(query)) if filters.first_time else query

    @cached_property
    def llm(self) -> LanguageModel | None:
        """Language model of the settings; None for `none`."""
        from ...llm.models.language_model import LanguageModel

        return None if self.settings.llm == "none" or self.settings.is_remote else LanguageModel.load(self.settings)

    def _population(self, filters: Filters) -> Population:
        period = filters.period
        if period == (None, None):
            return self.population
        if period not in self._periods:
            self._periods[period] = self.population.in_period(*period)
        return self._periods[period]

    def _first_time_cohort(self, query: ResolvedQuery) -> Cohort:
        """Return the users of the cohort whose first event with its items was in the period, or, without one, whose only event it was."""
        events, since = self.events, query.filters.period[0]
        with_items = query.cohort_items[events.row]
        first_time = np.ones(len(events.users), dtype=bool)
        if query.filters.period == (None, None):
            first_time = np.bincount(events.user[with_items], minlength=len(events.users)) == 1
        elif since is not None:
            first_time[events.user[with_items & (events.time < since)]] = False
        in_cohort = np.zeros(len(events.users), dtype=bool)
        in_cohort[query.cohort.users] = True
        return query.cohort.restricted_to(first_time & in_cohort, query.population.events)

    def _nearest_items(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the item rows nearest to a text and their cosines, best first."""
        vector = self._embedder.encode([sanitize_for_prompt(text, 500)])
        (page,) = self.index.nearest(ITEMS, vector, lambda _, keys: [key in self.catalogue.rows for key in keys], NEAREST_ITEMS)
        rows = np.asarray([self.catalogue.rows[key] for key, _ in page], dtype=np.int64)
        return rows, np.asarray([cosine for _, cosine in page], dtype=np.float32)

    @cached_property
    def _entity_linker(self) -> EntityLinker:
        try:
            uses = UseNames.from_uses(read_uses(self.workspace), self.catalogue)
        except StaleIndexError:  # an index of a former version: uses are then free text
            uses = None
        return EntityLinker(self.catalogue, self._nearest_items, uses)

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder(str((self.workspace.manifest.index or {})["embedder"]), threads=self.settings.threads)

    @cached_property
    def _need_sentences(self) -> NeedSentences:
        quotations = Quotations.of_workspace(self.workspace, self.index, self._embedder.encode)
        return NeedSentences(self.llm, quotations, self.catalogue.words)


def _check_k(k: int) -> None:
    if not 1 <= k <= MAX_NEEDS:
        raise QueryError(f"k must be 1 to {MAX_NEEDS}, not {k}")
