"""Grammar of segment questions: from a marketer's words to a tree of names joined with and, or, not.

    "users who bought phones or tents but not cases also need ..."  ->  next, (phones or (tents and not cases))
    "who would need a tripod?"                                      ->  reverse, tripod

`not` binds tighter than `and`, `and` tighter than `or`. A comma means the next `and` or `or` at the same bracket depth, as in a list that
is read aloud. The prefixes `category:`, `brand:`, `item:`, `use:` and `text:` give the kind of a name; double quotes keep a name whole (a
quote inside is doubled).
Knows no store: the caller's `is_name` decides which words form one name, and `entity_linking` resolves what a name means.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast, get_args

from ....data.errors import QueryError
from ....prompts.sanitize import sanitize_for_prompt
from .phrases import Direction, match_lead_in, split_question, strip_owner_noun
from .query_tree import (
    QueryNode,
    Term,
    TermKind,
    conjunction,
    disjunction,
    distinct_terms,
    matches_without_names,
    negation,
    satisfiable,
)

MAX_CHARACTERS = 500
"""Maximum length of a question."""
MAX_NAMES = 12
"""Maximum number of distinct names in a question; the truth table for its satisfiability has 2 ** names rows."""
MAX_DEPTH = 20
"""Maximum nesting of brackets."""
MAX_NAME_TOKENS = 16
"""Maximum number of words and signs in an unquoted name that contains and, or, not or a comma."""


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """A question as a tree: `next` for the needs of the users that it matches, `reverse` for the users who would need what it names."""

    direction: Direction
    tree: QueryNode


def parse(text: str, is_name: Callable[[str], bool] = lambda _: False) -> ParsedQuestion:
    """Return the question in a text.

    Args:
        is_name: Whether some words are a name as they are; called before a name such as "Arts, Crafts & Sewing" is split.

    Raises:
        QueryError: Empty, too long, unbalanced, without a name to start from, or contradictory; the message says what to do.
    """
    text = _cleaned(text)
    if '"' not in text and is_name(text):
        return ParsedQuestion("next", Term(text))
    direction, names = split_question(text)
    tree = _Parser(names, is_name).tree()
    if (count := distinct_terms(tree)) > MAX_NAMES:
        raise QueryError(f"the question names {count} things; use at most {MAX_NAMES}, or name the category that holds them")
    if matches_without_names(tree):
        raise QueryError(
            f"{quoted(text)} only says what users do not have, which is true of nearly everyone; name something they have as well, "
            "for instance `phones and not cases`"
        )
    if not satisfiable(tree):
        raise QueryError(
            f"{quoted(text)} contradicts itself: it wants and rules out the same thing, so nobody can match; take one of them out"
        )
    return ParsedQuestion(direction, tree)


def quoted(text: str, limit: int = 60) -> str:
    """Return untrusted text in quotes, sanitized and shortened for an error message."""
    return f'"{sanitize_for_prompt(text, limit)}"'


# ------------------------------------------------------------------ tokens


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # word, quote, prefix, and, or, not, comma, (, )
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"""(?P<quote>"(?:[^"]|"")*"(?![\w"])|“[^”]*”|«[^»]*»)
      | (?P<prefix>(?:category|brand|item|use|text)\s?:)
      | (?P<bracket>[()])
      | (?P<comma>[,;])
      | (?P<word>(?:[^\s(),;]|(?<=\d),(?=\d))+)""",
    re.IGNORECASE | re.VERBOSE,
)
_OPERATORS = {"and": "and", "&": "and", "but": "and", "or": "or", "and/or": "or", "not": "not", "without": "not", "except": "not"}
# A quotation mark after a digit means inches.
_UNPAIRED_QUOTE = re.compile(r'^["“«]|[”»]|(?<!\d)"$')


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # a space
            position += 1
            continue
        position, kind, word = match.end(), str(match.lastgroup), match.group()
        if kind == "word" and _UNPAIRED_QUOTE.search(word):
            raise QueryError(f"a quotation mark at {quoted(text[match.start() :], 30)} has no other half; close the quote or remove it")
        kind = {"bracket": word, "word": _OPERATORS.get(word.lower(), "word")}.get(kind, kind)
        tokens.append(_Token(kind, word, match.start(), position))
    return tokens


# ------------------------------------------------------------------ parser


class _Parser:
    """Recursive descent; every step consumes a token or ends, so time is linear in the length of the text."""

    def __init__(self, text: str, is_name: Callable[[str], bool]) -> None:
        self.text, self.is_name = text, is_name
        self.tokens, self.position, self.depth = _tokens(text), 0, 0

    def tree(self) -> QueryNode:
        node = self._expression()
        if self.position < len(self.tokens):
            token = self.tokens[self.position]
            if token.kind == ")":
                raise QueryError(f"a bracket is closed but never opened in {quoted(self.text)}; remove it, or quote a name that has it")
            before = self.text[: token.start].rstrip()[-25:]
            raise QueryError(
                f"nothing joins {quoted(before)} and {quoted(self.text[token.start :], 25)}; put and, or, not between them, "
                'or quote the whole name ("...")'
            )
        return node

    def _expression(self) -> QueryNode:
        """Parse operands and operators up to a closing bracket or the end."""
        operands, operators = [self._operand()], list[str]()
        while operator := self._operator():
            operators.append(operator)
            operands.append(self._operand())
        groups = [[operands[-1]]]
        effective = "and"
        # Right to left, so that a comma takes the operator after it.
        for operand, operator in zip(reversed(operands[:-1]), reversed(operators), strict=True):
            effective = effective if operator == "comma" else operator
            if effective == "or":
                groups.append([])
            groups[-1].append(operand)
        return disjunction(conjunction(reversed(group)) for group in reversed(groups))

    def _operator(self) -> str:
        """Consume commas and at most one of and, or; return and, or, comma, or "" at the end. A `not` by itself joins as and."""
        start = self.position
        while self._kind(self.position) == "comma":
            self.position += 1
        if (kind := self._kind(self.position)) in ("and", "or"):
            self.position += 1
            return kind
        if kind == "not":
            return "and"
        return "comma" if self.position > start and kind not in ("", ")") else ""

    def _operand(self) -> QueryNode:
        negated = False
        while not (name := self._known_name()):
            at_word = self._kind(self.position) in ("word", "not")
            lead_in = match_lead_in(self.text, self.tokens[self.position].start) if at_word else None
            if lead_in:
                while self.position < len(self.tokens) and self.tokens[self.position].start < lead_in.end:
                    self.position += 1
                negated ^= lead_in.negative
            elif self._kind(self.position) == "not":
                negated = not negated
                self.position += 1
            else:
                break
        node = name or self._primary()
        return negation(node) if negated else node

    def _primary(self) -> QueryNode:
        kind = self._kind(self.position)
        if kind == "prefix":
            prefix = self.tokens[self.position].text.rstrip(" :").lower()
            self.position += 1
            name = self._known_name() or (self._primary() if self._kind(self.position) in ("word", "quote") else None)
            if not isinstance(name, Term):
                raise QueryError(f'{prefix}: has no name after it; write {prefix}:"..." with the name in quotes')
            assert prefix in get_args(TermKind)
            return Term(name.text, cast(TermKind, prefix))
        if kind == "(":
            return self._bracket()
        if kind == "quote":
            quote = self.tokens[self.position].text
            self.position += 1
            return self._term((quote[1:-1].replace('""', '"') if quote[0] == '"' else quote[1:-1]).strip())
        if kind == "word":
            start = self.position
            while self._kind(self.position) == "word":
                self.position += 1
            words = self.text[self.tokens[start].start : self.tokens[self.position - 1].end]
            return self._term(strip_owner_noun(words))
        raise QueryError(self._missing_name())

    def _term(self, name: str) -> Term:
        if not any(character.isalnum() for character in name):
            raise QueryError(f"there is no name in {quoted(name)}, a part of {quoted(self.text)}; write one there or remove it")
        return Term(name)

    def _bracket(self) -> QueryNode:
        self.position, self.depth = self.position + 1, self.depth + 1
        if self.depth > MAX_DEPTH:
            raise QueryError(f"the brackets are nested more than {MAX_DEPTH} deep; simplify the question")
        node = self._expression()
        if self._kind(self.position) == "":
            raise QueryError(f"a bracket is opened and not closed in {quoted(self.text)}; close it, or quote a name that has it")
        if self._kind(self.position) == ")":
            self.position, self.depth = self.position + 1, self.depth - 1
        return node

    def _known_name(self) -> Term | None:
        """Consume and return the longest run of words, operators and commas from here that is a name of the store, if any."""
        first = end = self.position
        ends = []
        while end < len(self.tokens) and self.tokens[end].kind in ("word", "and", "or", "not", "comma") and end - first < MAX_NAME_TOKENS:
            end += 1
            if self.tokens[end - 1].kind == "word" and self._kind(end) != "word":
                ends.append(end)
        for end in reversed(ends):
            words = self.text[self.tokens[first].start : self.tokens[end - 1].end]
            if self.is_name(words):
                self.position = end
                return Term(words)
        return None

    def _kind(self, position: int) -> str:
        return self.tokens[position].kind if position < len(self.tokens) else ""

    def _missing_name(self) -> str:
        before = self.text[: self.tokens[self.position].start] if self.position < len(self.tokens) else self.text
        where = f"after {quoted(before.rstrip()[-40:])}" if before.strip() else f"before {quoted(self.text, 30)}"
        return f"a name is missing {where}; name a category, an item or a brand, or describe in words what users have"


def _cleaned(text: str) -> str:
    """Return the text on one line, without invisible characters.

    Raises:
        QueryError: Too long, with a control character, or without a word.
    """
    if len(text) > MAX_CHARACTERS:
        raise QueryError(f"the question has {len(text):,} characters; shorten it to at most {MAX_CHARACTERS}")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and not character.isspace():
            raise QueryError(f"the question has a control character (U+{ord(character):04X}); type it again without")
    visible = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    visible = " ".join(visible.split())
    if not any(character.isalnum() for character in visible):
        raise QueryError(
            f"{quoted(visible) + ' holds no word' if visible else 'the question is empty'}; ask for instance `phones`, "
            "`users who bought tents but not stoves`, or `who would need a tripod?`"
        )
    return visible
