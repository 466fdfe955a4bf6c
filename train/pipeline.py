"""What is learned of a store's own histories, and put into its workspace: graph, text heads, the blend of all channels, LLM ranker.

    known users -> folds -> (channels without a fold's users -> what they say of the fold's shoppers) -> the blend -> the LLM ranker
                         -> the graph, the heads and the factors of all known users

The test's users stay out of everything here, unless everything is asked for, so that an evaluation afterwards is honest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..data.atomic_files import replacing_folder
from ..data.errors import StaleTrainingError, TrainingError, storage_errors
from ..data.settings import Settings
from ..data.splits import HeldOut, Split
from ..data.workspace import Workspace
from ..eval.splits import protocols
from ..eval.splits.training_view import TrainingView
from ..recommend.ranking import learned_blend
from ..recommend.ranking.learned_blend import BlendModel
from ..retrieval.channels import complement_heads, matrix_factorization
from ..retrieval.graph import storage
from ..retrieval.graph.model import GraphConfig
from ..retrieval.index.builder import item_vectors, load
from ..retrieval.items.interactions import Events
from . import blend
from .blend import Questions
from .channels import Parts, Recipe, shrinkage, train_parts
from .lora.config import FinetuneConfig
from .out_of_fold import ask
from .ranker_examples import EXAMPLES, Lessons
from .ranker_examples import load as load_lessons

if TYPE_CHECKING:
    from ..retrieval.channels.base import Channel

WRITING = FinetuneConfig(blocks=15, batch=16, lr=2e-3, epochs=3, prompt=1, validate_every=45, checkpoint_every=45)
"""How the explainer is trained."""
Progress = Callable[[str, int, int], None]
Part = Literal["graph", "blend", "ranker", "explainer", "all"]
PART_NAMES: tuple[Part, ...] = ("graph", "blend", "ranker", "explainer", "all")


def learn(
    workspace: Workspace,
    settings: Settings,
    split: Split | None = None,
    *,
    part: Part = "blend",
    config: GraphConfig | None = None,
    ranker: FinetuneConfig | None = None,
    examples: int | None = None,
    everything: bool = False,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Trains a workspace's parts, puts them there, and returns what was measured.

    A kill leaves what was trained before; a ranker goes on from its last checkpoint. Without enough shoppers for the graph, the heads or
    the ranker the blend does without them, and `left_out` says so.

    Args:
        split: what an evaluation will test; None is the users protocol with seed 0.
        part: `graph` (with text heads and factors), `blend` (with the channels that it stands on), `ranker` (needs a blend), `explainer`
            (the LLM learns to word reasons), or `all`: all but the explainer, which learns nothing of shoppers, and where the settings name
            no LLM all but the ranker. A ranker takes longer than all else, so it is made only when asked for.
        config: of the graph. ranker: of the LoRA training, of the ranker or the explainer.
        examples: questions that the ranker learns from, at most; None is `lessons.EXAMPLES`.
        everything: hold nothing out, for serving only.
    Raises:
        TrainingError: too few shoppers for the part that is asked for; for a blend, where all are.
        NoIndexError, StaleIndexError: the workspace must be indexed first.
        NotTrainedError, StaleTrainingError: a ranker is asked for without a blend of this snapshot and split.
        ModelError, ModelMissingError: the LLM cannot be had.
    """
    start = time.perf_counter()
    if part in ("ranker", "explainer") and settings.llm == "none":
        raise TrainingError("there is no LLM to train (--llm none); name one, or train the blend")
    with workspace.writing(f"crossaisle train -w {workspace.path}"):
        if part == "explainer":
            wrote = explainer(workspace, settings, ranker, progress)
            return {"explainer": wrote, "left_out": {}, "seconds": round(time.perf_counter() - start, 1)}
        training = _Training(workspace, settings, split or Split(), config, everything, progress)
        figures: dict[str, Any] = {"left_out": {}}
        if part == "graph":
            figures |= training.parts()
        if part in ("blend", "all"):
            figures |= training.blend()
        if part == "ranker" or (part == "all" and settings.llm != "none"):
            lora = ranker or FinetuneConfig(seed=training.split.seed)
            try:
                figures["ranker"] = training.ranker(lora, examples or EXAMPLES)
            except TrainingError as error:
                if part == "ranker" or "diverged" in str(error):
                    raise
                figures["left_out"] = {**figures["left_out"], "ranker": str(error)}
    return {**figures, "seconds": round(time.perf_counter() - start, 1)}


class _Training:
    """One run over one workspace: what may be known, and each part made from it."""

    def __init__(
        self, workspace: Workspace, settings: Settings, split: Split, config: GraphConfig | None, everything: bool, progress: Progress
    ) -> None:
        self.workspace, self.settings, self.progress = workspace, settings, progress
        catalogue, index, _ = load(workspace, settings)
        events = Events.build(workspace.table("interactions"), catalogue)
        self.split = protocols.resolve_split(split, events, catalogue)
        self.held_out = HeldOut() if everything else protocols.sample_cases(self.split, events, catalogue, "test", "new").held_out
        self.known = TrainingView.from_workspace(workspace, self.held_out, index, item_vectors(index, catalogue))
        self.about = {"snapshot": workspace.manifest.snapshot, "held_out": None if everything else self.split.to_dict()}
        self.config = config or GraphConfig(seed=self.split.seed)

    @cached_property
    def _recipe(self) -> Recipe:
        self.progress("choosing how factors are shrunk", 0, 1)
        seed = self.split.seed
        chosen, tried = shrinkage(self.workspace, self.known, self.held_out, seed)
        self.progress("choosing how factors are shrunk", 1, 1)
        return Recipe(seed, self.config, chosen, tried, self.about)

    def parts(self) -> dict[str, Any]:
        """The graph, the text heads and the factors of all that may be known, put into the workspace."""
        parts = self._parts(self.known, self.progress)
        figures: dict[str, Any] = {"complements": dict(parts.heads_figures), "left_out": dict(parts.left_out)}
        if parts.graph is not None:
            storage.save_graph(parts.graph, self.workspace.path)
            figures["graph"] = {name: value for name, value in parts.graph.card.items() if name != "about"}
        if parts.heads is not None:
            complement_heads.save_heads(self.workspace.path, parts.heads, {**self.about, "figures": parts.heads_figures})
        figures["factors"] = {"tried": list(self._recipe.tried), "penalty": parts.factors.config.penalty}
        matrix_factorization.save_factors(
            self.workspace.path, parts.factors, self.known.catalogue.ids, {**self.about, "figures": figures["factors"]}
        )
        return figures

    def blend(self) -> dict[str, Any]:
        """The blend, and the parts that it stands on, put into the workspace."""

        def channels(part: TrainingView, tell: Progress) -> Mapping[str, Channel]:
            return self._parts(part, tell).channels(part)

        seed = self.split.seed
        asked = ask(self.workspace, self.known, self.held_out, seed, channels, self.progress)
        models = fit(asked.questions, seed, self.progress)
        lessons = Lessons.of(asked, models["blend"], self.known.catalogue, seed)
        parts = self.parts()
        figures = dict(models["blend"].metrics)
        _save(self.workspace.path, models, lessons, {**self.about, "figures": figures, "graph": asdict(self.config)})
        return {"blend": figures, **parts}

    def ranker(self, config: FinetuneConfig, examples: int) -> dict[str, Any]:
        """The adapter of the LLM and its vote, put into the workspace."""
        from .llm_ranker import teach

        lessons = load_lessons(self.workspace.path)
        card = json.loads((self.workspace.path / learned_blend.FOLDER / "card.json").read_text("utf-8"))
        if any(card.get(name) != value for name, value in json.loads(json.dumps(self.about)).items()):
            raise StaleTrainingError(
                f"the blend in {self.workspace.path} was fitted to another snapshot or held out other users; "
                f"run `crossaisle train -w {self.workspace.path} blend` first, with the same --seed"
            )
        catalogue, path = self.known.catalogue, self.workspace.path
        return teach(path, self.settings, lessons, catalogue, self.about, config=config, most=examples, progress=self.progress)

    def _parts(self, known: TrainingView, progress: Progress) -> Parts:
        return train_parts(self.workspace, known, self._recipe, progress)


def explainer(workspace: Workspace, settings: Settings, config: FinetuneConfig | None, progress: Progress) -> dict[str, Any]:
    """The adapter that words reasons, put into the workspace; it learns from wordings written by hand, told of the store's items."""
    from ..llm.explain.briefs import BriefRenderer
    from ..llm.models.language_model import LanguageModel
    from ..recommend.ranking.llm_loading import EXPLAINER_FOLDER
    from .explainer_examples import writing_lessons
    from .lora import finetune
    from .lora.wording_loss import WordingTask

    catalogue, _, _ = load(workspace, settings)
    wanted = config or WRITING
    items = catalogue.records(range(len(catalogue)))
    lessons = writing_lessons(BriefRenderer(LanguageModel.load(settings), wanted.prompt), items, wanted.seed)

    def tell(at: finetune.TrainingProgress) -> None:
        progress(f"explainer, loss {at.loss:.3f}", at.step, at.total)

    about = {"snapshot": workspace.manifest.snapshot}
    out = workspace.path / EXPLAINER_FOLDER
    made = finetune.train(lessons.learning, lessons.validation, settings, out, wanted, about, tell, task=WordingTask)
    return made.figures()


def fit(questions: Questions, seed: int, progress: Progress) -> dict[str, BlendModel]:
    """The blend of all channels, and of all but each one, by the names of an evaluation."""
    groups = list(dict.fromkeys(name.split(":")[0] for name in questions.names))
    models = {"blend": blend.fit(questions, seed=seed)}
    thin = questions.answered().thinned(seed)  # what a final fit looks at anyway, so that it is drawn once
    for done, group in enumerate(groups):
        progress("fitting the blend", done, len(groups))
        models[f"blend without {group}"] = blend.fit(thin.without(group), seed=seed, chosen=models["blend"])
    progress("fitting the blend", len(groups), len(groups))
    return models


def _save(parent: Path, models: Mapping[str, BlendModel], lessons: Lessons, card: Mapping[str, Any]) -> None:
    home = parent / learned_blend.FOLDER
    with storage_errors(f"the blend in {home}"), replacing_folder(home) as fresh:
        (fresh / "models.json").write_text(json.dumps({name: model.to_dict() for name, model in models.items()}), "utf-8")
        lessons.save(fresh)
        (fresh / "card.json").write_text(json.dumps(card, indent=1), "utf-8")
