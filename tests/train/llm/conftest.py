"""What the tests of language models in training share."""

from __future__ import annotations

import pytest

from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.retrieval.index.builder import load
from crossaisle.retrieval.items.catalogue import Catalogue


@pytest.fixture(scope="session")
def catalogue(demo_workspace: Workspace, settings: Settings) -> Catalogue:
    """The items of the demo store."""
    return load(demo_workspace, settings)[0]
