"""Recommendations with a model at an endpoint: it ranks, its weight is measured, and without it the blend answers and says so."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crossaisle.app.cli.main import app
from crossaisle.data.errors import EndpointError, SettingsError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.eval.offline import report as reports
from crossaisle.eval.offline.evaluation import Evaluation
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.recommend.ranking.text_weight import load_text_weight
from crossaisle.recommend.recommender import Recommender
from crossaisle.train import pipeline
from crossaisle.train.llm import question_reading

from ...rank_server import RankServer


def at(server: RankServer, settings: Settings, **changes: object) -> Settings:
    return settings.with_(llm=f"openai:{server.url}", llm_model=server.model, **changes)


def test_a_model_at_an_endpoint_ranks_and_without_it_the_blend_answers(demo_workspace: Workspace, settings: Settings) -> None:
    with (
        RankServer(shape="score").running() as server,
        closing(Recommender.open(demo_workspace, settings=at(server, settings, llm_weight=2.0))) as recommender,
    ):
        without = Recommender.open(demo_workspace, settings=settings.with_(llm="none"))
        user = next(iter(recommender.histories))
        answer, plain = recommender.recommend(user_id=user, k=10), without.recommend(user_id=user, k=10)
        assert answer.llm is not None
        assert (answer.llm.model, answer.llm.candidates_read, answer.llm.weight) == ("ranker", 20, 2.0)
        assert answer.llm.summary == "ranked by the blend and ranker (weight 2, 20 read)"
        assert answer.llm.tokens_in == 7 * 20  # as the server counts
        assert [entry.item for entry in answer] != [entry.item for entry in plain]
        assert {entry.explanation.source for entry in answer if entry.explanation} <= {"evidence", "none"}
        text = recommender.recommend(text="something for a rainy camping trip", k=3, explain=False)
        assert text.llm is not None
        assert text.llm.summary.startswith("ranked by the channels' ranks and ranker (weight 2, ")
        server.fault = "broken"
        down = recommender.recommend(user_id=user, k=10)
        assert down.llm is not None
        assert down.llm.summary == "the LLM did not read: the endpoint is not used: it fails (500)"
        assert [entry.item for entry in down] == [entry.item for entry in plain]
        again = recommender.recommend(text="something for a rainy camping trip", k=3, explain=False)
        assert again.llm is not None
        assert "is not asked for" in again.llm.summary


@pytest.fixture(scope="module")
def copied(trained: tuple[Workspace, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("remote") / "shop"
    shutil.copytree(trained[0].path, path)
    return path


def test_the_weight_of_a_remote_model_is_measured_and_used(copied: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_reading, "MIN_QUESTIONS", 30)
    with RankServer(shape="rerank").running() as server:
        remote = at(server, settings)
        before = Recommender.open(copied, settings=remote).llm_weight
        assert before.reason == "its weight here is not measured (crossaisle train llm-weight)"
        metrics = pipeline.train_workspace(Workspace(copied), remote, part="llm-weight", minutes=0.001)["llm_weight"]
        assert (metrics["model"], metrics["protocol"], metrics["questions"]) == ("ranker", "rerank", 30)
        assert metrics["tokens_per_question"] == 7 * 20
        in_use = Recommender.open(copied, settings=remote).llm_weight
        assert (in_use.reason == "") == (metrics["gain"]["low"] > 0)
        # The length of a title says nothing, so the weight is near 0 or its gain is not sure.
        assert in_use.weight.is_zero
        options = EvaluationOptions(max_cases=20, llm_cases=6, budget=1)
        always = remote.with_(llm_policy="always", llm_weight=0.5, rerank_depth=30)
        rankings = Evaluation(Workspace(copied), always, copied.parent / "out", options).run()
        report = reports.build(rankings, options, Workspace(copied), always.llm)
        assert set(report["llm_depths"]["depths"]) == {"20", "30"}
        assert report["llm_depths"]["read_cases"] == report["llm_depths"]["cases"] == 6
        assert report["llm_depths"]["tokens_per_case"] >= 7 * 30
        for figures in report["llm_depths"]["depths"].values():
            assert figures["smallest_detectable_gain"] > 0
        assert "llm zero-shot" in report["systems"]
        assert "llm" not in report["systems"]
        server.fault = "busy"
        with pytest.raises(EndpointError, match="it is busy"):
            pipeline.train_workspace(Workspace(copied), remote, part="llm-weight", minutes=0.001)


def test_a_set_weight_is_evaluated_in_an_untrained_store(demo_workspace: Workspace, settings: Settings, tmp_path: Path) -> None:
    with RankServer(shape="score").running() as server:
        options = EvaluationOptions(max_cases=20, llm_cases=6, budget=1)
        rankings = Evaluation(demo_workspace, at(server, settings, llm_weight=0.5), tmp_path / "out", options).run()
    assert (len(rankings.ranked_rows["blend"]), len(rankings.ranked_rows["blend without llm"])) == (6, 20)
    assert "blend" in rankings.llm_systems
    assert reports.build(rankings, options, demo_workspace, "ranker")["llm_depths"]["cases"] == 6


def test_bad_options_are_one_sentence(copied: Path, settings: Settings) -> None:
    run = CliRunner()
    for arguments, message in (
        (["--llm", "openai:http://127.0.0.1:9/v1"], "name the model at the endpoint openai:http://127.0.0.1:9/v1 with --llm-model"),
        (["--llm-weight", "nan"], "llm-weight must be auto or a number from 0 to 100, not 'nan'"),
        (["--llm-weight", "-1"], "llm-weight must be auto or a number from 0 to 100, not '-1'"),
        (["--llm-policy", "sometimes"], "llm-policy 'sometimes' is not one of when-better, always, never"),
        (["--rerank-depth", "0"], "rerank-depth must be a whole number from 1 to 200, not 0"),
        (["--rerank-depth", "1000"], "rerank-depth must be a whole number from 1 to 200, not 1000"),
    ):
        rejected = run.invoke(app, ["recommend", "-w", str(copied), "--items", "AV-020", *arguments])
        assert isinstance(rejected.exception, SettingsError)
        assert message in str(rejected.exception)
    rejected = run.invoke(app, ["train", "-w", str(copied), "llm-weight", "--minutes", "0"])
    assert isinstance(rejected.exception, SettingsError)
    assert "minutes must be above 0" in str(rejected.exception)
    # A depth larger than the pool reads the pool.
    with RankServer(shape="score").running() as server:
        options = ["--llm", f"openai:{server.url}", "--llm-model", "ranker", "--llm-weight", "0.5", "--rerank-depth", "200"]
        answer = run.invoke(app, ["recommend", "-w", str(copied), "--items", "AV-020", "--json", *options])
        assert answer.exit_code == 0, answer.output
        read = json.loads(answer.output)["llm"]
        assert 20 < read["candidates_read"] <= 200
        ranked = [body for body in server.bodies if "text_2" in body]  # the later ones ask for explanations
        assert read["candidates_read"] == len(ranked[-1]["text_2"])


def test_an_untrained_store_gets_a_weight_for_text_queries(demo_workspace: Workspace, settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "shop"
    shutil.copytree(demo_workspace.path, path)
    with RankServer(shape="score").running() as server:
        remote = at(server, settings)
        metrics = pipeline.train_workspace(Workspace(path), remote, part="llm-weight")
        assert "has no blend" in metrics["llm_weight"]["left_out"]
        assert metrics["text_weight"]["pairs"] >= 40
        assert metrics["text_weight"]["model"] == "ranker"
        measured = load_text_weight(path, remote)
        assert measured is not None
        assert measured.weight == metrics["text_weight"]["weight"]
