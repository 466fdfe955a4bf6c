"""A trained graph in a folder: `model.safetensors` with its arrays, `card.json` with how it was made and of what.

Both are written whole or not at all. Nothing is unpickled.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.atomic_files import replacing_folder
from ...data.errors import NotTrainedError, StaleTrainingError, storage_errors
from .model import GraphConfig, GraphModel

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER, MODEL, CARD = "graph", "model.safetensors", "card.json"
FORMAT = 1


def save_graph(graph: GraphModel, workspace: Path) -> Path:
    """The folder `graph/` of the workspace's folder, which now holds this graph and no other.

    Raises: StorageError: the disk is full, or refuses.
    """
    from safetensors.numpy import save_file

    folder = workspace / FOLDER
    with storage_errors(f"the graph in {folder}"), replacing_folder(folder) as fresh:
        save_file(dict(graph.arrays), fresh / MODEL)
        content = {"format": FORMAT, "items": len(graph), "config": asdict(graph.config), **graph.card}
        (fresh / CARD).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return folder


def load_graph(workspace: Path, *, dimensions: int, items: int, about: Mapping[str, Any] | None = None) -> GraphModel:
    """The graph of a workspace's folder.

    Args:
        dimensions: of the embedder in use. items: rows of the snapshot in use.
        about: what the card must say of the data (snapshot, embedder, ...), as it was given to the training; other entries may differ.
    Raises:
        NotTrainedError: there is none, or it cannot be read. StaleTrainingError: it was trained on another snapshot or embedder.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder, mend = workspace / FOLDER, f"run `crossaisle train -w {workspace} graph`"
    if not (folder / CARD).exists():
        raise NotTrainedError(f"{workspace} has no trained graph; {mend}")
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
        if card["format"] != FORMAT:
            raise StaleTrainingError(f"the graph of {workspace} has format {card['format']}, this version reads {FORMAT}; {mend}")
        known = {field.name for field in fields(GraphConfig)}
        config = GraphConfig(**{name: value for name, value in card.pop("config").items() if name in known})
        told = {"dimensions": card["dimensions"], "items": card["items"], **card["about"]}
        arrays = load_file(folder / MODEL)
        graph = GraphModel(arrays, config, {name: value for name, value in card.items() if name not in ("format", "items")})
        size = len(graph)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise NotTrainedError(f"the graph of {workspace} cannot be read ({type(error).__name__}); {mend}") from error
    wanted = {"dimensions": dimensions, "items": items, **(about or {})}
    for name, value in wanted.items():
        if told.get(name) != value or (name == "items" and size != value):
            raise StaleTrainingError(f"the graph of {workspace} was trained with {name} {told.get(name)}, in use is {value}; {mend}")
    return graph
