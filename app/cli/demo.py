"""`crossaisle demo`: the shipped store from files to explained recommendations, told to a person."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..terminal import render
from ..terminal.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from ...data.settings import Settings
    from ...data.workspace import Workspace

DEMO_SHOPPERS = 2
DEMO_TEXT = "I am going winter camping"
DEMO_QUESTION = "phones"


def run(path: Path, settings: Settings, console: Console) -> None:
    """Builds the demo workspace at `path` unless it is there and indexed, then prints recommendations and one answer about many."""
    from ...data.errors import NoIndexError, NoWorkspaceError, StaleIndexError, WorkspaceError
    from ...recommend.recommender import Recommender
    from ...recommend.segments.probe import Probe

    console.print(render.heading("The demo store: simulated shoppers, invented brands"))
    if not _is_demo(path):
        raise WorkspaceError(f"{path} holds a store of its own; the demo wants a new folder, as in `crossaisle demo -w demo-shop`")
    try:
        recommender = Recommender.open(path, settings=settings)
    except (NoWorkspaceError, NoIndexError, StaleIndexError):
        recommender = Recommender.open(build(path, settings), settings=settings)
    catalogue = recommender.catalogue
    console.print(
        f"{len(catalogue):,} items in {len(catalogue.categories)} categories, {catalogue.total_users:,} simulated shoppers, in {path}\n"
    )
    shoppers = sorted(recommender.histories, key=lambda user: (abs(len(recommender.histories.of(user).rows) - 8), user))[:DEMO_SHOPPERS]
    for user in shoppers:
        console.print(render.heading(f"crossaisle recommend -w {path} --user {user} -k 3"))
        answer = recommender.recommend(user_id=user, k=3)
        render.print_recommendations(console, answer, catalogue.records(recommender.histories.of(user).rows.tolist()))
    console.print(render.heading(f'crossaisle recommend -w {path} --text "{DEMO_TEXT}" -k 3'))
    render.print_recommendations(console, recommender.recommend(text=DEMO_TEXT, k=3))
    console.print(render.heading(f'crossaisle probe -w {path} "{DEMO_QUESTION}"'))
    render.print_segment_result(console, Probe.open(path, settings=settings).ask(DEMO_QUESTION, k=4))


def build(path: Path, settings: Settings) -> Workspace:
    """A workspace of the demo store, indexed and trained, with the adapter that ships with it."""
    from ...data import demo
    from ...data.snapshots.ingest import ingest
    from ...data.workspace import Workspace
    from ...retrieval.index.builder import build as index
    from ...train.pipeline import learn

    with tempfile.TemporaryDirectory() as folder, progress_bar() as tell:
        ingest(path, "files", [demo.write_store(Path(folder))], progress=tell)
        workspace = Workspace(path)
        index(workspace, settings, tell)
        learn(workspace, settings, part="blend", progress=tell)
    _install_adapter(workspace, settings)
    return workspace


def _install_adapter(workspace: Workspace, settings: Settings) -> None:
    """Puts the shipped adapter beside the blend, as if it had been trained here; one for another LLM is left out."""
    from ...data import demo
    from ...data.atomic_files import replacing_folder
    from ...data.errors import ModelError, storage_errors
    from ...llm.models import adapters
    from ...llm.models.model_source import fingerprint
    from ...recommend.ranking import learned_blend, llm_loading

    try:
        adapters.check_compatibility(demo.ADAPTER, settings.llm, fingerprint(settings.llm, settings.home))
    except ModelError:
        return
    blend = json.loads((workspace.path / learned_blend.FOLDER / "card.json").read_text("utf-8"))
    card = {**adapters.read_card(demo.ADAPTER), "snapshot": blend["snapshot"], "held_out": blend["held_out"]}  # of the very same shoppers
    with storage_errors(f"the adapter in {workspace.path}"), replacing_folder(workspace.path / llm_loading.RANKER_FOLDER) as fresh:
        shutil.copytree(demo.ADAPTER, fresh, dirs_exist_ok=True)
        (fresh / adapters.CARD).write_text(json.dumps(card, indent=1) + "\n", "utf-8")


def _is_demo(path: Path) -> bool:
    """Whether the folder is free, or holds nothing but the demo store: nobody's data is ever replaced by ours."""
    from ...data import demo
    from ...data.errors import NoWorkspaceError
    from ...data.workspace import Workspace

    try:
        held = Workspace(path).table("items")["item_id"]
    except NoWorkspaceError:
        return True
    return set(held) == {item["item_id"] for item in demo.load_records("items")}
