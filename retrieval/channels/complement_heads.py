"""The channel `complements`: which text goes with which, learned from shoppers' own histories.

Two small heads stand on the frozen text vectors, one for what was had and one for what is wanted next; their product says how well an item
goes with a history item, and a history's score is the weighted mean over its items. So an item that nobody ever bought has a score as good
as any other. The softmax runs over the category that the shopper went to, so the heads learn which of its items, not which category.
Knows nothing of counts: it is for what behaviour does not cover.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.atomic_files import replacing_folder
from ...data.errors import StaleIndexError, TrainingError, storage_errors

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ..items.ragged import Runs
    from .base import CandidateQuery, ChannelScores

FOLDER = "complements"
MIN_EXAMPLES = 50
"""Shoppers that must have gone to another category for anything to be learned of how they choose."""
VALIDATION_SHARE = 0.05
"""Share of the examples that say when to stop."""
DECAY, MAX_HISTORY = 0.8, 10
"""Weight of a history item relative to the next newer one; how many of the newest are looked from."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class ComplementConfig:
    """How the heads are trained."""

    hidden: int = 192
    """Width between the text vector and the head's own."""
    dimensions: int = 96
    """Of the vectors that are multiplied."""
    epochs: int = 5
    """Passes at most; the best by the examples held back is kept."""
    batch: int = 256
    """Examples a step, all of one category."""
    negatives: int = 1024
    """Items of the category that stand against the bought ones, drawn anew each step."""
    rate: float = 2e-3
    """Learning rate at its height."""
    dropout: float = 0.2
    """Share of the hidden units left out while training."""
    seed: int = 0
    """Of everything drawn."""


class ComplementHeads:
    """The trained heads over one catalogue.

    Args: weights: of the heads by name. items: (items, dimensions) what the head of wanted things makes of each item.
        had: (items, dimensions) what the head of had things does.
    """

    def __init__(self, history_vectors: NDArray[np.float32], target_vectors: NDArray[np.float32]) -> None:
        self.history_vectors, self.target_vectors = history_vectors, target_vectors

    @classmethod
    def from_weights(cls, weights: Mapping[str, NDArray[np.float32]], vectors: NDArray[np.float32]) -> ComplementHeads:
        """The heads over the text vectors of a catalogue, (items, text dimensions)."""
        return cls(_project(weights, "had", vectors), _project(weights, "wanted", vectors))

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Weighted means of products, shifted to begin at 0: log odds within a category."""
        anchors = np.arange(max(0, len(query.rows) - MAX_HISTORY), len(query.rows))
        if not len(anchors):
            return np.zeros(len(self.target_vectors), np.float32), np.full(len(self.target_vectors), -1, np.int64)
        weights = _history_weights(query.undecayed_weights[anchors])
        parts = (self.history_vectors[query.rows[anchors]] * weights[:, None]) @ self.target_vectors.T  # (history, items)
        total = parts.sum(axis=0)
        return np.asarray(total - total.min() + 1e-6, dtype=np.float32), anchors[parts.argmax(axis=0)]


def train_heads(
    histories: Runs,
    targets: NDArray[np.int32],
    vectors: NDArray[np.float32],
    category: NDArray[np.int32],
    config: ComplementConfig | None = None,
    progress: Progress = lambda *_: None,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """The weights of the heads, and figures of the training.

    Args:
        histories: one run an example, distinct rows, oldest first. targets: (examples,) the row gone to, of a category the history lacks.
        vectors: (items, text dimensions) unit vectors. category: (items,) codes.
    Raises: TrainingError: too few examples, or a loss that is no number.
    """
    import torch

    config = config or ComplementConfig()
    if len(targets) < MIN_EXAMPLES:
        raise TrainingError(
            f"{len(targets)} histories go on to another category, at least {MIN_EXAMPLES} are wanted to learn what goes with what; "
            "ingest more interactions"
        )
    draw = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    heads = _modules(vectors.shape[1], config)
    text = torch.from_numpy(vectors)
    order = draw.permutation(len(targets))
    held = order[: max(1, int(VALIDATION_SHARE * len(targets)))]
    rest = order[len(held) :]
    optimizer = torch.optim.AdamW(heads.parameters(), lr=config.rate, weight_decay=1e-2)
    inside = {int(code): np.flatnonzero(category == code) for code in np.unique(category[targets])}

    def loss(batch: NDArray[np.int64], lot: np.random.Generator) -> torch.Tensor:
        return _loss(heads, text, histories, targets, batch, inside[int(category[targets[batch[0]]])], config, lot)

    steps = config.epochs * sum(math.ceil(n / config.batch) for n in np.unique(category[targets[rest]], return_counts=True)[1])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.rate, total_steps=steps + 1)
    best, kept, done, losses = math.inf, {}, 0, []
    for _ in range(config.epochs):
        heads.train()
        for batch in _batches(rest, category[targets], config.batch, draw):
            value = loss(batch, draw)
            if not math.isfinite(float(value.detach())):
                raise TrainingError("the loss of the text heads is no number any more; lower their learning rate (`Config.rate`)")
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            done += 1
            progress("learning what goes with what", done, steps)
        heads.eval()
        with torch.no_grad():
            fixed = np.random.default_rng(config.seed + 1)
            sizes, values = zip(
                *((len(batch), float(loss(batch, fixed))) for batch in _batches(held, category[targets], config.batch, fixed)),
                strict=True,
            )
        losses.append(round(float(np.average(values, weights=sizes)), 4))
        if losses[-1] < best:
            best, kept = losses[-1], {name: value.detach().numpy().copy() for name, value in heads.state_dict().items()}
        elif losses[-1] > best + 0.05:
            break  # it only learns by heart from here on
    progress("learning what goes with what", steps, steps)
    return kept, {"examples": len(targets), "held_back_loss": losses, "config": asdict(config)}


def save_heads(parent: Path, weights: Mapping[str, NDArray[np.float32]], card: Mapping[str, Any]) -> None:
    """Replaces the folder of the heads, whole."""
    from safetensors.numpy import save_file

    home = parent / FOLDER
    with storage_errors(f"the text heads in {home}"), replacing_folder(home) as fresh:
        save_file(dict(weights), fresh / "heads.safetensors")
        (fresh / "card.json").write_text(json.dumps(card, indent=1), "utf-8")


def load_heads(parent: Path, dimensions: int) -> dict[str, NDArray[np.float32]] | None:
    """The weights in a workspace, None where there are none.

    Args: dimensions: of the workspace's text vectors.
    Raises: StaleIndexError: they were trained on another embedder's vectors, or cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = parent / FOLDER / "heads.safetensors"
    if not file.exists():
        return None
    try:
        weights = load_file(file)
        wanted = weights["had.0.weight"].shape[1]
    except (SafetensorError, OSError, KeyError) as error:
        raise StaleIndexError(f"{file} cannot be read ({type(error).__name__}); run `crossaisle train -w {parent}`") from error
    if wanted != dimensions:
        raise StaleIndexError(
            f"{file} was trained on text vectors of {wanted} dimensions, the index has {dimensions}; run `crossaisle train -w {parent}`"
        )
    return weights


def _modules(dimensions: int, config: ComplementConfig) -> Any:
    from torch import nn

    def head() -> nn.Module:
        return nn.Sequential(
            nn.Linear(dimensions, config.hidden), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(config.hidden, config.dimensions)
        )

    return nn.ModuleDict({"had": head(), "wanted": head()})


def _project(weights: Mapping[str, NDArray[np.float32]], head: str, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy.special import erf

    hidden = vectors @ weights[f"{head}.0.weight"].T + weights[f"{head}.0.bias"]
    hidden = 0.5 * hidden * (1 + erf(hidden / math.sqrt(2)))
    return np.asarray(hidden @ weights[f"{head}.3.weight"].T + weights[f"{head}.3.bias"], dtype=np.float32)


def _history_weights(liking: NDArray[np.float64]) -> NDArray[np.float32]:
    found = liking * DECAY ** np.arange(len(liking))[::-1]
    return np.asarray(found / found.sum(), dtype=np.float32)


def _batches(examples: NDArray[np.int64], code: NDArray[np.int32], size: int, draw: np.random.Generator) -> list[NDArray[np.int64]]:
    """Examples of one category each, in an order by lot."""
    shuffled = examples[draw.permutation(len(examples))]
    groups = [shuffled[code[shuffled] == one] for one in np.unique(code[shuffled])]
    batches = [group[start : start + size] for group in groups for start in range(0, len(group), size)]
    return [batches[i] for i in draw.permutation(len(batches))]


def _loss(
    heads: Any,
    text: torch.Tensor,
    histories: Runs,
    targets: NDArray[np.int32],
    batch: NDArray[np.int64],
    pool: NDArray[np.int64],
    config: ComplementConfig,
    draw: np.random.Generator,
) -> torch.Tensor:
    """Cross-entropy, in nats, of the bought items against others of `pool`, the rows of their category."""
    import torch

    past = histories.part(batch).newest(MAX_HISTORY)
    wanted = targets[batch].astype(np.int64)
    others = pool if len(pool) <= config.negatives else draw.choice(pool, config.negatives, replace=False)
    shown = np.unique(np.concatenate([wanted, others]))
    distinct, place = np.unique(past.rows, return_inverse=True)  # shoppers of one category had much in common
    had = heads["had"](text[torch.from_numpy(distinct.astype(np.int64))])[torch.from_numpy(place)]  # (entries, dimensions)
    decayed = DECAY ** past.age.astype(np.float64)
    share = decayed / np.bincount(past.owner, decayed, minlength=len(past))[past.owner]
    user = torch.zeros(len(past), had.shape[1]).index_add(0, torch.from_numpy(past.owner), had * torch.from_numpy(share).float()[:, None])
    logits = user @ heads["wanted"](text[torch.from_numpy(shown)]).T  # (batch, shown)
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(np.searchsorted(shown, wanted)))
