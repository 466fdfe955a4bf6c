"""Trains the adapter that words explanations, on handwritten wordings with a store's item names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...retrieval.index.builder import load
from ..lora import finetune
from ..lora.config import FinetuneConfig
from ..lora.recipe import adapt

if TYPE_CHECKING:
    from ...data.settings import Settings
    from ...data.workspace import Workspace
    from ...retrieval.channels.base import Progress

EXPLAINER_CONFIG = FinetuneConfig(blocks=15, batch=16, lr=2e-3, epochs=3, prompt=2, validate_every=45, checkpoint_every=45)
"""Default LoRA configuration of the explainer."""


def train_explainer(workspace: Workspace, settings: Settings, config: FinetuneConfig | None, progress: Progress) -> dict[str, Any]:
    """Train the adapter that words explanations, store it, and return its metrics.

    It is trained on the hand-written wordings that the package ships, filled with the store's items; no interactions go into it.
    """
    from ...llm.explain.briefs import BriefRenderer
    from ...llm.models.language_model import LanguageModel
    from ...recommend.ranking.llm_loading import EXPLAINER_FOLDER
    from ..lora.wording_loss import WordingTask
    from .explainer_examples import explainer_examples

    catalogue, _, _ = load(workspace, settings)
    lora = config or adapt(EXPLAINER_CONFIG, settings)
    renderer = BriefRenderer(LanguageModel.load(settings), lora.prompt)
    examples = explainer_examples(renderer, catalogue.records(range(len(catalogue))), lora.seed)

    def report_step(at: finetune.TrainingProgress) -> None:
        progress(f"explainer, loss {at.loss:.3f}", at.step, at.total)

    about = {"snapshot": workspace.manifest.snapshot}
    folder = workspace.path / EXPLAINER_FOLDER
    trained = finetune.train(examples.training, examples.validation, settings, folder, lora, about, report_step, task=WordingTask)
    return trained.figures()
