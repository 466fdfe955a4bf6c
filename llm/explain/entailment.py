"""A second reader of finished sentences: a small cross-encoder that says whether the evidence contradicts one.

It is asked only where one is configured (`Settings.nli`), after the check by rules has passed. A reason also says what nobody can prove
("worth a look"), so "neutral" passes; what is most likely a contradiction does not.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import ModelError, ModelMissingError
from ..models.language_model import quiet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...data.records import Evidence

LABELS = ("entailment", "neutral", "contradiction")
"""What a model's own labels must be called, in any order and case."""
LONGEST = 512
"""Tokens of evidence and sentence together; the evidence is cut beyond it."""


class Entailment:
    """Whether facts bear out a sentence, by one cross-encoder. `Entailment.load(name)` makes one."""

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        """Raises: ModelError: the model does not tell entailment, neutral and contradiction apart by these names."""
        self.name, self._model, self._tokenizer, self._lock = name, model, tokenizer, threading.Lock()
        called = {str(label).casefold(): int(number) for number, label in model.config.id2label.items()}
        if set(called) != set(LABELS):
            raise ModelError(f"{name} is no model of entailment: its labels are {', '.join(sorted(called))}, not {', '.join(LABELS)}")
        self._order = [called[label] for label in LABELS]

    @classmethod
    def load(cls, name: str) -> Entailment:
        """A cross-encoder from a folder or by its Hugging Face id, in float32; safetensors only.

        Raises: ModelMissingError: it is neither there nor reachable. ModelError: it cannot be loaded, or is no model of entailment.
        """
        with quiet():
            from safetensors import SafetensorError
            from transformers import AutoModelForSequenceClassification, AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
                model: Any = AutoModelForSequenceClassification.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
            except OSError as error:
                where = "has no model in safetensors" if Path(name).is_dir() else "is neither a folder nor reachable"
                raise ModelMissingError(f"the entailment model {name} {where}: name another, or unset CROSSAISLE_NLI") from error
            except (ValueError, KeyError, RuntimeError, SafetensorError) as error:
                raise ModelError(f"the entailment model {name} cannot be loaded: {str(error).splitlines()[0]}") from error
        return cls(name, model.eval(), tokenizer)

    def faults(self, text: str, evidence: Sequence[Evidence]) -> list[str]:
        """What is wrong with a sentence beside its facts, in words; an empty list where they do not contradict it."""
        chances = self.chances(" ".join(_sentence(fact.text) for fact in evidence), text)
        return ["its facts contradict it"] if LABELS[int(chances.argmax())] == "contradiction" else []

    def chances(self, premise: str, hypothesis: str) -> NDArray[np.float32]:
        """(3,) the chances of `LABELS`, summing to 1."""
        import torch

        with self._lock, torch.inference_mode():
            asked = self._tokenizer(premise, hypothesis, truncation="only_first", max_length=LONGEST, return_tensors="pt")
            scores = self._model(**asked).logits[0, self._order].float()
        chances: NDArray[np.float32] = torch.softmax(scores, -1).numpy()
        return chances


def _sentence(fact: str) -> str:
    return fact if fact.endswith((".", "!", "?", "…")) else f"{fact}."
