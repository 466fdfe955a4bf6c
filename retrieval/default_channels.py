"""The channels that learn, fitted at `crossaisle index` with their default configurations: what a store uses until it is trained.

They are fitted to all interactions of the snapshot, so an evaluation never reads them: it fits its own to what is not held out.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.errors import StaleIndexError
from .channels.base import Progress, TrainingContext
from .trainable_channels import DEFAULT_CHANNELS, load_trained_channels, train_channels

if TYPE_CHECKING:
    from .channels.base import Channel
    from .snapshot_view import SnapshotView

logger = logging.getLogger(__name__)
FOLDER = "default-channels"
"""Folder of a workspace with the channels."""


def store_default_channels(view: SnapshotView, generation: str, progress: Progress) -> None:
    """Fit the default channels and store them in the workspace, unless those of this generation of the index are there.

    Args:
        view: The snapshot.
        generation: Name of the generation of the index, which depends on the snapshot and the embedder.
        progress: Progress callback.

    Raises:
        StorageError: A folder cannot be written.
    """
    folder = view.workspace.path / FOLDER
    if _stored(folder, generation):
        with contextlib.suppress(StaleIndexError):  # damaged files are replaced
            load_trained_channels(folder, view.served_items, DEFAULT_CHANNELS)
            return
    progress("fitting the default channels", 0, 1)
    about = {"snapshot": view.workspace.manifest.snapshot, "generation": generation}
    train_channels(view, TrainingContext(about=about), DEFAULT_CHANNELS).save(folder)
    progress("fitting the default channels", 1, 1)


def load_default_channels(view: SnapshotView) -> Mapping[str, Channel]:
    """Return the default channels of an indexed workspace by name.

    Channels that are missing or damaged, as those of an index of a former version, are fitted now and not stored.

    Args:
        view: The snapshot, with the items to score.
    """
    workspace, folder = view.workspace, view.workspace.path / FOLDER
    if _stored(folder, str((workspace.manifest.index or {}).get("generation"))):
        try:
            return load_trained_channels(folder, view.served_items, DEFAULT_CHANNELS).channels
        except StaleIndexError:
            logger.warning("the default channels in %s cannot be read", folder)
    logger.warning("the default channels are fitted now; `crossaisle index -w %s` stores them, which makes starting faster", workspace.path)
    return train_channels(view, TrainingContext(), DEFAULT_CHANNELS).channels


def _stored(folder: Path, generation: str) -> bool:
    """Whether the channels of a folder belong to a generation of the index."""
    cards = [folder / name / "card.json" for name in DEFAULT_CHANNELS]
    try:
        return all(json.loads(card.read_text("utf-8"))["generation"] == generation for card in cards)
    except (OSError, ValueError, KeyError, TypeError):
        return False
