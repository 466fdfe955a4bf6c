"""crossaisle: what a shopper needs next from another category, and why.

    from crossaisle import Recommender, Workspace

Names are imported from their folders when first used, so `import crossaisle` loads nothing.
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

_HOME = {
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
_NAME = {"index": "build"}
__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"crossaisle has no {name!r}; it has {', '.join(sorted(_HOME))}")
    return getattr(import_module("." + _HOME[name], __name__), _NAME.get(name, name))


def __dir__() -> list[str]:
    return __all__
