"""What an explanation states, found in its text: names, figures, numbers and quotations, each with the facts that bear it out.

Reads one entry of `recommendations` in the JSON and nothing else: it shares no code with `llm.explain.grounding` and does not know the words the
store uses. It reads words, not meaning: a "not" escapes it, and so does an adjective, or a product's name in small letters. Of a figure it
knows the two places: "25 of 46" does not bear out "46 of 25".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .text_spans import ALIKE, HIDDEN, Span, figures, hide, quotations, shown, spans, stands

SPOKEN = ("review", "need")
"""Kinds of facts that are somebody's words: they may be quoted, and bear out nothing but quotations."""
_CUT = 60
"""Letters after which a title without spaces is cut."""
_WORD = re.compile(r"\w+(?:[-'’&]\w+)*")
# What a sentence may begin with in front of a name; a capital tells nothing there.
_OPENERS = frozenset(
    "a about after also among an and as at because beside besides between both but by during for from here if in it its many most much "
    "next of on once one or other our over said shoppers since so some something that the their then there these they this thinking "
    "those to together under users we what when where while who with within without you your".split()
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that a text states.

    Attributes:
        kind: a `figure` is a part of a whole, "25 of 46"; a `number` stands alone.
        text: the words. facts: places in the evidence of the facts that bear it out.
        supported: whether the evidence, or of a name the item's title, bears it out.
    """

    kind: Literal["name", "figure", "number", "quotation"]
    text: str
    facts: tuple[int, ...]
    supported: bool


def statements(recommendation: Mapping[str, Any], text: str | None = None) -> list[Statement]:
    """The statements of a recommendation's explanation; none where nothing is shown.

    Args: text: read this instead of the explanation's text, against the same evidence.
    """
    explanation = recommendation["explanation"]
    text = explanation["text"] if text is None else text
    facts, names = explanation["evidence"], known_names(recommendation)
    quoted, _ = quotations(text, names)
    found = []
    for start, end in quoted:
        quote = text[start + 1 : end - 1]
        by = [i for i, fact in enumerate(facts) if fact["kind"] in SPOKEN and stands(quote, fact["text"])]
        found.append(Statement("quotation", quote, tuple(by), bool(by)))
    plain = hide(text, quoted)
    called = spans(plain, names)
    shares, numbers = figures(hide(plain, called))
    borne = [([], []) if fact["kind"] in SPOKEN else _figures(fact, names) for fact in facts]
    for share in shares:
        by = [i for i, (theirs, alone) in enumerate(borne) if share in theirs or set(share) <= set(alone)]
        found.append(Statement("figure", " of ".join(share), tuple(by), bool(by)))
    for number in numbers:
        by = [i for i, (theirs, alone) in enumerate(borne) if number in alone or any(number in share for share in theirs)]
        found.append(Statement("number", number, tuple(by), bool(by)))
    sources = ["" if fact["kind"] in SPOKEN else fact["text"].translate(ALIKE) for fact in facts]
    for name, whole in _named(plain.translate(ALIKE), called, [_title(recommendation), *sources]):
        by = [i for i, source in enumerate(sources) if whole and stands(name, source)]
        found.append(Statement("name", name, tuple(by), whole))
    return found


def told(recommendation: Mapping[str, Any], found: Sequence[Statement]) -> list[bool]:
    """(facts,) whether each fact of the evidence is told.

    Somebody's words are told by a quotation from them; a fact with shares, else with numbers, by all of them; any other by a name in it
    that is not the recommended item's.

    Args: found: the text's `statements`.
    """
    names, title = known_names(recommendation), _title(recommendation)
    result = []
    for i, fact in enumerate(recommendation["explanation"]["evidence"]):
        mine = [statement for statement in found if i in statement.facts]
        shares, numbers = _figures(fact, names)
        if fact["kind"] in SPOKEN:
            result.append(any(statement.kind == "quotation" for statement in mine))
        elif wanted := {number for share in shares for number in share} or set(numbers):
            said = {number for statement in mine if statement.kind != "name" for number in statement.text.split(" of ")}
            result.append(wanted <= said)
        else:
            result.append(any(statement.kind == "name" and statement.text not in title for statement in mine))
    return result


def known_names(recommendation: Mapping[str, Any]) -> list[str]:
    """What products may be called, the longest first: the item as in `item_names`, a history item as in its fact."""
    found = set(item_names(recommendation))
    for fact in recommendation["explanation"]["evidence"]:
        if fact["kind"] == "history":
            found.add(fact["text"].partition(": ")[2].partition(", close in description")[0].translate(ALIKE))
    return sorted(filter(None, found), key=lambda name: (-len(name), name))


def item_names(recommendation: Mapping[str, Any]) -> list[str]:
    """What the item may be called: its title as it is shown, or a beginning of that of two words or more."""
    title = _title(recommendation)
    return [title, title[:_CUT].rstrip(), *(title[: word.end()] for word in list(_WORD.finditer(title))[1:])]


def _title(recommendation: Mapping[str, Any]) -> str:
    """The item's title, its id where it has none, as it is shown."""
    return shown(recommendation["title"]) or shown(recommendation.get("item_id", ""))


def _figures(fact: Mapping[str, Any], names: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """As `figures`, without the numbers that belong to names."""
    return figures(hide(fact["text"], spans(fact["text"], names)))


def _named(text: str, known: Sequence[Span], sources: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The names in a text, and whether each stands as a whole in one of the sources.

    A name is a known one, or words with a capital, as far as one source has them. What stands side by side, or with an & between, is read
    as one name, so that "Voltano Dome Tent", pieced together from two products, is seen.
    """
    pieces = sorted([*((start, end, True) for start, end in known), *_capitals(text, known, sources)])
    run: list[tuple[int, int, bool]] = []
    for piece in [*pieces, None]:
        if run and (piece is None or text[run[-1][1] : piece[0]] not in (" ", " & ")):
            yield text[run[0][0] : run[-1][1]], len(run) == 1 and run[0][2]
            run = []
        if piece:
            run.append(piece)


def _capitals(text: str, known: Sequence[Span], sources: Sequence[str]) -> Iterator[tuple[int, int, bool]]:
    """Words with a capital outside of known names, each lengthened as far as a source has it; not those that only begin a sentence."""
    words = [m.span() for m in _WORD.finditer(hide(text, known))]
    done = 0
    for i, (start, end) in enumerate(words):
        if start < done or not text[start].isupper():
            continue
        if text[:start].rstrip(" ")[-1:] in ("", ".", ":", "!", "?", HIDDEN):
            beside = any(text[end:at] == " " and text[at].isupper() for at, _ in [*known, *words[i + 1 : i + 2]])
            if not beside or text[start:end].casefold() in _OPENERS:
                continue
        ends = [stop for stop in _ends(text, words[i:]) if any(stands(text[start:stop], source) for source in sources)]
        done = max(ends, default=end)
        yield start, done, bool(ends)


def _ends(text: str, words: Sequence[Span]) -> Iterator[int]:
    """Where a name that begins with the first word may end: at words with a capital, at most two others between two of them."""
    since = 0
    for start, end in words:
        since = 0 if text[start].isupper() else since + 1
        if since > 2:
            return
        if not since:
            yield end
