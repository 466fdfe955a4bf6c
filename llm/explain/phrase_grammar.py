"""Phrases that a model chooses among, token by token: a small grammar as a trie of token ids.

A line of the grammar has alternatives in parentheses, `is worth (a look|having)`; the phrases are those of all lines. Generation is
constrained to the trie, so the output is always one of the phrases, chosen by the model's probabilities given the preceding text.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_ALTERNATIVES = re.compile(r"\(([^()]*)\)")


def expand_alternatives(line: str) -> list[str]:
    """Return all phrases of a line.

    >>> expand_alternatives("is (worth|good for) a (look|try)")
    ['is worth a look', 'is worth a try', 'is good for a look', 'is good for a try']
    """
    parts = _ALTERNATIVES.split(line)
    options = [[part] if i % 2 == 0 else part.split("|") for i, part in enumerate(parts)]
    return [" ".join("".join(choice).split()) for choice in itertools.product(*options)]


class PhraseTrie:
    """A set of texts as a trie of token ids.

    Args:
        texts: Texts as they follow the prompt, including the text that ends them.
        encode: Maps a text to token ids.
    """

    def __init__(self, texts: Iterable[str], encode: Callable[[str], Sequence[int]]) -> None:
        children: dict[tuple[int, ...], set[int]] = {}
        for text in texts:
            ids = tuple(encode(text))
            for i, token in enumerate(ids):
                children.setdefault(ids[:i], set()).add(token)
        self._children = {prefix: sorted(tokens) for prefix, tokens in children.items()}

    def next_tokens(self, prefix: Sequence[int]) -> list[int]:
        """Return the tokens that may follow; an empty list once a phrase is complete."""
        return self._children.get(tuple(prefix), [])


def phrase_sampler(
    rows: Sequence[PhraseTrie], keys: Sequence[str], end: int, temperature: float
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a logits processor with which greedy generation samples a phrase per row from the model's distribution.

    Pure greedy decoding would word all items of a list alike. The Gumbel noise is seeded with the row's key, so the same request always
    gets the same wording.

    Args:
        rows: Phrases of each row.
        keys: Seed of each row.
        end: Token that pads a finished row.
        temperature: Scale of the noise; 0 for the most likely phrase.
    """
    import torch

    seeds = [int(hashlib.sha256(key.encode()).hexdigest()[:16], 16) for key in keys]

    def process_logits(generated: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        constrained = torch.full_like(logits, float("-inf"))
        for row, (phrases, ids) in enumerate(zip(rows, generated.tolist(), strict=True)):
            tokens = phrases.next_tokens(ids) or [end]
            noise = np.random.default_rng([seeds[row], len(ids)]).gumbel(size=len(tokens)) * temperature
            log_probabilities = torch.log_softmax(logits[row, tokens].float(), 0)
            constrained[row, tokens] = (log_probabilities + torch.from_numpy(noise).to(log_probabilities)).to(constrained.dtype)
        return constrained

    return process_logits
