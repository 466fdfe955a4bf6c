"""Explanations of the demo store and of a real store: support by two checks, share written by the model, diversity, and speed.

    python benchmarks/explanations.py [--home FOLDER] [--pairs 500] [--train] [--ship] [--only-speed]

`--train` trains the explainer on the demo store, and `--ship` makes its adapter the bundled one. Explains user-item pairs of the demo store
and of amazon23, five per user, in every tone, and checks them with `eval.explanations.report` and, in its own process, with
`scripts/check_explanations.py`, which sees only the answers and the store's files. The answers are kept in `--home`. `--only-speed` times
five explanations, and the same model generating one by one without constraints, into its own file. Reads ../shared/data/amazon23; the
results contain no item and no user.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from record import quantiles, write
from stores import workspace

import crossaisle
from crossaisle.data.settings import Settings
from crossaisle.eval.explanations.report import explanation_report
from crossaisle.llm.explain.briefs import LENGTHS, TONES, ExplanationBrief
from crossaisle.llm.explain.explainer import Explainer
from crossaisle.llm.explain.generator import SAMPLES_PER_VARIANT
from crossaisle.llm.explain.slots import slots_to_letters
from crossaisle.llm.models import adapters, bundled
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.model_source import resolve_quantization
from crossaisle.recommend.recommender import Recommender
from crossaisle.recommend.serialization import to_dict
from crossaisle.train.pipeline import train_workspace

CHECK = Path(__file__).parents[1] / "scripts" / "check_explanations.py"
LIST = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--only-speed", action="store_true")
    arguments = parser.parse_args()
    settings = Settings.read().with_(llm="smollm2")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        home = arguments.home or Path(temporary)
        if arguments.only_speed:
            write("explanations_speed", speed(workspace("demo", home), settings))
            return
        shops = {name: workspace(name, home) for name in ("demo", "amazon23")}
        if arguments.train:
            figures["training"] = train_workspace(shops["demo"], settings, part="explainer")
        if arguments.ship:
            shutil.rmtree(bundled.EXPLAINER_ADAPTER, ignore_errors=True)
            shutil.copytree(shops["demo"].path / "explainer", bundled.EXPLAINER_ADAPTER)
        for name, shop in shops.items():
            figures[name] = explained(shop, settings, arguments.pairs, home / f"explained-{name}.jsonl")
        figures["quantization"] = resolve_quantization(settings).quantization
    figures["adapter_bytes"] = (bundled.EXPLAINER_ADAPTER / adapters.WEIGHTS).stat().st_size
    write("explanations", figures)


def explained(shop: crossaisle.Workspace, settings: Settings, pairs: int, out: Path) -> dict[str, Any]:
    """Figures over user-item pairs, alternating over all tones and lengths."""
    recommender = Recommender.open(shop, settings=settings)
    users = np.random.default_rng(0).permutation(sorted(recommender.histories)).tolist()
    answers: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    kinds = cycle([(tone, length) for length in LENGTHS for tone in TONES])
    for user in users:
        if len(entries) >= pairs:
            break
        tone, length = next(kinds)
        answer = to_dict(recommender.recommend(user_id=user, k=LIST, tone=tone, length=length))
        answers.append(answer)
        entries += [{**entry, "style": (tone, length)} for entry in answer["recommendations"]]
    out.write_text("".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers), "utf-8")
    files = out.with_suffix("")
    files.mkdir(exist_ok=True)
    shop.table("items").with_columns(pl.col("category")).write_ndjson(files / "items.jsonl")
    shop.table("reviews").select("item_id", "text", "title").write_ndjson(files / "reviews.jsonl")
    command = [sys.executable, str(CHECK), str(out), "--items", str(files / "items.jsonl"), "--reviews", str(files / "reviews.jsonl")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    print(checked.stdout[-3000:], checked.stderr[-500:])
    found = explanation_report(entries)
    by_length = {
        length: {
            name: round(value, 3)
            for name, value in explanation_report([entry for entry in entries if entry["style"][1] == length]).to_dict().items()
            if name in ("worded_share", "distinct_2", "commonest_opening", "words", "unique_sentences", "grade")
        }
        for length in LENGTHS
    }
    return {
        "pairs": len(entries),
        **{name: round(value, 4) for name, value in found.to_dict().items()},
        "use_or_quotation": round(sum(map(states_use_or_quotation, entries)) / len(entries), 4),
        "by_length": by_length,
        "second_check_passed": checked.returncode == 0,
        "second_check_faults": int(m[1]) if (m := re.search(r"(\d+) faults?", checked.stdout)) else None,
        "second_check_says": checked.stdout.strip().splitlines()[-1][:200] if checked.stdout.strip() else checked.stderr[:200],
    }


def states_use_or_quotation(entry: dict[str, Any]) -> bool:
    """Whether an explanation says what an item is for, or quotes a review for it."""
    about = entry["explanation"]
    kinds = {fact.get("id"): fact["kind"] for fact in about["evidence"] if not fact.get("against")}
    return any(kinds.get(claim["evidence"]) in ("use", "review") for claim in about["claims"])


def speed(shop: crossaisle.Workspace, settings: Settings) -> dict[str, Any]:
    """Seconds for five explanations, before and after wordings are cached, and tokens per second beside plain generation."""
    recommender = Recommender.open(shop, settings=settings)
    users = np.random.default_rng(1).permutation(sorted(recommender.histories)).tolist()[:10]
    recommender.recommend(user_id=users[0], k=LIST)  # loads the models
    llm = recommender._llm
    assert llm is not None
    recommender.__dict__["_explainer"] = Explainer(llm)  # without the wordings of earlier processes, with those that ship
    shipped = [recommender.recommend(user_id=user, k=LIST).timings_ms["explain"] / 1000 for user in users]
    with_adapter, llm.explainer_folder = llm.explainer_folder, None
    recommender.__dict__["_explainer"] = Explainer(llm)  # without those, too
    llm.explainer_folder = with_adapter
    drawing = [recommender.recommend(user_id=user, k=LIST).timings_ms["explain"] / 1000 for user in users]
    explainer = recommender._explainer
    assert explainer._generator is not None
    others = [user for user in sorted(recommender.histories) if user not in users][:10]
    uncached = [recommender.recommend(user_id=user, k=LIST).timings_ms["explain"] / 1000 for user in others]
    writer, rates = explainer._generator, {"batched": [], "one_by_one": []}  # type: ignore[var-annotated]
    slots = [frozenset({"own", "item", *facts}) for facts in (("figure",), ("figure", "usual"), ("use",), ("price",), ("fresh",))]
    briefs = [ExplanationBrief("Pyra Gas Stove", "Norrvik Dome Tent", None, "owned", one, "figure" in one) for one in slots]
    for turn in range(4):
        start = time.perf_counter()
        written = writer.generate_wordings(briefs, [f"{turn} {n}" for n in range(len(briefs) * SAMPLES_PER_VARIANT)], SAMPLES_PER_VARIANT)
        tokens = sum(len(llm.encode(slots_to_letters(text))) for text, _ in written)
        rates["batched"].append(tokens / (time.perf_counter() - start))
        start = time.perf_counter()
        tokens = sum(_plain(llm, facts) for facts in PLAIN)
        rates["one_by_one"].append(tokens / (time.perf_counter() - start))
    return {
        "five_explanations_seconds_with_those_that_ship": quantiles(shipped),
        "five_explanations_seconds_from_no_wordings": quantiles(drawing),
        "five_explanations_seconds_of_other_shoppers_afterwards": quantiles(uncached),
        "tokens_per_second_batched_with_rules": round(float(np.median(rates["batched"])), 1),
        "tokens_per_second_plain_one_by_one": round(float(np.median(rates["one_by_one"])), 1),
        "quantization": llm.quantization,
        "ratio": round(float(np.median(np.asarray(rates["batched"]) / np.asarray(rates["one_by_one"]))), 2),
    }


PLAIN = (
    "14 of 120 shoppers who bought the Norrvik Dome Tent also bought the Pyra Gas Stove.",
    "14 of 120 shoppers who bought the Norrvik Dome Tent also bought the Pyra Gas Stove, 3.1 times the usual share.",
    "The Pyra Gas Stove and the Norrvik Dome Tent are close in description.",
    "The Pyra Gas Stove costs 36.90, at the price level that the shopper usually chooses.",
    "46 of 400 shoppers bought the Pyra Gas Stove.",
)


def _plain(llm: LanguageModel, facts: str) -> int:
    """Tokens of an unconstrained answer to facts, as most programs would ask for it."""
    import torch

    request = f"A shopper has the Norrvik Dome Tent. Explain in one sentence why the Pyra Gas Stove is recommended. Facts: {facts}"
    prompt = llm.chat_prompt("You explain recommendations.", [("user", request)])
    ids, pad = torch.tensor([llm.encode(prompt)]), llm.tokenizer.pad_token_id
    with torch.inference_mode(), llm.use_adapter(adapter=False):
        out = llm.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False, pad_token_id=pad)
    return int(out.shape[1] - ids.shape[1])


if __name__ == "__main__":
    main()
