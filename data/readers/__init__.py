"""Readers of store files: one module per format describes its files and columns; the rest of the pipeline is shared.

    line_reader -> csv_reader, jsonl_reader, parquet_reader -> item_table, interaction_tables -> external_sort
    bytes          batches with line numbers                   validated tables                   sorted, on disk

To add a format, write a module with a `find` function (see `FormatFinder`) and add it to `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ..errors import SettingsError
from ..store_words import DEFAULT_WORDS, StoreWords
from .formats import amazon, complete_journey, movielens, store_files
from .formats.base import Source


class FormatFinder(Protocol):
    """The `find` function of a format."""

    def __call__(self, paths: Sequence[Path], rename: Mapping[str, str]) -> list[Source]:
        """Return the files to read.

        Raises:
            FormatError: A required file is missing.
        """


FORMATS: Mapping[str, FormatFinder] = {
    "files": store_files.find,
    "amazon-reviews-2023": amazon.find,
    "movielens": movielens.find,
    "completejourney": complete_journey.find,
}


WORDS: Mapping[str, tuple[StoreWords, StoreWords]] = {"movielens": (movielens.WORDS, movielens.LIKED_WORDS)}
"""Format to the words of its stores, with all ratings and with a lowest rating."""


def find_sources(format_name: str, paths: Sequence[Path], rename: Mapping[str, str]) -> list[Source]:
    """Return the files of a store with the role of each.

    Args:
        format_name: One of `FORMATS`.
        paths: Files or folders, at least one.
        rename: Our column name to the name in the files.

    Raises:
        SettingsError: Unknown format, no path, or `rename` for a format with fixed column names.
        FormatError: Files are missing or do not have the format.
    """
    if format_name not in FORMATS:
        raise SettingsError(f"unknown format {format_name}: use one of {', '.join(FORMATS)}")
    if not paths:
        raise SettingsError(f"no input for the format {format_name}: name a file or folder")
    if rename and format_name != "files":
        raise SettingsError(f"--map works only with --format files; the columns of {format_name} have fixed names")
    return FORMATS[format_name](paths, rename)


def default_words(format_name: str, current: StoreWords, min_rating: float | None) -> StoreWords:
    """Return the words of a store before its own are applied: the format's, where nobody has chosen others for the workspace.

    Args:
        format_name: One of `FORMATS`.
        current: Words of the workspace.
        min_rating: Lowest rating that is counted. Who rated a film has watched it; with a lowest rating, those who did not like it are
            not counted, so the verb is "liked".
    """
    choices = WORDS.get(format_name)
    if not choices or current not in (DEFAULT_WORDS, *choices):
        return current
    return choices[0] if min_rating is None else choices[1]


__all__ = ["FORMATS", "WORDS", "FormatFinder", "Source", "default_words", "find_sources"]
