"""A local model that answers questions by choosing: the reason is generated, the choice read off the model's own probabilities.

The answer's form is written for the model, so that also a small one keeps to it: it writes the reason, and after `"score": ` the
probabilities of the choices are taken. Where the choices together are unlikely there, nothing is made of them and the answer stays cut.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from ...data.errors import TooLongError
from ..models.language_model import LanguageModel
from .messages import Asked, Reply, among

REASON = 60
"""Tokens of a reason, at most."""


class LocalAnswers:
    """A loaded model as a chat model that chooses. One question at a time: the model's computing is shared, not doubled, by threads.

    Args: llm: the model. fingerprint: SHA-256 of its weights, or its id. max_tokens: of a reason.
    """

    def __init__(self, llm: LanguageModel, fingerprint: str, *, max_tokens: int = REASON) -> None:
        self.llm, self.fingerprint, self.max_tokens = llm, fingerprint, max_tokens
        self.model = llm.name
        self._lock = threading.Lock()

    def about(self) -> dict[str, Any]:
        """All that a reply hangs on besides the question."""
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "quantization": self.llm.quantization,
            "temperature": 0.0,
            "max_tokens": self.max_tokens,
        }

    def ask(self, asked: Asked, *, repeat: int = 0) -> Reply:  # noqa: ARG002  # the likeliest answer is the same every time
        """The model's reply. Raises: TooLongError: the question does not fit its context."""
        start = time.monotonic()
        prompt = self.llm.chat(asked.system, [("user", asked.user)])
        # The system message is the same for all questions of a kind: its keys and values are computed once.
        cut = max(prompt.find(asked.user), 1)
        length = len(self.llm.encode(prompt)) + self.max_tokens + len(self.llm.encode(asked.opening + asked.closing()))
        if length > self.llm.context:
            raise TooLongError(f"a question of {length:,} tokens with its answer does not fit the {self.llm.context:,} of {self.model}")
        with self._lock:
            (written,) = self.llm.generate(prompt[:cut], [prompt[cut:] + asked.opening], max_new_tokens=self.max_tokens, until='"')
            reason = written.partition('"')[0].replace("\\", "").strip()
            answered = asked.opening + reason + asked.closing()
            likely = self._next(prompt + answered)
        probabilities = among(asked.labels, likely)
        chosen = max(probabilities, key=probabilities.__getitem__) if probabilities else None
        if chosen is not None:
            value: Any = int(chosen) if asked.numeric else chosen
            answered = json.dumps({"reason": reason, asked.key: value}, ensure_ascii=False)
        tokens = len(self.llm.encode(reason)) + 1
        return Reply(
            text=answered,
            finish="stop" if chosen else "length",
            chosen=chosen,
            probabilities=probabilities,
            prompt_tokens=length - self.max_tokens,
            completion_tokens=tokens,
            seconds=time.monotonic() - start,
        )

    def tokens(self, asked: Asked) -> int:
        """How many tokens a question has."""
        return len(self.llm.encode(self.llm.chat(asked.system, [("user", asked.user)]) + asked.opening + asked.closing()))

    def stop(self) -> None:
        """There is nothing to break off: a question takes seconds."""

    def close(self) -> None:
        """There is nothing to close."""

    def _next(self, text: str) -> dict[str, float]:
        """The likeliest tokens to follow a text, with their probabilities."""
        import torch

        ids = torch.tensor([self.llm.encode(text)], device=self.llm.device)  # (1, length)
        with torch.inference_mode(), self.llm.weights(adapter=False):
            logits = self.llm.model(ids, use_cache=False, logits_to_keep=1).logits[0, -1].float()  # (vocabulary,)
        likely, tokens = torch.softmax(logits, -1).topk(50)
        texts = [self.llm.tokenizer.decode([token]) for token in tokens.tolist()]
        found: dict[str, float] = {}
        for token, probability in zip(texts, likely.tolist(), strict=True):
            found[token] = found.get(token, 0.0) + probability
        return found
