"""One evaluation from a workspace to its figures, step by step, each step checkpoint so that a killed run goes on where it was.

cases -> held out -> leak check -> baselines tuned and ranked -> channels and blends ranked -> LLM read -> figures (`report`)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import MissingExtraError, QueryError
from ...data.settings import Settings
from ...data.splits import PROTOCOLS, HeldOut, Protocol, Split
from ...data.workspace import Workspace
from ...recommend.ranking import learned_blend
from ...retrieval.index.builder import item_vectors, load
from ...retrieval.items.interactions import Events
from ..baselines.registry import BASELINES
from ..baselines.tuning import DEFAULT_BUDGET, tune
from ..metrics.full_ranking import rank
from ..splits import cases as case_files
from ..splits import leakage, protocols
from ..splits.cases import CandidateScope, Cases, EligibleItems
from ..splits.training_view import TrainingView
from . import channel_systems
from .checkpoints import EvaluationCheckpoint, LogitMarginLog
from .trained_systems import TrainedSystems

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...llm.ranking.ranker import Ranker

Progress = Callable[[str, int, int], None]
MAX_VALIDATION_CASES = 1000
"""Validation cases that baselines are tuned on, at most."""


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What is evaluated.

    Attributes:
        protocol: see `protocols`. cases: a file of cases instead. seed: of everything drawn.
        scope: `new` ranks what is outside the history's categories, `any` what is outside the history; None is what the protocol is for.
        k: length of the lists that are judged.
        max_cases: a random part of the cases, None for all. llm_cases: of those, what the LLM reads.
        target_category: only cases with a target in it, which is then what is ranked. at: first day of the test, for `temporal`.
        near_duplicates: keep targets that are near-duplicates of a history item.
        groups: a table with user_id and other columns. group_by: the column of it that parts the users.
        budget: configurations tried of each baseline. baselines_only: leave the product's own systems out.
    """

    protocol: Protocol = "users"
    cases: str | None = None
    seed: int = 0
    scope: CandidateScope | None = None
    k: int = 10
    max_cases: int | None = 2000
    llm_cases: int = 500
    target_category: str | None = None
    at: str | None = None
    near_duplicates: bool = False
    groups: str | None = None
    group_by: str | None = None
    budget: int = DEFAULT_BUDGET
    baselines_only: bool = False


@dataclass(frozen=True)
class Rankings:
    """Everything that was ranked, ready for its figures.

    Attributes:
        tops: system to (cases, depth) rows; those of `kinds` that need the LLM are of the cases in `part` only. part: (llm cases,) numbers.
        tuned: baseline to what was chosen and tried, or why it was left out.
        novelty: level to the learned blend's (cases, depth) rows at it. new_items: (places, up to) to its rows with so many places checkpoint
            for what at most so many users had.
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


class Evaluation:
    """An evaluation of a workspace; `run` does it."""

    def __init__(
        self, workspace: Workspace, settings: Settings, out: Path, options: EvaluationOptions, progress: Progress = lambda *_: None
    ) -> None:
        """Raises: QueryError: an option out of bounds. NoIndexError, StaleIndexError: the workspace must be indexed first."""
        self.workspace, self.settings, self.out, self.options, self.tell = workspace, settings, out, options, progress
        _check(options)
        self.catalogue, self.index, _ = load(workspace, settings)
        if options.k > len(self.catalogue):
            raise QueryError(f"k is {options.k}, but the catalogue has only {len(self.catalogue):,} items; take a smaller one")
        self.events = Events.build(workspace.table("interactions"), self.catalogue)

    def run(self) -> Rankings:
        """Ranks all cases with all systems.

        Raises:
            QueryError: no case can be made. FormatError: the case file is off. LeakError: something of the test is training_view beforehand.
            ModelMissingError: the LLM was not pulled.
        """
        vectors = item_vectors(self.index, self.catalogue)
        split, cases, held_out, eligible = self._cases(vectors)
        training_view = TrainingView.from_workspace(self.workspace, held_out, self.index, vectors)
        checkpoint = EvaluationCheckpoint.open(self.out, self.workspace, self.settings, asdict(self.options), cases)
        self.tell("leak check", 0, 1)
        leakage.check_leaks(cases, training_view, self.workspace, split)
        self.tell("leak check", 1, 1)
        tuned, tops = self._baselines(split, cases, training_view, eligible, vectors, checkpoint)
        kinds = dict.fromkeys(tops, "baseline")
        if self.options.baselines_only:
            return Rankings(cases, training_view, eligible, split, held_out, kinds, tops, np.empty(0, np.int64), frozenset(), tuned)
        part = _part(len(cases), self.options.llm_cases if self.settings.llm != "none" else 0, self.options.seed)
        if models := learned_blend.load(self.workspace.path):
            ranked = TrainedSystems(self.workspace, self.settings, training_view, models, cases, eligible, part, checkpoint).rank(self.tell)
            return Rankings(
                cases,
                training_view,
                eligible,
                split,
                held_out,
                {**kinds, **ranked.system_kinds},
                {**tops, **{name: padded_rows(rows) for name, rows in ranked.lists.items()}},
                part if ranked.llm_systems else np.empty(0, np.int64),
                ranked.llm_systems,
                tuned,
                {level: padded_rows(rows) for level, rows in ranked.novelty.items()},
                {way: padded_rows(rows) for way, rows in ranked.new_items.items()},
            )
        ours, with_llm = self._systems(cases, training_view, eligible, part, checkpoint)
        kinds |= channel_systems.system_kinds(llm=bool(len(part)))
        return Rankings(cases, training_view, eligible, split, held_out, kinds, {**tops, **ours}, part, with_llm, tuned)

    # ------------------------------------------------------------------ cases

    def _cases(self, vectors: NDArray[np.float32]) -> tuple[Split, Cases, HeldOut, EligibleItems]:
        options = self.options
        if options.cases is not None:
            split = Split("cases", options.seed, 0.0, 0.1)
            cases = case_files.load_cases(Path(options.cases), self.catalogue)
            held_out, keep = protocols.held_out_for_file(cases, self.events), True
        else:
            asked = Split(options.protocol, options.seed, moment=_moment(options.at))
            split = protocols.resolve_split(asked, self.events, self.catalogue)
            scope: CandidateScope = options.scope or ("any" if options.protocol == "leave-one-out" else "new")
            drawn = protocols.sample_cases(split, self.events, self.catalogue, "test", scope)
            cases, held_out, keep = drawn.cases, drawn.held_out, options.near_duplicates
        if options.target_category is not None:
            cases = self._narrowed(cases, options.target_category)
        eligible = EligibleItems(self.catalogue, cases.scope)
        cases = cases.with_eligible_targets(eligible)
        alike = leakage.near_duplicates(cases, vectors)
        told = (
            {"targets that are near-duplicates of a history item" + (" (checkpoint)" if keep else ""): int(alike.sum())}
            if alike.any()
            else {}
        )
        if alike.any() and not keep:
            cases = replace(cases, targets=cases.targets.where(~alike)).with_eligible_targets(eligible)
        cases = replace(cases, exclusions={**cases.exclusions, **told})
        if not len(cases):
            why = "; ".join(f"{what}: {n:,}" for what, n in cases.exclusions.items()) or "no user has what the protocol needs"
            raise QueryError(
                f"no case can be made of {options.cases or self.workspace.path} ({why}); try another --protocol or --scope any"
            )
        return split, cases.take(_part(len(cases), options.max_cases, options.seed)), held_out, eligible

    def _narrowed(self, cases: Cases, name: str) -> Cases:
        """The cases with a target in a category, which is then what they rank; whoever knows the category already is left out."""
        inside = self.catalogue.in_categories([name])
        if not inside.any():
            raise QueryError(f"no item has the category {name!r}; names are compared without regard to case")
        knows = np.bincount(cases.histories.owner, weights=inside[cases.histories.rows], minlength=len(cases)) > 0
        targets = cases.targets.where(inside[cases.targets.rows])
        kept = np.flatnonzero((targets.lengths > 0) & (~knows | (cases.scope == "any")))
        return replace(cases, targets=targets, target_categories=[name] * len(cases)).take(kept)

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
        tuned: dict[str, Any] = {}
        tops: dict[str, NDArray[np.int32]] = {}
        validating: tuple[TrainingView, Cases] | None = None
        for done, (name, baseline) in enumerate(BASELINES.items()):
            self.tell("baselines", done, len(BASELINES))
            earlier = checkpoint.load_ranking(name)
            if earlier is not None:
                tops[name], tuned[name] = earlier
                continue
            if name == "most popular lately" and training_view.training_data.timestamps is None:
                tuned[name] = {"left_out": "there is no clock, so nothing is recent"}
                continue
            if validating is None:
                validating = self._validation(split, eligible, vectors)
            trial, theirs = validating
            try:
                chosen = tune(baseline, trial.training_data, theirs, eligible, budget=self.options.budget, seed=self.options.seed)
            except MissingExtraError as error:  # the others are worth having without it; the report says how to get it
                tuned[name] = {"left_out": str(error)}
                continue
            tops[name] = rank(
                baseline.fit(training_view.training_data, chosen.config),
                cases,
                eligible,
                channel_systems.RANKING_DEPTH,
                seed=self.options.seed,
            )
            tuned[name] = {
                "config": asdict(chosen.config) if chosen.config is not None else {},
                "trials": chosen.trials,
                "validation_cases": len(theirs),
            }
            checkpoint.save_ranking(name, tops[name], tuned[name])
        self.tell("baselines", len(BASELINES), len(BASELINES))
        return tuned, tops

    def _validation(self, split: Split, eligible: EligibleItems, vectors: NDArray[np.float32]) -> tuple[TrainingView, Cases]:
        """Cases to tune on, and what may be training_view of them: neither theirs nor the test's."""
        drawing = split.with_(protocol="users", test=0.0) if split.protocol == "cases" else split
        drawn = protocols.sample_cases(drawing, self.events, self.catalogue, "validation", eligible.scope)
        named = (
            protocols.held_out_for_file(case_files.load_cases(Path(self.options.cases), self.catalogue), self.events)
            if self.options.cases
            else HeldOut()
        )
        mine = np.asarray([i for i, user in enumerate(drawn.cases.users) if user not in named.users], dtype=np.int64)
        theirs = drawn.cases.take(mine).with_eligible_targets(eligible)
        if self.options.target_category is not None:
            theirs = self._narrowed(theirs, self.options.target_category)
        theirs = theirs.take(_part(len(theirs), MAX_VALIDATION_CASES, self.options.seed))
        held_out = HeldOut(drawn.held_out.users | named.users, drawn.held_out.pairs, drawn.held_out.moment)
        return TrainingView.from_workspace(self.workspace, held_out, self.index, vectors), theirs

    def _systems(
        self, cases: Cases, training_view: TrainingView, eligible: EligibleItems, part: NDArray[np.int64], checkpoint: EvaluationCheckpoint
    ) -> tuple[dict[str, NDArray[np.int32]], frozenset[str]]:
        """The product's systems, untrained; those with the LLM hold only the cases in `part`."""
        wanted = set(part.tolist())
        lists: dict[str, list[Sequence[int]]] = {}
        with_llm: dict[str, list[Sequence[int]]] = {}
        stage = "channels and LLM" if wanted else "channels"
        with LogitMarginLog(checkpoint, "margins") as margins:
            for number, found in enumerate(channel_systems.find_candidates(cases, eligible, training_view.retriever)):
                self.tell(stage, number, len(cases))
                plain = channel_systems.rank_without_llm(found, training_view.retriever)
                if wanted:
                    plain = {channel_systems.blend_without(channel_systems.LLM): plain[channel_systems.blend_without(channel_systems.LLM)]}
                for name, rows in {**found.channels, **plain}.items():
                    lists.setdefault(name, []).append(rows)
                if number in wanted:
                    said = margins.get(number, lambda at=number, of=found: self._read(at, of, cases, training_view))  # type: ignore[misc]
                    for name, rows in channel_systems.rank_with_llm(found, said, training_view.retriever).items():
                        with_llm.setdefault(name, []).append(rows)
        self.tell(stage, len(cases), len(cases))
        tops = {name: padded_rows(rows) for name, rows in {**lists, **with_llm}.items()}
        return tops, frozenset(with_llm)

    def _read(self, number: int, found: channel_systems.CaseCandidates, cases: Cases, training_view: TrainingView) -> dict[int, float]:
        """What the LLM says of a case's candidates."""
        prompt, _ = self._ranker.said(training_view.catalogue.records(found.history.tolist()), None)
        leakage.check_prompts(cases, {number: prompt}, training_view.catalogue)
        return channel_systems.logit_margins(found, self._ranker, training_view.retriever)

    @cached_property
    def _ranker(self) -> Ranker:
        from ...llm.models.language_model import LanguageModel
        from ...llm.ranking.ranker import Ranker

        return Ranker(LanguageModel.load(self.settings))


def padded_rows(lists: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    found = np.full((len(lists), channel_systems.RANKING_DEPTH), -1, dtype=np.int32)
    for number, rows in enumerate(lists):
        found[number, : len(rows)] = list(rows)[: channel_systems.RANKING_DEPTH]
    return found


def _part(count: int, most: int | None, seed: int) -> NDArray[np.int64]:
    """At most so many numbers below `count`, by lot, ascending."""
    if most is None or most >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False)).astype(np.int64)


def _moment(day: str | None) -> int | None:
    if day is None:
        return None
    try:
        return int(np.datetime64(day, "D").astype("datetime64[ms]").astype(np.int64))
    except ValueError:
        raise QueryError(f"the day of --at is {day!r}; write it as 2024-01-31") from None


def _check(options: EvaluationOptions) -> None:
    if options.protocol not in PROTOCOLS:
        raise QueryError(f"--protocol is {', '.join(PROTOCOLS)}, not {options.protocol!r}")
    if options.scope not in (None, "new", "any"):
        raise QueryError(f"--scope is new or any, not {options.scope!r}")
    if options.protocol == "users" and options.scope == "any" and options.cases is None:
        raise QueryError("--protocol users asks for a category that the shopper never bought from; --scope any goes with the other two")
    if not 1 <= options.k <= channel_systems.RANKING_DEPTH:
        raise QueryError(f"k must be 1 to {channel_systems.RANKING_DEPTH}, not {options.k}")
    for name, value in (("--max-cases", options.max_cases), ("--budget", options.budget)):
        if value is not None and value < 1:
            raise QueryError(f"{name} must be 1 or more, not {value}")
    if options.llm_cases < 0:
        raise QueryError(f"--llm-cases must be 0 or more, not {options.llm_cases}")
    if options.at is not None and options.protocol != "temporal":
        raise QueryError("--at is a date for --protocol temporal")
    if (options.groups is None) != (options.group_by is None):
        raise QueryError("--groups FILE and --group-by COLUMN go together")
