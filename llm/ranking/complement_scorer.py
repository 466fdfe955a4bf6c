"""The LLM as a judge of needs: would someone who owns A need B? For pairs that too few shoppers have had to be counted.

A margin says little by itself: a model leans to Yes for what everybody needs. What it says of someone who owns "something" is taken
off, and what is left can be added to the cosine of the two texts (`combined`). How much that is worth is measured in
`benchmarks/text_needs.py`; with the embedded model it is nothing that could be told from chance, so `WEIGHT` is 0. Knows nothing of
shoppers, and cannot tell what goes with A from what could replace A.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ... import prompts
from ...data.records import Category
from ..models.language_model import LanguageModel
from .packed_scorer import PACK_TOKENS, PackedScorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = 70
"""Characters of a name; what a store writes beyond that is keywords."""
WEIGHT = 0.0
"""What a calibrated nat of the embedded model counts beside a cosine; a stronger model earns its own in the same benchmark."""
LIKELY = 0.45
"""Score from which texts may propose a need. Of pairs that are needs as often as not, four in five above it were, and it finds one need
in five; where needs are rare so many more will be wrong, so what only texts support has to say so."""
_MARK = "\ue000"  # a private character: the fence lets none through, so no name can hold it


class NeedJudge:
    """Asks of many things at once whether someone who owns another would need them.

    Names are strangers' text and are fenced here. Args: llm: the model. version: of the prompt `need`. pack_tokens: longest sequence of
    one forward.
    """

    def __init__(self, llm: LanguageModel, *, version: int = 1, pack_tokens: int = PACK_TOKENS) -> None:
        self.llm, self.prompt = llm, prompts.load("need", version)
        self.scorer = PackedScorer(llm, pack_tokens=pack_tokens)

    def margins(self, owned: str, others: Sequence[str]) -> NDArray[np.float32]:
        """logit(Yes) - logit(No) in nats for each of the others, shape (others,); their order changes no score.

        Args: owned, others: titles, or categories as `category_name` gives them.
        """
        prefix, rendered = self._tokens(owned, others)
        order = sorted(range(len(others)), key=lambda i: rendered[i])
        out = np.empty(len(others), dtype=np.float32)
        if others:
            out[order] = self.scorer.margins(prefix, [rendered[i] for i in order])
        return out

    def calibrated(self, owned: str, others: Sequence[str]) -> NDArray[np.float32]:
        """The margins less those of someone who owns "something", in nats, shape (others,); 0 where A makes no difference.

        Source: contextual calibration, Zhao et al., ICML 2021.
        """
        return self.margins(owned, others) - self.margins(self.prompt.render("anybody"), others)

    def _tokens(self, owned: str, others: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """Token ids of what stands before every other, and of each other up to where its answer begins."""
        before, after = self.prompt.render("user", owned=prompts.fence(owned, NAME), other=_MARK).split(_MARK)
        # A space belongs to the word behind it: a prefix that ended with one would be cut into tokens that no text is.
        rendered = [self.llm.encode(f" {prompts.fence(other, NAME)}{after}\n") for other in others]
        return self.llm.encode(before.rstrip(" ")), rendered


def combined(cosines: NDArray[np.float32], calibrated: NDArray[np.float32] | None = None, *, weight: float = WEIGHT) -> NDArray[np.float32]:
    """How likely the texts make it that B is needed with A: cosine + weight * calibrated margin, shape (others,); higher is likelier.

    Args:
        cosines: of the embeddings of A and each B, (others,). calibrated: `NeedJudge.calibrated`, not asked for where the weight is 0.
    Raises: ValueError: there is a weight but nothing to weigh.
    """
    if not weight:
        return np.asarray(cosines, dtype=np.float32)
    if calibrated is None:
        raise ValueError(f"a weight of {weight} needs calibrated margins; ask NeedJudge.calibrated for them")
    return np.asarray(cosines + np.float32(weight) * calibrated, dtype=np.float32)


def category_name(path: Category) -> str:
    """A category as it is told to a model: its own name, and its parent's in brackets: `Cases (Phones & Accessories)`."""
    return f"{path[-1]} ({path[-2]})" if len(path) > 1 else "".join(path)
