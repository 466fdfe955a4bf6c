"""What is learned of a store's own histories, and put into its workspace: the graph, the text heads, and the blend of all channels.

    known users -> folds -> (channels without a fold's users -> what they say of the fold's shoppers) -> the blend
                         -> the graph and the heads of all known users

The test's users stay out of everything here, unless everything is asked for, so that an evaluation afterwards is honest. Knows nothing of
language models.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.errors import TrainingError, storing
from ..data.files import replace_folder, staging_folder
from ..data.settings import Settings
from ..data.splits import HeldOut, Split
from ..data.workspace import Workspace
from ..recommend import learned
from ..recommend.learned import Model, Questions
from ..retrieval import complements, graph_files
from ..retrieval.build import item_vectors, load
from ..retrieval.complements import Complements
from ..retrieval.events import Events
from ..retrieval.graph import Graph, GraphChannel, GraphConfig
from ..retrieval.runs import Runs
from . import protocols
from .known import Known
from .protocols import Shuffled, first_of_category
from .questions import ask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.seeds import Channel

PAIRS = 40_000
"""Examples for the text heads, at most; those that lead to another category come first."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Parts:
    """What is trained before the blend, each None where it could not be: heads of the text channel, the graph."""

    heads: Mapping[str, NDArray[np.float32]] | None
    heads_figures: Mapping[str, Any]
    graph: Graph | None
    left_out: Mapping[str, str]

    def channels(self, known: Known) -> dict[str, Channel]:
        """All channels beyond the three that every store has, knowing only what is known."""
        further = dict(known.behaviour)
        if self.heads is not None:
            further["complements"] = Complements.of(self.heads, known.vectors)
        if self.graph is not None:
            further["graph"] = GraphChannel(self.graph)
        return further


def learn(
    workspace: Workspace,
    settings: Settings,
    split: Split | None = None,
    *,
    config: GraphConfig | None = None,
    everything: bool = False,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Trains the graph, the text heads and the blend, puts them into the workspace, and returns what was measured.

    A kill leaves what was trained before. Without enough shoppers for the graph or the heads the blend does without them, and says so.

    Args:
        split: what an evaluation will test; None is the users protocol with seed 0. config: of the graph.
        everything: hold nothing out, for serving only.
    Raises: TrainingError: too few shoppers for a blend. NoIndexError, StaleIndexError: the workspace must be indexed first.
    """
    start = time.perf_counter()
    with workspace.writing(f"crossaisle train -w {workspace.path}"):
        catalogue, index, _ = load(workspace, settings)
        events = Events.build(workspace.table("interactions"), catalogue)
        split = _whole(split or Split(), events, catalogue)
        held_out = HeldOut() if everything else protocols.draw(split, events, catalogue, "test", "new").held_out
        known = Known.of(workspace, held_out, index, item_vectors(index, catalogue))
        about = {"snapshot": workspace.manifest.snapshot, "held_out": None if everything else split.to_dict()}
        config = config or GraphConfig(seed=split.seed)

        def channels(part: Known, tell: Progress) -> Mapping[str, Channel]:
            return train_parts(workspace, part, split.seed, config, about, tell).channels(part)

        asked = ask(workspace, known, held_out, split.seed, channels, progress)
        models = fit(asked.questions, split.seed, progress)
        parts = train_parts(workspace, known, split.seed, config, about, progress)
        figures = {"blend": dict(models["blend"].figures), "complements": dict(parts.heads_figures), "left_out": dict(parts.left_out)}
        if parts.graph is not None:
            graph_files.save(parts.graph, workspace.path)
            figures["graph"] = {name: value for name, value in parts.graph.card.items() if name != "about"}
        if parts.heads is not None:
            complements.save(workspace.path, parts.heads, {**about, "figures": parts.heads_figures})
        _save(workspace.path, models, {**about, "figures": figures["blend"], "graph": asdict(config)})
    return {**figures, "seconds": round(time.perf_counter() - start, 1)}


def _whole(split: Split, events: Events, catalogue: Any) -> Split:
    """The split with all that an evaluation would settle from the data."""
    if split.protocol == "users":
        return protocols.shares(split, events, catalogue)
    if split.protocol == "temporal":
        moment, before = protocols.moments(events, split.moment)
        return split.with_(moment=moment, validation_moment=before)
    return split


def fit(questions: Questions, seed: int, progress: Progress) -> dict[str, Model]:
    """The blend of all channels, and of all but each one, by the names of an evaluation."""
    groups = list(dict.fromkeys(name.split(":")[0] for name in questions.names))
    models = {"blend": learned.fit(questions, seed=seed)}
    thin = questions.answered().thinned(seed)  # what a final fit looks at anyway, so that it is drawn once
    for done, group in enumerate(groups):
        progress("fitting the blend", done, len(groups))
        models[f"blend without {group}"] = learned.fit(thin.without(group), seed=seed, chosen=models["blend"])
    progress("fitting the blend", len(groups), len(groups))
    return models


def train_parts(workspace: Workspace, known: Known, seed: int, config: GraphConfig, about: Mapping[str, Any], progress: Progress) -> Parts:
    """The graph and the text heads of what is known; what cannot be learned is left out, with the reason."""
    from ..retrieval.graph_training import train

    left_out: dict[str, str] = {}
    heads: Mapping[str, NDArray[np.float32]] | None = None
    figures: Mapping[str, Any] = {}
    graph: Graph | None = None
    try:
        heads, figures = _heads(known, seed, progress)
    except TrainingError as error:
        left_out["complements"] = str(error)
    try:
        relations = workspace.table("relations")
        graph = train(
            known.interactions,
            known.events,
            known.catalogue,
            known.vectors,
            config,
            relations=relations if len(relations) else None,
            about=about,
            progress=progress,
        )
    except TrainingError as error:
        left_out["graph"] = str(error)
    return Parts(heads, figures, graph, left_out)


def _heads(known: Known, seed: int, progress: Progress) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """The heads' weights, learned from what known users went on to, in other categories and in the same."""
    events = Shuffled.of(known.events, seed)
    category = known.catalogue.category
    begin = events.starts[events.user]
    after = np.flatnonzero(np.arange(len(events.row)) > begin)
    enters = first_of_category(events, category)[after]
    draw = np.random.default_rng(seed)
    across, within = after[enters], after[~enters]
    across = across if len(across) <= PAIRS else draw.choice(across, PAIRS, replace=False)
    within = within if len(within) <= PAIRS - len(across) else draw.choice(within, PAIRS - len(across), replace=False)
    chosen = np.sort(np.concatenate([across, within]))
    lengths = np.minimum(chosen - begin[chosen], complements.LAST)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = events.row[np.arange(starts[-1]) - np.repeat(starts[:-1], lengths) + np.repeat(chosen - lengths, lengths)]
    config = complements.Config(seed=seed)
    return complements.train(Runs(starts, rows), events.row[chosen], known.vectors, category, config, progress)


def _save(parent: Path, models: Mapping[str, Model], card: Mapping[str, Any]) -> None:
    home = parent / learned.FOLDER
    with storing(f"the blend in {home}"), staging_folder(parent) as staging:
        fresh = staging / "fresh"
        fresh.mkdir()
        (fresh / "models.json").write_text(json.dumps({name: model.to_dict() for name, model in models.items()}), "utf-8")
        (fresh / "card.json").write_text(json.dumps(card, indent=1), "utf-8")
        replace_folder(fresh, home)
