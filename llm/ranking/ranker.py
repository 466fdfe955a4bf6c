"""The LLM as a ranker: a history and candidates in, a margin per candidate out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ... import prompts
from ...data.records import Item
from ...prompts.injection import unordered
from ..models.language_model import LanguageModel
from .packed_scorer import PACK_TOKENS, PackedScorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .request_batching import SharedPacks

LAST = 10
"""History items told to the model, the latest ones."""
TITLE = 70
"""Characters of a title; what a store writes beyond that is keywords."""
FACT = 200
"""Characters of a candidate's fact."""
PREFIX_TOKENS = 512
_MARK = "\ue000"  # a private character: the fence lets none through, so no title can hold it


class Ranker:
    """Asks of every candidate, in one packed forward, whether this shopper would also need it.

    Args:
        llm: the model; its ranking adapter is on if it was trained for this prompt. version: of the prompt `rank`, None for the one
            that the model was trained for. pack_tokens: longest sequence of one forward. tuned: False leaves the adapter off, to see
            what the base says to the same prompt. packs: where many threads' candidates are read together; None reads each alone.
    """

    def __init__(
        self,
        llm: LanguageModel,
        *,
        version: int | None = None,
        pack_tokens: int = PACK_TOKENS,
        tuned: bool = True,
        packs: SharedPacks | None = None,
    ) -> None:
        self.packs = packs
        self.llm, self.prompt = llm, prompts.load("rank", version or llm.rank_version)
        self.scorer = PackedScorer(llm, pack_tokens=pack_tokens, adapter=tuned and self.prompt.version == llm.rank_version)

    def scores(
        self, history: Sequence[Item], need: str | None, candidates: Sequence[Item], facts: Sequence[str | None] | None = None
    ) -> NDArray[np.float32]:
        """logit(Yes) - logit(No) for each candidate, shape (candidates,).

        The order of the candidates changes no score: they are packed in an order of their own.

        Args:
            history: oldest first; the last `LAST` that fit are told. need: the shopper's own words.
            facts: one per candidate, a finished sentence on who bought it, or None; version 1 of the prompt tells none.
        """
        if not candidates:
            return np.empty(0, dtype=np.float32)
        prefix, rendered = self.encoded(history, need, candidates, facts)
        order = sorted(range(len(candidates)), key=lambda i: (candidates[i].item_id, rendered[i]))
        out = np.empty(len(candidates), dtype=np.float32)
        ordered = [rendered[i] for i in order]
        out[order] = self.packs.margins(self.scorer, prefix, ordered) if self.packs else self.scorer.margins(prefix, ordered)
        return out

    def encoded(
        self, history: Sequence[Item], need: str | None, candidates: Sequence[Item], facts: Sequence[str | None] | None = None
    ) -> tuple[list[int], list[list[int]]]:
        """Token ids of the prefix and of each candidate, in their order: what is scored, and what a training learns from.

        Args: as for `scores`.
        """
        told = facts if facts is not None else [None] * len(candidates)
        prefix, tail = self._prefix(history, need)
        rendered = [[*self.llm.encode(self._candidate(item, fact)), *tail] for item, fact in zip(candidates, told, strict=True)]
        return prefix, rendered

    def _prefix(self, history: Sequence[Item], need: str | None) -> tuple[list[int], list[int]]:
        """Token ids of what stands before every candidate, and of what the chat template puts after it."""
        before, after = self.said(history, need)
        return self.llm.encode(before), self.llm.encode(after)

    def said(self, history: Sequence[Item], need: str | None) -> tuple[str, str]:
        """What the model reads before every candidate, and after it."""
        told = [describe(item) for item in history[-LAST:]]
        words = prompts.fence(need) if need else None
        while True:
            user = self.prompt.render("user", history=told, need=words, candidate=_MARK)
            before, after = self.llm.chat(self.prompt.render("system"), [("user", user)]).split(_MARK)
            if not told or len(self.llm.encode(before)) <= min(PREFIX_TOKENS, self.scorer.pack_tokens // 2):
                return before, after
            told = told[1:]

    def _candidate(self, item: Item, fact: str | None = None) -> str:
        told = prompts.fence(fact, FACT) if fact else None
        return self.prompt.render("candidate", title=_title(item), category=_path(item), fact=told)


def describe(item: Item) -> str:
    """An item on one line, fenced: its title and where it stands in the store."""
    title = _title(item) or prompts.fence(item.item_id, TITLE)
    return f"{title} ({path})" if (path := _path(item)) else title


def _title(item: Item) -> str:
    """A title without the orders that somebody wrote into it: what it says to a model is no property of the item."""
    return prompts.fence(unordered(item.title), TITLE)


def _path(item: Item) -> str:
    return prompts.fence(" › ".join(item.category[:1]), 60)
