"""Trains the channels of the registry in one loop, before a blend is fitted on their scores.

Which channels are trained is the caller's choice. A channel with too little data is left out with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.errors import SettingsError, TrainingError
from ..eval.baselines.registry import Baseline
from ..eval.baselines.tuning import tune
from ..eval.splits.cases import EligibleItems
from ..eval.splits.training_view import TrainingView
from ..retrieval.channels.matrix_factorization import FactorizationConfig, MatrixFactorization, fit_factors
from ..retrieval.trainable_channels import TRAINABLE_CHANNELS
from .out_of_fold import category_entries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..data.workspace import Workspace
    from ..eval.splits.training_data import TrainingData
    from ..retrieval.channels.base import TrainableChannel, TrainingContext
    from ..retrieval.items.ragged import RaggedArray

DEFAULT_CHANNELS = (MatrixFactorization.name,)
"""Channels that `crossaisle train` trains unless others are named: those that raise the blend's NDCG, see `NOT_DEFAULT`."""
NOT_DEFAULT = (
    "not trained by default, because blends with it rank no better, new and rarely bought items included "
    "(benchmarks/results/blend-*.json); include it with --channels {channels}"
)
"""Reason in the output of a training for a channel that is left out by default."""
PENALTIES = (30.0, 10.0, 100.0)
"""Penalties of the factors to try; the best one depends on the store, and matters more than any other setting."""
VALIDATION_SHARE, MAX_VALIDATION_CASES = 0.1, 500
"""Share of the users for choosing the penalty, and the largest number of their cases."""


@dataclass(frozen=True)
class TrainedChannels:
    """Channels fitted to one view.

    Attributes:
        channels: Channel by name.
        left_out: Name of a channel that could not be trained to the reason.
    """

    channels: Mapping[str, TrainableChannel]
    left_out: Mapping[str, str]

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics of the training by channel."""
        return {name: dict(channel.metrics) for name, channel in self.channels.items()}

    def save(self, workspace: Workspace) -> None:
        """Store each channel in its folder of a workspace.

        Raises:
            StorageError: A folder cannot be written.
        """
        for name, channel in self.channels.items():
            channel.save(workspace.path / name)


def validate_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of channels, each once, in the order of the registry.

    Raises:
        SettingsError: A name is not in the registry.
    """
    unknown = [name for name in names if name not in TRAINABLE_CHANNELS]
    if unknown:
        raise SettingsError(f"{unknown[0]!r} is not a trainable channel; use {', '.join(TRAINABLE_CHANNELS)}")
    return tuple(name for name in TRAINABLE_CHANNELS if name in names)


def excluded_by_default() -> dict[str, str]:
    """Return the channels that are not trained by default, each with the reason and how to include it."""
    reason = NOT_DEFAULT.format(channels=",".join(TRAINABLE_CHANNELS))
    return {name: reason for name in TRAINABLE_CHANNELS if name not in DEFAULT_CHANNELS}


def train_channels(view: TrainingView, context: TrainingContext, names: Sequence[str]) -> TrainedChannels:
    """Fit channels to a view.

    Args:
        view: Data to train on.
        context: Seed, configurations and progress of the run.
        names: Names of the channels.
    """
    channels: dict[str, TrainableChannel] = {}
    left_out: dict[str, str] = {}
    for name in names:
        try:
            channels[name] = TRAINABLE_CHANNELS[name].fit(view, context)
        except TrainingError as error:
            left_out[name] = str(error)
    return TrainedChannels(channels, left_out)


# ---------------------------------------------------------------------- hyperparameters


def tune_channels(view: TrainingView, context: TrainingContext, names: Sequence[str]) -> TrainingContext:
    """Return the context with the configurations of channels chosen on validation users, and the trials of that choice.

    Args:
        view: Data to train on; the validation users are taken from it.
        context: Context of the run; a configuration that it has is kept.
        names: Names of the channels.
    """
    configs, trials = dict(context.configs), dict(context.trials)
    for name, choose in TUNERS.items():
        if name in names and name not in configs:
            configs[name], trials[name] = choose(view, context)
    return replace(context, configs=configs, trials=trials)


def choose_penalty(view: TrainingView, context: TrainingContext) -> tuple[FactorizationConfig, list[dict[str, float]]]:
    """Return the factors' configuration with the best penalty by NDCG@10 on validation users, and the trials.

    Without validation cases it is the default configuration, and no trials.
    """
    stage, default = "choosing the penalty of the factors", FactorizationConfig(seed=context.seed)
    context.progress(stage, 0, 1)
    cases = category_entries(view, context)
    users = np.unique(np.asarray(cases.users, dtype=object))
    rng = context.rng(4)
    validation_users = frozenset(rng.permutation(users)[: max(1, round(VALIDATION_SHARE * len(users)))].tolist())
    validation = rng.permutation(np.flatnonzero([user in validation_users for user in cases.users]))[:MAX_VALIDATION_CASES]
    if not len(validation):
        return default, []
    training_view = view.without_users(validation_users)
    baseline = Baseline(_FactorScorer, [replace(default, penalty=penalty) for penalty in PENALTIES])
    eligible = EligibleItems(training_view.catalogue, "new")
    tuning = tune(baseline, training_view.training_data, cases.take(np.sort(validation)), eligible, seed=context.seed)
    context.progress(stage, 1, 1)
    return tuning.config, [{"penalty": trial["config"]["penalty"], "ndcg@10": trial["ndcg@10"]} for trial in tuning.trials]


Tuner = Callable[[TrainingView, "TrainingContext"], tuple[Any, Sequence[Mapping[str, float]]]]
TUNERS: Mapping[str, Tuner] = {MatrixFactorization.name: choose_penalty}
"""Name of a channel to the choice of its configuration; a channel without an entry is trained with its default one."""


class _FactorScorer:
    """The factors as a baseline for tuning."""

    def __init__(self, training: TrainingData, config: FactorizationConfig) -> None:
        self.channel = MatrixFactorization(fit_factors(training.histories, training.vectors, config))

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        return self.channel.scores_of(histories)
