"""Scoring many candidates in one forward: the prefix once, then every candidate in the same sequence.

A candidate sees the prefix and itself, never a neighbour, and its positions restart where the prefix ends, so its score is
what it would be alone (`tests/test_scoring.py` holds both sides together). The score is the margin of the logits of two
answers, log P(yes)/P(no). Full-vocabulary logits are never formed. Knows nothing of shoppers or items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..data.errors import ModelError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from .models import LanguageModel

ANSWERS = ("Yes", "No")
PACK_TOKENS = 2048
"""Default length of a pack; attention grows with its square, and beyond this a second pack is no slower."""


class PackedScorer:
    """Yes/no margins of many continuations of one prefix.

    Args:
        llm: the model. pack_tokens: longest sequence of one forward, bounded by the model's own context.
    Raises: ModelError: the model's tokenizer does not tell the two answers apart.
    """

    def __init__(self, llm: LanguageModel, *, pack_tokens: int = PACK_TOKENS) -> None:
        self.llm = llm
        self.pack_tokens = min(pack_tokens, llm.context)
        yes, no = (llm.encode(answer)[0] for answer in ANSWERS)
        if yes == no:
            raise ModelError(f"the tokenizer of {llm.name} writes {ANSWERS[0]!r} and {ANSWERS[1]!r} with the same first token")
        self._answers = (yes, no)

    def margins(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """logit(yes) - logit(no) after each candidate, in nats; more packs are made when one does not hold them all.

        Args: token ids; `prefix` and every candidate must not be empty.
        Returns: shape (candidates,).
        Raises: ModelError: a candidate together with the prefix is longer than the model's context.
        """
        import torch

        out = np.empty(len(candidates), dtype=np.float32)
        with torch.inference_mode():
            for pack in split(len(prefix), [len(candidate) for candidate in candidates], self.pack_tokens):
                out[pack] = self.forward(prefix, [candidates[i] for i in pack]).float().cpu().numpy()
        return out

    def forward(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> torch.Tensor:
        """The margins of one pack as a tensor (candidates,); differentiable where gradients are on."""
        import torch

        model, device = self.llm.model, self.llm.device
        lengths = [len(prefix), *map(len, candidates)]
        ids = torch.tensor([[*prefix, *(token for candidate in candidates for token in candidate)]], device=device)  # (1, L)
        # Block 0 is the prefix; a token sees block 0 and its own block, up to itself.
        block = torch.repeat_interleave(torch.arange(len(lengths), device=device), torch.tensor(lengths, device=device))  # (L,)
        offset = torch.cat([torch.arange(len(prefix)), *(torch.arange(len(prefix), len(prefix) + n) for n in lengths[1:])])
        order = torch.arange(ids.shape[1], device=device)
        seen = ((block[None, :] == 0) | (block[None, :] == block[:, None])) & (order[None, :] <= order[:, None])  # (L, L)
        dtype = model.get_input_embeddings().weight.dtype
        mask = torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, torch.finfo(dtype).min)[None, None]
        hidden = model.base_model(
            input_ids=ids, attention_mask=mask, position_ids=offset[None].to(device), use_cache=False
        ).last_hidden_state[0]  # (L, hidden)
        last = torch.tensor(lengths, device=device).cumsum(0)[1:] - 1  # (candidates,)
        head = model.get_output_embeddings().weight[list(self._answers)]  # (2, hidden)
        logits = hidden[last].float() @ head.float().T  # (candidates, 2)
        margins: torch.Tensor = logits[:, 0] - logits[:, 1]
        return margins

    def margins_one_by_one(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The same scores the common way, a full forward per candidate: the reference for tests and benchmarks."""
        import torch

        out = np.empty(len(candidates), dtype=np.float32)
        yes, no = self._answers
        with torch.inference_mode():
            for i, candidate in enumerate(candidates):
                logits = self.llm.model(torch.tensor([[*prefix, *candidate]], device=self.llm.device), use_cache=False).logits
                out[i] = float(logits[0, -1, yes].float() - logits[0, -1, no].float())
        return out


def split(prefix: int, lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Which candidates share a pack, in their order: index lists whose tokens, prefix included, stay within `limit`.

    Raises: ModelError: one candidate does not fit even alone.
    """
    packs: list[list[int]] = []
    room = 0
    for i, length in enumerate(lengths):
        if prefix + length > limit:
            raise ModelError(
                f"a prompt of {prefix + length} tokens does not fit the {limit} that the model takes; use a shorter history or text"
            )
        if not packs or length > room:
            packs.append([])
            room = limit - prefix
        packs[-1].append(i)
        room -= length
    return packs
