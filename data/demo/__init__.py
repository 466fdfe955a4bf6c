"""The demo store: written for this project, with simulated shoppers.

Items, reviews and what each item is needed for are hand-written files beside this module; brands are invented. The shoppers
are drawn here, and nobody's data is in them:

1. Each of 400 shoppers has one to three *latent needs* (a new baby, a first flat, a first camping trip, ...), drawn with
   unequal frequencies. A need opens on a day of the year.
2. For a need, each of its items is bought with a probability that falls with its stage (1 the trigger, 2 soon after, 3 nice to
   have) and with the item's own appeal, drawn once per item; a shopper's thoroughness scales all three. Purchases of stage
   1, 2, 3 fall about 0, 10 and 40 days after the need opens.
3. Everyday purchases from the whole store come on top, about one in five, with the same appeals.
4. Each written review is given to a shopper who bought the item, days after the purchase.

`needs.jsonl` is the truth behind the histories and is never given to a workspace: a recommender has to find it out. Knows nothing
of how the files are read back.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

ADAPTER = Path(__file__).parent / "adapter"
"""What the embedded LLM learned of these shoppers, by `python benchmarks/ranker.py demo --ship`; a folder as `train ranker` makes it."""
SHOPPERS = 400
SEED = 7
YEAR = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
_STAGE_SHARE = {1: 0.85, 2: 0.55, 3: 0.3}
_STAGE_DAYS = {1: 2.0, 2: 10.0, 3: 40.0}
_FREQUENCY = {
    "new_baby": 1.2,
    "first_flat": 1.5,
    "camping": 1.3,
    "phone_upgrade": 1.6,
    "home_office": 1.3,
    "running": 1.0,
    "puppy": 0.9,
    "baking": 0.9,
    "gardening": 0.9,
    "bike_commute": 0.8,
    "home_gym": 0.8,
    "city_trip": 1.1,
    "movie_nights": 0.8,
    "kids_party": 0.6,
    "renovation": 0.8,
    "music_at_home": 0.8,
}


def load_records(name: str) -> list[dict[str, Any]]:
    """The records of one of the store's files: `items`, `reviews` (without users) or `needs`."""
    text = files(__package__).joinpath(f"{name}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def write_store(folder: Path, seed: int = SEED) -> Path:
    """Writes `items.jsonl`, `reviews.jsonl` and `interactions.jsonl` into a folder, as a store would hand them over.

    The same seed writes the same bytes. Returns: the folder.
    """
    interactions, reviews = simulate(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in (("items", load_records("items")), ("reviews", reviews), ("interactions", interactions)):
        content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(content, "utf-8")
    return folder


def simulate(seed: int = SEED) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The shoppers' purchases and the reviews with their writers: (interactions, reviews), as records of their files."""
    import numpy as np

    random = np.random.default_rng(seed)
    items = [item["item_id"] for item in load_records("items")]
    appeal: Mapping[str, float] = dict(zip(items, random.lognormal(0.0, 0.6, len(items)), strict=True))
    serves: dict[str, list[tuple[str, int]]] = {}
    for line in load_records("needs"):
        serves.setdefault(line["need"], []).append((line["item_id"], line["stage"]))
    names = sorted(serves)
    frequency = np.asarray([_FREQUENCY[name] for name in names])
    everyday = np.asarray([appeal[item] for item in items])
    bought: dict[tuple[str, str], float] = {}  # (user, item) -> day of the first purchase
    needs_of: dict[str, list[str]] = {}
    for number in range(1, SHOPPERS + 1):
        user = f"s{number:03d}"
        thorough = float(random.beta(3, 4))
        many = int(random.choice([1, 2, 3], p=[0.45, 0.4, 0.15]))
        wanted = [str(need) for need in random.choice(names, size=many, replace=False, p=frequency / frequency.sum())]
        needs_of[user] = wanted
        for need in wanted:
            opens = float(random.uniform(0, 300))
            for item, stage in serves[need]:
                if random.random() < min(0.95, _STAGE_SHARE[stage] * thorough * appeal[item] ** 0.5):
                    bought.setdefault((user, item), opens + float(random.exponential(_STAGE_DAYS[stage])) + (stage - 1) * 5)
        extra = 1 + int(random.poisson(0.25 * sum(1 for u, _ in bought if u == user)))
        for item in random.choice(items, size=extra, replace=False, p=everyday / everyday.sum()):
            bought.setdefault((user, str(item)), float(random.uniform(0, 360)))
    reviews: list[dict[str, Any]] = []
    for review in load_records("reviews"):
        item = review["item_id"]
        taken = {r["user_id"] for r in reviews if r["item_id"] == item}
        buyers = sorted(user for user, owned in bought if owned == item and user not in taken)
        if not buyers:  # somebody wrote it, so somebody bought it
            fitting = {need for need, served in serves.items() if item in dict(served)}
            buyers = [user for user, wanted in needs_of.items() if fitting & set(wanted) and user not in taken] or sorted(needs_of)
        user = buyers[int(random.integers(len(buyers)))]
        day = bought.setdefault((user, item), float(random.uniform(0, 330)))
        reviews.append({**review, "user_id": user, "timestamp": _moment(day + 3 + float(random.exponential(12)))})
    interactions = [
        {"user_id": user, "item_id": item, "kind": "purchase", "timestamp": _moment(day)}
        for (user, item), day in sorted(bought.items(), key=lambda entry: (entry[0][0], entry[1], entry[0][1]))
    ]
    return interactions, reviews


def _moment(day: float) -> str:
    return (YEAR + datetime.timedelta(days=day)).isoformat(timespec="seconds")
