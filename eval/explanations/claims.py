"""Extraction of the statements of an explanation from its text: names, figures, numbers and quotations, with the facts that support them.

Reads one entry of `recommendations` in the JSON and nothing else: it shares no code with `llm.explain.grounding` and does not know the
store's wording. It reads words, not meaning, so it misses negations, adjectives and product names in lower case. For a share it compares
both numbers in order: "25 of 46" does not support "46 of 25".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .text_spans import DISPLAY_TABLE, MASK, Span, contains_phrase, displayed_title, find_figures, find_names, find_quotations, mask_spans

QUOTABLE_KINDS = ("review", "need")
"""Kinds of facts that are user-written text: they may be quoted, and support nothing but quotations."""
_MAX_TITLE_LENGTH = 60
"""Characters after which a title without spaces is truncated."""
_WORD = re.compile(r"\w+(?:[-'’&]\w+)*")
# Words that may start a sentence before a name; their capital letter does not mark a name.
_SENTENCE_STARTERS = frozenset(
    "a about after also among an and as at because beside besides between both but by during for from here if in it its many most much "
    "next of on once one or other our over said shoppers since so some something that the their then there these they this thinking "
    "those to together under users we what when where while who with within without you your".split()
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a text.

    Attributes:
        kind: A `figure` is a part of a whole, "25 of 46"; a `number` has no whole.
        text: Words of the statement.
        facts: Indices of the facts in the evidence that support it.
        supported: Whether the evidence supports it or, for a name, whether it is the item's title.
    """

    kind: Literal["name", "figure", "number", "quotation"]
    text: str
    facts: tuple[int, ...]
    supported: bool


def find_statements(recommendation: Mapping[str, Any], text: str | None = None) -> list[Statement]:
    """Return the statements of a recommendation's explanation; none if it has no text.

    Args:
        recommendation: One entry of `recommendations` in the JSON.
        text: Text to read instead of the explanation's, against the same evidence.
    """
    explanation = recommendation["explanation"]
    text = explanation["text"] if text is None else text
    facts, names = explanation["evidence"], known_names(recommendation)
    quotation_spans, _ = find_quotations(text, names)
    statements = []
    for start, end in quotation_spans:
        quotation = text[start + 1 : end - 1]
        by = [i for i, fact in enumerate(facts) if fact["kind"] in QUOTABLE_KINDS and contains_phrase(quotation, fact["text"])]
        statements.append(Statement("quotation", quotation, tuple(by), bool(by)))
    unquoted = mask_spans(text, quotation_spans)
    name_spans = find_names(unquoted, names)
    shares, numbers = find_figures(mask_spans(unquoted, name_spans))
    fact_figures = [([], []) if fact["kind"] in QUOTABLE_KINDS else _figures(fact, names) for fact in facts]
    for share in shares:
        by = [i for i, (own_shares, own_numbers) in enumerate(fact_figures) if share in own_shares or set(share) <= set(own_numbers)]
        statements.append(Statement("figure", " of ".join(share), tuple(by), bool(by)))
    for number in numbers:
        by = [
            i
            for i, (own_shares, own_numbers) in enumerate(fact_figures)
            if number in own_numbers or any(number in share for share in own_shares)
        ]
        statements.append(Statement("number", number, tuple(by), bool(by)))
    sources = ["" if fact["kind"] in QUOTABLE_KINDS else fact["text"].translate(DISPLAY_TABLE) for fact in facts]
    for name, is_whole in _names(unquoted.translate(DISPLAY_TABLE), name_spans, [_title(recommendation), *sources]):
        by = [i for i, source in enumerate(sources) if is_whole and contains_phrase(name, source)]
        statements.append(Statement("name", name, tuple(by), is_whole))
    return statements


def mentioned_facts(recommendation: Mapping[str, Any], statements: Sequence[Statement]) -> list[bool]:
    """(facts,) whether the text mentions each fact of the evidence.

    User-written text is mentioned by a quotation from it; a fact with shares, else with numbers, by all of them; any other fact by a name
    in it that is not the recommended item's.

    Args:
        recommendation: One entry of `recommendations` in the JSON.
        statements: Statements of the text (`find_statements`).
    """
    names, title = known_names(recommendation), _title(recommendation)
    mentioned = []
    for i, fact in enumerate(recommendation["explanation"]["evidence"]):
        supported = [statement for statement in statements if i in statement.facts]
        shares, numbers = _figures(fact, names)
        if fact["kind"] in QUOTABLE_KINDS:
            mentioned.append(any(statement.kind == "quotation" for statement in supported))
        elif required := {number for share in shares for number in share} or set(numbers):
            stated = {number for statement in supported if statement.kind != "name" for number in statement.text.split(" of ")}
            mentioned.append(required <= stated)
        else:
            mentioned.append(any(statement.kind == "name" and statement.text not in title for statement in supported))
    return mentioned


def known_names(recommendation: Mapping[str, Any]) -> list[str]:
    """Return the names that products may have, longest first: the item's `item_names`, and the history items as in their facts."""
    names = set(item_names(recommendation))
    for fact in recommendation["explanation"]["evidence"]:
        if fact["kind"] == "history":
            names.add(fact["text"].partition(": ")[2].partition(", close in description")[0].translate(DISPLAY_TABLE))
    return sorted(filter(None, names), key=lambda name: (-len(name), name))


def item_names(recommendation: Mapping[str, Any]) -> list[str]:
    """Return the names that the item may have: its displayed title, and every prefix of it with two words or more."""
    title = _title(recommendation)
    return [title, title[:_MAX_TITLE_LENGTH].rstrip(), *(title[: word.end()] for word in list(_WORD.finditer(title))[1:])]


def _title(recommendation: Mapping[str, Any]) -> str:
    """The item's displayed title, or its id if it has none."""
    return displayed_title(recommendation["title"]) or displayed_title(recommendation.get("item_id", ""))


def _figures(fact: Mapping[str, Any], names: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The shares and numbers of a fact, without the numbers that belong to names."""
    return find_figures(mask_spans(fact["text"], find_names(fact["text"], names)))


def _names(text: str, known: Sequence[Span], sources: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The names in a text, and whether each is one whole name of the sources.

    A name is a known one, or capitalised words as far as one source contains them. Adjacent names, or names joined by &, are one name, so
    "Voltano Dome Tent", combined from two products, is detected.
    """
    pieces = sorted([*((start, end, True) for start, end in known), *_capitalised(text, known, sources)])
    run: list[tuple[int, int, bool]] = []
    for piece in [*pieces, None]:
        if run and (piece is None or text[run[-1][1] : piece[0]] not in (" ", " & ")):
            yield text[run[0][0] : run[-1][1]], len(run) == 1 and run[0][2]
            run = []
        if piece:
            run.append(piece)


def _capitalised(text: str, known: Sequence[Span], sources: Sequence[str]) -> Iterator[tuple[int, int, bool]]:
    """Capitalised words outside known names, each extended as far as a source contains it, except words that only start a sentence."""
    words = [m.span() for m in _WORD.finditer(mask_spans(text, known))]
    done = 0
    for i, (start, end) in enumerate(words):
        if start < done or not text[start].isupper():
            continue
        if text[:start].rstrip(" ")[-1:] in ("", ".", ":", "!", "?", MASK):
            before_name = any(text[end:at] == " " and text[at].isupper() for at, _ in [*known, *words[i + 1 : i + 2]])
            if not before_name or text[start:end].casefold() in _SENTENCE_STARTERS:
                continue
        ends = [stop for stop in _possible_ends(text, words[i:]) if any(contains_phrase(text[start:stop], source) for source in sources)]
        done = max(ends, default=end)
        yield start, done, bool(ends)


def _possible_ends(text: str, words: Sequence[Span]) -> Iterator[int]:
    """Possible ends of a name that starts with the first word: capitalised words, with at most two others in between."""
    gap = 0
    for start, end in words:
        gap = 0 if text[start].isupper() else gap + 1
        if gap > 2:
            return
        if not gap:
            yield end
