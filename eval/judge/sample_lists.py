"""Recommendation lists for sampled users of a workspace, and histories from a workspace for lists from files."""

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
from ...data.errors import QueryError, storage_errors
from ...data.settings import Settings
from ...data.workspace import Workspace
from ...llm.models.model_source import resolve_quantization
from .recommendation_lists import RecommendationList, parse_recommendation_list, read_lists

if TYPE_CHECKING:
    from ...recommend.recommender import Recommender


def recommend_for_sample(
    path: Path,
    settings: Settings,
    out: Path | None,
    *,
    users: int,
    k: int,
    seed: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[RecommendationList]:
    """Return recommendations with explanations for randomly sampled users of a workspace.

    Args:
        path: Folder of the workspace.
        settings: Settings of the recommender.
        out: Folder where the lists are stored in a file that `read_lists` can read, and where an interrupted run resumes; None stores
            nothing.
        users: Number of users.
        k: Recommendations per user.
        seed: Seed of the sample.
        progress: Callback with (stage, done, total).

    Raises:
        WorkspaceError: The workspace cannot be opened.
        QueryError: No sampled user has recommendations.
    """
    from ...recommend.recommender import Recommender

    workspace = Workspace(path)
    recommender = Recommender.open(workspace, settings=settings)
    sampled = sorted(sample_users(recommender.histories, users, seed))
    file = out / f"recommendations-{_digest(workspace, settings, k, seed)}.jsonl" if out is not None else None
    by_user = _stored_lists(file)
    for number, user in enumerate(sampled, 1):
        if user not in by_user and (answer := _recommend(recommender, user, k)) is not None:
            by_user[user] = answer
            if file is not None:
                _append(file, answer)
        if progress:
            progress("recommending", number, len(sampled))
    answers = [by_user[user] for user in sampled if user in by_user and by_user[user].entries]
    if not answers:
        raise QueryError(f"no user in {path} has recommendations; check with `crossaisle recommend -w {path} --user ID`")
    return answers


def _recommend(recommender: Recommender, user: str, k: int) -> RecommendationList | None:
    """Return a user's recommendations, None if the history is too short to recommend from."""
    from ...recommend.serialization import to_dict

    try:
        content = to_dict(recommender.recommend(user_id=user, k=k))
    except QueryError:
        return None
    return replace(parse_recommendation_list(content), history=_history(recommender, user))


def add_histories(answers: Sequence[RecommendationList], path: Path) -> list[RecommendationList]:
    """Return the lists with histories from a workspace, for its users whose list has no history."""
    from ...recommend.recommender import Recommender

    recommender = Recommender.open(Workspace(path), llm="none")
    users = set(recommender.histories)
    return [
        replace(answer, history=_history(recommender, answer.user)) if not answer.history and answer.user in users else answer
        for answer in answers
    ]


def align_histories(files: Mapping[str, Sequence[RecommendationList]]) -> dict[str, list[RecommendationList]]:
    """Return the files with one history and text query per user: those of the first file that has them.

    Otherwise the two orders of a pair would be different questions.
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


def sample_users(users: Iterable[str], max_users: int | None, seed: int) -> set[str]:
    """Return a random sample that depends on the ids and the seed only: a larger sample contains the smaller ones."""
    order = sorted(set(users), key=lambda user: (hashlib.sha256(f"{seed} {user}".encode("utf-8", "replace")).digest(), user))
    return set(order[:max_users])


def list_statistics(answers: Sequence[RecommendationList], file: Path | None) -> dict[str, Any]:
    """Return statistics of a system's lists as JSON, with the SHA-256 of the file they come from."""
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
    """Return a digest of all that determines recommendations: version, snapshot, everything built from it, models, k, and seed."""
    manifest = (workspace.path / "workspace.json").read_text("utf-8")
    cards = [card.read_text("utf-8") for card in sorted(workspace.path.glob("*/card.json"))]
    inputs = [__version__, manifest, cards, settings.llm, resolve_quantization(settings).quantization, k, seed]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:12]


def _stored_lists(file: Path | None) -> dict[str, RecommendationList]:
    """Return the lists of a file by user; a last line that an interruption truncated is removed from the file."""
    if file is None or not file.exists():
        return {}
    content = file.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if complete != content:
        with storage_errors(f"the recommendations in {file}"):
            write_atomically(file, complete)
    return {answer.user: answer for answer in read_lists(file)} if complete.strip() else {}


def _append(file: Path, answer: RecommendationList) -> None:
    with storage_errors(f"the recommendations in {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as stream:
            stream.write((json.dumps(answer.to_dict(), ensure_ascii=True) + "\n").encode())
