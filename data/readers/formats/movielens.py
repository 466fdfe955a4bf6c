"""The format `movielens`: `movies.csv` and `ratings.csv` of GroupLens. The first of a film's genres is its category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...store_words import StoreWords, Verb
from .base import Record, Source, pick_files

_NO_GENRES = "(no genres listed)"
_RATING = {"user_id": ("userId",), "item_id": ("movieId",), "value": ("rating",), "timestamp": ("timestamp",)}
_MOVIE = {"item_id": ("movieId",), "title": ("title",), "genres": ("genres",)}

WORDS = StoreWords("film", "films", "viewer", "viewers", Verb("watch", "watched", "watched"))
LIKED_WORDS = StoreWords("film", "films", "viewer", "viewers", Verb("like", "liked", "liked"))
"""Words for ratings that count from a lowest rating on."""


def find(paths: Sequence[Path], rename: Mapping[str, str]) -> list[Source]:  # noqa: ARG001 -- the column names are fixed
    """Return the two files among files and folders.

    Args:
        paths: Files or folders.
        rename: Ignored.

    Raises:
        FormatError: One is missing.
    """
    movies, ratings = pick_files(paths, (("movies.csv",), ("ratings.csv",)), "MovieLens")
    return [
        Source(movies, ("items",), _MOVIE, ("item_id", "title", "genres"), item=movie),
        Source(ratings, ("interactions",), _RATING, ("user_id", "item_id", "value"), kind="rating", rated=True),
    ]


def movie(record: Record) -> Record:
    """A record of movies.csv with our field names."""
    text = str(record.get("genres") or "")
    genres = [] if text == _NO_GENRES else [genre for part in text.split("|") if (genre := part.strip())]
    return {
        "item_id": record.get("movieId"),
        "title": record.get("title"),
        "category": genres[:1],
        "description": f"Genres: {', '.join(genres)}" if genres else "",
    }
