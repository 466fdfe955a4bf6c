"""Whether anything of the test is known before it is asked: read anew from the tables, the counts, the cards and the prompts.

It shares no code with what holds things out, so that a fault there is found here. Every evaluation is checked before it ranks; what is
found stops it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import LeakError

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ...data.splits import Split
    from ...data.workspace import Workspace
    from ...retrieval.items.catalogue import Catalogue
    from .cases import Cases
    from .training_view import TrainingView

NEAR_DUPLICATE_COSINE = 0.98
"""Cosine of two items' texts from which on they are near-duplicates: the same thing in another colour or size."""
TRAINED_FOLDERS = ("graph", "complements", "factors", "adapter", "blend")
"""Folders of a workspace that hold what was trained, each with its `card.json`."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that is known and must not be: what it is, how often, and what to do."""

    kind: str
    count: int
    remedy: str

    def __str__(self) -> str:
        return f"{self.count:,} {self.kind}; {self.remedy}"


def check_leaks(cases: Cases, known: TrainingView, workspace: Workspace, split: Split) -> None:
    """Looks for every leak.

    Raises: LeakError: there is one; the sentence names all that were found.
    """
    found = [
        *history_leaks(cases),
        *training_leaks(cases, known.interactions, known.catalogue),
        *count_leaks(known),
        *review_leaks(cases, known),
        *card_leaks(workspace, split),
    ]
    _raise_if_any(found)


def check_prompts(cases: Cases, prompts: Mapping[int, str], catalogue: Catalogue) -> None:
    """Checks what the LLM reads (see `in_prompts`). Raises: LeakError: a target stands in it."""
    _raise_if_any(prompt_leaks(cases, prompts, catalogue))


def _raise_if_any(found: Sequence[Leak]) -> None:
    if found:
        raise LeakError("the test leaks into what is known: " + "; ".join(map(str, found)))


def history_leaks(cases: Cases) -> list[Leak]:
    """Targets that stand in their own case's history."""
    history = set(zip(cases.histories.owner.tolist(), cases.histories.rows.tolist(), strict=True))
    count = sum(pair in history for pair in zip(cases.targets.owner.tolist(), cases.targets.rows.tolist(), strict=True))
    return [Leak("targets are in the history of their case", count, "leave them out of the case file")] if count else []


def training_leaks(cases: Cases, interactions: pl.DataFrame, catalogue: Catalogue) -> list[Leak]:
    """Test interactions among those that are trained on."""
    count = len(_target_pairs(cases, catalogue).join(interactions.select("user_id", "item_id").unique(), on=["user_id", "item_id"]))
    return [Leak("test interactions are in the training snapshot", count, "hold their users out")] if count else []


def count_leaks(known: TrainingView) -> list[Leak]:
    """Users counted for an item that only the test knows them to have.

    The counts name nobody, so they are held against a count of the known interactions alone: an item with more users than those was counted
    from something else.
    """
    import polars as pl

    from ...retrieval.items.catalogue import telling

    users = telling(known.interactions)[0].group_by("item_id").agg(pl.col("user_id").n_unique().alias("told"))
    rows = known.catalogue.row_table().join(users, on="item_id", how="left", maintain_order="left")
    told = rows["told"].fill_null(0).to_numpy()
    pairs = known.associations.items
    shared = np.asarray(pairs.max(axis=1).toarray()).reshape(-1) if pairs.nnz else np.zeros(len(told))
    count = int(((known.associations.source_users > told) | (shared > told)).sum())
    return (
        [Leak("items have more users in the association counts than in the training snapshot", count, "count them anew")] if count else []
    )


def review_leaks(cases: Cases, known: TrainingView) -> list[Leak]:
    """Reviews that a case's user wrote of a target and that the search would read."""
    import polars as pl

    searched = known.reviews.filter(~pl.col("review_id").is_in(sorted(known.withheld_reviews)))
    count = len(_target_pairs(cases, known.catalogue).join(searched.select("user_id", "item_id").unique(), on=["user_id", "item_id"]))
    return [Leak("reviews of a target by its own user are searched", count, "hold them out")] if count else []


def card_leaks(workspace: Workspace, split: Split) -> list[Leak]:
    """Trained parts of the workspace that did not hold out what is tested."""
    found = []
    for name in TRAINED_FOLDERS:
        card = read_card(workspace.path / name / "card.json")
        if card is None:
            continue
        held = card.get("held_out") or {}
        same = card.get("snapshot") == workspace.manifest.snapshot and all(
            held.get(part) == value for part, value in split.to_dict().items()
        )
        if not same:
            remedy = f"train it again with --protocol {split.protocol} --seed {split.seed}, or evaluate as it was trained"
            found.append(Leak(f"trained part ({name}) did not hold out what is tested here", 1, remedy))
    return found


def prompt_leaks(cases: Cases, prompts: Mapping[int, str], catalogue: Catalogue) -> list[Leak]:
    """Targets whose title the model reads before it is asked, and that no history item bears.

    Args: prompts: case to what stands before the candidates.
    """
    titles = catalogue.items["title"].to_list()
    count = 0
    for number, prompt in prompts.items():
        had = {titles[row] for row in cases.histories[number].tolist()}
        told = [titles[row] for row in cases.targets[number].tolist()]
        count += sum(len(title) >= 12 and title not in had and title[:60] in prompt for title in told)
    return [Leak("targets stand in the prompt before they are asked for", count, "mend the prompt")] if count else []


def near_duplicates(cases: Cases, vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(targets,) which are near-duplicates of an item in their case's history, by the text of both."""
    found = np.zeros(len(cases.targets.rows), dtype=bool)
    for number in range(len(cases)):
        run = slice(cases.targets.starts[number], cases.targets.starts[number + 1])
        likeness = vectors[cases.targets.rows[run]] @ vectors[cases.histories[number]].T  # (targets, history)
        found[run] = (likeness >= NEAR_DUPLICATE_COSINE).any(axis=1)
    return found


def _target_pairs(cases: Cases, catalogue: Catalogue) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(
        {
            "user_id": pl.Series([cases.users[i] for i in cases.targets.owner.tolist()], dtype=pl.String),
            "item_id": catalogue.items["item_id"].gather(cases.targets.rows),
        }
    ).unique()


def read_card(file: Path) -> Mapping[str, Any] | None:
    """What a trained part says of itself; an unreadable card says nothing, which is no proof of anything held out."""
    if not file.exists():
        return None
    try:
        said = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {**(said.get("about") or {}), **said} if isinstance(said, dict) else {}
