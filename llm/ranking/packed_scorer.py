"""Packed scoring: many candidates in one forward pass, with the shared prefix computed once.

A candidate attends to the prefix and to itself, never to another candidate, and its positions continue from the end of the prefix, so
its score equals that of a separate forward pass. Several packs, with the same or different prefixes, can be rows of one batch; rows do
not see each other (`tests/llm/ranking/test_packed_scorer.py` compares all variants). The score is the difference of the logits of two
answers, log P(yes)/P(no). Full-vocabulary logits are never computed. Knows nothing of shoppers or items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import ModelError
from ..models.usage import record_usage
from .prefix_cache import PrefixCache, PrefixState

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ..models.language_model import LanguageModel

ANSWERS = ("Yes", "No")
PACK_TOKENS = 2048
"""Default maximum length of a pack. Attention cost grows with its square; above this length a second pack is no slower."""

Pack = tuple[Sequence[int], Sequence[Sequence[int]]]
"""Token ids of a prefix, and of the candidates that follow it."""

TESTED_ARCHITECTURES = ("llama", "mistral", "qwen3", "gemma3_text", "gpt_neox", "gpt2")
"""Architectures whose packed scores `tests/llm/ranking/test_packed_scorer.py` compares with unpacked ones; others are probed at load."""
MAX_PROBE_DIFFERENCE = 0.5
"""Maximum difference in nats of a probe's packed and unpacked scores: 4-bit rounding stays below 0.1, an ignored mask shifts whole nats."""


@dataclass(frozen=True, slots=True)
class ScoredPack:
    """Scores of one pack.

    Attributes:
        margins: Logit margins of its candidates in nats, shape (candidates,).
        tokens: Number of tokens computed for it; those of a cached prefix are not.
    """

    margins: NDArray[np.float32]
    tokens: int


class PackedScorer:
    """Yes/no logit margins of many continuations of one prefix.

    Args:
        llm: The model.
        pack_tokens: Maximum length of a pack, at most the model's context.
        adapter: Whether the model's ranking adapter is active while scoring; no effect without one.
        prefix_cache: Keys and values of earlier prefixes of this model, used and filled while scoring without gradients; None for no
            cache. Not for a model whose weights change.

    Raises:
        ModelError: The tokenizer does not distinguish the two answers, or the model's attention ignores custom masks.
    """

    def __init__(
        self, llm: LanguageModel, *, pack_tokens: int = PACK_TOKENS, adapter: bool = False, prefix_cache: PrefixCache | None = None
    ) -> None:
        self.llm, self.adapter, self.prefix_cache = llm, adapter, prefix_cache
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

    def logit_margins(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return logit(yes) - logit(no) after each candidate, in nats, from as many packs as needed.

        Args:
            prefix: Token ids, not empty.
            candidates: Token ids of each candidate, not empty.

        Returns:
            Array of shape (candidates,).

        Raises:
            ModelError: A candidate together with the prefix is longer than the model's context.
        """
        margins = np.empty(len(candidates), dtype=np.float32)
        for pack in self.split_candidates(prefix, candidates):
            scored = self.score_packs([(prefix, [candidates[i] for i in pack])])[0]
            margins[pack] = scored.margins
            record_usage(tokens_in=scored.tokens)
        return margins

    def split_candidates(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return the indices of the candidates in each pack; see `split_into_packs`.

        Raises:
            ModelError: One candidate does not fit even alone.
        """
        return split_into_packs(len(prefix), [len(candidate) for candidate in candidates], self.pack_tokens)

    def batch_logit_margins(self, packs: Sequence[Pack]) -> list[NDArray[np.float32]]:
        """Return the margins of several packs, computed together, each of shape (candidates,)."""
        return [scored.margins for scored in self.score_packs(packs)]

    def score_packs(self, packs: Sequence[Pack]) -> list[ScoredPack]:
        """Return the margins of several packs, computed together, and how many tokens each of them cost."""
        import torch

        with torch.inference_mode(), self.llm.use_adapter(adapter=self.adapter):
            if self.prefix_cache is None:
                tokens, hidden = [len(prefix) for prefix, _ in packs], self.hidden_states_batch(packs)
            else:
                states, tokens = self._prefix_states(packs, self.prefix_cache)
                hidden = self._hidden_states([_Row.from_pack(*pack).without_prefix(len(pack[0])) for pack in packs], states)
            return [
                ScoredPack(self._margins(own).float().cpu().numpy(), new + sum(map(len, candidates)))
                for own, new, (_, candidates) in zip(hidden, tokens, packs, strict=True)
            ]

    def forward(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the margins of one pack as a tensor (candidates,), differentiable if gradients are enabled."""
        return self._margins(self.hidden_states(prefix, candidates))

    def forward_batch(self, packs: Sequence[Pack]) -> list[torch.Tensor]:
        """Return the margins of several packs from one forward pass; see `forward`."""
        return [self._margins(states) for states in self.hidden_states_batch(packs)]

    def hidden_states(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the last hidden state of each candidate's last token for one pack, shape (candidates, hidden)."""
        return self.hidden_states_batch([(prefix, candidates)])[0]

    def hidden_states_batch(self, packs: Sequence[Pack]) -> list[torch.Tensor]:
        """Return the hidden states of several packs, each a row of one forward pass; see `hidden_states`."""
        return self._hidden_states([_Row.from_pack(*pack) for pack in packs])

    def _hidden_states(self, rows: Sequence[_Row], prefixes: Sequence[PrefixState] = ()) -> list[torch.Tensor]:
        """Return the hidden states of the candidates of some rows, after cached prefixes if there are any."""
        cache = _padded_cache(prefixes) if prefixes else None
        output = self._forward(rows, [state.length for state in prefixes], cache)
        return [output[i, row.last.to(output.device)] for i, row in enumerate(rows)]

    def _forward(self, rows: Sequence[_Row], prefixes: Sequence[int], cache: Any) -> torch.Tensor:
        """Return the last hidden states (rows, L, hidden) of tokens that follow cached keys and values.

        Args:
            rows: The tokens.
            prefixes: Number of cached tokens of each row; empty for none.
            cache: A transformers cache to read and to extend; None for none.
        """
        import torch

        device = self.llm.device
        length, cached = max(len(row.ids) for row in rows), max(prefixes, default=0)
        ids = torch.tensor([[*row.ids, *[0] * (length - len(row.ids))] for row in rows], device=device)  # (rows, L)
        block = torch.stack([row.padded(row.block, length) for row in rows]).to(device)  # (rows, L)
        position = torch.stack([row.padded(row.position, length) for row in rows]).to(device)  # (rows, L)
        order = torch.arange(cached + length, device=device)
        # Block 0 is the prefix. A token attends to block 0 and to its own block, up to itself; padding is a block of its own.
        in_prefix = order[None, :cached] < torch.tensor(prefixes or [0] * len(rows), device=device)[:, None]  # (rows, cached)
        key_block = torch.cat([in_prefix.long() - 1, block], dim=1)  # (rows, cached + L), -1 for padding of a cached prefix
        key_position = torch.cat([order[None, :cached].expand(len(rows), -1), position], dim=1)
        same_block = (key_block[:, None, :] == 0) | (key_block[:, None, :] == block[:, :, None])
        visible = same_block & (order[None, :] <= order[cached:, None])  # (rows, L, cached + L)
        window = self._window
        in_window = visible & (position[:, :, None] - key_position[:, None, :] < window) if window else visible
        masks = {
            attention_type: self._additive_mask(in_window if attention_type == "sliding_attention" else visible)
            for attention_type in self._attention_types
        }
        mask = masks if len(masks) > 1 else masks[self._attention_types[0]]
        output = self.llm.model.base_model(
            input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=cache is not None
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def _prefix_states(self, packs: Sequence[Pack], cache: PrefixCache) -> tuple[list[PrefixState], list[int]]:
        """Return the keys and values of each pack's prefix, and how many of its tokens were computed now."""
        from transformers import DynamicCache

        with_adapter = self.adapter and self.llm.has_ranking_adapter
        keys = [(with_adapter, tuple(prefix)) for prefix, _ in packs]
        states = {key: state for key in dict.fromkeys(keys) if (state := cache.get(key)) is not None}
        missing = [key for key in dict.fromkeys(keys) if key not in states]
        if missing:
            computed = DynamicCache()  # without the model's configuration: its windows are in our masks
            self._forward([_Row.from_pack(prefix, []) for _, prefix in missing], [], computed)
            for i, key in enumerate(missing):
                length = len(key[1])
                states[key] = PrefixState(
                    [(layer.keys[i : i + 1, :, :length].clone(), layer.values[i : i + 1, :, :length].clone()) for layer in computed.layers]
                )
                cache.put(key, states[key])
        new = [len(key[1]) if key in missing and keys.index(key) == i else 0 for i, key in enumerate(keys)]
        return [states[key] for key in keys], new

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
            packed = self.forward(prefix, [first, second])[1]
            unpacked = self.llm.model.base_model(torch.tensor([[*prefix, *second]], device=self.llm.device))
            alone = self._margins(unpacked.last_hidden_state[0, -1:])[0]
        if not float((packed - alone).abs()) <= MAX_PROBE_DIFFERENCE:
            raise ModelError(
                f"{self.llm.name} cannot rank: a candidate scores {float(packed):.2f} packed with others, but {float(alone):.2f} alone; "
                f"name a causal decoder (Llama, Qwen, Mistral, Gemma 3, Phi-3, GPT-NeoX, ...)"
            )

    def unpacked_logit_margins(self, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the same margins from one forward pass per candidate: the reference for tests and benchmarks."""
        import torch

        margins = np.empty(len(candidates), dtype=np.float32)
        yes, no = self._answers
        with torch.inference_mode(), self.llm.use_adapter(adapter=self.adapter):
            for i, candidate in enumerate(candidates):
                logits = self.llm.model(torch.tensor([[*prefix, *candidate]], device=self.llm.device), use_cache=False).logits
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
    def from_pack(cls, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> _Row:
        import torch

        lengths = [len(prefix), *map(len, candidates)]
        return cls(
            [*prefix, *(token for candidate in candidates for token in candidate)],
            torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)),
            torch.cat([torch.arange(len(prefix)), *(torch.arange(len(prefix), len(prefix) + n) for n in lengths[1:])]),
            torch.tensor(lengths).cumsum(0)[1:] - 1,
        )

    def without_prefix(self, length: int) -> _Row:
        """Return the row of the candidates alone. Args: length: tokens of the prefix."""
        return _Row(self.ids[length:], self.block[length:], self.position[length:], self.last - length)

    def padded(self, values: torch.Tensor, length: int) -> torch.Tensor:
        """Return the values extended to `length` by counting on from the last one, so that each padding token attends only to itself."""
        import torch

        more = torch.arange(1, length - len(values) + 1)
        return torch.cat([values, values[-1] + more])


def _padded_cache(prefixes: Sequence[PrefixState]) -> Any:
    """Return a transformers cache with one prefix a row, padded with zeros to the longest."""
    import torch
    from transformers import DynamicCache

    longest = max(state.length for state in prefixes)

    def rows(layer: int, part: int) -> torch.Tensor:
        tensors = [state.layers[layer][part] for state in prefixes]
        padded = [torch.nn.functional.pad(tensor, (0, 0, 0, longest - tensor.shape[-2])) for tensor in tensors]
        return torch.cat(padded)

    return DynamicCache([(rows(layer, 0), rows(layer, 1)) for layer in range(len(prefixes[0].layers))])


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
