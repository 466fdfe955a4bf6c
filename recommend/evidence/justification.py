"""How well a review sentence justifies a recommendation: a linear head on sentence embeddings, trained on labels by people.

Source of the labels: Ni et al., Justifying recommendations using distantly-labeled reviews and fine-grained aspects, EMNLP 2019. Fitted and
measured by `benchmarks/justification.py`. The head belongs to one embedder; with another one nothing is judged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE = Path(__file__).parent / "justification.json"


@dataclass(frozen=True)
class JustificationHead:
    """A logistic regression.

    Attributes:
        embedder: Digest of the embedder that it reads.
        weights: (dimensions,) weights.
        intercept: Its intercept.
    """

    embedder: str
    weights: NDArray[np.float32]
    intercept: float

    def probabilities(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (sentences,) probabilities that people call a sentence a good justification, 0 to 1.

        Args:
            vectors: (sentences, dimensions) unit vectors.
        """
        probabilities: NDArray[np.float32] = 1.0 / (1.0 + np.exp(-(vectors @ self.weights + self.intercept)))
        return probabilities


@cache
def bundled_head() -> JustificationHead:
    """Return the head that ships with the package."""
    content = json.loads(FILE.read_text("utf-8"))
    return JustificationHead(content["embedder"], np.asarray(content["weights"], dtype=np.float32), float(content["intercept"]))


def head_for(embedder: str | None) -> JustificationHead | None:
    """Return the bundled head if it reads this embedder, None otherwise. Args: embedder: its digest."""
    head = bundled_head()
    return head if head.embedder == embedder else None
