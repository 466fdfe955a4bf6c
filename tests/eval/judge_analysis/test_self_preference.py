"""Self-preference: base models by name; a known preference is detected, and none without one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from crossaisle.app.cli.main import app
from crossaisle.eval.judge.recommendation_lists import ListEntry, RecommendationList
from crossaisle.eval.judge_analysis.self_preference import base_model, common_writer

from ...judge_server import Server, scored

USERS = 80


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2"),
        ("smollm2", "smollm2"),
        ("Qwen/Qwen3-4B", "qwen3"),
        ("qwen3:8b", "qwen3"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("/models/my-own/", "my-own"),
        ("-", ""),
        ("", ""),
    ],
)
def test_base_model_of_a_name(name: str, base: str) -> None:
    assert base_model(name) == base


def test_common_writer_of_a_file() -> None:
    def answers(*names: str) -> list[RecommendationList]:
        return [
            RecommendationList("u", tuple(ListEntry(f"i{n}", "x", explanation="It fits.", writer=name) for n, name in enumerate(names)))
        ]

    assert common_writer(answers("qwen3", "qwen3")) == "qwen3"
    assert common_writer(answers("qwen3", "smollm2")) == ""
    assert common_writer(answers("")) == ""


def compare(folder: Path, monkeypatch: pytest.MonkeyPatch, *, preference: float, panel: bool, writers_named: bool = True) -> dict[str, Any]:
    """Return the report on two systems; the judge's own texts win half of the pairs, plus the share `preference` with its own base model."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("CROSSAISLE_JUDGE_KEY", "k")
    files = []
    for name, text in (("mine", "Written by me."), ("theirs", "Set down by them.")):
        files.append(folder / f"{name}.jsonl")
        lines = [
            {"user_id": f"u{i}", "history": ["tent"], "recommendations": [{"item_id": f"s{i}", "title": f"Stove {i}", "explanation": text}]}
            for i in range(USERS)
        ]
        files[-1].write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")

    def judge(own_share: float) -> Any:
        def rule(_: str, user: str) -> str:
            number = int(re.findall(r"Stove (\d+)", user)[0])
            fraction = number * 37 % USERS / USERS  # a permutation of the users, evenly spaced in [0, 1)
            own = fraction < 0.5 + own_share
            first = user.partition("<A>\n")[2].partition("</A>")[0]
            return scored("A" if ("Written by me" in first) == own else "B", key="better")

        return rule

    with (
        Server(rule=judge(preference), model="acme-7b-instruct").running() as mine,
        Server(rule=judge(0.0), model="other-70b").running() as theirs,
    ):
        judges = ["--judge", f"openai:{mine.url}", *(["--judge", f"openai:{theirs.url}"] if panel else [])]
        writers = ["--written-by", "org/Acme-30B", "--written-by", "-"] if writers_named else []
        app(["judge", "compare", *map(str, files), *judges, *writers, "--out", str(folder / "out")], standalone_mode=False)
    report: dict[str, Any] = json.loads((folder / "out" / "judge.json").read_text("utf-8"))
    page = (folder / "out" / "judge.html").read_text("utf-8")
    assert ("own base" in page) == writers_named
    return report


def test_known_preference_is_detected_with_a_reference_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = compare(tmp_path, monkeypatch, preference=0.3, panel=True)
    (own,) = report["own"]
    assert own["system"].endswith("mine.jsonl")
    assert own["base"] == "acme"
    bias = own["beyond_the_references"]
    assert bias["low"] <= 0.3 <= bias["high"]
    assert bias["shown"]
    assert "it prefers its own" in own["sentence"]
    assert "own" in [bias["bias"] for bias in report["biases"][own["judge"]]]
    assert not [bias for name, biases in report["biases"].items() if name != own["judge"] for bias in biases if bias["bias"] == "own"]


def test_no_preference_of_an_unbiased_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own,) = compare(tmp_path, monkeypatch, preference=0.0, panel=True)["own"]
    assert not own["beyond_the_references"]["shown"]
    assert "no self-preference was found" in own["sentence"]


def test_no_bias_without_a_reference_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = compare(tmp_path, monkeypatch, preference=0.3, panel=False)
    (own,) = report["own"]
    assert own["beyond_the_references"] is None
    assert own["own_preferred"]["value"] > 0.6
    assert "cannot be distinguished from better texts" in own["sentence"]
    assert all(bias["bias"] != "own" for biases in report["biases"].values() for bias in biases)


def test_no_preference_without_a_named_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compare(tmp_path, monkeypatch, preference=0.3, panel=True, writers_named=False)["own"] == []
