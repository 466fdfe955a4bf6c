"""The judge in the box as a judge of human-labelled questions, and what it must be better than: text similarity with fitted thresholds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .human_labels import Labelled, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..llm.judge_box import BoxedJudge
    from ..retrieval.embedder import Embedder

    Floats = NDArray[np.float64]

ANSWERED: tuple[Task, ...] = ("relation", "which", "mismatch")
"""Tasks whose questions the judge in the box can be put."""
CUTS = 40
"""Thresholds that are tried, at quantiles of the likenesses."""


def answers(judge: BoxedJudge, cases: Sequence[Labelled]) -> Floats:
    """(cases, options) the chance of each option, as `calibration.calibrate` takes it; 0 beyond a question's own options.

    Of `which` the options are compared by how likely each is linked to the item at all; of `mismatch` an explanation is the right one as
    far as the summaries of user and item bear it out.

    Raises: ValueError: a task that it cannot be put.
    """
    if any(case.task not in ANSWERED for case in cases):
        raise ValueError(f"the judge in the box answers {', '.join(ANSWERED)}, not {cases[0].task}")
    if not cases or cases[0].task == "relation":
        return judge.relations([(case.parts["first"], case.parts["second"]) for case in cases])
    if cases[0].task == "mismatch":
        return judge.supports([((case.parts["user"], case.parts["item"]), case.parts["explanation"]) for case in cases])
    pairs = [(case.parts["first"], option) for case in cases for option in case.options]
    linked = 1 - judge.relations(pairs)[:, 2]
    out, start = np.zeros((len(cases), max(len(case.options) for case in cases))), 0
    for row, case in enumerate(cases):
        own = linked[start : start + len(case.options)]
        out[row, : len(own)] = own / own.sum()
        start += len(own)
    return out


def likeness(embedder: Embedder, pairs: Sequence[tuple[str, str]]) -> Floats:
    """(pairs,) cosine of two texts, each text embedded once."""
    texts = list(dict.fromkeys(itertools.chain.from_iterable(pairs)))
    place = {text: i for i, text in enumerate(texts)}
    vectors = np.asarray(embedder.encode(texts), dtype=np.float64)
    left, right = (np.asarray([place[pair[side]] for pair in pairs]) for side in (0, 1))
    found: Floats = (vectors[left] * vectors[right]).sum(axis=1)
    return found


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Labels by how alike two texts are. Attributes: cuts: ascending cosines. labels: below the first, between them, above the last."""

    cuts: tuple[float, ...]
    labels: tuple[int, ...]

    @classmethod
    def fitted(cls, alike: Floats, labels: NDArray[np.int64], options: int) -> Thresholds:
        """Those with the best accuracy, each label standing for one stretch of cosines at most, in whatever order fits best.

        Args: alike, labels: (pairs,) of which it is fitted. options: number of labels.
        """
        tried = np.unique(np.quantile(alike, np.linspace(0, 1, CUTS + 2)[1:-1]))
        # (cuts + 2, options) how many of each label lie below a cut
        below = np.stack([np.bincount(labels[alike < cut], minlength=options) for cut in (-math.inf, *tried, math.inf)])
        best = (-1, cls((), (0,)))
        for order in itertools.permutations(range(options)):
            for places in itertools.combinations_with_replacement(range(len(tried) + 2), options - 1):
                ends = (0, *places, len(tried) + 1)
                right = sum(int(below[ends[i + 1], label] - below[ends[i], label]) for i, label in enumerate(order))
                if right > best[0]:
                    cuts = tuple(float(np.concatenate([[-math.inf], tried, [math.inf]])[place]) for place in places)
                    best = right, cls(cuts, order)
        return best[1]

    def answer(self, alike: Floats) -> Floats:
        """(pairs,) the labels."""
        return np.asarray(self.labels, dtype=np.float64)[np.searchsorted(self.cuts, alike, side="right")]
