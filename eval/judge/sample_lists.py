"""What is judged: recommendations made for users of a workspace, or those of a file with the histories that a workspace knows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...data.atomic_files import write_atomically
from ...data.errors import QueryError, storing
from ...data.settings import Settings
from ...data.workspace import Workspace
from ...llm.models.language_model import settled
from .recommendation_lists import Answer, answer_of, read

if TYPE_CHECKING:
    from ...recommend.recommender import Recommender


def recommended(
    path: Path,
    settings: Settings,
    out: Path | None,
    *,
    users: int,
    k: int,
    seed: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Answer]:
    """Recommendations with explanations for users of a workspace, by lot.

    Args: out: folder in which they are kept as a file that `judged.read` takes, and found again by a run that goes on; None keeps nothing.
    Raises: WorkspaceError and its kinds; QueryError: nobody could be recommended anything.
    """
    from ...recommend.recommender import Recommender

    workspace = Workspace(path)
    recommender = Recommender.open(workspace, settings=settings)
    drawn = sorted(sample(recommender.histories, users, seed))
    file = out / f"recommendations-{_digest(workspace, settings, k, seed)}.jsonl" if out is not None else None
    found = _kept(file)
    for number, user in enumerate(drawn, 1):
        if user not in found and (answer := _made(recommender, user, k)) is not None:
            found[user] = answer
            if file is not None:
                _append(file, answer)
        if progress:
            progress("recommending", number, len(drawn))
    answers = [found[user] for user in drawn if user in found and found[user].entries]
    if not answers:
        raise QueryError(f"nobody in {path} could be recommended anything; see `crossaisle recommend -w {path} --user ID`")
    return answers


def _made(recommender: Recommender, user: str, k: int) -> Answer | None:
    """What a user is recommended; None where their history gives nothing to go by."""
    from ...recommend.serialization import to_dict

    try:
        told = to_dict(recommender.recommend(user_id=user, k=k))
    except QueryError:
        return None
    return replace(answer_of(told), history=_history(recommender, user))


def with_histories(answers: Sequence[Answer], path: Path) -> list[Answer]:
    """The answers with the histories of a workspace, where they tell none and the user is in it."""
    from ...recommend.recommender import Recommender

    recommender = Recommender.open(Workspace(path), llm="none")
    known = set(recommender.histories)
    return [
        replace(answer, history=_history(recommender, answer.user)) if not answer.history and answer.user in known else answer
        for answer in answers
    ]


def same_histories(files: Mapping[str, Sequence[Answer]]) -> dict[str, list[Answer]]:
    """The files with the same history and words of a user in all of them: those of the first file that tells any.

    Or the two orders of a pair would be two questions.
    """
    history: dict[str, tuple[str, ...]] = {}
    need: dict[str, str] = {}
    for answers in files.values():
        for answer in answers:
            history[answer.user] = history.get(answer.user) or answer.history
            need[answer.user] = need.get(answer.user) or answer.need
    return {
        name: [replace(answer, history=history[answer.user], need=need[answer.user]) for answer in answers]
        for name, answers in files.items()
    }


def sample(users: Iterable[str], most: int | None, seed: int) -> set[str]:
    """So many users, by a lot that hangs on their ids and the seed alone: more users keep those that were drawn before."""
    order = sorted(set(users), key=lambda user: (hashlib.sha256(f"{seed} {user}".encode("utf-8", "replace")).digest(), user))
    return set(order[:most])


def described(answers: Sequence[Answer], file: Path | None) -> dict[str, Any]:
    """What a system's answers are, in figures; and the file's SHA-256."""
    entries = [entry for answer in answers for entry in answer.entries]
    words = [len(entry.explanation.split()) for entry in entries if entry.explanation.strip()]
    return {
        "users": len(answers),
        "recommendations": len(entries),
        "with_explanation": len(words),
        "with_evidence": sum(bool(entry.evidence) for entry in entries),
        "words": round(sum(words) / len(words), 2) if words else None,
        "worded_by": dict(sorted(Counter(entry.source or "not told" for entry in entries).items())),
        **({"sha256": hashlib.sha256(file.read_bytes()).hexdigest()} if file else {}),
    }


def _history(recommender: Recommender, user: str) -> tuple[str, ...]:
    items = recommender.catalogue.records(recommender.histories.of(user).rows.tolist())
    return tuple(
        f"{item.title or item.item_id} ({', '.join(item.category)})" if item.category else item.title or item.item_id for item in items
    )


def _digest(workspace: Workspace, settings: Settings, k: int, seed: int) -> str:
    """What recommendations hang on: the version, the snapshot and all that was built and trained from it, the models."""
    manifest = (workspace.path / "workspace.json").read_text("utf-8")
    cards = [card.read_text("utf-8") for card in sorted(workspace.path.glob("*/card.json"))]
    told = [__version__, manifest, cards, settings.llm, settled(settings).quantization, k, seed]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def _kept(file: Path | None) -> dict[str, Answer]:
    """The whole lines of a file that a kill may have cut."""
    if file is None or not file.exists():
        return {}
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with storing(f"the recommendations in {file}"):
            write_atomically(file, whole)
    return {answer.user: answer for answer in read(file)} if whole.strip() else {}


def _append(file: Path, answer: Answer) -> None:
    with storing(f"the recommendations in {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as lines:
            lines.write((json.dumps(answer.to_dict(), ensure_ascii=True) + "\n").encode())
