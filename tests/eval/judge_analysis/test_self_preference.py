"""Self-preference: which judges are of a writer's base, and that a planted preference is found, and none where none was planted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from crossaisle.app.cli.main import app
from crossaisle.eval.judge.recommendation_lists import Answer, Entry
from crossaisle.eval.judge_analysis.self_preference import base, writer

from ...judge_server import Server, scored

USERS = 80


@pytest.mark.parametrize(
    ("name", "told"),
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
def test_the_base_that_a_name_tells(name: str, told: str) -> None:
    assert base(name) == told


def test_the_writer_that_a_file_names() -> None:
    def answers(*names: str) -> list[Answer]:
        return [Answer("u", tuple(Entry(f"i{n}", "x", explanation="It fits.", writer=name) for n, name in enumerate(names)))]

    assert writer(answers("qwen3", "qwen3")) == "qwen3"
    assert writer(answers("qwen3", "smollm2")) == ""
    assert writer(answers("")) == ""


def judged(folder: Path, monkeypatch: pytest.MonkeyPatch, *, preference: float, panel: bool, named: bool = True) -> dict[str, Any]:
    """The report on two versions: one by the judge's own base, which wins by lot in half of the pairs, and in this share more for it."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("CROSSAISLE_JUDGE_KEY", "k")
    files = []
    for name, said in (("mine", "Written by me."), ("theirs", "Set down by them.")):
        files.append(folder / f"{name}.jsonl")
        lines = [
            {"user_id": f"u{i}", "history": ["tent"], "recommendations": [{"item_id": f"s{i}", "title": f"Stove {i}", "explanation": said}]}
            for i in range(USERS)
        ]
        files[-1].write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")

    def by(partial: float) -> Any:
        def rule(_: str, user: str) -> str:
            number = int(re.findall(r"Stove (\d+)", user)[0])
            lot = number * 37 % USERS / USERS  # every user another part of the whole, in no order
            own = lot < 0.5 + partial
            first = user.partition("<A>\n")[2].partition("</A>")[0]
            return scored("A" if ("Written by me" in first) == own else "B", key="better")

        return rule

    with (
        Server(rule=by(preference), model="acme-7b-instruct").running() as mine,
        Server(rule=by(0.0), model="other-70b").running() as theirs,
    ):
        judges = ["--judge", f"openai:{mine.url}", *(["--judge", f"openai:{theirs.url}"] if panel else [])]
        writers = ["--written-by", "org/Acme-30B", "--written-by", "-"] if named else []
        app(["judge", "compare", *map(str, files), *judges, *writers, "--out", str(folder / "out")], standalone_mode=False)
    told: dict[str, Any] = json.loads((folder / "out" / "judge.json").read_text("utf-8"))
    page = (folder / "out" / "judge.html").read_text("utf-8")
    assert ("own base" in page) == named
    return told


def test_a_planted_preference_is_found_beside_a_judge_of_another_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = judged(tmp_path, monkeypatch, preference=0.3, panel=True)
    (own,) = told["own"]
    assert own["system"].endswith("mine.jsonl")
    assert own["base"] == "acme"
    bias = own["beyond_the_references"]
    assert bias["low"] <= 0.3 <= bias["high"]
    assert bias["shown"]
    assert "it prefers its own" in own["sentence"]
    assert "own" in [bias["bias"] for bias in told["biases"][own["judge"]]]
    assert not [bias for name, found in told["biases"].items() if name != own["judge"] for bias in found if bias["bias"] == "own"]


def test_a_judge_without_it_is_not_accused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own,) = judged(tmp_path, monkeypatch, preference=0.0, panel=True)["own"]
    assert not own["beyond_the_references"]["shown"]
    assert "no self-preference was found" in own["sentence"]


def test_alone_it_cannot_be_told_from_better_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = judged(tmp_path, monkeypatch, preference=0.3, panel=False)
    (own,) = told["own"]
    assert own["beyond_the_references"] is None
    assert own["own_preferred"]["value"] > 0.6
    assert "cannot be told from better texts" in own["sentence"]
    assert all(bias["bias"] != "own" for found in told["biases"].values() for bias in found)


def test_nothing_is_said_where_no_writer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(tmp_path, monkeypatch, preference=0.3, panel=True, named=False)["own"] == []
