"""An offline evaluation from a workspace to its rankings. Each step is checkpointed, so an interrupted run resumes.

cases -> held-out data -> leakage checks -> baselines tuned and ranked -> channels and blends ranked -> LLM scores -> report (`report`)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import MissingExtraError, QueryError
from ...data.settings import Settings
from ...data.splits import HeldOut, Split
from ...data.workspace import Workspace
from ...retrieval.index.builder import item_vectors, load
from ...retrieval.items.interactions import Events
from ..baselines.registry import BASELINES
from ..baselines.tuning import tune
from ..metrics.full_ranking import rank
from ..splits import cases as case_files
from ..splits import leakage, protocols
from ..splits.cases import CandidateScope, Cases, EligibleItems
from ..splits.training_view import TrainingView
from .blend_systems import CANDIDATE_DEPTH, Blends, BlendSystems
from .checkpoints import EvaluationCheckpoint
from .llm_rankings import ReadingCost
from .options import EvaluationOptions
from .system_names import RANKING_DEPTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

Progress = Callable[[str, int, int], None]
"""Called with the stage, the number of completed steps and their total."""
CASES_SEED_OFFSET = 1_000_003
"""Added to the seed that draws the validation users where the test cases are given in a file."""
MAX_VALIDATION_CASES = 1000
"""Largest number of validation cases to tune baselines on."""


@dataclass(frozen=True)
class Rankings:
    """All rankings of an evaluation, and what their metrics need.

    Attributes:
        cases: Test cases.
        training_view: Data without what is held out for the test.
        eligible: Items that the cases rank.
        split: Resolved split.
        held_out: Data held out for the test.
        system_kinds: System to its kind (baseline, channel, blend or ablation).
        ranked_rows: System to (cases, depth) item rows; only the cases of `llm_case_indices` for systems in `llm_systems`.
        llm_case_indices: (llm cases,) indices of the cases that the LLM scores, ascending.
        llm_systems: Systems that need the LLM.
        tuning: Baseline to its configuration and trials, or the reason why it is left out.
        novelty: Popularity penalty to (cases, depth) item rows of the blend with it.
        new_items: (reserved slots, largest number of users) to the blend's item rows with that many slots reserved for items with at most
            that many users.
        channel_rows: Channel to (cases, candidates) item rows of its candidates, best first, for the channels that cover all cases.
        blend_candidates: Item rows of each case that the blend ranks.
        trained: Whether the blend was trained on the workspace; otherwise it is the prior.
        llm_depths: Number of candidates that the LLM reads to (LLM cases, depth) item rows of the blend with the LLM.
        llm_cost: What reading cost.
    """

    cases: Cases
    training_view: TrainingView
    eligible: EligibleItems
    split: Split
    held_out: HeldOut
    system_kinds: Mapping[str, str]
    ranked_rows: Mapping[str, NDArray[np.int32]]
    llm_case_indices: NDArray[np.int64]
    llm_systems: frozenset[str]
    tuning: Mapping[str, Any]
    novelty: Mapping[float, NDArray[np.int32]] = field(default_factory=dict)
    new_items: Mapping[tuple[int, int], NDArray[np.int32]] = field(default_factory=dict)
    channel_rows: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    blend_candidates: Sequence[Sequence[int]] = ()
    trained: bool = False
    llm_depths: Mapping[int, NDArray[np.int32]] = field(default_factory=dict)
    llm_cost: ReadingCost = field(default_factory=ReadingCost)


class Evaluation:
    """An offline evaluation of a workspace; `run` executes it."""

    def __init__(
        self, workspace: Workspace, settings: Settings, out: Path, options: EvaluationOptions, progress: Progress = lambda *_: None
    ) -> None:
        """Validate the options and load the index.

        Args:
            workspace: Indexed workspace.
            settings: Settings with the LLM; `none` evaluates without it.
            out: Folder of the report, where the checkpoint is stored.
            options: What to evaluate.
            progress: Progress callback.

        Raises:
            QueryError: An option is out of range.
            NoIndexError, StaleIndexError: The workspace has no current index.
        """
        self.workspace, self.settings, self.out, self.options, self.progress = workspace, settings, out, options, progress
        options.validate()
        self.catalogue, self.index, _ = load(workspace, settings)
        if options.k > len(self.catalogue):
            raise QueryError(f"k is {options.k}, but the catalogue has only {len(self.catalogue):,} items; use a smaller k")
        self.events = Events.build(workspace.table("interactions"), self.catalogue)

    def run(self) -> Rankings:
        """Rank all cases with all systems.

        Raises:
            QueryError: The data yields no cases.
            FormatError: The case file is invalid.
            LeakError: Test data is known before ranking.
            ModelMissingError: The LLM is not installed.
        """
        vectors = item_vectors(self.index, self.catalogue)
        split, cases, held_out, eligible = self._cases(vectors)
        training_view = TrainingView.from_workspace(self.workspace, held_out, self.index, vectors)
        checkpoint = EvaluationCheckpoint.open(self.out, self.workspace, self.settings, asdict(self.options), cases)
        self.progress("leak check", 0, 1)
        leakage.check_leaks(cases, training_view, self.workspace, split, self.options.cases or "FILE")
        self.progress("leak check", 1, 1)
        tuning, ranked_rows = self._baselines(split, cases, training_view, eligible, vectors, checkpoint)
        no_cases = np.empty(0, np.int64)
        baselines = Rankings(
            cases=cases,
            training_view=training_view,
            eligible=eligible,
            split=split,
            held_out=held_out,
            system_kinds=dict.fromkeys(ranked_rows, "baseline"),
            ranked_rows=ranked_rows,
            llm_case_indices=no_cases,
            llm_systems=frozenset(),
            tuning=tuning,
        )
        if self.options.baselines_only:
            return baselines
        llm_case_indices = _sample(len(cases), self.options.llm_cases if self.settings.llm != "none" else 0, self.options.seed)
        blends = Blends.load(training_view)
        systems = BlendSystems(self.workspace, self.settings, training_view, blends, cases, eligible, llm_case_indices, checkpoint)
        ranked = systems.rank(self.progress)
        channels = [name for name, kind in ranked.system_kinds.items() if kind == "channel" and name not in ranked.llm_systems]
        return replace(
            baselines,
            system_kinds={**baselines.system_kinds, **ranked.system_kinds},
            ranked_rows={**ranked_rows, **{name: padded_rows(lists) for name, lists in ranked.lists.items()}},
            llm_case_indices=llm_case_indices if ranked.llm_systems else no_cases,
            llm_systems=ranked.llm_systems,
            novelty={level: padded_rows(lists) for level, lists in ranked.novelty.items()},
            new_items={setting: padded_rows(lists) for setting, lists in ranked.new_items.items()},
            channel_rows={name: padded_rows(ranked.lists[name], CANDIDATE_DEPTH) for name in channels},
            blend_candidates=ranked.candidates,
            trained=blends.trained,
            llm_depths={depth: padded_rows(lists) for depth, lists in ranked.llm_depths.items()},
            llm_cost=ranked.llm_cost,
        )

    # ------------------------------------------------------------------ cases

    def _cases(self, vectors: NDArray[np.float32]) -> tuple[Split, Cases, HeldOut, EligibleItems]:
        """The test cases, from the protocol or the file, with their split, held-out data and eligible items."""
        options = self.options
        if options.cases is not None:
            split = Split("cases", options.seed, 0.0, 0.1)
            cases = case_files.load_cases(Path(options.cases), self.catalogue)
            held_out, keep_near_duplicates = protocols.held_out_for_file(cases.users, self.workspace), True
        else:
            split = protocols.resolve_split(options.split(), self.events, self.catalogue)
            scope: CandidateScope = options.scope or ("any" if options.protocol == "leave-one-out" else "new")
            sampled = protocols.sample_cases(split, self.events, self.catalogue, "test", scope)
            cases, held_out, keep_near_duplicates = sampled.cases, sampled.held_out, options.near_duplicates
        if options.target_category is not None:
            cases = self._restrict_to_category(cases, options.target_category)
        eligible = EligibleItems(self.catalogue, cases.scope)
        cases = cases.with_eligible_targets(eligible)
        is_duplicate = leakage.near_duplicates(cases, vectors)
        if is_duplicate.any():
            reason = "targets that are near-duplicates of a history item" + (" (kept)" if keep_near_duplicates else "")
            if not keep_near_duplicates:
                cases = replace(cases, targets=cases.targets.where(~is_duplicate)).with_eligible_targets(eligible)
            cases = replace(cases, exclusions={**cases.exclusions, reason: int(is_duplicate.sum())})
        if not len(cases):
            reasons = "; ".join(f"{reason}: {count:,}" for reason, count in cases.exclusions.items()) or "no user fits the protocol"
            raise QueryError(f"no cases in {options.cases or self.workspace.path} ({reasons}); try another --protocol or --scope any")
        return split, cases.take(_sample(len(cases), options.max_cases, options.seed)), held_out, eligible

    def _restrict_to_category(self, cases: Cases, name: str) -> Cases:
        """The cases with a target in a category, which they then rank; with scope `new`, without users who know the category."""
        in_category = self.catalogue.in_categories([name])
        if not in_category.any():
            raise QueryError(f"no item has the category {name!r}; names are compared case-insensitively")
        is_known = np.bincount(cases.histories.row_index, weights=in_category[cases.histories.rows], minlength=len(cases)) > 0
        targets = cases.targets.where(in_category[cases.targets.rows])
        kept = np.flatnonzero((targets.lengths > 0) & (~is_known | (cases.scope == "any")))
        return replace(cases, targets=targets, target_categories=[name] * len(cases)).take(kept)

    def _validation(self, split: Split, eligible: EligibleItems, vectors: NDArray[np.float32]) -> tuple[TrainingView, Cases]:
        """Validation cases, and the data without what is held out for them or for the test."""
        validation_split = split
        if split.protocol == "cases":
            # By another seed: the users of a file may be the test users of this one, and then no validation user would be left.
            validation_split = split.with_(protocol="users", test=0.0, seed=split.seed + CASES_SEED_OFFSET)
        sampled = protocols.sample_cases(validation_split, self.events, self.catalogue, "validation", eligible.scope)
        test_users: frozenset[str] = frozenset()
        if self.options.cases:
            test_cases = case_files.load_cases(Path(self.options.cases), self.catalogue)
            test_users = protocols.held_out_for_file(test_cases.users, self.workspace).users
        usable = np.asarray([i for i, user in enumerate(sampled.cases.users) if user not in test_users], dtype=np.int64)
        cases = sampled.cases.take(usable).with_eligible_targets(eligible)
        if self.options.target_category is not None:
            cases = self._restrict_to_category(cases, self.options.target_category)
        cases = cases.take(_sample(len(cases), MAX_VALIDATION_CASES, self.options.seed))
        held_out = replace(sampled.held_out, users=sampled.held_out.users | test_users)
        return TrainingView.from_workspace(self.workspace, held_out, self.index, vectors), cases

    # ------------------------------------------------------------------ systems

    def _baselines(
        self,
        split: Split,
        cases: Cases,
        training_view: TrainingView,
        eligible: EligibleItems,
        vectors: NDArray[np.float32],
        checkpoint: EvaluationCheckpoint,
    ) -> tuple[dict[str, Any], dict[str, NDArray[np.int32]]]:
        """The tuning record of each baseline, and its (cases, depth) item rows."""
        tuning: dict[str, Any] = {}
        ranked_rows: dict[str, NDArray[np.int32]] = {}
        validation: tuple[TrainingView, Cases] | None = None
        for done, (name, baseline) in enumerate(BASELINES.items()):
            self.progress("baselines", done, len(BASELINES))
            stored = checkpoint.load_ranking(name)
            if stored is not None:
                ranked_rows[name], tuning[name] = stored
                continue
            if name == "most popular lately" and training_view.training_data.timestamps is None:
                tuning[name] = {"left_out": "the interactions have no times, so recent popularity is undefined"}
                continue
            if validation is None:
                validation = self._validation(split, eligible, vectors)
            validation_view, validation_cases = validation
            try:
                tuned = tune(
                    baseline,
                    validation_view.training_data,
                    validation_cases,
                    eligible,
                    budget=self.options.budget,
                    seed=self.options.seed,
                )
            except MissingExtraError as error:  # the other baselines are useful without it; the report names the extra to install
                tuning[name] = {"left_out": str(error)}
                continue
            scorer = baseline.fit(training_view.training_data, tuned.config)
            ranked_rows[name] = rank(scorer, cases, eligible, RANKING_DEPTH, seed=self.options.seed)
            tuning[name] = {
                "config": asdict(tuned.config) if tuned.config is not None else {},
                "trials": tuned.trials,
                "validation_cases": len(validation_cases),
            }
            checkpoint.save_ranking(name, ranked_rows[name], tuning[name])
        self.progress("baselines", len(BASELINES), len(BASELINES))
        return tuning, ranked_rows


def padded_rows(lists: Sequence[Sequence[int]], depth: int = RANKING_DEPTH) -> NDArray[np.int32]:
    """Return (lists, depth) item rows, truncated to the depth or padded with -1."""
    rows = np.full((len(lists), depth), -1, dtype=np.int32)
    for i, ranking in enumerate(lists):
        rows[i, : len(ranking)] = list(ranking)[:depth]
    return rows


def _sample(count: int, size: int | None, seed: int) -> NDArray[np.int64]:
    """At most `size` of the numbers below `count`, sampled at random, ascending; None for all."""
    if size is None or size >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, size, replace=False)).astype(np.int64)
