"""Recommendations that are to be judged, read from files of any origin, ours or not: JSON, parquet or csv (`judged_files`).

Ours are answers of `recommend --json`. Of others no more is wanted than a user and titles:
`{"user_id": "u1", "history": ["a tent"], "recommendations": [{"title": "a stove", "explanation": "..."}]}`. Everything in such a file is a
stranger's text; this module only carries it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...data.errors import FormatError, QueryError
from .list_files import objects


@dataclass(frozen=True, slots=True)
class Entry:
    """One recommendation.

    Attributes:
        evidence: the facts that the explanation rests on, in words. source: how it was worded (llm, evidence), empty where it is not told.
        writer: the model that wrote it, likewise.
    """

    item_id: str
    title: str
    category: tuple[str, ...] = ()
    price: float | None = None
    explanation: str = ""
    evidence: tuple[str, ...] = ()
    source: str = ""
    writer: str = ""

    @property
    def key(self) -> str:
        """What tells it from the others of its list."""
        return self.item_id or self.title


@dataclass(frozen=True, slots=True)
class Answer:
    """What one user was recommended, best first.

    Attributes: user: who, or what was asked where nobody is named. history: titles, oldest first. need: the user's own words, or empty.
    """

    user: str
    entries: tuple[Entry, ...]
    history: tuple[str, ...] = ()
    need: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As a line of a file that `read` takes."""
        entries = [{name: value for name, value in asdict(entry).items() if value not in (None, "", ())} for entry in self.entries]
        told = {"user_id": self.user, "history": list(self.history), "text": self.need or None, "recommendations": entries}
        return {name: value for name, value in told.items() if value is not None}

    def cut(self, k: int | None) -> Answer:
        """The same with the first k recommendations."""
        return replace(self, entries=self.entries[:k])


def read(path: Path) -> list[Answer]:
    """The answers of a file, in its order.

    Raises: FormatError: it cannot be read, a line is no answer, or one user stands in it twice.
    """
    found: dict[str, Answer] = {}
    for number, told in objects(path):
        try:
            if not isinstance(told, Mapping):
                raise _NotAnAnswerError("no JSON object with a user_id and recommendations")
            answer = answer_of(told)
        except _NotAnAnswerError as error:
            raise FormatError(path, number, str(error)) from None
        if answer.user in found:
            raise FormatError(path, number, f"the user {answer.user[:60]!r} stands in the file twice")
        found[answer.user] = answer
    if not found:
        raise FormatError(path, None, "it holds no recommendations; an answer of `crossaisle recommend --json` is one of them")
    return list(found.values())


def common(files: Mapping[str, Sequence[Answer]]) -> list[str]:
    """The users that all files are about, in the first one's order.

    Raises: QueryError: there are none. Those that some files leave out are left out here too.
    """
    sets = [{answer.user for answer in answers} for answers in files.values()]
    shared = set.intersection(*sets)
    if not shared:
        raise QueryError(f"{' and '.join(files)} are about different users, so there is nothing to compare; make both for the same users")
    return [answer.user for answer in next(iter(files.values())) if answer.user in shared]


class _NotAnAnswerError(Exception):
    """What is wrong with a line, without a full stop."""


def answer_of(told: Mapping[str, Any]) -> Answer:
    """The answer of one JSON object, as `recommend.serialization.to_dict` gives it or a file holds it."""
    query = told.get("query")
    query = query if isinstance(query, Mapping) else {}
    need = _text(told.get("text") or query.get("text"), "text")
    user = told.get("user_id", query.get("user_id"))
    if user is None and (query or need):
        # Nobody is named: what was asked tells two answers apart.
        user = json.dumps([query.get("items"), need], ensure_ascii=False)
    if not isinstance(user, str | int) or isinstance(user, bool) or user == "":
        raise _NotAnAnswerError("no user_id")
    entries = told.get("recommendations")
    if not isinstance(entries, list):
        raise _NotAnAnswerError("no list of recommendations")
    history = told.get("history") or []
    if not isinstance(history, list):
        raise _NotAnAnswerError("a history that is no list")
    return Answer(str(user), tuple(map(_entry, entries)), tuple(map(_had, history)), need)


def _entry(told: Any) -> Entry:
    if isinstance(told, str):
        told = {"title": told}
    if not isinstance(told, Mapping):
        raise _NotAnAnswerError("a recommendation that is neither an object nor a title")
    explanation = told.get("explanation")
    about = explanation if isinstance(explanation, Mapping) else {"text": explanation}
    evidence = about.get("evidence", told.get("evidence")) or []
    if not isinstance(evidence, list | tuple):
        raise _NotAnAnswerError("an evidence that is no list")
    entry = Entry(
        item_id=_text(told.get("item_id"), "item_id"),
        title=_text(told.get("title"), "title"),
        category=_category(told.get("category")),
        price=_price(told.get("price")),
        explanation=_text(about.get("text"), "explanation"),
        evidence=tuple(_fact(fact) for fact in evidence),
        source=_text(about.get("source", told.get("source")), "source"),
        writer=_text(about.get("writer", told.get("writer")), "writer"),
    )
    if not entry.key:
        raise _NotAnAnswerError("a recommendation with neither a title nor an item_id")
    return entry


def _had(told: Any) -> str:
    if not isinstance(told, Mapping):
        return _text(told, "item of the history")
    title, category = _text(told.get("title") or told.get("item_id"), "title"), _category(told.get("category"))
    return f"{title} ({', '.join(category)})" if category else title


def _fact(told: Any) -> str:
    return _text(told.get("text") if isinstance(told, Mapping) else told, "fact of the evidence")


def _category(told: Any) -> tuple[str, ...]:
    if isinstance(told, str):
        return tuple(part.strip() for part in told.split(">") if part.strip())
    if told is None:
        return ()
    if not isinstance(told, list):
        raise _NotAnAnswerError("a category that is neither a list nor a text")
    return tuple(_text(part, "category") for part in told)


def _text(told: Any, what: str) -> str:
    if told is None:
        return ""
    if isinstance(told, bool) or not isinstance(told, str | int | float):
        raise _NotAnAnswerError(f"a {what} that is no text")
    return str(told)


def _price(told: Any) -> float | None:
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told):
        return None
    return float(told)
