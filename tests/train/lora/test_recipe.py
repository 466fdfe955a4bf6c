"""Default hyperparameters by size: those measured for the bundled model, those published for large ones, monotonic between."""

from __future__ import annotations

import itertools

import pytest
import torch

from crossaisle.data.errors import SettingsError
from crossaisle.data.settings import Settings
from crossaisle.llm.models.model_size import ModelSize
from crossaisle.train.lora import recipe as recipes
from crossaisle.train.lora.config import FinetuneConfig
from crossaisle.train.lora.recipe import adapt, for_gpu, learning_rate, recipe, recipe_for

GB = 10**9
BILLION = 10**9


def test_the_bundled_model_keeps_its_measured_values(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert recipe_for(settings.with_(llm="smollm2")) == FinetuneConfig() == recipe(135_000_000)
    assert (FinetuneConfig().lr, FinetuneConfig().blocks, FinetuneConfig().rank) == (2e-3, 10, 8)


def test_a_measured_configuration_is_adapted_to_larger_models(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = FinetuneConfig(blocks=15, batch=16, epochs=3, prompt=1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert adapt(measured, small) == measured
    monkeypatch.setattr(ModelSize, "read", classmethod(lambda cls, _: cls(4 * BILLION, 2560, 36)))
    adapted = adapt(measured, small)
    assert (adapted.rank, adapted.alpha, adapted.lr, adapted.blocks) == (16, 32.0, 3e-4, None)
    assert (adapted.batch, adapted.epochs, adapted.prompt) == (16, 3, 1)


@pytest.mark.parametrize(
    ("billions", "lr"), [(0.135, 2e-3), (0.6, 8e-4), (1.7, 5e-4), (4.0, 3e-4), (7.0, 2e-4), (13.0, 2e-4), (33.0, 1e-4), (65.0, 1e-4)]
)
def test_the_learning_rate_joins_the_measured_and_the_published_one(billions: float, lr: float) -> None:
    config = recipe(int(billions * BILLION))
    assert config.lr == lr == learning_rate(int(billions * BILLION))
    assert (config.rank, config.alpha, config.blocks) == ((8, 16.0, 10) if billions < 0.3 else (16, 32.0, None))


def test_the_learning_rate_never_rises_with_size() -> None:
    rates = [learning_rate(int(10**exponent)) for exponent in (6, 7, 8, 8.4, 8.6, 9, 9.3, 9.6, 9.9, 10.1, 10.5, 11)]
    assert all(first >= second for first, second in itertools.pairwise(rates))


def test_chosen_values_replace_single_ones() -> None:
    config = recipe(4 * BILLION, rank=4, epochs=3, seed=5)
    assert (config.rank, config.alpha, config.epochs, config.seed, config.lr, config.blocks) == (4, 8.0, 3, 5, 3e-4, None)
    assert recipe(4 * BILLION, rank=4, alpha=5.0).alpha == 5.0
    assert recipe(4 * BILLION, blocks=2, lr=1e-5).blocks == 2
    with pytest.raises(SettingsError, match="invalid value for rank"):
        recipe(4 * BILLION, rank=0)


def test_activations_are_recomputed_where_they_would_not_fit() -> None:
    size = ModelSize(8_190_000_000, 4096, 36)  # 34 bytes x 4096 x 36 x 8192 tokens = 41 GB, and 5 GB of NF4 weights
    config = recipe(size.parameters)
    assert not for_gpu(size, config, "nf4", 80 * GB).gradient_checkpointing
    assert for_gpu(size, config, "nf4", 48 * GB).gradient_checkpointing
    assert not for_gpu(size, config, "nf4", 48 * GB, pack_tokens=2048).gradient_checkpointing
    assert for_gpu(size, config, "bf16", 24 * GB, pack_tokens=2048).gradient_checkpointing
    assert not for_gpu(size, config, "nf4", 24 * GB, gradient_checkpointing=False).gradient_checkpointing
    assert for_gpu(size, config, "nf4", 80 * GB).pack_tokens == recipes.GPU_FORWARD_TOKENS


def test_a_gpu_is_asked_for_its_memory(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        total_memory = GB // 100

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties)
    state = torch.random.get_rng_state()
    config = recipe_for(small, seed=3)
    assert config.gradient_checkpointing
    assert (config.seed, config.pack_tokens, config.lr) == (3, recipes.GPU_FORWARD_TOKENS, 2e-3)
    assert torch.equal(state, torch.random.get_rng_state())
    Properties.total_memory = 80 * GB
    assert not recipe_for(small).gradient_checkpointing
