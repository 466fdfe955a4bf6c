"""Trains a workspace's models on its own histories: channels, the blend of all channels, the LLM ranker, the explainer.

    training users -> folds -> (channels without a fold's users -> scores of the fold's queries) -> blend -> LLM ranker
                            -> channels of all training users

The test users of the split are held out of everything, unless the caller includes them, so an evaluation afterwards is unbiased. So are
the users whom a file names, such as the cases of a later evaluation.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..data.atomic_files import replacing_folder
from ..data.errors import NotTrainedError, SettingsError, StaleTrainingError, TrainingError, storage_errors
from ..data.settings import Settings
from ..data.splits import HeldOut, Split
from ..data.workspace import Workspace
from ..eval.splits import hold_out as hold_out_files
from ..eval.splits import protocols
from ..eval.splits.training_view import TrainingView
from ..recommend.ranking import learned_blend
from ..recommend.ranking.behaviour import factorization_id
from ..recommend.ranking.prior import load_prior
from ..retrieval.channels import channel_configs
from ..retrieval.channels.base import Progress, TrainingContext
from ..retrieval.channels.complement_heads import ComplementHeads
from ..retrieval.channels.matrix_factorization import MatrixFactorization
from ..retrieval.graph.channel import GraphChannel
from ..retrieval.graph.model import GraphConfig
from ..retrieval.index.builder import item_vectors, load
from ..retrieval.items.interactions import Events
from ..retrieval.trainable_channels import DEFAULT_CHANNELS, TRAINABLE_CHANNELS, train_channels
from .blend import fit_models
from .channel_tuning import counted_configs, tune_channels
from .channels import excluded_by_default, validate_names
from .llm.ranker_examples import MAX_EXAMPLES, RankerExamples, load_examples
from .lora.config import FinetuneConfig
from .lora.recipe import recipe_for
from .out_of_fold import collect_queries
from .run_options import RunOptions
from .teacher.labels import TeachingMaterial, load_labels, save_labels, teacher_labels

if TYPE_CHECKING:
    from ..recommend.ranking.learned_blend import BlendModel
    from ..retrieval.channels.base import Channel
    from ..retrieval.channels.channel_configs import CountedConfig
    from .llm.pair_examples import PairEntities
    from .llm.ranker import TeacherExamples
    from .teacher.config import TeacherConfig

TrainingPart = Literal["graph", "blend", "ranker", "llm-weight", "explainer", "all"]
TRAINING_PARTS: tuple[TrainingPart, ...] = ("graph", "blend", "ranker", "llm-weight", "explainer", "all")


def train_workspace(
    workspace: Workspace,
    settings: Settings,
    split: Split | None = None,
    *,
    part: TrainingPart = "blend",
    channels: Sequence[str] | None = None,
    config: GraphConfig | None = None,
    ranker: FinetuneConfig | None = None,
    examples: int | None = None,
    pairs: int | None = None,
    teacher: TeacherConfig | None = None,
    minutes: float | None = None,
    everything: bool = False,
    hold_out: Path | None = None,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Train parts of a workspace, store them in it, and return the metrics of the training.

    An interrupted training keeps the parts that were finished; a ranker resumes from its last checkpoint. A channel with too little data is
    left out, and in `all` the ranker; `left_out` in the result has the reasons.

    Args:
        workspace: Indexed workspace.
        settings: Settings with the LLM.
        split: Split of the evaluation to come; None for the users protocol with seed 0. Its seed is that of the whole training.
        part: `graph` (all trainable channels), `blend` (the blend and the channels that it uses), `ranker` (the LLM ranker, which needs a
            blend), `llm-weight` (the weights of the settings' LLM for texts and beside the blend, whether it is trained or not),
            `explainer` (the LLM that words explanations), or `all` (blend and, if the settings name an LLM, ranker).
        channels: Names of the trainable channels; None for all of them in `graph`, else for `DEFAULT_CHANNELS`.
        config: Configuration of the graph; None for the default one.
        ranker: LoRA configuration of the ranker or the explainer; None for that of the model's size.
        examples: Largest number of training examples of the ranker; None for `ranker_examples.MAX_EXAMPLES`, 0 for pairs alone,
            which need no blend.
        pairs: Largest number of pairs that the ranker is trained on before; None for `pair_examples.MAX_PAIRS`.
        teacher: Large model that labels further pairs and lists for the ranker and the text heads; None for none.
        minutes: Time in which the LLM reads questions for its weight; None for 10.
        everything: Whether to hold nothing of the split out, for serving only.
        hold_out: File of users to hold out in addition, such as a case file: JSON lines with a `user_id`. `hold_out` in the result says how
            many of them the workspace has. The explainer learns from no user.
        progress: Progress callback.

    Raises:
        SettingsError: A channel is unknown.
        FormatError, QueryError: The file of users is invalid, or names none.
        TrainingError: There is too little data for the part.
        NoIndexError, StaleIndexError: The workspace has no current index.
        NotTrainedError, StaleTrainingError: A ranker needs a blend of this snapshot and split.
        ModelError, ModelMissingError: The LLM is not installed or cannot be used.
        EndpointError: The teacher answers nothing.
    """
    start = time.perf_counter()
    if minutes is not None and not minutes > 0:
        raise SettingsError(f"minutes must be above 0, not {minutes}")
    if part in ("ranker", "llm-weight", "explainer") and settings.llm == "none":
        raise TrainingError("there is no LLM to train (--llm none); name one, or train the blend")
    if part in ("ranker", "explainer") and settings.is_remote:
        raise TrainingError("a model at an endpoint cannot be trained here; measure its weight with `crossaisle train llm-weight`")
    if teacher is not None and part not in ("ranker", "all"):
        raise SettingsError(f"a teacher labels examples for the parts ranker and all, not for {part}")
    if teacher is not None and (settings.llm == "none" or settings.is_remote):
        raise SettingsError(f"a teacher teaches a model that is trained here, not {settings.llm}; name a local one with --llm")
    default = tuple(TRAINABLE_CHANNELS) if part == "graph" else DEFAULT_CHANNELS
    names = validate_names(default if channels is None else channels)
    metrics: dict[str, Any] = {"left_out": {}}
    file = None if hold_out is None else hold_out_files.UserFile.load(hold_out, workspace)
    if file is not None:
        metrics["hold_out"] = file.to_dict()
    users = file.known if file else frozenset[str]()
    with workspace.writing(f"crossaisle train -w {workspace.path}"):
        if part == "explainer":
            from .llm.explainer import train_explainer

            metrics["explainer"] = train_explainer(workspace, settings, ranker, progress)
            return {**metrics, "seconds": round(time.perf_counter() - start, 1)}
        options = RunOptions(split or Split(), names, config or GraphConfig(), everything, users, minutes, pairs, teacher)
        run = _TrainingRun(workspace, settings, options, progress)
        if part == "graph":
            metrics |= run.channels()
        if part in ("blend", "all"):
            metrics |= run.blend()
            if channels is None:
                metrics["left_out"] = {**excluded_by_default(), **metrics["left_out"]}
        if part == "llm-weight":
            metrics["text_weight"] = run.text_weight()
            try:
                metrics["llm_weight"] = run.llm_weight()
            except NotTrainedError as error:  # an untrained store has text queries too
                if "left_out" in metrics["text_weight"]:
                    raise
                metrics["llm_weight"] = {"left_out": str(error)}
        if part == "ranker" or (part == "all" and settings.llm != "none" and not settings.is_remote):
            try:
                metrics["ranker"] = run.ranker(
                    ranker or recipe_for(settings, seed=run.split.seed), MAX_EXAMPLES if examples is None else examples
                )
            except TrainingError as error:
                if part == "ranker" or "diverged" in str(error):
                    raise
                metrics["left_out"] = {**metrics["left_out"], "ranker": str(error)}
    return {**metrics, "seconds": round(time.perf_counter() - start, 1)}


class _TrainingRun:
    """One training run over one workspace: the training view, and each part trained on it."""

    def __init__(self, workspace: Workspace, settings: Settings, options: RunOptions, progress: Progress) -> None:
        self.workspace, self.settings, self.options = workspace, settings, options
        catalogue, index, _ = load(workspace, settings)
        events = Events.build(workspace.table("interactions"), catalogue)
        self.split = protocols.resolve_split(options.split, events, catalogue)
        held_out = HeldOut() if options.everything else protocols.sample_cases(self.split, events, catalogue, "test", "new").held_out
        held_out = replace(held_out, users=held_out.users | options.hold_out)
        self.view = TrainingView.from_workspace(workspace, held_out, index, item_vectors(index, catalogue))
        snapshot = workspace.manifest.snapshot
        about = {
            "snapshot": snapshot,
            "held_out": None if options.everything else self.split.to_dict(),
            hold_out_files.CARD_KEY: hold_out_files.card_entry(options.hold_out, snapshot or ""),
        }
        configs, taught = {GraphChannel.name: options.graph}, load_labels(workspace.path, catalogue)
        self.context = TrainingContext(self.split.seed, about, configs, progress=progress, taught=taught)

    @cached_property
    def tuned_context(self) -> TrainingContext:
        """The context with configurations chosen on validation users."""
        return tune_channels(self.view, self.context, self.options.channels)

    def channels(self) -> dict[str, Any]:
        """Train the channels on all training users, store them, and return their metrics."""
        return self._trained_channels()[1]

    def _trained_channels(self) -> tuple[Mapping[str, Channel], dict[str, Any]]:
        trained = train_channels(self.view, self.tuned_context, self.options.channels)
        trained.save(self.workspace.path)
        return trained.channels, {**trained.metrics, "left_out": dict(trained.left_out)}

    def blend(self) -> dict[str, Any]:
        """Train the blend and the channels that it uses, store them, and return their metrics."""
        context, names = self.tuned_context, self.options.channels
        configs = counted_configs(context)

        def fit(view: TrainingView, fold_context: TrainingContext) -> Mapping[str, Channel]:
            return {**view.full_catalogue_channels(configs), **train_channels(view, fold_context, names).channels}

        queries = collect_queries(self.view, context, fit)
        prior = load_prior(self.view.catalogue.users).unit_weights
        models = fit_models(queries.dataset, context, prior)
        channels, channel_metrics = self._trained_channels()
        factors = channels.get(MatrixFactorization.name)
        factorization = (factors, factorization_id(self.workspace.path)) if isinstance(factors, MatrixFactorization) else None
        examples = RankerExamples.from_queries(queries, models["blend"], context, prior, factorization)
        metrics = dict(models["blend"].metrics)
        _save_blend(
            self.workspace.path,
            models,
            examples,
            configs,
            {**context.about, "figures": metrics, "graph": asdict(context.configs[GraphChannel.name]), "tried": dict(context.trials)},
        )
        return {"blend": metrics, **channel_metrics}

    def ranker(self, config: FinetuneConfig, examples: int) -> dict[str, Any]:
        """Train the adapter of the LLM ranker and its weight in the blend, store them, and return their metrics."""
        from .llm.pair_examples import MAX_PAIRS, PairExamples, pair_entities
        from .llm.ranker import NO_TEACHER, train_llm_ranker, training_split

        path, catalogue = self.workspace.path, self.view.catalogue
        stored = self._examples() if examples else self._current_examples()
        entities = pair_entities(self._training_view(config.seed))
        pairs = PairExamples.sample(entities, MAX_PAIRS if self.options.pairs is None else self.options.pairs, config.seed)
        labels, taught = NO_TEACHER, dict[str, Any]()
        if self.options.teacher is not None:
            if stored is not None and examples:
                training_split(stored, examples, config.seed)  # what fails without the teacher fails before it is paid
            labels, taught = self._teach(self.options.teacher, config, stored, entities)
        metrics = train_llm_ranker(
            path, self.settings, stored, catalogue, self.context, config=config, max_examples=examples, pairs=pairs, teacher=labels
        )
        metrics |= {"pairs": len(pairs.training), **taught}
        try:
            metrics["llm_weight"] = self.llm_weight()
            metrics["vote"] = metrics["llm_weight"]["weight"]["weight"]
        except (TrainingError, NotTrainedError, StaleTrainingError) as error:  # no current blend, or few questions: the adapter is kept
            metrics |= {"llm_weight": {"left_out": str(error)}, "vote": 0.0}
        return {**metrics, "text_weight": self.text_weight()}

    def _teach(
        self, teacher: TeacherConfig, config: FinetuneConfig, stored: RankerExamples | None, entities: tuple[PairEntities, PairEntities]
    ) -> tuple[TeacherExamples, dict[str, Any]]:
        """Ask the teacher, train the text heads on its pairs and store them, and return the examples for the LLM and the metrics."""
        path, catalogue = self.workspace.path, self.view.catalogue
        material = TeachingMaterial(entities, stored, catalogue, config.seed, config.prompt)
        labels = teacher_labels(teacher, material, path, self.context.progress)
        save_labels(path, labels.pairs, catalogue)
        trained = train_channels(self.view, replace(self.context, taught=labels.pairs), [ComplementHeads.name])
        trained.save(path)
        heads = trained.metrics.get(ComplementHeads.name) or {"left_out": trained.left_out[ComplementHeads.name]}
        return labels.examples, {"teacher": labels.figures, "text_heads": heads}

    def _training_view(self, seed: int) -> TrainingView:
        """The view without the users that an adapter with this seed is validated and measured on."""
        from .llm.ranker import training_users

        users = self.view.events.users
        return self.view.without_users(frozenset(users.filter(~training_users(users.to_list(), seed)).to_list()))

    def text_weight(self) -> dict[str, Any]:
        """Measure the weight of the LLM for text queries, store it, and return its metrics, or why it cannot be measured."""
        from .llm.text_material import TextMaterial
        from .llm.text_weight import measure_text_weight

        try:
            return measure_text_weight(
                self.workspace.path,
                self.settings,
                TextMaterial.build(self.workspace.path, self.view, self.split.seed),
                seed=self.split.seed,
                seconds=self._reading_seconds,
                progress=self.context.progress,
            )
        except TrainingError as error:
            return {"left_out": str(error)}

    def llm_weight(self) -> dict[str, Any]:
        """Measure the weight of the LLM in the blend, store it, and return its metrics."""
        from .llm.weight import measure_weight

        return measure_weight(
            self.workspace.path,
            self.settings,
            self._examples(),
            self.view.catalogue,
            seed=self.split.seed,
            seconds=self._reading_seconds,
            progress=self.context.progress,
        )

    @property
    def _reading_seconds(self) -> float:
        from .llm.question_reading import DEFAULT_SECONDS

        return DEFAULT_SECONDS if self.options.minutes is None else 60 * self.options.minutes

    def _current_examples(self) -> RankerExamples | None:
        """The out-of-fold questions of the stored blend; None without a blend of this run's snapshot and split."""
        try:
            return self._examples()
        except (NotTrainedError, StaleTrainingError):
            return None

    def _examples(self) -> RankerExamples:
        """The out-of-fold questions of the stored blend, which must be of this run's snapshot and split."""
        path = self.workspace.path
        stored_examples = load_examples(path)
        card = json.loads((path / learned_blend.FOLDER / "card.json").read_text("utf-8"))
        if any(card.get(name) != value for name, value in json.loads(json.dumps(self.context.about)).items()):
            raise StaleTrainingError(
                f"the blend in {path} was fitted to another snapshot or held out other users; "
                f"run `crossaisle train -w {path} blend` first, with the same --seed and --hold-out"
            )
        return stored_examples


def _save_blend(
    workspace: Path,
    models: Mapping[str, BlendModel],
    examples: RankerExamples,
    configs: Mapping[str, CountedConfig],
    card: Mapping[str, Any],
) -> None:
    folder = workspace / learned_blend.FOLDER
    with storage_errors(f"the blend in {folder}"), replacing_folder(folder) as staging:
        (staging / "models.json").write_text(json.dumps({name: model.to_dict() for name, model in models.items()}), "utf-8")
        (staging / learned_blend.CHANNELS_FILE).write_text(json.dumps(channel_configs.to_jsonable(configs), indent=1), "utf-8")
        examples.save(staging)
        (staging / "card.json").write_text(json.dumps(card, indent=1), "utf-8")
