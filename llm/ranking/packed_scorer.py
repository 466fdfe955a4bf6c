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
from ..models.projector import soft_tokens
from ..models.usage import record_usage
from .packs import SOFT_TOKEN, Pack, Row, split_into_packs
from .prefix_cache import PrefixCache, PrefixState, join_prefixes

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ..models.language_model import LanguageModel

ANSWERS = ("Yes", "No")
PACK_TOKENS = 2048
"""Default maximum length of a pack. Attention cost grows with its square; above this length a second pack is no slower."""

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

    def logit_margins(self, pack: Pack) -> NDArray[np.float32]:
        """Return logit(yes) - logit(no) after each candidate, in nats, from as many forward passes as needed.

        Args:
            pack: A prefix and candidates, none of them empty, of any total length.

        Returns:
            Array of shape (candidates,).

        Raises:
            ModelError: A candidate together with the prefix is longer than the model's context.
        """
        margins = np.empty(len(pack.candidates), dtype=np.float32)
        for indices in self.split_candidates(pack):
            scored = self.score_packs([pack.take(indices)])[0]
            margins[indices] = scored.margins
            record_usage(tokens_in=scored.tokens)
        return margins

    def split_candidates(self, pack: Pack) -> list[list[int]]:
        """Return the indices of the candidates in each forward pass; see `split_into_packs`.

        Raises:
            ModelError: One candidate does not fit even alone.
        """
        return split_into_packs(len(pack.prefix), [len(candidate) for candidate in pack.candidates], self.pack_tokens)

    def batch_logit_margins(self, packs: Sequence[Pack]) -> list[NDArray[np.float32]]:
        """Return the margins of several packs, computed together, each of shape (candidates,)."""
        return [scored.margins for scored in self.score_packs(packs)]

    def score_packs(self, packs: Sequence[Pack]) -> list[ScoredPack]:
        """Return the margins of several packs, computed together, and how many tokens each of them cost."""
        import torch

        with torch.inference_mode(), self.llm.use_adapter(adapter=self.adapter):
            rows = self._rows(packs)
            if self.prefix_cache is None:
                hidden, cached = self._candidate_states(rows), [0] * len(packs)
            else:
                parts = [row.split(len(pack.prefix)) for pack, row in zip(packs, rows, strict=True)]
                states, cached = self._prefix_states(packs, [prefix for prefix, _ in parts], self.prefix_cache)
                hidden = self._candidate_states([candidates for _, candidates in parts], states)
            return [
                ScoredPack(self._margins(own).float().cpu().numpy(), pack.tokens - known)
                for own, pack, known in zip(hidden, packs, cached, strict=True)
            ]

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
        return self._candidate_states(self._rows(packs))

    def _rows(self, packs: Sequence[Pack]) -> list[Row]:
        soft = [None if pack.soft is None else soft_tokens(self.llm.model, pack.soft.history, pack.soft.candidates) for pack in packs]
        return [Row.from_pack(pack, vectors) for pack, vectors in zip(packs, soft, strict=True)]

    def _candidate_states(self, rows: Sequence[Row], prefixes: Sequence[PrefixState] = ()) -> list[torch.Tensor]:
        """Return the hidden states of each row's candidates. Args: prefixes: of each row, if the rows are those of candidates alone."""
        cache = join_prefixes(prefixes) if prefixes else None
        output = self._forward(rows, [state.length for state in prefixes], cache)
        return [output[i, row.last.to(output.device)] for i, row in enumerate(rows)]

    def _forward(self, rows: Sequence[Row], prefixes: Sequence[int], cache: Any) -> torch.Tensor:
        """Return the last hidden states of all tokens (rows, L, hidden).

        Args:
            rows: The tokens.
            prefixes: Number of tokens of each row in the cache; empty if there are none.
            cache: Keys and values that precede the tokens, to which theirs are appended; None for neither.
        """
        import torch

        model, device = self.llm.model, self.llm.device
        length, cached = max(len(row.ids) for row in rows), max(prefixes, default=0)
        ids = torch.tensor([[*row.ids, *[0] * (length - len(row.ids))] for row in rows], device=device)  # (rows, L)
        block = torch.stack([row.padded(row.block, length) for row in rows]).to(device)  # (rows, L)
        position = torch.stack([row.padded(row.position, length) for row in rows]).to(device)  # (rows, L)
        order = torch.arange(cached + length, device=device)
        in_prefix = order[:cached] < torch.tensor(prefixes or [0] * len(rows), device=device)[:, None]  # (rows, cached)
        key_block = torch.cat([in_prefix.long() - 1, block], dim=1)  # (rows, cached + L); -1 for the padding of a cached prefix
        key_position = torch.cat([order[:cached].expand(len(rows), -1), position], dim=1)  # (rows, cached + L)
        # Block 0 is the prefix. A token attends to block 0 and to its own block, up to itself; padding is a block of its own.
        same_block = (key_block[:, None, :] == 0) | (key_block[:, None, :] == block[:, :, None])
        visible = same_block & (order[None, :] <= order[cached:, None])  # (rows, L, cached + L)
        window = self._window
        in_window = visible & (position[:, :, None] - key_position[:, None, :] < window) if window else visible
        masks = {
            attention_type: self._additive_mask(in_window if attention_type == "sliding_attention" else visible)
            for attention_type in self._attention_types
        }
        mask = masks if len(masks) > 1 else masks[self._attention_types[0]]
        soft = [row.vectors for row in rows if row.vectors is not None]
        inputs = {"inputs_embeds": self._embeddings(ids, soft)} if soft else {"input_ids": ids}
        output = model.base_model(**inputs, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=cache is not None)
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def _prefix_states(self, packs: Sequence[Pack], rows: Sequence[Row], cache: PrefixCache) -> tuple[list[PrefixState], list[int]]:
        """Return the keys and values of each pack's prefix, and how many of its tokens were known before.

        Args:
            packs: The packs.
            rows: The row of each pack's prefix.
            cache: Where they are looked up and stored.
        """
        from transformers import DynamicCache

        with_adapter = self.adapter and self.llm.has_ranking_adapter
        keys = [(with_adapter, tuple(pack.prefix), None if pack.soft is None else pack.soft.history.tobytes()) for pack in packs]
        states = {key: state for key in dict.fromkeys(keys) if (state := cache.get(key)) is not None}
        missing = {key: i for i, key in reversed(list(enumerate(keys))) if key not in states}  # the first pack of each prefix
        if missing:
            computed: Any = DynamicCache()  # not of the model's configuration, which would drop what is outside of a window
            self._forward([rows[i] for i in missing.values()], [], computed)
            for row, key in enumerate(missing):
                layers = [(layer.keys, layer.values) for layer in computed.layers]
                states[key] = PrefixState.from_row(layers, row, len(key[1]))
                cache.put(key, states[key])
        computed_by = set(missing.values())
        return [states[key] for key in keys], [0 if i in computed_by else len(pack.prefix) for i, pack in enumerate(packs)]

    def _embeddings(self, ids: torch.Tensor, soft: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the input embeddings (rows, L, hidden). Args: soft: those of the soft tokens, row by row in their order."""
        import torch

        embeddings = self.llm.model.get_input_embeddings()(ids.clamp(min=0))
        filled: torch.Tensor = embeddings.masked_scatter((ids == SOFT_TOKEN)[..., None], torch.cat(list(soft)).to(embeddings))
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
                vectors = self._rows([pack.take([i])])[0].vectors
                inputs = {"input_ids": ids} if vectors is None else {"inputs_embeds": self._embeddings(ids, [vectors])}
                logits = self.llm.model(**inputs, use_cache=False).logits
                margins[i] = float(logits[0, -1, yes].float() - logits[0, -1, no].float())
        return margins
