"""`crossaisle index`: embeds a snapshot, builds the vector index, mines associations and uses; resumes and reuses earlier work."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import NoIndexError, SettingsError, StaleIndexError, WorkspaceError, storage_errors
from ...data.settings import Settings
from ...data.snapshots import added_items
from ...data.snapshots.rewrite import copy_tables
from ...data.workspace import Workspace
from ..associations import mining
from ..default_channels import store_default_channels
from ..items.catalogue import Catalogue
from ..items.texts import item_texts, review_ids, review_texts
from ..snapshot_view import SnapshotView
from ..uses.store import has_current_uses, mine_uses
from .embedder import BUNDLED, Embedder, digest
from .vector_index import FOLDER, ITEMS, REVIEWS, VectorIndex, copy_unchanged

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

BLOCK = 512
"""Texts between two saves: the most that a kill can lose, about two seconds of embedding."""

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, the steps done, and the total."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """Result of `build`: vectors embedded, kept and removed; associations found.

    Attributes:
        embedded: vectors computed in this run.
        kept: vectors reused from earlier runs.
        removed: vectors deleted.
        users_counted: users whose history was counted in this run; counts of the others were reused.
        order: order of interactions: time, position or none.
        window: maximum distance between A and B, in days (time) or positions.
    """

    embedded: int
    kept: int
    removed: int
    item_associations: int
    category_associations: int
    users_counted: int
    order: str
    window: int
    embedder: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON-serializable dict."""
        return asdict(self)


def build(workspace: Workspace, settings: Settings, progress: Progress = lambda *_: None, *, window: int | None = None) -> IndexReport:
    """Embed new and changed texts, index them, mine associations and uses, and record the index in `workspace.json`.

    Killing the process leaves the previous index in use; the next run resumes.

    Args:
        window: days (positions, where there are no timestamps) within which B follows A. Default: as before, otherwise 90 days or 10
            positions.
    Raises:
        SettingsError: a negative window.
        WorkspaceBusyError: another process is writing.
        ModelMissingError: the embedder is not available.
    """
    import time

    start = time.perf_counter()
    if window is not None and window < 0:
        raise SettingsError(f"the window must be 0 days (or positions) or more, not {window}")
    with workspace.writing(f"crossaisle index -w {workspace.path}"), storage_errors(f"the index of {workspace.path}"):
        _fold(workspace)
        current = workspace.manifest.index or {}
        name = settings.embedder or str(current.get("embedder", BUNDLED))
        url = _address(settings, current)
        mark = digest(name)
        key = hashlib.sha256(f"{workspace.manifest.snapshot} {mark}".encode()).hexdigest()[:8]
        generation = f"{workspace.manifest.id}-{key}"
        index = VectorIndex(workspace.path, generation, url)
        elsewhere = (current.get("generation"), current.get("chroma")) != (generation, url)
        reuse = current if current.get("embedder_digest") == mark and elsewhere else None
        items, reviews = workspace.table("items"), workspace.table("reviews")
        embedder = cache(lambda: Embedder(name, threads=settings.threads))  # loaded only if there is something to embed
        counts = []
        for collection, ids, texts in (
            (ITEMS, items["item_id"].to_list(), item_texts(items).to_list()),
            (REVIEWS, review_ids(reviews).to_list(), review_texts(reviews).to_list()),
        ):
            wanted = {i: hashlib.sha256(t.encode()).hexdigest()[:16] for i, t in zip(ids, texts, strict=True)}
            kept, removed = _carry_over(workspace, index, collection, wanted, reuse)
            counts.append((_embed(index, collection, dict(zip(ids, texts, strict=True)), wanted, embedder, progress), kept, removed))
        embedded, kept, removed = (sum(column) for column in zip(*counts, strict=True))
        progress("mining associations", 0, 1)
        interactions = workspace.table("interactions")
        catalogue = Catalogue.build(items, interactions, workspace.manifest.category_level, workspace.manifest.words)
        vectors = item_vectors(index, catalogue)
        mined = mining.mine(workspace, catalogue, vectors, window=window)
        store_default_channels(SnapshotView(workspace, interactions, catalogue, vectors), generation, progress)
        if not has_current_uses(workspace):
            progress("mining uses", 0, 1)
            mine_uses(workspace, catalogue, lambda names: embedder().encode(names), vectors)
        workspace.record_index(
            {
                "embedder": name,
                "embedder_digest": mark,
                "generation": generation,
                "chroma": url,
                "category_level": workspace.manifest.category_level,
                "associations": {"counts": mined.counts, "window": mined.window, "order": mined.order},
            }
        )
        index.remove_others()
        mining.drop_other_counts(workspace, mined.counts)
        index.close()
    return IndexReport(
        embedded=embedded,
        kept=kept,
        removed=removed,
        item_associations=mined.levels.get("item", 0),
        category_associations=mined.levels.get("category", 0),
        users_counted=mined.recounted,
        order=mined.order,
        window=mined.window,
        embedder=name,
        seconds=round(time.perf_counter() - start, 2),
    )


def _fold(workspace: Workspace) -> None:
    """Merge added items into a new snapshot, if there are any; call inside `writing`."""
    if added_items.file(workspace).exists():
        with workspace.staging() as staging:
            shutil.copyfile(workspace.file("interactions"), staging / "interactions.parquet")
            copy_tables(workspace, staging)
            now = workspace.manifest
            workspace.replace_snapshot(staging, category_level=None, words=None, source=now.source, folded=now.folded)
    added_items.remove_outdated(workspace)


def _embed(
    index: VectorIndex,
    collection: str,
    texts: Mapping[str, str],
    wanted: Mapping[str, str],
    embedder: Callable[[], Embedder],
    progress: Progress,
) -> int:
    """Embed texts that are new or changed, saving block by block; returns their number."""
    held = index.hashes(collection)
    new = [key for key in texts if held.get(key) != wanted[key]]
    if not new:
        return 0
    progress("loading the embedder", 0, 1)
    ids_by_hash: dict[str, list[str]] = {}  # a grocer's thousands of products share a few texts: each text is embedded once
    for key in new:
        ids_by_hash.setdefault(wanted[key], []).append(key)
    hashes = list(ids_by_hash)
    ready = 0
    for rows, vectors in embedder().stream([texts[ids_by_hash[text_hash][0]] for text_hash in hashes], block=BLOCK):
        block = [(key, vector) for row, vector in zip(rows, vectors, strict=True) for key in ids_by_hash[hashes[row]]]
        index.put(collection, [key for key, _ in block], np.stack([vector for _, vector in block]), [wanted[key] for key, _ in block])
        ready += len(block)
        progress(f"embedding {collection}", ready, len(new))
    return len(new)


def _carry_over(workspace: Workspace, index: VectorIndex, collection: str, wanted: dict[str, str], reuse: Any) -> tuple[int, int]:
    """Copy unchanged vectors into this generation and drop obsolete ones; returns (kept, removed)."""
    held = index.hashes(collection)
    gone = [key for key in held if key not in wanted]
    index.drop(collection, gone)
    kept = sum(wanted.get(key) == mark for key, mark in held.items())
    if reuse and kept < len(wanted):
        try:
            donor = VectorIndex(workspace.path, reuse["generation"], reuse["chroma"])
            kept += sum(copy_unchanged(donor, index, collection, {k: w for k, w in wanted.items() if held.get(k) != w}))
            donor.close()
        except WorkspaceError:
            pass  # the earlier vectors or their server are gone: embed again
    return kept, len(gone)


def check(workspace: Workspace, settings: Settings) -> dict[str, Any]:
    """The index record of `workspace.json`, if it matches the snapshot and the settings.

    Raises:
        NoIndexError: `index` never completed.
        StaleIndexError: the snapshot or the embedder has changed since.
    """
    fix = f"run `crossaisle index -w {workspace.path}`"
    record = workspace.manifest.index
    if not record:
        raise NoIndexError(f"{workspace.path} has data but no index yet; {fix}")
    if record["snapshot"] != workspace.manifest.snapshot:
        raise StaleIndexError(f"the index of {workspace.path} was made from an earlier snapshot ({record['snapshot']}); {fix}")
    if record["category_level"] != workspace.manifest.category_level:
        raise StaleIndexError(
            f"the index of {workspace.path} was made for category level {record['category_level']}, "
            f"the workspace now has {workspace.manifest.category_level}; {fix}"
        )
    if settings.embedder and settings.embedder != record["embedder"]:
        raise StaleIndexError(
            f"the vectors of {workspace.path} were made by {record['embedder']!r}, not by {settings.embedder!r}; "
            f"{fix} --embedder {settings.embedder}"
        )
    if digest(str(record["embedder"])) != record["embedder_digest"]:
        raise StaleIndexError(f"the weights of the embedder {record['embedder']!r} have changed since {workspace.path} was indexed; {fix}")
    return dict(record)


def load(
    workspace: Workspace, settings: Settings, *, added: bool = False, index: VectorIndex | None = None
) -> tuple[Catalogue, VectorIndex, pl.DataFrame]:
    """Catalogue, vector index and association table of a workspace.

    Args:
        added: include items added or changed since the snapshot; counts always come from the snapshot alone.
        index: the vector index, if it is already open.
    Raises: as `check`.
    """
    import polars as pl

    record = check(workspace, settings)
    items = added_items.items(workspace) if added else workspace.table("items")
    catalogue = Catalogue.build(items, workspace.table("interactions"), workspace.manifest.category_level, workspace.manifest.words)
    file = workspace.path / "associations.parquet"
    try:
        metadata = pl.read_parquet_metadata(file)
        table = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise NoIndexError(
            f"the associations of {workspace.path} cannot be read ({type(error).__name__}); run `crossaisle index -w {workspace.path}`"
        ) from error
    if any(metadata.get(name) != value for name, value in mining.mark(workspace).items()):
        raise StaleIndexError(
            f"the associations of {workspace.path} belong to another snapshot; run `crossaisle index -w {workspace.path}`"
        )
    return (
        catalogue,
        index or VectorIndex(workspace.path, str(record["generation"]), _address(settings, record)),
        table,
    )


def _address(settings: Settings, recorded: Mapping[str, Any]) -> str | None:
    """URL of the Chroma server: from the settings, otherwise recorded with the index; None for the workspace's folder."""
    return None if settings.chroma == FOLDER else settings.chroma or recorded.get("chroma")


def item_vectors(index: VectorIndex, catalogue: Catalogue) -> NDArray[np.float32]:
    """(items, dimensions) vectors of the items, a zero row for items without one."""
    ids = catalogue.items["item_id"].to_list()
    vectors_by_id = index.vectors(ITEMS, ids)
    nothing = np.zeros(next((len(vector) for vector in vectors_by_id.values()), 0), dtype=np.float32)
    return np.stack([vectors_by_id.get(key, nothing) for key in ids]) if ids else np.zeros((0, 0), np.float32)
