"""What is learned of a store's own histories: the text heads and the blend, each from shoppers whom what it is told did not count.

    known users -> folds -> (channels without a fold's users -> what they say of the fold's shoppers) -> the blend
                         -> heads of all known users

The test's users stay out of everything here, unless everything is asked for, so that an evaluation afterwards is honest. Knows nothing of
language models.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.errors import TrainingError, storing
from ..data.files import write_atomically
from ..data.settings import Settings
from ..data.splits import HeldOut, Split, draws
from ..data.workspace import Workspace
from ..recommend import learned
from ..recommend.features import FeatureMaker
from ..recommend.learned import Model, Questions
from ..recommend.profile import ItemFacts
from ..recommend.trained import PROPOSED
from ..retrieval import complements
from ..retrieval.build import item_vectors, load
from ..retrieval.complements import Complements
from ..retrieval.events import Events
from ..retrieval.runs import Runs
from . import protocols
from .cases import Cases, Eligible
from .known import Known
from .leaks import near_duplicates
from .protocols import Shuffled
from .systems import profile_of, seeds_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.behaviour import Channel
    from ..retrieval.candidates import Retriever

FOLDS = 5
ENOUGH = 3000
"""Questions for the blend after which no further fold is asked."""
PER_USER = 3
"""Categories of a user that are asked for, the ones entered last."""
PAIRS = 60_000
"""Examples for the text heads, at most; those that lead to another category come first."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Learned:
    """What a training made and what it measured."""

    models: Mapping[str, Model]
    heads: Mapping[str, NDArray[np.float32]]
    split: Split
    figures: Mapping[str, Any]


def learn(
    workspace: Workspace, settings: Settings, split: Split | None = None, *, everything: bool = False, progress: Progress = lambda *_: None
) -> Learned:
    """Trains the text heads and the blend and puts them into the workspace.

    Args: split: what an evaluation will test; None is the users protocol with seed 0. everything: hold nothing out, for serving only.
    Raises: TrainingError: too few shoppers. NoIndexError, StaleIndexError: the workspace must be indexed first.
    """
    start = time.perf_counter()
    with workspace.writing(f"crossaisle train -w {workspace.path}"):
        catalogue, index, _ = load(workspace, settings)
        vectors = item_vectors(index, catalogue)
        events = Events.build(workspace.table("interactions"), catalogue)
        split = protocols.shares(split or Split(), events, catalogue) if (split or Split()).protocol == "users" else split or Split()
        held_out = HeldOut() if everything else protocols.draw(split, events, catalogue, "test", "new").held_out
        known = Known.of(workspace, held_out, index, vectors)
        questions = ask(workspace, known, held_out, split.seed, progress)
        weights, told = teach(known, split.seed, progress)
        progress("fitting the blend", 0, 1)
        models = {"blend": learned.fit(questions, seed=split.seed)}
        for group in groups(questions):
            models[f"blend without {group}"] = learned.fit(questions.without(group), seed=split.seed)
        progress("fitting the blend", 1, 1)
        figures = {"blend": dict(models["blend"].figures), "complements": told, "seconds": round(time.perf_counter() - start, 1)}
        card = {
            "snapshot": workspace.manifest.snapshot,
            "held_out": None if everything else split.to_dict(),
            "channels": sorted({name.split(":")[0] for name in questions.names} - {"profile"}),
        }
        complements.save(workspace.path, weights, {**card, "figures": told})
        _save(workspace.path, models, {**card, "figures": dict(models["blend"].figures)})
    return Learned(models, weights, split, figures)


def groups(questions: Questions) -> list[str]:
    """The channels that the questions have features of, and `profile`."""
    return list(dict.fromkeys(name.split(":")[0] for name in questions.names))


def channels(known: Known, heads: Mapping[str, NDArray[np.float32]] | None) -> dict[str, Channel]:
    """All channels beyond the three that every store has."""
    further = dict(known.behaviour)
    if heads is not None:
        further["complements"] = Complements.of(heads, known.vectors)
    return further


# ---------------------------------------------------------------------- the text heads


def teach(known: Known, seed: int, progress: Progress) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """The heads' weights, learned from what known users went on to."""
    events = Shuffled.of(known.events, seed)
    category = known.catalogue.category
    begin = events.starts[events.user]
    place = np.arange(len(events.row))
    entry = first_of_category(events, category)
    after = np.flatnonzero(place > begin)
    enters = entry[after]
    draw = np.random.default_rng(seed)
    across, within = after[enters], after[~enters]
    across = across if len(across) <= PAIRS else draw.choice(across, PAIRS, replace=False)
    within = within if len(within) <= PAIRS - len(across) else draw.choice(within, PAIRS - len(across), replace=False)
    chosen = np.sort(np.concatenate([across, within]))
    lengths = np.minimum(chosen - begin[chosen], complements.LAST)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = events.row[np.arange(starts[-1]) - np.repeat(starts[:-1], lengths) + np.repeat(chosen - lengths, lengths)]
    return complements.train(Runs(starts, rows), events.row[chosen], known.vectors, category, complements.Config(seed=seed), progress)


def first_of_category(events: Shuffled, category: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(events,) which are a user's first of their category."""
    key = (events.user.astype(np.int64) << 32) | category[events.row]
    _, first = np.unique(key, return_index=True)
    found = np.zeros(len(events.row), dtype=bool)
    found[first] = True
    return found


# ---------------------------------------------------------------------- the blend


def ask(workspace: Workspace, known: Known, held_out: HeldOut, seed: int, progress: Progress) -> Questions:
    """Questions to known users, answered by channels that were counted and trained without them.

    Users are parted into `FOLDS`; folds are asked one after another until there are `ENOUGH` questions.
    """
    cases = entries(known, seed)
    fold = (draws(cases.users, seed + 1) * FOLDS).astype(int)
    everyone = known.events.users
    of_user = (draws(everyone.to_list(), seed + 1) * FOLDS).astype(int)
    parts: list[tuple[FeatureMaker, list[Any]]] = []
    asked = 0
    for number in range(FOLDS):
        if asked >= ENOUGH:
            break
        mine = np.flatnonzero(fold == number)
        if not len(mine):
            continue
        if len(mine) > ENOUGH:
            mine = np.sort(np.random.default_rng(seed).choice(mine, ENOUGH, replace=False))
        out = frozenset(everyone.filter(of_user == number).to_list())
        without = HeldOut(held_out.users | out, held_out.pairs, held_out.moment)
        part = Known.of(workspace, without, known.index, known.vectors)
        heads, _ = teach(part, seed, progress)
        further = channels(part, heads)
        retriever = part.with_channels(further)
        maker = FeatureMaker(part.catalogue, ["semantic", "associations", "popularity", *further])
        answers = []
        for done, answer in enumerate(_answers(cases.part(mine), Eligible(part.catalogue, "new"), retriever, maker)):
            answers.append(answer)
            progress("asking the channels", asked + done + 1, max(asked + len(mine), min(ENOUGH, len(cases))))
        parts.append((maker, answers))
        asked += len(mine)
    if not parts:
        raise TrainingError("nobody went from one category to another, so there is nothing to learn; a store needs two categories at least")
    answers = [answer for _, some in parts for answer in some]
    person = {user: i for i, user in enumerate(dict.fromkeys(user for user, _, _ in answers))}
    lengths = [len(bought) for _, _, bought in answers]
    return Questions(
        parts[0][0].names,
        np.concatenate([values for _, values, _ in answers]),
        np.concatenate([bought for _, _, bought in answers]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.asarray([person[user] for user, _, _ in answers], dtype=np.int64),
    )


def _answers(cases: Cases, eligible: Eligible, retriever: Retriever, maker: FeatureMaker) -> Any:
    facts = ItemFacts.of(retriever.catalogue)
    for number in range(len(cases)):
        profile = profile_of(cases.histories[number], facts)
        found = retriever.propose(seeds_of(profile), eligible.mask(cases, slice(number, number + 1))[0], PROPOSED)
        if len(found):
            yield cases.users[number], maker.features(found, profile).values, np.isin(found.rows, cases.targets[number])


def entries(known: Known, seed: int) -> Cases:
    """What known users had when they entered a category, as history, and what they had of it, as targets; their last `PER_USER` entries.

    Without an order a category's entry is drawn by lot, and everything of other categories is the history.
    """
    events = Shuffled.of(known.events, seed)
    ordered = known.events.order != "none"
    category = known.catalogue.category
    code = category[events.row]
    place = np.flatnonzero(first_of_category(events, category))
    begin, end = events.starts[events.user[place]], events.starts[events.user[place] + 1]
    if ordered:
        place, begin, end = (part[place > begin] for part in (place, begin, end))
    else:
        several = np.bincount(events.user[place], minlength=len(events.ids))[events.user[place]] > 1
        place, begin, end = place[several], begin[several], end[several]
    user = events.user[place]
    from_last = np.searchsorted(user, user, side="right") - 1 - np.arange(len(user))
    kept = from_last < PER_USER
    users, histories, targets = [], [], []
    for at, first, last in zip(place[kept].tolist(), begin[kept].tolist(), end[kept].tolist(), strict=True):
        rows, inside = events.row[first:last], code[first:last] == code[at]
        since = np.arange(first, last) >= at if ordered else inside
        users.append(str(events.ids[int(events.user[at])]))
        histories.append(_distinct(rows[~since]))
        targets.append(_distinct(rows[since & inside]))
    cases = Cases(users, Runs.of(histories), Runs.of(targets), [None] * len(users))
    cases = cases.solvable(Eligible(known.catalogue, "new"))
    alike = near_duplicates(cases, known.vectors)
    return Cases(cases.users, cases.histories, cases.targets.where(~alike), cases.within).solvable(Eligible(known.catalogue, "new"))


def _distinct(rows: NDArray[np.int32]) -> Sequence[int]:
    """Each row once, at its latest place."""
    return list(dict.fromkeys(rows[::-1].tolist()))[::-1]


def _save(parent: Path, models: Mapping[str, Model], card: Mapping[str, Any]) -> None:
    home = parent / learned.FOLDER
    with storing(f"the blend in {home}"):
        content = json.dumps({name: model.to_dict() for name, model in models.items()}).encode()
        if home.exists():
            shutil.rmtree(home / "card.json", ignore_errors=True)
        write_atomically(home / "models.json", content)
        write_atomically(home / "card.json", json.dumps(card, indent=1).encode())
