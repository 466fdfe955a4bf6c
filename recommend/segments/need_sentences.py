"""Needs in words: the figures as a sentence that the language model joins and a check has read, with a reviewer's words for colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ...llm.explain.explainer import Explainer
from ...llm.explain.reasons import MAX_NAME_CHARS, NO_QUOTES, SegmentFacts
from ...prompts.sanitize import sanitize_for_prompt
from ..evidence.review_excerpts import praise_excerpt, stems
from .results import CategoryNeed, SegmentResult

if TYPE_CHECKING:
    from ...llm.models.language_model import LanguageModel
    from ..evidence.review_table import ReviewTable

MAX_REVIEWED_ITEMS = 5
"""Items of a need whose reviews are searched for a quotation."""

CohortKind = Literal["category", "item", "brand", "text"]


class NeedSentences:
    """Words findings.

    Args: llm: the model, None for the figures' own sentences. reviews: of the store.
    """

    def __init__(self, llm: LanguageModel | None, reviews: ReviewTable) -> None:
        self._explainer, self._reviews = Explainer(llm, prompt="segment"), reviews

    def add_sentences(
        self, finding: SegmentResult, cohort: str, kind: CohortKind, popular: Sequence[Sequence[str]], *, noisy: bool = False
    ) -> SegmentResult:
        """The finding with a sentence for each need.

        Args:
            cohort: what makes the segment, in words. kind: what that is; `text` also for several things joined.
            popular: per need, item ids whose reviews may be quoted, best first; none for an answer that may show only its counts.
        """
        before = finding.direction == "reverse"
        reasons = []
        for need, ids in zip(finding.needs, popular, strict=True):
            name = need.category[-1]
            days = finding.window if finding.order == "time" else None
            quote = next((found for key in ids[:MAX_REVIEWED_ITEMS] if (found := self._quote(key, cohort))), None)
            reasons.append(
                SegmentFacts(
                    cohort=name if before else cohort,
                    need=cohort if before else name,
                    users=(need.of if need.of is not None else finding.cohort) or 0,
                    support=need.users,
                    lift=need.lift,
                    lift_low=need.lift_interval[0] if need.lift_interval else None,
                    days=days,
                    ordered=finding.order != "none",
                    cohort_kind="category" if before else kind,
                    need_kind="item" if before and kind == "item" else "category",
                    verb=finding.verb,
                    noisy=noisy,
                    quote=quote,
                ).to_reason()
            )
        texts = [explanation.text for explanation in self._explainer.explain(reasons)]
        for i, need in enumerate(finding.needs):
            if need.sources[0] == "knowledge":  # nobody counted, and nobody judged by names: the store said so
                about = f"{sanitize_for_prompt(cohort, MAX_NAME_CHARS)} and {sanitize_for_prompt(need.category[-1], MAX_NAME_CHARS)}"
                texts[i] = f"By the store's own list of what belongs together, {about} do; too few shoppers to count yet."
        return replace(finding, needs=tuple(replace(need, sentence=text) for need, text in zip(finding.needs, texts, strict=True)))

    def _quote(self, item_id: str, about: str) -> str | None:
        """A stretch of a well-rated review of an item that speaks of what the segment is made of; None where none does."""
        wanted = stems(about)
        for text in self._reviews.rated_reviews(item_id)["text"].to_list():
            quote = praise_excerpt(text, about)
            if quote and quote == quote.translate(NO_QUOTES) and any(stem in quote.casefold() for stem in wanted):
                return quote
        return None


def item_ids(need: CategoryNeed) -> list[str]:
    """The ids of a need's items."""
    return [item.item_id for item in need.items]
