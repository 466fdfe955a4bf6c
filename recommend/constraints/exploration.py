"""Exploration by Thompson sampling: of what few had, nobody knows how well it would do, so now and then it is shown to find out.

Each candidate's fit is drawn anew around its value, the wider the fewer users it has, and the drawn values decide. How often each item
would be shown over many draws is its propensity: who later learns from what was clicked must divide by it (inverse-propensity weighting).
Off unless asked for.

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

from ...data.errors import storing

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 300
"""Draws that a propensity is estimated from: its standard error is below 0.03."""
LOG = "explored.jsonl"
"""File of a workspace: an answer a line."""


@dataclass(frozen=True, slots=True)
class Explored:
    """What is shown, and how likely that was.

    Attributes: top: rows, in the order shown. propensity: (shown) the chance of each to be shown at all, above 0.
    """

    top: list[int]
    propensity: list[float]


def explore(
    values: NDArray[np.float64], users: NDArray[np.int32], rows: Sequence[int], pick: Callable[[Sequence[int]], list[int]], seed: int
) -> Explored:
    """One draw, and the propensities.

    Args:
        values: (candidates,) how well each fits, on any scale. users: (candidates,) who had each. rows: (candidates,) item rows.
        pick: from rows, best first, to those that are shown. seed: the same one gives the same answer.
    """
    if not len(values):
        return Explored([], [])
    draw = np.random.default_rng(seed)
    wide = float(values.std()) / np.sqrt(1 + users)  # (candidates,)
    shown: dict[int, int] = {}
    first: list[int] = []
    for _ in range(DRAWS):
        drawn = values + wide * draw.standard_normal(len(values))
        top = pick([rows[place] for place in np.argsort(-drawn, kind="stable")])
        first = first or top
        for row in top:
            shown[row] = shown.get(row, 0) + 1
    return Explored(first, [shown[row] / DRAWS for row in first])


def log(workspace: Path, user_id: str | None, seed: int, shown: Sequence[tuple[str, float]]) -> None:
    """Adds an answer to the workspace's log: moment, user, seed, and each item shown with its propensity.

    Raises: StorageError: the disk is full or refuses.
    """
    moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = {"at": moment, "user_id": user_id, "seed": seed, "shown": [{"item_id": key, "propensity": round(p, 4)} for key, p in shown]}
    with storing(f"the log of what was explored in {workspace}"), (workspace / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")  # one write of one line: two processes do not mix theirs
