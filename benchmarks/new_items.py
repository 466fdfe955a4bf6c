"""Cost of slots reserved for new items, and gain on targets with few users: the blend with and without reserved slots.

    python benchmarks/new_items.py [NAME ...] [--home FOLDER] [--max-cases 2000]

NAME is amazon14, completejourney, courses or movielens; the cases are those of `crossaisle evaluate` with the users protocol, whose report
has the same table. A store trained in FOLDER (`blend.py --home`) is reused, otherwise it is trained. Writes `results/new_items-NAME.json`;
the baselines on the same cases and slices are in `results/blend-NAME.json`. Reads ../shared/data; the results contain no item and no user.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from blend import _tell, named, tested, trained
from record import write

import crossaisle
from crossaisle.data.settings import Settings
from crossaisle.eval.offline import report as reports
from crossaisle.eval.offline.channel_systems import BLEND
from crossaisle.eval.offline.checkpoints import EvaluationCheckpoint
from crossaisle.eval.offline.evaluation import Rankings, padded_rows
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.offline.trained_systems import TrainedSystems
from crossaisle.eval.splits import leakage
from crossaisle.recommend.ranking import learned_blend


def main() -> None:
    """Measure the named stores, default all."""
    named(lambda name, home, most: write(f"new_items-{name}", measured(trained(name, home, learned_blend.FOLDER), most)))


def measured(shop: crossaisle.Workspace, most: int) -> dict[str, Any]:
    """All figures of one store."""
    settings, options = Settings.read().with_(llm="none"), EvaluationOptions(max_cases=most, llm_cases=0)
    models = learned_blend.load_models(shop.path)
    assert models is not None, f"{shop.path} has no blend"
    split, cases, held_out, eligible, known = tested(shop, options)
    leakage.check_leaks(cases, known, shop, split)
    none = np.empty(0, np.int64)
    with tempfile.TemporaryDirectory() as temporary:
        kept = EvaluationCheckpoint.open(Path(temporary), shop, settings, {}, cases)
        ranked = TrainedSystems(shop, settings, known, {BLEND: models[BLEND]}, cases, eligible, none, kept).rank(_tell)
    tops = {name: padded_rows(rows) for name, rows in ranked.lists.items()}
    novelty = {level: padded_rows(rows) for level, rows in ranked.novelty.items()}
    new_items = {way: padded_rows(rows) for way, rows in ranked.new_items.items()}
    rankings = Rankings(cases, known, eligible, split, held_out, ranked.system_kinds, tops, none, frozenset(), {}, novelty, new_items)
    return {
        "cases": len(cases),
        "items": {
            "all": len(known.catalogue),
            "of nobody": int((known.catalogue.users == 0).sum()),
            "of at most two users": int((known.catalogue.users <= 2).sum()),
        },
        "trained": dict(models[BLEND].metrics),
        "new_items": reports.new_items_section(rankings, options.seed),
    }


if __name__ == "__main__":
    main()
