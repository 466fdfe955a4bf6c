"""Ingest: stored tables, counts, rejected lines, and the unchanged workspace after a failure."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossaisle.data.errors import FormatError, NoWorkspaceError, SettingsError, StorageError, WorkspaceBusyError
from crossaisle.data.readers.external_sort import InteractionSorter
from crossaisle.data.snapshots.ingest import IngestReport, ingest
from crossaisle.data.workspace import TABLES, Workspace

REAL = Path(__file__).parents[4] / "shared" / "data"

ITEMS = "item_id,title,category,price\ntent,Tent,Outdoors > Camping,99.5\nstove,Stove,Outdoors,20\npan,Pan,Kitchen,\n"
EVENTS = "user_id,item_id,timestamp\nann,tent,1700000000\nann,stove,1700000100\nbob,pan,1700000000\n"


def store(folder: Path, **files: str | list[dict[str, Any]] | pl.DataFrame) -> Path:
    """A folder of files from arguments such as `items__csv`; a list is written as JSONL."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        if isinstance(content, pl.DataFrame):
            content.write_parquet(path)
            continue
        text = content if isinstance(content, str) else "".join(json.dumps(line) + "\n" for line in content)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return folder


def run(tmp_path: Path, format_name: str = "files", **options: Any) -> tuple[IngestReport, Workspace]:
    report = ingest(tmp_path / "ws", format_name, options.pop("paths", [tmp_path / "in"]), **options)
    return report, Workspace(tmp_path / "ws")


def rejects(workspace: Workspace) -> list[dict[str, Any]]:
    return [json.loads(line) for line in workspace.rejects.read_text("utf-8").splitlines()]


def events(*rows: str, header: str = "user_id,item_id,kind,timestamp,value,position") -> str:
    return "\n".join([header, *rows]) + "\n"


# ------------------------------------------------------------------ stored tables


def test_small_store_end_to_end(tmp_path: Path) -> None:
    store(tmp_path / "in", items__csv=ITEMS, interactions__csv=EVENTS)
    report, workspace = run(tmp_path, item_noun="thing", category_level=2)
    counts = (report.items, report.interactions, report.users, report.reviews, report.relations, report.categories)
    assert counts == (3, 3, 2, 0, 0, 2)
    assert (report.problems, report.rejects, report.snapshot) == ({}, 0, workspace.manifest.snapshot)
    assert (workspace.manifest.item_noun, workspace.manifest.category_level) == ("thing", 2)
    assert workspace.manifest.source == {"format": "files", "files": ["interactions.csv", "items.csv"]}
    items = workspace.table("items")
    assert items.schema == {
        "item_id": pl.String, "title": pl.String, "category": pl.List(pl.String), "description": pl.String,
        "brand": pl.String, "price": pl.Float64, "image": pl.String, "in_stock": pl.Boolean,
    }  # fmt: skip
    assert items.row(0) == ("tent", "Tent", ["Outdoors", "Camping"], "", None, 99.5, None, None)
    assert workspace.table("interactions").rows() == [
        ("ann", "tent", "purchase", 1_700_000_000_000, None, None),
        ("ann", "stove", "purchase", 1_700_000_100_000, None, None),
        ("bob", "pan", "purchase", 1_700_000_000_000, None, None),
    ]
    assert workspace.table("reviews").schema["timestamp"] == pl.Int64
    assert workspace.table("relations").columns == ["head", "relation", "tail"]
    assert workspace.rejects.read_text() == ""
    assert json.loads(json.dumps(report.to_dict()))["items"] == 3


ROWS_ITEMS: list[dict[str, Any]] = [
    {"item_id": "1", "title": 'Tent, "two"\nrooms', "category": ["Outdoors", "Camping"], "price": 99.5, "in_stock": True},
    {"item_id": "2", "title": "Zelt é 😀", "category": ["Outdoors"], "price": None, "in_stock": False},
]
ROWS_EVENTS: list[dict[str, Any]] = [
    {"user_id": "7", "item_id": "2", "kind": "view", "timestamp": 1_700_000_000_000, "value": 1.0, "position": None},
    {"user_id": "7", "item_id": "1", "kind": "rating", "timestamp": 1_700_000_000_500, "value": 4.5, "position": None},
]


def as_csv(rows: list[dict[str, Any]]) -> str:
    flat = [{name: " > ".join(value) if isinstance(value, list) else value for name, value in row.items()} for row in rows]
    return pl.DataFrame(flat).write_csv()


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
def test_every_file_format_gives_the_same_tables(tmp_path: Path, suffix: str) -> None:
    made: dict[str, Any] = {}
    for name, rows in (("items", ROWS_ITEMS), ("interactions", ROWS_EVENTS)):
        content: Any = rows if "jsonl" in suffix else pl.DataFrame(rows) if suffix == "parquet" else as_csv(rows)
        made[f"{name}__{suffix.replace('.', '__')}"] = content
    store(tmp_path / "in", **made)
    report, workspace = run(tmp_path)
    assert report.problems == {}
    items = workspace.table("items").select("item_id", "title", "category", "price", "in_stock")
    assert items.rows(named=True) == ROWS_ITEMS
    assert workspace.table("interactions").rows(named=True) == ROWS_EVENTS


def test_numeric_ids_match_across_files(tmp_path: Path) -> None:
    items = [{"item_id": 1, "title": "a"}, {"item_id": 2.0, "title": "b"}]
    store(tmp_path / "in", items__jsonl=items, interactions__csv=events(" u ,1,,,,", "u, 2 ,,,,"))
    report, workspace = run(tmp_path)
    assert report.problems == {}
    assert workspace.table("interactions")["item_id"].to_list() == ["1", "2"]
    assert workspace.table("interactions")["user_id"].to_list() == ["u", "u"]


def test_extra_columns_are_kept_and_never_take_our_names(tmp_path: Path) -> None:
    items = [
        {"sku": "a", "title": "A", "cost": 2, "price": 5, "tags": ["x", ""], "stars": 4, "deep": {"k": 1}, "when": None},
        {"sku": "b", "title": "B", "cost": 3.5, "price": 6, "tags": None, "stars": 4.5, "deep": None, "when": None},
    ]
    store(tmp_path / "in", items__jsonl=items, interactions__csv="user_id,sku\nu,a\n")
    report, workspace = run(tmp_path, rename={"item_id": "sku", "price": "cost"})
    table = workspace.table("items")
    assert report.problems == {}
    assert table["price"].to_list() == [2.0, 3.5]
    assert table.columns[8:] == ["source_price", "tags", "stars", "deep", "when"]
    assert table["source_price"].to_list() == [5, 6]
    assert table["tags"].to_list() == [["x", ""], None]
    assert table["stars"].to_list() == [4.0, 4.5]
    assert table["deep"].to_list() == ['{"k": 1}', None]
    assert workspace.manifest.source["rename"] == {"item_id": "sku", "price": "cost"}


def test_missing_renamed_column_is_reported(tmp_path: Path) -> None:
    store(tmp_path / "in", items__csv=ITEMS, interactions__csv=EVENTS)
    with pytest.raises(SettingsError, match=r"--map price=cost: no column cost in interactions\.csv, items\.csv"):
        run(tmp_path, rename={"price": "cost"})


def test_reviews_create_no_interactions_and_relations_are_deduplicated(tmp_path: Path) -> None:
    reviews = [
        {"item_id": "tent", "user_id": "ann", "rating": 5, "text": "good", "timestamp": "2024-01-31T18:00:00Z"},
        {"item_id": "tent", "user_id": "bob", "rating": None, "title": "meh"},
        {"item_id": "tent", "user_id": "ann", "rating": 5, "text": "good", "timestamp": "2024-01-31T18:00:00Z"},
    ]
    relations = "head,relation,tail\ntent,needs,stove\ntent,needs,stove\ntent,made by,Acme\n"
    store(tmp_path / "in", items__csv=ITEMS, reviews__jsonl=reviews, relations__csv=relations)
    report, workspace = run(tmp_path)
    assert (report.interactions, report.users, report.reviews, report.relations) == (0, 0, 2, 2)
    assert report.problems == {"duplicate reviews": 1}
    assert workspace.table("reviews").rows() == [
        ("tent", "ann", 5.0, "", "good", 1_706_724_000_000),
        ("tent", "bob", None, "meh", "", None),
    ]
    assert workspace.table("interactions").height == 0


# ------------------------------------------------------------------ order and duplicates


def test_histories_are_sorted_by_time_position_and_input_order(tmp_path: Path) -> None:
    items = "item_id,title\n" + "".join(f"{name},x\n" for name in "abcdefg")
    rows = ["u,a,,20,,", "u,b,,10,,", "u,c,,10,,", "u,d,,,,2", "u,e,,,,1", "u,f,,10,,0", "t,g,,,,"]
    store(tmp_path / "in", items__csv=items, interactions__csv=events(*rows))
    _, workspace = run(tmp_path)
    assert workspace.table("interactions")["item_id"].to_list() == ["g", "e", "d", "b", "c", "f", "a"]


def test_duplicates_have_the_same_user_item_kind_and_time(tmp_path: Path) -> None:
    rows = ["u,tent,,10,1,", "u,tent,,10,2,", "u,tent,view,10,,", "u,tent,,11,,", "u,pan,,,,0", "u,pan,,,,1", "u,pan,,,,1"]
    store(tmp_path / "in", items__csv=ITEMS, interactions__csv=events(*rows))
    report, workspace = run(tmp_path)
    assert report.problems == {"duplicate interactions": 2}
    assert report.rejects == 0
    table = workspace.table("interactions")
    assert table.filter(item_id="tent", kind="purchase")["value"].to_list() == [1.0, None]
    assert table.filter(item_id="pan")["position"].to_list() == [0, 1]


def test_first_of_repeated_items_counts_and_untitled_items_are_kept(tmp_path: Path) -> None:
    items = [
        {"item_id": "a", "title": "First"},
        {"item_id": "a", "title": "Second"},
        {"item_id": "b", "title": None},
        {"item_id": "c"},
    ]
    store(tmp_path / "in", items__jsonl=items, interactions__csv="user_id,item_id\nu,a\n")
    report, workspace = run(tmp_path, on_error="stop")
    assert report.problems == {"items without a title": 2, "repeated item ids (the first line counts)": 1}
    assert report.rejects == 0
    assert workspace.table("items")["title"].to_list() == ["First", "", ""]


ROWS = st.tuples(
    st.sampled_from(["u1", "u2", "ü3", "u10", ""]),
    st.sampled_from(["tent", "stove", "pan", "ghost"]),
    st.sampled_from(["", "view", "purchase", "steal"]),
    st.sampled_from(["", "10", "20", "soon"]),
    st.sampled_from(["", "1", "2.5", "nan"]),
    st.sampled_from(["", "0", "1"]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, max_size=30), st.integers(1, 12))
def test_chunk_size_does_not_change_the_result(tmp_path: Path, rows: list[tuple[str, ...]], chunk: int) -> None:
    good = [f"u{number},tent,,{number},," for number in range(1, 31)]  # enough valid lines for the format check
    store(tmp_path / "in", items__csv=ITEMS, interactions__csv=events(*good, *[",".join(row) for row in rows]))
    results = []
    for size in (chunk, 200_000):
        shutil.rmtree(tmp_path / "ws", ignore_errors=True)
        report, workspace = run(tmp_path, chunk_rows=size)
        tables = [workspace.table(name).rows() for name in TABLES]
        results.append((report.problems, report.rejects, tables, rejects(workspace)))
    assert results[0] == results[1]
    accounted = report.interactions + report.rejects + report.problems.get("duplicate interactions", 0)
    assert accounted == len(good) + len(rows)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz"), st.sampled_from([None, 1, 2])), max_size=60),
    st.integers(1, 20),
)
def test_user_ranges_concatenate_to_a_sorted_table(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int | None]], range_rows: int
) -> None:
    kinds = {
        "user_id": pl.String,
        "item_id": pl.String,
        "kind": pl.String,
        "timestamp": pl.Int64,
        "value": pl.Float64,
        "position": pl.Int64,
    }
    full = [(user, item, "view", moment, float(number), None) for number, (user, item, moment) in enumerate(rows)]
    expected, seen = [], set()
    for row in sorted(full, key=lambda row: (row[0], row[3] or 0, row[4])):  # an unknown time comes first
        if (key := row[:4]) not in seen:
            expected.append(row)
            seen.add(key)
    tables = []
    for size in (range_rows, 10**6):
        folder = tmp_path_factory.mktemp("parts")
        parts = InteractionSorter(folder, size)
        for first in range(0, len(full), 7):
            parts.add(pl.DataFrame(full[first : first + 7], schema=kinds, orient="row"))
        done = parts.finish(folder / "out.parquet", lambda *_: None)
        assert (done.rows, done.duplicates) == (len(expected), len(full) - len(expected))
        assert done.users == len({row[0] for row in rows})
        tables.append(pl.read_parquet(folder / "out.parquet").rows())
    assert tables == [expected, expected]


# ------------------------------------------------------------------ rejected lines

GOOD = [f"u{number},tent,view,{number},," for number in range(9)]


@pytest.mark.parametrize(
    ("line", "problem", "cause"),
    [
        (",tent,,,,", "lines without a user_id", "no user_id"),
        ("u,  ,,,,", "lines without an item_id", "no item_id"),
        ("u,tent,steal,,,", "unknown kinds", 'unknown kind "steal", expected one of purchase'),
        ("u,tent,,soon,,", "timestamps that are no time", 'timestamp "soon" is not a time'),
        ("u,tent,,,much,", "values that are no finite number", 'value "much" is not a finite number'),
        ("u,tent,,,inf,", "values that are no finite number", 'value "inf"'),
        ("u,tent,,,,1.5", "positions that are no whole number", 'position "1.5"'),
        ("u,ghost,,,,", "interactions of unknown items", 'item "ghost" is not among the items'),
        ("u,tent", "unreadable lines", "2 fields, expected 6"),
        ("u,te\0nt,,,,", "unreadable lines", "contains a null byte"),
        ('u,"tent,,,,', "unreadable lines", "a quote is opened and never closed"),
    ],
)
def test_invalid_line_is_recorded_with_line_number_and_cause(tmp_path: Path, line: str, problem: str, cause: str) -> None:
    folder = store(tmp_path / "in", items__csv=ITEMS, interactions__csv=events(*GOOD, line))
    report, workspace = run(tmp_path)
    assert (report.interactions, report.rejects, report.problems) == (9, 1, {problem: 1})
    (reject,) = rejects(workspace)
    assert (reject["path"], reject["line"]) == (str(folder / "interactions.csv"), 11)
    assert cause in reject["cause"]
    assert reject["content"].strip() == line
    with pytest.raises(FormatError) as caught:
        run(tmp_path, on_error="stop")
    assert (caught.value.line, caught.value.cause) == (11, reject["cause"])
    assert Workspace(tmp_path / "ws").manifest.snapshot == report.snapshot


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"item_id": " "}, "lines without an item_id"),
        ({"item_id": ["a"]}, "lines without an item_id"),
        ({"price": "much"}, "prices that are negative or no number"),
        ({"price": -1}, "prices that are negative or no number"),
        ({"price": float("nan")}, "prices that are negative or no number"),
        ({"category": {"a": 1}}, "categories that are no path"),
        ({"in_stock": "perhaps"}, "in_stock that is no truth value"),
    ],
)
def test_invalid_item_is_rejected(tmp_path: Path, fields: Mapping[str, object], problem: str) -> None:
    items = [{"item_id": "tent", "title": "Tent"}, {"item_id": "b", "title": "B"}, {"item_id": "bad", "title": "x", **fields}]
    store(tmp_path / "in", items__jsonl=items, interactions__csv="user_id,item_id\nu,tent\n")
    report, workspace = run(tmp_path)
    assert (report.items, report.problems) == (2, {problem: 1})
    assert rejects(workspace)[0]["line"] == 3
    with pytest.raises(FormatError, match="line 3"):
        run(tmp_path, on_error="stop")


def test_long_lines_are_truncated_in_the_rejects(tmp_path: Path) -> None:
    store(tmp_path / "in", items__csv=ITEMS, interactions__csv=events(*GOOD, "u,ghost" + "x" * 5000 + ",,,,"))
    _, workspace = run(tmp_path)
    (reject,) = rejects(workspace)
    assert len(reject["content"]) == 2000
    assert len(reject["cause"]) < 200


@pytest.mark.parametrize("chunk_rows", [3, 200_000])
def test_file_of_another_format_is_rejected_with_the_most_common_cause(tmp_path: Path, chunk_rows: int) -> None:
    lines = [{"sku": "a", "name": "x"}] * 600 + [{"item_id": "a", "title": "x"}] * 500
    store(tmp_path / "in", items__jsonl=lines, interactions__csv=EVENTS)
    with pytest.raises(FormatError) as caught:
        run(tmp_path, chunk_rows=chunk_rows)
    message = str(caught.value)
    assert "600 of the first 1000 lines cannot be used, mostly lines without an item_id (line 1: no item_id)" in message
    assert "the fields are sku, name" in message


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"items__jsonl": [{"item_id": "a", "name": "x"}]}, "no column title; found item_id, name"),
        ({"items__csv": "item_id,title\n"}, "contains no usable item"),
        ({"items__csv": ITEMS, "interactions__csv": "user_id,sku\nu,a\n"}, "no column item_id; found user_id, sku"),
        ({"items__csv": ITEMS, "interactions__csv": "user_id,item_id\nu,9\n"}, 'item "9" is not among the items); do both use'),
    ],
)
def test_unusable_files_are_rejected(tmp_path: Path, files: dict[str, Any], words: str) -> None:
    store(tmp_path / "in", **{"interactions__csv": EVENTS, **files})
    with pytest.raises(FormatError) as caught:
        run(tmp_path)
    assert words in str(caught.value)


def test_another_encoding_is_rejected_but_not_a_single_bad_line(tmp_path: Path) -> None:
    folder = store(tmp_path / "in", interactions__csv=EVENTS)
    (folder / "items.csv").write_bytes("item_id,title\ntent,Café\nstove,Bü\npan,x\n".encode("latin-1"))
    with pytest.raises(FormatError, match=r"byte 0xE9 at character 9\), as are 1 more; save it as UTF-8"):
        run(tmp_path)
    many = "".join(f"i{number},x\n" for number in range(30))
    (folder / "items.csv").write_bytes(b"item_id,title\ntent,x\nstove,x\npan,x\n" + many.encode() + b"z,Caf\xe9\n")
    report, _ = run(tmp_path)
    assert report.problems == {"lines that are not UTF-8": 1}


# ------------------------------------------------------------------ failures leave the workspace unchanged


def left(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != ".lock"}


def test_failed_ingest_leaves_the_workspace_unchanged(tmp_path: Path) -> None:
    store(tmp_path / "in", items__csv=ITEMS, interactions__csv=EVENTS)
    run(tmp_path)
    before = left(tmp_path / "ws")
    store(tmp_path / "bad", items__csv=ITEMS, interactions__csv=EVENTS + "x\n")
    with pytest.raises(FormatError):
        run(tmp_path, paths=[tmp_path / "bad"], on_error="stop")

    def tired(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=tired)
    assert left(tmp_path / "ws") == before


def test_missing_file_creates_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        run(tmp_path)
    assert not (tmp_path / "ws").exists()
    store(tmp_path / "in", items__csv=ITEMS, interactions__csv=EVENTS + "x\n")
    with pytest.raises(FormatError):
        run(tmp_path, on_error="stop")
    with pytest.raises(NoWorkspaceError):
        Workspace(tmp_path / "ws")


def test_busy_workspace_and_full_disk_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path / "in", items__csv=ITEMS, interactions__csv=EVENTS)
    with Workspace.prepare(tmp_path / "ws").writing("x"), pytest.raises(WorkspaceBusyError):
        run(tmp_path)
    report, _ = run(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)  # a full disk cannot be produced for real in a test
    with pytest.raises(StorageError, match="the disk is full"):
        run(tmp_path)
    assert Workspace(tmp_path / "ws").manifest.snapshot == report.snapshot


def test_same_files_give_the_same_snapshot(tmp_path: Path) -> None:
    store(tmp_path / "in", items__csv=ITEMS, interactions__csv=EVENTS)
    assert run(tmp_path)[0].snapshot == run(tmp_path)[0].snapshot


def test_progress_ends_at_the_size_of_each_file(tmp_path: Path) -> None:
    folder = store(tmp_path / "in", items__csv=ITEMS, interactions__csv__gz=EVENTS)
    calls: list[tuple[str, int, int]] = []
    run(tmp_path, progress=lambda *call: calls.append(call), chunk_rows=1)
    last = {stage: (done, total) for stage, done, total in calls}
    for name in ("items.csv", "interactions.csv.gz"):
        size = (folder / name).stat().st_size
        assert last[f"reading {name}"] == (size, size)
    assert all(done <= total for _, done, total in calls)
    assert last["sorting interactions"] == (1, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_error": "weep"}, "must be skip or stop"),
        ({"category_level": 0}, "must be 1 "),
        ({"min_rating": float("nan")}, "finite"),
        ({"chunk_rows": 0}, "1 or more"),
        ({"format_name": "completejourney", "min_rating": 3}, "completejourney has none"),
    ],
)
def test_invalid_arguments(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    store(tmp_path / "in", **{"products__csv": "a", "transactions__csv": "a"})
    with pytest.raises(SettingsError, match=words):
        run(tmp_path, **options)


# ------------------------------------------------------------------ the other formats


def test_amazon_reviews_are_reviews_and_purchases(tmp_path: Path) -> None:
    meta = [
        {"parent_asin": "A", "title": "Tent", "categories": ["Outdoors", "Camping"], "store": "Acme", "price": "from 12.99"},
        {"parent_asin": "B", "title": None, "categories": [], "main_category": "Books", "price": "call us"},
    ]
    reviews = [
        {
            "user_id": "u",
            "parent_asin": "A",
            "asin": "A1",
            "rating": 5.0,
            "title": "t",
            "text": "good",
            "timestamp": 1_700_000_000_000,
        },
        {"user_id": "u", "asin": "B", "rating": 2.0, "title": "t", "text": "bad", "sort_timestamp": 1_600_000_000_000},
        {"user_id": "u", "asin": "Z", "rating": 2.0, "title": "t", "text": "lost", "timestamp": 1},
    ]
    store(tmp_path / "in", meta_All__jsonl__gz=meta, All__jsonl=reviews)
    report, workspace = run(tmp_path, "amazon-reviews-2023", min_rating=3)
    assert report.problems == {
        "items without a title": 1,
        "prices that are negative or no number (left empty)": 1,
        "reviews of unknown items": 1,
        "interactions below the minimum rating": 1,
    }
    assert workspace.table("items")["price"].to_list() == [12.99, None]
    assert workspace.table("items")["category"].to_list() == [["Outdoors", "Camping"], ["Books"]]
    assert workspace.table("interactions").rows() == [("u", "A", "purchase", 1_700_000_000_000, 5.0, None)]
    assert workspace.table("reviews")["timestamp"].to_list() == [1_700_000_000_000, 1_600_000_000_000]
    assert [reject["line"] for reject in rejects(workspace)] == [3]
    assert workspace.manifest.source["min_rating"] == 3


def test_movielens_ratings_are_ratings(tmp_path: Path) -> None:
    movies = 'movieId,title,genres\n1,"Heat, The",Action|Crime\n2,Odd,(no genres listed)\n'
    store(tmp_path / "in", movies__csv=movies, ratings__csv="userId,movieId,rating,timestamp\n9,1,2.5,1260759144\n9,2,5,1260759145\n")
    report, workspace = run(tmp_path, "movielens", item_noun="film")
    assert (report.items, report.categories, report.problems) == (2, 1, {})
    assert workspace.table("interactions").row(0) == ("9", "1", "rating", 1_260_759_144_000, 2.5, None)
    report, workspace = run(tmp_path, "movielens", min_rating=4)
    assert workspace.table("interactions")["item_id"].to_list() == ["2"]


def test_minimum_rating_applies_only_to_ratings(tmp_path: Path) -> None:
    store(tmp_path / "in", items__csv=ITEMS, interactions__csv=events("u,tent,rating,1,2,", "u,pan,rating,1,4,", "u,stove,view,1,1,"))
    report, workspace = run(tmp_path, min_rating=3)
    assert report.problems == {"interactions below the minimum rating": 1}
    assert workspace.table("interactions")["item_id"].to_list() == ["pan", "stove"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data sets are not here (../shared/data)")
@pytest.mark.parametrize(
    ("format_name", "folder", "counts", "problems"),
    [
        ("amazon-reviews-2023", "amazon23", (3228, 3455, 3455, 354), {"items without a title": 74}),
        ("movielens", "movielens", (9125, 0, 100_004, 671), {}),
        ("completejourney", "completejourney", (92_331, 0, 74_778, 2374), {"interactions of unknown items": 222}),
        ("files", "amazon14", (42_381, 0, 662_436, 72_682), {"repeated item ids (the first line counts)": 1}),
    ],
)
def test_real_stores(tmp_path: Path, format_name: str, folder: str, counts: tuple[int, ...], problems: dict[str, int]) -> None:
    report, workspace = run(tmp_path, format_name, paths=[REAL / folder])
    assert (report.items, report.reviews, report.interactions, report.users) == counts
    assert report.problems == problems
    table = workspace.table("interactions")
    assert table["user_id"].is_sorted()
    assert table["item_id"].is_in(workspace.table("items")["item_id"].implode()).all()
    assert not table.filter((pl.col("timestamp") < pl.col("timestamp").shift()) & (pl.col("user_id") == pl.col("user_id").shift())).height
