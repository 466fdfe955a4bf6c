"""Readers: one module per file format, each saying which files there are and what their columns mean; the rest is shared.

    lines   -> csv_rows, jsonl_rows, parquet_rows (batch) -> items, tables (by values) -> parts
    bytes      batches with line numbers                   validated in our words        on disk, sorted

To add a format, write a module with a `find` like those below and name it in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ..errors import SettingsError
from .formats import amazon, complete_journey, movielens, store_files
from .formats.base import Source


class Find(Protocol):
    """What a format is: from paths to sources."""

    def __call__(self, paths: Sequence[Path], rename: Mapping[str, str]) -> list[Source]:
        """The files to read, Raises: FormatError: what is needed is not there."""


FORMATS: Mapping[str, Find] = {
    "files": store_files.find,
    "amazon-reviews-2023": amazon.find,
    "movielens": movielens.find,
    "completejourney": complete_journey.find,
}


def find_sources(format_name: str, paths: Sequence[Path], rename: Mapping[str, str]) -> list[Source]:
    """The files of a store, as the format tells them apart.

    Args: format_name: one of `FORMATS`. paths: files or folders, at least one. rename: our column name -> theirs.
    Raises:
        SettingsError: no such format, no path, or a renaming where names are fixed.
        FormatError: files are missing or are not of the format.
    """
    if format_name not in FORMATS:
        raise SettingsError(f"there is no format {format_name}; the formats are {', '.join(FORMATS)}")
    if not paths:
        raise SettingsError(f"no file or folder was named to read {format_name} from")
    if rename and format_name != "files":
        raise SettingsError(f"--map is for --format files; the columns of {format_name} have fixed names")
    return FORMATS[format_name](paths, rename)


__all__ = ["FORMATS", "Find", "Source", "find_sources"]
