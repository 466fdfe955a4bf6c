"""The demo store: hand-written items and reviews, and simulated shoppers.

Items, reviews and the needs that each item serves are hand-written files in this folder; brands are invented. The shoppers are simulated
and contain no real person's data:

1. Each of 400 shoppers has one to three *latent needs* (a new baby, a first flat, a first camping trip, ...), sampled with unequal
   frequencies. A need starts on a random day of the year.
2. For a need, each of its items is bought with a probability that depends on its stage (1 the trigger, 2 soon after, 3 nice to have)
   and on the item's appeal, sampled once per item; a shopper's thoroughness scales all three. Purchases of stage 1, 2, 3 happen about
   0, 10 and 40 days after the start.
3. Random purchases from the whole store are added, about one in five, with the same appeals.
4. Each written review is assigned to a shopper who bought the item, days after the purchase.

`needs.jsonl` is the ground truth behind the histories and never part of a workspace: a recommender must infer it. Knows nothing of the
readers of the files.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

ADAPTER = Path(__file__).parent / "adapter"
"""LoRA adapter for the embedded LLM, trained on these shoppers by `python benchmarks/ranker.py demo --ship`."""
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
    """Records of a file of the demo store: `items`, `reviews` (without users) or `needs`."""
    text = files(__package__).joinpath(f"{name}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def write_store(folder: Path, seed: int = SEED) -> Path:
    """Write `items.jsonl`, `reviews.jsonl` and `interactions.jsonl` in the format of a store's files; deterministic for a seed.

    Args:
        folder: Target folder; created if missing.
        seed: Random seed.

    Returns:
        The folder.
    """
    interactions, reviews = simulate(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in (("items", load_records("items")), ("reviews", reviews), ("interactions", interactions)):
        content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(content, "utf-8")
    return folder


def simulate(seed: int = SEED) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Simulate the shoppers: (interactions, reviews with authors), as records of the files."""
    import numpy as np

    random = np.random.default_rng(seed)
    items = [item["item_id"] for item in load_records("items")]
    appeal: Mapping[str, float] = dict(zip(items, random.lognormal(0.0, 0.6, len(items)), strict=True))
    items_of_need: dict[str, list[tuple[str, int]]] = {}
    for record in load_records("needs"):
        items_of_need.setdefault(record["need"], []).append((record["item_id"], record["stage"]))
    names = sorted(items_of_need)
    frequency = np.asarray([_FREQUENCY[name] for name in names])
    appeals = np.asarray([appeal[item] for item in items])
    bought: dict[tuple[str, str], float] = {}  # (user, item) -> day of the first purchase
    needs_of: dict[str, list[str]] = {}
    for number in range(1, SHOPPERS + 1):
        user = f"s{number:03d}"
        thoroughness = float(random.beta(3, 4))
        need_count = int(random.choice([1, 2, 3], p=[0.45, 0.4, 0.15]))
        needs = [str(need) for need in random.choice(names, size=need_count, replace=False, p=frequency / frequency.sum())]
        needs_of[user] = needs
        for need in needs:
            start = float(random.uniform(0, 300))
            for item, stage in items_of_need[need]:
                if random.random() < min(0.95, _STAGE_SHARE[stage] * thoroughness * appeal[item] ** 0.5):
                    bought.setdefault((user, item), start + float(random.exponential(_STAGE_DAYS[stage])) + (stage - 1) * 5)
        extra = 1 + int(random.poisson(0.25 * sum(1 for u, _ in bought if u == user)))
        for item in random.choice(items, size=extra, replace=False, p=appeals / appeals.sum()):
            bought.setdefault((user, str(item)), float(random.uniform(0, 360)))
    reviews: list[dict[str, Any]] = []
    for review in load_records("reviews"):
        item = review["item_id"]
        authors = {r["user_id"] for r in reviews if r["item_id"] == item}
        buyers = sorted(user for user, owned in bought if owned == item and user not in authors)
        if not buyers:  # every review needs a buyer
            matching = {need for need, need_items in items_of_need.items() if item in dict(need_items)}
            buyers = [user for user, needs in needs_of.items() if matching & set(needs) and user not in authors] or sorted(needs_of)
        user = buyers[int(random.integers(len(buyers)))]
        day = bought.setdefault((user, item), float(random.uniform(0, 330)))
        reviews.append({**review, "user_id": user, "timestamp": _timestamp(day + 3 + float(random.exponential(12)))})
    interactions = [
        {"user_id": user, "item_id": item, "kind": "purchase", "timestamp": _timestamp(day)}
        for (user, item), day in sorted(bought.items(), key=lambda entry: (entry[0][0], entry[1], entry[0][1]))
    ]
    return interactions, reviews


def _timestamp(day: float) -> str:
    return (YEAR + datetime.timedelta(days=day)).isoformat(timespec="seconds")
