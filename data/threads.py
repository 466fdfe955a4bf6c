"""How the models share the cores with whatever else runs on the machine."""

from __future__ import annotations

import os


def share_cores() -> None:
    """Has idle threads of the models sleep instead of spin; call before torch is imported, later it does nothing.

    Spinning wins a few percent on an idle machine and loses by a factor as soon as anything else wants a core: beside one other
    busy process a warm `recommend` took 8 to 12 seconds spinning and 2 to 3 sleeping (two cores). Whoever sets `OMP_WAIT_POLICY`
    is not overruled.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
