"""How the models share the cores with whatever else runs on the machine."""

from __future__ import annotations

import os


def share_cores() -> None:
    """Has idle threads of the models spin only briefly before they sleep; call before torch is imported, later it does nothing.

    The OpenMP library's own default spins so long that two programs on the same cores keep each other waiting; sleeping at once slows
    an idle machine. `benchmarks/shared_cores.py` measures it. Whoever sets one of the two variables is not overruled.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
