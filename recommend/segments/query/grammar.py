"""The grammar of questions: a marketer's words -> a tree of names joined with and, or, not.

    "users who bought phones or tents but not cases also need ..."  ->  next, (phones or (tents and not cases))
    "who would need a tripod?"                                      ->  reverse, tripod

Not binds before and, and before or. A comma means what the next and/or of the same brackets means, as in a list that is read aloud.
`category:`, `brand:`, `item:` and `text:` say what a name is; double quotes keep a name whole (a quote inside is doubled).
Knows nothing of any store: what a name means is found elsewhere, and which words are a name is asked of the caller.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from ....data.errors import QueryError
from ....prompts.sanitize import sanitize_for_prompt
from .phrases import Direction, match_lead_in, split_question, strip_owner_noun

TermKind = Literal["category", "brand", "item", "text"]

MAX_CHARACTERS = 500
"""Characters of a question."""
MAX_NAMES = 12
"""Distinct names in a question: whether it can be satisfied is read off its truth table of two to that power."""
MAX_DEPTH = 20
"""Brackets inside brackets."""
MAX_NAME_TOKENS = 16
"""Words and signs of a name that holds an and, or, not or comma; a longer one has to be quoted."""


@dataclass(frozen=True, slots=True)
class Term:
    """A name as it was written; `kind` is None where the question leaves it open."""

    text: str
    kind: TermKind | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """Who has nothing of the part."""

    operand: QueryNode


@dataclass(frozen=True, slots=True)
class And:
    """Who is in every part; two parts or more, none of them an And."""

    operands: tuple[QueryNode, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Who is in any part; two parts or more, none of them an Or."""

    operands: tuple[QueryNode, ...]


QueryNode: TypeAlias = Term | Not | And | Or


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """What is asked: what those of the tree need `next`, or (`reverse`) who would need what the tree names."""

    direction: Direction
    tree: QueryNode


def parse(text: str, is_name: Callable[[str], bool] = lambda _: False) -> ParsedQuestion:
    """The question in a text.

    Args: known: whether some words are a name as they stand; asked before a name such as "Arts, Crafts & Sewing" is split.
    Raises: QueryError: empty, too long, unbalanced, without a name to start from, or contradicting itself; says what to do.
    """
    text = _cleaned(text)
    if '"' not in text and is_name(text):
        return ParsedQuestion("next", Term(text))
    direction, rest = split_question(text)
    tree = _Parser(rest, is_name).tree()
    if (names := len(_keys(tree))) > MAX_NAMES:
        raise QueryError(f"the question names {names} things; ask with at most {MAX_NAMES}, or name the category that holds them")
    if _table(tree, _keys(tree)) & 1:
        raise QueryError(
            f"{quoted(text)} only says what users do not have, which is true of nearly everyone; name something they have as well, "
            "for instance `phones and not cases`"
        )
    if not satisfiable(tree):
        raise QueryError(
            f"{quoted(text)} contradicts itself: it wants and rules out the same thing, so nobody can match; take one of them out"
        )
    return ParsedQuestion(direction, tree)


def to_text(node: QueryNode) -> str:
    """The tree as a question; `parse` of it gives the same tree back."""
    if isinstance(node, Term):
        return f'{node.kind + ":" if node.kind else ""}"{node.text.replace(chr(34), chr(34) * 2)}"'
    if isinstance(node, Not):
        return f"not {_bracketed(node.operand)}"
    word = " and " if isinstance(node, And) else " or "
    return word.join(_bracketed(part) for part in node.operands)


def terms(node: QueryNode) -> Iterator[Term]:
    """The names of a tree, left to right."""
    if isinstance(node, Term):
        yield node
    else:
        for part in (node.operand,) if isinstance(node, Not) else node.operands:
            yield from terms(part)


def conjunction(parts: Iterable[QueryNode]) -> QueryNode:
    """The parts joined with and: inner Ands dissolved, repetitions dropped, a single part itself."""
    flat = dict.fromkeys(inner for part in parts for inner in (part.operands if isinstance(part, And) else (part,)))
    return And(tuple(flat)) if len(flat) > 1 else next(iter(flat))


def disjunction(parts: Iterable[QueryNode]) -> QueryNode:
    """The parts joined with or: inner Ors dissolved, repetitions dropped, a single part itself."""
    flat = dict.fromkeys(inner for part in parts for inner in (part.operands if isinstance(part, Or) else (part,)))
    return Or(tuple(flat)) if len(flat) > 1 else next(iter(flat))


def negation(part: QueryNode) -> QueryNode:
    """The part negated; a double negation is the part within."""
    return part.operand if isinstance(part, Not) else Not(part)


def satisfiable(tree: QueryNode, implied: Iterable[tuple[Term, Term]] = ()) -> bool:
    """Whether anybody can match.

    Args: implied: (narrow, broad): whoever has the narrow name has the broad one, as who has iPhones has phones.
    """
    keys = _keys(tree)
    table = _table(tree, keys)
    for narrow, broad in implied:
        table &= ~_table(narrow, keys) | _table(broad, keys)
    return table != 0


def quoted(text: str, limit: int = 60) -> str:
    """A stranger's text, in quotes, as an error message may hold it."""
    return f'"{sanitize_for_prompt(text, limit)}"'


# ------------------------------------------------------------------ truth tables: bit i of a number is the truth in world i


def _keys(tree: QueryNode) -> dict[tuple[str, str | None], int]:
    """The distinct names of a tree, without regard to case, by number."""
    return {key: number for number, key in enumerate(dict.fromkeys(map(_key, terms(tree))))}


def _key(term: Term) -> tuple[str, str | None]:
    return term.text.casefold(), term.kind


def _table(node: QueryNode, keys: dict[tuple[str, str | None], int]) -> int:
    """In which of the 2 ** len(keys) worlds a node is true; name k is had in the worlds whose number has bit k set."""
    worlds = 1 << len(keys)
    everywhere = (1 << worlds) - 1
    if isinstance(node, Term):
        period = 1 << keys[_key(node)]
        # 2**k worlds without, 2**k with, and so on: 0b10101010, 0b11001100, 0b11110000
        return everywhere // ((1 << 2 * period) - 1) * (((1 << period) - 1) << period)
    if isinstance(node, Not):
        return everywhere ^ _table(node.operand, keys)
    tables = [_table(part, keys) for part in node.operands]
    result = everywhere if isinstance(node, And) else 0
    for table in tables:
        result = result & table if isinstance(node, And) else result | table
    return result


# ------------------------------------------------------------------ words and signs


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # word, quote, prefix, and, or, not, comma, (, )
    text: str
    start: int
    end: int


_SIGN = re.compile(
    r"""(?P<quote>"(?:[^"]|"")*"(?![\w"])|“[^”]*”|«[^»]*»)
      | (?P<prefix>(?:category|brand|item|text)\s?:)
      | (?P<bracket>[()])
      | (?P<comma>[,;])
      | (?P<word>(?:[^\s(),;]|(?<=\d),(?=\d))+)""",
    re.IGNORECASE | re.VERBOSE,
)
_JOINING = {"and": "and", "&": "and", "but": "and", "or": "or", "and/or": "or", "not": "not", "without": "not", "except": "not"}
# A quotation mark after a digit is an inch.
_HALF_QUOTE = re.compile(r'^["“«]|[”»]|(?<!\d)"$')


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        sign = _SIGN.match(text, at)
        if sign is None:  # a space
            at += 1
            continue
        at, kind, word = sign.end(), str(sign.lastgroup), sign.group()
        if kind == "word" and _HALF_QUOTE.search(word):
            raise QueryError(f"a quotation mark at {quoted(text[sign.start() :], 30)} has no other half; close the quote or leave it out")
        kind = {"bracket": word, "word": _JOINING.get(word.lower(), "word")}.get(kind, kind)
        found.append(_Token(kind, word, sign.start(), at))
    return found


class _Parser:
    """Recursive descent; every step takes a token or ends, so it is linear in the length of the text."""

    def __init__(self, text: str, known: Callable[[str], bool]) -> None:
        self.text, self.known = text, known
        self.tokens, self.at, self.depth = _tokens(text), 0, 0

    def tree(self) -> QueryNode:
        node = self._joined()
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.kind == ")":
                raise QueryError(
                    f"a bracket is closed that was never opened, in {quoted(self.text)}; take it out, or quote a name that has it"
                )
            before = self.text[: token.start].rstrip()[-25:]
            raise QueryError(
                f"nothing joins {quoted(before)} and {quoted(self.text[token.start :], 25)}; put and, or, not between them, "
                'or quote the whole name ("...")'
            )
        return node

    def _joined(self) -> QueryNode:
        """Parts and what joins them, up to a closing bracket or the end."""
        parts, joins = [self._not()], list[str]()
        while join := self._join():
            joins.append(join)
            parts.append(self._not())
        groups = [[parts[-1]]]
        meant = "and"
        for part, join in zip(reversed(parts[:-1]), reversed(joins), strict=True):
            meant = meant if join == "comma" else join
            if meant == "or":
                groups.append([])
            groups[-1].append(part)
        return disjunction(conjunction(reversed(group)) for group in reversed(groups))

    def _join(self) -> str:
        """Steps over what joins two parts, commas and at most one word: and, or, comma; "" at the end. A `not` alone joins as and."""
        start = self.at
        while self._kind(self.at) == "comma":
            self.at += 1
        if (kind := self._kind(self.at)) in ("and", "or"):
            self.at += 1
            return kind
        if kind == "not":
            return "and"
        return "comma" if self.at > start and kind not in ("", ")") else ""

    def _not(self) -> QueryNode:
        negative = False
        while not (name := self._name()):
            lead = match_lead_in(self.text, self.tokens[self.at].start) if self._kind(self.at) in ("word", "not") else None
            if lead:
                while self.at < len(self.tokens) and self.tokens[self.at].start < lead.end:
                    self.at += 1
                negative ^= lead.negative
            elif self._kind(self.at) == "not":
                negative = not negative
                self.at += 1
            else:
                break
        node = name or self._primary()
        return negation(node) if negative else node

    def _primary(self) -> QueryNode:
        kind = self._kind(self.at)
        if kind == "prefix":
            forced = self.tokens[self.at].text.rstrip(" :").lower()
            self.at += 1
            name = self._name() or (self._primary() if self._kind(self.at) in ("word", "quote") else None)
            if not isinstance(name, Term):
                raise QueryError(f'{forced}: has no name after it; write {forced}:"..." with the name in quotes')
            assert forced in get_args(TermKind)
            return Term(name.text, cast(TermKind, forced))
        if kind == "(":
            return self._bracket()
        if kind == "quote":
            word = self.tokens[self.at].text
            self.at += 1
            inner = (word[1:-1].replace('""', '"') if word[0] == '"' else word[1:-1]).strip()
            return self._term(inner)
        if kind == "word":
            start = self.at
            while self._kind(self.at) == "word":
                self.at += 1
            words = self.text[self.tokens[start].start : self.tokens[self.at - 1].end]
            return self._term(strip_owner_noun(words))
        raise QueryError(self._missing())

    def _term(self, name: str) -> Term:
        if not any(character.isalnum() for character in name):
            raise QueryError(f"there is no name in {quoted(name)}, a part of {quoted(self.text)}; write one there or leave it out")
        return Term(name)

    def _bracket(self) -> QueryNode:
        self.at, self.depth = self.at + 1, self.depth + 1
        if self.depth > MAX_DEPTH:
            raise QueryError(f"the brackets are nested more than {MAX_DEPTH} deep; ask it more simply")
        node = self._joined()
        if self._kind(self.at) == "":
            raise QueryError(f"a bracket is opened and not closed, in {quoted(self.text)}; close it, or quote a name that has it")
        if self._kind(self.at) == ")":
            self.at, self.depth = self.at + 1, self.depth - 1
        return node

    def _name(self) -> Term | None:
        """The longest run of words and joining words from here that is a name, if there is one; steps over it."""
        first = end = self.at
        ends = []
        while end < len(self.tokens) and self.tokens[end].kind in ("word", "and", "or", "not", "comma") and end - first < MAX_NAME_TOKENS:
            end += 1
            if self.tokens[end - 1].kind == "word" and self._kind(end) != "word":
                ends.append(end)
        for end in reversed(ends):
            words = self.text[self.tokens[first].start : self.tokens[end - 1].end]
            if self.known(words):
                self.at = end
                return Term(words)
        return None

    def _kind(self, at: int) -> str:
        return self.tokens[at].kind if at < len(self.tokens) else ""

    def _missing(self) -> str:
        before = self.text[: self.tokens[self.at].start] if self.at < len(self.tokens) else self.text
        where = f"after {quoted(before.rstrip()[-40:])}" if before.strip() else f"before {quoted(self.text, 30)}"
        return f"a name is missing {where}; name a category, an item, a brand, or say in words what users have"


def _bracketed(node: QueryNode) -> str:
    return f"({to_text(node)})" if isinstance(node, And | Or) else to_text(node)


def _cleaned(text: str) -> str:
    """The text on one line, without invisible characters.

    Raises: QueryError
    """
    if len(text) > MAX_CHARACTERS:
        raise QueryError(f"the question has {len(text):,} characters; ask it in at most {MAX_CHARACTERS}")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and not character.isspace():
            raise QueryError(f"the question holds a control character (U+{ord(character):04X}); type it again without")
    visible = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    visible = " ".join(visible.split())
    if not any(character.isalnum() for character in visible):
        raise QueryError(
            f"{quoted(visible) + ' holds no word' if visible else 'the question is empty'}; ask for instance `phones`, "
            "`users who bought tents but not stoves`, or `who would need a tripod?`"
        )
    return visible
