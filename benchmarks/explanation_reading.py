"""Blind reading of explanations: pairs of two versions for readers who do not know which is which, and what they preferred.

    python benchmarks/explanation_reading.py answers WORKSPACE FILE [--users 30] [--seed 5]
    python benchmarks/explanation_reading.py pairs FOLDER --old OLD... --new NEW... [--pairs 60]
    python benchmarks/explanation_reading.py count FOLDER RATINGS... --who READERS

`answers` writes the recommendations of some users with their explanations, run from a checkout of each version, with the same workspace.
`pairs` writes `pairs.jsonl` into a folder: per line a number, what the shopper has, the item, and the texts A and B, each pair twice with
the sides exchanged, shuffled; and `key.jsonl`, which no reader sees. Only items that both versions recommended to the same user with a
text are taken, the same number from each file. `count` reads one file per reader, with a line such as
`{"pair": 3, "prefers": "A", "a_says": true, "b_says": false}` for each pair (A, B or tie; would a shop assistant say this?), and writes the
result. A pair counts for a version if the reader prefers it in both orders, else as a tie; kappa is that of the first and the last reader.
The pairs may hold texts of real reviews: keep them out of the repository.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from record import write

from crossaisle.eval.stats.agreement import cohen_kappa
from crossaisle.eval.stats.bootstrap import bootstrap_mean


def main() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    answers = commands.add_parser("answers")
    answers.add_argument("workspace", type=Path)
    answers.add_argument("file", type=Path)
    answers.add_argument("--users", type=int, default=30)
    answers.add_argument("--seed", type=int, default=5, help="of the choice of users")
    pairs = commands.add_parser("pairs")
    pairs.add_argument("folder", type=Path)
    pairs.add_argument("--old", type=Path, nargs="+", required=True)
    pairs.add_argument("--new", type=Path, nargs="+", required=True)
    pairs.add_argument("--pairs", type=int, default=60)
    count = commands.add_parser("count")
    count.add_argument("folder", type=Path)
    count.add_argument("ratings", type=Path, nargs="+")
    count.add_argument("--who", required=True, help="who the readers are, for the result")
    arguments = parser.parse_args()
    if arguments.command == "answers":
        write_answers(arguments.workspace, arguments.file, arguments.users, arguments.seed)
    elif arguments.command == "pairs":
        write_pairs(arguments.folder, arguments.old, arguments.new, arguments.pairs)
    else:
        key = {line["pair"]: line for line in _lines(arguments.folder / "key.jsonl")}
        write("explanation_reading", {"readers_are": arguments.who, **counted(key, [_lines(file) for file in arguments.ratings])})


def write_answers(workspace: Path, file: Path, users: int, seed: int) -> None:
    """Write one line per recommendation: user, item, what the shopper has, text."""
    from crossaisle.data.settings import Settings
    from crossaisle.recommend.recommender import Recommender

    recommender = Recommender.open(workspace, settings=Settings.read().with_(llm="smollm2"))
    chosen = np.random.default_rng(seed).permutation(sorted(recommender.histories)).tolist()[:users]
    lines = []
    for user in chosen:
        history = recommender.catalogue.records(recommender.history(user).rows.tolist()[-8:])
        for recommendation in recommender.recommend(user_id=user, k=5).items:
            text = recommendation.explanation.text if recommendation.explanation else ""
            about = {"user": user, "item": recommendation.item.item_id, "title": recommendation.item.title}
            lines.append({**about, "has": [item.title for item in history], "text": text})
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")


def write_pairs(folder: Path, old: list[Path], new: list[Path], wanted: int) -> None:
    """Write the pairs for the readers and the key."""
    rng = np.random.default_rng(0)
    found: list[dict[str, Any]] = []
    for before, after in zip(old, new, strict=True):
        texts = {(line["user"], line["item"]): line["text"] for line in _lines(before)}
        both = [line | {"old": texts[line["user"], line["item"]]} for line in _lines(after) if texts.get((line["user"], line["item"]))]
        changed = [line | {"store": before.stem} for line in both if line["text"]]
        found += [changed[row] for row in rng.permutation(len(changed))[: wanted // len(old)].tolist()]
    sides = [(line, swapped) for line in found for swapped in (False, True)]
    pairs, key = [], []
    for number, place in enumerate(rng.permutation(len(sides)).tolist()):
        line, swapped = sides[place]
        first, second = (line["old"], line["text"]) if swapped else (line["text"], line["old"])
        pairs.append({"pair": number, "shopper_has": line["has"], "item": line["title"], "A": first, "B": second})
        key.append({"pair": number, "case": place // 2, "store": line["store"], "new": "B" if swapped else "A"})
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("pairs.jsonl", pairs), ("key.jsonl", key)):
        (folder / name).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    print(f"{len(found)} pairs, {len(pairs)} readings")


def counted(key: dict[int, dict[str, Any]], readers: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """What the readers preferred, by case: 1 for the new version in both orders, 0 for the old one, 0.5 otherwise."""
    cases = sorted({line["case"] for line in key.values()})
    preferred, says = np.zeros((len(readers), len(cases))), {"new": [], "old": []}  # type: ignore[var-annotated]
    for reader, ratings in enumerate(readers):
        by_case: dict[int, list[float]] = {}
        for rating in ratings:
            place = key[rating["pair"]]
            is_new = rating["prefers"] == place["new"]
            by_case.setdefault(place["case"], []).append(0.5 if rating["prefers"] == "tie" else float(is_new))
            for side in "AB":
                says["new" if side == place["new"] else "old"].append(bool(rating[f"{side.lower()}_says"]))
        preferred[reader] = [by_case[case][0] if len(set(by_case[case])) == 1 else 0.5 for case in cases]
    clusters = np.arange(len(cases))
    stores = {line["case"]: line["store"] for line in key.values()}
    by_store = {store: [n for n, case in enumerate(cases) if stores[case] == store] for store in sorted(set(stores.values()))}
    return {
        "pairs": len(cases),
        "readers": len(readers),
        "new_preferred": bootstrap_mean(preferred.mean(axis=0), clusters).to_dict(),
        "by_store": {store: round(float(preferred[:, rows].mean()), 4) for store, rows in by_store.items()},
        "tied": round(float((preferred == 0.5).mean()), 4),
        "shop_assistant_would_say": {version: round(float(np.mean(marks)), 4) for version, marks in says.items()},
        "same_verdict": round(float((preferred[0] == preferred[-1]).mean()), 4),
        "kappa": cohen_kappa(preferred[0], preferred[-1], clusters).to_dict(),
    }


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]


if __name__ == "__main__":
    main()
