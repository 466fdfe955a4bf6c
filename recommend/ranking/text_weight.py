"""The weight of the language model in the order of a text query, as it was measured on pairs of items that are bought together.

There are no out-of-fold questions for text queries: no purchase is known to follow one. What is known is which items are bought together,
so the model is measured on that: the query states one item, and the other is to be ranked above items that are not bought with it
(`train.llm.text_weight`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import ModelError
from ...data.settings import ALWAYS
from ...llm.models import adapters
from ...retrieval.fusion import CHANNEL_WEIGHTS
from .features import LLM_CHANNEL
from .llm_loading import model_key, ranking_adapter, why_off

if TYPE_CHECKING:
    from ...data.settings import Settings

FOLDER = "llm-texts"
"""Folder of a workspace with a file for each model whose weight for texts was measured."""
CARD_KEY = "text_weight"
"""Key of these figures in the card of an adapter that comes with them."""
PAIRS_KEY = "pairs"
"""Key of an adapter's card that says which pairs it was trained on; adapters without it do not know texts."""


@dataclass(frozen=True)
class TextWeight:
    """The weight of one model for text queries, measured on a store's pairs.

    Attributes:
        weight: weight of its ranks in the fusion of the channels.
        gain: mean AUC with the LLM minus without, as of `PairedDifference.to_dict`.
    """

    weight: float
    gain: Mapping[str, Any]

    @property
    def is_better(self) -> bool:
        """Whether the gain is above 0 with its whole interval."""
        return float(self.gain["low"]) > 0


@dataclass(frozen=True)
class TextWeightInUse:
    """The weight of the LLM in the answers to text queries.

    Attributes:
        weight: the weight.
        reason: why it is 0, in one clause; empty if the LLM reads.
    """

    weight: float
    reason: str = ""


def text_weight_file(workspace: Path, settings: Settings) -> Path:
    """Return the file with the measured weight of a model for texts.

    Raises: ModelMissingError, ModelError: see `llm_loading.ranking_adapter`.
    """
    return workspace / FOLDER / f"{model_key(workspace, settings)}.json"


def adapter_knows_texts(workspace: Path, settings: Settings) -> bool:
    """Return whether the settings' model has an adapter of the workspace that was trained on pairs.

    Raises: ModelMissingError, ModelError: see `llm_loading.ranking_adapter`.
    """
    folder = ranking_adapter(workspace, settings)
    return folder is not None and PAIRS_KEY in adapters.read_card(folder)


def load_text_weight(workspace: Path, settings: Settings) -> TextWeight | None:
    """Return the measured weight of the settings' model for texts; None if there is none.

    Raises: ModelMissingError, ModelError: the model is not installed, or the file or the adapter's card cannot be read.
    """
    file = text_weight_file(workspace, settings)
    folder = ranking_adapter(workspace, settings)
    try:
        figures = json.loads(file.read_text("utf-8")) if file.exists() else adapters.read_card(folder).get(CARD_KEY) if folder else None
        return None if figures is None else TextWeight(float(figures["weight"]), figures["gain"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{file} cannot be read ({type(error).__name__}); run `crossaisle train -w {workspace} llm-weight` again"
        ) from error


def text_weight_in_use(workspace: Path, settings: Settings) -> TextWeightInUse:
    """Return the weight of the LLM in the order of a text query, by the policy of the settings.

    Args:
        workspace: folder of the workspace.
        settings: model, policy, and weight if it is set.

    Raises: ModelMissingError, ModelError: see `load_text_weight`.
    """
    if off := why_off(settings):
        return TextWeightInUse(0.0, off)
    if settings.llm_weight is not None:
        return TextWeightInUse(settings.llm_weight, "" if settings.llm_weight else "--llm-weight is 0")
    measured = load_text_weight(workspace, settings)
    if measured is None:
        if settings.llm_policy == ALWAYS:
            return TextWeightInUse(CHANNEL_WEIGHTS[LLM_CHANNEL])
        return TextWeightInUse(0.0, "its weight for texts is not measured here (crossaisle train llm-weight)")
    if not measured.weight:
        return TextWeightInUse(0.0, "its measured weight for texts here is 0")
    if settings.llm_policy != ALWAYS and not measured.is_better:
        low, high = float(measured.gain["low"]), float(measured.gain["high"])
        return TextWeightInUse(0.0, f"its measured gain for texts here is {float(measured.gain['value']):+.3f} [{low:+.3f}, {high:+.3f}]")
    return TextWeightInUse(measured.weight)
