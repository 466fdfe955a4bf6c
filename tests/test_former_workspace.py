"""A workspace that version 0.1.0 made, opened by this version: every file in it is read, and every answer is the one of then.

`tests/fixtures/README.md` describes the two files. Everything is output through the command line, whose names and JSON do not change.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossaisle import Probe, Recommender, Settings, Workspace

FIXTURES = Path(__file__).parent / "fixtures"
RENAMED: Mapping[str, str] = {
    "follows": "sequential",
    "together": "co_occurrence",
    "smoothed": "text_smoothed",
    "neighbours": "item_knn",
}
"""Names of version 0.1.0 in answers (channels, keys) to their present names. Files of that version keep the former ones for ever, so
whoever renames a channel adds it here and nothing else in this test changes."""
SETTINGS = ("config", "trials")
"""Keys of an evaluation whose values are settings of baselines, which keep their names: `neighbours` is a number there, no channel."""
ADDED = re.compile(
    r"(?!.*/channels/)(recommended|tuned|reasons)(/[^/]+)*/llm|evaluated(/report)?/(llm_depths|oracle|trained|store_words|candidate_recall/[^/]+/500)"
)
"""Keys that an answer may have in addition, by their paths: what the LLM did, the oracle of an evaluation, whether its blend is trained, its store's words, the gain of
the LLM by depth, and the recall of 500 candidates. Whoever adds a key on purpose adds its path here; no value of a former key may change, but for those of `MENDED`."""
MENDED = re.compile(r"recommended/rules/recommendations/[34]/anchor|recommended/text/recommendations")
"""Values, by their paths, that were wrong: with `--scope other` an item was said to come from a history item of its own category; answers to
a text ignored what shoppers do."""
CHOSEN_ANEW = re.compile(r"recommended/(.+/)?recommendations/\d+/explanation")
"""Texts, by their paths, that each version words anew, of facts that it chooses anew; their keys stay."""
MODEL = "small-llama"
"""The LLM of the workspace, beside it, under a name that is the same on every machine: reports and cards hold it."""
PLAIN = ("--llm", "none")
TUNED = ("--llm", MODEL, "--quantization", "fp32")
JUDGE = ("--judge", "openai:http://127.0.0.1:18411/v1", "--model", "small-judge")
"""Nothing listens there: all replies are in `judged/replies.db`."""
QUICK = ("--max-cases", "40", "--llm-cases", "6", "--budget", "1")
VARYING = frozenset({"timings_ms", "seconds", "seconds_per_user", "generated_at", "at", "machine", "version", "home", "ms_per_case"})
"""Fields that differ between two runs of one version."""


def small_llama(folder: Path) -> None:
    """Writes a Llama of two layers with the embedded tokenizer, the same bytes on every machine: its weights are whole numbers, scaled."""
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = transformers.LlamaConfig(
        vocab_size=49_152, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=1024, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    random = np.random.default_rng(3)
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):
            if weight.dim() > 1:
                weight.copy_(torch.from_numpy(random.integers(-256, 257, tuple(weight.shape)).astype(np.float32) / 1024))
    model.save_pretrained(folder)
    embedded = json.loads(output("models", "list", "--json"))["smollm2"]["where"]
    transformers.AutoTokenizer.from_pretrained(embedded).save_pretrained(folder)


def output(*arguments: str) -> str:
    """What the command line prints, in this process; a refusal is the exit code and the sentence."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["crossaisle", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            _main()()
    except SystemExit as stop:
        if stop.code not in (0, None):
            return json.dumps({"exit": stop.code, "message": err.getvalue().strip()})
    finally:
        sys.argv = before
    assert "left out" not in err.getvalue(), err.getvalue()
    return out.getvalue()


@cache
def _main() -> Callable[[], None]:
    """The program that `pyproject.toml` names, wherever it lies."""
    script = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]["crossaisle"]
    module, _, name = script.partition(":")
    main: Callable[[], None] = getattr(import_module(module), name)
    return main


def json_output(*arguments: str) -> Any:
    """What a command answers as JSON, without what varies."""
    return steady(json.loads(output(*arguments, "--json")))


def steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: steady(one) for name, one in value.items() if name not in VARYING}
    return [steady(one) for one in value] if isinstance(value, list) else value


# ------------------------------------------------------------------ what is looked at, in the folder that the archive was unpacked into


def recommended() -> Any:
    """The trained blend without an LLM: users of the snapshot, of the log, of both, baskets, rules."""
    ask = ("recommend", "-w", "shop", *PLAIN)
    return {
        "users": {user: json_output(*ask, "--user", user) for user in ("u000", "u001", "u002", "u007", "u010")},
        "a user of the log alone": json_output(*ask, "--user", "n1"),
        "a user with a dismissed item": json_output(*ask, "--user", "u020", "-k", "10"),
        "a forgotten user": json_output(*ask, "--user", "u399"),
        "a user forgotten before the snapshot": json_output(*ask, "--user", "u398"),
        "a basket": json_output(*ask, "--items", "ca00,ca05"),
        "rules": json_output(
            *ask, "--user", "u003", "--scope", "other", "--max-price", "70", "--exclude-category", "Audio", "--max-per-category", "2"
        ),
        "new items": json_output(*ask, "--user", "u004", "--new-items", "1", "--new-up-to", "0", "--no-explain"),
        "novelty": json_output(*ask, "--user", "u004", "--novelty", "0.5", "--without", "au07", "--no-explain"),
        "text": json_output(*ask, "--text", "music for the kitchen", "-k", "3"),
    }


def tuned() -> Any:
    """The adapter over the blend: margins of the LLM among the channels, and scores that its weight moved."""
    return {user: json_output("recommend", "-w", "shop", *TUNED, "--user", user, "--no-explain") for user in ("u000", "u001", "u010")}


def reasons() -> Any:
    ask = ("why", "-w", "shop", "--user", "u000")
    return {
        "plain": json_output(
            *ask, *PLAIN, "--item", json_output("recommend", "-w", "shop", *PLAIN, "--user", "u000")["recommendations"][0]["item_id"]
        ),
        "another": json_output(*ask, *PLAIN, "--item", "au03"),
        "added": json_output(*ask, *PLAIN, "--item", "new1", "--no-counterfactuals"),
        "tuned": json_output(*ask, *TUNED, "--item", "ph01", "--no-counterfactuals"),
    }


def profiles() -> Any:
    return {user: json_output("profile", "-w", "shop", "--user", user) for user in ("u000", "u010", "n1")}


def probed() -> Any:
    """Groups: exact, compared, a noisy answer that was paid for, and what the record of earlier answers forbids."""
    ask = ("probe", "-w", "shop", *PLAIN)
    return {
        "camping": json_output(*ask, "camping"),
        "camping and not kitchen": json_output(*ask, "camping and not kitchen"),
        "who would need audio?": json_output(*ask, "who would need audio?"),
        "against": json_output(*ask, "camping", "--against", "bicycles"),
        "paid for": json_output(*ask, "kitchen", "--epsilon", "1", "--no-words"),
        "beyond the budget": json_output(*ask, "photo", "--epsilon", "1", "--budget", "1.5"),
        "too near an earlier group": json_output(*ask, "baby", "--until", "2024-06-05"),
    }


def shop_log() -> Any:
    return {
        "report": json_output("events", "report", "-w", "shop"),
        "seen": json_output("events", "report", "-w", "shop", "--basis", "impressions", "--window", "3"),
        "keys": json_output("keys", "list", "-w", "shop"),
        "folded": {**json_output("events", "compact", "-w", "shop"), "snapshot": None},
        "indexed": json_output("index", "-w", "shop"),
        "forgotten": {**json_output("events", "forget-user", "-w", "shop", "u050"), "snapshot": None},
    }


def evaluated() -> Any:
    """A finished evaluation that is repeated, and an interrupted one that resumes: the same report."""
    finished = json.loads(Path("evaluated/report.json").read_text("utf-8"))
    again = json_output("evaluate", "-w", "shop", "--out", "evaluated", *TUNED, *QUICK)
    gone_on = json_output("evaluate", "-w", "shop", "--out", "interrupted", *TUNED, *QUICK)
    same(again, renamed(steady(finished)), "evaluated")
    return {"report": again, "same": gone_on == again, "page": "<html" in Path("evaluated/report.html").read_text("utf-8")}


def judged() -> Any:
    """A comparison whose replies are all cached from the first run, so the judge is not called."""
    return json_output("judge", "compare", "old.jsonl", "new.jsonl", "--out", "judged", *JUDGE, "--repeat", "0.1")


LOOKS: Mapping[str, Callable[[], Any]] = {
    "recommended": recommended,
    "tuned": tuned,
    "reasons": reasons,
    "profiles": profiles,
    "probed": probed,
    "shop_log": shop_log,
    "evaluated": evaluated,
    "judged": judged,
}


# ------------------------------------------------------------------ the tests


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / MODEL
    small_llama(folder)
    return folder


@pytest.fixture
def unpacked(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of all that the former version left, in the present folder, with the LLM beside it."""
    unpack(tmp_path, model)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CROSSAISLE_JUDGE_KEY", raising=False)
    return tmp_path


def unpack(folder: Path, model: Path) -> None:
    with zipfile.ZipFile(FIXTURES / "workspace_v0.1.zip") as archive:
        archive.extractall(folder)
    for name in ("pseudonym.key", "keys.json"):  # an archive holds no rights, and these are refused where others may read them
        (folder / "shop" / name).chmod(0o600)
    (folder / MODEL).symlink_to(model)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FIXTURES / "workspace_v0.1_expected.json").read_text("utf-8"))
    return content


def renamed(value: Any) -> Any:
    """A former answer with the present names, wherever a name is a key or a whole value, or follows `blend without`."""
    if isinstance(value, dict):
        return {_name(key): one if key in SETTINGS else renamed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [renamed(one) for one in value]
    return _name(value) if isinstance(value, str) else value


def _name(text: str) -> str:
    head, found, tail = text.partition("blend without ")
    if found and not head:
        return found + RENAMED.get(tail, tail)
    channel, colon, feature = text.partition(":")
    return RENAMED.get(channel, channel) + colon + feature


def _figures(message: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", message)


def same(now: Any, then: Any, where: str = "") -> None:
    """Equal, figures to one part in ten thousand, or 1e-4; says where not."""
    if MENDED.fullmatch(where):
        assert now != then, f"{where} is as wrong as it was"
    elif CHOSEN_ANEW.fullmatch(where):
        assert type(now) is type(then), where
        assert not isinstance(then, dict) or now.keys() >= then.keys(), where
    elif isinstance(then, dict):
        assert isinstance(now, dict), where
        assert sorted(name for name in now if name in then or not ADDED.fullmatch(f"{where}/{name}")) == sorted(then), where
        for name in then:
            if name == "message" and "exit" in then:  # errors may be worded differently; their exit codes and figures may not differ
                assert _figures(now[name]) == _figures(then[name]), where
            else:
                same(now[name], then[name], f"{where}/{name}")
    elif isinstance(then, list):
        assert isinstance(now, list), where
        assert len(now) == len(then), where
        for number, (one, other) in enumerate(zip(now, then, strict=True)):
            same(one, other, f"{where}/{number}")
    elif isinstance(then, float):
        assert now == pytest.approx(then, rel=1e-4, abs=1.1e-4), where
    else:
        assert now == then, where


@pytest.mark.parametrize("look", LOOKS)
def test_the_former_answer_is_the_present_one(look: str, unpacked: Path, expected: dict[str, Any]) -> None:
    same(LOOKS[look](), renamed(expected[look]), look)


def test_what_was_frozen_is_worth_looking_at(expected: dict[str, Any]) -> None:
    """The expected answers hold every channel, a graph that is not left out, an LLM with a weight, and what the log of events adds."""
    lists = [*expected["recommended"]["users"].values(), *expected["tuned"].values()]
    channels = {name for answer in lists for found in answer["recommendations"] for name in found["channels"]}
    assert channels == {
        "semantic", "associations", "popularity", "follows", "neighbours", "together", "smoothed", "lately", "factors", "complements",
        "graph", "llm",
    }  # fmt: skip
    for user, answer in expected["tuned"].items():
        plain = {found["item_id"]: found["score"] for found in expected["recommended"]["users"][user]["recommendations"]}
        moved = [found["score"] - plain[found["item_id"]] for found in answer["recommendations"] if found["item_id"] in plain]
        assert any(abs(change) > 0.01 for change in moved), user
    assert "no user" not in json.dumps(expected["recommended"]["users"])
    assert "not among" in expected["recommended"]["a forgotten user"]["message"]
    assert "was told of before" in expected["probed"]["too near an earlier group"]["message"]
    assert "privacy budget" in expected["probed"]["beyond the budget"]["message"]
    assert expected["evaluated"]["same"]
    assert {"blend", "llm", "llm zero-shot", "blend without follows"} <= set(expected["evaluated"]["report"]["systems"])
    assert {row["channel"] for row in expected["shop_log"]["report"]["by_channel"]} & {"follows", "together", "smoothed", "neighbours"}


def test_the_objects_of_python_read_it(unpacked: Path, expected: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.read().with_(llm="none")
    recommender = Recommender.open(Workspace("shop"), settings=settings)
    answer = recommender.recommend(user_id="u000", k=5, explain=False)
    then = renamed(expected["recommended"]["users"]["u000"])["recommendations"]
    assert [found.item.item_id for found in answer] == [found["item_id"] for found in then]
    assert [found.score for found in answer] == pytest.approx([found["score"] for found in then], abs=1e-4)
    assert [dict(found.channels) for found in answer] == [pytest.approx(found["channels"], abs=1e-4) for found in then]
    assert "left out" not in caplog.text
    finding = Probe.open(Workspace("shop"), settings=settings).ask("camping").to_dict()
    same(steady(json.loads(json.dumps(finding))), renamed(expected["probed"]["camping"]))


def test_the_ranker_goes_on_from_what_the_former_blend_left(unpacked: Path) -> None:
    """The questions that the former `train blend` kept teach the LLM of today."""
    shutil.rmtree("shop/adapter")
    figures = json_output("train", "-w", "shop", "ranker", "--examples", "30", *TUNED)
    assert figures["ranker"]["examples"] == 30
    assert figures["ranker"]["llm_weight"]["questions"] > 0
    assert Path("shop/adapter/card.json").is_file()


def test_an_adapter_of_another_model_is_not_used_and_the_answer_says_so(unpacked: Path) -> None:
    answer = Recommender.open("shop", settings=Settings.read().with_(llm="smollm2")).recommend(user_id="u000", explain=False)
    assert answer.llm is not None
    assert "this store's adapter is of another model" in answer.llm.summary
