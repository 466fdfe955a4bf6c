"""The channels that learn, fitted at `crossaisle index` with their default configurations: what a store uses until it is trained.

They are fitted to all interactions of the snapshot, so an evaluation never reads them: it fits its own to what is not held out.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..data.errors import StaleIndexError, TrainingError
from .channels.base import ServedItems, TrainingContext
from .items.interactions import Events
from .trainable_channels import DEFAULT_CHANNELS, TRAINABLE_CHANNELS, load_trained_channels

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from ..data.workspace import Workspace
    from .channels.base import Channel, ChannelTrainingView, TrainableChannel
    from .items.catalogue import Catalogue

logger = logging.getLogger(__name__)
FOLDER = "default-channels"
"""Folder of a workspace with the channels."""


@dataclass(frozen=True)
class SnapshotView:
    """A whole snapshot, as channels are trained on it (see `ChannelTrainingView`)."""

    workspace: Workspace
    catalogue: Catalogue
    vectors: NDArray[np.float32]

    @cached_property
    def interactions(self) -> pl.DataFrame:
        """All interactions, by user, oldest first."""
        return self.workspace.table("interactions")

    @property
    def relations(self) -> pl.DataFrame | None:
        """The store's declared relations; None without any."""
        relations = self.workspace.table("relations")
        return relations if len(relations) else None

    @cached_property
    def events(self) -> Events:
        """Events of the interactions."""
        return Events.build(self.interactions, self.catalogue)


def fit_default_channels(view: ChannelTrainingView, context: TrainingContext | None = None) -> dict[str, TrainableChannel]:
    """Return the default channels that a view has enough data for, by name.

    Args:
        view: Data to fit to.
        context: Entries of the cards; None for none.
    """
    fitted: dict[str, TrainableChannel] = {}
    for name in DEFAULT_CHANNELS:
        try:
            fitted[name] = TRAINABLE_CHANNELS[name].fit(view, context or TrainingContext())
        except TrainingError:
            continue  # an empty store: what the other channels say is all there is
    return fitted


def store_default_channels(
    workspace: Workspace, generation: str, view: ChannelTrainingView, progress: Callable[[str, int, int], None]
) -> None:
    """Fit the default channels and store them in a workspace, unless those of this generation of the index are there.

    Args:
        workspace: Workspace of the snapshot.
        generation: Name of the generation of the index, which depends on the snapshot and the embedder.
        view: The snapshot.
        progress: Called with the stage, the steps done and their total.

    Raises:
        StorageError: A folder cannot be written.
    """
    if _stored(workspace, generation):
        ids = view.catalogue.ids
        with contextlib.suppress(StaleIndexError):  # damaged files are replaced
            load_trained_channels(
                workspace.path / FOLDER, ServedItems(ids, view.vectors, workspace.manifest.snapshot, len(ids)), DEFAULT_CHANNELS
            )
            return
    progress("fitting the default channels", 0, 1)
    about = {"snapshot": workspace.manifest.snapshot, "generation": generation}
    for name, channel in fit_default_channels(view, TrainingContext(about=about)).items():
        channel.save(workspace.path / FOLDER / name)
    progress("fitting the default channels", 1, 1)


def load_default_channels(workspace: Workspace, items: ServedItems, view: ChannelTrainingView) -> dict[str, Channel]:
    """Return the default channels of a workspace by name.

    Channels that are missing or damaged, as those of an index of a former version, are fitted now and not stored.

    Args:
        workspace: Indexed workspace.
        items: Items to score.
        view: The snapshot, with the items to score.
    """
    if _stored(workspace, str((workspace.manifest.index or {}).get("generation"))):
        try:
            return load_trained_channels(workspace.path / FOLDER, items, DEFAULT_CHANNELS).channels
        except StaleIndexError:
            logger.warning("the default channels in %s cannot be read", workspace.path / FOLDER)
    logger.warning("the default channels are fitted now; `crossaisle index -w %s` stores them, which makes starting faster", workspace.path)
    return dict(fit_default_channels(view))


def _stored(workspace: Workspace, generation: str) -> bool:
    """Whether the stored channels belong to a generation of the index."""
    cards = [workspace.path / FOLDER / name / "card.json" for name in DEFAULT_CHANNELS]
    try:
        return all(json.loads(card.read_text("utf-8"))["generation"] == generation for card in cards)
    except (OSError, ValueError, KeyError, TypeError):
        return False
