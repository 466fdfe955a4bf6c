"""Scoring many candidates in one forward: the prefix once, then every candidate in the same sequence.

A candidate sees the prefix and itself, never a neighbour, and its positions restart where the prefix ends, so its score is what it
would be alone; several packs, of one prefix or of many, can be rows of one forward, and no row sees another (`tests/llm/ranking/test_packed_scorer.py`
holds all sides together). The score is the margin of the logits of two answers, log P(yes)/P(no). Full-vocabulary logits are never
formed. Knows nothing of shoppers or items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import ModelError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ..models.language_model import LanguageModel

ANSWERS = ("Yes", "No")
PACK_TOKENS = 2048
"""Default length of a pack; attention grows with its square, and beyond this a second pack is no slower."""

Pack = tuple[Sequence[int], Sequence[Sequence[int]]]
"""Token ids of a prefix, and of the candidates that follow it."""

TRIED = ("llama", "mistral", "qwen3", "gemma3_text", "gpt_neox", "gpt2")
"""Architectures that `tests/llm/ranking/test_packed_scorer.py` holds to their unpacked scores; any other is probed when it is loaded."""
PROBE_NATS = 0.5
"""How far a probe's score may lie from the unpacked one: rounding in 4 bits is below 0.1, a mask that is ignored shifts whole nats."""


class PackedScorer:
    """Yes/no margins of many continuations of one prefix.

    Args:
        llm: the model. pack_tokens: longest sequence of one forward, bounded by the model's own context.
        adapter: whether the model's ranking adapter is on while margins are taken; without one it makes no difference.
    Raises: ModelError: the model's tokenizer does not tell the two answers apart, or its attention takes no mask of ours.
    """

    def __init__(self, llm: LanguageModel, *, pack_tokens: int = PACK_TOKENS, adapter: bool = False) -> None:
        self.llm, self.adapter = llm, adapter
        self.pack_tokens = min(pack_tokens, llm.context)
        yes, no = (llm.encode(answer)[0] for answer in ANSWERS)
        if yes == no:
            raise ModelError(f"the tokenizer of {llm.name} writes {ANSWERS[0]!r} and {ANSWERS[1]!r} with the same first token")
        self._answers = (yes, no)
        config = llm.model.config.get_text_config()
        self._window: int | None = getattr(config, "sliding_window", None)
        kinds = getattr(config, "layer_types", None) or ["sliding_attention" if self._window else "full_attention"]
        self._kinds = sorted(set(kinds))
        if set(kinds) - {"full_attention", "sliding_attention"}:
            raise ModelError(f"{llm.name} cannot rank: its {', '.join(self._kinds)} takes no mask of ours; name another model")
        if config.model_type not in TRIED:
            self._check()

    def margins(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """logit(yes) - logit(no) after each candidate, in nats; more packs are made when one does not hold them all.

        Args: token ids; `prefix` and every candidate must not be empty.
        Returns: shape (candidates,).
        Raises: ModelError: a candidate together with the prefix is longer than the model's context.
        """
        import torch

        out = np.empty(len(candidates), dtype=np.float32)
        with torch.inference_mode(), self.llm.weights(adapter=self.adapter):
            for pack in self.packs(prefix, candidates):
                out[pack] = self.forward(prefix, [candidates[i] for i in pack]).float().cpu().numpy()
        return out

    def packs(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[list[int]]:
        """Which candidates are read together, as `split` has it. Raises: ModelError: one does not fit even alone."""
        return split(len(prefix), [len(candidate) for candidate in candidates], self.pack_tokens)

    def margins_of(self, packs: Sequence[Pack]) -> list[NDArray[np.float32]]:
        """The margins of several packs, all in one forward: shape (candidates,) each."""
        import torch

        with torch.inference_mode(), self.llm.weights(adapter=self.adapter):
            return [margins.float().cpu().numpy() for margins in self.forward_all(packs)]

    def forward(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> torch.Tensor:
        """The margins of one pack as a tensor (candidates,); differentiable where gradients are on, with the adapter if it is on."""
        return self._margin(self.hidden(prefix, candidates))

    def forward_all(self, packs: Sequence[Pack]) -> list[torch.Tensor]:
        """The margins of several packs, all in one forward; as `forward`."""
        return [self._margin(states) for states in self.hidden_all(packs)]

    def hidden(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> torch.Tensor:
        """The last hidden states (candidates, hidden) of one pack, from which whatever follows each candidate is read; as `forward`."""
        return self.hidden_all([(prefix, candidates)])[0]

    def hidden_all(self, packs: Sequence[Pack]) -> list[torch.Tensor]:
        """The same of several packs, a row of one forward each; the shorter rows are filled up with what nobody sees."""
        import torch

        model, device = self.llm.model, self.llm.device
        rows = [_Row.of(prefix, candidates) for prefix, candidates in packs]
        length = max(len(row.ids) for row in rows)
        ids = torch.tensor([[*row.ids, *[0] * (length - len(row.ids))] for row in rows], device=device)  # (packs, L)
        block = torch.stack([row.filled(row.block, length) for row in rows]).to(device)  # (packs, L)
        offset = torch.stack([row.filled(row.offset, length) for row in rows]).to(device)  # (packs, L)
        order = torch.arange(length, device=device)
        # Block 0 is the prefix; a token sees block 0 and its own block, up to itself. What fills up is a block of its own.
        mine = (block[:, None, :] == 0) | (block[:, None, :] == block[:, :, None])
        seen = mine & (order[None, :] <= order[:, None])  # (packs, L, L)
        window = self._window
        near = seen & (offset[:, :, None] - offset[:, None, :] < window) if window else seen
        masks = {kind: self._additive(near if kind == "sliding_attention" else seen) for kind in self._kinds}
        mask = masks if len(masks) > 1 else masks[self._kinds[0]]
        hidden = model.base_model(input_ids=ids, attention_mask=mask, position_ids=offset, use_cache=False).last_hidden_state
        return [hidden[i, row.last.to(device)] for i, row in enumerate(rows)]

    def _additive(self, seen: torch.Tensor) -> torch.Tensor:
        """0 where a position is seen, the lowest number elsewhere, shape (packs, 1, L, L)."""
        import torch

        dtype = self.llm.model.get_input_embeddings().weight.dtype
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)[:, None]

    def _margin(self, hidden: torch.Tensor) -> torch.Tensor:
        """The margins of last hidden states (candidates, hidden); only two rows of the head are multiplied."""
        head = self.llm.model.get_output_embeddings().weight[list(self._answers)]  # (2, hidden)
        logits = hidden.float() @ head.float().T  # (candidates, 2)
        margins: torch.Tensor = logits[:, 0] - logits[:, 1]
        return margins

    def _check(self) -> None:
        """Raises: ModelError: the model reads a pack otherwise than a candidate alone (an encoder, a recurrent model)."""
        import torch

        prefix, first, second = (self.llm.encode(text) for text in ("One two three", " four five", " six seven eight"))
        with torch.inference_mode():
            packed = self.forward(prefix, [first, second])[1]
            plain = self.llm.model.base_model(torch.tensor([[*prefix, *second]], device=self.llm.device))
            alone = self._margin(plain.last_hidden_state[0, -1:])[0]
        if not float((packed - alone).abs()) <= PROBE_NATS:
            raise ModelError(
                f"{self.llm.name} cannot rank: packed with others a candidate scores {float(packed):.2f}, alone {float(alone):.2f}; "
                f"name a causal decoder (Llama, Qwen, Mistral, Gemma 3, Phi-3, GPT-NeoX, ...)"
            )

    def margins_one_by_one(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The same scores the common way, a full forward per candidate: the reference for tests and benchmarks."""
        import torch

        out = np.empty(len(candidates), dtype=np.float32)
        yes, no = self._answers
        with torch.inference_mode(), self.llm.weights(adapter=self.adapter):
            for i, candidate in enumerate(candidates):
                logits = self.llm.model(torch.tensor([[*prefix, *candidate]], device=self.llm.device), use_cache=False).logits
                out[i] = float(logits[0, -1, yes].float() - logits[0, -1, no].float())
        return out


@dataclass(frozen=True, slots=True)
class _Row:
    """One pack as tensors (its length,): token ids, the number of the block (0 the prefix), the position; `last` (candidates,)."""

    ids: list[int]
    block: torch.Tensor
    offset: torch.Tensor
    last: torch.Tensor

    @classmethod
    def of(cls, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> _Row:
        import torch

        lengths = [len(prefix), *map(len, candidates)]
        return cls(
            [*prefix, *(token for candidate in candidates for token in candidate)],
            torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)),
            torch.cat([torch.arange(len(prefix)), *(torch.arange(len(prefix), len(prefix) + n) for n in lengths[1:])]),
            torch.tensor(lengths).cumsum(0)[1:] - 1,
        )

    def filled(self, values: torch.Tensor, length: int) -> torch.Tensor:
        """The values made as long as the longest row by going on from the last one, so that a filler sees itself and nobody sees it."""
        import torch

        more = torch.arange(1, length - len(values) + 1)
        return torch.cat([values, values[-1] + more])


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
