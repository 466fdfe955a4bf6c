"""Vector index of items and reviews in Chroma: a folder of the workspace, or a server.

Every build writes its own generation, a folder (on a server, a set of collection names) that `workspace.json` references only once it is
complete. Readers of a deleted generation get an error that asks them to reopen the workspace; an interrupted build resumes.

Filters are never passed to Chroma: a `where` on "not this category" costs 28 to 161 ms at 50,000 vectors, a plain query under 1 ms.
`nearest` over-fetches ids, filters outside, and fetches more when too few remain.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import numpy as np

from ...data.errors import CrossaisleError, NoIndexError, SettingsError, StaleIndexError, WorkspaceError, storage_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

ITEMS, REVIEWS = "items", "reviews"
FOLDER = "folder"
"""Value of `--chroma` that switches from a server back to the workspace's folder."""
BATCH = 5000
"""Records per call; Chroma allows at most 5,461."""
MAX_CACHED_VECTORS = 50_000
"""Cached vectors, 77 MB at 384 dimensions: reading a few from Chroma takes two milliseconds, and a recommendation does so ten times."""


class VectorSearch(Protocol):
    """Part of `VectorIndex` that channels need."""

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors by id."""

    def nearest(
        self,
        name: str,
        vectors: NDArray[np.float32],
        wanted: Callable[[int, list[str]], Sequence[bool]],
        n: int,
        *,
        rounds: int | None = None,
    ) -> list[list[tuple[str, float]]]:
        """The nearest accepted ids of each query vector with their cosines, best first."""


class VectorIndex:
    """One generation of vectors.

    Args:
        workspace: folder of the workspace.
        generation: name of the build.
        url: `http://host:port` of a Chroma server; None for the workspace's folder.
    """

    def __init__(self, workspace: Path, generation: str, url: str | None = None) -> None:
        self.generation, self.url = generation, url
        self._home = workspace / "chroma"
        self._client: Any = _server(url) if url else _folder(self._home / generation)
        self._collections: dict[str, Any] = {}
        self._read: dict[tuple[str, str], NDArray[np.float32]] = {}

    def _collection(self, name: str, *, make: bool = False) -> Any:
        if name not in self._collections:
            full = f"crossaisle-{self.generation}-{name}"
            if make:
                collection = self._client.get_or_create_collection(
                    full, embedding_function=None, configuration={"hnsw": {"space": "cosine", "ef_search": 200}}
                )
            else:
                try:
                    collection = self._client.get_collection(full, embedding_function=None)
                except Exception as error:
                    raise NoIndexError(
                        f"the vectors of generation {self.generation} are gone ({type(error).__name__}); run `crossaisle index` again"
                    ) from error
            self._collections[name] = collection
        return self._collections[name]

    # ------------------------------------------------------------------ building

    def hashes(self, name: str) -> dict[str, str]:
        """Id to hash of the embedded text for all vectors of a collection, which is created if missing."""
        collection = self._collection(name, make=True)
        held: dict[str, str] = {}
        for start in range(0, collection.count(), BATCH):
            page = collection.get(limit=BATCH, offset=start, include=["metadatas"])
            held.update((key, str(meta["hash"])) for key, meta in zip(page["ids"], page["metadatas"], strict=True))
        return held

    def put(self, name: str, ids: Sequence[str], vectors: NDArray[np.float32], hashes: Sequence[str]) -> None:
        """Add or replace vectors, shape (ids, dimensions), with the hashes of their texts."""
        collection = self._collection(name, make=True)
        with storage_errors("the vector index"):
            for start in range(0, len(ids), BATCH):
                part = slice(start, start + BATCH)
                self._forget(name, ids[part])
                collection.upsert(ids=list(ids[part]), embeddings=vectors[part], metadatas=[{"hash": h} for h in hashes[part]])

    def drop(self, name: str, ids: Sequence[str]) -> None:
        """Delete vectors."""
        self._forget(name, ids)
        for start in range(0, len(ids), BATCH):
            self._collection(name).delete(ids=list(ids[start : start + BATCH]))

    def remove_others(self) -> None:
        """Delete the other generations of this workspace; call when `workspace.json` references this one."""
        if self.url:
            family = f"crossaisle-{self.generation.split('-')[0]}-"
            ours = f"crossaisle-{self.generation}-"
            for collection in self._client.list_collections():
                if collection.name.startswith(family) and not collection.name.startswith(ours):
                    self._client.delete_collection(collection.name)
        for folder in self._home.iterdir() if self._home.is_dir() else ():
            if self.url or folder.name != self.generation:
                shutil.rmtree(folder, ignore_errors=True)

    # ------------------------------------------------------------------ reading

    def count(self, name: str) -> int:
        """Number of vectors in a collection."""
        return int(self._collection(name).count())

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Read-only vectors by id; unknown ids are absent."""
        cache = self._read
        by_id = {key: vector for key in ids if (vector := cache.get((name, key))) is not None}
        missing = [key for key in ids if key not in by_id]
        for start in range(0, len(missing), BATCH):
            with _reading():
                page = self._collection(name).get(ids=missing[start : start + BATCH], include=["embeddings"])
            vectors = np.asarray(page["embeddings"], dtype=np.float32)
            vectors.flags.writeable = False
            by_id.update(zip(page["ids"], vectors, strict=True))
            if len(missing) < MAX_CACHED_VECTORS // 10:  # callers that read a whole collection keep it themselves
                if len(cache) + len(vectors) > MAX_CACHED_VECTORS:
                    cache.clear()
                # Copies, since a view would keep its whole page in memory.
                cache.update(((name, key), vector.copy()) for key, vector in zip(page["ids"], vectors, strict=True))
        return by_id

    def _forget(self, name: str, ids: Sequence[str]) -> None:
        for key in ids:
            self._read.pop((name, key), None)

    def nearest(
        self,
        name: str,
        vectors: NDArray[np.float32],
        wanted: Callable[[int, list[str]], Sequence[bool]],
        n: int,
        *,
        rounds: int | None = None,
    ) -> list[list[tuple[str, float]]]:
        """The `n` nearest accepted ids of each query vector with their cosines, best first.

        Args:
            vectors: (queries, dimensions).
            wanted: filter; takes a query number and ids, returns a mask. Called once per fetched page of ids.
            rounds: maximum number of fetches, each four times as large as the one before; None fetches until there are `n`.
        Returns: one list per query; without `rounds` shorter than `n` only when the collection has no more accepted ids.
        """
        collection = self._collection(name)
        with _reading():
            total = collection.count()
        results: list[list[tuple[str, float]]] = [[] for _ in range(len(vectors))]
        open_queries, fetch = list(range(len(vectors))), min(total, 4 * n)
        while open_queries and fetch and rounds != 0:
            rounds = None if rounds is None else rounds - 1
            with _reading():
                page = collection.query(query_embeddings=vectors[open_queries], n_results=fetch, include=["distances"])
            still = []
            for query, ids, distances in zip(open_queries, page["ids"], page["distances"], strict=True):
                keep = wanted(query, ids)
                results[query] = [(key, 1.0 - d) for key, d, ok in zip(ids, distances, keep, strict=True) if ok][:n]
                if len(results[query]) < n and fetch < total:
                    still.append(query)
            open_queries, fetch = still, min(total, 4 * fetch)
        return results

    def close(self) -> None:
        """Close files and connections."""
        self._collections.clear()
        self._read.clear()
        self._client.close()
        if self.url:
            # Chroma's own close keeps the connections of its two HTTP clients open.
            for client in (self._client, getattr(self._client, "_admin_client", None)):
                session = getattr(getattr(client, "_server", None), "_session", None)
                if session is not None:
                    session.close()


def copy_unchanged(donor: VectorIndex, target: VectorIndex, name: str, wanted: Mapping[str, str]) -> Iterator[int]:
    """Copy the vectors whose id and text hash match `wanted`; yields the number copied per page."""
    same = [key for key, text_hash in donor.hashes(name).items() if wanted.get(key) == text_hash]
    for start in range(0, len(same), BATCH):
        page = donor.vectors(name, same[start : start + BATCH])
        target.put(name, list(page), np.stack(list(page.values())), [wanted[key] for key in page])
        yield len(page)


@contextmanager
def _reading() -> Iterator[None]:
    """Convert Chroma errors about files removed by a later build into a `StaleIndexError`."""
    try:
        yield
    except CrossaisleError:
        raise
    except Exception as error:
        raise StaleIndexError(
            f"the vectors cannot be read any more ({type(error).__name__}): the index was rebuilt meanwhile, or its server is gone; "
            "open the workspace again"
        ) from error


def _folder(path: Path) -> Any:
    import chromadb
    from chromadb.config import Settings

    with storage_errors(f"the vector index {path}"):
        path.mkdir(parents=True, exist_ok=True)
        try:
            return chromadb.PersistentClient(path=str(path), settings=Settings(anonymized_telemetry=False))
        except Exception as error:
            raise WorkspaceError(
                f"the vector store {path} cannot be opened ({error}); delete that folder and run `crossaisle index`"
            ) from error


def _server(url: str) -> Any:
    import chromadb
    from chromadb.config import Settings

    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 8000)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"--chroma takes http://host:port, not {url!r}")
    try:
        return chromadb.HttpClient(
            host=parts.hostname, port=port, ssl=parts.scheme == "https", settings=Settings(anonymized_telemetry=False)
        )
    except Exception as error:
        raise WorkspaceError(f"no Chroma server answers at {url} ({type(error).__name__}); start one with `chroma run`") from error
