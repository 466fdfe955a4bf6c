"""A local model as a chat model: it generates the reason, and the choice is read from its next-token probabilities.

The form of the answer is written for the model, so that small models keep to it: the model writes the reason, then the probabilities of
the labels are read after the key of the choice. If the labels are unlikely in total, the response has no choice and counts as truncated.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from typing import Any

from ...data.errors import TooLongError
from ..models.language_model import LanguageModel
from .messages import ChatRequest, ChatResponse, normalized_label_probabilities

MAX_REASON_TOKENS = 60
_TOP_TOKENS = 50
"""Number of most likely tokens in which the labels are looked up."""


class LocalChatModel:
    """A loaded language model that answers chat requests, one at a time: threads share its compute.

    Args:
        llm: The model.
        fingerprint: SHA-256 of its weights, or its id.
        max_tokens: Maximum length of a reason.
    """

    def __init__(self, llm: LanguageModel, fingerprint: str, *, max_tokens: int = MAX_REASON_TOKENS) -> None:
        self.llm, self.fingerprint, self.max_tokens = llm, fingerprint, max_tokens
        self.model = llm.name
        self._lock = threading.Lock()

    def about(self) -> dict[str, Any]:
        """Return everything besides the request that a response depends on."""
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "quantization": self.llm.quantization,
            "temperature": 0.0,
            "max_tokens": self.max_tokens,
        }

    def ask(self, request: ChatRequest, *, repeat: int = 0) -> ChatResponse:  # noqa: ARG002  # greedy decoding repeats itself
        """Return the model's response.

        Raises:
            TooLongError: The request does not fit the model's context.
        """
        start = time.monotonic()
        prompt = self.llm.chat_prompt(request.system, [("user", request.user)])
        # The system message is the same for all requests of a kind: its keys and values are cached as the prefix.
        cut = max(prompt.find(request.user), 1)
        length = len(self.llm.encode(prompt)) + self.max_tokens + len(self.llm.encode(request.answer_prefix + request.choice_prefix()))
        if length > self.llm.context:
            raise TooLongError(
                f"a request of {length:,} tokens with its answer does not fit the context of {self.model}, {self.llm.context:,} tokens"
            )
        with self._lock:
            (continuation,) = self.llm.generate(
                prompt[:cut], [prompt[cut:] + request.answer_prefix], max_new_tokens=self.max_tokens, stop_text='"'
            )
            reason = continuation.partition('"')[0].replace("\\", "").strip()
            answer = request.answer_prefix + reason + request.choice_prefix()
            token_probabilities = self._next_token_probabilities(prompt + answer)
        probabilities = normalized_label_probabilities(request.labels, token_probabilities)
        chosen = max(probabilities, key=probabilities.__getitem__) if probabilities else None
        if chosen is not None:
            value: Any = int(chosen) if request.numeric else chosen
            answer = json.dumps({"reason": reason, request.key: value}, ensure_ascii=False)
        return ChatResponse(
            text=answer,
            finish="stop" if chosen else "length",
            chosen=chosen,
            probabilities=probabilities,
            prompt_tokens=length - self.max_tokens,
            completion_tokens=len(self.llm.encode(reason)) + 1,
            seconds=time.monotonic() - start,
        )

    def tokens(self, request: ChatRequest) -> int:
        """Return the number of prompt tokens of a request."""
        prompt = self.llm.chat_prompt(request.system, [("user", request.user)])
        return len(self.llm.encode(prompt + request.answer_prefix + request.choice_prefix()))

    def stop(self) -> None:
        """Do nothing: a request takes seconds and is not interrupted."""

    def close(self) -> None:
        """Do nothing: no connections are held."""

    def _next_token_probabilities(self, text: str) -> dict[str, float]:
        """Return the most likely next tokens of a text with their probabilities."""
        import torch

        ids = torch.tensor([self.llm.encode(text)], device=self.llm.device)  # (1, length)
        with torch.inference_mode(), self.llm.use_adapter(adapter=False):
            logits = self.llm.model(ids, use_cache=False, logits_to_keep=1).logits[0, -1].float()  # (vocabulary,)
        top, tokens = torch.softmax(logits, -1).topk(_TOP_TOKENS)
        probabilities: defaultdict[str, float] = defaultdict(float)  # different tokens may decode to the same text
        for token, probability in zip(tokens.tolist(), top.tolist(), strict=True):
            probabilities[self.llm.tokenizer.decode([token])] += probability
        return probabilities
