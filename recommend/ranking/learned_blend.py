"""The learned blend: a weighted sum of features fitted to what held-out shoppers bought, and trees on top where they measure better.

The weighted sum is the floor. It is a listwise softmax regression, so it has one best answer; boosted trees (LambdaMART) then begin at its
scores and correct them, as many as the validation shoppers bear, which may be none. Every score is a sum of parts, one a feature: weight
times value, and the trees' own (SHAP values, Lundberg et al., NeurIPS 2017). Knows features by name only.
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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .features import FeatureMatrix

FOLDER = "blend"


@dataclass(frozen=True)
class BlendModel:
    """A fitted blend.

    Attributes:
        names: (features). mean, scale, weights: (features,) of the weighted sum, over (value - mean) / scale.
        trees: LightGBM's own texts, whose mean is added; none where the sum measured as well alone.
        figures: what was measured while fitting.
    """

    feature_names: Sequence[str]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    trees: Sequence[str] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def select_features(self, features: FeatureMatrix) -> NDArray[np.float32]:
        """(candidates, features) those that the model was fitted to, in its order; 0 for one that is not told any more."""
        place = {name: i for i, name in enumerate(features.names)}
        found = np.zeros((len(features.values), len(self.feature_names)), dtype=np.float32)
        for column, name in enumerate(self.feature_names):
            if name in place:
                found[:, column] = features.values[:, place[name]]
        return found

    def scores(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """(candidates,) any scale, higher is better."""
        found = self._linear(values).sum(axis=1)
        for booster in self._boosters if len(values) else ():
            found = found + np.asarray(booster.predict(values)) / len(self.trees)
        return np.asarray(found)

    def contributions(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """(candidates, features) what each feature adds to the score, against an average candidate."""
        found = self._linear(values)
        for booster in self._boosters if len(values) else ():
            found = found + np.asarray(booster.predict(values, pred_contrib=True))[:, :-1] / len(self.trees)
        return found

    @cached_property
    def base(self) -> float:
        """What an average candidate scores, so that `parts` and it add up to `scores`: 0 for a weighted sum, the trees' mean with trees."""
        nothing = np.zeros((1, len(self.feature_names)), dtype=np.float32)  # the same for any values
        means = [float(np.asarray(booster.predict(nothing, pred_contrib=True))[0, -1]) for booster in self._boosters]
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
        """The model as JSON holds it."""
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
        """The model that `to_dict` told of."""
        mean, scale, weights = (np.asarray(fields[name], dtype=np.float64) for name in ("mean", "scale", "weights"))
        return cls(list(fields["names"]), mean, scale, weights, list(fields["trees"]), dict(fields["figures"]))


def load_models(workspace: Path) -> dict[str, BlendModel] | None:
    """The models of a workspace by name (`blend`, `blend without ...`), None where none was trained.

    Raises: StaleIndexError: what lies there cannot be read.
    """
    file = workspace / FOLDER / "models.json"
    if not file.exists():
        return None
    try:
        told = json.loads(file.read_text("utf-8"))
        return {name: BlendModel.from_dict(one) for name, one in told.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StaleIndexError(f"{file} cannot be read ({type(error).__name__}); run `crossaisle train -w {workspace} blend`") from error
