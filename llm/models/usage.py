"""Counts what a language model reads and writes while one request is answered.

The counter belongs to the current context (a thread or a task), so that requests that are answered at the same time are counted apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class LLMUsage:
    """Work of language models during one request.

    Attributes:
        tokens_in: Tokens of the prompts of scored candidates; a prefix counts once for each pack, and not at all where it is cached.
        texts_generated: Texts that were generated, those included that a check then rejected.
    """

    tokens_in: int = 0
    texts_generated: int = 0


_current: ContextVar[LLMUsage | None] = ContextVar("llm_usage", default=None)


@contextmanager
def measure_usage() -> Iterator[LLMUsage]:
    """Count what models read and write within the block."""
    usage = LLMUsage()
    token = _current.set(usage)
    try:
        yield usage
    finally:
        _current.reset(token)


def record_usage(*, tokens_in: int = 0, texts_generated: int = 0) -> None:
    """Add to the counter of the current request, if it has one.

    Args:
        tokens_in: Tokens that a model reads.
        texts_generated: Texts that a model generates.
    """
    usage = _current.get()
    if usage is not None:
        usage.tokens_in += tokens_in
        usage.texts_generated += texts_generated
