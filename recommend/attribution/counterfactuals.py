"""What would be if: the rank of an item without one of the history items, and under other rules.

Each is recomputed by the path that recommends (see `placing`): "without the tripod in the history it would be 14th" is what somebody gets
who asks without the tripod. What counts of the whole store (who had what with what) still knows the shopper as he is. A tuned LLM that has
a vote costs a second a time, so what is worth telling is chosen by the order without it, and what is told is recomputed with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ...data.records import Item, Query, Rules
from ..constraints import eligibility as ruled
from .item_rank import ItemRank, rank_item
from .rule_alternatives import cli_options, narrow_rules, relax_rules

if TYPE_CHECKING:
    from ..recommender import Recommender

MAX_HISTORY_ITEMS = 8
"""History items that are left out in turn, at most."""
MAX_PER_KIND = 3
"""Counterfactuals of each kind that are told."""


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What would be if one thing were different.

    Attributes:
        kind: what is different. change: it in words, as a sentence begins. options: the whole of it as options of the command line.
        without: the history items that are left out, those of the question included. rules: those it was recomputed under.
        rank: what the item's rank would be among `of` candidates; None if it would be none of them. left_out: the rules that would turn
            it away.
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
        """The counterfactual, said."""
        if self.left_out:
            return f"{self.change} it would be left out: {' and '.join(self.left_out)}"
        if self.rank is None:
            return f"{self.change} it would not be among the {self.of:,} candidates"
        return f"{self.change} it would be {ordinal(self.rank)} of {self.of:,}"

    def to_dict(self) -> dict[str, Any]:
        """The counterfactual as JSON holds it."""
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
    """A query with one thing different: what, in words."""

    kind: Literal["history", "rules"]
    words: str
    query: Query


def counterfactuals(
    recommender: Recommender, query: Query, item: Item, actual: ItemRank, matter: Sequence[int]
) -> tuple[tuple[Counterfactual, ...], tuple[str, ...]]:
    """What would change an item's rank: without history items, the largest change first, then other rules; and what is to be said beside.

    Args:
        query: the question as it was asked. actual: where the item stands for it.
        matter: rows of history items that may matter, the likeliest first; `RECOMPUTED` are left out in turn.
    """
    notes = []
    had = actual.shopper.rows.tolist()
    row = recommender.catalogue.row(item.item_id)
    if len(had) == 1:
        changes, notes = [], ["the history has one item; without it there is nothing to go by"]
    else:
        changes = _without(recommender, query, _in_question(had, row, actual, matter, recommender))
    of_history = _told(recommender, query, changes, row, actual)
    if changes and not of_history and not actual.left_out:
        notes.append("no single item of the history changes its rank" if len(changes) == len(had) else _unmoved(len(changes)))
    if actual.left_out:
        other = relax_rules(query.rules, actual.left_out, item, recommender.catalogue)
        allowed = [QueryChange("rules", other.words, replace(query, rules=other.rules))] if other else []
        of_rules = _told(recommender, query, allowed, row, actual)
        if other is None:
            notes.append(f"no rule can let it in: it is {' and '.join(actual.left_out)}")
    else:
        narrower = narrow_rules(query.rules, item, recommender.catalogue)
        changes = [QueryChange("rules", one.words, replace(query, rules=one.rules)) for one in narrower]
        of_rules = _told(recommender, query, changes, row, actual)
        of_rules = [one for one in of_rules if one.rank is not None and (actual.rank is None or one.rank < actual.rank)]
        asked = [one.rules for one in narrower]  # among three of one brand it is easily the first, which is not to stand first
        of_rules.sort(key=lambda one: asked.index(one.rules))
    return (*of_history, *of_rules), tuple(notes)


def ordinal(number: int) -> str:
    """A number of 1 or more as a place: 1st, 2nd, 3rd, 11th, 1,022nd."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _unmoved(tried: int) -> str:
    return f"none of the {tried} likeliest items of the history changes its rank by itself"


def _in_question(had: Sequence[int], row: int, actual: ItemRank, matter: Sequence[int], recommender: Recommender) -> list[int]:
    """The history items that are left out in turn."""
    if not actual.left_out:
        return list(dict.fromkeys([*matter, *reversed(had)]))[:MAX_HISTORY_ITEMS]
    if not set(actual.left_out) <= {ruled.OWNED, ruled.KNOWN_CATEGORY}:
        return []
    # Only where one item alone makes its category known does it matter to a rule.
    category = recommender.catalogue.category
    blame = [other for other in had if other == row or category[other] == category[row]]
    return blame if len(blame) == 1 else []


def _without(recommender: Recommender, query: Query, rows: Iterable[int]) -> list[QueryChange]:
    """The query without each of some history items."""
    return [
        QueryChange("history", f"without {one.title or one.item_id} in the history", replace(query, without=(*query.without, one.item_id)))
        for one in recommender.catalogue.records(list(rows))
    ]


def _told(recommender: Recommender, query: Query, changes: Sequence[QueryChange], row: int, actual: ItemRank) -> list[Counterfactual]:
    """At most `KEPT` of the changes with what each leads to, what changes the rank most first; none that leaves it as it is."""
    tried = [(change, rank_item(recommender, change.query, row, use_llm=False)) for change in changes]
    if recommender.uses_llm_weight and tried:
        likely = _largest(tried, rank_item(recommender, query, row, use_llm=False))[:MAX_PER_KIND]
        tried = [(change, rank_item(recommender, change.query, row)) for change, _ in likely]
    return [_counterfactual(change, found) for change, found in _largest(tried, actual)[:MAX_PER_KIND]]


def _largest(tried: Sequence[tuple[QueryChange, ItemRank]], before: ItemRank) -> list[tuple[QueryChange, ItemRank]]:
    """Those that make a difference, the largest first."""
    moved = [(change, found) for change, found in tried if found.outcome != before.outcome]
    return sorted(moved, key=lambda pair: -abs(_depth(pair[1]) - _depth(before)))


def _depth(found: ItemRank) -> int:
    """How far down an item stands; below all others where it is no candidate."""
    return found.rank if found.rank is not None else found.of + 1


def _counterfactual(change: QueryChange, found: ItemRank) -> Counterfactual:
    query = change.query
    options = cli_options(query.rules, query.without)
    return Counterfactual(change.kind, change.words, options, query.without, query.rules, found.rank, found.of, found.left_out)
