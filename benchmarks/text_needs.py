"""Needs from texts alone: cosine of the names, the LLM's "would someone who owns A need B?", and their sum.

    python benchmarks/text_needs.py [--owners 60] [--adapter FOLDER]

Three sets, each a list of owners with items to rank: (a) the demo store's designed needs: categories of another department that serve a
need of the owner's category, against categories that share no need with it; (b) leaf categories joined by at least two human-made
bundles, against equally popular ones that none joins; (c) IntentionQA: which of four products is also bought. Figures are means over owners
of the AUC within the owner (for (c) the accuracy of the first choice), with 95 % bootstrap intervals over owners. Prompt wording and
weights are chosen on one half of the owners and measured on the other. A weight is used only if its gain over the cosine alone has an
interval above 0 on the first half. With an adapter that `crossaisle train ranker` trained on pairs, the LLM reads its prompt instead; the
result is then `text_needs-adapter.json`.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import SHARED, write

from crossaisle.data import demo
from crossaisle.data.records import Category, Item
from crossaisle.data.settings import Settings
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.ranking.complement_scorer import MAX_NAME_CHARS, ComplementScorer, category_name
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.prompts import sanitize_for_prompt
from crossaisle.retrieval.index.embedder import Embedder
from crossaisle.train.llm.pair_examples import TEXT_QUERIES

WEIGHTS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
VETOED = 0.1
"""Share of the pairs that the veto puts last."""
PRECISE = 0.75
DRAWS = 2000


@dataclass
class Owner:
    """One owner and what there is to rank; `popularity` is None where nobody counted."""

    owned: str
    others: list[str]
    needed: NDArray[np.bool_]
    popularity: NDArray[np.float64] | None = None


def demo_store(each: int = 6) -> list[Owner]:
    draw = random.Random(0)
    category: dict[str, Category] = {item["item_id"]: tuple(item["category"]) for item in demo.load_records("items")}
    stage: dict[str, dict[Category, int]] = defaultdict(dict)
    for line in demo.load_records("needs"):
        path = category[line["item_id"]]
        stage[line["need"]][path] = min(line["stage"], stage[line["need"]].get(path, 9))
    buyers: dict[Category, set[str]] = defaultdict(set)
    for record in demo.simulate()[0]:
        buyers[category[record["item_id"]]].add(record["user_id"])
    opened: dict[Category, set[Category]] = defaultdict(set)
    shared: dict[Category, set[Category]] = defaultdict(set)
    for served in stage.values():
        for path, first in served.items():
            shared[path] |= served.keys()
            if first == 1:
                opened[path] |= served.keys()
    owners = []
    for owned in sorted(opened):
        wanted = sorted(path for path in opened[owned] if path[0] != owned[0])
        other = sorted(path for path in buyers if path[0] != owned[0] and path not in shared[owned])
        many = min(each, len(wanted), len(other))
        if many >= 2:
            picked = [*draw.sample(wanted, many), *draw.sample(other, many)]
            owners.append(_owner(owned, picked, many, [len(buyers[path]) for path in picked]))
    return owners


def bundles(domain: str, most: int, each: int = 4) -> list[Owner]:
    draw = random.Random(0)
    folder = SHARED / "bundles" / domain
    leaf: dict[str, Category] = {}
    for row in csv.DictReader((folder / "item_categories.csv").open()):
        # Names hold commas that a space follows; the paths' own commas have none.
        paths = [tuple(re.split(r",(?! )", path)) for path in re.findall(r"\[([^\[\]]*)\]", row["categories"])]
        leaf[row["item ID"]] = max(paths, key=len)
    held: dict[str, set[Category]] = defaultdict(set)
    for row in csv.DictReader((folder / "bundle_item.csv").open()):
        if row["item ID"] in leaf:
            held[row["bundle ID"]].add(leaf[row["item ID"]])
    popular = Counter(path for bundle in held.values() for path in bundle)
    joined = Counter((one, other) for bundle in held.values() for one in bundle for other in bundle if one != other)
    together: dict[Category, list[Category]] = defaultdict(list)
    for (one, other), times in sorted(joined.items()):
        if times >= 2:
            together[one].append(other)
    chosen = sorted(path for path, others in together.items() if len(others) >= 2)
    draw.shuffle(chosen)
    owners = []
    for owned in chosen[:most]:
        wanted = draw.sample(together[owned], min(each, len(together[owned])))
        apart: list[Category] = []
        for path in wanted:
            free = [other for other in sorted(popular) if other != owned and (owned, other) not in joined and other not in apart]
            draw.shuffle(free)
            apart.append(draw.choice(sorted(free, key=lambda other: abs(popular[other] - popular[path]))[:5]))
        owners.append(_owner(owned, [*wanted, *apart], len(wanted), [popular[path] for path in [*wanted, *apart]]))
    return owners


def intention_qa(most: int) -> list[Owner]:
    draw = random.Random(0)
    with gzip.open(SHARED / "intentionqa" / "which.jsonl.gz", "rt") as file:
        questions = [json.loads(line) for line in file]
    draw.shuffle(questions)
    owners: dict[str, Owner] = {}
    for question in questions:
        if question["gold_ind"] in question["options"] and len(question["options"]) == 4 and not question["hadFalseNegative"]:
            needed = np.asarray([key == question["gold_ind"] for key in question["options"]])
            owners.setdefault(question["item_a_id"], Owner(question["item_a_name"], list(question["options"].values()), needed))
    return list(owners.values())[:most]


def _owner(owned: Category, others: list[Category], wanted: int, popularity: list[int]) -> Owner:
    needed = np.arange(len(others)) < wanted
    return Owner(category_name(owned), [category_name(path) for path in others], needed, np.asarray(popularity, np.float64))


def right(scores: NDArray[Any], needed: NDArray[np.bool_]) -> float:
    """Share of (needed, not needed) pairs in the right order; a tie is half."""
    better = scores[needed][:, None] - scores[~needed][None, :]
    return float(((better > 0) + 0.5 * (better == 0)).mean())


def first(scores: NDArray[Any], needed: NDArray[np.bool_]) -> float:
    """Whether the best is needed; a tie counts by its share."""
    return float(needed[scores == scores.max()].mean())


def interval(values: list[list[float]]) -> dict[str, float]:
    """Mean over sets of the mean over owners; owners are resampled within each set."""
    random_ = np.random.default_rng(0)
    means = np.mean([random_.choice(column, (DRAWS, len(column))).mean(axis=1) for column in values], axis=0)
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "value": round(float(np.mean([np.mean(column) for column in values])), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def chooses(owner: Owner) -> bool:
    """Whether an owner is in the half used to choose weights."""
    return hashlib.sha256(repr(sanitize_for_prompt(owner.owned, MAX_NAME_CHARS)).encode()).digest()[-1] % 2 == 0


def scorer(llm: LanguageModel, *, tuned: bool) -> tuple[Callable[[str, Sequence[str]], NDArray[Any]], str]:
    """Return the function from an owned thing and others to the LLM's margins, and the id of its prompt."""
    if not tuned:
        complements = ComplementScorer(llm)
        return complements.logit_margins, complements.prompt.id
    ranker = Ranker(llm)
    text = TEXT_QUERIES[0]
    return lambda owned, others: ranker.scores([], text.format(owned), [Item(name, name) for name in others]), ranker.prompt.id


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--owners", type=int, default=60, help="of each set of bundles; twice as many questions")
    parser.add_argument("--adapter", type=Path)
    options = parser.parse_args()
    many = options.owners
    start = time.perf_counter()
    sets = {
        "demo": demo_store(),
        "bundles electronic": bundles("electronic", many),
        "bundles clothing": bundles("clothing", many),
        "intentionqa": intention_qa(2 * many),
    }
    llm, embedder = LanguageModel.load(Settings.read(), options.adapter), Embedder()
    margins_of, prompt = scorer(llm, tuned=options.adapter is not None)
    scored: dict[str, list[tuple[Owner, dict[str, NDArray[Any]]]]] = {}
    for name, owners in sets.items():
        scored[name] = []
        others = sorted({other for owner in owners for other in owner.others})
        anybody = dict(zip(others, margins_of("something", others), strict=True))
        for owner in owners:
            vectors = embedder.encode([owner.owned, *owner.others])
            own = margins_of(owner.owned, owner.others)
            usual = np.asarray([anybody[other] for other in owner.others])
            scores = {"cosine": vectors[1:] @ vectors[0], "llm": own, "calibrated": own - usual}
            scored[name].append((owner, scores))
    # The veto's threshold comes from the choosing half as well.
    floor = float(np.quantile(np.concatenate([s["calibrated"] for part in scored.values() for o, s in part if chooses(o)]), VETOED))
    for part in scored.values():
        for owner, scores in part:
            for weight in WEIGHTS:
                scores[f"cosine + {weight} calibrated"] = scores["cosine"] + weight * scores["calibrated"]
            scores["cosine, llm vetoes"] = scores["cosine"] - 2 * (scores["calibrated"] < floor)
            if owner.popularity is not None:
                scores["popularity"] = owner.popularity

    def values(name: str, system: str, choosing: bool, against: str | None = None) -> list[float]:
        score = first if name == "intentionqa" else right
        return [
            score(scores[system], owner.needed) - (score(scores[against], owner.needed) if against else 0)
            for owner, scores in scored[name]
            if chooses(owner) == choosing
        ]

    mixes = [f"cosine + {weight} calibrated" for weight in WEIGHTS] + ["cosine, llm vetoes"]
    gains = {mix: interval([values(name, mix, True, "cosine") for name in scored]) for mix in mixes}
    best = max(mixes, key=lambda mix: gains[mix]["value"])
    shipped = best if gains[best]["low"] > 0 else "cosine"
    systems = ("cosine", "llm", "calibrated", "cosine, llm vetoes", best)
    figures: dict[str, Any] = {
        "llm": f"{llm.name} {llm.quantization}, {prompt}",
        "embedder": embedder.name,
        "chosen_on_one_half": {"gain_over_cosine": gains, "best": best, "shipped": shipped},
        "other_half": {
            name: {
                "metric": "share of right first choices of 4" if name == "intentionqa" else "auc within an owner",
                "owners": sum(not chooses(owner) for owner, _ in part),
                "pairs": sum(len(owner.others) for owner, _ in part if not chooses(owner)),
                "chance": 0.25 if name == "intentionqa" else 0.5,
                **{
                    system: interval([values(name, system, False)])
                    for system in dict.fromkeys(("popularity", "cosine", "llm", "calibrated", "cosine, llm vetoes", best, shipped))
                    if system in part[0][1]
                },
            }
            for name, part in scored.items()
        },
        "other_half_all_sets": {
            **{system: interval([values(name, system, False) for name in scored]) for system in systems},
            f"{best} minus cosine": interval([values(name, best, False, "cosine") for name in scored]),
        },
        "cosine_threshold": threshold(
            [(owner, scores["cosine"]) for name in scored if name != "intentionqa" for owner, scores in scored[name]],
        ),
    }
    clear = figures["other_half_all_sets"][f"{best} minus cosine"]["low"] > 0
    figures["verdict"] = (
        "the LLM adds to the cosine of the names"
        if shipped != "cosine" and clear
        else "the LLM adds nothing significant to the cosine of the names; the shipped score is the cosine alone"
    )
    figures["seconds"] = round(time.perf_counter() - start)
    write("text_needs-adapter" if options.adapter else "text_needs", figures)


def threshold(scored: list[tuple[Owner, NDArray[Any]]]) -> dict[str, float]:
    """The least cosine above which a share `PRECISE` of category pairs are needs, half of all pairs being needs, and what it does on the
    other half."""
    cosines, needed = ([np.concatenate([pair[part] for pair in halves]) for halves in _halves(scored)] for part in (0, 1))
    least = min((c for c in np.sort(cosines[0]) if needed[0][cosines[0] >= c].mean() >= PRECISE), default=1.0)
    above = cosines[1] >= least
    return {
        "cosine": round(float(least), 3),
        "pairs": len(above),
        "precision": round(float(needed[1][above].mean()), 3),
        "recall": round(float(above[needed[1]].mean()), 3),
    }


def _halves(scored: list[tuple[Owner, NDArray[Any]]]) -> list[list[tuple[NDArray[Any], NDArray[np.bool_]]]]:
    return [[(cosines, owner.needed) for owner, cosines in scored if chooses(owner) == choosing] for choosing in (True, False)]


if __name__ == "__main__":
    main()
