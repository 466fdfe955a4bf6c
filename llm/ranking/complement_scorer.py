"""LLM scorer of complements: would someone who owns A need B? For pairs with too few common shoppers to count.

A logit margin alone is biased: a model tends to Yes for what everybody needs. The margin for someone who owns "something" is therefore
subtracted, and the difference can be added to the cosine of the two texts (`complement_scores`). `benchmarks/text_needs.py` measures the
gain; with the bundled model it is not distinguishable from chance, so `LLM_WEIGHT` is 0. Knows nothing of shoppers, and does not
distinguish complements from substitutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ... import prompts
from ...data.records import Category
from ..models.language_model import LanguageModel
from .packed_scorer import PACK_TOKENS, PackedScorer
from .packs import Pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_NAME_CHARS = 70
"""Names are truncated here; the rest of a store's title is mostly keywords."""
LLM_WEIGHT = 0.0
"""Weight of a calibrated margin of the bundled model, per nat, added to the cosine; the benchmark determines it for a stronger model."""
MIN_COMPLEMENT_SCORE = 0.45
"""Minimum score for proposing a need from texts alone. On balanced pairs, precision above it is four in five and recall one in five. Where
needs are rare, precision is lower, so needs supported by texts alone must be labelled as such."""
_PLACEHOLDER = "\ue000"  # a private-use character: sanitized text cannot contain it


class ComplementScorer:
    """Scores how likely it is that someone who owns one thing needs each of several others.

    Names are untrusted text and are sanitized here.

    Args:
        llm: The model.
        version: Version of the prompt `need`.
        pack_tokens: Maximum length of a pack.
    """

    def __init__(self, llm: LanguageModel, *, version: int = 1, pack_tokens: int = PACK_TOKENS) -> None:
        self.llm, self.prompt = llm, prompts.load("need", version)
        self.scorer = PackedScorer(llm, pack_tokens=pack_tokens)

    def logit_margins(self, owned: str, others: Sequence[str]) -> NDArray[np.float32]:
        """Return logit(Yes) - logit(No) in nats for each of the others, shape (others,), independent of their order.

        Args:
            owned: A title, or a category as returned by `category_name`.
            others: Titles or categories.
        """
        prefix, encoded = self._encode(owned, others)
        order = sorted(range(len(others)), key=lambda i: encoded[i])
        margins = np.empty(len(others), dtype=np.float32)
        if others:
            margins[order] = self.scorer.logit_margins(Pack(prefix, [encoded[i] for i in order]))
        return margins

    def calibrated_margins(self, owned: str, others: Sequence[str]) -> NDArray[np.float32]:
        """Return the margins minus those of someone who owns "something", in nats, shape (others,); 0 means no difference.

        Source: contextual calibration, Zhao et al., ICML 2021.
        """
        return self.logit_margins(owned, others) - self.logit_margins(self.prompt.render("anybody"), others)

    def _encode(self, owned: str, others: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """Return the token ids of the common prefix, and of each other up to the start of the answer."""
        before, after = self.prompt.render("user", owned=prompts.sanitize_for_prompt(owned, MAX_NAME_CHARS), other=_PLACEHOLDER).split(
            _PLACEHOLDER
        )
        # Tokenizers attach a space to the following word: a prefix that ends with a space would be tokenized differently.
        encoded = [self.llm.encode(f" {prompts.sanitize_for_prompt(other, MAX_NAME_CHARS)}{after}\n") for other in others]
        return self.llm.encode(before.rstrip(" ")), encoded


def complement_scores(
    cosines: NDArray[np.float32], calibrated_margins: NDArray[np.float32] | None = None, *, weight: float = LLM_WEIGHT
) -> NDArray[np.float32]:
    """Return cosine + weight * calibrated margin for each pair, shape (others,); higher means a more likely complement.

    Args:
        cosines: Cosine similarities of the embeddings of A and each B, shape (others,).
        calibrated_margins: Output of `ComplementScorer.calibrated_margins`; not needed if the weight is 0.
        weight: Weight of the calibrated margins.

    Raises:
        ValueError: The weight is not 0 and there are no margins.
    """
    if not weight:
        return np.asarray(cosines, dtype=np.float32)
    if calibrated_margins is None:
        raise ValueError(f"a weight of {weight} requires calibrated margins; see ComplementScorer.calibrated_margins")
    return np.asarray(cosines + np.float32(weight) * calibrated_margins, dtype=np.float32)


def category_name(path: Category) -> str:
    """Return a category for a prompt: its name, with its parent's in brackets, such as `Cases (Phones & Accessories)`."""
    return f"{path[-1]} ({path[-2]})" if len(path) > 1 else "".join(path)
