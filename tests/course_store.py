"""A course store whose answers are known: who takes Statistics then takes Databases; its texts must never sound like a shop's."""

from __future__ import annotations

import json
from pathlib import Path

import crossaisle
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.retrieval.index.builder import build

COURSES = {
    "Statistics": ("Probability Basics", "Regression in Practice", "Bayesian Thinking", "Survey Sampling"),
    "Databases": ("SQL for Analysts", "Data Modelling", "Query Tuning", "Warehouses by Example"),
    "Programming": ("Python Step by Step", "Clean Functions", "Testing Workshop", "Command Line Tools"),
    "Visual Design": ("Colour Theory", "Typography Studio", "Poster Workshop", "Logo Sketching"),
    "Languages": ("Spanish Evenings", "Italian Grammar", "Japanese Kana", "French Conversation"),
}
DAY = 86_400_000
NEXT = {"Statistics": "Databases", "Programming": "Visual Design"}
"""What learners of a category take next; everybody else takes something at random."""


def write_files(folder: Path, learners: int = 240) -> None:
    """Write items, interactions and reviews: half of the learners take Statistics, then Databases, and the others Programming, then Design."""
    names = list(COURSES)
    items = [
        {"item_id": f"{name[:2].upper()}-{i}", "title": title, "category": [name], "brand": f"{name} School", "price": 20.0 + i,
         "description": f"{title}: a course on {name.lower()}."}
        for name, titles in COURSES.items() for i, title in enumerate(titles)
    ]  # fmt: skip
    ids = {name: [item["item_id"] for item in items if item["category"] == [name]] for name in names}
    interactions = []
    for number in range(learners):
        first = ("Statistics", "Programming")[number % 2]
        taken = [ids[first][number % 4], ids[first][(number // 4) % 4]]
        taken += [ids[NEXT[first]][number % 4]] if number % 5 else [ids["Languages"][number // 5 % 4]]
        for step, item_id in enumerate(dict.fromkeys(taken)):
            interactions.append(
                {
                    "user_id": f"l{number:03d}",
                    "item_id": item_id,
                    "kind": "purchase",
                    "timestamp": 1_700_000_000_000 + (number + 7 * step) * DAY,
                }
            )
    reviews = [
        {"item_id": item["item_id"], "user_id": f"l{number:03d}", "rating": 5.0, "text": f"Made {item['category'][0].lower()} clear to me at last."}
        for number, item in enumerate(items)
    ]  # fmt: skip
    for name, rows in (("items", items), ("interactions", interactions), ("reviews", reviews)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def build_store(folder: Path, settings: Settings, **words: str) -> Workspace:
    """The indexed workspace of these files. Args: words: `item_noun` and its siblings of `crossaisle.ingest`."""
    write_files(folder)
    crossaisle.ingest(folder / "store", "files", sorted(folder.glob("*.jsonl")), **words)  # type: ignore[arg-type]
    build(Workspace(folder / "store"), settings)
    return Workspace(folder / "store")
