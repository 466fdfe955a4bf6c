"""The demo store's adapter: trained on pairs of further simulated shoppers, measured on the demo's own.

    python benchmarks/demo_adapter.py [--home FOLDER] [--seeds 10] [--examples 1000] [--minutes 10] [--ship]

The shoppers of further seeds of the simulation have the same items and needs, and none of them is a shopper of the demo. 30 % of the items
and categories are in no training pair; the gain for text queries is measured on pairs of these. The gain in the blend is measured on the
demo's out-of-fold questions, which are all new to the adapter. Writes `results/demo-adapter.json`; `--ship` makes the adapter the bundled
one, with its weights in the card.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from blend import _tell
from record import write
from stores import workspace

import crossaisle
from crossaisle.app.cli.demo import build
from crossaisle.data import demo
from crossaisle.data.settings import Settings
from crossaisle.eval.stats.bootstrap import paired_difference
from crossaisle.llm.models.adapters import CARD, read_card
from crossaisle.recommend.ranking.llm_loading import CARD_KEY, RANKER_FOLDER, weight_file
from crossaisle.recommend.ranking.text_weight import CARD_KEY as TEXT_CARD_KEY
from crossaisle.recommend.ranking.text_weight import text_weight_file
from crossaisle.retrieval.index.builder import load
from crossaisle.train.llm.question_reading import open_ranker, read_questions
from crossaisle.train.llm.ranker import ELSEWHERE_KEY
from crossaisle.train.llm.ranker_examples import load_examples
from crossaisle.train.llm.weight import out_of_fold_ndcg
from crossaisle.train.lora.recipe import recipe_for
from crossaisle.train.pipeline import train_workspace

LORA = ("rank", "lr", "blocks", "epochs")
"""Options that replace values of the recipe."""


def main() -> None:
    """Train, measure and, if asked to, ship the adapter."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--ship", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        make(arguments.home or Path(temporary), arguments)


def make(home: Path, arguments: argparse.Namespace) -> None:
    """Train the adapter, measure it in a demo store, and write the figures."""
    settings = Settings.read().with_(llm="smollm2")
    chosen = {name: value for name, value in vars(arguments).items() if name in LORA}
    pool = workspace(f"demo-pool-{arguments.seeds}", home)
    trained = train_workspace(
        pool, settings, part="ranker", ranker=recipe_for(settings, **chosen), examples=0, pairs=arguments.examples, minutes=0.01,
        everything=True, progress=_tell,
    )  # fmt: skip
    path = home / "demo-store"
    if not (path / "blend").exists():
        build(path, settings)
    shop = crossaisle.Workspace(path)
    shutil.rmtree(path / RANKER_FOLDER, ignore_errors=True)
    shutil.copytree(pool.path / RANKER_FOLDER, path / RANKER_FOLDER)
    blend_card = json.loads((path / "blend" / "card.json").read_text("utf-8"))
    _extend_card(path / RANKER_FOLDER, {ELSEWHERE_KEY: True, "snapshot": blend_card["snapshot"], "held_out": blend_card["held_out"]})
    measured = train_workspace(shop, settings, part="llm-weight", minutes=arguments.minutes, progress=_tell)
    figures: dict[str, Any] = {
        "training": {name: value for name, value in trained["ranker"].items() if name not in ("llm_weight", "text_weight")},
        "text_weight": measured["text_weight"],
        "llm_weight": measured["llm_weight"],
        "by_history_length": by_history_length(shop, settings, arguments.minutes),
        "adapter_bytes": (path / RANKER_FOLDER / "adapter_model.safetensors").stat().st_size,
    }
    write("demo-adapter", figures)
    if arguments.ship:
        shutil.rmtree(demo.ADAPTER, ignore_errors=True)
        shutil.copytree(path / RANKER_FOLDER, demo.ADAPTER)
        files = {CARD_KEY: weight_file(path, settings), TEXT_CARD_KEY: text_weight_file(path, settings)}
        _extend_card(demo.ADAPTER, {key: json.loads(file.read_text("utf-8")) for key, file in files.items() if file.exists()})


def by_history_length(shop: crossaisle.Workspace, settings: Settings, minutes: float) -> dict[str, Any]:
    """The gain of the LLM beside the blend for histories of one item, of up to three, and of more."""
    examples, (catalogue, _, _) = load_examples(shop.path), load(shop, settings)
    questions = np.random.default_rng([0, 6]).permutation(examples.informative(settings.rerank_depth))
    with open_ranker(shop.path, settings) as (ranker, _):
        read = read_questions(
            examples, questions, catalogue, ranker, prompt_version=ranker.prompt.version, depth=settings.rerank_depth,
            seconds=60 * minutes, progress=_tell,
        )  # fmt: skip
    blend, combined = out_of_fold_ndcg(read, 0)
    lengths = examples.histories.lengths[questions[: len(blend)]]
    slices = {"one item": lengths == 1, "two or three items": (lengths > 1) & (lengths <= 3), "more": lengths > 3}
    return {
        name: {
            "questions": int(inside.sum()),
            "blend": round(float(blend[inside].mean()), 5),
            "gain": paired_difference(combined[inside], blend[inside], read.users[inside]).to_dict(),
        }
        for name, inside in slices.items()
        if inside.sum() > 1
    }


def _extend_card(adapter: Path, entries: dict[str, Any]) -> None:
    (adapter / CARD).write_text(json.dumps({**read_card(adapter), **entries}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
