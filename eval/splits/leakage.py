"""Leakage checks: is any test data known before ranking, in the tables, counts, model cards or prompts?

The checks share no code with the functions that hold data out, so that a bug there is found here. Every evaluation runs them before it
ranks, and a leak stops it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import LeakError
from ...data.splits import WHOLE_USER_PROTOCOLS, Split
from ...recommend.ranking import learned_blend
from ...retrieval.trainable_channels import TRAINABLE_CHANNELS
from .hold_out import hashes_of_card, user_hash

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ...data.workspace import Workspace
    from ...retrieval.items.catalogue import Catalogue
    from .cases import Cases
    from .training_view import TrainingView

NEAR_DUPLICATE_COSINE = 0.98
"""Text cosine from which two items are near-duplicates, such as another colour or size of the same product."""
BLEND_FOLDERS = ("adapter", "blend")
"""Workspace folders of the trained models besides the trainable channels, each with a `card.json`."""
MIN_TITLE_LENGTH, TITLE_PREFIX = 12, 60
"""Titles shorter than this occur in prompts by chance; longer ones are compared by their first characters, as prompts truncate them."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A train/test leak.

    Attributes:
        kind: What leaks.
        count: Number of occurrences.
        remedy: What to do about it.
    """

    kind: str
    count: int
    remedy: str

    def __str__(self) -> str:
        return f"{self.count:,} {self.kind}; {self.remedy}"


def check_leaks(cases: Cases, training_view: TrainingView, workspace: Workspace, split: Split, case_file: str = "FILE") -> None:
    """Run all checks that need no prompt.

    Args:
        cases: Test cases.
        training_view: Data without what is held out for the test.
        workspace: Evaluated workspace.
        split: Resolved split of the cases.
        case_file: File of the cases, for the message, if they are from a file.

    Raises:
        LeakError: At least one leak was found; the message lists all of them.
    """
    _raise_if_any(
        [
            *history_leaks(cases),
            *training_leaks(cases, training_view.interactions, training_view.catalogue),
            *count_leaks(training_view),
            *review_leaks(cases, training_view),
            *(case_file_leaks(workspace, cases, case_file) if split.protocol == "cases" else card_leaks(workspace, split)),
        ]
    )


def check_prompts(cases: Cases, prompts: Mapping[int, str], catalogue: Catalogue) -> None:
    """Run the check of the prompts (see `prompt_leaks`).

    Raises:
        LeakError: A prompt contains a target.
    """
    _raise_if_any(prompt_leaks(cases, prompts, catalogue))


def _raise_if_any(leaks: Sequence[Leak]) -> None:
    if leaks:
        raise LeakError("test data leaks into the training data: " + "; ".join(map(str, leaks)))


def history_leaks(cases: Cases) -> list[Leak]:
    """Targets that are in the history of their own case."""
    history = set(zip(cases.histories.row_index.tolist(), cases.histories.rows.tolist(), strict=True))
    count = sum(pair in history for pair in zip(cases.targets.row_index.tolist(), cases.targets.rows.tolist(), strict=True))
    return [Leak("targets are in the history of their case", count, "remove them from the case file")] if count else []


def training_leaks(cases: Cases, interactions: pl.DataFrame, catalogue: Catalogue) -> list[Leak]:
    """Test interactions among the training interactions."""
    count = len(_target_pairs(cases, catalogue).join(interactions.select("user_id", "item_id").unique(), on=["user_id", "item_id"]))
    return [Leak("test interactions are in the training snapshot", count, "hold their users out")] if count else []


def count_leaks(training_view: TrainingView) -> list[Leak]:
    """Items whose association counts include users that only the test data contains.

    The counts name no users. They are therefore compared with the number of users in the training interactions: an item with a larger count
    was counted from other data.
    """
    import polars as pl

    from ...retrieval.items.catalogue import counted_interactions

    users = counted_interactions(training_view.interactions)[0].group_by("item_id").agg(pl.col("user_id").n_unique().alias("users"))
    rows = training_view.catalogue.row_table().join(users, on="item_id", how="left", maintain_order="left")
    training_users = rows["users"].fill_null(0).to_numpy()
    pairs = training_view.associations.items
    largest_pair = np.asarray(pairs.max(axis=1).toarray()).reshape(-1) if pairs.nnz else np.zeros(len(training_users))
    count = int(((training_view.associations.source_users > training_users) | (largest_pair > training_users)).sum())
    return [Leak("items have more users in the association counts than in the training snapshot", count, "recount them")] if count else []


def review_leaks(cases: Cases, training_view: TrainingView) -> list[Leak]:
    """Searchable reviews of a target written by the user of the case."""
    import polars as pl

    searched = training_view.reviews.filter(~pl.col("review_id").is_in(sorted(training_view.withheld_reviews)))
    targets = _target_pairs(cases, training_view.catalogue)
    count = len(targets.join(searched.select("user_id", "item_id").unique(), on=["user_id", "item_id"]))
    return [Leak("reviews of a target by its own user are searched", count, "hold them out")] if count else []


def card_leaks(workspace: Workspace, split: Split) -> list[Leak]:
    """Trained models of the workspace that did not hold the test data out, according to their cards.

    The protocols of whole users hold out the same users for the same seed and shares, so a training for one of them serves the other.
    """
    leaks = []
    for folder, card in _used_cards(workspace):
        same_data = card.get("snapshot") == workspace.manifest.snapshot
        if not same_data or _held_out_data(card.get("held_out") or {}) != _held_out_data(split.to_dict()):
            options = f"--seed {split.seed}" if split.holds_out_users else f"--protocol {split.protocol} --seed {split.seed}"
            command = f"`crossaisle train -w {workspace.path} {options}`" + (" and the same --at" if split.protocol == "temporal" else "")
            remedy = f"train it again with {command}, or evaluate as it was trained"
            leaks.append(Leak(f"trained part ({folder}) did not hold out what is tested here", 1, remedy))
    return leaks


def case_file_leaks(workspace: Workspace, cases: Cases, case_file: str) -> list[Leak]:
    """Users of a case file that a trained model of the workspace has learned from, according to its card.

    A user without interactions in the workspace is unknown to every model that was trained on this snapshot.

    Args:
        workspace: Evaluated workspace.
        cases: Cases of the file.
        case_file: The file, for the message.
    """
    snapshot = workspace.manifest.snapshot or ""
    users = sorted(set(cases.users) & set(workspace.table("interactions")["user_id"].to_list()))
    folders, learned, stale = [], set[str](), False
    for folder, card in _used_cards(workspace):
        hashes, is_test = hashes_of_card(card), _test_users(card.get("held_out"), users)
        in_training = {user for user, held in zip(users, is_test, strict=True) if not held and user_hash(user, snapshot) not in hashes}
        if card.get("snapshot") != snapshot:  # whose data went into it is unknown
            in_training, stale = set(cases.users), True
        if in_training:
            folders.append(folder)
            learned |= in_training
    if not learned:
        return []
    part = " all" if "adapter" in folders else ""
    names = f"users of {case_file} " + ("may be" if stale else "are") + f" in the training data of trained parts ({', '.join(folders)})"
    return [Leak(names, len(learned), f"run `crossaisle train -w {workspace.path}{part} --hold-out {case_file}`")]


def _used_cards(workspace: Workspace) -> list[tuple[str, Mapping[str, Any]]]:
    """Folder and card of each trained model that an evaluation uses."""
    models = learned_blend.load_models(workspace.path)
    used = models["blend"].channels if models else TRAINABLE_CHANNELS  # a channel without a use in the blend is not evaluated
    folders = [*(name for name in TRAINABLE_CHANNELS if name in used), *BLEND_FOLDERS]
    cards = {folder: read_card(workspace.path / folder / "card.json") for folder in folders}
    return [(folder, card) for folder, card in cards.items() if card is not None]


def _held_out_data(split: Mapping[str, Any]) -> dict[str, Any]:
    """What a split holds out, comparable between protocols."""
    data = {name: split.get(name) for name in Split().to_dict()}
    return {**data, "protocol": "whole users" if data["protocol"] in WHOLE_USER_PROTOCOLS else data["protocol"]}


def _test_users(split: Any, users: Sequence[str]) -> Sequence[bool]:
    """Which users the split of a card held out whole; none for a split by time or by interaction, or an unreadable one."""
    if not isinstance(split, Mapping) or split.get("protocol") not in WHOLE_USER_PROTOCOLS:
        return [False] * len(users)
    test, seed = split.get("test"), split.get("seed")
    if not isinstance(test, int | float) or not isinstance(seed, int):
        return [False] * len(users)
    return [bool(held) for held in Split(seed=seed, test=test).users(users, "test")]


def prompt_leaks(cases: Cases, prompts: Mapping[int, str], catalogue: Catalogue) -> list[Leak]:
    """Targets whose title is in the prompt before the candidates, unless an item of the history has the same title.

    Args:
        cases: Evaluation cases.
        prompts: Case index to the part of the prompt before the candidates.
        catalogue: Catalogue of the items.
    """
    titles = catalogue.items["title"].to_list()
    count = 0
    for case, prompt in prompts.items():
        history_titles = {titles[row] for row in cases.histories[case].tolist()}
        target_titles = [titles[row] for row in cases.targets[case].tolist()]
        count += sum(
            len(title) >= MIN_TITLE_LENGTH and title not in history_titles and title[:TITLE_PREFIX] in prompt for title in target_titles
        )
    return [Leak("targets are named in the prompt before the candidates", count, "fix the prompt")] if count else []


def near_duplicates(cases: Cases, vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(targets,) which targets are near-duplicates of an item in the history of their case, by text embedding.

    Args:
        cases: Evaluation cases.
        vectors: (items, dimensions) text embeddings of length 1.
    """
    is_duplicate = np.zeros(len(cases.targets.rows), dtype=bool)
    for case in range(len(cases)):
        target_slice = slice(cases.targets.starts[case], cases.targets.starts[case + 1])
        cosines = vectors[cases.targets.rows[target_slice]] @ vectors[cases.histories[case]].T  # (targets, history)
        is_duplicate[target_slice] = (cosines >= NEAR_DUPLICATE_COSINE).any(axis=1)
    return is_duplicate


def _target_pairs(cases: Cases, catalogue: Catalogue) -> pl.DataFrame:
    """The distinct (user_id, item_id) of all targets."""
    import polars as pl

    return pl.DataFrame(
        {
            "user_id": pl.Series([cases.users[i] for i in cases.targets.row_index.tolist()], dtype=pl.String),
            "item_id": catalogue.items["item_id"].gather(cases.targets.rows),
        }
    ).unique()


def read_card(file: Path) -> Mapping[str, Any] | None:
    """Return a model card, or None if there is no file; an unreadable card is empty and so proves nothing held out."""
    if not file.exists():
        return None
    try:
        card = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {**(card.get("about") or {}), **card} if isinstance(card, dict) else {}
