"""The fitted blend: a weighted sum of features, plus boosted trees where they rank held-out purchases better.

Scores decompose into one contribution per feature: weight times standardized value, plus the trees' SHAP values (Lundberg et al.,
NeurIPS 2017). Reads features by name only. The model is fitted in `train.blend`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import StaleIndexError
from ...data.former_names import current_feature, current_system
from ...retrieval.channels import channel_configs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.channels.channel_configs import CountedConfig
    from .features import FeatureMatrix

FOLDER = "blend"
"""Folder of a workspace with the fitted models."""
CHANNELS_FILE = "channels.json"
"""File in that folder with the configurations of the counted channels that the models were fitted with."""


@dataclass(frozen=True)
class BlendModel:
    """A fitted blend.

    Attributes:
        feature_names: (features).
        mean, scale: (features,) of the fitting data; the weighted sum is over (value - mean) / scale.
        weights: (features,) of the weighted sum.
        trees: LightGBM models as text, whose mean prediction is added; empty where the weighted sum alone ranks as well.
        metrics: measured while fitting.
    """

    feature_names: Sequence[str]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    trees: Sequence[str] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> tuple[str, ...]:
        """Groups of the features: the channels and the profile."""
        return tuple(dict.fromkeys(name.partition(":")[0] for name in self.feature_names))

    @property
    def unit_weights(self) -> dict[str, float]:
        """Feature to its weight per unit of the feature."""
        return dict(zip(self.feature_names, (self.weights / self.scale).tolist(), strict=True))

    def select_features(self, features: FeatureMatrix) -> NDArray[np.float32]:
        """Return (candidates, features) the model's features in its order; 0 for features that are absent."""
        return features.select(self.feature_names)

    def scores(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (candidates,) scores on any scale, higher is better."""
        scores = self._linear(values).sum(axis=1)
        for booster in self._boosters if len(values) else ():
            scores = scores + np.asarray(booster.predict(values)) / len(self.trees)
        return np.asarray(scores)

    def contributions(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (candidates, features) the contribution of each feature to the score, relative to an average candidate."""
        contributions = self._linear(values)
        for booster in self._boosters if len(values) else ():
            contributions = contributions + np.asarray(booster.predict(values, pred_contrib=True))[:, :-1] / len(self.trees)
        return contributions

    @cached_property
    def base(self) -> float:
        """Score of an average candidate: `base` plus the sum of `contributions` is `scores`. 0 without trees."""
        any_values = np.zeros((1, len(self.feature_names)), dtype=np.float32)  # the expected value does not depend on them
        means = [float(np.asarray(booster.predict(any_values, pred_contrib=True))[0, -1]) for booster in self._boosters]
        return sum(means) / len(means) if means else 0.0

    def _linear(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray((values - self.mean) / self.scale * self.weights)

    @cached_property
    def _boosters(self) -> list[Any]:
        if not self.trees:
            return []
        import lightgbm

        return [lightgbm.Booster(model_str=text) for text in self.trees]

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain JSON types."""
        return {
            "names": list(self.feature_names),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "weights": self.weights.tolist(),
            "trees": list(self.trees),
            "figures": dict(self.metrics),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> BlendModel:
        """Restore a model from the output of `to_dict`, of this or of a former version."""
        mean, scale, weights = (np.asarray(fields[name], dtype=np.float64) for name in ("mean", "scale", "weights"))
        return cls(
            [current_feature(name) for name in fields["names"]], mean, scale, weights, list(fields["trees"]), dict(fields["figures"])
        )


def load_models(workspace: Path) -> dict[str, BlendModel] | None:
    """Load the models of a workspace by name (`blend`, `blend without CHANNEL`); None if no blend is trained.

    Raises: StaleIndexError: the file cannot be read.
    """
    file = workspace / FOLDER / "models.json"
    if not file.exists():
        return None
    try:
        models = json.loads(file.read_text("utf-8"))
        return {current_system(name): BlendModel.from_dict(model) for name, model in models.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StaleIndexError(f"{file} cannot be read ({type(error).__name__}); run `crossaisle train -w {workspace} blend`") from error


def load_channel_configs(workspace: Path) -> Mapping[str, CountedConfig]:
    """Load the configurations of the counted channels of a workspace's blend; those of former versions if none are stored.

    Raises: StaleIndexError: the file cannot be read.
    """
    file = workspace / FOLDER / CHANNELS_FILE
    if not file.exists():
        return channel_configs.FORMER_CONFIGS
    try:
        return channel_configs.from_jsonable(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StaleIndexError(f"{file} cannot be read ({type(error).__name__}); run `crossaisle train -w {workspace} blend`") from error
