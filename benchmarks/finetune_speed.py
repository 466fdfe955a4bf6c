"""Time of a training step: packed candidates against one forward and backward per candidate, on the same users.

    python benchmarks/finetune_speed.py [--users 8]

Histories of about 300 tokens with 20 candidates each and invented titles; LoRA with the defaults of `train.lora.config`, the bundled model
in bf16 (NF4 on a GPU). Both variants have the same loss: the softmax over the logit margins of a user's candidates.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from record import write

from crossaisle.data.records import Item
from crossaisle.data.settings import Settings
from crossaisle.llm.models import adapters
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.library_output import quiet_libraries
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.train.lora.finetune import FinetuneConfig, ListwiseExample
from crossaisle.train.lora.listwise_loss import ListwiseRankingTask

CANDIDATES, LAST = 20, 10
WORDS = (
    "steel cotton folding compact travel garden kitchen winter outdoor classic light large small portable wooden travel set case".split()
)


def shopper(number: int) -> ListwiseExample:
    """Titles of the length that stores write, so that the history comes to some 300 tokens."""
    draw = random.Random(number)

    def item(place: int) -> Item:
        return Item(f"u{number}-{place}", f"{' '.join(draw.choices(WORDS, k=7))} {draw.randrange(10**12)}", (draw.choice(WORDS).title(),))

    return ListwiseExample([item(n) for n in range(LAST)], [item(100 + n) for n in range(CANDIDATES)], draw.randrange(CANDIDATES))


def gradients(loss: Callable[[], torch.Tensor], parameters: list[torch.nn.Parameter]) -> tuple[float, float, torch.Tensor]:
    """Seconds of a forward and backward, the loss, and all gradients in a row."""
    start = time.perf_counter()
    value = loss()
    found = torch.autograd.grad(value, parameters)
    return time.perf_counter() - start, float(value.detach()), torch.cat([gradient.flatten() for gradient in found])


def alone(ranker: Ranker, example: ListwiseExample) -> torch.Tensor:
    """The loss from one ordinary forward per candidate, prefix and all."""
    pack = ranker.encode(example.history, None, example.candidates)
    yes, no = (ranker.llm.encode(answer)[0] for answer in ("Yes", "No"))
    margins = []
    for candidate in pack.candidates:
        logits = ranker.llm.model(
            torch.tensor([[*pack.prefix, *candidate]], device=ranker.llm.device), use_cache=False, logits_to_keep=1
        ).logits
        margins.append(logits[0, -1, yes].float() - logits[0, -1, no].float())
    return torch.nn.functional.cross_entropy(torch.stack(margins)[None], torch.tensor([example.target], device=ranker.llm.device))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=8)
    users = parser.parse_args().users
    quantization = "nf4" if torch.cuda.is_available() else "bf16"
    llm, config = LanguageModel.load(Settings.read().with_(quantization=quantization)), FinetuneConfig(dropout=0.0)
    with quiet_libraries():
        parameters = adapters.inject_lora(
            llm.model, llm.name, rank=config.rank, alpha=config.alpha, dropout=config.dropout, blocks=config.blocks
        )
    llm.register_adapter(adapters.RANKING, config.prompt)
    ranker = Ranker(llm)
    task = ListwiseRankingTask(ranker, config.pack_tokens)
    llm.model.train()
    rows: list[dict[str, Any]] = []
    with llm.use_adapter(adapter=True):
        gradients(lambda: task.loss(shopper(0)), parameters)  # the first one pays for what is set up once
        for number in range(1, users + 1):  # in turn, so that a machine that slows down slows both
            example = shopper(number)
            packed, loss, direction = gradients(lambda each=example: task.loss(each), parameters)
            single, same, other = gradients(lambda each=example: alone(ranker, each), parameters)
            pack = ranker.encode(example.history, None, example.candidates)
            rows.append(
                {
                    "packed": packed,
                    "alone": single,
                    "difference": abs(loss - same),
                    "cosine": float(torch.nn.functional.cosine_similarity(direction, other, dim=0)),
                    "prefix": len(pack.prefix),
                    "candidate": float(np.mean([len(candidate) for candidate in pack.candidates])),
                }
            )
            print(f"shopper {number} of {users}: packed {packed:.2f} s, one by one {single:.2f} s", flush=True)

    def middle(key: str) -> float:
        return float(np.median([row[key] for row in rows]))

    write(
        "finetune_speed",
        {
            "quantization": quantization,
            "rank": config.rank,
            "blocks": config.blocks,
            "users": users,
            "candidates": CANDIDATES,
            "prefix_tokens": round(middle("prefix")),
            "candidate_tokens": round(middle("candidate")),
            "packed_seconds_per_user": round(middle("packed"), 3),
            "one_by_one_seconds_per_user": round(middle("alone"), 3),
            "ratio": round(float(np.median([row["alone"] / row["packed"] for row in rows])), 2),
            "packed_minutes_for_1000_users": round(middle("packed") * 1000 / 60, 1),
            "one_by_one_minutes_for_1000_users": round(middle("alone") * 1000 / 60, 1),
            "largest_difference_of_loss": float(f"{max(row['difference'] for row in rows):.2g}"),
            "smallest_cosine_of_gradients": round(min(row["cosine"] for row in rows), 4),
        },
    )


if __name__ == "__main__":
    main()
