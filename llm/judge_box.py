"""The judge in the box: the embedded model with its adapter for judging, as chances of answers.

    judge = BoxedJudge.load(settings, shop / "judge")
    judge.relations([("Tent for two", "Gas stove")])       (pairs, 3): complement, substitute, neither
    judge.supports([(facts, sentence)])                     (sentences, 2): supported, unsupported

It answers these two questions and no other; what it is worth is in docs/judge_in_the_box.md. English.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.errors import ModelMissingError
from . import adapters, embedded
from .judging import Judging, Kind, Tokens
from .models import LanguageModel, fingerprint
from .scoring import PACK_TOKENS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..data.settings import Settings

AT_ONCE = 16
"""Questions over one beginning that are read in one forward."""


class BoxedJudge:
    """A loaded model with an adapter for judging."""

    def __init__(self, llm: LanguageModel) -> None:
        self.llm, self._task = llm, Judging(llm, PACK_TOKENS)

    @classmethod
    def load(cls, settings: Settings, folder: Path | None = None) -> BoxedJudge:
        """The embedded model with the adapter that ships, or with another one of the model that the settings name.

        In bf16 unless the settings say fp32: it learned in bf16, and rounding to 4 bits costs it accuracy (docs/judge_in_the_box.md).

        Args: folder: with an adapter that `train judge` made.
        Raises: ModelMissingError, ModelError: the model or the adapter cannot be had. StaleAdapterError: they do not belong together.
        """
        if not (folder or embedded.JUDGE).is_dir():
            where = f"there is none in {folder}" if folder else "none ships, for none was good enough yet (docs/judge_in_the_box.md)"
            raise ModelMissingError(f"an adapter for judging is wanted and {where}; `crossaisle train -w WS judge` makes one")
        settings = settings if folder else settings.with_(llm=embedded.NAME)
        if settings.quantization != "fp32":
            settings = settings.with_(quantization="bf16")
        llm = LanguageModel.load(settings)
        llm.add_judge(folder or embedded.JUDGE, fingerprint(settings.llm, settings.home))
        return cls(llm)

    def about(self) -> dict[str, Any]:
        """All that an answer hangs on besides the question."""
        return {
            "model": self.llm.name,
            "adapter": self.llm.judge_hash,
            "prompt": f"{adapters.JUDGE}.v{self.llm.judge_version}",
            "quantization": self.llm.quantization,
        }

    def relations(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """(pairs, 3) the chances that the second item is a complement of the first, a substitute for it, or neither.

        Args: pairs: titles. Pairs in a row with the same first title are read together, which is several times faster.
        """
        out = np.empty((len(pairs), 3))
        for start, end in _runs([first for first, _ in pairs]):
            out[start:end] = self._chances(
                "relation", *self._task.asker.relation(pairs[start][0], [second for _, second in pairs[start:end]])
            )
        return out

    def supports(self, asked: Sequence[tuple[Sequence[str], str]]) -> NDArray[np.float64]:
        """(sentences, 2) the chances that facts bear out a sentence, and that they do not.

        Args: asked: facts and a sentence each; those in a row with the same facts are read together.
        """
        out = np.empty((len(asked), 2))
        for start, end in _runs([tuple(facts) for facts, _ in asked]):
            out[start:end] = self._chances("support", *self._task.asker.support(asked[start][0], [said for _, said in asked[start:end]]))
        return out

    def _chances(self, kind: Kind, prefix: Tokens, questions: Sequence[Tokens]) -> NDArray[np.float64]:
        import torch

        with torch.inference_mode(), self.llm.weights(adapter=adapters.JUDGE):
            found: NDArray[np.float64] = self._task.log_chances(kind, prefix, questions).exp().double().cpu().numpy()
        return found


def _runs(keys: Sequence[object]) -> list[tuple[int, int]]:
    """Stretches of equal keys in a row, each at most `AT_ONCE` long: first place, and the one after the last."""
    found: list[tuple[int, int]] = []
    for place, key in enumerate(keys):
        if found and keys[found[-1][0]] == key and place - found[-1][0] < AT_ONCE:
            found[-1] = found[-1][0], place + 1
        else:
            found.append((place, place + 1))
    return found
