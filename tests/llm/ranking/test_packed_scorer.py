"""Packed scores equal the scores of each candidate alone, in any pack and on every supported architecture."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.data.errors import ModelError
from crossaisle.data.settings import Settings
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.ranking.packed_scorer import PackedScorer
from crossaisle.llm.ranking.packs import Pack, split_into_packs

PREFIX = "A shopper has bought a trail tent.\n"
ITEMS = ["camp stove", "silk tie", "a large cast iron pan", "pen", "tent pegs", "phone case"]
TOKENS = st.integers(20, 49_000)
CANDIDATES = st.lists(st.lists(TOKENS, min_size=1, max_size=12), min_size=1, max_size=5)


def encoded(llm: LanguageModel) -> tuple[list[int], list[list[int]]]:
    return llm.encode(PREFIX), [llm.encode(f"Also {item}? Answer:") for item in ITEMS]


@pytest.fixture(scope="module")
def exact(llm_fp32: LanguageModel) -> PackedScorer:
    return PackedScorer(llm_fp32)


# ------------------------------------------------------------------ the bundled model


def test_packed_equals_unpacked(exact: PackedScorer) -> None:
    prefix, candidates = encoded(exact.llm)
    packed, alone = exact.logit_margins(Pack(prefix, candidates)), exact.unpacked_logit_margins(Pack(prefix, candidates))
    assert packed.dtype == np.float32
    assert packed.shape == (len(ITEMS),)
    np.testing.assert_allclose(packed, alone, atol=1e-4)
    assert np.ptp(alone) > 0.1, "equal scores would prove nothing"


def test_packed_is_close_to_unpacked_in_4_bits(llm: LanguageModel) -> None:
    from scipy.stats import spearmanr

    scorer = PackedScorer(llm)
    prefix, candidates = encoded(llm)
    packed, alone = scorer.logit_margins(Pack(prefix, candidates)), scorer.unpacked_logit_margins(Pack(prefix, candidates))
    np.testing.assert_allclose(packed, alone, atol=0.15)
    assert spearmanr(packed, alone).statistic > 0.8


@given(st.lists(TOKENS, min_size=1, max_size=20), CANDIDATES, st.randoms(use_true_random=False))
@settings(max_examples=5, deadline=None)
def test_packed_equals_unpacked_for_any_tokens_and_order(
    exact: PackedScorer, prefix: list[int], candidates: list[list[int]], rng: Any
) -> None:
    alone = exact.unpacked_logit_margins(Pack(prefix, candidates))
    np.testing.assert_allclose(exact.logit_margins(Pack(prefix, candidates)), alone, atol=1e-4, rtol=1e-4)
    order = list(range(len(candidates)))
    rng.shuffle(order)
    shuffled = exact.logit_margins(Pack(prefix, [candidates[i] for i in order]))
    np.testing.assert_allclose(shuffled, alone[order], atol=1e-4, rtol=1e-4)


def test_splitting_into_packs_does_not_change_the_scores(exact: PackedScorer) -> None:
    prefix, candidates = encoded(exact.llm)
    whole = exact.logit_margins(Pack(prefix, candidates))
    longest = max(map(len, candidates))
    for tokens in (longest, 3 * longest + 1):
        small = PackedScorer(exact.llm, pack_tokens=len(prefix) + tokens)
        assert len(split_into_packs(len(prefix), [len(c) for c in candidates], small.pack_tokens)) > 1
        np.testing.assert_allclose(small.logit_margins(Pack(prefix, candidates)), whole, atol=1e-4)


def test_candidates_do_not_attend_to_each_other(exact: PackedScorer) -> None:
    """The same candidate next to two different candidates."""
    prefix, candidates = encoded(exact.llm)
    loud = exact.llm.encode(" Say Yes! Yes Yes Yes Yes Yes Yes")
    first, second = (exact.logit_margins(Pack(prefix, [neighbour, candidates[0]]))[1] for neighbour in (loud, candidates[1]))
    assert first == pytest.approx(second, abs=1e-4)
    assert exact.logit_margins(Pack(prefix, [loud, loud + candidates[0]]))[1] != pytest.approx(first, abs=1e-2), "its own tokens do count"
    assert exact.logit_margins(Pack(loud, [candidates[0]]))[0] != pytest.approx(first, abs=1e-2), "and so does the prefix"


def test_no_candidates(exact: PackedScorer) -> None:
    assert exact.logit_margins(Pack([1, 2, 3], [])).shape == (0,)


def test_a_candidate_beyond_the_context_is_an_error(exact: PackedScorer) -> None:
    short = PackedScorer(exact.llm, pack_tokens=50)
    with pytest.raises(ModelError, match="a prompt of 51 tokens does not fit the maximum of 50 tokens; use a shorter history"):
        short.logit_margins(Pack([20] * 40, [[30] * 10, [30] * 11]))
    assert short.logit_margins(Pack([20] * 40, [[30] * 10])).shape == (1,)
    assert PackedScorer(exact.llm, pack_tokens=10**9).pack_tokens == exact.llm.context


def test_margins_are_differentiable(exact: PackedScorer) -> None:
    prefix, candidates = encoded(exact.llm)
    import torch

    with torch.enable_grad():
        assert exact.forward(Pack(prefix, candidates[:2])).requires_grad


# ------------------------------------------------------------------ packs


@given(st.integers(1, 40), st.lists(st.integers(1, 60), max_size=30), st.integers(1, 110))
@settings(max_examples=300, deadline=None)
def test_packs_are_complete_ordered_and_as_full_as_possible(prefix: int, lengths: list[int], limit: int) -> None:
    if any(prefix + length > limit for length in lengths):
        with pytest.raises(ModelError):
            split_into_packs(prefix, lengths, limit)
        return
    packs = split_into_packs(prefix, lengths, limit)
    assert [i for pack in packs for i in pack] == list(range(len(lengths)))
    assert all(pack and prefix + sum(lengths[i] for i in pack) <= limit for pack in packs)
    for pack, following in itertools.pairwise(packs):
        assert prefix + sum(lengths[i] for i in pack) + lengths[following[0]] > limit, "the next candidate would not fit"


# ------------------------------------------------------------------ other architectures

SIZES = {"vocab_size": 49_152, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
LLAMA = {**SIZES, "intermediate_size": 128, "num_key_value_heads": 2}
GPT2 = {"vocab_size": 49_152, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}
MIXED = {"layer_types": ["sliding_attention", "full_attention"]}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}

Make = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path, settings: Settings) -> Make:
    """Write a tiny model with random weights and the tokenizer of the bundled model: `make_model("Qwen3", **config)`."""

    def make(name: str, **config: Any) -> Path:
        import torch
        import transformers
        from transformers.utils import logging

        from crossaisle.llm.models import bundled

        logging.disable_progress_bar()
        torch.manual_seed(3)
        model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, f"{name}Config")(**IDS, **config))
        with torch.no_grad():  # larger than at initialization, where all scores are nearly equal
            for weight in model.parameters():
                if weight.dim() > 1:
                    weight.normal_(0, 0.15)
        model.save_pretrained(tmp_path / "model")
        transformers.AutoTokenizer.from_pretrained(bundled.cache_folder(settings.home)).save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return make


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("Qwen3", {**LLAMA, "head_dim": 16}),
        ("Mistral", {**LLAMA, "sliding_window": None}),
        ("Mistral", {**LLAMA, "sliding_window": 8}),
        ("Gemma3Text", {**LLAMA, **MIXED, "head_dim": 16, "sliding_window": 8}),
        ("GPTNeoX", {**SIZES, "intermediate_size": 128}),
        ("GPT2", GPT2),
        ("OPT", {**SIZES, "ffn_dim": 128, "word_embed_proj_dim": 64}),
    ],
    ids=["qwen3", "mistral", "mistral-window", "gemma3", "gpt-neox", "gpt2", "opt-which-is-probed"],
)
def test_other_architectures(make_model: Make, settings: Settings, name: str, config: dict[str, Any]) -> None:
    """The sliding windows of 8 tokens are shorter than the prompts, so they must be applied within a pack as well."""
    scorer = PackedScorer(LanguageModel.load(settings.with_(llm=str(make_model(name, **config)), quantization="fp32")))
    random = np.random.default_rng(5)
    prefix = random.integers(20, 49_000, 30).tolist()
    candidates = [random.integers(20, 49_000, int(n)).tolist() for n in random.integers(3, 15, 6)]
    alone = scorer.unpacked_logit_margins(Pack(prefix, candidates))
    np.testing.assert_allclose(scorer.logit_margins(Pack(prefix, candidates)), alone, atol=1e-4)
    assert alone.std() > 0.1
    assert scorer.llm.context == 512


def test_a_bidirectional_model_is_refused(make_model: Make, settings: Settings) -> None:
    folder = make_model("Bert", **SIZES, intermediate_size=128)
    loaded = LanguageModel.load(settings.with_(llm=str(folder), quantization="fp32"))
    with pytest.raises(ModelError, match="cannot rank: a candidate scores .* packed with others, but .* alone; name a causal decoder"):
        PackedScorer(loaded)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("Bloom", {"vocab_size": 49_152, "hidden_size": 64, "n_layer": 2, "n_head": 4}),
        ("Mamba", {"vocab_size": 49_152, "hidden_size": 64, "num_hidden_layers": 2}),
    ],
)
def test_a_model_without_custom_masks_is_refused(make_model: Make, settings: Settings, name: str, config: dict[str, Any]) -> None:
    folder = make_model(name, **config)
    with pytest.raises(ModelError, match=f"'{folder}' cannot be loaded as a causal language model"):
        LanguageModel.load(settings.with_(llm=str(folder), quantization="fp32"))
