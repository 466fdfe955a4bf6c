"""The tuned LLM over a workspace's learned order: it reads the best candidates with what is known of them, and its vote moves them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import ModelMissingError, StaleAdapterError
from ...llm.models import adapters, bundled
from ...llm.models.language_model import LanguageModel
from ...llm.models.model_source import fingerprint
from ...llm.ranking.ranker import Ranker
from . import candidate_facts
from .llm_weight import LLM_RERANK_DEPTH, NO_LLM_WEIGHT, LLMWeight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.settings import Settings
    from ...retrieval.associations.rules import Associations
    from ...retrieval.channels.base import CandidateQuery
    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.retriever import CandidateScores
    from .ranked_candidates import ScoredCandidates

RANKER_FOLDER, EXPLAINER_FOLDER = "adapter", "explainer"
"""Where a workspace keeps the adapter that ranks, and the one that words reasons."""


@dataclass(frozen=True)
class LLMReranker:
    """What reads candidates: the ranker, and the catalogue and associations that its facts come from."""

    ranker: Ranker
    catalogue: Catalogue
    associations: Associations

    def logit_margins(
        self, found: CandidateScores, places: NDArray[np.int64], seeds: CandidateQuery, scores: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """(places,) the LLM's margins, in nats, of the candidates at some places. Args: scores: (candidates,) of the blend without it."""
        rows, records = found.rows[places], self.catalogue.records
        pairs = candidate_facts.anchor_pair_counts(found, seeds, self.associations)[places]
        of_order = ranks(scores)[places] if self.ranker.prompt.version >= candidate_facts.RANK_PROMPT_VERSION else None
        told = candidate_facts.fact_sentences(pairs, self.catalogue.users[rows], self.catalogue, of_order)
        return self.ranker.scores(records(seeds.rows.tolist()), None, records(rows.tolist()), told)

    def rerank(self, ranked: ScoredCandidates, seeds: CandidateQuery, llm_weight: LLMWeight) -> ScoredCandidates:
        """The candidates with the vote added to the score of the `READ` that were highest."""
        places = rerank_indices(ranked.scores)
        margins, added = np.full(len(ranked.scores), np.nan, np.float32), np.zeros(len(ranked.scores))
        margins[places] = self.logit_margins(ranked.proposals, places, seeds, ranked.scores)
        added[places] = llm_weight.contributions(margins[places])
        return replace(ranked, scores=ranked.scores + added, logit_margins=margins, llm_contributions=added)


def rerank_indices(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """(at most `READ`,) the places of the highest scores, highest first."""
    return np.argsort(-scores, kind="stable")[:LLM_RERANK_DEPTH]


def ranks(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """(candidates,) the place of each by score, 1 the highest."""
    found = np.empty(len(scores), dtype=np.int64)
    found[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return found


def load_llm_weight(workspace: Path) -> LLMWeight:
    """What the LLM counts in a workspace's learned order: 0 where no adapter was trained, or none that measured better.

    Raises: ModelError: the adapter's card cannot be read.
    """
    folder = workspace / RANKER_FOLDER
    if not folder.exists():
        return NO_LLM_WEIGHT
    told = adapters.read_card(folder).get("vote")
    return LLMWeight(float(told["weight"])) if isinstance(told, dict) and isinstance(told.get("weight"), int | float) else NO_LLM_WEIGHT


def add_writer(llm: LanguageModel, workspace: Path, settings: Settings) -> None:
    """Teaches a model to word reasons by the workspace's own adapter, or by the one that ships, if that is for this model.

    Raises: StaleAdapterError: the workspace's adapter was trained on another model. ModelError: it is damaged.
    """
    base = fingerprint(settings.llm, settings.home)
    own = workspace / EXPLAINER_FOLDER
    if (own / adapters.CARD).exists():
        llm.load_explainer_adapter(own, base)
        return
    with contextlib.suppress(ModelMissingError, StaleAdapterError):  # another model has not learned it, and chooses among phrasings
        llm.load_explainer_adapter(bundled.EXPLAINER_ADAPTER, base)


def load_llm(workspace: Path, settings: Settings) -> LanguageModel:
    """The LLM of the settings with the workspace's adapter, or as it is where that was merged into it.

    Raises: StaleAdapterError: the adapter was trained on another model. ModelMissingError, ModelError: see `LanguageModel.load`.
    """
    folder = workspace / RANKER_FOLDER
    return LanguageModel.load(settings, None if adapters.is_merged_from(Path(settings.llm).expanduser(), folder) else folder)
