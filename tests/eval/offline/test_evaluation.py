"""Evaluations end to end on the demo store: the figures come back, a kill costs nothing, bad wishes are one sentence."""

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

QUICK = EvaluationOptions(max_cases=30, llm_cases=3, budget=2)


def run(shop: Workspace, settings: Settings, out: Path, options: EvaluationOptions) -> tuple[Rankings, dict]:
    rankings = Evaluation(shop, settings, out, options).run()
    written = reports.write(reports.build(rankings, options, shop, settings.llm), out)
    return rankings, json.loads(written.read_text())


@pytest.fixture(scope="module")
def evaluated(demo_workspace: Workspace, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rankings, dict, Path]:
    out = tmp_path_factory.mktemp("evaluation")
    return *run(demo_workspace, settings, out, QUICK), out


def test_every_system_is_there_with_its_interval(evaluated: tuple[Rankings, dict, Path]) -> None:
    _, report, _ = evaluated
    systems = report["systems"]
    assert report["cases"] == 30
    assert report["llm_cases"] == 3
    assert {"semantic", "associations", "popularity", "llm"} == {name for name, about in systems.items() if about["kind"] == "channel"}
    assert {name for name, about in systems.items() if about["kind"] == "ablation"} == {
        f"blend without {name}" for name in ("llm", "semantic", "associations", "popularity")
    }
    assert systems["blend"]["kind"] == "blend"
    assert sum(about["kind"] == "baseline" for about in systems.values()) == 12
    for name, about in systems.items():
        for metric in ("ndcg@10", "recall@10", "hit@10", "mrr", "map@10"):
            told = about[metric]
            assert told["low"] <= told["value"] <= told["high"], (name, metric)
        assert about["cases"] == (3 if name in ("llm", "blend") or (about["kind"] == "ablation" and name != "blend without llm") else 30)
        assert ("on_llm_part" in about) == (about["cases"] == 30)
    best = report["best_baseline"]
    assert systems[best]["ndcg@10"]["value"] == max(about["ndcg@10"]["value"] for about in systems.values() if about["kind"] == "baseline")
    assert systems[best]["vs_best_baseline"]["value"] == 0
    assert systems["random"]["vs_best_baseline"]["high"] < 0.1


def test_figures_are_those_of_the_rankings(evaluated: tuple[Rankings, dict, Path]) -> None:
    rankings, report, _ = evaluated
    cases, part = rankings.cases, rankings.cases.take(rankings.llm_case_indices)
    for name, top in rankings.ranked_rows.items():
        these = part if name in rankings.llm_systems else cases
        assert len(top) == len(these)
        values = ndcg(hits(top, these.targets), these.targets.lengths, 10)
        assert report["systems"][name]["ndcg@10"]["value"] == pytest.approx(values.mean(), abs=1e-5)
        mask = rankings.eligible.mask(these, slice(0, len(these)))
        case, place = np.nonzero(top >= 0)
        assert mask[case, top[case, place]].all(), f"{name} ranks what may not be ranked"
        assert all(len(set(row[row >= 0].tolist())) == (row >= 0).sum() for row in top), f"{name} ranks something twice"
        if report["systems"][name]["kind"] == "baseline":
            assert (top >= 0).sum(axis=1).tolist() == np.minimum(mask.sum(axis=1), top.shape[1]).tolist(), "all that is eligible is ranked"
    losing = report["losing"]
    assert all(case["difference"] < 0 for case in losing)


def test_the_same_seed_gives_the_same_figures_and_a_kept_state_too(
    evaluated: tuple[Rankings, dict, Path], demo_workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    _, report, out = evaluated
    again = Evaluation(demo_workspace, settings, out, QUICK).run()
    assert reports.to_jsonable(reports.build(again, QUICK, demo_workspace, settings.llm)) == report
    plain = settings.with_(llm="none")
    fresh = [run(demo_workspace, plain, tmp_path / str(i), QUICK)[1] for i in range(2)]
    assert fresh[0] == fresh[1]
    for name, about in fresh[0]["systems"].items():
        if name in report["systems"] and about["kind"] != "blend":
            assert about["ndcg@10"] == report["systems"][name]["ndcg@10"], name
    other = run(demo_workspace, plain, tmp_path / "2", EvaluationOptions(max_cases=30, llm_cases=3, budget=2, seed=1))[1]
    assert other["systems"]["ease"] != fresh[0]["systems"]["ease"]


def test_cases_saved_are_cases_asked_again(
    evaluated: tuple[Rankings, dict, Path], demo_workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    from crossaisle.eval.splits import cases as case_files

    rankings, _, _ = evaluated
    file = tmp_path / "cases.jsonl"
    case_files.save_cases(rankings.cases, rankings.training_view.catalogue, file)
    again, report = run(demo_workspace, settings.with_(llm="none"), tmp_path / "out", EvaluationOptions(cases=str(file), budget=2))
    assert list(again.cases.users) == list(rankings.cases.users)
    assert again.cases.targets.rows.tolist() == rankings.cases.targets.rows.tolist()
    assert again.held_out.users == set(rankings.cases.users), "whoever is asked about is not trained on"
    assert report["systems"]["most popular"]["ndcg@10"]["value"] > 0


@pytest.mark.parametrize("protocol", ["leave-one-out", "temporal"])
def test_the_other_protocols(demo_workspace: Workspace, settings: Settings, tmp_path: Path, protocol: str) -> None:
    options = EvaluationOptions(protocol=protocol, max_cases=25, budget=1)  # type: ignore[arg-type]
    rankings, report = run(demo_workspace, settings.with_(llm="none"), tmp_path, options)
    assert report["scope"] == ("any" if protocol == "leave-one-out" else "new")
    assert report["systems"]["blend without llm"]["kind"] == "blend"
    assert report["llm_cases"] == 0
    if protocol == "temporal":
        assert rankings.training_view.interactions["timestamp"].max() < rankings.split.moment


def test_baselines_only(demo_workspace: Workspace, settings: Settings, tmp_path: Path) -> None:
    _, report = run(demo_workspace, settings, tmp_path, EvaluationOptions(max_cases=25, budget=1, baselines_only=True))
    assert {about["kind"] for about in report["systems"].values()} == {"baseline"}
    page(report, tmp_path / "report.html")
    assert "Targets among the candidates" not in (tmp_path / "report.html").read_text()


def test_one_category_and_groups(demo_workspace: Workspace, settings: Settings, tmp_path: Path) -> None:
    users = demo_workspace.table("interactions")["user_id"].unique().sort().to_list()
    (tmp_path / "users.csv").write_text(
        "user_id,town\n" + "".join(f"{user},{'north' if i % 2 else 'south'}\n" for i, user in enumerate(users[:-5]))
    )
    category = demo_workspace.table("items")["category"].list.first().value_counts().sort("count")["category"][-1]
    options = EvaluationOptions(target_category=category, budget=1, groups=str(tmp_path / "users.csv"), group_by="town")
    rankings, report = run(demo_workspace, settings.with_(llm="none"), tmp_path / "out", options)
    inside = rankings.training_view.catalogue.in_categories([category])
    for top in rankings.ranked_rows.values():
        assert inside[top[top >= 0]].all()
    found = report["systems"]["ease"]["groups"]
    assert set(found) == {"north", "south", "gap"}
    assert found["gap"]["value"] == pytest.approx(abs(found["north"]["value"] - found["south"]["value"]), abs=1e-4)


def test_the_page_is_whole_and_asks_nobody(evaluated: tuple[Rankings, dict, Path], tmp_path: Path) -> None:
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
    assert all(link.startswith("#") for link in links), "nothing is fetched"
    for name in report["systems"]:
        assert f"<td>{name}</td>" in text


def cli(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from crossaisle.app.cli.main import main; main()", "evaluate", *arguments]


def test_a_killed_run_goes_on_where_it_was(evaluated: tuple[Rankings, dict, Path], demo_workspace: Workspace, tmp_path: Path) -> None:
    _, report, _ = evaluated
    command = cli("-w", str(demo_workspace.path), "--out", str(tmp_path), "--max-cases", "30", "--llm-cases", "3", "--budget", "2")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    margins = tmp_path / ".state" / "margins.jsonl"
    deadline = time.monotonic() + 120
    while not (margins.exists() and margins.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert margins.exists()
    kept = margins.read_text()
    margins.write_text(kept + "[17, [[3, 0.")  # as a kill in the middle of a line leaves it
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "minus the best baseline" in done.stdout
    assert margins.read_text().startswith(kept.rpartition("\n")[0])
    again = json.loads((tmp_path / "report.json").read_text())
    assert again == report
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 0}, "k must be 1 to 200"),
        ({"k": 5000}, "k must be 1 to 200"),
        ({"protocol": "random"}, "--protocol is users, leave-one-out, temporal"),
        ({"scope": "any"}, "--protocol users asks for a category that the shopper never bought from"),
        ({"scope": "some", "protocol": "temporal"}, "--scope is new or any"),
        ({"at": "2025-01-01"}, "--at is a date for --protocol temporal"),
        ({"at": "soon", "protocol": "temporal"}, "write it as 2024-01-31"),
        ({"at": "1990-01-01", "protocol": "temporal"}, "no interaction lies before that date"),
        ({"at": "2090-01-01", "protocol": "temporal"}, "no interaction lies after that date"),
        ({"llm_cases": -1}, "--llm-cases must be 0 or more"),
        ({"budget": 0}, "--budget must be 1 or more"),
        ({"target_category": "Nowhere"}, "no item has the category 'Nowhere'"),
        ({"cases": "none.jsonl"}, "cannot be read"),
        ({"groups": "users.csv"}, "go together"),
    ],
)
def test_bad_wishes_are_one_sentence(
    demo_workspace: Workspace, settings: Settings, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(CrossaisleError, match=said):
        Evaluation(demo_workspace, settings.with_(llm="none"), tmp_path / "out", EvaluationOptions(**options)).run()  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_bad_input_at_the_door(demo_workspace: Workspace, tmp_path: Path) -> None:
    done = subprocess.run(
        cli("-w", str(demo_workspace.path), "--out", str(tmp_path / "o"), "-k", "0"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "crossaisle: k must be 1 to 200, not 0\n"


def test_a_store_of_one_category_says_so(settings: Settings, tmp_path: Path) -> None:
    import crossaisle

    files = tmp_path / "files"
    files.mkdir()
    (files / "items.csv").write_text("item_id,title,category\na,Alpha,One\nb,Beta,One\n")
    (files / "interactions.csv").write_text("user_id,item_id\nu,a\nu,b\nv,a\n")
    crossaisle.ingest(tmp_path / "shop", "files", [files])
    crossaisle.index(Workspace(tmp_path / "shop"), settings)
    with pytest.raises(CrossaisleError, match=r"no case can be made .*users of one category only: 1"):
        Evaluation(Workspace(tmp_path / "shop"), settings.with_(llm="none"), tmp_path / "out", EvaluationOptions(k=2)).run()
    with pytest.raises(CrossaisleError, match="k is 10, but the catalogue has only 2 items"):
        Evaluation(Workspace(tmp_path / "shop"), settings.with_(llm="none"), tmp_path / "out", EvaluationOptions())


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from crossaisle.eval.baselines.ease_ials import IALSConfig, IALSScorer
    from crossaisle.eval.splits.training_data import TrainingData
    from crossaisle.retrieval.items.ragged import Runs

    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    training = TrainingData(Runs.of([[0]]), None, 1, np.zeros(1, np.int32), np.zeros((1, 2), np.float32))
    with pytest.raises(CrossaisleError, match=r'pip install "crossaisle\[baselines\]"'):
        IALSScorer(training, IALSConfig())


def test_without_the_library_the_others_are_evaluated(
    demo_workspace: Workspace, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    _, report = run(demo_workspace, settings, tmp_path, EvaluationOptions(max_cases=25, budget=1, baselines_only=True))
    assert "ials" not in report["systems"]
    assert "crossaisle[baselines]" in report["baselines"]["ials"]["left_out"]
    page(report, tmp_path / "report.html")
    assert "crossaisle[baselines]" in (tmp_path / "report.html").read_text()
