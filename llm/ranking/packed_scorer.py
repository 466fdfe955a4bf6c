"""Packed scoring: many candidates in one forward pass, with the shared prefix computed once.

A candidate attends to the prefix and to itself, never to another candidate, and its positions continue from the end of the prefix, so
its score equals that of a separate forward pass. Several packs, with the same or different prefixes, can be rows of one batch; rows do
not see each other (`tests/llm/ranking/test_packed_scorer.py` compares all variants). The score is the difference of the logits of two
answers, log P(yes)/P(no). Full-vocabulary logits are never computed. Knows nothing of shoppers or items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import ModelError
from ..models.projector import soft_tokens

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ..models.language_model import LanguageModel

ANSWERS = ("Yes", "No")
PACK_TOKENS = 2048
"""Default maximum length of a pack. Attention cost grows with its square; above this length a second pack is no slower."""

SOFT_TOKEN = -1
"""Id of a soft token: a vector from the model's projector in place of an embedding."""

TESTED_ARCHITECTURES = ("llama", "mistral", "qwen3", "gemma3_text", "gpt_neox", "gpt2")
"""Architectures whose packed scores `tests/llm/ranking/test_packed_scorer.py` compares with unpacked ones; others are probed at load."""
MAX_PROBE_DIFFERENCE = 0.5
"""Maximum difference in nats of a probe's packed and unpacked scores: 4-bit rounding stays below 0.1, an ignored mask shifts whole nats."""


@dataclass(frozen=True, slots=True)
class SoftInputs:
    """Numbers that the model's projector maps to the soft tokens of a pack: one in the prefix, and one in each candidate.

    Attributes:
        history: (history size,) float32.
        candidates: (candidates, candidate size) float32.
    """

    history: NDArray[np.float32]
    candidates: NDArray[np.float32]

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> SoftInputs:
        """Return the numbers of some candidates."""
        return SoftInputs(self.history, self.candidates[np.asarray(indices, dtype=np.int64)])


@dataclass(frozen=True, slots=True)
class Pack:
    """A prefix and the candidates that follow it.

    Attributes:
        prefix: Token ids; `SOFT_TOKEN` for a soft token.
        candidates: Token ids of each candidate.
        soft: What the soft tokens are made from; None if there are none.
    """

    prefix: Sequence[int]
    candidates: Sequence[Sequence[int]]
    soft: SoftInputs | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return len(self.prefix) + sum(map(len, self.candidates))

    def take(self, indices: Sequence[int]) -> Pack:
        """Return the pack of some candidates."""
        soft = None if self.soft is None else self.soft.take(indices)
        return Pack(self.prefix, [self.candidates[index] for index in indices], soft)


class PackedScorer:
    """Yes/no logit margins of many continuations of one prefix.

    Args:
        llm: The model.
        pack_tokens: Maximum length of a pack, at most the model's context.
        adapter: Whether the model's ranking adapter is active while scoring; no effect without one.

    Raises:
        ModelError: The tokenizer does not distinguish the two answers, or the model's attention ignores custom masks.
    """

    def __init__(self, llm: LanguageModel, *, pack_tokens: int = PACK_TOKENS, adapter: bool = False) -> None:
        self.llm, self.adapter = llm, adapter
        self.pack_tokens = min(pack_tokens, llm.context)
        yes, no = (llm.encode(answer)[0] for answer in ANSWERS)
        if yes == no:
            raise ModelError(f"the tokenizer of {llm.name} starts {ANSWERS[0]!r} and {ANSWERS[1]!r} with the same token")
        self._answers = (yes, no)
        config = llm.model.config.get_text_config()
        self._window: int | None = getattr(config, "sliding_window", None)
        attention_types = getattr(config, "layer_types", None) or ["sliding_attention" if self._window else "full_attention"]
        self._attention_types = sorted(set(attention_types))
        if set(attention_types) - {"full_attention", "sliding_attention"}:
            raise ModelError(
                f"{llm.name} cannot rank: its {', '.join(self._attention_types)} does not accept custom masks; name another model"
            )
        if config.model_type not in TESTED_ARCHITECTURES:
            self._check_packing()

    def logit_margins(self, pack: Pack) -> NDArray[np.float32]:
        """Return logit(yes) - logit(no) after each candidate, in nats, from as many forward passes as needed.

        Args:
            pack: A prefix and candidates, none of them empty, of any total length.

        Returns:
            Array of shape (candidates,).

        Raises:
            ModelError: A candidate together with the prefix is longer than the model's context.
        """
        import torch

        margins = np.empty(len(pack.candidates), dtype=np.float32)
        with torch.inference_mode(), self.llm.use_adapter(adapter=self.adapter):
            for indices in self.split_candidates(pack):
                margins[indices] = self.forward(pack.take(indices)).float().cpu().numpy()
        return margins

    def split_candidates(self, pack: Pack) -> list[list[int]]:
        """Return the indices of the candidates in each forward pass; see `split_into_packs`.

        Raises:
            ModelError: One candidate does not fit even alone.
        """
        return split_into_packs(len(pack.prefix), [len(candidate) for candidate in pack.candidates], self.pack_tokens)

    def batch_logit_margins(self, packs: Sequence[Pack]) -> list[NDArray[np.float32]]:
        """Return the margins of several packs from one forward pass, each of shape (candidates,)."""
        import torch

        with torch.inference_mode(), self.llm.use_adapter(adapter=self.adapter):
            return [margins.float().cpu().numpy() for margins in self.forward_batch(packs)]

    def forward(self, pack: Pack) -> torch.Tensor:
        """Return the margins of one pack as a tensor (candidates,), differentiable if gradients are enabled."""
        return self.forward_batch([pack])[0]

    def forward_batch(self, packs: Sequence[Pack]) -> list[torch.Tensor]:
        """Return the margins of several packs from one forward pass; see `forward`."""
        return [self._margins(states) for states in self.hidden_states_batch(packs)]

    def hidden_states(self, pack: Pack) -> torch.Tensor:
        """Return the last hidden state of each candidate's last token for one pack, shape (candidates, hidden)."""
        return self.hidden_states_batch([pack])[0]

    def hidden_states_batch(self, packs: Sequence[Pack]) -> list[torch.Tensor]:
        """Return the hidden states of several packs, each a row of one forward pass; see `hidden_states`."""
        import torch

        model, device = self.llm.model, self.llm.device
        rows = [_Row.from_pack(pack) for pack in packs]
        length = max(len(row.ids) for row in rows)
        ids = torch.tensor([[*row.ids, *[0] * (length - len(row.ids))] for row in rows], device=device)  # (packs, L)
        block = torch.stack([row.padded(row.block, length) for row in rows]).to(device)  # (packs, L)
        position = torch.stack([row.padded(row.position, length) for row in rows]).to(device)  # (packs, L)
        order = torch.arange(length, device=device)
        # Block 0 is the prefix. A token attends to block 0 and to its own block, up to itself; padding is a block of its own.
        same_block = (block[:, None, :] == 0) | (block[:, None, :] == block[:, :, None])
        visible = same_block & (order[None, :] <= order[:, None])  # (packs, L, L)
        window = self._window
        in_window = visible & (position[:, :, None] - position[:, None, :] < window) if window else visible
        masks = {
            attention_type: self._additive_mask(in_window if attention_type == "sliding_attention" else visible)
            for attention_type in self._attention_types
        }
        mask = masks if len(masks) > 1 else masks[self._attention_types[0]]
        inputs = {"input_ids": ids} if all(pack.soft is None for pack in packs) else {"inputs_embeds": self._embeddings(ids, packs)}
        hidden = model.base_model(**inputs, attention_mask=mask, position_ids=position, use_cache=False).last_hidden_state
        return [hidden[i, row.last.to(device)] for i, row in enumerate(rows)]

    def _embeddings(self, ids: torch.Tensor, packs: Sequence[Pack]) -> torch.Tensor:
        """Return the input embeddings (packs, L, hidden), those of soft tokens from the packs."""
        import torch

        model = self.llm.model
        embeddings = model.get_input_embeddings()(ids.clamp(min=0))
        vectors = [soft_tokens(model, pack.soft.history, pack.soft.candidates) for pack in packs if pack.soft is not None]
        # Row by row, the soft tokens are in the order of the vectors.
        filled: torch.Tensor = embeddings.masked_scatter((ids == SOFT_TOKEN)[..., None], torch.cat(vectors).to(embeddings))
        return filled

    def _additive_mask(self, visible: torch.Tensor) -> torch.Tensor:
        """Return 0 for visible positions and the lowest number elsewhere, shape (packs, 1, L, L)."""
        import torch

        dtype = self.llm.model.get_input_embeddings().weight.dtype
        return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, torch.finfo(dtype).min)[:, None]

    def _margins(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the margins for hidden states (candidates, hidden); only two rows of the head are multiplied."""
        head = self.llm.model.get_output_embeddings().weight[list(self._answers)]  # (2, hidden)
        logits = hidden.float() @ head.float().T  # (candidates, 2)
        margins: torch.Tensor = logits[:, 0] - logits[:, 1]
        return margins

    def _check_packing(self) -> None:
        """Raises: ModelError: a candidate scores differently in a pack than alone (an encoder, a recurrent model)."""
        import torch

        prefix, first, second = (self.llm.encode(text) for text in ("One two three", " four five", " six seven eight"))
        with torch.inference_mode():
            packed = self.forward(Pack(prefix, [first, second]))[1]
            unpacked = self.llm.model.base_model(torch.tensor([[*prefix, *second]], device=self.llm.device))
            alone = self._margins(unpacked.last_hidden_state[0, -1:])[0]
        if not float((packed - alone).abs()) <= MAX_PROBE_DIFFERENCE:
            raise ModelError(
                f"{self.llm.name} cannot rank: a candidate scores {float(packed):.2f} packed with others, but {float(alone):.2f} alone; "
                f"name a causal decoder (Llama, Qwen, Mistral, Gemma 3, Phi-3, GPT-NeoX, ...)"
            )

    def unpacked_logit_margins(self, pack: Pack) -> NDArray[np.float32]:
        """Return the same margins from one forward pass per candidate: the reference for tests and benchmarks."""
        import torch

        margins = np.empty(len(pack.candidates), dtype=np.float32)
        yes, no = self._answers
        with torch.inference_mode(), self.llm.use_adapter(adapter=self.adapter):
            for i, candidate in enumerate(pack.candidates):
                ids = torch.tensor([[*pack.prefix, *candidate]], device=self.llm.device)
                inputs = {"input_ids": ids} if pack.soft is None else {"inputs_embeds": self._embeddings(ids, [pack.take([i])])}
                logits = self.llm.model(**inputs, use_cache=False).logits
                margins[i] = float(logits[0, -1, yes].float() - logits[0, -1, no].float())
        return margins


@dataclass(frozen=True, slots=True)
class _Row:
    """One pack as a row of a batch.

    Attributes:
        ids: Token ids (length,).
        block: Number of the block of each token (length,), 0 for the prefix.
        position: Position id of each token (length,).
        last: Index of the last token of each candidate (candidates,).
    """

    ids: list[int]
    block: torch.Tensor
    position: torch.Tensor
    last: torch.Tensor

    @classmethod
    def from_pack(cls, pack: Pack) -> _Row:
        import torch

        prefix, candidates = pack.prefix, pack.candidates
        lengths = [len(prefix), *map(len, candidates)]
        return cls(
            [*prefix, *(token for candidate in candidates for token in candidate)],
            torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)),
            torch.cat([torch.arange(len(prefix)), *(torch.arange(len(prefix), len(prefix) + n) for n in lengths[1:])]),
            torch.tensor(lengths).cumsum(0)[1:] - 1,
        )

    def padded(self, values: torch.Tensor, length: int) -> torch.Tensor:
        """Return the values extended to `length` by counting on from the last one, so that each padding token attends only to itself."""
        import torch

        more = torch.arange(1, length - len(values) + 1)
        return torch.cat([values, values[-1] + more])


def split_into_packs(prefix: int, lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Return the indices of the candidates in each pack, in their order.

    Args:
        prefix: Number of tokens of the prefix.
        lengths: Number of tokens of each candidate.
        limit: Maximum number of tokens of a pack, prefix included.

    Raises:
        ModelError: One candidate does not fit even alone.
    """
    packs: list[list[int]] = []
    remaining = 0
    for i, length in enumerate(lengths):
        if prefix + length > limit:
            raise ModelError(
                f"a prompt of {prefix + length} tokens does not fit the maximum of {limit} tokens; use a shorter history or text"
            )
        if not packs or length > remaining:
            packs.append([])
            remaining = limit - prefix
        packs[-1].append(i)
        remaining -= length
    return packs
