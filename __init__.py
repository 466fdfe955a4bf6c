"""crossaisle: cross-category recommendations with explanations.

    from crossaisle import Recommender, Workspace

Names are imported from their modules on first use, so that `import crossaisle` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data.errors import CrossaisleError as CrossaisleError
    from .data.records import Recommendations as Recommendations
    from .data.records import Rules as Rules
    from .data.settings import Settings as Settings
    from .data.snapshots.ingest import ingest as ingest
    from .data.workspace import Workspace as Workspace
    from .recommend.recommender import Recommender as Recommender
    from .recommend.segments.probe import Probe as Probe
    from .recommend.segments.query.filters import Filters as Filters
    from .retrieval.index.builder import build as index  # noqa: F401

__version__ = "0.1.0"

_MODULES = {
    "CrossaisleError": "data.errors",
    "Filters": "recommend.segments.query.filters",
    "Probe": "recommend.segments.probe",
    "Recommendations": "data.records",
    "Recommender": "recommend.recommender",
    "Rules": "data.records",
    "Settings": "data.settings",
    "Workspace": "data.workspace",
    "index": "retrieval.index.builder",
    "ingest": "data.snapshots.ingest",
}
"""Public name to the module that defines it."""
_RENAMED = {"index": "build"}
"""Public name to its name in that module, where the two differ."""
__all__ = [*sorted(_MODULES), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"crossaisle has no {name!r}; it has {', '.join(sorted(_MODULES))}")
    return getattr(import_module("." + _MODULES[name], __name__), _RENAMED.get(name, name))


def __dir__() -> list[str]:
    return __all__
