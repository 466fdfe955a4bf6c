"""Ingest: reads a store's files into a snapshot of a workspace.

Items are read first and kept in memory; then lines about users are validated against them in batches and written to disk. The workspace
does not change until everything is read and sorted: an error leaves it as it was. Knows nothing of formats (`readers`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import FormatError, SettingsError, storage_errors
from ..readers import Source, default_words, find_sources
from ..readers.external_sort import InteractionSorter, ReviewDeduplicator
from ..readers.interaction_tables import empty_table, parse_batch
from ..readers.item_table import ItemTableBuilder
from ..readers.rejects import Rejects
from ..readers.rows.batch import Batch
from ..readers.rows.open_rows import CHUNK_ROWS, read_rows
from ..store_words import parse_noun, parse_verb

if TYPE_CHECKING:
    import polars as pl

Progress = Callable[[str, int, int], None]
"""Progress callback: description of the step, number of bytes (or parts) done, total number."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Counts of an ingest.

    Attributes:
        snapshot: Id of the new snapshot.
        items: Items stored.
        reviews: Reviews stored.
        interactions: Interactions stored.
        users: Distinct users of the interactions.
        relations: Relations stored.
        categories: Distinct names at the broadest level.
        problems: Description of each problem to its count, most frequent first.
        rejects: Rejected lines, each in `rejects.jsonl` with its cause.
        seconds: Duration.
    """

    snapshot: str
    items: int
    reviews: int
    interactions: int
    users: int
    relations: int
    categories: int
    problems: Mapping[str, int]
    rejects: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON-serializable dict."""
        return {**asdict(self), "problems": dict(self.problems)}


def ingest(
    workspace_path: str | Path,
    format: str,
    paths: str | Path | Sequence[str | Path],
    *,
    category_level: int | None = None,
    item_noun: str | None = None,
    user_noun: str | None = None,
    verb: str | None = None,
    on_error: Literal["skip", "stop"] = "skip",
    min_rating: float | None = None,
    rename: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> IngestReport:
    """Read a store's files into a new snapshot of a workspace, which replaces the old one.

    Args:
        workspace_path: Folder of the workspace; created if missing.
        format: `files`, `amazon-reviews-2023`, `movielens` or `completejourney` (see docs/files.md).
        paths: One or several files or folders.
        category_level: Category level at which two items belong to different categories, 1 = broadest; None keeps the workspace's.
        item_noun: Word for an item in texts for people, with its plural if that is irregular (`course` or `course,courses`); None keeps
            the workspace's.
        user_noun: Word for a user, in the same form.
        verb: What users do with items: `take`, or all forms of an unknown irregular verb, `take,took,taken`.
        on_error: `skip` records unusable lines in `rejects.jsonl` and continues; `stop` raises at the first.
        min_rating: Ratings below it create no interaction (their reviews are kept).
        rename: For `files`: our column name to the name in the files.
        progress: See `Progress`.
        chunk_rows: Rows per batch; affects only memory and speed.

    Returns:
        Counts of stored rows and of problems.

    Raises:
        FormatError: A file does not have the format, or (`stop`) a line is unusable; contains path and line.
        SettingsError: Invalid argument.
        WorkspaceError: The workspace is busy or unusable.
        StorageError: The disk is full or not writable.
    """
    started = time.monotonic()
    rename = dict(rename or {})
    _check(category_level, on_error, min_rating, chunk_rows)
    for noun, what in ((item_noun, "item noun"), (user_noun, "user noun")):
        if noun is not None:
            parse_noun(noun, what)
    if verb is not None:
        parse_verb(verb)
    path_list = [paths] if isinstance(paths, str | Path) else paths
    sources = find_sources(format, [Path(path) for path in path_list], rename)
    if min_rating is not None and not any(source.rated or "kind" in source.columns for source in sources):
        raise SettingsError(f"--min-rating needs ratings, and {format} has none")
    from ..workspace import Workspace

    workspace = Workspace.prepare(Path(workspace_path))
    with ExitStack() as stack:
        stack.enter_context(workspace.writing("crossaisle ingest"))
        stack.enter_context(storage_errors(f"the snapshot in {workspace.path}"))
        staging, parts = stack.enter_context(workspace.staging()), stack.enter_context(workspace.staging())
        with Rejects(staging / "rejects.jsonl", stop=on_error == "stop") as rejects:
            run = _IngestRun(rejects, parts, min_rating, chunk_rows, progress or _no_progress)
            run.read(sources)
            run.check_renamed_columns(rename, sources)
            counts = run.write(staging)
        origin: dict[str, object] = {"format": format, "files": [source.path.name for source in sources]}
        origin |= {"rename": rename} if rename else {}
        origin |= {"min_rating": min_rating} if min_rating is not None else {}
        words = default_words(format, workspace.manifest.words, min_rating).updated(item_noun, user_noun, verb)
        snapshot = workspace.replace_snapshot(staging, category_level=category_level, words=words, source=origin)
    problems = dict(rejects.problems.most_common())
    seconds = round(time.monotonic() - started, 3)
    return IngestReport(snapshot=snapshot, **counts, problems=problems, rejects=rejects.count, seconds=seconds)


def _no_progress(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def _check(category_level: int | None, on_error: str, min_rating: float | None, chunk_rows: int) -> None:
    if category_level is not None and category_level < 1:
        raise SettingsError(f"the category level is {category_level}; it must be 1 (the broadest) or more")
    if on_error not in ("skip", "stop"):
        raise SettingsError(f"on_error is {on_error}; it must be skip or stop")
    if min_rating is not None and not math.isfinite(min_rating):
        raise SettingsError(f"the minimum rating is {min_rating}; it must be a finite number")
    if chunk_rows < 1:
        raise SettingsError(f"chunk_rows is {chunk_rows}; it must be 1 or more")


class _IngestRun:
    """State of a running ingest."""

    def __init__(self, rejects: Rejects, parts: Path, min_rating: float | None, chunk_rows: int, progress: Progress) -> None:
        self._rejects, self._min_rating, self._chunk_rows, self._progress = rejects, min_rating, chunk_rows, progress
        self._items = ItemTableBuilder(rejects)
        self._interactions, self._reviews = InteractionSorter(parts), ReviewDeduplicator(parts)
        self._relations: list[pl.DataFrame] = []
        self._columns: set[str] = set()
        self._item_frame: pl.DataFrame | None = None

    def read(self, sources: Sequence[Source]) -> None:
        """Read all sources, items first."""
        item_sources = [source for source in sources if "items" in source.holds]
        for source in item_sources:
            for batch in self._batches(source):
                self._items.add(source, batch)
            self._rejects.close_file(source.path, source.required_names)
        if not len(self._items):
            raise FormatError(item_sources[0].path, None, "contains no usable item")
        self._item_frame = self._items.frame()
        known = self._item_frame["item_id"]
        for source in sources:
            if "items" not in source.holds:
                self._read_events(source, known)

    def check_renamed_columns(self, rename: Mapping[str, str], sources: Sequence[Source]) -> None:
        """Check that every renamed column exists.

        Raises:
            SettingsError: A column is in no file.
        """
        for ours, theirs in rename.items():
            if theirs not in self._columns:
                names = ", ".join(source.path.name for source in sources)
                raise SettingsError(f"--map {ours}={theirs}: no column {theirs} in {names}")

    def write(self, staging: Path) -> dict[str, int]:
        """Write the tables; return the counts of the report."""
        import polars as pl

        items = self._item_frame
        assert items is not None, "call read() first"
        items.write_parquet(staging / "items.parquet")
        relations = pl.concat([empty_table("relations"), *self._relations]).unique(maintain_order=True)
        relations.write_parquet(staging / "relations.parquet")
        reviews, repeated = self._reviews.finish(staging / "reviews.parquet")
        self._rejects.note("duplicate reviews", repeated)
        result = self._interactions.finish(
            staging / "interactions.parquet", lambda part, parts: self._progress("sorting interactions", part, parts)
        )
        self._rejects.note("duplicate interactions", result.duplicates)
        return {
            "items": items.height,
            "reviews": reviews,
            "interactions": result.rows,
            "users": result.users,
            "relations": relations.height,
            "categories": items["category"].list.first().drop_nulls().n_unique(),
        }

    def _batches(self, source: Source) -> Iterator[Batch]:
        size = source.path.stat().st_size
        for batch in read_rows(source.path, source.required_names, self._chunk_rows):
            self._columns.update(batch.fields())
            yield batch
            self._progress(f"reading {source.path.name}", min(batch.done, size), size)

    def _read_events(self, source: Source, known: pl.Series) -> None:
        used = unknown = 0
        example = ""
        for batch in self._batches(source):
            parsed = parse_batch(source, batch, known)
            self._rejects.take(source.path, parsed.rejected, batch.lines, batch.fields())
            unknown_items = [reject for reject in parsed.rejected if not reject.wrong_format]
            unknown, example = unknown + len(unknown_items), example or (unknown_items[0].cause if unknown_items else "")
            for role, frame in parsed.frames.items():
                used += frame.height
                if role == "interactions":
                    self._interactions.add(self._above_min_rating(source, frame))
                elif role == "reviews":
                    self._reviews.add(frame)
                else:
                    self._relations.append(frame)
        self._rejects.close_file(source.path, source.required_names)
        if unknown and not used:
            cause = f"none of its {unknown} lines is about an item of the items file ({example}); do both use the same ids?"
            raise FormatError(source.path, None, cause)

    def _above_min_rating(self, source: Source, frame: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        if self._min_rating is None:
            return frame
        rated = pl.lit(True) if source.rated else pl.col("kind") == "rating"
        kept = frame.filter(~rated | (pl.col("value") >= self._min_rating).fill_null(False))
        self._rejects.note("interactions below the minimum rating", frame.height - kept.height)
        return kept
