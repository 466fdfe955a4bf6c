"""Dynamic batching: packs of several threads in one forward pass score as alone, and expired packs are dropped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.data import deadlines
from crossaisle.data.errors import TimedOutError, UnavailableError
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.ranking import request_batching
from crossaisle.llm.ranking.packed_scorer import PackedScorer
from crossaisle.llm.ranking.packs import Pack
from crossaisle.llm.ranking.request_batching import MAX_BATCH_TOKENS, BatchingPolicy, PackBatcher, _QueuedPack, default_policy, select_batch

THINGS = ("stove", "lamp", "kettle", "sofa")


def _packs(llm: LanguageModel) -> list[Pack]:
    """Packs with different prefixes and lengths."""
    return [
        Pack(
            llm.encode("A shopper has a tent and " + "a rope and " * n),
            [llm.encode(f" wants a {thing}." + " Yes?" * (i % 3)) for i, thing in enumerate(THINGS)],
        )
        for n in range(6)
    ]


def test_packs_of_one_forward_pass_score_as_alone(llm_fp32: LanguageModel) -> None:
    scorer = PackedScorer(llm_fp32)
    requests = _packs(llm_fp32)
    alone = [scorer.logit_margins(pack) for pack in requests]
    together = scorer.batch_logit_margins(requests)
    for expected, margins in zip(alone, together, strict=True):
        np.testing.assert_allclose(expected, margins, atol=1e-4)
    assert max(abs(margins - alone[0]).max() for margins in alone[1:]) > 1e-2, "equal scores would prove nothing"


def test_concurrent_threads_share_forward_passes_and_get_their_own_margins(llm_fp32: LanguageModel) -> None:
    scorer, batcher = PackedScorer(llm_fp32), PackBatcher(BatchingPolicy(MAX_BATCH_TOKENS))
    requests = _packs(llm_fp32) * 2
    with ThreadPoolExecutor(len(requests)) as threads:
        results = list(threads.map(lambda pack: batcher.logit_margins(scorer, pack), requests))
    batcher.close()
    assert batcher.pack_count == len(requests)
    assert batcher.forward_count < len(requests)
    for pack, margins in zip(requests, results, strict=True):
        np.testing.assert_allclose(margins, scorer.logit_margins(pack), atol=1e-4)
    with pytest.raises(UnavailableError):
        batcher.logit_margins(scorer, requests[0])


def test_an_expired_pack_is_not_scored(llm_fp32: LanguageModel) -> None:
    scorer, batcher = PackedScorer(llm_fp32), PackBatcher(BatchingPolicy(MAX_BATCH_TOKENS))
    pack = _packs(llm_fp32)[0]
    with deadlines.within(deadlines.Deadline(0.0)), pytest.raises(TimedOutError):
        batcher.logit_margins(scorer, pack)
    batcher.logit_margins(scorer, pack)
    batcher.close()
    assert batcher.pack_count == 1


@given(st.lists(st.integers(10, 500), min_size=1, max_size=20), st.integers(500, 3000))
def test_a_batch_fits_and_has_little_padding(lengths: list[int], max_tokens: int) -> None:
    scorer = object()
    queue = [_QueuedPack(scorer, Pack([1], [[1] * (length - 1)]), None) for length in lengths]  # type: ignore[arg-type]
    batch = select_batch(queue, max_tokens)
    assert batch[0] is queue[0], "the oldest pack never waits for a better fit"
    longest = max(entry.tokens for entry in batch)
    assert len(batch) == 1 or longest * len(batch) <= max_tokens
    assert min(entry.tokens for entry in batch) > 0.75 * longest


@pytest.mark.parametrize("policy", [BatchingPolicy(0, 2), BatchingPolicy(MAX_BATCH_TOKENS // 2, 2), BatchingPolicy(MAX_BATCH_TOKENS, 3)])
def test_several_workers_return_each_thread_its_own_margins(llm_fp32: LanguageModel, policy: BatchingPolicy) -> None:
    scorer, batcher, requests = PackedScorer(llm_fp32), PackBatcher(policy), _packs(llm_fp32) * 3
    with ThreadPoolExecutor(len(requests)) as threads:
        results = list(threads.map(lambda pack: batcher.logit_margins(scorer, pack), requests))
    batcher.close()
    assert batcher.pack_count == len(requests)
    assert (batcher.forward_count == len(requests)) == (policy.max_tokens == 0)
    for pack, margins in zip(requests, results, strict=True):
        np.testing.assert_allclose(margins, scorer.logit_margins(pack), atol=1e-4)


def test_default_policy_on_a_cpu(llm: LanguageModel, llm_fp32: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    if llm.device.type != "cpu":
        pytest.skip("there is a GPU")
    assert default_policy(PackedScorer(llm)) == BatchingPolicy(MAX_BATCH_TOKENS)
    assert default_policy(PackedScorer(llm_fp32)) == BatchingPolicy()
    half = PackedScorer(replace(llm_fp32, quantization="bf16"))
    for units, policy in ((False, BatchingPolicy()), (True, BatchingPolicy(MAX_BATCH_TOKENS // 2, threads=2))):
        monkeypatch.setattr(request_batching, "has_amx_bf16", lambda units=units: units)
        assert default_policy(half) == policy
    batcher = PackBatcher()
    batcher.logit_margins(PackedScorer(llm_fp32), _packs(llm_fp32)[0])
    batcher.close()
    assert batcher.policy == BatchingPolicy()
