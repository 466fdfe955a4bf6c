"""Phrasings that a model chooses among, token by token: a small grammar as a tree of token ids.

A line of the grammar has alternatives in parentheses, `is worth (a look|having)`; all lines together are the phrasings. What a
model writes under it is always one of them, and which one is the model's own choice for the text before it.
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


def expand(line: str) -> list[str]:
    """All phrasings of a line.

    >>> expand("is (worth|good for) a (look|try)")
    ['is worth a look', 'is worth a try', 'is good for a look', 'is good for a try']
    """
    parts = _ALTERNATIVES.split(line)
    options = [[part] if i % 2 == 0 else part.split("|") for i, part in enumerate(parts)]
    return [" ".join("".join(chosen).split()) for chosen in itertools.product(*options)]


class Phrasings:
    """A set of texts as a tree of token ids.

    Args: texts: as they stand after the prompt, with whatever ends them. encode: text to token ids.
    """

    def __init__(self, texts: Iterable[str], encode: Callable[[str], Sequence[int]]) -> None:
        follow: dict[tuple[int, ...], set[int]] = {}
        for text in texts:
            ids = tuple(encode(text))
            for i, token in enumerate(ids):
                follow.setdefault(ids[:i], set()).add(token)
        self._follow = {prefix: sorted(tokens) for prefix, tokens in follow.items()}

    def after(self, prefix: Sequence[int]) -> list[int]:
        """The tokens that may follow; none once a phrasing is complete."""
        return self._follow.get(tuple(prefix), [])


def choose(
    rows: Sequence[Phrasings], keys: Sequence[str], end: int, temperature: float
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Scores by which greedy generation draws a phrasing per row from the model's own distribution.

    Greedy choice would word a whole list alike. The noise that makes it a draw (Gumbel, `temperature` 0 for none) comes from
    the row's key, so the same request is always worded the same.

    Args: rows: what each row chooses among. keys: what the draw of each row is seeded with. end: the token that pads a finished row.
    """
    import torch

    seeds = [int(hashlib.sha256(key.encode()).hexdigest()[:16], 16) for key in keys]

    def among(so_far: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        kept = torch.full_like(scores, float("-inf"))
        for row, (phrasings, done) in enumerate(zip(rows, so_far.tolist(), strict=True)):
            tokens = phrasings.after(done) or [end]
            noise = np.random.default_rng([seeds[row], len(done)]).gumbel(size=len(tokens)) * temperature
            own = torch.log_softmax(scores[row, tokens].float(), 0)
            kept[row, tokens] = (own + torch.from_numpy(noise).to(own)).to(kept.dtype)
        return kept

    return among
