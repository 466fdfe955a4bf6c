"""Query tree: names joined with and, or, not, and whether any user can match it.

Knows no store: what a name means there is resolved in `entity_linking`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

TermKind = Literal["category", "brand", "item", "use", "text"]


@dataclass(frozen=True, slots=True)
class Term:
    """A name as the user wrote it; `kind` is None unless the question gives it (`category:phones`)."""

    text: str
    kind: TermKind | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """Users who do not match the operand."""

    operand: QueryNode


@dataclass(frozen=True, slots=True)
class And:
    """Users who match every operand; two or more, none of them an `And`."""

    operands: tuple[QueryNode, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Users who match any operand; two or more, none of them an `Or`."""

    operands: tuple[QueryNode, ...]


QueryNode: TypeAlias = Term | Not | And | Or


def to_text(node: QueryNode) -> str:
    """Return the tree as a question; `grammar.parse` of it gives the same tree."""
    if isinstance(node, Term):
        return f'{node.kind + ":" if node.kind else ""}"{node.text.replace(chr(34), chr(34) * 2)}"'
    if isinstance(node, Not):
        return f"not {_bracketed(node.operand)}"
    operator = " and " if isinstance(node, And) else " or "
    return operator.join(_bracketed(operand) for operand in node.operands)


def terms(node: QueryNode) -> Iterator[Term]:
    """Yield the names of a tree, left to right, repeated names included."""
    if isinstance(node, Term):
        yield node
    else:
        for operand in (node.operand,) if isinstance(node, Not) else node.operands:
            yield from terms(operand)


def negated_terms(node: QueryNode, negated: bool = False) -> set[Term]:
    """Return the names of a tree that occur under a `not`."""
    if isinstance(node, Term):
        return {node} if negated else set()
    if isinstance(node, Not):
        return negated_terms(node.operand, not negated)
    return set().union(*(negated_terms(operand, negated) for operand in node.operands))


def conjunction(operands: Iterable[QueryNode]) -> QueryNode:
    """Return the operands joined with and: nested `And` flattened, duplicates dropped, a single operand itself."""
    flat = dict.fromkeys(inner for node in operands for inner in (node.operands if isinstance(node, And) else (node,)))
    return And(tuple(flat)) if len(flat) > 1 else next(iter(flat))


def disjunction(operands: Iterable[QueryNode]) -> QueryNode:
    """Return the operands joined with or: nested `Or` flattened, duplicates dropped, a single operand itself."""
    flat = dict.fromkeys(inner for node in operands for inner in (node.operands if isinstance(node, Or) else (node,)))
    return Or(tuple(flat)) if len(flat) > 1 else next(iter(flat))


def negation(node: QueryNode) -> QueryNode:
    """Return the negated node; a double negation is removed."""
    return node.operand if isinstance(node, Not) else Not(node)


def satisfiable(tree: QueryNode, implications: Iterable[tuple[Term, Term]] = ()) -> bool:
    """Whether any user can match.

    Args:
        implications: (narrow, broad) pairs of terms: users of the narrow one are users of the broad one, as iPhones are phones.
    """
    keys = _term_numbers(tree)
    table = _truth_table(tree, keys)
    for narrow, broad in implications:
        table &= ~_truth_table(narrow, keys) | _truth_table(broad, keys)
    return table != 0


def matches_without_names(tree: QueryNode) -> bool:
    """Whether a user who has none of the names matches, which is true of nearly everyone: "not phones"."""
    return bool(_truth_table(tree, _term_numbers(tree)) & 1)


def distinct_terms(tree: QueryNode) -> int:
    """Return the number of distinct names, without regard to case."""
    return len(_term_numbers(tree))


def _bracketed(node: QueryNode) -> str:
    return f"({to_text(node)})" if isinstance(node, And | Or) else to_text(node)


# ------------------------------------------------------------------ truth tables: bit i is the value under assignment i


def _term_numbers(tree: QueryNode) -> dict[tuple[str, str | None], int]:
    """Number the distinct names of a tree, without regard to case."""
    return {key: number for number, key in enumerate(dict.fromkeys(map(_term_key, terms(tree))))}


def _term_key(term: Term) -> tuple[str, str | None]:
    return term.text.casefold(), term.kind


def _truth_table(node: QueryNode, keys: dict[tuple[str, str | None], int]) -> int:
    """Return the assignments, of 2 ** len(keys), under which a node is true; name k is true in those whose number has bit k set."""
    assignments = 1 << len(keys)
    all_true = (1 << assignments) - 1
    if isinstance(node, Term):
        period = 1 << keys[_term_key(node)]
        # 2**k assignments without the name, 2**k with it, and so on: 0b10101010, 0b11001100, 0b11110000.
        return all_true // ((1 << 2 * period) - 1) * (((1 << period) - 1) << period)
    if isinstance(node, Not):
        return all_true ^ _truth_table(node.operand, keys)
    tables = [_truth_table(operand, keys) for operand in node.operands]
    result = all_true if isinstance(node, And) else 0
    for table in tables:
        result = result & table if isinstance(node, And) else result | table
    return result
