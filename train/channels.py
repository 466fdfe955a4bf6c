"""Trains the channels of the registry in one loop, before a blend is fitted on their scores.

Which channels are trained is the caller's choice. A channel with too little data is left out with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..data.errors import SettingsError, TrainingError
from ..eval.splits.training_view import TrainingView
from ..retrieval.trainable_channels import DEFAULT_CHANNELS, TRAINABLE_CHANNELS

if TYPE_CHECKING:
    from ..data.workspace import Workspace
    from ..retrieval.channels.base import TrainableChannel, TrainingContext

NOT_DEFAULT = (
    "not trained by default, because blends with it ranked no better on four stores, new and rarely bought items included; "
    "include it with --channels {channels}"
)
"""Reason in the output of a training for a channel that is left out by default."""


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
