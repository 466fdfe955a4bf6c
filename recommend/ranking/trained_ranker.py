"""Retrieves and scores candidates with the trained channels and the learned blend of a workspace."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import StaleTrainingError
from ...data.records import Candidate
from ...retrieval.channels import behavioural, complement_heads, matrix_factorization
from ...retrieval.channels.complement_heads import ComplementHeads
from ...retrieval.channels.text_similarity import TextNeighbors, TextSimilarity
from ...retrieval.graph import storage
from ...retrieval.graph.model import GraphChannel
from ...retrieval.index.builder import item_vectors
from ...retrieval.index.new_items import PaddedChannel
from ...retrieval.items.interactions import Events
from ...retrieval.retriever import Retriever
from . import learned_blend
from .features import LLM_CHANNEL, FeatureExtractor
from .learned_blend import BlendModel
from .llm_loading import load_llm_weight
from .llm_weight import NO_LLM_WEIGHT, LLMWeight
from .ranked_candidates import ScoredCandidates, sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.workspace import Workspace
    from ...retrieval.associations.rules import Associations
    from ...retrieval.channels.base import CandidateQuery, Channel
    from ...retrieval.index.vector_index import VectorIndex
    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.retriever import CandidateScores
    from ..profiles.profile import Profile

logger = logging.getLogger(__name__)
CANDIDATES_PER_CHANNEL = 100
"""Number of candidates that each channel proposes to the blend."""
ANCHOR_CHANNELS = (
    "associations",
    "follows",
    "together",
    "smoothed",
    "neighbours",
    "factors",
    "graph",
    "complements",
    "semantic",
    "popularity",
)
"""Channels in the order in which they determine the anchor (the history item behind a candidate): the first with an anchor is used.
Channels with counts that an explanation can show come first."""


class BlendRanker:
    """Candidates scored by the learned blend of a workspace."""

    def __init__(self, retriever: Retriever, model: BlendModel, llm_weight: LLMWeight = NO_LLM_WEIGHT) -> None:
        """A ranker over a retriever that has the channels of the model.

        Args:
            retriever: proposes candidates with their channel scores.
            model: scores them.
            llm_weight: weight of the LLM score, where an LLM re-ranks.
        """
        self.retriever, self.model, self.llm_weight = retriever, model, llm_weight
        self.feature_extractor = FeatureExtractor(retriever.catalogue, ["semantic", "associations", "popularity", *retriever.further])

    @classmethod
    def load(cls, workspace: Workspace, catalogue: Catalogue, index: VectorIndex, associations: Associations) -> BlendRanker | None:
        """Load the trained blend and channels of a workspace; None if no blend is trained.

        The counting channels are computed from the current snapshot. The blend's weights transfer to items and shoppers that were added
        after training.

        Raises: StaleIndexError: a model cannot be read, or was trained on another embedder's vectors.
        """
        models = learned_blend.load_models(workspace.path)
        if models is None:
            return None
        vectors = item_vectors(index, catalogue)
        events = Events.build(workspace.table("interactions"), catalogue)
        known = len(workspace.table("items"))  # items added after the snapshot have higher rows
        further = {**behavioural.behavioural_channels(events, len(catalogue), TextNeighbors(vectors)), "semantic": TextSimilarity(vectors)}
        model = models["blend"]
        try:
            further |= trained_channels(workspace, catalogue.ids, vectors, known=known)
        except StaleTrainingError as error:
            # The snapshot is newer than the graph: its item embeddings are outdated, the weights of the other channels are not.
            logger.warning("the graph channel is not used: %s", error)
            model = models["blend without graph"]
            further |= trained_channels(workspace, catalogue.ids, vectors, graph=False)
        return cls(Retriever(catalogue, index, associations, further), model, load_llm_weight(workspace.path))

    def rank(
        self,
        query: CandidateQuery,
        profile: Profile,
        eligible: NDArray[np.bool_],
        *,
        other_than_anchor: bool = False,
        also: NDArray[np.bool_] | None = None,
    ) -> ScoredCandidates:
        """Return the candidates of a query with their scores.

        Args: see `Retriever.propose`.
        """
        proposals = self.retriever.propose(query, eligible, CANDIDATES_PER_CHANNEL, other_than_anchor=other_than_anchor, also=also)
        features = self.model.select_features(self.feature_extractor.features(proposals, profile))
        return ScoredCandidates(proposals, self.model.scores(features), features, self.model)

    def candidates(self, scored: ScoredCandidates, query: CandidateQuery) -> list[tuple[Candidate, float]]:
        """Return the candidates in the order of `scored`, each with its score from 0 to 1; 0.5 is an average candidate."""
        return [self.candidate(scored, index, query) for index in range(len(scored.scores))]

    def candidate(self, scored: ScoredCandidates, index: int, query: CandidateQuery) -> tuple[Candidate, float]:
        """Return one candidate with its score from 0 to 1. Args: index: into `scored`."""
        candidate = _candidate(scored.proposals, index, query, self.retriever.catalogue)
        if scored.logit_margins is not None and np.isfinite(scored.logit_margins[index]):
            candidate = replace(candidate, scores={**candidate.scores, LLM_CHANNEL: round(float(scored.logit_margins[index]), 4)})
        return candidate, sigmoid(float(scored.scores[index]))


def trained_channels(
    workspace: Workspace, ids: Sequence[str], vectors: NDArray[np.float32], *, graph: bool = True, known: int | None = None
) -> dict[str, Channel]:
    """The channels that training made, those that there are.

    Args:
        ids: (items,) of the catalogue. vectors: (items, dimensions) of the items' texts. graph: whether that one, too.
        known: how many items are the snapshot's, the first ones; None is all.
    Raises: StaleIndexError, StaleTrainingError: they were trained on another embedder's vectors, or on another snapshot.
    """
    found: dict[str, Channel] = {}
    heads = complement_heads.load_heads(workspace.path, vectors.shape[1])
    if heads is not None:
        found["complements"] = ComplementHeads.from_weights(heads, vectors)
    fitted = matrix_factorization.load_factors(workspace.path, ids, vectors)
    if fitted is not None:
        found["factors"] = fitted
    if graph and (workspace.path / storage.FOLDER).exists():
        about = {"snapshot": workspace.manifest.snapshot}
        old = len(vectors) if known is None else known
        channel = GraphChannel(storage.load_graph(workspace.path, dimensions=vectors.shape[1], items=old, about=about))
        found["graph"] = channel if old == len(vectors) else PaddedChannel(channel, old, len(vectors))
    return found


def _candidate(found: CandidateScores, place: int, seeds: CandidateQuery, catalogue: Catalogue) -> Candidate:
    scores: Mapping[str, float] = {name: round(float(scores[place]), 4) for name, scores in found.scores.items() if scores[place] > 0}
    behind = (int(found.places[name][place]) for name in ANCHOR_CHANNELS if name in scores)
    anchor = next((at for at in behind if at >= 0), -1)
    return Candidate(catalogue.id(int(found.rows[place])), scores, catalogue.id(int(seeds.rows[anchor])) if anchor >= 0 else None)
