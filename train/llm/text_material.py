"""What a language model is measured on for text queries: pairs of some shoppers, and what the behaviour of the others says of them.

The factors of a store know its pairs, so the channel `text_behaviour` would look better on them than it is for a text that is new. So each
half of the shoppers gives pairs, beside factors that are fitted to the other half, and the stated item does not stand in for its own text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.splits import hash_uniforms
from ...retrieval.channels.matrix_factorization import MatrixFactorization, fit_factors
from ...retrieval.channels.text_behaviour import TextBehaviour
from ...retrieval.default_channels import FOLDER as DEFAULT_CHANNELS_FOLDER
from ...retrieval.items.ragged import RaggedArray
from ...retrieval.trainable_channels import load_trained_channels
from .pair_examples import PairEntities, leaf_codes, pair_entities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...eval.splits.training_view import TrainingView
    from ...retrieval.channels.matrix_factorization import FactorizationConfig

EntityScores = Callable[[int], "NDArray[np.floating[Any]]"]
"""Function from the number of a stated entity to the score of every entity, 0 for none."""


@dataclass(frozen=True)
class TextMaterial:
    """Pairs of items and of leaf categories, and the scores of the channel `text_behaviour` for them.

    Attributes:
        entity_sets: Items and leaf categories, of each half of the shoppers.
        behaviour: Scores of each set; empty for a store without factors, whose shoppers are not halved.
    """

    entity_sets: tuple[PairEntities, ...]
    behaviour: tuple[EntityScores, ...] = ()

    @classmethod
    def build(cls, workspace: Path, view: TrainingView, seed: int) -> TextMaterial:
        """Return the pairs and scores of a store.

        Args:
            workspace: Folder of the workspace: the factors in use name their configuration.
            view: Items and interactions.
            seed: Random seed of the halves.
        """
        config = _configuration(workspace, view)
        if config is None:
            return cls(pair_entities(view))
        users = view.events.users
        in_first = hash_uniforms(users.to_list(), seed + 3) < 0.5
        halves = [view.without_users(frozenset(users.filter(others).to_list())) for others in (~in_first, in_first)]
        entity_sets: tuple[PairEntities, ...] = ()
        behaviour: tuple[EntityScores, ...] = ()
        for fitted, paired in (halves, reversed(halves)):
            factors = fit_factors(RaggedArray(fitted.events.starts, fitted.events.row), view.vectors, config)
            channel = TextBehaviour(fitted.catalogue, view.index, partial(MatrixFactorization, factors, view.catalogue.ids))
            items, leaves = pair_entities(paired)
            entity_sets += (items, leaves)
            behaviour += _scores(channel, items, leaves)
        return cls(entity_sets, behaviour)


def _scores(channel: TextBehaviour, items: PairEntities, leaves: PairEntities) -> tuple[EntityScores, EntityScores]:
    """Scores of the items, and of the leaf categories: the mean score of their items."""
    codes = leaf_codes(channel.catalogue)
    has_leaf = codes >= 0
    sizes = np.maximum(np.bincount(codes[has_leaf]), 1)

    def of_items(item: int) -> NDArray[np.floating[Any]]:
        return channel.scores(items.vectors[item][None], excluded=frozenset({item}))[0]

    def of_leaves(leaf: int) -> NDArray[np.floating[Any]]:
        scores = channel.scores(leaves.vectors[leaf][None], excluded=frozenset(np.flatnonzero(codes == leaf).tolist()))[0]
        return np.asarray(np.bincount(codes[has_leaf], scores[has_leaf], minlength=len(sizes)) / sizes)

    return of_items, of_leaves


def _configuration(workspace: Path, view: TrainingView) -> FactorizationConfig | None:
    """The configuration of the factors in use; None for a store without any."""
    for folder in (workspace, workspace / DEFAULT_CHANNELS_FOLDER):
        channel = load_trained_channels(folder, view.served_items, [MatrixFactorization.name]).channels.get(MatrixFactorization.name)
        if isinstance(channel, MatrixFactorization):
            return channel.config
    return None
