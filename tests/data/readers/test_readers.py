"""Readers: lines and rows with their numbers, parsing of values, and the formats."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.data.errors import FormatError, SettingsError
from crossaisle.data.readers import FORMATS, find_sources
from crossaisle.data.readers.formats import amazon, complete_journey, movielens
from crossaisle.data.readers.rows.batch import Batch
from crossaisle.data.readers.rows.line_reader import LineReader
from crossaisle.data.readers.rows.open_rows import read_rows
from crossaisle.data.readers.rows.value_parsing import (
    parse_bool,
    parse_category,
    parse_identifier,
    parse_identifiers,
    parse_integers,
    parse_numbers,
    parse_price,
    parse_timestamps,
)

# ------------------------------------------------------------------ rows


def rows_of(path: Path, chunk_rows: int = 1000) -> tuple[list[int], list[dict[str, object]], list[tuple[int, str]]]:
    """Line numbers, records, and (line, cause) of the unreadable lines."""
    batches: list[Batch] = list(read_rows(path, chunk_rows=chunk_rows))
    lines = [line for batch in batches for line in batch.lines]
    records = [record for batch in batches for record in batch.records()]
    return lines, records, [(reject.line, reject.cause) for batch in batches for reject in batch.unreadable]


def written(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("chunk_rows", [1, 2, 1000])
def test_csv_rows_have_the_number_of_their_first_line(tmp_path: Path, name: str, chunk_rows: int) -> None:
    path = written(tmp_path / name, '\ufeffa,b\r\n1,"two\nlines"\r\n\r\n2,"x ""y"", z"\r\n3,\r\n')
    lines, records, bad = rows_of(path, chunk_rows)
    assert lines == [2, 5, 6]
    assert records == [{"a": "1", "b": "two\nlines"}, {"a": "2", "b": 'x "y", z'}, {"a": "3", "b": None}]
    assert bad == []


@pytest.mark.parametrize("chunk_rows", [1, 2, 1000])
def test_unclosed_quote_loses_only_one_line(tmp_path: Path, chunk_rows: int) -> None:
    path = written(tmp_path / "a.csv", 'a,b\n1,"open\n2,fine\n3,"good, too"\n4,"open again\n5,last\n')
    lines, records, bad = rows_of(path, chunk_rows)
    assert [record["a"] for record in records] == ["2", "3", "5"]
    assert lines == [3, 4, 6]
    assert [line for line, _ in bad] == [2, 5]
    assert all("quote" in cause for _, cause in bad)


def test_every_broken_csv_line_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "a,b\n" + '"x"y,1\n2,ok\n' * 5000)
    lines, _, bad = rows_of(path)
    assert len(lines) == 5000
    assert [line for line, _ in bad] == list(range(2, 10002, 2))


def test_csv_line_of_another_width_is_rejected_with_its_text(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'a,b\n1,2,"3,4"\n5,6\n')
    (batch,) = read_rows(path)
    assert [(reject.line, reject.cause, reject.content) for reject in batch.unreadable] == [
        (2, "3 fields, expected 2 as in the header", '1,2,"3,4"')
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)] * 2),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([1, 2, 7, 1000]),
)
def test_csv_round_trip_of_arbitrary_text(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], chunk: int) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    path = written(tmp_path_factory.mktemp("csv") / "a.csv", text.getvalue())
    _, records, bad = rows_of(path, chunk)
    assert bad == []
    assert [(record["a"] or "", record["b"] or "") for record in records] == rows
    columns = [batch.column(["a"]).fill_null("").to_list() for batch in read_rows(path, chunk_rows=chunk)]
    assert [cell for column in columns for cell in column] == [row[0] for row in rows]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("chunk_rows", [1, 3, 1000])
def test_jsonl_lines_other_than_objects_are_rejected(tmp_path: Path, name: str, chunk_rows: int) -> None:
    text = b'{"a": 1}\n\n{"a": \n[1]\n{"a": "\xff"}\n{"a": "x\0y"}\n' + b"[" * 100_000 + b'\n{"a": 2}'
    lines, records, bad = rows_of(written(tmp_path / name, text), chunk_rows)
    assert lines == [1, 8]
    assert records == [{"a": 1}, {"a": 2}]
    causes = dict(bad)
    assert list(causes) == [3, 4, 5, 6, 7]
    assert causes[4] == "a JSON list, expected an object"
    assert "0xFF" in causes[5]
    assert causes[6] == "contains a null byte"


def test_unpaired_surrogate_in_jsonl_is_replaced(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"a": "tent \\ud83d", "b": ["\\ud83d\\ude00"]}\n')
    _, records, bad = rows_of(path)
    assert (records, bad) == ([{"a": "tent �", "b": ["😀"]}], [])


def test_jsonl_column_types(tmp_path: Path) -> None:
    rows = [{"n": 1, "f": 1.5, "m": 1}, {"n": None, "f": 2.0, "m": "x"}, {"f": 3.0, "m": 2.0, "alt": 7}]
    (batch,) = read_rows(written(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))))
    assert batch.column(["n"]).to_list() == [1, None, None]
    assert batch.column(["f"]).to_list() == [1.5, 2.0, 3.0]
    assert batch.column(["m"]).to_list() == ["1", "x", "2"]
    assert batch.column(["n", "alt"]).to_list() == [1, None, 7]
    assert list(batch.fields()) == ["n", "f", "m", "alt"]


def test_parquet_rows_are_numbered_and_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": [1, 2, 3], "c": [["x"], None, ["y", "z"]]}).write_parquet(path)
    lines, records, _ = rows_of(path, chunk_rows=2)
    assert lines == [1, 2, 3]
    assert records[2] == {"a": 3, "c": ["y", "z"]}


def test_binary_parquet_column_becomes_text(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": ["é".encode(), b"\xff", None]}).write_parquet(path)
    (batch,) = read_rows(path)
    assert batch.column(["a"]).to_list() == ["é", "�", None]
    assert [parse_identifier(record["a"]) for record in batch.records()] == ["é", "�", None]


def test_concatenated_blocks_equal_the_file(tmp_path: Path) -> None:
    text = "".join(f"line {number} {'é' * (number % 50)}\r\n" for number in range(60_000))
    lines = LineReader(written(tmp_path / "a.txt", text))
    blocks = list(lines)
    assert len(blocks) > 1
    assert "".join(line for block in blocks for line in block.lines) == text
    assert blocks[-1].first + len(blocks[-1].lines) - 1 == 60_000
    assert lines.done == lines.size


# ------------------------------------------------------------------ files of another format


def long_line() -> bytes:
    return b"a" * (65 << 20)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv.gz", b"", "the file is empty"),
        ("a.csv.gz", gzip.compress(b""), "the file is empty"),
        ("a.jsonl", b"\n \n", "the file is empty"),
        ("a.csv", b"\n\n", "the file is empty"),
        ("a.csv.gz", b"item_id,title\n", "named .gz but not gzip"),
        ("a.csv", gzip.compress(b"item_id,title\n"), "gzip data, but"),
        ("a.csv.gz", gzip.compress(b"item_id,title\n" * 9999)[:-20], "ends early"),
        ("a.csv", b"PK\x03\x04rest", "zip or Excel"),
        ("a.jsonl", b"PAR1rest", "a parquet file by its content"),
        ("a.csv", "item_id,title\n".encode("utf-16"), "UTF-16"),
        ("a.csv", "item_id,title\n".encode("utf-16-le"), "binary data"),
        ("a.csv", bytes(range(256)) * 99, "binary data"),
        ("a.csv", b"item_id,titl\xe9\n", "save it as UTF-8"),
        ("a.csv", b"item_id;title;price\n1;2;3\n", "separated by semicolons"),
        ("a.csv", b"sku,name\n1;2;3\n", "no column item_id and no column title; found sku, name"),
        ("a.csv", b"item_id,title,title\n", "two columns are named title"),
        ("a.jsonl", b'[{"item_id": 1}]', "starts with ["),
        ("a.parquet", b"item_id,title\n", "not a parquet file"),
        ("a.xlsx", b"PK", "must end in one of .csv"),
        ("a.csv", long_line(), "longer than 64 MB"),
    ],
    ids=lambda value: value[:25] if isinstance(value, str) else "",
)
def test_file_with_another_format_than_its_suffix(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        list(read_rows(path, [("item_id",), ("title",)]))
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_damaged_parquet_file_is_a_format_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"item_id": ["x" * 50] * 1000, "title": [str(n) * 20 for n in range(1000)]}).write_parquet(path)
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(data)
    with pytest.raises(FormatError, match="damaged"):
        list(read_rows(path))


# ------------------------------------------------------------------ values


def stamps(*values: object) -> tuple[list[int | None], list[bool]]:
    found, bad = parse_timestamps(pl.Series(values, dtype=pl.String if isinstance(values[0], str) else None))
    return found.to_list(), bad.to_list()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("1700000000", 1_700_000_000_000),
        ("1700000000.25", 1_700_000_000_250),
        ("1700000000123", 1_700_000_000_123),
        ("1700000000123456", 1_700_000_000_123),
        ("1700000000123456789", 1_700_000_000_123),
        ("-86400", -86_400_000),
        ("0", 0),
        (" 2023-11-14T22:13:20Z ", 1_700_000_000_000),
        ("2023-11-14 22:13:20", 1_700_000_000_000),
        ("2023-11-14T22:13:20.123456789", 1_700_000_000_123),
        ("2023-11-14T22:13:20,5 UTC", 1_700_000_000_500),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000_000),
        ("2023-11-14T17:43:20-0430", 1_700_000_000_000),
        ("2023-11-14T23:13+01", 1_699_999_980_000),
        ("2023-11-14", 1_699_920_000_000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2024-02-29", 1_709_164_800_000),
    ],
)
def test_times(word: str, expected: int) -> None:
    assert stamps(word) == ([expected], [False])
    assert stamps("", word, "2001-01-01") == ([None, expected, 978_307_200_000], [False] * 3)


@pytest.mark.parametrize(
    "word", ["soon", "2023-02-29", "2023-13-01", "2023-11-14T25:00", "20231114", "nan", "inf", "1e300", "14/11/2023", "2023-11-14x"]
)
def test_invalid_times(word: str) -> None:
    assert stamps(word, "1700000000") == ([None, 1_700_000_000_000], [True, False])


@settings(max_examples=150, deadline=None)
@given(st.integers(100_000_000_000, 99_999_999_999_999), st.sampled_from([0, 60, -330, 720]))
def test_times_agree_in_every_notation(moment: int, zone: int) -> None:
    # Milliseconds below 1e11 (before March 1973) read as seconds; the upper end is the year 5138.
    exact = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(milliseconds=moment)
    local = exact.astimezone(datetime.timezone(datetime.timedelta(minutes=zone)))
    spelled = [str(moment), f"{moment // 1000}.{moment % 1000:03}", str(moment * 1000), local.isoformat()]
    spelled += [exact.isoformat().replace("+00:00", "Z"), exact.replace(tzinfo=None).isoformat(" ")]
    assert stamps(*spelled) == ([moment] * len(spelled), [False] * len(spelled))
    assert stamps(moment, None) == ([moment, None], [False, False])
    assert parse_timestamps(pl.Series([exact, exact]))[0].to_list() == [moment] * 2
    assert parse_timestamps(pl.Series([exact.replace(tzinfo=None)]))[0].to_list() == [moment]


def test_parquet_dates_are_times() -> None:
    assert parse_timestamps(pl.Series([datetime.date(2024, 1, 1), None]))[0].to_list() == [1_704_067_200_000, None]


def test_numbers_must_be_finite() -> None:
    values, bad = parse_numbers(pl.Series(["1.5", " 2 ", "", None, "nan", "inf", "x", "1e400", "-3"]))
    assert values.to_list() == [1.5, 2.0, None, None, None, None, None, None, -3.0]
    assert bad.to_list() == [False, False, False, False, True, True, True, True, False]
    values, bad = parse_integers(pl.Series(["3", "3.0", "3.5", None]))
    assert (values.to_list(), bad.to_list()) == ([3, 3, None, None], [False, False, True, False])
    values, bad = parse_numbers(pl.Series([1.0, float("nan"), None]))
    assert (values.to_list(), bad.to_list()) == ([1.0, None, None], [False, True, False])


def test_ids_are_stripped_text() -> None:
    assert parse_identifiers(pl.Series([" a ", "", "  ", None])).to_list() == ["a", None, None, None]
    assert parse_identifiers(pl.Series([12, None])).to_list() == ["12", None]
    assert parse_identifiers(pl.Series([12.0, 1.5, float("nan"), None])).to_list() == ["12", "1.5", None, None]
    ids = [" a ", 12, 12.0, "", None, True, [1], float("nan")]
    assert [parse_identifier(value) for value in ids] == ["a", "12", "12", None, None, None, None, None]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), ("", None), (12, 12.0), (12.5, 12.5), ("12.99", 12.99), ("$12.99", 12.99), ("from 12.99", 12.99),
        ("USD 1,299.00", 1299.0), ("USD12", 12.0), ("1,299", 1299.0), ("12,99 €", 12.99), ("1.299,00 €", 1299.0),
        ("1 299,50 kr", 1299.5), ("CHF 1'299.50", 1299.5), ("$10.00 - $20.00", 10.0), ("0,125", 0.125), ("0", 0.0),
    ],
)  # fmt: skip
def test_prices(value: object, expected: float | None) -> None:
    assert parse_price(value) == expected


@pytest.mark.parametrize("value", ["nan", "inf", float("nan"), float("inf"), "free", "B00X1", "12abc", -1, "-5", "-$5.00", "—", True, [1]])
def test_invalid_prices(value: object) -> None:
    with pytest.raises(ValueError, match=r"negative|finite number"):
        parse_price(value)


def test_categories_are_paths() -> None:
    assert parse_category(" A > B>C ") == ["A", "B", "C"]
    assert parse_category(["A > B", " C ", None, ""]) == ["A > B", "C"]
    assert (parse_category(None), parse_category(""), parse_category([])) == ([], [], [])
    for value in (5, [["A"]], [{"a": 1}]):
        with pytest.raises(ValueError):
            parse_category(value)


def test_booleans() -> None:
    assert [parse_bool(word) for word in ("TRUE", 1, "in stock", True)] == [True] * 4
    assert [parse_bool(word) for word in ("no", 0, "out of stock", False)] == [False] * 4
    assert parse_bool("") is None
    with pytest.raises(ValueError):
        parse_bool("maybe")


# ------------------------------------------------------------------ formats


def test_amazon_product_fields() -> None:
    line = {
        "parent_asin": "B1", "title": "Tent", "main_category": "Outdoors", "categories": [], "store": "Acme", "price": "from 12.99",
        "description": ["For two."], "features": ["Dry", "Light"], "images": [{"thumb": "t.jpg", "large": "l.jpg"}],
    }  # fmt: skip
    ours = amazon.product(line)
    assert ours["category"] == ["Outdoors"]
    assert ours["description"] == ["For two.", "Dry", "Light"]
    assert ours["image"] == "l.jpg"
    assert amazon.product({**line, "categories": ["A", "B"], "images": {"hi_res": [None, "h.jpg"]}})["image"] == "h.jpg"
    assert amazon.product({"parent_asin": "B1"})["category"] == []


def test_movielens_film_fields() -> None:
    film = movielens.movie({"movieId": "1", "title": "Heat (1995)", "genres": "Action|Crime"})
    assert (film["category"], film["description"]) == (["Action"], "Genres: Action, Crime")
    film = movielens.movie({"movieId": "1", "title": "Heat", "genres": "(no genres listed)"})
    assert (film["category"], film["description"]) == ([], "")


def test_complete_journey_product_fields() -> None:
    line = {
        "product_id": "7",
        "department": "GROCERY",
        "brand": "Private",
        "product_category": "KID'S SNACKS",
        "product_type": None,
    }
    ours = complete_journey.product({**line, "package_size": "12  OZ"})
    assert ours["category"] == ["Grocery", "Kid's Snacks"]
    assert ours["title"] == "Kid's Snacks, 12 OZ (Private brand)"
    assert complete_journey.product({"product_id": "7", "brand": "National"})["title"] == ""


@pytest.mark.parametrize(
    ("format_name", "files", "words"),
    [
        ("files", {"interactions.csv": "a"}, "no items.*"),
        ("files", {"items.csv": "a"}, "neither interactions.* nor reviews.*"),
        ("files", {"items.csv": "a", "items.jsonl": "{}", "interactions.csv": "a"}, "also contains items"),
        ("movielens", {"movies.csv": "a"}, "no ratings.csv of MovieLens"),
        ("completejourney", {"products.csv": "a"}, "no transactions.csv or transactions_sample.csv"),
        ("amazon-reviews-2023", {"meta.jsonl": '{"parent_asin": "a", "title": null}'}, "no file with reviews"),
        ("amazon-reviews-2023", {"r.jsonl": '{"user_id": "u", "asin": "a"}'}, "no file with products"),
        ("amazon-reviews-2023", {"x.jsonl": 'no\n{"c": 1, "b": 2}'}, "has the fields b, c; expected parent_asin with title"),
        ("amazon-reviews-2023", {"x.jsonl": "no\n"}, "no line of it is a JSON object"),
    ],
)
def test_missing_files(tmp_path: Path, format_name: str, files: dict[str, str], words: str) -> None:
    for name, content in files.items():
        written(tmp_path / name, content)
    with pytest.raises(FormatError) as caught:
        find_sources(format_name, [tmp_path], {})
    assert words in str(caught.value)


@pytest.mark.parametrize("format_name", FORMATS)
def test_nonexistent_file(tmp_path: Path, format_name: str) -> None:
    with pytest.raises(FormatError, match="no such file"):
        find_sources(format_name, [tmp_path / "absent"], {})


def test_amazon_files_are_distinguished_by_fields(tmp_path: Path) -> None:
    reviews = written(tmp_path / "meta.jsonl.gz", '{"user_id": "u", "asin": "a", "title": "t"}\n')
    products = written(tmp_path / "reviews.jsonl", '{"parent_asin": "a", "title": "t"}\n')
    sources = find_sources("amazon-reviews-2023", [reviews, products], {})
    assert [(source.path, source.holds) for source in sources] == [(products, ("items",)), (reviews, ("reviews", "interactions"))]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda path: find_sources("excel", [path], {}),
            "unknown format excel: use one of files, amazon-reviews-2023, movielens, completejourney",
        ),
        (lambda _: find_sources("files", [], {}), "no input for the format files: name a file or folder"),
        (lambda path: find_sources("files", [path], {"cost": "price"}), "unknown column cost; use one of"),
        (lambda path: find_sources("movielens", [path], {"price": "cost"}), "--map works only with --format files"),
    ],
)
def test_invalid_arguments(tmp_path: Path, call: Callable[[Path], object], words: str) -> None:
    with pytest.raises(SettingsError, match=words.replace("*", r"\*")):
        call(tmp_path)
