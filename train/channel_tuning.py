"""Chooses the configuration of every behavioural channel on out-of-fold questions of all kinds.

Each channel gets a grid like that of its twin among the baselines. A configuration is judged by its NDCG@10 relative to the best
configuration of each kind of question, averaged over the kinds, so that no kind with high figures decides alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.errors import TrainingError
from ..data.splits import hash_uniforms
from ..eval.splits.cases import EligibleItems
from ..recommend.profiles.profile import ItemAttributes, purchase_profile
from ..retrieval.channels.base import LazyAnchorChannel
from ..retrieval.channels.behavioural import can_count, counted_channel
from ..retrieval.channels.channel_configs import (
    DEFAULT_CONFIGS,
    CategoryPopularityChannelConfig,
    CountedConfig,
    ItemKNNConfig,
    RandomWalkConfig,
    RecentPopularityChannelConfig,
    SequentialConfig,
    TextSmoothedConfig,
    UserKNNConfig,
)
from ..retrieval.channels.item_regression import ItemRegression, ItemRegressionConfig
from ..retrieval.channels.matrix_factorization import FactorizationConfig, MatrixFactorization
from ..retrieval.trainable_channels import TRAINABLE_CHANNELS
from .questions import KINDS, Questions, sample_questions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..eval.splits.training_view import TrainingView
    from ..retrieval.channels.base import CandidateQuery, Channel, TrainingContext

VALIDATION_SHARE = 0.2
"""Share of the users that the questions are about; the channels are fitted to the others."""
QUESTIONS_PER_KIND = 200
"""Largest number of validation questions of each kind."""
TUNED_KINDS = ("entry", "whole", "cut")
"""Kinds of questions that configurations are judged by. Behaviour says nearly nothing about cold targets, and after a short history every
channel ranks best when it comes close to popularity, which is a channel of its own."""
DEPTH = 10
"""Cutoff of the NDCG."""


def _grid(kind: Callable[..., Any], **values: Sequence[Any]) -> list[Any]:
    """All combinations of the values."""
    return [kind(**dict(zip(values, combination, strict=True))) for combination in product(*values.values())]


def grid(name: str, *, order: str) -> list[Any]:
    """Return the configurations of a channel to try, the default one first.

    Args:
        name: Name of the channel.
        order: Meaning of the histories' order, see `Events`; decay with age is only tried where there is one.
    """
    decays = [1.0, 0.9] if order != "none" else [1.0]
    grids: Mapping[str, list[Any]] = {
        "item_knn": [
            *_grid(ItemKNNConfig, partner_exponent=[0.25, 0.5, 0.0], shrinkage=[0.0, 5.0], decay=decays),
            ItemKNNConfig(similarity="bm25"),
        ],
        "random_walk": _grid(RandomWalkConfig, popularity_exponent=[0.3, 0.0, 0.6], decay=decays),
        "user_knn": _grid(UserKNNConfig, rarity_exponent=[0.5, 0.0], length_exponent=[0.5, 0.25]),
        "sequential": _grid(SequentialConfig, window=[10, 3], shrinkage=[20.0, 5.0], decay=[0.8, 0.9]),
        "text_smoothed": _grid(TextSmoothedConfig, partner_exponent=[0.25, 0.0], decay=[1.0])
        if order == "none"
        else _grid(TextSmoothedConfig, decay=[0.8, 0.9]),
        "category_popularity": _grid(CategoryPopularityChannelConfig, prior=[10.0, 100.0]),
        "lately": _grid(RecentPopularityChannelConfig, days=[180, 30, 90, 3650] if order == "time" else [180]),
        MatrixFactorization.name: _grid(FactorizationConfig, penalty=[30.0, 10.0, 100.0]),
        ItemRegression.name: _grid(ItemRegressionConfig, penalty=[500.0, 100.0, 2000.0]),
    }
    return grids.get(name, [])


def tune_channels(view: TrainingView, context: TrainingContext, names: Iterable[str]) -> TrainingContext:
    """Return the context with the configurations of channels chosen on questions about validation users, and the trials.

    Without questions the default configurations are taken, and no trials.

    Args:
        view: Data to train on; the validation users are taken from it.
        context: Context of the run; a configuration that it has is kept.
        names: Names of the trainable channels; the counted ones are always tuned.
    """
    users = view.events.users
    in_validation = hash_uniforms(users.to_list(), context.seed + 2) < VALIDATION_SHARE
    fold_view = view.without_users(frozenset(users.filter(in_validation).to_list()))
    rng = context.rng(4)
    questions = sample_questions(view, in_validation, fold_view.catalogue.users, rng, QUESTIONS_PER_KIND).sampled(QUESTIONS_PER_KIND, rng)
    questions = questions.take(np.flatnonzero(np.isin(questions.kind, [KINDS.index(kind) for kind in TUNED_KINDS])).astype(np.int64))
    judge = _Judge(questions, fold_view)
    configs: dict[str, Any] = {name: config for name, config in DEFAULT_CONFIGS.items() if can_count(config, view.events)}
    trials: dict[str, Sequence[Mapping[str, float]]] = dict(context.trials)
    tuned = [name for name in (*configs, *names) if name not in context.configs]
    for done, name in enumerate(tuned):
        context.progress("tuning channels", done, len(tuned))
        options = grid(name, order=view.events.order)
        if len(options) < 2 or not len(questions):
            continue
        try:
            figures = [judge.ndcg_by_kind(_fitted(name, option, fold_view, context)) for option in options]
        except TrainingError:
            continue  # too little data for this channel: training it says so
        best = _best(np.stack(figures))
        configs[name] = options[best]
        trials[name] = [_trial(option, options, by_kind) for option, by_kind in zip(options, figures, strict=True)]
    context.progress("tuning channels", len(tuned), len(tuned))
    return replace(context, configs={**configs, **context.configs}, trials=trials)


def counted_configs(context: TrainingContext) -> dict[str, CountedConfig]:
    """Return the configurations of the counted channels of a context."""
    return {name: config for name, config in context.configs.items() if name in DEFAULT_CONFIGS}


def _fitted(name: str, config: Any, view: TrainingView, context: TrainingContext) -> Channel:
    """A channel fitted to a view with a configuration."""
    if name in DEFAULT_CONFIGS:
        return counted_channel(config, view.events, view.catalogue, view.text_neighbors)
    return TRAINABLE_CHANNELS[name].fit(view, replace(context, configs={name: config}, trials={}))


def _best(figures: NDArray[np.float64]) -> int:
    """Index of the configuration with the best mean over the kinds of NDCG relative to the best of the kind; the first of equal ones.

    Args:
        figures: (configurations, kinds) NDCG, NaN for a kind without questions.
    """
    best_of_kind = np.maximum(np.nanmax(np.where(np.isnan(figures), 0, figures), axis=0), 1e-12)
    return int(np.nanmean(figures / best_of_kind, axis=1).argmax())


def _trial(option: Any, options: Sequence[Any], by_kind: NDArray[np.float64]) -> dict[str, Any]:
    """The fields of a configuration that vary in its grid, and its NDCG@10: the mean of the kinds, and of each kind."""
    varied = [field for field in asdict(option) if len({asdict(other)[field] for other in options}) > 1]
    figures = {kind: round(float(value), 5) for kind, value in zip(TUNED_KINDS, by_kind, strict=True) if not np.isnan(value)}
    return {**{field: asdict(option)[field] for field in varied}, "ndcg@10": round(float(np.nanmean(by_kind)), 5), "by_kind": figures}


class _Judge:
    """Ranks the questions with one channel after another."""

    def __init__(self, questions: Questions, view: TrainingView) -> None:
        self.questions = questions
        eligible, attributes = EligibleItems(view.catalogue, "new"), ItemAttributes.from_catalogue(view.catalogue)
        cases = questions.cases
        self.queries: list[CandidateQuery] = [purchase_profile(cases.histories[i], attributes).candidate_query() for i in range(len(cases))]
        self.masks = [np.packbits(eligible.mask(cases, slice(i, i + 1))[0]) for i in range(len(cases))]  # an eighth of the memory
        self.discounts = 1 / np.log2(np.arange(2, DEPTH + 2))

    def ndcg_by_kind(self, channel: Channel) -> NDArray[np.float64]:
        """(tuned kinds,) mean NDCG@10 of the channel, NaN for a kind without questions."""
        ndcg = np.zeros(len(self.queries))
        for i, query in enumerate(self.queries):
            scores = channel.item_scores(query) if isinstance(channel, LazyAnchorChannel) else channel.scores(query)[0]
            rows = np.flatnonzero(np.unpackbits(self.masks[i], count=len(scores)) & (scores > 0))
            if len(rows) > DEPTH:
                rows = rows[np.argpartition(-scores[rows], DEPTH)[:DEPTH]]
            targets = self.questions.cases.targets[i]
            hits = np.isin(rows[np.argsort(-scores[rows], kind="stable")], targets)
            ndcg[i] = (hits * self.discounts[: len(hits)]).sum() / self.discounts[: len(targets)].sum()
        kinds = [self.questions.kind == KINDS.index(kind) for kind in TUNED_KINDS]
        return np.asarray([ndcg[selected].mean() if selected.any() else np.nan for selected in kinds])
