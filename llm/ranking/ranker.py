"""LLM ranker: a history and candidates in, one logit margin per candidate out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ... import prompts
from ...data.records import Item
from ..models.language_model import LanguageModel
from .packed_scorer import PACK_TOKENS, PackedScorer
from .rank_prompt import MAX_HISTORY_ITEMS, PLACEHOLDER, candidate_text, user_message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .prefix_cache import PrefixCache
    from .request_batching import PackBatcher

MAX_PREFIX_TOKENS = 512


class Ranker:
    """Scores candidates by the logit margin between Yes and No to the question whether the shopper would also need the item.

    All candidates are scored in packed forward passes.

    Args:
        llm: The model. Its ranking adapter is active if it was trained for this prompt version.
        version: Version of the prompt `rank`; None for the one that the model was trained for.
        pack_tokens: Maximum length of a pack.
        use_adapter: False leaves the adapter off, to compare with the base model on the same prompt.
        batcher: Batches the candidates of many threads; None scores each request alone.
        prefix_cache: Keys and values of the prefixes of earlier requests; None computes each prefix.
    """

    def __init__(
        self,
        llm: LanguageModel,
        *,
        version: int | None = None,
        pack_tokens: int = PACK_TOKENS,
        use_adapter: bool = True,
        batcher: PackBatcher | None = None,
        prefix_cache: PrefixCache | None = None,
    ) -> None:
        self.batcher = batcher
        self.llm, self.prompt = llm, prompts.load("rank", version or llm.ranking_prompt_version)
        trained = self.prompt.version == llm.ranking_prompt_version
        self.scorer = PackedScorer(llm, pack_tokens=pack_tokens, adapter=use_adapter and trained, prefix_cache=prefix_cache)

    def scores(
        self, history: Sequence[Item], need: str | None, candidates: Sequence[Item], facts: Sequence[str | None] | None = None
    ) -> NDArray[np.float32]:
        """Return logit(Yes) - logit(No) for each candidate, in nats, shape (candidates,).

        Scores do not depend on the order of the candidates: they are packed in an order of their own.

        Args:
            history: Oldest first; the last `MAX_HISTORY_ITEMS` that fit are in the prompt.
            need: The shopper's text query.
            candidates: The items to score.
            facts: One sentence per candidate about who bought it, or None; version 1 of the prompt ignores them.
        """
        if not candidates:
            return np.empty(0, dtype=np.float32)
        prefix, encoded = self.encode(history, need, candidates, facts)
        order = sorted(range(len(candidates)), key=lambda i: (candidates[i].item_id, encoded[i]))
        ordered = [encoded[i] for i in order]
        scores = np.empty(len(candidates), dtype=np.float32)
        scores[order] = (
            self.batcher.logit_margins(self.scorer, prefix, ordered) if self.batcher else self.scorer.logit_margins(prefix, ordered)
        )
        return scores

    def encode(
        self, history: Sequence[Item], need: str | None, candidates: Sequence[Item], facts: Sequence[str | None] | None = None
    ) -> tuple[list[int], list[list[int]]]:
        """Return the token ids of the prefix and of each candidate, in their order, for scoring and for training.

        Args: See `scores`.
        """
        facts = facts if facts is not None else [None] * len(candidates)
        prefix, tail = self._encode_frame(history, need)
        encoded = [[*self.llm.encode(candidate_text(self.prompt, item, fact)), *tail] for item, fact in zip(candidates, facts, strict=True)]
        return prefix, encoded

    def _encode_frame(self, history: Sequence[Item], need: str | None) -> tuple[list[int], list[int]]:
        """Return the token ids before every candidate, and those that the chat template appends."""
        before, after = self.prompt_parts(history, need)
        return self.llm.encode(before), self.llm.encode(after)

    def prompt_parts(self, history: Sequence[Item], need: str | None) -> tuple[str, str]:
        """Return the prompt before and after the candidate. The oldest history items are dropped until it fits."""
        items = history[-MAX_HISTORY_ITEMS:]
        while True:
            user = user_message(self.prompt, items, need)
            before, after = self.llm.chat_prompt(self.prompt.render("system"), [("user", user)]).split(PLACEHOLDER)
            if not items or len(self.llm.encode(before)) <= min(MAX_PREFIX_TOKENS, self.scorer.pack_tokens // 2):
                return before, after
            items = items[1:]
