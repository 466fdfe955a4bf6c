"""Which quantization `auto` is: by the machine's matrix units, its memory and the model's size."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossaisle.data.errors import ModelMissingError
from crossaisle.data.settings import Settings
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.model_source import resolve_quantization
from crossaisle.llm.models.quantization import choose_quantization, has_amx_bf16


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with 4,000 bytes of weights in two files."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.safetensors").write_bytes(bytes(2000))
    return folder


@pytest.mark.parametrize(
    ("cuda", "amx", "memory", "expected"),
    [
        (False, True, 16_000, "bf16"),
        (False, True, 15_999, "nf4"),  # would leave too little
        (False, False, 10**12, "nf4"),
        (True, True, 10**12, "nf4"),
    ],
)
def test_bf16_is_for_a_cpu_that_multiplies_it_and_holds_it(model: Path, cuda: bool, amx: bool, memory: int, expected: str) -> None:
    assert choose_quantization(model, cuda=cuda, amx=amx, memory=memory) == expected


def test_what_is_not_there_yet_is_taken_in_4_bits(tmp_path: Path) -> None:
    assert choose_quantization(tmp_path, cuda=False, amx=True, memory=10**12) == "nf4"  # no weights
    assert choose_quantization(Path("somebody/a-model"), cuda=False, amx=True, memory=10**12) == "nf4"  # a hub's id


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu amx_bf16 avx2\n\nprocessor\t: 1\nflags\t\t: fpu amx_bf16 avx2\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_int8\n", False),
        ("processor\t: 0\nmodel name\t: amx_bf16\n", False),
        ("", False),
        ("Features\t: fp asimd bf16\n", False),
    ],
)
def test_the_matrix_units_are_read_from_what_linux_tells(tmp_path: Path, told: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(told)
    assert has_amx_bf16(tmp_path / "cpuinfo") is expected


def test_elsewhere_there_are_none(tmp_path: Path) -> None:
    assert has_amx_bf16(tmp_path / "nothing") is False


def test_what_was_named_stays(settings: Settings) -> None:
    for named in ("nf4", "bf16", "fp32"):
        assert resolve_quantization(settings.with_(quantization=named, llm="/nowhere")).quantization == named
    assert resolve_quantization(settings.with_(quantization="auto", llm="none")).quantization == "auto"


def test_auto_asks_for_a_model_that_is_there(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="there is no folder"):
        resolve_quantization(settings.with_(quantization="auto", llm=str(tmp_path / "nothing")))


@pytest.mark.parametrize("amx", [True, False])
def test_the_embedded_model_is_loaded_as_chosen(settings: Settings, monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    monkeypatch.setattr("crossaisle.llm.models.quantization.has_amx_bf16", lambda: amx)
    loaded = LanguageModel.load(settings.with_(llm="smollm2", quantization="auto"))
    packed = sum("4bit" in type(module).__name__ for module in loaded.model.modules())
    assert (loaded.quantization, bool(packed)) == (("bf16", False) if amx else ("nf4", True))
