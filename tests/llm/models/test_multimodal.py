"""Models that also see: they rank by their text decoder, and only that is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from crossaisle.data.records import Item
from crossaisle.data.settings import Settings
from crossaisle.llm.models import adapters, bundled
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.ranking.packed_scorer import PackedScorer
from crossaisle.llm.ranking.packs import Pack
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.train.lora.config import FinetuneConfig
from crossaisle.train.lora.finetune import MIN_EXAMPLES, train
from crossaisle.train.lora.listwise_loss import ListwiseExample

BLOCKS = 3


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Settings:
    """A Gemma 3 with a vision tower, both tiny and random, with the tokenizer of the bundled model."""
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gemma")
    config = transformers.Gemma3Config(
        text_config={
            "vocab_size": 49_152, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": BLOCKS, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 600, "sliding_window": 64, "bos_token_id": 1,
            "eos_token_id": 2, "pad_token_id": 2,
        },
        vision_config={
            "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
        },
        mm_tokens_per_image=4,
    )  # fmt: skip
    transformers.Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(bundled.cache_folder(settings.home)).save_pretrained(folder)
    return settings.with_(llm=str(folder), quantization="fp32")


def test_the_context_is_that_of_the_text_decoder(gemma: Settings) -> None:
    assert LanguageModel.load(gemma).context == 600


def test_packed_equals_unpacked(gemma: Settings) -> None:
    scorer = PackedScorer(LanguageModel.load(gemma))
    rng = np.random.default_rng(0)
    prefix, candidates = rng.integers(10, 49_000, 90).tolist(), [rng.integers(10, 49_000, length).tolist() for length in (5, 12, 1, 80)]
    np.testing.assert_allclose(
        scorer.logit_margins(Pack(prefix, candidates)), scorer.unpacked_logit_margins(Pack(prefix, candidates)), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("blocks", [1, None])
def test_only_the_text_decoder_is_trained(gemma: Settings, blocks: int | None) -> None:
    model = LanguageModel.load(gemma).model
    adapters.inject_lora(model, gemma.llm, rank=2, alpha=4, dropout=0.0, blocks=blocks)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(trained) == 2 * 7 * (blocks or BLOCKS)
    assert all(".language_model.layers." in name for name in trained)
    if blocks:
        assert all(f".layers.{BLOCKS - 1}." in name for name in trained)


def test_an_adapter_is_trained_saved_and_loaded(gemma: Settings, tmp_path: Path) -> None:
    items = [Item(f"c{n}", f"thing {n}", ("Extras",)) for n in range(4)]
    examples = [ListwiseExample([Item("h", f"a tent {n}", ("Gear",))], items, 3) for n in range(MIN_EXAMPLES)]
    config = FinetuneConfig(rank=2, alpha=4, batch=4, lr=5e-2, epochs=3, blocks=2, validate_every=2)
    train(examples, examples[:4], gemma, tmp_path / "adapter", config)
    tuned, base = LanguageModel.load(gemma, tmp_path / "adapter"), LanguageModel.load(gemma)
    assert tuned.has_ranking_adapter
    margins = [Ranker(llm, version=4).scores(examples[0].history, None, items) for llm in (tuned, base)]
    assert not np.array_equal(*margins)
