"""Fits the learned blend with its chosen settings, and its ablations without one group of features each.

The settings are chosen in `blend_selection`; the fitted model and its scores are in `recommend.ranking.learned_blend`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..data.errors import TrainingError
from ..recommend.ranking.learned_blend import BlendModel
from .blend_regression import fit_regression, fit_trees
from .blend_selection import center, select_settings
from .ranking_dataset import RankingDataset

if TYPE_CHECKING:
    from ..retrieval.channels.base import TrainingContext

MIN_QUERIES = 20
"""Queries with a purchase among the candidates below which nothing is fitted and the prior stays in use."""
ENSEMBLE_SIZE, ABLATION_ENSEMBLE_SIZE = 4, 2
"""Boosted models to average, because one alone depends much on its seed; fewer for an ablation, to save time."""


def fit_models(dataset: RankingDataset, context: TrainingContext, prior: Mapping[str, float] | None = None) -> dict[str, BlendModel]:
    """Return the blend and its ablations without one group of features each, by their names in an evaluation.

    Args:
        dataset: Queries with candidates and purchases.
        context: Seed and progress of the run.
        prior: Feature to its weight in the prior; None for none.

    Raises:
        TrainingError: There are fewer than `MIN_QUERIES` queries with a purchase among their candidates.
    """
    groups = list(dict.fromkeys(name.split(":")[0] for name in dataset.feature_names))
    models = {"blend": fit_blend(dataset, seed=context.seed, prior=prior)}
    sampled = dataset.with_purchases().with_sampled_negatives(context.seed)  # sampled once for all ablations
    for done, group in enumerate(groups):
        context.progress("fitting the blend", done, len(groups))
        models[f"blend without {group}"] = fit_blend(sampled.without_group(group), seed=context.seed, prior=prior, template=models["blend"])
    context.progress("fitting the blend", len(groups), len(groups))
    return models


def fit_blend(
    dataset: RankingDataset, *, seed: int = 0, prior: Mapping[str, float] | None = None, template: BlendModel | None = None
) -> BlendModel:
    """Return the blend fitted to a dataset: a weighted sum of features, with trees where they rank validation users better.

    Args:
        dataset: Queries with candidates and purchases.
        seed: Random seed.
        prior: Feature to its weight in the prior; None for none.
        template: Model whose settings are used instead of choosing them; it may have more features.

    Raises:
        TrainingError: There are fewer than `MIN_QUERIES` queries with a purchase among their candidates.
    """
    answered = dataset.with_purchases()
    if len(answered) < MIN_QUERIES:
        raise TrainingError(
            f"only {len(answered)} queries have a purchase among their candidates, a blend needs at least {MIN_QUERIES}; "
            "ingest more interactions (until then the prior learned on other stores ranks)"
        )
    if template is None:
        settings = select_settings(answered, seed, prior)
        metrics = {"questions": len(dataset), **settings.metrics}
        kind_weights, trees = settings.kind_weights, settings.trees
    else:
        metrics, kind_weights, trees = dict(template.metrics), template.metrics["kind_weights"], template.metrics["trees"]
    sampled = replace(answered.with_sampled_negatives(seed), kind_weights=kind_weights)
    shrunk_to = center(sampled, metrics["shrunk_to"], metrics["channels"], prior)
    regression = replace(fit_regression(sampled, metrics["penalty"], center=shrunk_to), metrics=metrics)
    seeds = range(seed, seed + (ABLATION_ENSEMBLE_SIZE if template else ENSEMBLE_SIZE)) if trees else ()
    return replace(regression, trees=[fit_trees(sampled, regression, tree_seed, trees).model_to_string() for tree_seed in seeds])
