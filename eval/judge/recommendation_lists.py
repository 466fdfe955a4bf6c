"""Recommendation lists to be judged, parsed from files of any recommender: JSON, parquet or csv (`list_files`).

Our own are the output of `recommend --json`. Other files need only a user and titles:
`{"user_id": "u1", "history": ["a tent"], "recommendations": [{"title": "a stove", "explanation": "..."}]}`. All text in such a file is
untrusted; this module only carries it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...data.errors import FormatError, QueryError
from .list_files import read_objects


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One recommendation.

    Attributes:
        item_id: Id of the item, empty if unknown.
        title: Title of the item, empty if unknown.
        category: Category path from the root.
        price: Price, None if unknown.
        explanation: Explanation that is shown to the user.
        evidence: Facts that the explanation rests on, as sentences.
        source: How the explanation was worded (llm, evidence), empty if unknown.
        writer: Model that wrote the explanation, empty if unknown.
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
        """Identifier within the list: the item id, else the title."""
        return self.item_id or self.title


@dataclass(frozen=True, slots=True)
class RecommendationList:
    """Recommendations for one user, best first.

    Attributes:
        user: User id; for an anonymous query the query itself.
        entries: Recommendations, best first.
        history: Titles of the user's items, oldest first.
        need: The user's text query, or empty.
    """

    user: str
    entries: tuple[ListEntry, ...]
    history: tuple[str, ...] = ()
    need: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object that `read_lists` can read."""
        entries = [{name: value for name, value in asdict(entry).items() if value not in (None, "", ())} for entry in self.entries]
        content = {"user_id": self.user, "history": list(self.history), "text": self.need or None, "recommendations": entries}
        return {name: value for name, value in content.items() if value is not None}

    def truncated(self, k: int | None) -> RecommendationList:
        """Return the list with its first k recommendations; all if k is None."""
        return replace(self, entries=self.entries[:k])


def read_lists(path: Path) -> list[RecommendationList]:
    """Return the recommendation lists of a file in its order.

    Raises:
        FormatError: The file cannot be read, a line is not a recommendation list, or a user occurs twice.
    """
    by_user: dict[str, RecommendationList] = {}
    for number, value in read_objects(path):
        try:
            if not isinstance(value, Mapping):
                raise _InvalidListError("no JSON object with a user_id and recommendations")
            parsed = parse_recommendation_list(value)
        except _InvalidListError as error:
            raise FormatError(path, number, str(error)) from None
        if parsed.user in by_user:
            raise FormatError(path, number, f"duplicate user {parsed.user[:60]!r}: a file has one list per user")
        by_user[parsed.user] = parsed
    if not by_user:
        raise FormatError(path, None, "no recommendations; write one line per user with `crossaisle recommend --json`")
    return list(by_user.values())


def common_users(files: Mapping[str, Sequence[RecommendationList]]) -> list[str]:
    """Return the users that occur in all files, in the order of the first file.

    Raises:
        QueryError: There are no common users.
    """
    users_by_file = [{answer.user for answer in answers} for answers in files.values()]
    shared = set.intersection(*users_by_file)
    if not shared:
        raise QueryError(f"{' and '.join(files)} have no user in common; create them for the same users")
    return [answer.user for answer in next(iter(files.values())) if answer.user in shared]


class _InvalidListError(Exception):
    """Message without a full stop: what is wrong with a line."""


def parse_recommendation_list(value: Mapping[str, Any]) -> RecommendationList:
    """Return the recommendation list in a JSON object as `recommend.serialization.to_dict` or a file has it."""
    query = value.get("query")
    query = query if isinstance(query, Mapping) else {}
    need = _text(value.get("text") or query.get("text"), "text")
    user = value.get("user_id", query.get("user_id"))
    if user is None and (query or need):
        # Anonymous queries are distinguished by their content.
        user = json.dumps([query.get("items"), need], ensure_ascii=False)
    if not isinstance(user, str | int) or isinstance(user, bool) or user == "":
        raise _InvalidListError("no user_id")
    entries = value.get("recommendations")
    if not isinstance(entries, list):
        raise _InvalidListError("no list of recommendations")
    history = value.get("history") or []
    if not isinstance(history, list):
        raise _InvalidListError("a history that is not a list")
    return RecommendationList(str(user), tuple(map(_entry, entries)), tuple(map(_history_line, history)), need)


def _entry(value: Any) -> ListEntry:
    if isinstance(value, str):
        value = {"title": value}
    if not isinstance(value, Mapping):
        raise _InvalidListError("a recommendation that is neither an object nor a title")
    explanation = value.get("explanation")
    details = explanation if isinstance(explanation, Mapping) else {"text": explanation}
    evidence = details.get("evidence", value.get("evidence")) or []
    if not isinstance(evidence, list | tuple):
        raise _InvalidListError("evidence that is not a list")
    entry = ListEntry(
        item_id=_text(value.get("item_id"), "item_id"),
        title=_text(value.get("title"), "title"),
        category=_category(value.get("category")),
        price=_price(value.get("price")),
        explanation=_text(details.get("text"), "explanation"),
        evidence=tuple(_fact(fact) for fact in evidence),
        source=_text(details.get("source", value.get("source")), "source"),
        writer=_text(details.get("writer", value.get("writer")), "writer"),
    )
    if not entry.key:
        raise _InvalidListError("a recommendation with neither a title nor an item_id")
    return entry


def _history_line(value: Any) -> str:
    """Return an item of the history as its title with the category in parentheses."""
    if not isinstance(value, Mapping):
        return _text(value, "history item")
    title, category = _text(value.get("title") or value.get("item_id"), "title"), _category(value.get("category"))
    return f"{title} ({', '.join(category)})" if category else title


def _fact(value: Any) -> str:
    return _text(value.get("text") if isinstance(value, Mapping) else value, "evidence fact")


def _category(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(">") if part.strip())
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _InvalidListError("a category that is neither a list nor a string")
    return tuple(_text(part, "category") for part in value)


def _text(value: Any, field: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _InvalidListError(f"{field} is not a string")
    return str(value)


def _price(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
