"""The systems of an evaluation that need the LLM: alone, without its adapter, and in the blend at several depths."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...data.settings import NEVER
from ...llm.models.language_model import LanguageModel
from ...llm.models.usage import measure_usage
from ...llm.ranking.ranker import Ranker
from ...llm.ranking.remote_ranker import OFFLINE_SECONDS, RemoteRanker
from ...recommend.ranking.behaviour import BehaviourReader
from ...recommend.ranking.features import FeatureMatrix
from ...recommend.ranking.llm_loading import load_measured_weight, load_ranking_llm, ranking_adapter, weight_in_use
from ...recommend.ranking.llm_reranker import LLMReranker, rerank_indices
from ...recommend.ranking.llm_weight import LLMWeight, disagreement, gate_features
from ..splits import leakage
from .system_names import BLEND, LLM, RANKING_DEPTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.settings import Settings
    from ...data.workspace import Workspace
    from ...recommend.ranking.learned_blend import BlendModel
    from ...retrieval.channels.base import CandidateQuery
    from ...retrieval.retriever import CandidateScores, Retriever
    from ..splits.cases import Cases
    from .checkpoints import LogitMarginLog

ZERO_SHOT = "llm zero-shot"
"""Name of the LLM without its adapter in a report."""
DEPTHS = (20, 50, 100)
"""Numbers of candidates at which the gain of the LLM is reported, up to the one of the settings."""


@dataclass(frozen=True)
class ScoredCase:
    """One case with its candidates, scored by the blends.

    Attributes:
        index: of the case.
        query: its history.
        candidates: of all channels.
        features: (candidates, features) of the blend.
        scores: blend to its (candidates,) scores.
    """

    index: int
    query: CandidateQuery
    candidates: CandidateScores
    features: NDArray[np.float32]
    scores: Mapping[str, NDArray[np.float64]]


@dataclass
class ReadingCost:
    """What reading cost, of the cases that were read in this run and not in an interrupted one before.

    Attributes:
        cases: number of cases.
        seconds: time that reading took.
        tokens: number of tokens that were read.
        candidates: number of candidates that were read.
    """

    cases: int = 0
    seconds: float = 0.0
    tokens: int = 0
    candidates: int = 0


@dataclass
class LLMRankings:
    """Ranks cases with the LLM of the settings.

    It reads where it has an adapter of this store, a measured or a set weight, and in a store without a trained blend.

    Attributes:
        workspace: Evaluated workspace.
        settings: Settings with the LLM, its policy, its weight and the depth.
        retriever: Candidates without what is held out.
        blend: The blend.
        trained: Whether the blend was trained on the workspace.
        cases: Test cases.
        cost: What reading cost so far.
    """

    workspace: Workspace
    settings: Settings
    retriever: Retriever
    blend: BlendModel
    trained: bool
    cases: Cases
    cost: ReadingCost = field(default_factory=ReadingCost)

    @cached_property
    def has_adapter(self) -> bool:
        """Whether the LLM has an adapter of this workspace."""
        return self.trained and ranking_adapter(self.workspace.path, self.settings) is not None

    @cached_property
    def weight(self) -> LLMWeight:
        """The weight of the LLM in the blend, as in answers."""
        return weight_in_use(self.workspace.path, self.settings, has_blend=self.trained).weight

    @cached_property
    def depth_weight(self) -> LLMWeight:
        """The weight whose gain is reported by depth: the one in answers, or else the fitted one that is not used there."""
        if not self.weight.is_zero or not self.trained or self.settings.llm_policy == NEVER or self.settings.llm_weight is not None:
            return self.weight
        measured = load_measured_weight(self.workspace.path, self.settings)
        return self.weight if measured is None else measured.weight

    @cached_property
    def reads(self) -> bool:
        """Whether the LLM reads cases at all."""
        if self.settings.llm == "none":
            return False
        if not self.trained or self.has_adapter or not self.weight.is_zero:
            return True
        return load_measured_weight(self.workspace.path, self.settings) is not None

    def rank(
        self, case: ScoredCase, tuned_log: LogitMarginLog, zero_shot_log: LogitMarginLog
    ) -> tuple[dict[str, list[int]], dict[int, list[int]]]:
        """Return the rankings of one case by the systems that need the LLM, and of the blend with the LLM by number of candidates read.

        Args:
            case: the case.
            tuned_log: margins with the adapter, if there is one.
            zero_shot_log: margins without it.

        Raises: LeakError: the prompt names a target.
        """
        depth, pools = self.settings.rerank_depth, {}
        for name, values in case.scores.items():
            if not self.weight.is_zero or name == BLEND:
                pools[name] = rerank_indices(values, depth)
        blend_pool = pools[BLEND]
        rows = case.candidates.rows[blend_pool]
        every = np.unique(np.concatenate(list(pools.values())))
        read = blend_pool if self.has_adapter else every
        zero_shot = self._logit_margins(case, read, zero_shot_log, zero_shot=True)
        lists = {ZERO_SHOT: by_score(rows, np.asarray([zero_shot[row] for row in rows.tolist()]))}
        margins = zero_shot
        if self.has_adapter:
            margins = self._logit_margins(case, every, tuned_log, zero_shot=False)
            lists[LLM] = by_score(rows, np.asarray([margins[row] for row in rows.tolist()]))
        if not self.weight.is_zero:
            lists |= {name: self._combined(case, name, pool, margins, self.weight) for name, pool in pools.items()}
        depths = {}
        if not self.depth_weight.is_zero:
            for shallow in sorted({*(value for value in DEPTHS if value <= depth), depth}):
                pool = blend_pool[:shallow]
                depths[shallow] = self._combined(case, BLEND, pool, margins, self.depth_weight)
        return lists, depths

    def _combined(self, case: ScoredCase, name: str, pool: NDArray[np.int64], margins: Mapping[int, float], weight: LLMWeight) -> list[int]:
        """The ranking of a blend with the LLM's contributions to a pool of candidates."""
        rows = case.candidates.rows[pool]
        users = self.retriever.catalogue.users[rows]
        features = gate_features(users, len(case.query.rows), disagreement(self.blend.feature_names, case.features[pool]))
        combined = case.scores[name].copy()
        combined[pool] += weight.contributions(np.asarray([margins[row] for row in rows.tolist()]), features)
        return by_score(case.candidates.rows, combined)

    def _logit_margins(self, case: ScoredCase, pool: NDArray[np.int64], log: LogitMarginLog, *, zero_shot: bool) -> dict[int, float]:
        """The LLM's logit margins of a pool of candidates, by item row. Args: zero_shot: whether to read without the adapter."""

        def compute() -> dict[int, float]:
            reranker = self._remote_reranker or (self._zero_shot_reranker if zero_shot else self._tuned_reranker)
            catalogue = self.retriever.catalogue
            prompt, _ = reranker.ranker.prompt_parts(catalogue.records(case.query.rows.tolist()), None)
            leakage.check_prompts(self.cases, {case.index: prompt}, catalogue)
            start = time.perf_counter()
            with measure_usage() as usage:
                margins = reranker.logit_margins(
                    case.candidates, pool, case.query, case.scores[BLEND], FeatureMatrix(self.blend.feature_names, case.features)
                )
            if zero_shot != self.has_adapter:  # the margins that count in the blend
                self.cost.cases += 1
                self.cost.seconds += time.perf_counter() - start
                self.cost.tokens += usage.tokens_in
                self.cost.candidates += len(pool)
            return dict(zip(case.candidates.rows[pool].tolist(), (float(margin) for margin in margins), strict=True))

        return log.get(case.index, case.candidates.rows[pool].tolist(), compute)

    def close(self) -> None:
        """Close the connections to an endpoint."""
        if (remote := self.__dict__.get("_remote")) is not None:
            remote.close()

    @cached_property
    def _remote(self) -> RemoteRanker | None:
        return RemoteRanker(self.settings.llm, str(self.settings.llm_model), seconds=OFFLINE_SECONDS) if self.settings.is_remote else None

    @cached_property
    def _remote_reranker(self) -> LLMReranker | None:
        return LLMReranker(self._remote, self.retriever.catalogue, self.retriever.associations) if self._remote else None

    @cached_property
    def _llm(self) -> LanguageModel:
        return load_ranking_llm(self.workspace.path, self.settings) if self.has_adapter else LanguageModel.load(self.settings)

    @cached_property
    def _tuned_reranker(self) -> LLMReranker:
        behaviour = BehaviourReader.of_channels(self.workspace.path, self.retriever.further)
        return LLMReranker(Ranker(self._llm), self.retriever.catalogue, self.retriever.associations, behaviour)

    @cached_property
    def _zero_shot_reranker(self) -> LLMReranker:
        return LLMReranker(Ranker(self._llm, use_adapter=False), self.retriever.catalogue, self.retriever.associations)


def by_score(
    rows: NDArray[np.int64], scores: NDArray[np.floating], selected: NDArray[np.bool_] | None = None, depth: int = RANKING_DEPTH
) -> list[int]:
    """Return at most `depth` of the selected item rows by descending score; ties keep their order."""
    if selected is not None:
        rows, scores = rows[selected], scores[selected]
    return [int(row) for row in rows[np.argsort(-scores, kind="stable")][:depth]]
