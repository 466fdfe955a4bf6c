"""Entailment check: a small cross-encoder that detects whether the evidence contradicts a finished sentence.

Used only if one is configured (`Settings.nli`), after the grounding check has passed. An explanation also contains judgements that cannot
be proved ("worth a look"), so "neutral" passes; only "contradiction" as the most likely label fails.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import ModelError, ModelMissingError
from ..models.library_output import quiet_libraries

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...data.records import Evidence

LABELS = ("entailment", "neutral", "contradiction")
"""Required labels of a model, in any order and case."""
MAX_TOKENS = 512
"""Maximum length of evidence and sentence together; longer evidence is truncated."""


class EntailmentModel:
    """A cross-encoder for natural language inference; create it with `EntailmentModel.load`.

    Args:
        name: Name for error messages.
        model: The transformers model.
        tokenizer: The transformers tokenizer.

    Raises:
        ModelError: The labels of the model are not entailment, neutral and contradiction.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name, self._model, self._tokenizer, self._lock = name, model, tokenizer, threading.Lock()
        indices = {str(label).casefold(): int(index) for index, label in model.config.id2label.items()}
        if set(indices) != set(LABELS):
            raise ModelError(f"{name} is not an entailment model: its labels are {', '.join(sorted(indices))}, not {', '.join(LABELS)}")
        self._order = [indices[label] for label in LABELS]

    @classmethod
    def load(cls, name: str) -> EntailmentModel:
        """Load a cross-encoder from a folder or by its Hugging Face id, in float32 and from safetensors only.

        Raises:
            ModelMissingError: It is neither a folder nor reachable.
            ModelError: It cannot be loaded, or is not an entailment model.
        """
        with quiet_libraries():
            from safetensors import SafetensorError
            from transformers import AutoModelForSequenceClassification, AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
                model: Any = AutoModelForSequenceClassification.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
            except OSError as error:
                problem = "has no model in safetensors" if Path(name).is_dir() else "is neither a folder nor reachable"
                raise ModelMissingError(f"the entailment model {name} {problem}: name another, or unset CROSSAISLE_NLI") from error
            except (ValueError, KeyError, RuntimeError, SafetensorError) as error:
                raise ModelError(f"the entailment model {name} cannot be loaded: {str(error).splitlines()[0]}") from error
        return cls(name, model.eval(), tokenizer)

    def contradictions(self, text: str, evidence: Sequence[Evidence]) -> list[str]:
        """Return the faults of a sentence given its evidence, in words; an empty list if the evidence does not contradict it."""
        probabilities = self.probabilities(" ".join(_with_full_stop(fact.text) for fact in evidence), text)
        return ["its facts contradict it"] if LABELS[int(probabilities.argmax())] == "contradiction" else []

    def probabilities(self, premise: str, hypothesis: str) -> NDArray[np.float32]:
        """Return the probabilities of `LABELS`, shape (3,), with sum 1."""
        import torch

        with self._lock, torch.inference_mode():
            inputs = self._tokenizer(premise, hypothesis, truncation="only_first", max_length=MAX_TOKENS, return_tensors="pt")
            logits = self._model(**inputs).logits[0, self._order].float()
        probabilities: NDArray[np.float32] = torch.softmax(logits, -1).numpy()
        return probabilities


def _with_full_stop(fact: str) -> str:
    return fact if fact.endswith((".", "!", "?", "…")) else f"{fact}."
