"""Retrieves and scores candidates with the channels and the learned blend of a workspace, or with the prior of the blend."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...data.records import Candidate
from ...retrieval.channels import behavioural, declared_relations
from ...retrieval.channels.base import BUILTIN_CHANNELS
from ...retrieval.channels.channel_configs import DEFAULT_CONFIGS
from ...retrieval.channels.text_similarity import TextNeighbors, TextSimilarity
from ...retrieval.default_channels import load_default_channels
from ...retrieval.index.builder import item_vectors
from ...retrieval.items.relations import DeclaredRelations
from ...retrieval.retriever import Retriever
from ...retrieval.snapshot_view import SnapshotView
from ...retrieval.trainable_channels import LoadedChannels, load_trained_channels
from . import learned_blend
from .features import LLM_CHANNEL, FeatureExtractor
from .learned_blend import BlendModel
from .prior import load_prior, with_channels
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
    "relations",
    "associations",
    "sequential",
    "co_occurrence",
    "text_smoothed",
    "item_knn",
    "user_knn",
    "random_walk",
    "item_regression",
    "factors",
    "graph",
    "complements",
    "semantic",
    "popularity",
    "category_popularity",
)
"""Channels in the order in which they determine the anchor (the history item behind a candidate): the first with an anchor is used.
Channels with a fact that an explanation can show, a declared relation or counts, come first."""


class BlendRanker:
    """Candidates scored by the learned blend of a workspace, or by the prior where none is trained."""

    def __init__(self, retriever: Retriever, model: BlendModel, *, trained: bool = True) -> None:
        """A ranker over a retriever that has the channels of the model.

        Args:
            retriever: proposes candidates with their channel scores.
            model: scores them.
            trained: whether the model was trained on this store; otherwise it is the prior.
        """
        self.retriever, self.model, self.trained = retriever, model, trained
        self.feature_extractor = FeatureExtractor(retriever.catalogue, [*BUILTIN_CHANNELS, *retriever.further])

    @classmethod
    def load(cls, workspace: Workspace, catalogue: Catalogue, index: VectorIndex, associations: Associations) -> BlendRanker:
        """Load the blend and channels of a workspace: the trained ones, or else the prior and the default channels.

        The counting channels are computed from the current snapshot. The blend's weights transfer to items and shoppers that were added
        after training.

        Raises: StaleIndexError: a trained model cannot be read, or was trained on another embedder's vectors.
        """
        vectors = item_vectors(index, catalogue)
        view = SnapshotView(workspace, workspace.table("interactions"), catalogue, vectors)
        learned = _load_trained(view)
        model, fitted = learned or (load_prior(catalogue.users), load_default_channels(view))
        configs = learned_blend.load_channel_configs(workspace.path) if learned else DEFAULT_CONFIGS
        counted = behavioural.behavioural_channels(view.events, catalogue, TextNeighbors(vectors), configs)
        further = {**counted, "semantic": TextSimilarity(vectors), **fitted}
        relations = DeclaredRelations(workspace.table("relations"), catalogue)
        if declared_relations.NAME in model.channels and (learned or len(relations)):
            further[declared_relations.NAME] = declared_relations.DeclaredRelationsChannel.from_relations(relations)
        if learned is None:
            model = with_channels(model, [*BUILTIN_CHANNELS, *further])
        return cls(Retriever(catalogue, index, associations, further), model, trained=learned is not None)

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


def _load_trained(view: SnapshotView) -> tuple[BlendModel, Mapping[str, Channel]] | None:
    """The trained blend of a workspace and its trained channels; None if there is none, or none without the channels that are stale."""
    path = view.workspace.path
    models = learned_blend.load_models(path)
    if models is None:
        return None
    model = models["blend"]
    trained = trained_channels(view, model.channels)
    for name, error in trained.stale.items():
        # The snapshot is newer than the channel: its item embeddings are outdated, the weights of the other channels are not.
        logger.warning("the %s channel is not used: %s", name, error)
        model = models[f"blend without {name}"]
    if len(trained.stale) > 1:  # no fitted model leaves out several channels
        logger.warning("the blend is not used without %s: run `crossaisle train -w %s`", " and ".join(trained.stale), path)
        return None
    return model, trained.channels


def trained_channels(view: SnapshotView, names: Iterable[str] | None = None) -> LoadedChannels:
    """Load the trained channels of a workspace over the catalogue of a view.

    Args:
        view: the workspace and the items to score.
        names: channels to load, such as those of a blend; None for all.

    Raises: StaleIndexError: a channel cannot be read, or was trained on another embedder's vectors.
    """
    return load_trained_channels(view.workspace.path, view.served_items, names)


def _candidate(proposals: CandidateScores, index: int, query: CandidateQuery, catalogue: Catalogue) -> Candidate:
    scores: Mapping[str, float] = {name: round(float(scores[index]), 4) for name, scores in proposals.scores.items() if scores[index] > 0}
    anchor_indices = (int(proposals.anchors[name][index]) for name in (*ANCHOR_CHANNELS, *scores) if name in scores)
    anchor = next((anchor_index for anchor_index in anchor_indices if anchor_index >= 0), -1)
    return Candidate(catalogue.id(int(proposals.rows[index])), scores, catalogue.id(int(query.rows[anchor])) if anchor >= 0 else None)
