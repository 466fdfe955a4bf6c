"""The format `files`: a store's own `items.*`, `interactions.*`, `reviews.*`, `relations.*` with our column names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import FormatError, SettingsError
from ...records import INTERACTION_COLUMNS, ITEM_COLUMNS, RELATION_COLUMNS, REVIEW_COLUMNS
from ..rows.batch import SUFFIXES, format_names, suffix_of
from .base import Role, Source, list_files

COLUMNS: Mapping[Role, tuple[str, ...]] = {
    "items": ITEM_COLUMNS,
    "interactions": INTERACTION_COLUMNS,
    "reviews": REVIEW_COLUMNS,
    "relations": RELATION_COLUMNS,
}
_REQUIRED: Mapping[Role, tuple[str, ...]] = {
    "items": ("item_id", "title"),
    "interactions": ("user_id", "item_id"),
    "reviews": ("item_id", "user_id"),
    "relations": RELATION_COLUMNS,
}


def find(paths: Sequence[Path], rename: Mapping[str, str]) -> list[Source]:
    """Return the sources among files and folders, distinguished by the stem of their names.

    Args:
        paths: Files or folders.
        rename: Our column name to the name in the files.

    Raises:
        FormatError: No items, neither interactions nor reviews, an unknown file name, or two files of one role in a folder.
        SettingsError: `rename` contains an unknown column name.
    """
    known_columns = {name for columns in COLUMNS.values() for name in columns}
    for name in rename:
        if name not in known_columns:
            raise SettingsError(f"--map {name}={rename[name]}: unknown column {name}; use one of {', '.join(sorted(known_columns))}")
    sources = []
    seen: dict[tuple[Path, Role], Path] = {}
    files = list_files(paths)
    for path in files:
        role = _role(path)
        if role is None or suffix_of(path) is None:
            if path in paths:
                raise FormatError(path, None, _EXPECTED)
            continue
        earlier = seen.setdefault((path.parent, role), path)
        if earlier != path and path not in paths:
            raise FormatError(path, None, f"{earlier.name} in the same folder also contains {role}; keep one, or name the files to read")
        columns = {name: (rename[name], name) if name in rename else (name,) for name in COLUMNS[role]}
        sources.append(Source(path, (role,), columns, _REQUIRED[role], keeps_extras=role == "items"))
    present = f"; there is {format_names([path.name for path in files])}"
    roles = {role for source in sources for role in source.holds}
    if "items" not in roles:
        raise FormatError(paths[0], None, f"no items.* found; {_EXPECTED}{present}")
    if not roles & {"interactions", "reviews"}:
        raise FormatError(paths[0], None, f"neither interactions.* nor reviews.* found beside the items; {_EXPECTED}{present}")
    return sources


_EXPECTED = f"expected items.*, interactions.* and, if there are any, reviews.* and relations.*, each one of {', '.join(SUFFIXES)}"


def _role(path: Path) -> Role | None:
    stem = path.name.lower().removesuffix(suffix_of(path) or path.suffix)
    return next((role for role in COLUMNS if role == stem), None)
