"""Real stores for quality measurements as workspaces, built once in a folder and reused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
from record import SHARED

import crossaisle
from crossaisle.data import demo

POOL_SEED = 1001
"""First seed of a pool of simulated shoppers."""
AMAZON14 = ("Beauty", "Sports and Outdoors", "Toys and Games")


def workspace(name: str, home: Path) -> crossaisle.Workspace:
    """An ingested and indexed workspace.

    Names: amazon14, amazon14-<category>, amazon14-<category>-2 (with its second level of categories),
    amazon14-<category>+<category>, amazon23, bundles-clothing,
    bundles-electronic, completejourney, courses, demo, demo-<seed>, demo-pool-<number of seeds>, movielens.
    """
    path = home / name
    if not (path / "workspace.json").exists():
        files = home / f"{name}-files"
        files.mkdir(parents=True, exist_ok=True)
        if name == "amazon23":
            crossaisle.ingest(path, "amazon-reviews-2023", [SHARED / name])
        elif name in ("completejourney", "movielens"):
            crossaisle.ingest(path, name, [SHARED / name], item_noun="film" if name == "movielens" else None)
        elif name.startswith("demo-pool-"):
            _demo_pool(files, int(name.rpartition("-")[2]))
            crossaisle.ingest(path, "files", [files])
        elif name.startswith("demo"):
            seed = int(name.partition("-")[2] or demo.SEED)
            crossaisle.ingest(path, "files", [demo.write_store(files, seed)])
        elif name == "courses":
            _courses(files)
            crossaisle.ingest(path, "files", [files], item_noun="course")
        elif name.startswith("bundles-"):
            _bundles(files, name.partition("-")[2])
            crossaisle.ingest(path, "files", [files], category_level=3)
        else:
            _amazon14(files, name.removesuffix("-2").partition("-")[2])
            crossaisle.ingest(path, "files", [files], category_level=2 if name.endswith("-2") else 1)
    made = crossaisle.Workspace(path)
    if not made.manifest.index:
        crossaisle.index(made, crossaisle.Settings.read())
    return crossaisle.Workspace(path)


def _demo_pool(files: Path, seeds: int) -> None:
    """The items of the demo store, and the shoppers of further seeds, none of whom is a shopper of the demo."""
    pooled = [
        {**record, "user_id": f"{seed}-{record['user_id']}"}
        for seed in range(POOL_SEED, POOL_SEED + seeds)
        for record in demo.simulate(seed)[0]
    ]
    for name, records in (("items", demo.load_records("items")), ("interactions", pooled)):
        (files / f"{name}.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records), "utf-8")


def _amazon14(files: Path, only: str) -> None:
    """One category with its order, or several (`beauty+toys`, or all) joined by user without an order: positions are per category."""
    items = pl.read_ndjson(SHARED / "amazon14" / "items.jsonl.gz")
    table = pl.read_csv(SHARED / "amazon14" / "interactions.csv.gz")
    if only:
        names = table["category"].unique().to_list()
        chosen = [next(name for name in names if name.lower().startswith(part)) for part in only.split("+")]
        table = table.filter(pl.col("category").is_in(chosen))
        items = items.join(table.select("item_id").unique(), on="item_id", how="semi", maintain_order="left")
    table = table.select("user_id", "item_id", *(["position"] if only and "+" not in only else []))
    items.write_ndjson(files / "items.jsonl")
    table.write_csv(files / "interactions.csv")


def _bundles(files: Path, name: str) -> None:
    """Items with their first category path, and the purchases with their times."""
    folder = SHARED / "bundles" / name
    titles = pl.read_csv(folder / "item_titles.csv", schema_overrides={"item ID": pl.String})
    paths = pl.read_csv(folder / "item_categories.csv", schema_overrides={"item ID": pl.String})
    joined = titles.join(paths, on="item ID", how="left")
    records = [
        {"item_id": row["item ID"], "title": row["titles"], "category": _first_path(row["categories"])}
        for row in joined.iter_rows(named=True)
    ]
    pl.DataFrame(records, schema={"item_id": pl.String, "title": pl.String, "category": pl.List(pl.String)}).write_ndjson(
        files / "items.jsonl"
    )
    bought = pl.read_csv(folder / "user_item.csv", schema_overrides={"user ID": pl.String, "item ID": pl.String})
    bought.rename({"user ID": "user_id", "item ID": "item_id"}).write_csv(files / "interactions.csv")


def _first_path(text: str | None) -> list[str]:
    """The first of the paths in "[[A, B,C],[A,D]]", whose names may contain a comma and a space."""
    return [part.strip() for part in re.split(r",(?! )", (text or "").strip("[]").split("],[")[0]) if part.strip()]


def _courses(files: Path) -> None:
    """Courses with their genres as categories; a course with several gets the rarest one."""
    genres = pl.read_csv(SHARED / "courses" / "course_genre.csv")
    names = genres.columns[2:]
    rare = {name: int(genres[name].sum()) for name in names}
    table = pl.read_csv(SHARED / "courses" / "course_processed.csv")
    described = dict(zip(table["COURSE_ID"], table["DESCRIPTION"], strict=True))
    pl.DataFrame(
        [
            {
                "item_id": row["COURSE_ID"],
                "title": row["TITLE"],
                "category": [min((name for name in names if row[name]), key=rare.__getitem__, default="Other")],
                "description": described.get(row["COURSE_ID"]) or "",
            }
            for row in genres.iter_rows(named=True)
        ]
    ).write_ndjson(files / "items.jsonl")
    taken = pl.read_csv(SHARED / "courses" / "rs_content_test.csv")
    taken.select(pl.col("user").cast(pl.String).alias("user_id"), pl.col("item").alias("item_id")).write_csv(files / "interactions.csv")
