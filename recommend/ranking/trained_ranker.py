"""What training made, in use: the further channels and the learned blend over one workspace."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from .llm_reranker import load_llm_weight
from .llm_weight import NO_LLM_WEIGHT, LLMWeight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.workspace import Workspace
    from ...retrieval.associations.rules import Associations
    from ...retrieval.channels.base import CandidateQuery, Channel
    from ...retrieval.index.vector_index import VectorIndex
    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.retriever import Proposals
    from ..profiles.profile import Profile

logger = logging.getLogger(__name__)
CANDIDATES_PER_CHANNEL = 100
"""Candidates of each channel that a learned blend orders."""
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
"""Whose history item is named as the one behind a candidate, the first that has one: what can be shown goes before what is only likely."""


@dataclass(frozen=True)
class ScoredCandidates:
    """Candidates of one query, scored by the blend.

    Attributes:
        found: what the channels proposed. scores: (candidates,) of the blend, 0 for an average candidate.
        values: (candidates, features) that the model was given. model: the blend.
        margins: (candidates,) of the LLM, in nats, nan for what it did not read. added: (candidates,) what its vote adds to the scores.
            None where it was not asked.
    """

    proposals: Proposals
    scores: NDArray[np.float64]
    features: NDArray[np.float32]
    model: BlendModel
    logit_margins: NDArray[np.float32] | None = None
    llm_contributions: NDArray[np.float64] | None = None

    def contributions_by_channel(self, index: int) -> dict[str, float]:
        """What each channel, the profile and the LLM add to a candidate's score, the largest first."""
        total: dict[str, float] = (
            {}
            if self.llm_contributions is None or not self.llm_contributions[index]
            else {LLM_CHANNEL: float(self.llm_contributions[index])}
        )
        for name, part in zip(
            self.model.feature_names, self.model.contributions(self.features[index : index + 1])[0].tolist(), strict=True
        ):
            group = name.split(":")[0]
            total[group] = total.get(group, 0.0) + part
        return dict(sorted(total.items(), key=lambda pair: -abs(pair[1])))

    def positive_contributions(self, rows: Sequence[int]) -> dict[int, dict[str, float]]:
        """Row of a candidate to the share of what speaks for it, 0 to 1, that each channel makes; what speaks against it is not there."""
        place = {row: place for place, row in enumerate(self.proposals.rows.tolist())}
        found = {}
        for row in rows:
            speaks = {name: part for name, part in self.contributions_by_channel(place[row]).items() if part > 0}
            found[row] = {name: part / sum(speaks.values()) for name, part in speaks.items()}
        return found


class BlendRanker:
    """The learned blend of a workspace."""

    def __init__(self, retriever: Retriever, model: BlendModel, llm_weight: LLMWeight = NO_LLM_WEIGHT) -> None:
        """Args: vote: what the LLM counts, if it is asked."""
        self.retriever, self.model, self.llm_weight = retriever, model, llm_weight
        self.feature_extractor = FeatureExtractor(retriever.catalogue, ["semantic", "associations", "popularity", *retriever.further])

    @classmethod
    def load(cls, workspace: Workspace, catalogue: Catalogue, index: VectorIndex, associations: Associations) -> BlendRanker | None:
        """What was trained of a workspace, None if nothing was.

        The channels count the snapshot of today: what was learned is how to weigh them, and holds for other items and shoppers too.

        Raises: StaleIndexError: it cannot be read, or was trained on another embedder's vectors.
        """
        models = learned_blend.load_models(workspace.path)
        if models is None:
            return None
        vectors = item_vectors(index, catalogue)
        events = Events.build(workspace.table("interactions"), catalogue)
        known = len(workspace.table("items"))  # others were added since, and come behind
        further = {**behavioural.behavioural_channels(events, len(catalogue), TextNeighbors(vectors)), "semantic": TextSimilarity(vectors)}
        model = models["blend"]
        try:
            further |= trained_channels(workspace, catalogue.ids, vectors, known=known)
        except StaleTrainingError as error:
            # New data came in since: what was learned of single items is out of date, how the other channels are weighed is not.
            logger.warning("the graph is left out: %s", error)
            model = models["blend without graph"]
            further |= trained_channels(workspace, catalogue.ids, vectors, graph=False)
        return cls(Retriever(catalogue, index, associations, further), model, load_llm_weight(workspace.path))

    def rank(
        self,
        seeds: CandidateQuery,
        profile: Profile,
        eligible: NDArray[np.bool_],
        *,
        other_than_anchor: bool = False,
        also: NDArray[np.bool_] | None = None,
    ) -> ScoredCandidates:
        """The candidates of a query with their scores. Args: as `Retriever.propose` has them."""
        found = self.retriever.propose(seeds, eligible, CANDIDATES_PER_CHANNEL, other_than_anchor=other_than_anchor, also=also)
        values = self.model.select_features(self.feature_extractor.features(found, profile))
        return ScoredCandidates(found, self.model.scores(values), values, self.model)

    def candidates(self, ranked: ScoredCandidates, seeds: CandidateQuery) -> list[tuple[Candidate, float]]:
        """The candidates, as they were found, each with its score from 0 to 1, where 0.5 is an average candidate."""
        return [self.candidate(ranked, place, seeds) for place in range(len(ranked.scores))]

    def candidate(self, ranked: ScoredCandidates, index: int, seeds: CandidateQuery) -> tuple[Candidate, float]:
        """The candidate at a place, with its score as `candidates` has it."""
        told = _candidate(ranked.proposals, index, seeds, self.retriever.catalogue)
        if ranked.logit_margins is not None and np.isfinite(ranked.logit_margins[index]):
            told = replace(told, scores={**told.scores, LLM_CHANNEL: round(float(ranked.logit_margins[index]), 4)})
        return told, sigmoid(float(ranked.scores[index]))


def sigmoid(score: float) -> float:
    """A score of the blend, of any size, as one from 0 to 1: 1 / (1 + exp(-score))."""
    return float(1 / (1 + np.exp(-np.clip(score, -30, 30))))


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


def _candidate(found: Proposals, place: int, seeds: CandidateQuery, catalogue: Catalogue) -> Candidate:
    scores: Mapping[str, float] = {name: round(float(scores[place]), 4) for name, scores in found.scores.items() if scores[place] > 0}
    behind = (int(found.places[name][place]) for name in ANCHOR_CHANNELS if name in scores)
    anchor = next((at for at in behind if at >= 0), -1)
    return Candidate(catalogue.id(int(found.rows[place])), scores, catalogue.id(int(seeds.rows[anchor])) if anchor >= 0 else None)
