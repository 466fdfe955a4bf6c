"""The quantization that `auto` chooses, from matrix units, memory and model size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from crossaisle.data.errors import ModelMissingError
from crossaisle.data.settings import Settings
from crossaisle.llm.models import quantization as quantizations
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.model_source import resolve_quantization
from crossaisle.llm.models.quantization import choose_quantization, compute_dtype, has_amx_bf16, multiplies_bf16, training_quantization


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with 4,000 bytes of weights in two files."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.safetensors").write_bytes(bytes(2000))
    return folder


@pytest.mark.parametrize(
    ("cuda", "amx", "native_bf16", "memory", "expected"),
    [
        (False, True, True, 16_000, "bf16"),
        (False, True, True, 15_999, "nf4"),  # too little memory would remain
        (False, False, True, 10**12, "nf4"),
        (False, False, False, 32_000, "fp32"),
        (False, False, False, 31_999, "nf4"),
        (True, True, True, 10**12, "nf4"),
        (True, False, False, 10**12, "nf4"),
    ],
)
def test_what_is_fastest_on_a_cpu_and_fits_in_memory(
    model: Path, cuda: bool, amx: bool, native_bf16: bool, memory: int, expected: str
) -> None:
    assert choose_quantization(model, cuda=cuda, amx=amx, native_bf16=native_bf16, memory=memory) == expected


def test_models_of_unknown_size_are_quantized(tmp_path: Path) -> None:
    assert choose_quantization(tmp_path, cuda=False, amx=True, memory=10**12) == "nf4"  # no weights
    assert choose_quantization(Path("somebody/a-model"), cuda=False, amx=True, memory=10**12) == "nf4"  # a hub id


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu amx_bf16 avx2\n\nprocessor\t: 1\nflags\t\t: fpu amx_bf16 avx2\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_int8\n", False),
        ("processor\t: 0\nmodel name\t: amx_bf16\n", False),
        ("", False),
        ("Features\t: fp asimd bf16\n", False),
    ],
)
def test_matrix_units_are_read_from_cpuinfo(tmp_path: Path, cpuinfo: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert has_amx_bf16(tmp_path / "cpuinfo") is expected


def test_no_matrix_units_without_cpuinfo(tmp_path: Path) -> None:
    assert has_amx_bf16(tmp_path / "nothing") is False


def test_a_named_quantization_is_kept(settings: Settings) -> None:
    for quantization in ("nf4", "bf16", "fp32"):
        assert resolve_quantization(settings.with_(quantization=quantization, llm="/nowhere")).quantization == quantization
    assert resolve_quantization(settings.with_(quantization="auto", llm="none")).quantization == "auto"


def test_auto_requires_an_existing_model(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="there is no folder"):
        resolve_quantization(settings.with_(quantization="auto", llm=str(tmp_path / "nothing")))


@pytest.mark.parametrize("amx", [True, False])
def test_the_bundled_model_is_loaded_with_the_chosen_quantization(settings: Settings, monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    monkeypatch.setattr("crossaisle.llm.models.quantization.has_amx_bf16", lambda: amx)
    monkeypatch.setattr("crossaisle.llm.models.quantization.multiplies_bf16", lambda: True)
    loaded = LanguageModel.load(settings.with_(llm="smollm2", quantization="auto"))
    packed = sum("4bit" in type(module).__name__ for module in loaded.model.modules())
    assert (loaded.quantization, bool(packed)) == (("bf16", False) if amx else ("nf4", True))


@pytest.mark.parametrize("native", [True, False])
def test_a_cpu_that_imitates_bf16_computes_in_float32(settings: Settings, monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    """The same four-bit weights, multiplied in either precision, give nearly the same probabilities."""
    monkeypatch.setattr(quantizations, "multiplies_bf16", lambda: native)
    loaded = LanguageModel.load(settings.with_(llm="smollm2", quantization="nf4"))
    expected = torch.bfloat16 if native else torch.float32
    layers = [module for module in loaded.model.modules() if "4bit" in type(module).__name__]
    assert layers
    assert {layer.compute_dtype for layer in layers} == {expected}
    assert loaded.model.dtype == expected
    tokens = loaded.tokenizer("A tent needs a", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        probabilities = loaded.model(tokens).logits[0, -1].float().softmax(-1)
    assert loaded.tokenizer.decode(int(probabilities.argmax())) == " tent"
    assert float(probabilities.max()) == pytest.approx(0.124, abs=0.02)


def test_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    for native, nf4, trained in ((True, torch.bfloat16, "bf16"), (False, torch.float32, "fp32")):
        monkeypatch.setattr(quantizations, "multiplies_bf16", lambda native=native: native)
        assert [compute_dtype(name) for name in ("nf4", "bf16", "fp32")] == [nf4, torch.bfloat16, torch.float32]
        assert [training_quantization(name) for name in ("auto", "nf4", "bf16", "fp32")] == [trained, trained, "bf16", "fp32"]


def test_what_multiplies_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantizations, "has_amx_bf16", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(quantizations.platform, "machine", lambda: "x86_64")
    assert not multiplies_bf16()
    monkeypatch.setattr(quantizations.platform, "machine", lambda: "arm64")
    assert multiplies_bf16()
    monkeypatch.setattr(quantizations.platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert multiplies_bf16()
