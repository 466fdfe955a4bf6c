"""Ranking quality of each channel, the untrained LLM and their fusions on demo users with a held-out category.

    python benchmarks/fusion_weights.py [--users 150]

The purchases of one category per user are removed before indexing and are the targets. The candidates are those of the product. The users
are simulated: the result shows which parts carry a signal, not how good the recommendations are in a real store.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from record import write

import crossaisle
from crossaisle.data import demo
from crossaisle.retrieval import fusion

MIXES: dict[str, dict[str, float]] = {
    "semantic": {"semantic": 1},
    "associations": {"associations": 1},
    "popularity": {"popularity": 1},
    "llm": {"llm": 1},
    "equal": {"semantic": 1, "associations": 1, "popularity": 1, "llm": 1},
    "equal without llm": {"semantic": 1, "associations": 1, "popularity": 1},
    "shipped": dict(fusion.CHANNEL_WEIGHTS),
    "shipped without llm": {name: weight for name, weight in fusion.CHANNEL_WEIGHTS.items() if name != "llm"},
}


def hold_out(folder: Path, users: int) -> dict[str, set[str]]:
    """Rewrite the store's interactions without one category of some users; returns the targets by user."""
    file = folder / "interactions.jsonl"
    category = {item["item_id"]: item["category"][0] for item in demo.load_records("items")}
    histories: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in file.read_text().splitlines():
        record = json.loads(line)
        histories[record["user_id"]].append(record)
    draw = random.Random(1)
    several = sorted(user for user, past in histories.items() if len({category[record["item_id"]] for record in past}) >= 3)
    targets: dict[str, set[str]] = {}
    kept: list[dict[str, Any]] = []
    chosen = set(draw.sample(several, min(users, len(several))))
    for user, past in histories.items():
        out = draw.choice(sorted({category[record["item_id"]] for record in past})) if user in chosen else None
        if out:
            targets[user] = {record["item_id"] for record in past if category[record["item_id"]] == out}
        kept += [record for record in past if category[record["item_id"]] != out]
    file.write_text("".join(json.dumps(record) + "\n" for record in kept))
    return targets


def ndcg(order: list[str], targets: set[str], k: int = 10) -> float:
    gained = sum(1 / np.log2(place + 2) for place, item in enumerate(order[:k]) if item in targets)
    return float(gained / sum(1 / np.log2(place + 2) for place in range(min(k, len(targets)))))


def interval(values: list[float]) -> dict[str, float]:
    random_ = np.random.default_rng(0)
    means = random_.choice(values, (2000, len(values))).mean(axis=1)
    return {
        "value": round(float(np.mean(values)), 4),
        "low": round(float(np.quantile(means, 0.025)), 4),
        "high": round(float(np.quantile(means, 0.975)), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=150)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        targets = hold_out(demo.write_store(folder / "files"), arguments.users)
        crossaisle.ingest(folder / "shop", "files", [folder / "files"])
        crossaisle.index(crossaisle.Workspace(folder / "shop"), crossaisle.Settings.read())
        shop = crossaisle.Recommender.open(folder / "shop")
        pools = {
            user: {found.item.item_id: found.channels for found in shop.recommend(user_id=user, k=20, explain=False)} for user in targets
        }
    figures: dict[str, Any] = {
        "cases": len(targets),
        "metric": "ndcg@10",
        "pool_recall": interval([len(wanted & pools[user].keys()) / len(wanted) for user, wanted in targets.items()]),
    }
    scores: dict[str, list[float]] = {}
    shipped = dict(fusion.CHANNEL_WEIGHTS)
    for mix, weights in MIXES.items():
        scores[mix] = []
        for user, wanted in targets.items():
            items = sorted(pools[user])
            channels = {
                channel: {place: pools[user][item][channel] for place, item in enumerate(items) if channel in pools[user][item]}
                for channel in shipped
            }
            fused = fusion.reciprocal_rank_fusion(channels, {**dict.fromkeys(shipped, 0.0), **weights})
            scores[mix].append(ndcg([items[place] for place in sorted(fused, key=lambda place: (-fused[place], items[place]))], wanted))
    figures["mixes"] = {mix: interval(values) for mix, values in scores.items()}
    pairs = zip(scores["shipped"], scores["shipped without llm"], strict=True)
    figures["shipped_minus_without_llm"] = interval([a - b for a, b in pairs])
    figures["shipped_minus_associations"] = interval([a - b for a, b in zip(scores["shipped"], scores["associations"], strict=True)])
    write("fusion_weights", figures)


if __name__ == "__main__":
    main()
