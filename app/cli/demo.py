"""`crossaisle demo`: the bundled demo store, from files to explained recommendations and a segment analysis."""

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

DEMO_LENGTHS = (8, 2)
"""Items in the histories of the shoppers that are shown: a usual one and a short one."""
DEMO_BASKET = "PH-005"
"""The only item of a basket: a phone."""
DEMO_TEXT = "I am going winter camping"
DEMO_QUESTION = "phones"


def run(path: Path, settings: Settings, console: Console) -> None:
    """Build the demo workspace at `path` if necessary, then print recommendations and a segment analysis.

    Raises:
        WorkspaceError: The folder holds another store.
    """
    from ...data.errors import NoIndexError, NoWorkspaceError, StaleIndexError, WorkspaceError
    from ...recommend.recommender import Recommender
    from ...recommend.segments.probe import Probe

    console.print(render.heading("The demo store: simulated shoppers, invented brands"))
    if not _is_demo(path):
        raise WorkspaceError(f"{path} holds another store; choose a new folder for the demo, as in `crossaisle demo -w demo-shop`")
    try:
        recommender = Recommender.open(path, settings=settings)
    except (NoWorkspaceError, NoIndexError, StaleIndexError):
        recommender = Recommender.open(build(path, settings), settings=settings)
    catalogue = recommender.catalogue
    console.print(
        f"{len(catalogue):,} items in {len(catalogue.categories)} categories, {catalogue.total_users:,} simulated shoppers, in {path}\n"
    )
    for length in DEMO_LENGTHS:
        user = min(recommender.histories, key=lambda user: (abs(len(recommender.histories.of(user).rows) - length), user))
        console.print(render.heading(f"crossaisle recommend -w {path} --user {user} -k 3"))
        result = recommender.recommend(user_id=user, k=3)
        render.print_recommendations(console, result, catalogue.records(recommender.histories.of(user).rows.tolist()))
    basket = catalogue.records([catalogue.row(DEMO_BASKET)])
    console.print(render.heading(f"crossaisle recommend -w {path} --items {DEMO_BASKET} -k 3"))
    render.print_recommendations(console, recommender.recommend(items=[DEMO_BASKET], k=3), basket)
    console.print(render.heading(f'crossaisle recommend -w {path} --text "{DEMO_TEXT}" -k 3'))
    render.print_recommendations(console, recommender.recommend(text=DEMO_TEXT, k=3))
    console.print(render.heading(f'crossaisle probe -w {path} "{DEMO_QUESTION}"'))
    render.print_segment_result(console, Probe.open(path, settings=settings).ask(DEMO_QUESTION, k=4))


def build(path: Path, settings: Settings) -> Workspace:
    """Build a workspace of the demo store: indexed, trained, and with the bundled LoRA adapter."""
    from ...data import demo
    from ...data.snapshots.ingest import ingest
    from ...data.workspace import Workspace
    from ...retrieval.index.builder import build as index
    from ...retrieval.trainable_channels import TRAINABLE_CHANNELS
    from ...train.pipeline import train_workspace

    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        ingest(path, "files", [demo.write_store(Path(folder))], progress=progress)
        workspace = Workspace(path)
        index(workspace, settings, progress)
        train_workspace(workspace, settings, part="blend", channels=tuple(TRAINABLE_CHANNELS), progress=progress)
    _install_adapter(workspace, settings)
    return workspace


def _install_adapter(workspace: Workspace, settings: Settings) -> None:
    """Copy the bundled adapter into the workspace, as if it had been trained there, unless it belongs to another LLM."""
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
    card = {
        **adapters.read_card(demo.ADAPTER),
        "snapshot": blend["snapshot"],
        "held_out": blend["held_out"],
    }  # it was trained on the same shoppers
    with storage_errors(f"the adapter in {workspace.path}"), replacing_folder(workspace.path / llm_loading.RANKER_FOLDER) as folder:
        shutil.copytree(demo.ADAPTER, folder, dirs_exist_ok=True)
        (folder / adapters.CARD).write_text(json.dumps(card, indent=1) + "\n", "utf-8")


def _is_demo(path: Path) -> bool:
    """Whether the folder is free or holds the demo store, so that no other store is ever replaced."""
    from ...data import demo
    from ...data.errors import NoWorkspaceError
    from ...data.workspace import Workspace

    try:
        item_ids = Workspace(path).table("items")["item_id"]
    except NoWorkspaceError:
        return True
    return set(item_ids) == {item["item_id"] for item in demo.load_records("items")}
