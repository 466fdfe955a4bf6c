"""Settings from environment variables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crossaisle.data.errors import CrossaisleError, SettingsError
from crossaisle.data.settings import Settings


def test_empty_environment_gives_the_defaults() -> None:
    read = Settings.read({})
    assert read == Settings(home=Path("~/.cache/crossaisle").expanduser())
    assert (read.llm, read.embedder, read.quantization, read.chroma, read.threads) == ("smollm2", None, "auto", None, None)


def test_every_variable_is_read() -> None:
    read = Settings.read(
        {
            "CROSSAISLE_HOME": "/models", "CROSSAISLE_LLM": " none ", "CROSSAISLE_EMBEDDER": "/e", "CROSSAISLE_QUANTIZATION": "fp32",
            "CROSSAISLE_CHROMA": "http://c:1", "CROSSAISLE_THREADS": "3", "CROSSAISLE_NLI": "/nli", "PATH": "/bin", "crossaisle_llm": "not ours",
            "CROSSAISLE_LLM_POLICY": "always", "CROSSAISLE_LLM_WEIGHT": "0.5", "CROSSAISLE_RERANK_DEPTH": "30", "CROSSAISLE_LLM_MODEL": "m",
        }
    )  # fmt: skip
    expected = Settings(Path("/models"), "none", "/e", "fp32", "http://c:1", 3, "/nli")
    assert read == replace(expected, llm_policy="always", llm_weight=0.5, rerank_depth=30, llm_model="m")


def test_the_weight_of_the_llm_is_a_number_or_auto() -> None:
    assert Settings.read({"CROSSAISLE_LLM_WEIGHT": "auto"}).llm_weight is None
    assert Settings.read({"CROSSAISLE_LLM_WEIGHT": "0.3"}).with_(llm_weight="auto").llm_weight is None
    for name, values in (
        ("LLM_WEIGHT", ("nan", "inf", "-0.1", "101", "much")),
        ("RERANK_DEPTH", ("0", "201", "2.5")),
        ("LLM_POLICY", ("sometimes",)),
        ("LLM", ("openai:http://host/v1",)),  # without the name of a model
    ):
        for value in values:
            with pytest.raises(SettingsError):
                Settings.read({f"CROSSAISLE_{name}": value})


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSAISLE_LLM", "/some/model")
    assert Settings.read().llm == "/some/model"


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/people/ann")
    assert Settings.read({"CROSSAISLE_HOME": "~/models"}).home == Path("/people/ann/models")
    assert Settings.read({}).with_(home="~/m").home == Path("/people/ann/m")


@pytest.mark.parametrize("value", ["", "   "])
def test_empty_variable_is_ignored(value: str) -> None:
    assert Settings.read({"CROSSAISLE_LLM": value, "CROSSAISLE_THREADS": value}) == Settings.read({})


def test_misspelled_variable_error_suggests_the_right_one() -> None:
    with pytest.raises(SettingsError, match="CROSSAISLE_QUANTISATION.*did you mean CROSSAISLE_QUANTIZATION"):
        Settings.read({"CROSSAISLE_QUANTISATION": "nf4"})


def test_unknown_variable_error_lists_all() -> None:
    with pytest.raises(SettingsError, match="known are CROSSAISLE_CHROMA, .*CROSSAISLE_THREADS") as caught:
        Settings.read({"CROSSAISLE_XYZZY": "1"})
    assert isinstance(caught.value, CrossaisleError)


@pytest.mark.parametrize("value", ["0", "-2", "two", "1.5"])
def test_threads_must_be_a_positive_integer(value: str) -> None:
    with pytest.raises(SettingsError, match="threads must be a whole number of 1 or more"):
        Settings.read({"CROSSAISLE_THREADS": value})


@pytest.mark.parametrize("value", ["int8", "NF4", "4bit"])
def test_unknown_quantization_error_lists_all(value: str) -> None:
    with pytest.raises(SettingsError, match="auto, nf4, bf16, fp32"):
        Settings.read({"CROSSAISLE_QUANTIZATION": value})


def test_with_returns_a_changed_copy_and_ignores_none() -> None:
    first = Settings.read({"CROSSAISLE_LLM": "a"})
    second = first.with_(llm=None, embedder="b", threads=2)
    assert (second.llm, second.embedder, second.threads) == ("a", "b", 2)
    assert (first.embedder, first.threads) == (None, None)
    with pytest.raises(AttributeError):
        first.llm = "c"  # type: ignore[misc]


def test_secret_variables_are_not_settings() -> None:
    """Settings are printed and written to reports."""
    settings = Settings.read({"CROSSAISLE_JUDGE_KEY": "sk-secret", "CROSSAISLE_LLM": "none"})
    assert settings.llm == "none"
    assert "sk-secret" not in repr(settings)
