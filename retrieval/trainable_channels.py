"""The registry of the channels that learn, and their training, storage and loading in one loop each.

An entry makes a channel available to training, storage, the blend and the evaluation; see `TrainableChannel` for its contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..data.errors import StaleTrainingError, TrainingError
from .channels.base import PaddedChannel
from .channels.complement_heads import ComplementHeads
from .channels.item_regression import ItemRegression
from .channels.matrix_factorization import MatrixFactorization
from .graph.channel import GraphChannel

if TYPE_CHECKING:
    from .channels.base import Channel, ChannelTrainingView, ServedItems, TrainableChannel, TrainingContext

TRAINABLE_CHANNELS: dict[str, type[TrainableChannel]] = {
    MatrixFactorization.name: MatrixFactorization,
    ItemRegression.name: ItemRegression,
    ComplementHeads.name: ComplementHeads,
    GraphChannel.name: GraphChannel,
}
"""Name of a channel, and of its folder in a workspace, to its class."""
DEFAULT_CHANNELS = (MatrixFactorization.name, ItemRegression.name)
"""Channels that every store gets, trained or not: those that raise the blend's NDCG."""


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

    def save(self, folder: Path) -> None:
        """Store each channel in a folder of its name inside a folder.

        Raises:
            StorageError: A folder cannot be written.
        """
        for name, channel in self.channels.items():
            channel.save(folder / name)


def train_channels(view: ChannelTrainingView, context: TrainingContext, names: Sequence[str]) -> TrainedChannels:
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


class LoadedChannels(NamedTuple):
    """Trained channels of a workspace.

    Attributes:
        channels: Channel by name, scoring all items.
        stale: Name of a channel that was trained on another snapshot to the error that says so.
    """

    channels: dict[str, Channel]
    stale: dict[str, StaleTrainingError]

    def require_all(self) -> dict[str, Channel]:
        """Return the channels if none is stale.

        Raises:
            StaleTrainingError: A channel was trained on another snapshot.
        """
        for error in self.stale.values():
            raise error
        return self.channels


def load_trained_channels(workspace: Path, items: ServedItems, names: Iterable[str] | None = None) -> LoadedChannels:
    """Return the trained channels of a workspace; channels without a folder are skipped.

    Args:
        workspace: Folder of the workspace.
        items: Items to score.
        names: Names of the channels to load; None for all.

    Raises:
        StaleIndexError, NotTrainedError: A channel was trained on another embedder's vectors, or cannot be read.
    """
    channels: dict[str, Channel] = {}
    stale: dict[str, StaleTrainingError] = {}
    wanted = set(TRAINABLE_CHANNELS if names is None else names)
    for name, channel_class in TRAINABLE_CHANNELS.items():
        if name not in wanted or not (workspace / name).exists():
            continue
        try:
            channel = channel_class.load(workspace / name, items)
        except StaleTrainingError as error:
            stale[name] = error
            continue
        size = len(items.ids)
        channels[name] = channel if len(channel) == size else PaddedChannel(channel, len(channel), size)
    return LoadedChannels(channels, stale)
