"""`index`: from a snapshot to vectors and associations, picking up whatever an earlier run already made."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import NoIndexError, SettingsError, StaleIndexError, WorkspaceError, storing
from ...data.settings import Settings
from ...data.snapshots import added_items
from ...data.snapshots.rewrite import copy_tables
from ...data.workspace import Workspace
from ..associations import mining
from ..items.catalogue import Catalogue
from ..items.texts import item_texts, review_ids, review_texts
from .embedder import BUNDLED, Embedder, digest
from .vector_index import FOLDER, ITEMS, REVIEWS, VectorIndex, copy_unchanged

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

BLOCK = 512
"""Texts between two saves: what a kill can cost, about two seconds of embedding."""

Progress = Callable[[str, int, int], None]
"""Told of a stage, what of it is done, and its total."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What `index` did: vectors embedded now, carried over from earlier runs, forgotten; associations found.

    Attributes:
        users_counted: users whose history was counted now; the others' counts were carried over.
        order: what tells which came first: time, position or none. window: days (time) or positions that B may be behind A.
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
        """The report as JSON holds it."""
        return asdict(self)


def build(workspace: Workspace, settings: Settings, progress: Progress = lambda *_: None, *, window: int | None = None) -> IndexReport:
    """Embeds what is new or changed, indexes it, mines associations, and records the index in `workspace.json`.

    A kill at any moment leaves the previous index in use; the next run goes on where this one was.

    Args: window: days, or positions where there is no clock, within which B follows A; None is as it was, or 90 days, or 10 positions.
    Raises: SettingsError: a window below 0. WorkspaceBusyError: another process is writing. ModelMissingError: the embedder cannot be had.
    """
    import time

    start = time.perf_counter()
    if window is not None and window < 0:
        raise SettingsError(f"the window must be 0 days (or positions) or more, not {window}")
    with workspace.writing(f"crossaisle index -w {workspace.path}"), storing(f"the index of {workspace.path}"):
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
        catalogue = Catalogue.build(items, workspace.table("interactions"), workspace.manifest.category_level)
        mined = mining.mine(workspace, catalogue, item_vectors(index, catalogue), window=window)
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
        mining.drop_others(workspace, mined.counts)
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
    """Makes a snapshot of the present one and the items that were added to it, if there are any; call inside `writing`."""
    if added_items.file(workspace).exists():
        with workspace.staging() as staging:
            shutil.copyfile(workspace.file("interactions"), staging / "interactions.parquet")
            copy_tables(workspace, staging)
            now = workspace.manifest
            workspace.replace_snapshot(staging, category_level=None, item_noun=None, source=now.source, folded=now.folded)
    added_items.forget_older(workspace)


def _embed(
    index: VectorIndex,
    collection: str,
    texts: Mapping[str, str],
    wanted: Mapping[str, str],
    embedder: Callable[[], Embedder],
    progress: Progress,
) -> int:
    """Embeds the texts that the collection does not hold as they are, saving block by block; returns how many."""
    held = index.hashes(collection)
    new = [key for key in texts if held.get(key) != wanted[key]]
    if not new:
        return 0
    progress("loading the embedder", 0, 1)
    alike: dict[str, list[str]] = {}  # a grocer's thousands of products share a few texts: each is embedded once
    for key in new:
        alike.setdefault(wanted[key], []).append(key)
    marks = list(alike)
    ready = 0
    for places, vectors in embedder().stream([texts[alike[mark][0]] for mark in marks], block=BLOCK):
        block = [(key, vector) for place, vector in zip(places, vectors, strict=True) for key in alike[marks[place]]]
        index.put(collection, [key for key, _ in block], np.stack([vector for _, vector in block]), [wanted[key] for key, _ in block])
        ready += len(block)
        progress(f"embedding {collection}", ready, len(new))
    return len(new)


def _carry_over(workspace: Workspace, index: VectorIndex, collection: str, wanted: dict[str, str], reuse: Any) -> tuple[int, int]:
    """Brings what is unchanged into this generation and drops what is no longer wanted: (kept, removed)."""
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
            pass  # the earlier vectors are gone, or their server is: they are made again
    return kept, len(gone)


def check(workspace: Workspace, settings: Settings) -> dict[str, Any]:
    """The index that `workspace.json` records, if it fits the snapshot and the settings.

    Raises:
        NoIndexError: `index` never completed.
        StaleIndexError: the snapshot or the embedder is another one since.
    """
    mend = f"run `crossaisle index -w {workspace.path}`"
    found = workspace.manifest.index
    if not found:
        raise NoIndexError(f"{workspace.path} has data but no index yet; {mend}")
    if found["snapshot"] != workspace.manifest.snapshot:
        raise StaleIndexError(f"the index of {workspace.path} was made from an earlier snapshot ({found['snapshot']}); {mend}")
    if found["category_level"] != workspace.manifest.category_level:
        raise StaleIndexError(
            f"the index of {workspace.path} was made for category level {found['category_level']}, "
            f"the workspace now has {workspace.manifest.category_level}; {mend}"
        )
    if settings.embedder and settings.embedder != found["embedder"]:
        raise StaleIndexError(
            f"the vectors of {workspace.path} were made by {found['embedder']!r}, not by {settings.embedder!r}; "
            f"{mend} --embedder {settings.embedder}"
        )
    if digest(str(found["embedder"])) != found["embedder_digest"]:
        raise StaleIndexError(f"the embedder {found['embedder']!r} has other weights than when {workspace.path} was indexed; {mend}")
    return dict(found)


def load(
    workspace: Workspace, settings: Settings, *, added: bool = False, index: VectorIndex | None = None
) -> tuple[Catalogue, VectorIndex, pl.DataFrame]:
    """The catalogue, the vectors and the table of associations of a workspace.

    Args: added: with the items that were added or changed since the snapshot; figures of what shoppers did are of the snapshot alone.
        index: the vectors, where they are open already.
    Raises: as `check`.
    """
    import polars as pl

    found = check(workspace, settings)
    items = added_items.items(workspace) if added else workspace.table("items")
    catalogue = Catalogue.build(items, workspace.table("interactions"), workspace.manifest.category_level)
    file = workspace.path / "associations.parquet"
    try:
        marked = pl.read_parquet_metadata(file)
        table = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise NoIndexError(
            f"the associations of {workspace.path} cannot be read ({type(error).__name__}); run `crossaisle index -w {workspace.path}`"
        ) from error
    if any(marked.get(name) != value for name, value in mining.mark(workspace).items()):
        raise StaleIndexError(f"the associations of {workspace.path} are of another snapshot; run `crossaisle index -w {workspace.path}`")
    return (
        catalogue,
        index or VectorIndex(workspace.path, str(found["generation"]), _address(settings, found)),
        table,
    )


def _address(settings: Settings, recorded: Mapping[str, Any]) -> str | None:
    """The Chroma server to use: the settings' own, else the one recorded with the index; None for the workspace's folder."""
    return None if settings.chroma == FOLDER else settings.chroma or recorded.get("chroma")


def item_vectors(index: VectorIndex, catalogue: Catalogue) -> NDArray[np.float32]:
    """(items, dimensions) the vectors of the items, a zero row where there is none."""
    ids = catalogue.items["item_id"].to_list()
    known = index.vectors(ITEMS, ids)
    nothing = np.zeros(next((len(vector) for vector in known.values()), 0), dtype=np.float32)
    return np.stack([known.get(key, nothing) for key in ids]) if ids else np.zeros((0, 0), np.float32)
