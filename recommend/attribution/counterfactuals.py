"""Counterfactuals: the item's rank without a given history item, or under different rules.

Each counterfactual is recomputed with the steps of a recommendation (see `item_rank`): "without the tripod in the history it would be 14th"
is the rank for a query without the tripod. Counts over the whole store (co-purchases) still include the shopper's own history. A fine-tuned
LLM takes about a second per ranking, so the changes to report are selected without it and then recomputed with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ...data.records import Item, Query, Rules
from ...data.store_words import StoreWords
from ..constraints import eligibility
from ..constraints.eligibility import rule_text
from .item_rank import ItemRank, rank_item
from .rule_alternatives import cli_options, narrow_rules, relax_rules

if TYPE_CHECKING:
    from ..recommender import Recommender

MAX_HISTORY_ITEMS = 8
"""Maximum number of history items that are left out, one at a time."""
MAX_PER_KIND = 3
"""Maximum number of counterfactuals of each kind."""


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """The item's rank after one change to the query.

    Attributes:
        kind: what is changed.
        change: the change as the beginning of a sentence.
        options: the changed query as command-line options.
        without: ids of the history items that are left out, including those of the query.
        rules: of the changed query.
        rank: of the item among `of` candidates; None if it is not a candidate.
        of: number of candidates.
        left_out: rules that the item violates.
    """

    kind: Literal["history", "rules"]
    change: str
    options: str
    without: tuple[str, ...]
    rules: Rules
    rank: int | None
    of: int
    left_out: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The counterfactual as a sentence."""
        if self.left_out:
            return f"{self.change} it would be left out: {' and '.join(self.left_out)}"
        if self.rank is None:
            return f"{self.change} it would not be among the {self.of:,} candidates"
        return f"{self.change} it would be {ordinal(self.rank)} of {self.of:,}"

    def to_dict(self) -> dict[str, Any]:
        """Return the counterfactual as plain JSON types."""
        return {
            "kind": self.kind,
            "sentence": self.sentence,
            "options": self.options,
            "rank": self.rank,
            "of": self.of,
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True, slots=True)
class QueryChange:
    """A query with one change, and the change as the beginning of a sentence."""

    kind: Literal["history", "rules"]
    words: str
    query: Query


def counterfactuals(
    recommender: Recommender, query: Query, item: Item, actual: ItemRank, relevant: Sequence[int]
) -> tuple[tuple[Counterfactual, ...], tuple[str, ...]]:
    """Return what would change an item's rank, and notes.

    Args:
        recommender: ranks the candidates.
        query: the original query.
        item: whose rank is compared.
        actual: its rank for the original query.
        relevant: rows of history items that may have an effect, most likely first; at most `MAX_HISTORY_ITEMS` are tried.
    Returns: counterfactuals without history items, largest change first, then under other rules; notes for the reader.
    """
    notes, words = [], recommender.catalogue.words
    history = actual.shopper.rows.tolist()
    row = recommender.catalogue.row(item.item_id)
    if len(history) == 1:
        changes, notes = [], [f"the history has one {words.item}; without it there is nothing to go by"]
    else:
        changes = _without_items(recommender, query, _history_items_to_try(history, row, actual, relevant, recommender))
    history_counterfactuals = _largest_counterfactuals(recommender, query, changes, row, actual)
    if changes and not history_counterfactuals and not actual.left_out:
        has_tried_all = len(changes) == len(history)
        notes.append(f"no single {words.item} of the history changes its rank" if has_tried_all else _no_effect_note(len(changes), words))
    if actual.left_out:
        relaxed = relax_rules(query.rules, actual.left_out, item, recommender.catalogue)
        changes = [QueryChange("rules", relaxed.words, replace(query, rules=relaxed.rules))] if relaxed else []
        rule_counterfactuals = _largest_counterfactuals(recommender, query, changes, row, actual)
        if relaxed is None:
            notes.append(f"no rule can let it in: it is {' and '.join(rule_text(rule, words) for rule in actual.left_out)}")
    else:
        alternatives = narrow_rules(query.rules, item, recommender.catalogue)
        changes = [QueryChange("rules", alternative.words, replace(query, rules=alternative.rules)) for alternative in alternatives]
        rule_counterfactuals = [
            counterfactual
            for counterfactual in _largest_counterfactuals(recommender, query, changes, row, actual)
            if counterfactual.rank is not None and (actual.rank is None or counterfactual.rank < actual.rank)
        ]
        # In the order of the alternatives: a high rank among three items of one brand says little.
        rules = [alternative.rules for alternative in alternatives]
        rule_counterfactuals.sort(key=lambda counterfactual: rules.index(counterfactual.rules))
    return (*history_counterfactuals, *rule_counterfactuals), tuple(notes)


def ordinal(number: int) -> str:
    """Return a number of 1 or more as an ordinal: 1st, 2nd, 3rd, 11th, 1,022nd."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _no_effect_note(tried: int, words: StoreWords) -> str:
    return f"none of the {tried} likeliest {words.items} of the history changes its rank by itself"


def _history_items_to_try(
    history: Sequence[int], row: int, actual: ItemRank, relevant: Sequence[int], recommender: Recommender
) -> list[int]:
    """Return the rows of the history items to leave out, one at a time."""
    if not actual.left_out:
        return list(dict.fromkeys([*relevant, *reversed(history)]))[:MAX_HISTORY_ITEMS]
    if not set(actual.left_out) <= {eligibility.OWNED, eligibility.KNOWN_CATEGORY}:
        return []
    # Leaving out one item makes the category new only if no other history item is in it.
    category = recommender.catalogue.category
    same_category = [other for other in history if other == row or category[other] == category[row]]
    return same_category if len(same_category) == 1 else []


def _without_items(recommender: Recommender, query: Query, rows: Iterable[int]) -> list[QueryChange]:
    """Return one change per history item that leaves it out."""
    return [
        QueryChange(
            "history", f"without {item.title or item.item_id} in the history", replace(query, without=(*query.without, item.item_id))
        )
        for item in recommender.catalogue.records(list(rows))
    ]


def _largest_counterfactuals(
    recommender: Recommender, query: Query, changes: Sequence[QueryChange], row: int, actual: ItemRank
) -> list[Counterfactual]:
    """Return at most `MAX_PER_KIND` counterfactuals that differ from the actual outcome, largest change of rank first."""
    outcomes = [(change, rank_item(recommender, change.query, row, use_llm=False)) for change in changes]
    if recommender.uses_llm_weight and outcomes:
        selected = _by_size(outcomes, rank_item(recommender, query, row, use_llm=False))[:MAX_PER_KIND]
        outcomes = [(change, rank_item(recommender, change.query, row)) for change, _ in selected]
    words = recommender.catalogue.words
    return [_counterfactual(change, outcome, words) for change, outcome in _by_size(outcomes, actual)[:MAX_PER_KIND]]


def _by_size(outcomes: Sequence[tuple[QueryChange, ItemRank]], actual: ItemRank) -> list[tuple[QueryChange, ItemRank]]:
    """Return the changes with a different outcome, largest change of rank first."""
    different = [(change, outcome) for change, outcome in outcomes if outcome.outcome != actual.outcome]
    return sorted(different, key=lambda pair: -abs(_depth(pair[1]) - _depth(actual)))


def _depth(item_rank: ItemRank) -> int:
    """Return the rank, or one more than the number of candidates for an item that is not a candidate."""
    return item_rank.rank if item_rank.rank is not None else item_rank.of + 1


def _counterfactual(change: QueryChange, outcome: ItemRank, words: StoreWords) -> Counterfactual:
    query = change.query
    options = cli_options(query.rules, query.without)
    left_out = tuple(rule_text(rule, words) for rule in outcome.left_out)
    return Counterfactual(change.kind, change.words, options, query.without, query.rules, outcome.rank, outcome.of, left_out)
