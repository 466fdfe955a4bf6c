"""Exploration by Thompson sampling: shows items with few users occasionally, to learn how well they do.

Each candidate's score is sampled from a normal distribution around its value; the fewer users an item has, the larger the variance. The
share of samples in which an item is shown is its propensity, for inverse-propensity weighting of later clicks. Off by default.

Source: Thompson, Biometrika 1933; Chapelle and Li, NeurIPS 2011.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import storage_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLES = 300
"""Samples that a propensity is estimated from; its standard error is below 0.03."""
LOG_FILE = "explored.jsonl"
"""File of a workspace with one line per list that was shown."""


@dataclass(frozen=True, slots=True)
class ExplorationResult:
    """The sampled list and its propensities.

    Attributes:
        rows: item rows, in the order shown.
        propensities: probability of each to be in the list, above 0.
    """

    rows: list[int]
    propensities: list[float]


def thompson_sample(
    values: NDArray[np.float64], users: NDArray[np.int32], rows: Sequence[int], select: Callable[[Sequence[int]], list[int]], seed: int
) -> ExplorationResult:
    """Sample one list, and estimate the propensities of its items.

    Args:
        values: (candidates,) scores on any scale.
        users: (candidates,) number of users of each item.
        rows: (candidates,) item rows.
        select: maps rows, best first, to the list that is shown.
        seed: random seed; the result is deterministic.
    """
    if not len(values):
        return ExplorationResult([], [])
    rng = np.random.default_rng(seed)
    deviation = float(values.std()) / np.sqrt(1 + users)  # (candidates,)
    counts: dict[int, int] = {}
    shown: list[int] = []
    for _ in range(SAMPLES):
        sampled = values + deviation * rng.standard_normal(len(values))
        selected = select([rows[index] for index in np.argsort(-sampled, kind="stable")])
        shown = shown or selected  # the first sample is the list that is shown
        for row in selected:
            counts[row] = counts.get(row, 0) + 1
    return ExplorationResult(shown, [counts[row] / SAMPLES for row in shown])


def log_propensities(workspace: Path, user_id: str | None, seed: int, shown: Sequence[tuple[str, float]]) -> None:
    """Append a list to the workspace's log: time, user, seed, and each item shown with its propensity.

    Raises: StorageError: the file cannot be written.
    """
    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = {"at": time, "user_id": user_id, "seed": seed, "shown": [{"item_id": key, "propensity": round(p, 4)} for key, p in shown]}
    with storage_errors(f"the exploration log in {workspace}"), (workspace / LOG_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")  # one write per line, so that lines of several processes do not mix
