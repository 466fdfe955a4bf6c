"""The format `amazon-reviews-2023`: products and reviews as JSONL, distinguished by their fields, not by file names.

Field names as published with Hou et al., "Bridging Language and Items for Retrieval and Recommendation" (2024). Every review is
also a purchase with the rating as its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import FormatError
from ..rows.batch import SNIFFED_LINES, format_names, suffix_of
from ..rows.open_rows import read_rows
from .base import Record, Source, list_files

_EXPECTED = "expected parent_asin with title (products), or parent_asin with user_id (reviews)"
_REVIEW = {
    "item_id": ("parent_asin", "asin"),
    "user_id": ("user_id",),
    "rating": ("rating",),
    "value": ("rating",),
    "title": ("title",),
    "text": ("text",),
    "timestamp": ("timestamp", "sort_timestamp"),
}
_PICTURES = ("large", "hi_res", "thumb")


def find(paths: Sequence[Path], rename: Mapping[str, str]) -> list[Source]:  # noqa: ARG001 -- the column names are fixed
    """Return the sources among files and folders, products first.

    Args:
        paths: Files or folders.
        rename: Ignored.

    Raises:
        FormatError: A file has neither products nor reviews, or one of the two is missing.
    """
    files = [path for path in list_files(paths) if path in paths or (suffix_of(path) or "").startswith(".jsonl")]
    sources = [_source(path) for path in files]
    for role, content in (("items", "products (lines with parent_asin and title)"), ("reviews", "reviews (lines with user_id)")):
        if not any(role in source.holds for source in sources):
            raise FormatError(paths[0], None, f"no file with {content} of Amazon Reviews 2023 found")
    return sorted(sources, key=lambda source: source.holds != ("items",))


def product(record: Record) -> Record:
    """A product record with our field names; features are appended to the description, the first picture is the image."""
    path = record.get("categories") or ([record["main_category"]] if record.get("main_category") else [])
    return {
        "item_id": record.get("parent_asin"),
        "title": record.get("title"),
        "category": path,
        "description": [*_as_list(record.get("description")), *_as_list(record.get("features"))],
        "brand": record.get("store"),
        "price": record.get("price"),
        "image": _picture(record.get("images")),
    }


def _source(path: Path) -> Source:
    if not (suffix_of(path) or "").startswith(".jsonl"):
        raise FormatError(path, None, "products and reviews of Amazon Reviews 2023 are .jsonl or .jsonl.gz files")
    fields = _fields(path)
    if "user_id" in fields and fields & {"parent_asin", "asin"}:
        return Source(path, ("reviews", "interactions"), _REVIEW, ("item_id", "user_id"), kind="purchase", rated=True)
    if {"parent_asin", "title"} <= fields:
        return Source(path, ("items",), {"item_id": ("parent_asin",)}, ("item_id",), item=product, drops_bad_prices=True)
    content = f"the first line has the fields {format_names(sorted(fields))}" if fields else "no line of it is a JSON object"
    raise FormatError(path, None, f"neither products nor reviews of Amazon Reviews 2023: {content}; {_EXPECTED}")


def _fields(path: Path) -> set[str]:
    """Field names of the first readable line."""
    for number, batch in enumerate(read_rows(path, chunk_rows=1)):
        for record in batch.records():
            return set(record)
        if number > SNIFFED_LINES:
            break
    return set()


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _picture(value: object) -> object:
    """One URL from a list of pictures, or from the lists by size of the parquet edition."""
    pictures = value if isinstance(value, list) else [value]
    for picture in pictures:
        if isinstance(picture, dict):
            for size in _PICTURES:
                url = next((url for url in _as_list(picture.get(size)) if url), None)
                if url:
                    return url
        elif isinstance(picture, str):
            return picture
    return None
