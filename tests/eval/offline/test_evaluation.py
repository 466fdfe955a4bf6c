"""Evaluations end to end on the demo store: reproducible metrics, resumption after a kill, error messages of bad options."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from crossaisle.app.reports.evaluation_page import page
from crossaisle.data.errors import CrossaisleError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.eval.metrics.accuracy import hits, ndcg
from crossaisle.eval.offline import report as reports
from crossaisle.eval.offline.evaluation import Evaluation, Rankings
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.splits.cases import Cases
from crossaisle.retrieval.items.ragged import RaggedArray

QUICK = EvaluationOptions(max_cases=30, llm_cases=3, budget=2)


def run(shop: Workspace, settings: Settings, out: Path, options: EvaluationOptions) -> tuple[Rankings, dict]:
    rankings = Evaluation(shop, settings, out, options).run()
    written = reports.write(reports.build(rankings, options, shop, settings.llm), out)
    return rankings, json.loads(written.read_text())


@pytest.fixture(scope="module")
def evaluated(demo_workspace: Workspace, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rankings, dict, Path]:
    out = tmp_path_factory.mktemp("evaluation")
    return *run(demo_workspace, settings, out, QUICK), out


def test_every_system_has_its_interval(evaluated: tuple[Rankings, dict, Path]) -> None:
    _, report, _ = evaluated
    systems = report["systems"]
    assert report["cases"] == 30
    assert report["llm_cases"] == 3
    channels = {name for name, entry in systems.items() if entry["kind"] == "channel"}
    assert {"semantic", "associations", "popularity", "factors", "item_regression", "item_knn", "llm zero-shot"} < channels
    ablations = {name for name, entry in systems.items() if entry["kind"] == "ablation"}
    assert ablations == {f"blend without {name}" for name in channels - {"llm zero-shot"}}
    assert systems["blend"]["kind"] == "blend"
    assert report["trained"] is False
    assert sum(entry["kind"] == "baseline" for entry in systems.values()) == 12
    for name, entry in systems.items():
        for metric in ("ndcg@10", "recall@10", "hit@10", "mrr", "map@10"):
            interval = entry[metric]
            assert interval["low"] <= interval["value"] <= interval["high"], (name, metric)
        assert entry["cases"] == (3 if name == "llm zero-shot" else 30)
        assert ("on_llm_part" in entry) == (entry["cases"] == 30)
    best = report["best_baseline"]
    assert systems[best]["ndcg@10"]["value"] == max(entry["ndcg@10"]["value"] for entry in systems.values() if entry["kind"] == "baseline")
    assert systems[best]["vs_best_baseline"]["value"] == 0
    assert systems["random"]["vs_best_baseline"]["high"] < 0.1


def test_metrics_match_the_rankings(evaluated: tuple[Rankings, dict, Path]) -> None:
    rankings, report, _ = evaluated
    cases, llm_cases = rankings.cases, rankings.cases.take(rankings.llm_case_indices)
    for name, top in rankings.ranked_rows.items():
        system_cases = llm_cases if name in rankings.llm_systems else cases
        assert len(top) == len(system_cases)
        values = ndcg(hits(top, system_cases.targets), system_cases.targets.lengths, 10)
        assert report["systems"][name]["ndcg@10"]["value"] == pytest.approx(values.mean(), abs=1e-5)
        mask = rankings.eligible.mask(system_cases, slice(0, len(system_cases)))
        case, rank = np.nonzero(top >= 0)
        assert mask[case, top[case, rank]].all(), f"{name} ranks an item that is not eligible"
        assert all(len(set(row[row >= 0].tolist())) == (row >= 0).sum() for row in top), f"{name} ranks an item twice"
        if report["systems"][name]["kind"] == "baseline":
            assert (top >= 0).sum(axis=1).tolist() == np.minimum(mask.sum(axis=1), top.shape[1]).tolist(), "all eligible items are ranked"
    losing = report["losing"]
    assert all(case["difference"] < 0 for case in losing)


def test_same_seed_and_checkpoint_give_the_same_metrics(
    evaluated: tuple[Rankings, dict, Path], demo_workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    _, report, out = evaluated
    resumed = Evaluation(demo_workspace, settings, out, QUICK).run()
    assert reports.to_jsonable(reports.build(resumed, QUICK, demo_workspace, settings.llm)) == report
    no_llm = settings.with_(llm="none")
    reports_without_llm = [run(demo_workspace, no_llm, tmp_path / str(i), QUICK)[1] for i in range(2)]
    assert reports_without_llm[0] == reports_without_llm[1]
    for name, entry in reports_without_llm[0]["systems"].items():
        if name in report["systems"]:
            assert entry["ndcg@10"] == report["systems"][name]["ndcg@10"], name
    other_seed = run(demo_workspace, no_llm, tmp_path / "2", EvaluationOptions(max_cases=30, llm_cases=3, budget=2, seed=1))[1]
    assert other_seed["systems"]["ease"] != reports_without_llm[0]["systems"]["ease"]


def test_saved_cases_can_be_evaluated_again(
    evaluated: tuple[Rankings, dict, Path], demo_workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    from crossaisle.eval.splits import cases as case_files

    rankings, _, _ = evaluated
    file = tmp_path / "cases.jsonl"
    case_files.save_cases(rankings.cases, rankings.training_view.catalogue, file)
    rankings_from_file, report = run(
        demo_workspace, settings.with_(llm="none"), tmp_path / "out", EvaluationOptions(cases=str(file), budget=2)
    )
    assert list(rankings_from_file.cases.users) == list(rankings.cases.users)
    assert rankings_from_file.cases.targets.rows.tolist() == rankings.cases.targets.rows.tolist()
    assert rankings_from_file.held_out.users == set(rankings.cases.users), "users of the test cases are held out of the training data"
    assert report["systems"]["most popular"]["ndcg@10"]["value"] > 0
    # The users of the file are the test users of the seed; validation users must be others, or nothing would be tuned.
    assert report["baselines"]["ease"]["validation_cases"] > 10
    assert len({trial["ndcg@10"] for trial in report["baselines"]["ease"]["trials"]}) > 1


@pytest.mark.parametrize("protocol", ["whole-category", "leave-one-out", "temporal"])
def test_other_protocols(demo_workspace: Workspace, settings: Settings, tmp_path: Path, protocol: str) -> None:
    options = EvaluationOptions(protocol=protocol, max_cases=25, budget=1)  # type: ignore[arg-type]
    rankings, report = run(demo_workspace, settings.with_(llm="none"), tmp_path, options)
    assert report["scope"] == ("any" if protocol == "leave-one-out" else "new")
    assert report["systems"]["blend"]["kind"] == "blend"
    assert report["llm_cases"] == 0
    page(report, tmp_path / "report.html")
    description = "Targets: all their items of one sampled category" if protocol == "whole-category" else "History: everything before"
    assert description in (tmp_path / "report.html").read_text()
    if protocol == "whole-category":
        category = rankings.training_view.catalogue.category
        assert all(
            len(set(category[targets].tolist())) == 1 for targets in map(rankings.cases.targets.__getitem__, range(len(rankings.cases)))
        )
        assert not rankings.held_out.users & set(rankings.training_view.interactions["user_id"])
    if protocol == "temporal":
        assert rankings.training_view.interactions["timestamp"].max() < rankings.split.moment


def test_baselines_only(demo_workspace: Workspace, settings: Settings, tmp_path: Path) -> None:
    _, report = run(demo_workspace, settings, tmp_path, EvaluationOptions(max_cases=25, budget=1, baselines_only=True))
    assert {about["kind"] for about in report["systems"].values()} == {"baseline"}
    page(report, tmp_path / "report.html")
    assert "Targets among the candidates" not in (tmp_path / "report.html").read_text()


def test_oracle_by_hand() -> None:
    cases = Cases(["u", "v", "w"], RaggedArray.of([[0], [0], [0]]), RaggedArray.of([[1, 2], [3], [1, 4, 5]]), [None] * 3)
    oracle = reports.oracle_section([[9, 2, 1], [1, 2], [5, 7, 8, 9]], cases, 2, 0)
    assert oracle["candidates"] == 3
    assert oracle["recall"]["value"] == pytest.approx((1 + 0 + 1 / 3) / 3, abs=1e-5)
    one_of_two = 1 / (1 + 1 / np.log2(3))  # a hit at rank 1, of an ideal list of two
    assert oracle["ndcg@2"]["value"] == pytest.approx((1 + 0 + one_of_two) / 3, abs=1e-5)
    assert oracle["ndcg@2"]["low"] <= oracle["ndcg@2"]["value"] <= oracle["ndcg@2"]["high"]


def test_one_category_and_groups(demo_workspace: Workspace, settings: Settings, tmp_path: Path) -> None:
    users = demo_workspace.table("interactions")["user_id"].unique().sort().to_list()
    (tmp_path / "users.csv").write_text(
        "user_id,town\n" + "".join(f"{user},{'north' if i % 2 else 'south'}\n" for i, user in enumerate(users[:-5]))
    )
    category = demo_workspace.table("items")["category"].list.first().value_counts().sort("count")["category"][-1]
    options = EvaluationOptions(target_category=category, budget=1, groups=str(tmp_path / "users.csv"), group_by="town")
    rankings, report = run(demo_workspace, settings.with_(llm="none"), tmp_path / "out", options)
    in_category = rankings.training_view.catalogue.in_categories([category])
    for top in rankings.ranked_rows.values():
        assert in_category[top[top >= 0]].all()
    groups = report["systems"]["ease"]["groups"]
    assert set(groups) == {"north", "south", "gap"}
    assert groups["gap"]["value"] == pytest.approx(abs(groups["north"]["value"] - groups["south"]["value"]), abs=1e-4)


def test_html_page_is_complete_and_self_contained(evaluated: tuple[Rankings, dict, Path], tmp_path: Path) -> None:
    _, report, _ = evaluated
    hostile = "<script>alert(1)</script> $\\alpha$"
    report = json.loads(json.dumps(report))
    report["losing"] = [{"case": 1, "difference": -0.5, "history": [hostile], "targets": ["x"], "blend": [], "ease": ["y"]}]
    page(report, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert text.count("<svg") == 3
    links = set(re.findall(r"""(?:src|href)=["']?([^"'\s>]+)""", text))
    assert all(link.startswith("#") for link in links), "the page loads nothing"
    for name in report["systems"]:
        assert f"<td>{name}</td>" in text


def cli(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from crossaisle.app.cli.main import main; main()", "evaluate", *arguments]


def test_killed_run_resumes(evaluated: tuple[Rankings, dict, Path], demo_workspace: Workspace, tmp_path: Path) -> None:
    _, report, _ = evaluated
    command = cli("-w", str(demo_workspace.path), "--out", str(tmp_path), "--max-cases", "30", "--llm-cases", "3", "--budget", "2")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    margins = tmp_path / ".state" / "zero-shot.jsonl"
    deadline = time.monotonic() + 120
    while not (margins.exists() and margins.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert margins.exists()
    logged = margins.read_text()
    margins.write_text(logged + "[17, [[3, 0.")  # a line cut off by a kill
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "minus the best baseline" in done.stdout
    assert margins.read_text().startswith(logged.rpartition("\n")[0])
    resumed = json.loads((tmp_path / "report.json").read_text())
    assert resumed == report
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be 1 to 200"),
        ({"k": 5000}, "k must be 1 to 200"),
        ({"protocol": "random"}, "--protocol must be one of users, whole-category, leave-one-out, temporal"),
        ({"scope": "any"}, "--protocol users ranks categories that are new to the shopper"),
        ({"scope": "any", "protocol": "whole-category"}, "--protocol whole-category ranks categories that are new to the shopper"),
        ({"scope": "some", "protocol": "temporal"}, "--scope must be new or any"),
        ({"at": "2025-01-01"}, "--at requires --protocol temporal"),
        ({"at": "soon", "protocol": "temporal"}, "--at must be a date such as 2024-01-31"),
        ({"at": "1990-01-01", "protocol": "temporal"}, "no interactions before that date"),
        ({"at": "2090-01-01", "protocol": "temporal"}, "no interactions after that date"),
        ({"llm_cases": -1}, "--llm-cases must be 0 or more"),
        ({"budget": 0}, "--budget must be 1 or more"),
        ({"target_category": "Nowhere"}, "no item has the category 'Nowhere'"),
        ({"cases": "none.jsonl"}, "cannot be read"),
        ({"groups": "users.csv"}, "must be given together"),
    ],
)
def test_bad_options_are_rejected(
    demo_workspace: Workspace, settings: Settings, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(CrossaisleError, match=message):
        Evaluation(demo_workspace, settings.with_(llm="none"), tmp_path / "out", EvaluationOptions(**options)).run()  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_bad_option_on_the_command_line(demo_workspace: Workspace, tmp_path: Path) -> None:
    done = subprocess.run(
        cli("-w", str(demo_workspace.path), "--out", str(tmp_path / "o"), "-k", "0"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "crossaisle: k must be 1 to 200, not 0\n"


def test_store_with_one_category_is_rejected(settings: Settings, tmp_path: Path) -> None:
    import crossaisle

    files = tmp_path / "files"
    files.mkdir()
    (files / "items.csv").write_text("item_id,title,category\na,Alpha,One\nb,Beta,One\n")
    (files / "interactions.csv").write_text("user_id,item_id\nu,a\nu,b\nv,a\n")
    crossaisle.ingest(tmp_path / "shop", "files", [files])
    crossaisle.index(Workspace(tmp_path / "shop"), settings)
    with pytest.raises(CrossaisleError, match=r"no cases in .*users of one category only: 1"):
        Evaluation(Workspace(tmp_path / "shop"), settings.with_(llm="none"), tmp_path / "out", EvaluationOptions(k=2)).run()
    with pytest.raises(CrossaisleError, match="k is 10, but the catalogue has only 2 items"):
        Evaluation(Workspace(tmp_path / "shop"), settings.with_(llm="none"), tmp_path / "out", EvaluationOptions())


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from crossaisle.eval.baselines.ease_ials import IALSConfig, IALSScorer
    from crossaisle.eval.splits.training_data import TrainingData
    from crossaisle.retrieval.items.ragged import RaggedArray

    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    training = TrainingData(RaggedArray.of([[0]]), None, 1, np.zeros(1, np.int32), np.zeros((1, 2), np.float32))
    with pytest.raises(CrossaisleError, match=r'pip install "crossaisle\[baselines\]"'):
        IALSScorer(training, IALSConfig())


def test_other_baselines_are_evaluated_without_the_library(
    demo_workspace: Workspace, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    _, report = run(demo_workspace, settings, tmp_path, EvaluationOptions(max_cases=25, budget=1, baselines_only=True))
    assert "ials" not in report["systems"]
    assert "crossaisle[baselines]" in report["baselines"]["ials"]["left_out"]
    page(report, tmp_path / "report.html")
    assert "crossaisle[baselines]" in (tmp_path / "report.html").read_text()
