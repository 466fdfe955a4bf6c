"""What a format says of one file: what it holds, and which of its columns are ours."""

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
    """One file to read.

    Attributes:
        path: the file. holds: what each of its lines gives; an Amazon review is also a purchase.
        columns: our name -> their names; the first that is there counts.
        required: our names without which a line, or a whole file with a header, is nothing.
        kind: the kind of every interaction in it, None if a column may say so.
        rated: whether `value` is a rating whatever the kind.
        item: their record -> ours, where names alone do not do; replaces `columns` for items.
        keeps_extras: whether other columns of items are kept under their own names.
        drops_bad_prices: whether a price that means nothing is left out and counted, rather than costing the line.
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
        """Their names for each required column, one of which must be there."""
        return [self.columns[name] for name in self.required]


def list_files(paths: Sequence[Path]) -> list[Path]:
    """The files that the paths name: a folder's own files in order of name, hidden ones left out; no file twice.

    Raises: FormatError: there is no such file, or no path was given.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise FormatError(path, None, "no such file")
        try:
            inside = sorted(path.iterdir()) if path.is_dir() else [path]
        except PermissionError as error:
            raise FormatError(path, None, "no permission to read it") from error
        for file in inside:
            if path.is_dir() and (file.is_dir() or file.name.startswith((".", "~"))):
                continue
            files.setdefault(file.resolve(), file)
    return list(files.values())


def pick_files(paths: Sequence[Path], wanted: Sequence[Sequence[str]], what: str) -> list[Path]:
    """One file for each thing wanted, from files and folders; other files are passed over.

    Args: wanted: for each the names that will do, best first; `.gz` may follow. what: the data set, as a message names it.
    Raises: FormatError: one is missing.
    """
    files = list_files(paths)
    found = {file.name.lower().removesuffix(".gz"): file for file in reversed(files)}
    chosen = []
    for names in wanted:
        file = next((found[name] for name in names if name in found), None)
        if file is None:
            seen = ", ".join(file.name for file in files[:20]) or "nothing"
            raise FormatError(paths[0], None, f"no {' or '.join(names)} of {what} found (also as .gz); there is {seen}")
        chosen.append(file)
    return chosen
