"""Storage of a trained graph model: `model.safetensors` with its arrays, `card.json` with its configuration, metrics and data.

The folder is replaced as a whole. Nothing is unpickled.
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

MODEL, CARD = "model.safetensors", "card.json"
FORMAT = 1
"""Version of the card's format."""


def save_graph(model: GraphModel, folder: Path) -> None:
    """Replace a folder with a graph model and its card.

    Raises:
        StorageError: The folder cannot be written.
    """
    from safetensors.numpy import save_file

    with storage_errors(f"the graph in {folder}"), replacing_folder(folder) as staging:
        save_file(dict(model.arrays), staging / MODEL)
        card = {"format": FORMAT, "items": len(model), "config": asdict(model.config), **model.card}
        (staging / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")


def load_graph(folder: Path, *, dimensions: int, items: int, about: Mapping[str, Any] | None = None) -> GraphModel:
    """Return the graph model of a folder.

    Args:
        folder: Folder `graph` of a workspace.
        dimensions: Dimensions of the embeddings in use.
        items: Number of items of the snapshot in use.
        about: Entries that the card must have about its data, such as the snapshot; it may have others.

    Raises:
        NotTrainedError: There is no graph, or it cannot be read.
        StaleTrainingError: It was trained on another snapshot or with another embedder.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    workspace = folder.parent
    remedy = f"run `crossaisle train -w {workspace} graph`"
    if not (folder / CARD).exists():
        raise NotTrainedError(f"{workspace} has no trained graph; {remedy}")
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
        if card["format"] != FORMAT:
            raise StaleTrainingError(f"the graph of {workspace} has format {card['format']}, this version reads {FORMAT}; {remedy}")
        config_fields = {field.name for field in fields(GraphConfig)}
        config = GraphConfig(**{name: value for name, value in card.pop("config").items() if name in config_fields})
        trained_with = {"dimensions": card["dimensions"], "items": card["items"], **card["about"]}
        arrays = load_file(folder / MODEL)
        model = GraphModel(arrays, config, {name: value for name, value in card.items() if name not in ("format", "items")})
        size = len(model)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise NotTrainedError(f"the graph of {workspace} cannot be read ({type(error).__name__}); {remedy}") from error
    for name, value in {"dimensions": dimensions, "items": items, **(about or {})}.items():
        if trained_with.get(name) != value or (name == "items" and size != value):
            raise StaleTrainingError(
                f"the graph of {workspace} was trained with {name} {trained_with.get(name)}, in use is {value}; {remedy}"
            )
    return model
