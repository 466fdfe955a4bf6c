"""The size read from a configuration is that of the loaded model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from crossaisle.data.errors import ModelError, ModelMissingError
from crossaisle.data.settings import Settings
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.model_size import ModelSize


def test_the_bundled_model(llm_fp32: LanguageModel, settings: Settings) -> None:
    size = ModelSize.read(settings.with_(llm="smollm2"))
    assert size.parameters == sum(weight.numel() for weight in llm_fp32.model.parameters())
    assert (size.hidden, size.layers) == (576, 30)


def test_no_weights_are_needed_and_quantized_ones_count_in_full(small: Settings, tmp_path: Path) -> None:
    config = json.loads((Path(small.llm) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq", "bits": 4}}))
    size, whole = ModelSize.read(small.with_(llm=str(tmp_path))), ModelSize.read(small)
    assert size == whole
    assert (size.hidden, size.layers) == (32, 2)
    assert size.parameters == 49_152 * 32 + 2 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 64 + 2 * 32) + 32 + 49_152 * 32


def test_what_is_no_language_model(small: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="neither in the local cache nor reachable"):
        ModelSize.read(small.with_(llm="nobody/nothing"))
    with pytest.raises(ModelError, match="is an endpoint"):
        ModelSize.read(small.with_(llm="openai:http://127.0.0.1:1/v1", llm_model="m"))
    shutil.copytree(small.llm, tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "mamba-like"}')
    with pytest.raises(ModelError, match="cannot be loaded as a causal language model"):
        ModelSize.read(small.with_(llm=str(tmp_path / "model")))
