"""Packed ranking against one forward pass per candidate, in the same run: seconds per user and difference of the scores.

    python benchmarks/packed_ranking.py [--rounds 5]

A prefix of 300 random tokens and 20 candidates of 30; the bundled model in NF4, bf16 and fp32. On a CPU that imitates bf16, also NF4 with
its matrix products in bf16. With a cache of prefixes: the first request of a shopper, and a second one with other candidates.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from record import write

from crossaisle.data.settings import Settings
from crossaisle.llm.models import quantization as quantizations
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.ranking.packed_scorer import PackedScorer
from crossaisle.llm.ranking.packs import Pack
from crossaisle.llm.ranking.prefix_cache import PrefixCache


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    random = np.random.default_rng(0)
    prefix = random.integers(10, 40000, 300).tolist()
    candidates, others = ([random.integers(10, 40000, 30).tolist() for _ in range(20)] for _ in range(2))
    figures: dict[str, Any] = {"prefix_tokens": 300, "candidates": 20, "candidate_tokens": 30, "rounds": rounds}
    exact: np.ndarray | None = None
    for quantization in ("fp32", "bf16", "nf4"):
        scorer = PackedScorer(LanguageModel.load(Settings.read().with_(quantization=quantization)))
        packed = scorer.logit_margins(Pack(prefix, candidates))
        alone = scorer.unpacked_logit_margins(Pack(prefix, candidates))
        exact = packed if exact is None else exact
        caching = PackedScorer(scorer.llm, prefix_cache=PrefixCache())
        caching.logit_margins(Pack(prefix, others))
        again = caching.logit_margins(Pack(prefix, candidates))
        # In turn, so that a machine that slows down slows both.
        times = [
            (
                seconds(lambda s=scorer: s.logit_margins(Pack(prefix, candidates))),
                seconds(lambda s=scorer: s.unpacked_logit_margins(Pack(prefix, candidates))),
                _first_seconds(caching, Pack(prefix, others)),
                seconds(lambda s=caching: s.logit_margins(Pack(prefix, candidates))),
            )
            for _ in range(rounds)
        ]
        figures[quantization] = {
            "packed_seconds": round(float(np.median([a for a, *_ in times])), 3),
            "one_by_one_seconds": round(float(np.median([b for _, b, *_ in times])), 3),
            "ratio": round(float(np.median([b / a for a, b, *_ in times])), 2),
            "largest_difference": float(f"{np.abs(packed - alone).max():.2g}"),
            "cached_prefix": {
                "first_ratio": round(float(np.median([first / a for a, _, first, _ in times])), 2),
                "again_ratio": round(float(np.median([a / second for a, _, _, second in times])), 2),
                "largest_difference": float(f"{np.abs(again - packed).max():.2g}"),
            },
            "rank_correlation": _ranks_alike(packed, alone),
            "rank_correlation_with_fp32": _ranks_alike(packed, exact),
        }
    if not quantizations.multiplies_bf16():
        figures["nf4_in_bf16"] = {"packed_seconds": _seconds_in_bf16(prefix, candidates, rounds)}
    write("packed_ranking", figures)


def _first_seconds(scorer: PackedScorer, pack: Pack) -> float:
    """Seconds of a request whose prefix is not cached."""
    assert scorer.prefix_cache is not None
    scorer.prefix_cache.clear()
    return seconds(lambda: scorer.logit_margins(pack))


def _seconds_in_bf16(prefix: list[int], candidates: list[list[int]], rounds: int) -> float:
    """Median of the seconds of NF4 with its matrix products in bf16, on a device that would compute in float32."""
    quantizations.multiplies_bf16 = lambda: True
    scorer = PackedScorer(LanguageModel.load(Settings.read().with_(quantization="nf4")))
    scorer.logit_margins(Pack(prefix, candidates))
    return round(float(np.median([seconds(lambda: scorer.logit_margins(Pack(prefix, candidates))) for _ in range(rounds)])), 3)


def _ranks_alike(one: np.ndarray, other: np.ndarray) -> float:
    return round(float(np.corrcoef(one.argsort().argsort(), other.argsort().argsort())[0, 1]), 4)


if __name__ == "__main__":
    main()
