"""The product's systems: each channel, the LLM, the blend, and the blend without each of them.

A channel ranks its own candidates, a blend the candidates of all channels. The blend is the trained one of the workspace; in an untrained
workspace it is the prior, over default channels that are fitted to what is not held out. If the LLM has a weight above 0, the blend and its
ablations include it and cover only the cases that the LLM reads, while `blend without llm` covers all cases. If its weight is 0, the
blends are unaffected. What the LLM ranks is in `llm_rankings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...recommend.constraints.list_selection import reserve_new_item_slots
from ...recommend.constraints.popularity_penalty import PENALTY_LEVELS, penalized_order
from ...recommend.profiles.profile import ItemAttributes, purchase_profile
from ...recommend.ranking import learned_blend
from ...recommend.ranking.blend_ranker import CANDIDATES_PER_CHANNEL, trained_channels
from ...recommend.ranking.features import FeatureExtractor
from ...recommend.ranking.prior import load_prior, with_channels
from ...retrieval.channels import declared_relations
from ...retrieval.channels.base import BUILTIN_CHANNELS, CachedChannel, TrainingContext
from ...retrieval.trainable_channels import DEFAULT_CHANNELS, train_channels
from .checkpoints import EvaluationCheckpoint, LogitMarginLog
from .llm_rankings import ZERO_SHOT, LLMRankings, ReadingCost, ScoredCase, by_score
from .system_names import BLEND, LLM, RANKING_DEPTH, blend_without

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.settings import Settings
    from ...data.workspace import Workspace
    from ...recommend.profiles.profile import Profile
    from ...recommend.ranking.learned_blend import BlendModel
    from ...retrieval.channels.base import CandidateQuery, Channel
    from ...retrieval.retriever import CandidateScores
    from ..splits.cases import Cases, EligibleItems
    from ..splits.training_view import TrainingView

RESERVED_SLOTS, NEW_ITEM_MAX_USERS, LIST_LENGTH = (1, 2), (0, 2), 10
"""Numbers of slots reserved for new items, largest numbers of users of a new item, and the list length they are evaluated at."""
CANDIDATE_DEPTH = 500
"""Number of candidates of each channel for candidate recall; the first `RANKING_DEPTH` are its ranking."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RankedLists:
    """Rankings of the systems.

    Attributes:
        lists: System to the item rows of each case, best first; of the LLM's cases only for systems in `llm_systems`. Those of a channel
            have up to `CANDIDATE_DEPTH` items, others up to `RANKING_DEPTH`.
        system_kinds: System to its kind (channel, blend or ablation), as in a report.
        llm_systems: Systems that need the LLM.
        novelty: Popularity penalty to the blend's rankings with it, without the LLM.
        new_items: (reserved slots, largest number of users) to the blend's top 10 with that many slots reserved for items with at most that
            many users, without the LLM.
        candidates: Item rows of each case that the blend ranks, in no particular order.
        llm_depths: Number of candidates that the LLM reads to the rankings of the LLM's cases by the blend and the LLM.
        llm_cost: What reading cost.
    """

    lists: Mapping[str, Sequence[Sequence[int]]]
    system_kinds: Mapping[str, str]
    llm_systems: frozenset[str]
    novelty: Mapping[float, Sequence[Sequence[int]]]
    new_items: Mapping[tuple[int, int], Sequence[Sequence[int]]]
    candidates: Sequence[Sequence[int]] = ()
    llm_depths: Mapping[int, Sequence[Sequence[int]]] = field(default_factory=dict)
    llm_cost: ReadingCost = field(default_factory=ReadingCost)


@dataclass(frozen=True)
class Blends:
    """The blends of a workspace, and the channels that they need over a training view.

    Attributes:
        models: System to its model: the blend, and the blend without each group of features.
        channels: Channel by name, in addition to the built-in ones.
        trained: Whether the blend was trained on the workspace; otherwise it is the prior.
    """

    models: Mapping[str, BlendModel]
    channels: Mapping[str, Channel]
    trained: bool

    @classmethod
    def load(cls, view: TrainingView) -> Blends:
        """Return the trained blends of the view's workspace, or the prior with default channels fitted to the view.

        Raises:
            StaleIndexError, StaleTrainingError: A trained model cannot be read, or was trained on another snapshot.
        """
        models = learned_blend.load_models(view.workspace.path)
        if models is None:
            return cls.untrained(view)
        trained = trained_channels(view, models[BLEND].channels).require_all()
        channels = {**view.full_catalogue_channels(learned_blend.load_channel_configs(view.workspace.path)), **trained}
        if declared_relations.NAME not in models[BLEND].channels:  # trained without: it proposes nothing in serving either
            channels.pop(declared_relations.NAME, None)
        return cls(models, channels, trained=True)

    @classmethod
    def untrained(cls, view: TrainingView) -> Blends:
        """Return the prior with default channels fitted to a view."""
        channels = {**view.full_catalogue_channels(), **train_channels(view, TrainingContext(), DEFAULT_CHANNELS).channels}
        return cls(prior_blends(load_prior(view.catalogue.users), [*BUILTIN_CHANNELS, *channels]), channels, trained=False)


def prior_blends(prior: BlendModel, channels: Sequence[str]) -> dict[str, BlendModel]:
    """Return the prior over some channels, and the prior without each of them, by system."""
    used = with_channels(prior, channels).channels
    ablations = {blend_without(name): with_channels(prior, [other for other in used if other != name]) for name in used}
    return {BLEND: with_channels(prior, used), **ablations}


class BlendSystems:
    """Ranks cases with the channels, the blends and the LLM of a workspace over a training view."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        training_view: TrainingView,
        blends: Blends,
        cases: Cases,
        eligible: EligibleItems,
        llm_case_indices: NDArray[np.int64],
        checkpoint: EvaluationCheckpoint,
    ) -> None:
        """Load the LLM's weight.

        Args:
            workspace: Evaluated workspace.
            settings: Settings with the LLM.
            training_view: Data without what is held out.
            blends: Blends to rank with.
            cases: Test cases.
            eligible: Items that the cases rank.
            llm_case_indices: Cases that the LLM reads, where it reads at all (see `LLMRankings`).
            checkpoint: Checkpoint with the LLM's logit margins.

        Raises:
            ModelError: The LLM's weight cannot be read.
        """
        self.workspace, self.settings, self.models, self.cases, self.eligible = workspace, settings, blends.models, cases, eligible
        channels = {name: CachedChannel(channel) for name, channel in blends.channels.items()}
        self.retriever = training_view.with_channels(channels)
        self.features = FeatureExtractor(training_view.catalogue, [*BUILTIN_CHANNELS, *channels])
        self.llm = LLMRankings(workspace, settings, self.retriever, blends.models[BLEND], blends.trained, cases)
        self.llm_cases = frozenset(llm_case_indices.tolist() if len(llm_case_indices) and self.llm.reads else [])
        self.checkpoint = checkpoint

    def rank(self, progress: Progress) -> RankedLists:
        """Rank all cases with all systems.

        Raises:
            ModelMissingError: The LLM is not installed.
            StaleAdapterError: The adapter was trained on another LLM.
            LeakError: A prompt names a target.
        """
        facts, user_counts = ItemAttributes.from_catalogue(self.retriever.catalogue), self.retriever.catalogue.users
        lists: dict[str, list[Sequence[int]]] = {}
        novelty: dict[float, list[Sequence[int]]] = {level: [] for level in PENALTY_LEVELS}
        new_items: dict[tuple[int, int], list[Sequence[int]]] = {
            (slots, max_users): [] for max_users in NEW_ITEM_MAX_USERS for slots in RESERVED_SLOTS
        }
        llm_systems: set[str] = set()
        llm_depths: dict[int, list[Sequence[int]]] = {}
        blend_candidates: list[Sequence[int]] = []
        stage = "channels, blends and LLM" if self.llm_cases else "channels and blends"
        with (
            closing(self.llm),
            LogitMarginLog(self.checkpoint, "tuned") as tuned_log,
            LogitMarginLog(self.checkpoint, "zero-shot") as zero_shot_log,
        ):
            for case in range(len(self.cases)):
                progress(stage, case, len(self.cases))
                mask = self.eligible.mask(self.cases, slice(case, case + 1))[0]
                profile = purchase_profile(self.cases.histories[case], facts)
                query = profile.candidate_query()
                deep = self.retriever.propose(query, mask, CANDIDATE_DEPTH)
                candidates = self.retriever.propose(query, mask, CANDIDATES_PER_CHANNEL)
                blend_candidates.append(candidates.rows.tolist())
                features = self.features.features(candidates, profile)
                scores = {name: model.scores(model.select_features(features)) for name, model in self.models.items()}
                rankings = {name: by_score(deep.rows, values, values > 0, CANDIDATE_DEPTH) for name, values in deep.scores.items()}
                rankings |= self._rank_without_llm(candidates, scores)
                for level in PENALTY_LEVELS:
                    penalized = penalized_order(scores[BLEND], user_counts[candidates.rows], level)
                    novelty[level].append(candidates.rows[penalized][:RANKING_DEPTH].tolist())
                for max_users in NEW_ITEM_MAX_USERS:
                    ranking = self._rank_with_new_items(query, profile, mask, max_users)
                    for slots in RESERVED_SLOTS:
                        new_items[slots, max_users].append(
                            reserve_new_item_slots(ranking[:LIST_LENGTH], ranking, user_counts <= max_users, slots, LIST_LENGTH)
                        )
                if case in self.llm_cases:
                    blend_features = self.models[BLEND].select_features(features)
                    scored = ScoredCase(case, query, candidates, blend_features, scores)
                    llm_rankings, by_depth = self.llm.rank(scored, tuned_log, zero_shot_log)
                    llm_systems |= llm_rankings.keys()
                    rankings |= llm_rankings
                    for depth, ranking in by_depth.items():
                        llm_depths.setdefault(depth, []).append(ranking)
                for name, rows in rankings.items():
                    lists.setdefault(name, []).append(rows)
        progress(stage, len(self.cases), len(self.cases))
        channels = dict.fromkeys([*deep.scores, *(name for name in (LLM, ZERO_SHOT) if name in lists)], "channel")
        kinds = channels | {name: "blend" if name == BLEND else "ablation" for name in lists if name.startswith(BLEND)}
        return RankedLists(lists, kinds, frozenset(llm_systems), novelty, new_items, blend_candidates, llm_depths, self.llm.cost)

    def _rank_with_new_items(self, query: CandidateQuery, profile: Profile, mask: NDArray[np.bool_], max_users: int) -> list[int]:
        """The blend's ranking of candidates that include all eligible items with at most `max_users` users, as in serving."""
        is_new = mask & (self.retriever.catalogue.users <= max_users)
        candidates = self.retriever.propose(query, mask, CANDIDATES_PER_CHANNEL, also=is_new)
        model = self.models[BLEND]
        scores = model.scores(model.select_features(self.features.features(candidates, profile)))
        return [int(row) for row in candidates.rows[np.argsort(-scores, kind="stable")]]

    def _rank_without_llm(self, candidates: CandidateScores, scores: Mapping[str, NDArray[np.float64]]) -> dict[str, list[int]]:
        """The rankings of the blends without the LLM."""
        rankings = {name: by_score(candidates.rows, values) for name, values in scores.items()}
        if not self.llm_cases:
            return rankings
        without = {blend_without(LLM): rankings[BLEND]}
        if not self.llm.weight.is_zero:
            return without
        return {**rankings, **without} if self.llm.trained else rankings
