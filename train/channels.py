"""What a blend stands on beside counts: graph, text heads and factors, each learned from what is known, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.errors import TrainingError
from ..data.splits import HeldOut
from ..eval.baselines.registry import Baseline
from ..eval.baselines.tuning import tune
from ..eval.splits.cases import EligibleItems
from ..eval.splits.protocols import OrderedEvents, first_in_category
from ..eval.splits.training_view import TrainingView
from ..retrieval.channels import complement_heads, matrix_factorization
from ..retrieval.channels.complement_heads import ComplementHeads
from ..retrieval.channels.matrix_factorization import MatrixFactorization
from ..retrieval.graph.model import GraphChannel, GraphConfig, GraphModel
from ..retrieval.items.ragged import Runs
from .out_of_fold import entries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..data.workspace import Workspace
    from ..eval.splits.training_data import TrainingData
    from ..retrieval.channels.base import Channel

PAIRS = 40_000
"""Examples for the text heads, at most; those that lead to another category come first."""
PENALTIES = (30.0, 10.0, 100.0)
"""Of the factors, tried on shoppers held back: how much to shrink hangs on how many had an item, more than all else that can be set."""
TRYING, TRIED = 0.1, 500
"""Share of the users that are held back for it, and questions that they are asked at most."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Parts:
    """What is trained before the blend, each None where it could not be: heads of the text channel, the graph; and the factors."""

    heads: Mapping[str, NDArray[np.float32]] | None
    heads_figures: Mapping[str, Any]
    graph: GraphModel | None
    factors: matrix_factorization.ItemFactors
    left_out: Mapping[str, str]

    def channels(self, known: TrainingView) -> dict[str, Channel]:
        """All channels beyond the three that every store has, knowing only what is known."""
        further = dict(known.full_catalogue_channels)
        further["factors"] = MatrixFactorization(self.factors.items, self.factors.config)
        if self.heads is not None:
            further["complements"] = ComplementHeads.from_weights(self.heads, known.vectors)
        if self.graph is not None:
            further["graph"] = GraphChannel(self.graph)
        return further


@dataclass(frozen=True)
class Recipe:
    """How the parts are made.

    Attributes: tried: penalties of the factors with what they came to, see `shrinkage`. about: what the cards say of the data.
    """

    seed: int
    graph: GraphConfig
    factors: matrix_factorization.FactorizationConfig
    tried: Sequence[Mapping[str, float]]
    about: Mapping[str, Any]


def train_parts(workspace: Workspace, known: TrainingView, recipe: Recipe, progress: Progress) -> Parts:
    """The parts of what is known; what cannot be learned is left out, with the reason."""
    from ..retrieval.graph.trainer import train_graph

    left_out: dict[str, str] = {}
    heads: Mapping[str, NDArray[np.float32]] | None = None
    figures: Mapping[str, Any] = {}
    graph: GraphModel | None = None
    fitted = matrix_factorization.fit_factors(known.training_data.histories, known.vectors, recipe.factors)
    try:
        heads, figures = _heads(known, recipe.seed, progress)
    except TrainingError as error:
        left_out["complements"] = str(error)
    try:
        relations = workspace.table("relations")
        graph = train_graph(
            known.interactions,
            known.events,
            known.catalogue,
            known.vectors,
            recipe.graph,
            relations=relations if len(relations) else None,
            about=recipe.about,
            progress=progress,
        )
    except TrainingError as error:
        left_out["graph"] = str(error)
    return Parts(heads, figures, graph, fitted, left_out)


def shrinkage(
    workspace: Workspace, known: TrainingView, held_out: HeldOut, seed: int
) -> tuple[matrix_factorization.FactorizationConfig, list[dict[str, float]]]:
    """How the factors are best shrunk, going by shoppers held back from what is known; with every trial, none where nobody can be asked."""
    usual = matrix_factorization.FactorizationConfig(seed=seed)
    cases = entries(known, seed)
    people = np.unique(np.asarray(cases.users, dtype=object))
    draw = np.random.default_rng([seed, 4])
    back = frozenset(draw.permutation(people)[: max(1, round(TRYING * len(people)))].tolist())
    asked = draw.permutation(np.flatnonzero([user in back for user in cases.users]))[:TRIED]
    if not len(asked):
        return usual, []
    rest = TrainingView.from_workspace(
        workspace, HeldOut(held_out.users | back, held_out.pairs, held_out.moment), known.index, known.vectors, known.text_neighbors
    )
    tried = Baseline(_Scorer, [replace(usual, penalty=penalty) for penalty in PENALTIES])
    chosen = tune(tried, rest.training_data, cases.take(np.sort(asked)), EligibleItems(rest.catalogue, "new"), seed=seed)
    return chosen.config, [{"penalty": one["config"]["penalty"], "ndcg@10": one["ndcg@10"]} for one in chosen.trials]


class _Scorer:
    """The factors as a baseline is asked."""

    def __init__(self, training: TrainingData, config: matrix_factorization.FactorizationConfig) -> None:
        self.channel = MatrixFactorization(matrix_factorization.fit_factors(training.histories, training.vectors, config).items, config)

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        return self.channel.scores_of(histories)


def _heads(known: TrainingView, seed: int, progress: Progress) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """The heads' weights, learned from what known users went on to, in other categories and in the same."""
    events = OrderedEvents.from_events(known.events, seed)
    category = known.catalogue.category
    begin = events.starts[events.user]
    after = np.flatnonzero(np.arange(len(events.row)) > begin)
    enters = first_in_category(events, category)[after]
    draw = np.random.default_rng(seed)
    across, within = after[enters], after[~enters]
    across = across if len(across) <= PAIRS else draw.choice(across, PAIRS, replace=False)
    within = within if len(within) <= PAIRS - len(across) else draw.choice(within, PAIRS - len(across), replace=False)
    chosen = np.sort(np.concatenate([across, within]))
    lengths = np.minimum(chosen - begin[chosen], complement_heads.MAX_HISTORY)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = events.row[np.arange(starts[-1]) - np.repeat(starts[:-1], lengths) + np.repeat(chosen - lengths, lengths)]
    config = complement_heads.ComplementConfig(seed=seed)
    return complement_heads.train_heads(Runs(starts, rows), events.row[chosen], known.vectors, category, config, progress)
