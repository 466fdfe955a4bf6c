"""`train ranker --teacher` on a trained store: what is asked, stored and reported; and options that cannot be."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crossaisle.app.cli.main import app
from crossaisle.app.terminal.training_summary import training_summary
from crossaisle.data.errors import EndpointError, SettingsError, TrainingError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.train import pipeline
from crossaisle.train.lora.config import FinetuneConfig
from crossaisle.train.teacher.asking import CACHE
from crossaisle.train.teacher.config import TeacherConfig
from crossaisle.train.teacher.labels import FILE

from ...command_line import assert_rejected, run
from ...judge_server import Server
from ...teacher_world import in_json, parts
from .conftest import MODEL

QUICK = FinetuneConfig(rank=2, alpha=4, batch=4, lr=1e-3, validate_every=50)
BUDGET = 120


def by_hash(_: str, user: str) -> str:
    """Grade each thing by a hash of it and of what the person has, the same in every order."""
    has, things = parts(user)
    return in_json([zlib.crc32(f"{has} {thing}".encode()) % 3 for thing in things])


def card(shop: Workspace, folder: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((shop.path / folder / "card.json").read_text())
    return content


def test_a_store_is_taught_end_to_end(
    trained: tuple[Workspace, dict[str, Any]], teacher: Server, small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Workspace(Path(shutil.copytree(trained[0].path, tmp_path / "shop")))
    heads_before = (shop.path / "complements" / "heads.safetensors").read_bytes()
    teacher.rule = by_hash
    config = TeacherConfig(f"openai:{teacher.url}", MODEL, BUDGET)
    with pytest.raises(TrainingError, match="5 training queries are too few"):
        pipeline.train_workspace(shop, small, part="ranker", ranker=QUICK, examples=5, pairs=20, teacher=config)
    assert teacher.received == [], "what fails without the teacher fails before it is paid"

    metrics = pipeline.train_workspace(shop, small, part="ranker", ranker=QUICK, examples=24, pairs=20, teacher=config)
    ranker = metrics["ranker"]
    taught = ranker["teacher"]
    assert (taught["model"], taught["questions"], taught["requests"]) == (MODEL, BUDGET // 2, BUDGET)
    assert taught["kept_lists"] > 5
    assert taught["kept_pairs"] > 20
    adapter, heads = card(shop, "adapter"), card(shop, "complements")
    assert adapter["teacher"]["hash"] == heads["teacher"]["hash"]
    assert adapter["teacher"]["kept_lists"] == taught["kept_lists"]
    assert adapter["figures"]["examples"] == 24 + taught["kept_lists"]
    assert adapter["pairs"]["examples"] > 20
    assert heads["figures"]["taught_pairs"] == taught["needed_pairs"] == len(json.loads((shop.path / FILE).read_text())["pairs"])
    assert (shop.path / "complements" / "heads.safetensors").read_bytes() != heads_before
    assert heads["snapshot"] == adapter["snapshot"]
    assert (shop.path / CACHE).exists()
    summary = training_summary(metrics)
    assert summary[f"questions to the teacher {MODEL}"].startswith("60, 60 answered in both orders; 120 requests, 0 answers from the cache")

    # The same from the command line: nothing is asked or trained again. Then without the endpoint, too.
    monkeypatch.setenv("CROSSAISLE_LLM", small.llm)
    monkeypatch.setenv("CROSSAISLE_QUANTIZATION", small.quantization)
    options = ["--rank", "2", "--lr", "0.001", "--examples", "24", "--pairs", "20", "--json"]
    by = ["--teacher", f"openai:{teacher.url}", "--teacher-model", MODEL, "--teacher-budget", str(BUDGET)]
    again = CliRunner().invoke(app, ["train", "-w", str(shop.path), "ranker", *options, *by])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["ranker"]["teacher"]["requests"] == 0
    assert len(teacher.received) == BUDGET

    # A later training of the heads learns the stored pairs as well.
    later = pipeline.train_workspace(shop, small, part="graph", channels=["complements"])
    assert later["complements"]["taught_pairs"] == taught["needed_pairs"]
    assert card(shop, "complements")["teacher"] == heads["teacher"]


def test_a_teacher_that_does_not_answer_leaves_the_store_as_it_was(
    trained: tuple[Workspace, dict[str, Any]], teacher: Server, small: Settings, tmp_path: Path
) -> None:
    shop = Workspace(Path(shutil.copytree(trained[0].path, tmp_path / "shop")))
    heads = (shop.path / "complements" / "heads.safetensors").read_bytes()
    teacher.key = "sk-secret"
    config = TeacherConfig(f"openai:{teacher.url}", MODEL, BUDGET)
    with pytest.raises(EndpointError, match="CROSSAISLE_JUDGE_KEY"):
        pipeline.train_workspace(shop, small, part="ranker", ranker=QUICK, examples=24, pairs=20, teacher=config)
    assert not (shop.path / "adapter").exists()
    assert not (shop.path / FILE).exists()
    assert (shop.path / "complements" / "heads.safetensors").read_bytes() == heads


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--teacher", "http://127.0.0.1:9/v1", "--teacher-model", "m"], "must be an endpoint, openai:http://host:port/v1"),
        (["--teacher", "openai:http://me:secret@host/v1", "--teacher-model", "m"], "without credentials"),
        (["--teacher", "openai:http://127.0.0.1:9/v1"], "--teacher-model"),
        (["--teacher", "openai:http://127.0.0.1:9/v1", "--teacher-model", "m", "--teacher-budget", "-5"], "2 or more requests, not -5"),
        (["--teacher", "openai:http://127.0.0.1:9/v1", "--teacher-model", "m", "--teacher-budget", "nan"], "--teacher-budget"),
        (["--teacher-model", "m"], "name its endpoint with --teacher"),
    ],
)
def test_impossible_options_are_rejected_in_one_sentence(demo_workspace: Workspace, options: list[str], words: str) -> None:
    assert_rejected(run("train", "-w", demo_workspace.path, "ranker", *options), words)


def test_only_the_ranker_has_a_teacher(demo_workspace: Workspace, settings: Settings) -> None:
    by = ["--teacher", "openai:http://127.0.0.1:9/v1", "--teacher-model", "m"]
    assert_rejected(run("train", "-w", demo_workspace.path, "blend", *by), "--teacher: for the parts ranker and all, not for blend")
    with pytest.raises(SettingsError, match="for the parts ranker and all, not for graph"):
        pipeline.train_workspace(demo_workspace, settings, part="graph", teacher=TeacherConfig("openai:http://h/v1", "m"))
    with pytest.raises(SettingsError, match="a model that is trained here, not none"):
        pipeline.train_workspace(demo_workspace, settings.with_(llm="none"), part="all", teacher=TeacherConfig("openai:http://h/v1", "m"))


@pytest.mark.parametrize(
    "wrong", [{"budget": 1}, {"budget": float("nan")}, {"budget": True}, {"timeout": float("nan")}, {"concurrency": 0}, {"model": " "}]
)
def test_invalid_configuration(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        TeacherConfig(**{"endpoint": "openai:http://h/v1", "model": "m", **wrong})
