"""The channel `complements`: two-tower heads on frozen text embeddings, trained on which items shoppers buy after which.

One head projects history items, the other target items; the product of the two says how well an item complements a history item, and the
score of a history is the weighted mean over its items. Items without any buyer get comparable scores. The training softmax runs over the
category of the bought item, so the heads learn which of its items, not which category. They use no counts of interactions. Pairs of a
teacher (`train.teacher`) are further examples, with a history of one item, also of items without buyers.

Beside the factors the blend gains nothing from this channel: in `benchmarks/results/blend-*.json` the ablation `blend without complements`
has the same NDCG@10 within its interval on all four stores, also for targets without or with at most two users in training
(`by_target_popularity`). `crossaisle train` therefore leaves it out unless `--channels` names it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...data.atomic_files import replacing_folder
from ...data.errors import StaleIndexError, TrainingError, storage_errors
from ..items.ordered_events import OrderedEvents, first_in_category
from ..items.ragged import RaggedArray
from .base import Progress

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from .base import CandidateQuery, ChannelScores, ChannelTrainingView, ServedItems, TrainingContext

WEIGHTS, CARD = "heads.safetensors", "card.json"
MIN_EXAMPLES = 50
"""Examples below which nothing is trained."""
MAX_EXAMPLES = 40_000
"""Largest number of training examples; those whose target is in a category new to the shopper come first."""
VALIDATION_SHARE = 0.05
"""Share of the examples for early stopping."""
MAX_LOSS_INCREASE = 0.05
"""Increase of the validation loss over its minimum, in nats, at which training stops."""
MIN_TAUGHT_STEPS = 200
"""Steps of a training with a teacher's pairs at least: a store without behaviour has few examples, and so few steps in an epoch."""
DECAY, MAX_HISTORY = 0.8, 10
"""Weight of a history item relative to the next newer one, and the number of newest history items that are scored."""
STAGE = "training the complement heads"


@dataclass(frozen=True, slots=True)
class ComplementConfig:
    """Training configuration of the heads."""

    hidden: int = 192
    """Width of the hidden layer of a head."""
    dimensions: int = 96
    """Dimensions of the projected vectors."""
    epochs: int = 5
    """Largest number of epochs; the one with the lowest validation loss is kept."""
    batch: int = 256
    """Examples per step, all of one category."""
    negatives: int = 1024
    """Negative items per step, sampled from the category."""
    rate: float = 2e-3
    """Peak learning rate."""
    dropout: float = 0.2
    """Dropout of the hidden layer."""
    seed: int = 0
    """Random seed."""


@dataclass(frozen=True)
class ComplementExamples:
    """Histories and the item that followed each.

    Attributes:
        histories: (examples,) item rows before the target, oldest first.
        targets: (examples,) target item rows.
    """

    histories: RaggedArray
    targets: NDArray[np.int32]

    @classmethod
    def from_view(cls, view: ChannelTrainingView, context: TrainingContext) -> ComplementExamples:
        """Return at most `MAX_EXAMPLES` examples, first those whose target is a user's first item of its category."""
        events = OrderedEvents.from_events(view.events, context.seed)
        start = events.starts[events.user]
        later = np.flatnonzero(np.arange(len(events.row)) > start)
        enters_category = first_in_category(events, view.catalogue.category)[later]
        rng = context.rng()
        across, within = later[enters_category], later[~enters_category]
        across = across if len(across) <= MAX_EXAMPLES else rng.choice(across, MAX_EXAMPLES, replace=False)
        within = within if len(within) <= MAX_EXAMPLES - len(across) else rng.choice(within, MAX_EXAMPLES - len(across), replace=False)
        chosen = np.sort(np.concatenate([across, within]))
        lengths = np.minimum(chosen - start[chosen], MAX_HISTORY)
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = events.row[np.arange(starts[-1]) - np.repeat(starts[:-1], lengths) + np.repeat(chosen - lengths, lengths)]
        return cls(RaggedArray(starts, rows), events.row[chosen])

    def with_pairs(self, rows: NDArray[np.int32]) -> ComplementExamples:
        """Return the examples followed by pairs. Args: rows: (pairs, 2) item rows: the only item of a history, and its target."""
        starts = np.concatenate([self.histories.starts, self.histories.starts[-1] + 1 + np.arange(len(rows))]).astype(np.int64)
        histories = RaggedArray(starts, np.concatenate([self.histories.rows, rows[:, 0]]).astype(np.int32))
        return ComplementExamples(histories, np.concatenate([self.targets, rows[:, 1]]).astype(np.int32))


class ComplementHeads:
    """The trained heads over one catalogue: a `TrainableChannel`."""

    name: ClassVar[str] = "complements"

    def __init__(
        self, weights: Mapping[str, NDArray[np.float32]], vectors: NDArray[np.float32], card: Mapping[str, Any] | None = None
    ) -> None:
        """Project the items of a catalogue.

        Args:
            weights: Weights of the heads by name.
            vectors: (items, text dimensions) text embeddings of the items.
            card: Content of the card: entries about the data, and the metrics under `figures`.
        """
        self.weights, self.card = weights, card or {}
        self.history_vectors = _project(weights, "had", vectors)
        self.target_vectors = _project(weights, "wanted", vectors)

    def __len__(self) -> int:
        return len(self.target_vectors)

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Number of examples, validation loss per epoch in nats, and configuration."""
        metrics: Mapping[str, Any] = self.card.get("figures", {})
        return metrics

    @classmethod
    def fit(cls, view: ChannelTrainingView, context: TrainingContext) -> ComplementHeads:
        """Return the heads trained on the purchases of a view, and on the pairs of the context.

        Raises:
            TrainingError: There are fewer than `MIN_EXAMPLES` examples, or the loss became NaN.
        """
        config = replace(context.configs.get(cls.name, ComplementConfig()), seed=context.seed)
        examples, about = ComplementExamples.from_view(view, context), dict(context.about)
        if context.taught is not None:
            examples, about = examples.with_pairs(context.taught.rows), {**about, **context.taught.about}
            epochs = math.ceil(MIN_TAUGHT_STEPS * config.batch / max(1, len(examples.targets)))
            config = replace(config, epochs=max(config.epochs, epochs))
        weights, metrics = train_heads(examples, view.vectors, view.catalogue.category, config, context.progress)
        if context.taught is not None:
            metrics["taught_pairs"] = len(context.taught.rows)
        return cls(weights, view.vectors, {**about, "figures": metrics})

    def save(self, folder: Path) -> None:
        """Replace a folder with the weights and their card.

        Raises:
            StorageError: The folder cannot be written.
        """
        from safetensors.numpy import save_file

        with storage_errors(f"the text heads in {folder}"), replacing_folder(folder) as staging:
            save_file(dict(self.weights), staging / WEIGHTS)
            (staging / CARD).write_text(json.dumps(self.card, indent=1), "utf-8")

    @classmethod
    def load(cls, folder: Path, items: ServedItems) -> ComplementHeads:
        """Return the heads of a folder over a catalogue.

        Raises:
            StaleIndexError: They were trained on embeddings of another size, or cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        file, remedy = folder / WEIGHTS, f"run `crossaisle train -w {folder.parent}`"
        try:
            weights = load_file(file)
            trained_dimensions = weights["had.0.weight"].shape[1]
        except (SafetensorError, OSError, KeyError) as error:
            raise StaleIndexError(f"{file} cannot be read ({type(error).__name__}); {remedy}") from error
        dimensions = items.vectors.shape[1]
        if trained_dimensions != dimensions:
            raise StaleIndexError(
                f"{file} was trained on text vectors of {trained_dimensions} dimensions, the index has {dimensions}; {remedy}"
            )
        return cls(weights, items.vectors)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return weighted means of products, shifted to start just above 0: log odds within a category."""
        anchors = np.arange(max(0, len(query.rows) - MAX_HISTORY), len(query.rows))
        if not len(anchors):
            return np.zeros(len(self), np.float32), np.full(len(self), -1, np.int64)
        weights = _history_weights(query.undecayed_weights[anchors])
        contributions = (self.history_vectors[query.rows[anchors]] * weights[:, None]) @ self.target_vectors.T  # (history, items)
        total = contributions.sum(axis=0)
        return np.asarray(total - total.min() + 1e-6, dtype=np.float32), anchors[contributions.argmax(axis=0)]


def train_heads(
    examples: ComplementExamples,
    vectors: NDArray[np.float32],
    category: NDArray[np.int32],
    config: ComplementConfig,
    progress: Progress = lambda *_: None,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Return the weights of the heads, and the metrics of the training.

    Args:
        examples: Histories and targets.
        vectors: (items, text dimensions) unit vectors.
        category: (items,) category codes.
        config: Training configuration.
        progress: Progress callback.

    Raises:
        TrainingError: There are fewer than `MIN_EXAMPLES` examples, or the loss became NaN.
    """
    import torch

    targets = examples.targets
    if len(targets) < MIN_EXAMPLES:
        raise TrainingError(
            f"only {len(targets)} purchases follow an earlier one, complement heads need at least {MIN_EXAMPLES}; ingest more interactions"
        )
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    heads = _modules(vectors.shape[1], config)
    text = torch.from_numpy(vectors)
    order = rng.permutation(len(targets))
    validation = order[: max(1, int(VALIDATION_SHARE * len(targets)))]
    training = order[len(validation) :]
    optimizer = torch.optim.AdamW(heads.parameters(), lr=config.rate, weight_decay=1e-2)
    items_of_category = {int(code): np.flatnonzero(category == code) for code in np.unique(category[targets])}

    def loss(batch: NDArray[np.int64], batch_rng: np.random.Generator) -> torch.Tensor:
        return _loss(heads, text, examples, batch, items_of_category[int(category[targets[batch[0]]])], config, batch_rng)

    steps = config.epochs * sum(math.ceil(n / config.batch) for n in np.unique(category[targets[training]], return_counts=True)[1])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.rate, total_steps=steps + 1)
    best_loss, best_weights, step, validation_losses = math.inf, {}, 0, []
    for _ in range(config.epochs):
        heads.train()
        for batch in _batches(training, category[targets], config.batch, rng):
            batch_loss = loss(batch, rng)
            if not math.isfinite(float(batch_loss.detach())):
                raise TrainingError("the loss of the text heads became NaN; use a lower learning rate (`ComplementConfig.rate`)")
            optimizer.zero_grad()
            batch_loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            step += 1
            progress(STAGE, step, steps)
        heads.eval()
        with torch.no_grad():
            fixed_rng = np.random.default_rng(config.seed + 1)  # the same batches and negatives after each epoch
            batches = _batches(validation, category[targets], config.batch, fixed_rng)
            losses = [float(loss(batch, fixed_rng)) for batch in batches]
        validation_losses.append(round(float(np.average(losses, weights=[len(batch) for batch in batches])), 4))
        if validation_losses[-1] < best_loss:
            best_loss = validation_losses[-1]
            best_weights = {name: value.detach().numpy().copy() for name, value in heads.state_dict().items()}
        elif validation_losses[-1] > best_loss + MAX_LOSS_INCREASE:
            break
    progress(STAGE, steps, steps)
    return best_weights, {"examples": len(targets), "held_back_loss": validation_losses, "config": asdict(config)}


def _modules(dimensions: int, config: ComplementConfig) -> Any:
    from torch import nn

    def head() -> nn.Module:
        return nn.Sequential(
            nn.Linear(dimensions, config.hidden), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(config.hidden, config.dimensions)
        )

    return nn.ModuleDict({"had": head(), "wanted": head()})


def _project(weights: Mapping[str, NDArray[np.float32]], head: str, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(items, dimensions) the output of a head, without torch."""
    from scipy.special import erf

    hidden = vectors @ weights[f"{head}.0.weight"].T + weights[f"{head}.0.bias"]
    hidden = 0.5 * hidden * (1 + erf(hidden / math.sqrt(2)))
    return np.asarray(hidden @ weights[f"{head}.3.weight"].T + weights[f"{head}.3.bias"], dtype=np.float32)


def _history_weights(undecayed_weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """(history,) weights with decay, normalized to sum to 1."""
    weights = undecayed_weights * DECAY ** np.arange(len(undecayed_weights))[::-1]
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _batches(examples: NDArray[np.int64], category: NDArray[np.int32], size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Batches of examples of one category each, in random order."""
    shuffled = examples[rng.permutation(len(examples))]
    groups = [shuffled[category[shuffled] == code] for code in np.unique(category[shuffled])]
    batches = [group[start : start + size] for group in groups for start in range(0, len(group), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _loss(
    heads: Any,
    text: torch.Tensor,
    examples: ComplementExamples,
    batch: NDArray[np.int64],
    pool: NDArray[np.int64],
    config: ComplementConfig,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Cross-entropy, in nats, of the targets against negatives from `pool`, the rows of their category."""
    import torch

    histories = examples.histories.part(batch).newest(MAX_HISTORY)
    targets = examples.targets[batch].astype(np.int64)
    negatives = pool if len(pool) <= config.negatives else rng.choice(pool, config.negatives, replace=False)
    candidates = np.unique(np.concatenate([targets, negatives]))
    distinct, index = np.unique(histories.rows, return_inverse=True)  # histories of one batch share many items
    projected = heads["had"](text[torch.from_numpy(distinct.astype(np.int64))])[torch.from_numpy(index)]  # (entries, dimensions)
    decayed = DECAY ** histories.age.astype(np.float64)
    share = decayed / np.bincount(histories.row_index, decayed, minlength=len(histories))[histories.row_index]
    weighted = projected * torch.from_numpy(share).float()[:, None]
    users = torch.zeros(len(histories), projected.shape[1]).index_add(0, torch.from_numpy(histories.row_index), weighted)
    logits = users @ heads["wanted"](text[torch.from_numpy(candidates)]).T  # (batch, candidates)
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(np.searchsorted(candidates, targets)))
