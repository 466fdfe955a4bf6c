"""Description of an input file: its roles and the mapping of its columns to ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import FormatError

Role = Literal["items", "interactions", "reviews", "relations"]
Record = dict[str, object]


@dataclass(frozen=True, slots=True)
class Source:
    """One input file.

    Attributes:
        path: The file.
        holds: Roles of each line; an Amazon review is also a purchase.
        columns: Our column name to the possible names in the file; the first existing one is used.
        required: Our names of the required columns.
        kind: Kind of all interactions in the file; None if a column contains it.
        rated: Whether `value` is a rating for every kind.
        item: Converts an item record to our fields, if renaming is not enough; replaces `columns` for items.
        keeps_extras: Whether other columns of items are kept under their own names.
        drops_bad_prices: Whether an invalid price is dropped and counted instead of rejecting the line.
    """

    path: Path
    holds: tuple[Role, ...]
    columns: Mapping[str, tuple[str, ...]]
    required: tuple[str, ...]
    kind: str | None = None
    rated: bool = False
    item: Callable[[Record], Record] | None = None
    keeps_extras: bool = False
    drops_bad_prices: bool = False

    @property
    def required_names(self) -> list[tuple[str, ...]]:
        """Possible names of each required column; one of them must exist."""
        return [self.columns[name] for name in self.required]


def list_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files in the given paths without repetition: of a folder its direct files by name, without hidden ones.

    Args:
        paths: Files or folders.

    Raises:
        FormatError: A path does not exist or is not readable.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise FormatError(path, None, "no such file")
        try:
            candidates = sorted(path.iterdir()) if path.is_dir() else [path]
        except PermissionError as error:
            raise FormatError(path, None, "no permission to read it") from error
        for file in candidates:
            if path.is_dir() and (file.is_dir() or file.name.startswith((".", "~"))):
                continue
            files.setdefault(file.resolve(), file)
    return list(files.values())


def pick_files(paths: Sequence[Path], names_of_files: Sequence[Sequence[str]], dataset: str) -> list[Path]:
    """Return the required files of a dataset from files and folders; other files are ignored.

    Args:
        paths: Files or folders.
        names_of_files: For each required file its possible names in order of preference; `.gz` may follow.
        dataset: Name of the dataset for messages.

    Raises:
        FormatError: A file is missing.
    """
    files = list_files(paths)
    by_name = {file.name.lower().removesuffix(".gz"): file for file in reversed(files)}
    chosen = []
    for names in names_of_files:
        file = next((by_name[name] for name in names if name in by_name), None)
        if file is None:
            present = ", ".join(file.name for file in files[:20]) or "nothing"
            raise FormatError(paths[0], None, f"no {' or '.join(names)} of {dataset} found (also as .gz); there is {present}")
        chosen.append(file)
    return chosen
