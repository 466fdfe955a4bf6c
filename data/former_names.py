"""Names that version 0.1 stored, and their present spelling.

Files of that version are read with the names of this table; only present names are written. Command options accept both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHANNELS: Mapping[str, str] = {
    "follows": "sequential",
    "together": "co_occurrence",
    "smoothed": "text_smoothed",
    "neighbours": "item_knn",
}
"""Channel names: in the models of a blend, in served lists and in reports."""
CARD_KEYS: Mapping[str, str] = {"vote": "llm_weight"}
"""Keys of an adapter's card."""
ABLATION = "blend without "
"""Prefix of a blend that was fitted without a channel."""


def current_channel(name: str) -> str:
    """Return the present name of a channel; other names are returned as they are."""
    return CHANNELS.get(name, name)


def current_feature(name: str) -> str:
    """Return the present name of a feature, `channel:feature`."""
    channel, colon, feature = name.partition(":")
    return current_channel(channel) + colon + feature


def current_system(name: str) -> str:
    """Return the present name of an evaluated system: a channel, a blend without a channel, or another system."""
    if name.startswith(ABLATION):
        return ABLATION + current_channel(name.removeprefix(ABLATION))
    return current_channel(name)


def current_card(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return an adapter's card with present keys."""
    return {CARD_KEYS.get(key, key): value for key, value in card.items()}


def current_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `report.json` with present names of its systems and channels."""
    renamed = {
        section: {current_system(name): value for name, value in report[section].items()}
        for section in ("systems", "candidate_recall")
        if isinstance(report.get(section), Mapping)
    }
    return {**report, **renamed}
