"""Which of the channels that learn a training trains, and the reason for those that it leaves out by default."""

from __future__ import annotations

from collections.abc import Sequence

from ..data.errors import SettingsError
from ..retrieval.trainable_channels import DEFAULT_CHANNELS, TRAINABLE_CHANNELS

NOT_DEFAULT = (
    "not trained by default, because blends with it ranked no better on four stores, new and rarely bought items included; "
    "include it with --channels {channels}"
)
"""Reason in the output of a training for a channel that is left out by default."""


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
