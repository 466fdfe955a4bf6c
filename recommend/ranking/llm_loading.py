"""Loads the language model of a workspace with the adapters that were trained for it, and the weight of its scores in the order."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.atomic_files import sha256
from ...data.errors import ModelError, ModelMissingError, StaleAdapterError
from ...data.settings import ALWAYS, NEVER
from ...llm.models import adapters, bundled
from ...llm.models.language_model import LanguageModel
from ...llm.models.model_source import fingerprint, short_fingerprint
from . import learned_blend
from .llm_weight import NO_LLM_WEIGHT, LLMWeight

if TYPE_CHECKING:
    from ...data.settings import Settings

RANKER_FOLDER, EXPLAINER_FOLDER = "adapter", "explainer"
"""Folders of a workspace: the adapter that ranks, and the adapter that writes explanations."""
WEIGHTS_FOLDER = "llm-weights"
"""Folder of the blend with a file for each model whose weight was measured."""
CARD_KEY = "llm_weight"
"""Key of the weight in the ranking adapter's card: of the bundled adapter of the demo store, and of adapters of former versions."""


@dataclass(frozen=True)
class MeasuredWeight:
    """The weight of one model, fitted and measured on a store's out-of-fold questions.

    Attributes:
        weight: fitted to all questions.
        gain: NDCG@10 with the LLM minus without, of weights fitted to other users' questions, as of `PairedDifference.to_dict`; None for
            cards of former versions, whose weight is already 0 where the gain was not above 0.
        depth: number of candidates that the LLM read for each question; None for cards of former versions.
    """

    weight: LLMWeight
    gain: Mapping[str, Any] | None = None
    depth: int | None = None

    @property
    def is_better(self) -> bool:
        """Whether the gain is above 0 with its whole interval."""
        return self.gain is None or float(self.gain["low"]) > 0


@dataclass(frozen=True)
class WeightInUse:
    """The weight of the LLM in the answers of a recommender, and in one clause why it is 0.

    Attributes:
        weight: the weight.
        reason: why the LLM does not read, such as "its measured weight here is 0"; empty if it reads.
    """

    weight: LLMWeight
    reason: str = ""


def ranking_adapter(workspace: Path, settings: Settings) -> Path | None:
    """Return the folder of the workspace's ranking adapter if the settings' model is the one it was trained on, or holds it already.

    Raises: ModelMissingError, ModelError: the model is not installed, or the adapter is damaged.
    """
    folder = workspace / RANKER_FOLDER
    if settings.is_remote or not folder.exists():
        return None
    base = adapters.read_card(folder).get("base_fingerprint")
    if adapters.is_merged_from(Path(settings.llm).expanduser(), folder) or base == fingerprint(settings.llm, settings.home):
        return folder
    return None


def weight_file(workspace: Path, settings: Settings) -> Path:
    """Return the file with the measured weight of a model, in the folder of the blend that it was measured with.

    It is named by the adapter, which fits one model only, or else by the model.

    Raises: ModelMissingError, ModelError: see `ranking_adapter`.
    """
    return workspace / learned_blend.FOLDER / WEIGHTS_FOLDER / f"{model_key(workspace, settings)}.json"


def model_key(workspace: Path, settings: Settings) -> str:
    """Return the key of the settings' model in the names of files: of its adapter for the workspace, or else of the model.

    Raises: ModelMissingError, ModelError: see `ranking_adapter`.
    """
    if settings.is_remote:
        return hashlib.sha256(f"{settings.llm} {settings.llm_model}".encode()).hexdigest()[:16]
    adapter = ranking_adapter(workspace, settings)
    return f"adapter-{sha256(adapter / adapters.WEIGHTS)[:16]}" if adapter else short_fingerprint(settings.llm, settings.home)


def load_measured_weight(workspace: Path, settings: Settings) -> MeasuredWeight | None:
    """Return the measured weight of the settings' model on a store; None if there is none.

    Raises: ModelMissingError, ModelError: the model is not installed, or the file or the adapter's card cannot be read.
    """
    file = weight_file(workspace, settings)
    if file.exists():
        try:
            figures = json.loads(file.read_text("utf-8"))
            return MeasuredWeight(LLMWeight.from_dict(figures["weight"]), figures["gain"], int(figures["depth"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{file} cannot be read ({type(error).__name__}); run `crossaisle train -w {workspace} llm-weight` again"
            ) from error
    folder = ranking_adapter(workspace, settings)
    fields = adapters.read_card(folder).get(CARD_KEY) if folder else None
    if folder is None or not isinstance(fields, dict):
        return None
    try:
        if "gain" in fields:  # of the bundled adapter of the demo store, with all figures
            return MeasuredWeight(LLMWeight.from_dict(fields["weight"]), fields["gain"], int(fields["depth"]))
        return MeasuredWeight(LLMWeight.from_dict(fields))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the weight in {folder / adapters.CARD} cannot be read ({error}); {adapters.RETRAIN_HINT}") from error


def why_off(settings: Settings) -> str:
    """Return why the settings let the LLM rank nothing, in one clause; empty if it may rank."""
    if settings.llm == "none":
        return "there is none (--llm none)"
    return "--llm-policy is never" if settings.llm_policy == NEVER else ""


def weight_in_use(workspace: Path, settings: Settings, *, has_blend: bool) -> WeightInUse:
    """Return the weight of the LLM in the order of a history, by the policy of the settings.

    Args:
        workspace: folder of the workspace.
        settings: model, policy, and weight if it is set.
        has_blend: whether the workspace's own blend ranks; weights are measured with it.

    Raises: ModelMissingError, ModelError: see `load_measured_weight`.
    """
    if off := why_off(settings):
        return WeightInUse(NO_LLM_WEIGHT, off)
    if settings.llm_weight is not None:
        set_weight = LLMWeight(settings.llm_weight)
        return WeightInUse(set_weight, "--llm-weight is 0" if set_weight.is_zero else "")
    if not has_blend:
        return WeightInUse(NO_LLM_WEIGHT, "its weight is measured with a trained blend, and this store has none in use")
    measured = load_measured_weight(workspace, settings)
    if measured is None:
        other = (workspace / RANKER_FOLDER).exists() and ranking_adapter(workspace, settings) is None
        start = "this store's adapter is of another model, and " if other else ""
        return WeightInUse(NO_LLM_WEIGHT, f"{start}its weight here is not measured (crossaisle train llm-weight)")
    if measured.weight.is_zero:
        return WeightInUse(NO_LLM_WEIGHT, "its measured weight here is 0")
    if settings.llm_policy != ALWAYS and not measured.is_better:
        gain = measured.gain or {}
        low, high = float(gain["low"]), float(gain["high"])
        return WeightInUse(NO_LLM_WEIGHT, f"its measured gain here is {float(gain['value']):+.4f} [{low:+.4f}, {high:+.4f}] NDCG@10")
    return WeightInUse(measured.weight)


def load_ranking_llm(workspace: Path, settings: Settings) -> LanguageModel:
    """Load the LLM of the settings, with the workspace's ranking adapter if that was trained on it and is not merged into it.

    Raises:
        ModelMissingError, ModelError: see `LanguageModel.load`.
    """
    adapter = ranking_adapter(workspace, settings)
    is_merged = adapter is not None and adapters.is_merged_from(Path(settings.llm).expanduser(), adapter)
    return LanguageModel.load(settings, None if is_merged else adapter)


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
