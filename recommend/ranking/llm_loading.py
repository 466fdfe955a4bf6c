"""Loads the language model of a workspace with the adapters that were trained for it, and the weight of its score."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from ...data.errors import ModelMissingError, StaleAdapterError
from ...llm.models import adapters, bundled
from ...llm.models.language_model import LanguageModel
from ...llm.models.model_source import fingerprint
from .llm_weight import NO_LLM_WEIGHT, LLMWeight

if TYPE_CHECKING:
    from ...data.settings import Settings

RANKER_FOLDER, EXPLAINER_FOLDER = "adapter", "explainer"
"""Folders of a workspace: the adapter that ranks, and the adapter that writes explanations."""
CARD_KEY = "llm_weight"
"""Key of the weight in the ranking adapter's card."""


def load_llm_weight(workspace: Path) -> LLMWeight:
    """Return the weight of the LLM in the learned order: 0 without a trained adapter, or where it did not improve the ranking.

    Raises: ModelError: the adapter's card cannot be read.
    """
    folder = workspace / RANKER_FOLDER
    if not folder.exists():
        return NO_LLM_WEIGHT
    fields = adapters.read_card(folder).get(CARD_KEY)
    return (
        LLMWeight(float(fields["weight"])) if isinstance(fields, dict) and isinstance(fields.get("weight"), int | float) else NO_LLM_WEIGHT
    )


def load_ranking_llm(workspace: Path, settings: Settings) -> LanguageModel:
    """Load the LLM of the settings with the workspace's ranking adapter, unless that adapter is already merged into it.

    Raises:
        StaleAdapterError: the adapter was trained on another model.
        ModelMissingError, ModelError: see `LanguageModel.load`.
    """
    folder = workspace / RANKER_FOLDER
    return LanguageModel.load(settings, None if adapters.is_merged_from(Path(settings.llm).expanduser(), folder) else folder)


def add_explainer_adapter(llm: LanguageModel, workspace: Path, settings: Settings) -> None:
    """Load the adapter that writes explanations into a model: the workspace's own, else the bundled one if it fits the model.

    Raises:
        StaleAdapterError: the workspace's adapter was trained on another model.
        ModelError: the workspace's adapter is damaged.
    """
    base = fingerprint(settings.llm, settings.home)
    own = workspace / EXPLAINER_FOLDER
    if (own / adapters.CARD).exists():
        llm.load_explainer_adapter(own, base)
        return
    with contextlib.suppress(ModelMissingError, StaleAdapterError):  # without an adapter, explanations are chosen among fixed phrasings
        llm.load_explainer_adapter(bundled.EXPLAINER_ADAPTER, base)
