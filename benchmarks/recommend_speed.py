"""The main job on a small real store: ingest, index, cold and warm `recommend` whose 20 best the LLM reads, with the time of each stage.

    python benchmarks/recommend_speed.py [--users 40]

Reads Amazon Reviews 2023 (the small cut in ../shared/data/amazon23).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import SHARED, quantiles, write

import crossaisle
from crossaisle.eval.explanations.report import explanation_report
from crossaisle.llm.models.model_source import resolve_quantization
from crossaisle.recommend.serialization import to_dict

LLM_WEIGHT = 0.5
"""Any weight above 0: the LLM then reads, whatever it was measured to add."""
PROGRAM = Path(sys.executable).with_name("crossaisle")


def timed(*command: str) -> float:
    """Seconds of one whole process."""
    start = time.perf_counter()
    subprocess.run([str(PROGRAM), *command], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=40)
    users = parser.parse_args().users
    data = SHARED / "amazon23"
    with tempfile.TemporaryDirectory() as folder:
        shop = f"{folder}/shop"
        files = [str(data / "meta.jsonl.gz"), str(data / "reviews.jsonl.gz")]
        ingest = timed("ingest", "-w", shop, "--format", "amazon-reviews-2023", *files)
        index = timed("index", "-w", shop)
        again = timed("index", "-w", shop)
        settings = crossaisle.Settings.read().with_(llm_weight=LLM_WEIGHT)
        recommender = crossaisle.Recommender.open(shop, settings=settings)
        known = sorted(recommender.histories)
        chosen = [str(user) for user in np.random.default_rng(0).choice(known, users, replace=False)]
        cold = [timed("recommend", "-w", shop, "--user", user, "--llm-weight", str(LLM_WEIGHT)) for user in chosen[:5]]
        helps = [timed("--help") for _ in range(5)]
        first = recommender.recommend(user_id=chosen[0])  # loads the models
        assert first.llm is not None
        assert first.llm.candidates_read == settings.rerank_depth
        stages: dict[str, list[float]] = {"retrieve": [], "rank": [], "explain": [], "whole": []}
        answers = []
        for user in chosen:
            start = time.perf_counter()
            answer = recommender.recommend(user_id=user)
            stages["whole"].append(time.perf_counter() - start)
            for stage, ms in answer.timings_ms.items():
                stages[stage].append(ms / 1000)
            answers += to_dict(answer)["recommendations"]
    write(
        "recommend_speed",
        {
            "ingest_seconds": round(ingest, 1),
            "index_seconds": round(index, 1),
            "ingest_and_index_seconds": round(ingest + index, 1),
            "index_again_seconds": round(again, 1),
            "help_seconds": quantiles(helps),
            "quantization": resolve_quantization(settings).quantization,
            "cold_recommend_seconds": quantiles(cold),
            "warm_recommend_seconds": {stage: quantiles(values) for stage, values in stages.items()},
            "explanations": {name: round(value, 3) for name, value in explanation_report(answers).to_dict().items()},
        },
    )


if __name__ == "__main__":
    main()
