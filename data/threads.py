"""OpenMP thread settings that let other programs use the same cores."""

from __future__ import annotations

import os


def share_cores() -> None:
    """Shorten the spin time of idle OpenMP threads; has an effect only before torch is imported.

    With OpenMP's default spin time two programs on the same cores slow each other down; sleeping at once slows down an idle machine.
    `benchmarks/shared_cores.py` measures both. Existing values of `OMP_WAIT_POLICY` and `GOMP_SPINCOUNT` are kept.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
