"""Cached prefixes: scores equal those without a cache, only new tokens are computed, and what differs is not mixed up."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossaisle.data.records import Item
from crossaisle.data.settings import Settings
from crossaisle.llm.models import adapters
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.projector import ProjectorInputs, Standardization, attach_projector
from crossaisle.llm.models.usage import measure_usage
from crossaisle.llm.ranking.packed_scorer import PackedScorer
from crossaisle.llm.ranking.packs import SOFT_TOKEN, Pack, SoftInputs
from crossaisle.llm.ranking.prefix_cache import PrefixCache, PrefixState
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.llm.ranking.request_batching import MAX_BATCH_TOKENS, BatchingPolicy, PackBatcher


def random_pack(seed: int, prefix: int = 20, candidates: int = 4) -> Pack:
    rng = np.random.default_rng(seed)
    return Pack(
        rng.integers(20, 49_000, prefix).tolist(), [rng.integers(20, 49_000, int(n)).tolist() for n in rng.integers(2, 9, candidates)]
    )


@pytest.fixture
def tiny(small: Settings) -> LanguageModel:
    return LanguageModel.load(small)


def caching(llm: LanguageModel, **options: Any) -> tuple[PackedScorer, PrefixCache]:
    cache = PrefixCache()
    return PackedScorer(llm, prefix_cache=cache, **options), cache


# ------------------------------------------------------------------ scores


def assert_scores_stay(llm: LanguageModel) -> None:
    """The first and second request of two shoppers, apart and in one batch, with prefixes of different lengths."""
    scorer, cache = caching(llm)
    plain, packs = PackedScorer(llm), [random_pack(1, 20), random_pack(2, 31), random_pack(3, 9)]
    expected = [plain.logit_margins(pack) for pack in packs]
    for pack, margins in zip(packs[:2], expected, strict=False):
        np.testing.assert_allclose(scorer.logit_margins(pack), margins, atol=1e-4)
        np.testing.assert_allclose(scorer.logit_margins(pack.take([2, 0])), margins[[2, 0]], atol=1e-4)
    assert (cache.hits, cache.misses) == (2, 2)
    for margins, same in zip(scorer.batch_logit_margins(packs), expected, strict=True):
        np.testing.assert_allclose(margins, same, atol=1e-4)
    assert (cache.hits, cache.misses) == (4, 3)
    assert np.ptp(np.concatenate(expected)) > 0.1, "equal scores would prove nothing"


def test_the_bundled_model(llm_fp32: LanguageModel) -> None:
    assert_scores_stay(llm_fp32)


@pytest.mark.parametrize("architecture", ["qwen3", "mistral", "mistral-window", "gemma3", "gpt-neox", "gpt2", "opt"])
def test_every_architecture(settings: Settings, tmp_path: Path, architecture: str) -> None:
    """The sliding windows of 8 tokens are shorter than the prefixes, so they apply to cached tokens as well."""
    import transformers
    from transformers.utils import logging

    from crossaisle.llm.models import bundled

    sizes = {"vocab_size": 49_152, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
    llama = {**sizes, "intermediate_size": 128, "num_key_value_heads": 2}
    mixed = {"layer_types": ["sliding_attention", "full_attention"]}
    name, config = {
        "qwen3": ("Qwen3", {**llama, "head_dim": 16}),
        "mistral": ("Mistral", {**llama, "sliding_window": None}),
        "mistral-window": ("Mistral", {**llama, "sliding_window": 8}),
        "gemma3": ("Gemma3Text", {**llama, **mixed, "head_dim": 16, "sliding_window": 8}),
        "gpt-neox": ("GPTNeoX", {**sizes, "intermediate_size": 128}),
        "gpt2": ("GPT2", {"vocab_size": 49_152, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}),
        "opt": ("OPT", {**sizes, "ffn_dim": 128, "word_embed_proj_dim": 64}),
    }[architecture]
    logging.disable_progress_bar()
    torch.manual_seed(3)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, f"{name}Config")(**ids, **config))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.15)
    model.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(bundled.cache_folder(settings.home)).save_pretrained(tmp_path)
    assert_scores_stay(LanguageModel.load(settings.with_(llm=str(tmp_path), quantization="fp32")))


def test_repeated_requests_get_identical_scores(tiny: LanguageModel) -> None:
    scorer, _ = caching(tiny)
    first = scorer.logit_margins(random_pack(1))
    assert scorer.logit_margins(random_pack(1)).tolist() == first.tolist()


# ------------------------------------------------------------------ what must not be mixed up


def test_adapter_and_base_weights_have_entries_of_their_own(tiny: LanguageModel) -> None:
    torch.manual_seed(0)
    for parameter in adapters.inject_lora(tiny.model, tiny.name, rank=4, alpha=8, dropout=0.0):
        parameter.data.normal_(0, 0.3)
    tiny.register_adapter(adapters.RANKING, 2)
    cache, pack = PrefixCache(), random_pack(1)
    margins = {}
    for adapter in (True, False, True, False):
        scorer = PackedScorer(tiny, adapter=adapter, prefix_cache=cache)
        margins[adapter] = scorer.logit_margins(pack)
        np.testing.assert_allclose(margins[adapter], PackedScorer(tiny, adapter=adapter).logit_margins(pack), atol=1e-4)
    assert np.abs(margins[True] - margins[False]).max() > 0.1
    assert (cache.hits, cache.misses) == (2, 2)


def test_soft_tokens_that_differ_have_entries_of_their_own(tiny: LanguageModel) -> None:
    inputs, rng = ProjectorInputs(3, ("price",), "f"), np.random.default_rng(0)
    statistics = Standardization.fit(*(rng.normal(size=(9, 4)).astype(np.float32) for _ in range(2)))
    torch.manual_seed(0)
    for parameter in attach_projector(tiny.model, inputs, statistics):
        parameter.data.normal_(0, 1.0)
    tiny.model.requires_grad_(False)
    text = random_pack(1)
    candidates = [[*candidate[:1], SOFT_TOKEN, *candidate[1:]] for candidate in text.candidates]
    prefix = [*text.prefix[:5], SOFT_TOKEN, *text.prefix[5:]]
    shared = rng.normal(size=(len(candidates), 4)).astype(np.float32)
    scorer, cache = caching(tiny)
    margins = []
    for seed in (1, 2, 1):
        history = np.random.default_rng(seed).normal(size=4).astype(np.float32)
        pack = Pack(prefix, candidates, SoftInputs(history, shared))
        margins.append(scorer.logit_margins(pack))
        np.testing.assert_allclose(margins[-1], PackedScorer(tiny).logit_margins(pack), atol=1e-4)
        np.testing.assert_allclose(margins[-1], scorer.unpacked_logit_margins(pack), atol=1e-4)
    assert (cache.hits, cache.misses) == (1, 2)
    assert np.abs(margins[0] - margins[1]).max() > 1e-2
    np.testing.assert_allclose(scorer.batch_logit_margins([pack, text])[1], PackedScorer(tiny).logit_margins(text), atol=1e-4)


def test_training_does_not_use_the_cache(tiny: LanguageModel) -> None:
    scorer, cache = caching(tiny)
    pack = random_pack(1)
    scorer.logit_margins(pack)
    with torch.enable_grad():
        assert scorer.forward(pack).requires_grad
    assert (cache.hits, cache.misses) == (0, 1)


# ------------------------------------------------------------------ usage


def test_only_computed_tokens_are_counted(tiny: LanguageModel) -> None:
    pack = random_pack(1)
    prefix, candidates = len(pack.prefix), pack.tokens - len(pack.prefix)
    for batcher in (None, PackBatcher(BatchingPolicy(MAX_BATCH_TOKENS))):
        scorer, _ = caching(tiny)
        counted = []
        for asked in (pack, pack, pack.take([1])):
            with measure_usage() as usage:
                batcher.logit_margins(scorer, asked) if batcher else scorer.logit_margins(asked)
            counted.append(usage.tokens_in)
        assert counted == [prefix + candidates, candidates, len(pack.candidates[1])]
        if batcher:
            batcher.close()
    with measure_usage() as usage:  # the second and third forward of one request find the prefix of the first
        scorer, _ = caching(tiny, pack_tokens=prefix + max(map(len, pack.candidates)))
        assert len(scorer.split_candidates(pack)) > 1
        scorer.logit_margins(pack)
    assert usage.tokens_in == prefix + candidates
    with measure_usage() as usage:
        without = PackedScorer(tiny, pack_tokens=scorer.pack_tokens)
        without.logit_margins(pack)
    assert usage.tokens_in == len(without.split_candidates(pack)) * prefix + candidates


def test_a_ranker_computes_the_history_of_a_shopper_once(tiny: LanguageModel) -> None:
    cache = PrefixCache()
    ranker, plain = Ranker(tiny, prefix_cache=cache), Ranker(tiny)
    history = [Item("h", "a trail tent", ("Camping",))]
    items = [Item(f"i{n}", title, ("Gear",)) for n, title in enumerate(["a stove", "a silk tie", "tent pegs"])]
    for candidates in (items, items[1:]):
        np.testing.assert_allclose(ranker.scores(history, None, candidates), plain.scores(history, None, candidates), atol=1e-4)
    ranker.scores(history, "something warm", items)
    assert (cache.hits, cache.misses) == (1, 2)


# ------------------------------------------------------------------ the cache itself


def state(length: int) -> PrefixState:
    """32 bytes a token: one layer, one head of 4 float32 numbers, keys and values."""
    return PrefixState([(torch.zeros(1, 1, length, 4), torch.zeros(1, 1, length, 4))])


def test_the_least_recently_used_entries_are_dropped() -> None:
    cache = PrefixCache(max_bytes=100 * 32)
    cache.put("a", state(40))
    cache.put("b", state(40))
    assert cache.get("a") is not None
    cache.put("c", state(30))  # drops b, which was used before a
    assert cache.nbytes == 70 * 32
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]
    cache.put("a", state(50))
    assert cache.nbytes == 80 * 32
    cache.put("d", state(101))  # larger than the whole cache: not kept, and nothing is dropped for it
    assert [cache.get(key) is not None for key in "acd"] == [True, True, False]
    cache.clear()
    assert (cache.nbytes, cache.get("a")) == (0, None)


def test_an_entry_does_not_keep_the_batch_that_it_was_computed_in() -> None:
    keys = torch.zeros(8, 2, 100, 4)
    kept = PrefixState.from_row([(keys, keys)], 3, 10)
    assert (kept.length, kept.nbytes) == (10, 2 * 2 * 10 * 4 * 4)
    assert kept.layers[0][0].untyped_storage().nbytes() == kept.nbytes // 2


def test_many_threads_share_a_cache(tiny: LanguageModel) -> None:
    scorer, cache = caching(tiny)
    cache.max_bytes = 2 * 20 * 2 * 2 * 16 * 4  # two prefixes of the four
    packs = [random_pack(seed) for seed in range(4)]
    expected = [PackedScorer(tiny).logit_margins(pack) for pack in packs]
    failures: list[int] = []

    def ask(start: int) -> None:
        for n in range(12):
            i = (start + n) % len(packs)
            if not np.allclose(scorer.logit_margins(packs[i]), expected[i], atol=1e-4):
                failures.append(i)

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert cache.hits + cache.misses == 48
    assert 0 < cache.nbytes <= cache.max_bytes
