"""Users of a file: held out of a training, recorded without their ids, and looked up by the evaluation of their cases."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from crossaisle.app.cli.main import app
from crossaisle.data.errors import LeakError, StaleTrainingError
from crossaisle.data.settings import Settings
from crossaisle.data.splits import Split
from crossaisle.data.workspace import Workspace
from crossaisle.eval.offline.evaluation import Evaluation, Rankings
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.splits import cases as case_files
from crossaisle.eval.splits import hold_out, leakage, protocols
from crossaisle.eval.splits.cases import Cases, EligibleItems
from crossaisle.retrieval.index.builder import load
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events
from crossaisle.train import pipeline
from crossaisle.train.pipeline import RunOptions

from ..quick_training import quick_training

Trained = tuple[Workspace, dict[str, Any]]
CaseFile = Callable[..., Path]


@pytest.fixture(scope="module")
def store(demo_workspace: Workspace, settings: Settings) -> tuple[Catalogue, Cases, set[str]]:
    """The demo store's catalogue, a case of every user with two categories, and the test users of the default split."""
    catalogue, _, _ = load(demo_workspace, settings)
    events = Events.build(demo_workspace.table("interactions"), catalogue)
    everyone = protocols.sample_cases(Split("whole-category", test=1.0, validation=0.0), events, catalogue, "test", "new").cases
    split = protocols.resolve_split(Split(), events, catalogue)
    test_users = {user for user, is_test in zip(everyone.users, split.users(everyone.users, "test"), strict=True) if is_test}
    return catalogue, everyone.with_eligible_targets(EligibleItems(catalogue, "new")), test_users


@pytest.fixture(scope="module")
def training_users(store: tuple[Catalogue, Cases, set[str]]) -> list[str]:
    """Ten users who are not among the test users."""
    _, everyone, test_users = store
    return [user for user in everyone.users if user not in test_users][:10]


@pytest.fixture
def case_file(store: tuple[Catalogue, Cases, set[str]], tmp_path: Path) -> CaseFile:
    """Write the cases of users: `case_file("name", users, strangers=2)`, of which the first two get other ids."""
    catalogue, everyone, _ = store

    def write(name: str, users: list[str], strangers: int = 0) -> Path:
        cases = everyone.take(np.asarray([everyone.users.index(user) for user in users], dtype=np.int64))
        cases = replace(cases, users=[f"stranger {i}" if i < strangers else user for i, user in enumerate(cases.users)])
        path = tmp_path / f"{name}.jsonl"
        case_files.save_cases(cases, catalogue, path)
        return path

    return write


@pytest.fixture(scope="module")
def held(
    store: tuple[Catalogue, Cases, set[str]], training_users: list[str], demo_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, str]:
    """A copy of the demo store, trained with the ten users and two strangers held out, and the output of the command."""
    catalogue, everyone, _ = store
    folder = tmp_path_factory.mktemp("held")
    cases = everyone.take(np.asarray([everyone.users.index(user) for user in training_users], dtype=np.int64))
    case_files.save_cases(cases, catalogue, folder / "cases.jsonl")
    with (folder / "cases.jsonl").open("a") as file:
        file.write('{"user_id": "stranger 1"}\n{"user_id": "stranger 2", "history": []}\n')
    shutil.copytree(demo_workspace.path, folder / "shop")
    with quick_training():
        arguments = ["train", "-w", str(folder / "shop"), "--llm", "none", "--hold-out", str(folder / "cases.jsonl")]
        result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return Workspace(folder / "shop"), " ".join(result.output.split())


def evaluate(shop: Workspace, settings: Settings, file: Path) -> Rankings:
    options = EvaluationOptions(cases=str(file), budget=1)
    return Evaluation(shop, settings.with_(llm="none"), file.with_suffix(".out"), options).run()


# ---------------------------------------------------------------------- evaluating a file


def test_users_who_are_not_in_the_workspace_are_accepted(
    trained: Trained, settings: Settings, case_file: CaseFile, training_users: list[str]
) -> None:
    rankings = evaluate(trained[0], settings, case_file("cases", training_users, strangers=10))
    assert len(rankings.cases) == 10
    assert rankings.system_kinds["blend"] == "blend"
    assert not rankings.held_out.users


def test_test_users_of_the_split_are_accepted(
    trained: Trained, settings: Settings, case_file: CaseFile, store: tuple[Catalogue, Cases, set[str]]
) -> None:
    _, everyone, test_users = store
    users = [user for user in everyone.users if user in test_users][:6]
    assert evaluate(trained[0], settings, case_file("cases", users)).held_out.users == set(users)


def test_training_users_are_refused(trained: Trained, settings: Settings, case_file: CaseFile, training_users: list[str]) -> None:
    file = case_file("cases", training_users, strangers=3)
    message = rf"7 users of {file} are in the training data of trained parts \(factors, .*blend\); run `crossaisle train -w \S+ --hold-out {file}`"
    with pytest.raises(LeakError, match=message):
        evaluate(trained[0], settings, file)


@pytest.mark.parametrize("part", [*pipeline.TRAINABLE_CHANNELS, *leakage.BLEND_FOLDERS])
@pytest.mark.parametrize(
    ("changes", "leaking"),
    [
        ({}, 2),  # a training user and another one
        ({"held_out": None}, 3),  # --everything, or a card that cannot be understood
        ({"held_out": {"protocol": "users", "test": "all", "seed": 0}}, 3),
        ({"protocol": "whole-category"}, 2),
        ({"protocol": "leave-one-out"}, 3),
        ({"protocol": "temporal"}, 3),
        ({"snapshot": "another"}, 5),  # nobody knows which users it had
        ({"hold_out": "training users"}, 0),
        ({"hold_out": "training users", "held_out": None}, 1),  # the test user
        ({"hold_out": "training users", "salt": "another"}, 2),
        ({"hold_out": "one of them"}, 1),
    ],
)
def test_what_a_card_proves(
    demo_workspace: Workspace,
    store: tuple[Catalogue, Cases, set[str]],
    training_users: list[str],
    tmp_path: Path,
    part: str,
    changes: dict[str, Any],
    leaking: int,
) -> None:
    catalogue, everyone, test_users = store
    for name in ("snapshots", "workspace.json"):
        (tmp_path / name).symlink_to(demo_workspace.path / name)
    shop = Workspace(tmp_path)
    snapshot = shop.manifest.snapshot or ""
    split = protocols.resolve_split(Split(), Events.build(shop.table("interactions"), catalogue), catalogue).to_dict()
    split |= {name: value for name, value in changes.items() if name == "protocol"}
    card = {"snapshot": snapshot, "held_out": split} | {name: changes[name] for name in ("snapshot", "held_out") if name in changes}
    if "hold_out" in changes:
        users = training_users[:2] if changes["hold_out"] == "training users" else training_users[:1]
        card[hold_out.CARD_KEY] = hold_out.card_entry(users, changes.get("salt", snapshot))
    (tmp_path / part).mkdir()
    (tmp_path / part / "card.json").write_text(json.dumps({"about": card} if part == "graph" else card))
    cases = everyone.take(np.arange(5))
    cases = replace(cases, users=[*training_users[:2], min(test_users), "stranger 1", "stranger 2"])
    leaks = leakage.case_file_leaks(shop, cases, "cases.jsonl")
    assert [leak.count for leak in leaks] == ([leaking] if leaking else [])
    if leaks:
        assert f"({part})" in leaks[0].kind
        all_parts = " all" if part == "adapter" else ""
        assert leaks[0].remedy == f"run `crossaisle train -w {tmp_path}{all_parts} --hold-out cases.jsonl`"


# ---------------------------------------------------------------------- training


def test_a_training_that_held_the_users_out_is_accepted(
    held: tuple[Workspace, str], settings: Settings, case_file: CaseFile, training_users: list[str]
) -> None:
    shop, output = held
    assert "10 of the 12 users of" in output
    assert "are held out; the other 2 are not in the workspace" in output
    for file in (case_file("all", training_users), case_file("some", training_users[3:7], strangers=1)):
        rankings = evaluate(shop, settings, file)
        assert rankings.system_kinds["blend"] == "blend"
    protocol = EvaluationOptions("whole-category", max_cases=20, budget=1)
    Evaluation(shop, settings.with_(llm="none"), case_file("all", training_users).with_suffix(".protocol"), protocol).run()


def test_a_damaged_record_is_refused(
    held: tuple[Workspace, str], settings: Settings, case_file: CaseFile, training_users: list[str], tmp_path: Path
) -> None:
    shutil.copytree(held[0].path, tmp_path / "shop")
    path = tmp_path / "shop" / "blend" / "card.json"
    card = json.loads(path.read_text())
    card[hold_out.CARD_KEY]["sha256"].pop()
    path.write_text(json.dumps(card))
    with pytest.raises(LeakError, match=r"1 users of \S+ are in the training data of trained parts \(blend\)"):
        evaluate(Workspace(tmp_path / "shop"), settings, case_file("cases", training_users))


def test_cards_name_no_user(held: tuple[Workspace, str], training_users: list[str]) -> None:
    snapshot = held[0].manifest.snapshot or ""
    for part in ("factors", "blend"):
        text = (held[0].path / part / "card.json").read_text()
        assert not [user for user in [*training_users, "stranger 1"] if user in text]
        card = leakage.read_card(held[0].path / part / "card.json")
        assert card is not None
        assert card["held_out"]["protocol"] == "users"
        assert card[hold_out.CARD_KEY]["users"] == 10
        assert hold_out.hashes_of_card(card) == {hold_out.user_hash(user, snapshot) for user in training_users}


def test_the_training_view_has_no_held_out_user(demo_workspace: Workspace, settings: Settings, training_users: list[str]) -> None:
    users = frozenset(training_users)
    for everything in (False, True):
        options = RunOptions(Split(), ("factors",), pipeline.GraphConfig(), everything, users)
        view = pipeline._TrainingRun(demo_workspace, settings, options, lambda *_: None).view
        for known in (view.interactions, view.reviews):
            assert len(known)
            assert not users & set(known["user_id"])
        assert not users & set(view.events.users)
        assert not users & set(view.without_users(frozenset({"someone"})).interactions["user_id"]), "also in every fold"
        others = set(demo_workspace.table("interactions")["user_id"]) - set(view.interactions["user_id"])
        assert (others == users) is everything, "otherwise the test users of the split are held out as well"


def test_the_ranker_needs_a_blend_with_the_same_users_held_out(held: tuple[Workspace, str], settings: Settings) -> None:
    with pytest.raises(StaleTrainingError, match="held out other users; .* with the same --seed and --hold-out"):
        pipeline.train_workspace(held[0], settings.with_(llm="smollm2"), part="ranker")


def test_no_known_user(
    demo_workspace: Workspace, settings: Settings, case_file: CaseFile, training_users: list[str], tmp_path: Path
) -> None:
    shutil.copytree(demo_workspace.path, tmp_path / "shop")
    file = case_file("strangers", training_users[:4], strangers=4)
    metrics = pipeline.train_workspace(
        Workspace(tmp_path / "shop"), settings.with_(llm="none"), part="graph", channels=("factors",), hold_out=file
    )
    sentence = f"none of the 4 users of {file} is in the workspace, so nothing more is held out"
    assert metrics["hold_out"] == {"users": 4, "held_out": 0, "summary": sentence}
    card = json.loads((tmp_path / "shop" / "factors" / "card.json").read_text())
    assert card[hold_out.CARD_KEY] is None


@pytest.mark.parametrize("command", [["train", "--hold-out"], ["evaluate", "--out", "report", "--cases"]])
@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot be read"), ("no json\n", "invalid JSON"), ("", "write one JSON object per line"), ("\n \n", "names|has")],
)
def test_bad_files_on_the_command_line(
    demo_workspace: Workspace, tmp_path: Path, command: list[str], text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "users.jsonl").write_text(text)
    code = "from crossaisle.app.cli.main import main; main()"
    arguments = [sys.executable, "-c", code, *command, str(tmp_path / "users.jsonl"), "-w", str(demo_workspace.path), "--llm", "none"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert any(part in done.stderr for part in message.split("|"))
    assert not (demo_workspace.path / "factors").exists()
