"""The product's systems: each channel, the LLM, the blend, and the blend without each of them.

A channel ranks its own candidates, a blend the candidates of all channels. The blend is the trained one of the workspace; in an untrained
workspace it is the prior, over default channels that are fitted to what is not held out. If a fine-tuned LLM has a weight above 0, the
blend and its ablations include it and cover only the cases that the LLM scores, while `blend without llm` covers all cases. If its weight
is 0, the blends are unaffected. `llm zero-shot` is the same LLM with the same prompt but without the adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...llm.models.language_model import LanguageModel
from ...llm.ranking.ranker import Ranker
from ...recommend.constraints.list_selection import reserve_new_item_slots
from ...recommend.constraints.popularity_penalty import PENALTY_LEVELS, penalized_order
from ...recommend.profiles.profile import ItemAttributes, purchase_profile
from ...recommend.ranking import learned_blend
from ...recommend.ranking.blend_ranker import CANDIDATES_PER_CHANNEL, trained_channels
from ...recommend.ranking.features import FeatureExtractor
from ...recommend.ranking.llm_loading import RANKER_FOLDER, load_llm_weight, load_ranking_llm
from ...recommend.ranking.llm_reranker import LLMReranker, rerank_indices
from ...recommend.ranking.llm_weight import NO_LLM_WEIGHT
from ...recommend.ranking.prior import load_prior, with_channels
from ...retrieval.channels import declared_relations
from ...retrieval.channels.base import BUILTIN_CHANNELS, CachedChannel, TrainingContext
from ...retrieval.trainable_channels import DEFAULT_CHANNELS, train_channels
from ..splits import leakage
from .checkpoints import EvaluationCheckpoint, LogitMarginLog
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

ZERO_SHOT = "llm zero-shot"
"""Name of the LLM without its adapter in a report."""
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
    """

    lists: Mapping[str, Sequence[Sequence[int]]]
    system_kinds: Mapping[str, str]
    llm_systems: frozenset[str]
    novelty: Mapping[float, Sequence[Sequence[int]]]
    new_items: Mapping[tuple[int, int], Sequence[Sequence[int]]]
    candidates: Sequence[Sequence[int]] = ()


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
            llm_case_indices: Cases that the LLM scores: those of a workspace that is untrained, or has a fine-tuned LLM.
            checkpoint: Checkpoint with the LLM's logit margins.

        Raises:
            ModelError: The adapter's card cannot be read.
        """
        self.workspace, self.settings, self.models, self.cases, self.eligible = workspace, settings, blends.models, cases, eligible
        channels = {name: CachedChannel(channel) for name, channel in blends.channels.items()}
        self.retriever = training_view.with_channels(channels)
        self.features = FeatureExtractor(training_view.catalogue, [*BUILTIN_CHANNELS, *channels])
        self.has_adapter = blends.trained and (workspace.path / RANKER_FOLDER).exists()
        self.llm_weight = load_llm_weight(workspace.path) if self.has_adapter else NO_LLM_WEIGHT
        self.llm_cases = frozenset(llm_case_indices.tolist() if self.has_adapter or not blends.trained else [])
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
        blend_candidates: list[Sequence[int]] = []
        stage = "channels, blends and LLM" if self.llm_cases else "channels and blends"
        with LogitMarginLog(self.checkpoint, "tuned") as tuned_log, LogitMarginLog(self.checkpoint, "zero-shot") as zero_shot_log:
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
                rankings = {name: _by_score(deep.rows, values, values > 0, CANDIDATE_DEPTH) for name, values in deep.scores.items()}
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
                    llm_rankings = self._rank_with_llm(case, candidates, query, scores, tuned_log, zero_shot_log)
                    llm_systems |= llm_rankings.keys()
                    rankings |= llm_rankings
                for name, rows in rankings.items():
                    lists.setdefault(name, []).append(rows)
        progress(stage, len(self.cases), len(self.cases))
        channels = dict.fromkeys([*deep.scores, *(name for name in (LLM, ZERO_SHOT) if name in lists)], "channel")
        kinds = channels | {name: "blend" if name == BLEND else "ablation" for name in lists if name.startswith(BLEND)}
        return RankedLists(lists, kinds, frozenset(llm_systems), novelty, new_items, blend_candidates)

    def _rank_with_new_items(self, query: CandidateQuery, profile: Profile, mask: NDArray[np.bool_], max_users: int) -> list[int]:
        """The blend's ranking of candidates that include all eligible items with at most `max_users` users, as in serving."""
        is_new = mask & (self.retriever.catalogue.users <= max_users)
        candidates = self.retriever.propose(query, mask, CANDIDATES_PER_CHANNEL, also=is_new)
        model = self.models[BLEND]
        scores = model.scores(model.select_features(self.features.features(candidates, profile)))
        return [int(row) for row in candidates.rows[np.argsort(-scores, kind="stable")]]

    def _rank_without_llm(self, candidates: CandidateScores, scores: Mapping[str, NDArray[np.float64]]) -> dict[str, list[int]]:
        """The rankings of the blends without the LLM."""
        if not self.llm_cases or not self.has_adapter:
            return {name: _by_score(candidates.rows, values) for name, values in scores.items()}
        blends = {} if self.llm_weight.weight > 0 else {name: _by_score(candidates.rows, values) for name, values in scores.items()}
        return {**blends, blend_without(LLM): _by_score(candidates.rows, scores[BLEND])}

    def _rank_with_llm(
        self,
        case: int,
        candidates: CandidateScores,
        query: CandidateQuery,
        scores: Mapping[str, NDArray[np.float64]],
        tuned_log: LogitMarginLog,
        zero_shot_log: LogitMarginLog,
    ) -> dict[str, list[int]]:
        """The rankings of one case by the systems that need the LLM."""
        pools = {name: rerank_indices(values) for name, values in scores.items() if self.llm_weight.weight > 0 or name == BLEND}
        blend_pool = pools[BLEND]
        all_pools = np.unique(np.concatenate(list(pools.values())))
        zero_shot = self._logit_margins(case, candidates, blend_pool, query, scores[BLEND], zero_shot_log, zero_shot=True)
        pool_rows = candidates.rows[blend_pool]
        lists = {ZERO_SHOT: _by_score(pool_rows, np.asarray([zero_shot[row] for row in pool_rows.tolist()]))}
        if not self.has_adapter:
            return lists
        margins = self._logit_margins(case, candidates, all_pools, query, scores[BLEND], tuned_log, zero_shot=False)
        lists[LLM] = _by_score(pool_rows, np.asarray([margins[row] for row in pool_rows.tolist()]))
        if self.llm_weight.weight > 0:
            for name, pool in pools.items():
                pool_margins = np.asarray([margins[row] for row in candidates.rows[pool].tolist()])
                combined = scores[name].copy()
                combined[pool] += self.llm_weight.contributions(pool_margins)
                lists[name] = _by_score(candidates.rows, combined)
        return lists

    def _logit_margins(
        self,
        case: int,
        candidates: CandidateScores,
        pool: NDArray[np.int64],
        query: CandidateQuery,
        scores: NDArray[np.float64],
        log: LogitMarginLog,
        *,
        zero_shot: bool,
    ) -> dict[int, float]:
        """The LLM's logit margins of a pool of candidates, by item row.

        Args:
            case: Index of the case.
            candidates: Candidates of the case.
            pool: Indices of the candidates to score.
            query: Query of the case.
            scores: (candidates,) scores of the blend, which order the candidates in the prompt.
            log: Log to read the margins from and write them to.
            zero_shot: Whether to score without the adapter.
        """

        def compute() -> dict[int, float]:
            reranker = self._zero_shot_reranker if zero_shot else self._tuned_reranker
            catalogue = self.retriever.catalogue
            prompt, _ = reranker.ranker.prompt_parts(catalogue.records(query.rows.tolist()), None)
            leakage.check_prompts(self.cases, {case: prompt}, catalogue)
            margins = reranker.logit_margins(candidates, pool, query, scores)
            return dict(zip(candidates.rows[pool].tolist(), (float(margin) for margin in margins), strict=True))

        return log.get(case, compute)

    @cached_property
    def _llm(self) -> LanguageModel:
        return load_ranking_llm(self.workspace.path, self.settings) if self.has_adapter else LanguageModel.load(self.settings)

    @cached_property
    def _tuned_reranker(self) -> LLMReranker:
        return LLMReranker(Ranker(self._llm), self.retriever.catalogue, self.retriever.associations)

    @cached_property
    def _zero_shot_reranker(self) -> LLMReranker:
        return LLMReranker(Ranker(self._llm, use_adapter=False), self.retriever.catalogue, self.retriever.associations)


def _by_score(
    rows: NDArray[np.int64], scores: NDArray[np.floating], selected: NDArray[np.bool_] | None = None, depth: int = RANKING_DEPTH
) -> list[int]:
    """At most `depth` of the selected item rows by descending score; ties keep their order."""
    if selected is not None:
        rows, scores = rows[selected], scores[selected]
    return [int(row) for row in rows[np.argsort(-scores, kind="stable")][:depth]]
