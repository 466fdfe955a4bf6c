"""Segment results from exact counts: significant needs, limited to figures that disclosure control lets through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import QueryError
from ...data.privacy.query_audit import QueryAuditLog
from ...prompts.sanitize import sanitize_for_prompt
from ...retrieval.associations import statistics
from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL
from ...retrieval.items.interactions import Events
from ..evidence.review_excerpts import display_name
from . import next_purchases
from .disclosure_control import DisclosedCells, disclose
from .fallback_needs import MAX_ITEMS, FallbackNeeds, popular_items
from .next_purchases import TransitionStats
from .resolved_query import ResolvedQuery
from .results import CategoryNeed, ItemNeed, SegmentResult

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class _SignificantNeeds:
    """Result of the significance test of all categories.

    Attributes:
        best: Indices into the transition statistics of the significant needs, best first, cut to some number.
        fdr: (codes,) false-discovery rates; 1 for categories that were not tested.
        significant: Number of significant needs before the cut.
        tested: Number of tested categories.
    """

    best: list[int]
    fdr: NDArray[np.float64]
    significant: int
    tested: int


class ExactCounter:
    """Answers questions from exact counts.

    Args:
        catalogue: Items of the store.
        events: Events of the store.
        window: Maximum time between an anchor and what follows it, in days, or in positions.
        audit_log: Records what is disclosed, and suppresses what would disclose few users.
        fallback_needs: Needs for questions with few needs in behaviour.
        pairs: Item associations of the store, with the column `substitute`.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        events: Events,
        window: int,
        audit_log: QueryAuditLog,
        fallback_needs: FallbackNeeds,
        pairs: pl.DataFrame,
    ) -> None:
        self.catalogue, self.events, self.window, self.audit_log = catalogue, events, window, audit_log
        self.min_users = audit_log.min_users
        self._fallback_needs, self._substitutes = fallback_needs, _substitutes(pairs, catalogue)

    def result(self, query: ResolvedQuery, k: int) -> tuple[SegmentResult, TransitionStats]:
        """Return the result of a question without sentences, and the statistics that it was chosen from, which must not be shown.

        Raises:
            QueryError: No user matches.
            SuppressedError: The cohort is too small, or differs by too few users from an earlier one.
        """
        if not len(query.cohort):
            did = self.catalogue.counted_past
            raise QueryError(f"nobody {did} that (understood: {query.summary()}); remove a condition or ask about a broader group")
        population, cohort = query.population, query.cohort
        item_stats: TransitionStats | None = None
        items: dict[int, list[int]] = {}
        if query.reverse:
            stats = next_purchases.source_categories(population, cohort, query.depth)
            needs = self._significant(stats, 3 * k)  # some may be suppressed
        else:
            following = population.events_after(cohort)
            stats = next_purchases.next_categories(population, cohort, following, query.depth)
            needs = self._significant(stats, 3 * k)
            node_of_row = self.catalogue.tree.at(query.depth)
            in_needs = np.isin(node_of_row, stats.codes[needs.best])
            item_stats = next_purchases.next_items(population, cohort, following, in_needs, min_users=self.min_users)
            substitutes = self._substitutes_of(cohort.item_mask)
            items = {i: _strongest_items(item_stats, node_of_row, int(stats.codes[i]), substitutes) for i in needs.best}
        cells = disclose(self.audit_log, self.catalogue, query.text, cohort.users, stats, needs.best, item_stats, items, k)
        shown = self._category_needs(query, stats, needs.fdr, item_stats, cells)
        if not query.reverse:
            shown += self._fallback_needs.declared_needs(query, shown, k)
            shown += self._fallback_needs.text_needs(query, shown, stats, k)
        return self._segment_result(query, shown, cells.suppressed, self._notes(query, needs)), stats

    def _significant(self, stats: TransitionStats, n: int) -> _SignificantNeeds:
        """Return the first `n` categories that are more frequent than by chance, highest lower end of the lift interval first."""
        # Categories that could not be shown whatever their counts are not tested; this choice does not depend on the counts of the cohort.
        tested = (stats.baseline_users >= self.min_users) & (stats.totals >= self.min_users)
        fdr = np.ones(len(stats.p_value))
        fdr[tested] = statistics.false_discovery_rate(stats.p_value[tested], int(tested.sum()))
        significant = np.flatnonzero((fdr <= SIGNIFICANCE_LEVEL) & (stats.lift > 1) & (stats.users > 0))
        best: list[int] = significant[np.argsort(-stats.lift_low[significant], kind="stable")][:n].tolist()
        return _SignificantNeeds(best, fdr, len(significant), int(tested.sum()))

    def _category_needs(
        self,
        query: ResolvedQuery,
        stats: TransitionStats,
        fdr: NDArray[np.float64],
        item_stats: TransitionStats | None,
        cells: DisclosedCells,
    ) -> tuple[CategoryNeed, ...]:
        relation_counts = self._fallback_needs.relation_counts(query)
        return tuple(
            CategoryNeed(
                category=self.catalogue.tree.paths[int(stats.codes[i])],
                sources=("behaviour", *(("knowledge",) if not query.reverse and relation_counts[int(stats.codes[i])] else ())),
                users=int(stats.users[i]),
                of=int(stats.totals[i]),
                share=float(stats.share[i]),
                share_interval=(float(stats.share_low[i]), float(stats.share_high[i])),
                base_rate=float(stats.base_rate[i]),
                lift=float(stats.lift[i]),
                lift_interval=(float(stats.lift_low[i]), float(stats.lift_high[i])),
                llr=float(stats.llr[i]),
                fdr=float(fdr[i]),
                reach=self._reach(int(stats.totals[i] - stats.cohort_users[i]), i in cells.reach),
                median_days=None if self.events.order == "none" else round(float(stats.median_gap[i]) / self.events.unit, 1),
                items=self._items(int(stats.codes[i]), query.depth, item_stats, cells.items.get(i, ())) if item_stats else (),
            )
            for i in cells.needs
        )

    def _reach(self, users: int, exact: bool) -> int:
        """Return the users of the cohort without the category, rounded down if the exact number would disclose few users."""
        return users if exact else users // self.min_users * self.min_users

    def _items(self, node: int, depth: int, stats: TransitionStats, indices: Sequence[int]) -> tuple[ItemNeed, ...]:
        """Return the items of a need, strongest first, completed by popular ones without figures."""
        items = [
            ItemNeed(
                self.catalogue.id(int(stats.codes[j])),
                display_name(self.catalogue.records([int(stats.codes[j])])[0]),
                int(stats.users[j]),
                float(stats.lift[j]),
                (float(stats.lift_low[j]), float(stats.lift_high[j])),
            )
            for j in indices
        ]
        present = {item.item_id for item in items}
        return (*items, *popular_items(self.catalogue, node, depth, present, MAX_ITEMS - len(items)))

    def _substitutes_of(self, item_mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the substitutes of some items, (items,) bool: what replaces an item of the cohort is not a need."""
        sources, targets = self._substitutes
        mask = np.zeros(len(self.catalogue), dtype=bool)
        mask[targets[item_mask[sources]]] = True
        return mask

    def _segment_result(
        self, query: ResolvedQuery, needs: tuple[CategoryNeed, ...], suppressed: int, notes: Iterator[str]
    ) -> SegmentResult:
        return SegmentResult(
            question=query.text,
            direction=query.parsed.direction,
            understood=query.interpretation(),
            cohort=len(query.cohort),
            of=query.population.user_count,
            needs=needs,
            suppressed=suppressed,
            privacy={"min_users": self.min_users, "epsilon": None},
            order=self.events.order,
            window=self.window,
            level=query.depth,
            verb=self.catalogue.counted_past,
            words=self.catalogue.words,
            filters=query.filters.to_dict(),
            notes=tuple(notes),
        )

    def _notes(self, query: ResolvedQuery, needs: _SignificantNeeds) -> Iterator[str]:
        for term, meaning in query.meanings.items():
            if meaning.choices and meaning.match != "meaning":
                others = "; ".join(sanitize_for_prompt(choice.ask, 90) for choice in meaning.choices[:3])
                yield f"“{sanitize_for_prompt(term.text, 60)}” could also be: {others}"
        if not needs.significant:
            deeper = f"; narrower categories may tell more (level {query.depth + 1})" if query.depth < self.catalogue.tree.levels else ""
            yield f"nothing among {needs.tested} categories is more frequent here than chance would have it{deeper}"
        if self.events.order == "none":
            yield "this store's interactions have no order: a figure says who has both, not which came first"


def _substitutes(pairs: pl.DataFrame, catalogue: Catalogue) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the item rows of all pairs that are labelled substitutes: (sources, targets)."""
    import polars as pl

    labelled, rows = pairs.filter(pl.col("substitute")), catalogue.row_table()
    source, target = (
        labelled.select(name).join(rows, left_on=name, right_on="item_id", maintain_order="left")["row"].to_numpy()
        for name in ("source", "target")
    )
    return source, target


def _strongest_items(stats: TransitionStats, node_of_row: NDArray[np.int32], node: int, substitutes: NDArray[np.bool_]) -> list[int]:
    """Return the indices of the items of a category with the highest lower end of the lift interval, without substitutes."""
    indices = np.flatnonzero((node_of_row[stats.codes] == node) & (stats.lift > 1) & ~substitutes[stats.codes])
    return [int(j) for j in indices[np.argsort(-stats.lift_low[indices], kind="stable")][:MAX_ITEMS]]
