"""Many threads before one model: packs of many askers in one forward score as alone, and nobody waits for what nobody wants."""

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
from crossaisle.llm.ranking.request_batching import MAX_BATCH_TOKENS, BatchingPolicy, PackBatcher, _Waiting, default_policy, select_batch

THINGS = ("stove", "lamp", "kettle", "sofa")


def _asked(llm: LanguageModel) -> list[tuple[list[int], list[list[int]]]]:
    """Packs of unlike prefixes, of unlike lengths."""
    return [
        (
            llm.encode("A shopper has a tent and " + "a rope and " * n),
            [llm.encode(f" wants a {thing}." + " Yes?" * (i % 3)) for i, thing in enumerate(THINGS)],
        )
        for n in range(6)
    ]


def test_packs_of_one_forward_score_as_alone(llm_fp32: LanguageModel) -> None:
    scorer = PackedScorer(llm_fp32)
    asked = _asked(llm_fp32)
    alone = [scorer.logit_margins(prefix, candidates) for prefix, candidates in asked]
    together = scorer.batch_logit_margins(asked)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert max(abs(one - alone[0]).max() for one in alone[1:]) > 1e-2  # they are not all the same to begin with


def test_threads_that_ask_at_once_share_forwards_and_get_their_own(llm_fp32: LanguageModel) -> None:
    scorer, packs = PackedScorer(llm_fp32), PackBatcher(BatchingPolicy(MAX_BATCH_TOKENS))
    asked = _asked(llm_fp32) * 2
    with ThreadPoolExecutor(len(asked)) as threads:
        found = list(threads.map(lambda pack: packs.logit_margins(scorer, *pack), asked))
    packs.close()
    assert packs.pack_count == len(asked)
    assert packs.forward_count < len(asked)
    for pack, margins in zip(asked, found, strict=True):
        np.testing.assert_allclose(margins, scorer.logit_margins(*pack), atol=1e-4)
    with pytest.raises(UnavailableError):
        packs.logit_margins(scorer, *asked[0])


def test_what_nobody_waits_for_is_not_read(llm_fp32: LanguageModel) -> None:
    scorer, packs = PackedScorer(llm_fp32), PackBatcher(BatchingPolicy(MAX_BATCH_TOKENS))
    pack = _asked(llm_fp32)[0]
    with deadlines.within(deadlines.Deadline(0.0)), pytest.raises(TimedOutError):
        packs.logit_margins(scorer, *pack)
    packs.logit_margins(scorer, *pack)
    packs.close()
    assert packs.pack_count == 1


@given(st.lists(st.integers(10, 500), min_size=1, max_size=20), st.integers(500, 3000))
def test_what_is_read_together_fits_and_wastes_little(lengths: list[int], most: int) -> None:
    scorer = object()
    line = [_Waiting(scorer, ([1], [[1] * (length - 1)]), None) for length in lengths]  # type: ignore[arg-type]
    chosen = select_batch(line, most)
    assert chosen[0] is line[0]  # the oldest never waits for a better fit
    longest = max(one.tokens for one in chosen)
    assert len(chosen) == 1 or longest * len(chosen) <= most
    assert min(one.tokens for one in chosen) > 0.75 * longest


@pytest.mark.parametrize("way", [BatchingPolicy(0, 2), BatchingPolicy(MAX_BATCH_TOKENS // 2, 2), BatchingPolicy(MAX_BATCH_TOKENS, 3)])
def test_several_readers_give_each_asker_its_own(llm_fp32: LanguageModel, way: BatchingPolicy) -> None:
    scorer, packs, asked = PackedScorer(llm_fp32), PackBatcher(way), _asked(llm_fp32) * 3
    with ThreadPoolExecutor(len(asked)) as threads:
        found = list(threads.map(lambda pack: packs.logit_margins(scorer, *pack), asked))
    packs.close()
    assert packs.pack_count == len(asked)
    assert (packs.forward_count == len(asked)) == (way.max_tokens == 0)
    for pack, margins in zip(asked, found, strict=True):
        np.testing.assert_allclose(margins, scorer.logit_margins(*pack), atol=1e-4)


def test_how_a_cpu_reads(llm: LanguageModel, llm_fp32: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    if llm.device.type != "cpu":
        pytest.skip("there is a GPU")
    assert default_policy(PackedScorer(llm)) == BatchingPolicy(MAX_BATCH_TOKENS)
    assert default_policy(PackedScorer(llm_fp32)) == BatchingPolicy()
    half = PackedScorer(replace(llm_fp32, quantization="bf16"))
    for units, way in ((False, BatchingPolicy()), (True, BatchingPolicy(MAX_BATCH_TOKENS // 2, threads=2))):
        monkeypatch.setattr(request_batching, "has_amx_bf16", lambda units=units: units)
        assert default_policy(half) == way
    packs = PackBatcher()
    packs.logit_margins(PackedScorer(llm_fp32), *_asked(llm_fp32)[0])
    packs.close()
    assert packs.policy == BatchingPolicy()
