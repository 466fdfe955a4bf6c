"""What a training run trains, and on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..data.splits import Split
from ..retrieval.graph.model import GraphConfig
from .teacher.config import TeacherConfig


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of a training run.

    Attributes:
        split: Split of the evaluation to come.
        channels: Names of the trainable channels.
        graph: Configuration of the graph.
        everything: Whether to hold nothing of the split out.
        hold_out: Users to hold out in addition.
        minutes: Time in which the LLM reads questions for each of its weights; None for the default.
        pairs: Largest number of pairs that the LLM is trained on; None for the default.
        teacher: Large model that labels further examples; None for none.
    """

    split: Split
    channels: Sequence[str]
    graph: GraphConfig
    everything: bool
    hold_out: frozenset[str] = frozenset()
    minutes: float | None = None
    pairs: int | None = None
    teacher: TeacherConfig | None = None
