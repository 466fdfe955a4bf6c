"""LLM ranker: a history and candidates in, one logit margin per candidate out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ... import prompts
from ...data.records import Item
from ..models.language_model import LanguageModel
from ..models.projector import projector_inputs
from .packed_scorer import PACK_TOKENS, PackedScorer
from .packs import SOFT_TOKEN, Pack
from .rank_prompt import BEHAVIOUR, MAX_HISTORY_ITEMS, PLACEHOLDER, candidate_text, user_message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models.projector import ProjectorInputs
    from .packs import SoftInputs
    from .prefix_cache import PrefixCache
    from .request_batching import PackBatcher

MAX_PREFIX_TOKENS = 512
BEHAVIOUR_VERSIONS = frozenset({4})
"""Versions of the prompt that have soft tokens."""


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
        self,
        history: Sequence[Item],
        need: str | None,
        candidates: Sequence[Item],
        facts: Sequence[str | None] | None = None,
        behaviour: SoftInputs | None = None,
    ) -> NDArray[np.float32]:
        """Return logit(Yes) - logit(No) for each candidate, in nats, shape (candidates,).

        Scores do not depend on the order of the candidates: they are packed in an order of their own.

        Args:
            history: Oldest first; the last `MAX_HISTORY_ITEMS` that fit are in the prompt.
            need: The shopper's text query.
            candidates: The items to score.
            facts: One sentence per candidate about who bought it, or None; only versions 2 and 3 of the prompt show them.
            behaviour: Numbers about the history and the candidates, for a model that reads them (`behaviour_inputs`).
        """
        if not candidates:
            return np.empty(0, dtype=np.float32)
        encoded = self.encode(history, need, candidates, facts, behaviour)
        order = sorted(range(len(candidates)), key=lambda i: (candidates[i].item_id, encoded.candidates[i]))
        pack = encoded.take(order)
        scores = np.empty(len(candidates), dtype=np.float32)
        scores[order] = self.batcher.logit_margins(self.scorer, pack) if self.batcher else self.scorer.logit_margins(pack)
        return scores

    @property
    def behaviour_inputs(self) -> ProjectorInputs | None:
        """What the model reads about behaviour; None if it reads texts alone."""
        return projector_inputs(self.llm.model) if self.scorer.adapter and self.prompt.version in BEHAVIOUR_VERSIONS else None

    def encode(
        self,
        history: Sequence[Item],
        need: str | None,
        candidates: Sequence[Item],
        facts: Sequence[str | None] | None = None,
        behaviour: SoftInputs | None = None,
    ) -> Pack:
        """Return the token ids of the prefix and of each candidate, in their order, for scoring and for training.

        Args: See `scores`.
        """
        facts = facts if facts is not None else [None] * len(candidates)
        soft = behaviour if self.behaviour_inputs is not None else None
        prefix, tail = self._encode_frame(history, need, behaviour=soft is not None)
        texts = (candidate_text(self.prompt, item, fact, behaviour=soft is not None) for item, fact in zip(candidates, facts, strict=True))
        return Pack(prefix, [[*self._encode(text), *tail] for text in texts], soft)

    def _encode(self, text: str) -> list[int]:
        """Token ids of a text, with soft tokens for their placeholders."""
        first, *others = (self.llm.encode(part) for part in text.split(BEHAVIOUR))
        return [*first, *(token for part in others for token in (SOFT_TOKEN, *part))]

    def _encode_frame(self, history: Sequence[Item], need: str | None, *, behaviour: bool = False) -> tuple[list[int], list[int]]:
        """Return the token ids before every candidate, and those that the chat template appends."""
        before, after = self.prompt_parts(history, need, behaviour=behaviour)
        return self._encode(before), self._encode(after)

    def prompt_parts(self, history: Sequence[Item], need: str | None, *, behaviour: bool = False) -> tuple[str, str]:
        """Return the prompt before and after the candidate. The oldest history items are dropped until it fits."""
        items = history[-MAX_HISTORY_ITEMS:]
        while True:
            user = user_message(self.prompt, items, need, behaviour=behaviour)
            before, after = self.llm.chat_prompt(self.prompt.render("system"), [("user", user)]).split(PLACEHOLDER)
            if not items or len(self.llm.encode(before)) <= min(MAX_PREFIX_TOKENS, self.scorer.pack_tokens // 2):
                return before, after
            items = items[1:]
