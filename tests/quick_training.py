"""Settings that make a training quick enough for a fixture; the steps are those of any training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from crossaisle.train import blend_selection, channel_tuning, out_of_fold


@contextmanager
def quick_training(queries_per_kind: int = 60) -> Iterator[None]:
    """Patch the number of folds, questions and trees for the duration of a block.

    Args:
        queries_per_kind: Largest number of queries of each kind that a blend is fitted to.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(out_of_fold, "FOLDS", 2)
        patch.setattr(out_of_fold, "MAX_QUERIES_PER_KIND", queries_per_kind)
        patch.setattr(channel_tuning, "QUESTIONS_PER_KIND", 30)
        patch.setattr(blend_selection, "TREE_COUNTS", (20,))
        yield
