"""The wordings that a model has drawn for kinds of reasons, kept for whoever asks next: in memory, in a file, and ready beside the adapter.

A wording has slots for all that a store fills, so it is true of any facts of its kind. Knows nothing of how one is drawn or filled.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...data.atomic_files import write_atomically

if TYPE_CHECKING:
    from .briefs import Tone
    from .constrained_decoding import Length
    from .reasons import Occasion

READY = "wordings.json"
"""Beside an adapter: wordings drawn from it beforehand and read by a person."""
VERSION = 3
"""Of the file, and of how wordings are drawn."""
KEPT = 10_000
"""Wordings that are kept, besides those that are ready."""
AGAIN = 1.0
"""Nats that a wording loses for every other of its kind that begins with the same three words: more than likelihood can make up for."""


class Kind(NamedTuple):
    """What a wording depends on: the slots that it fills, whether it may judge without "may", what it begins with, its tone and length."""

    slots: frozenset[str]
    firm: bool
    occasion: Occasion
    tone: Tone
    length: Length


Pair = tuple[Kind, int]
"""A kind, and the number of one of its wordings."""


class Wordings:
    """Wordings by kind and number; None where none that was drawn was good enough. `Wordings.open` reads them.

    Args: file: where those are kept that are drawn from now on, None for nowhere. adapter: SHA-256 of the weights that draw them.
        ready: that came with the adapter. drawn: that were drawn since.
    """

    def __init__(self, file: Path | None, adapter: str, ready: Mapping[Pair, str | None], drawn: Mapping[Pair, str | None]) -> None:
        self.file, self.adapter, self._ready = file, adapter, ready
        self._drawn = {pair: text for pair, text in drawn.items() if pair not in ready}
        self._struck: frozenset[str] = frozenset()

    @classmethod
    def open(cls, file: Path | None, adapter: str, ready: Path | None = None) -> Wordings:
        """Those of a file, and those that came with the adapter; none of either where it cannot be read, or is of another adapter."""
        return cls(file, adapter, _load(ready, adapter), _load(file, adapter))

    def __contains__(self, pair: Pair) -> bool:
        return pair in self._ready or pair in self._drawn

    def __iter__(self) -> Iterator[Pair]:
        yield from self._ready
        yield from self._drawn

    def items(self) -> Iterator[tuple[Pair, str | None]]:
        """All that there are, as of a mapping."""
        return ((pair, self.get(pair)) for pair in self)

    def get(self, pair: Pair) -> str | None:
        """The wording, None where none was drawn or none was good enough."""
        return self._ready[pair] if pair in self._ready else self._drawn.get(pair)

    def share(self, kind: Kind, numbers: Sequence[int], tries: Mapping[str, float]) -> None:
        """Gives each number the best of the tries that is unlike the kind's other wordings; None where there is none left.

        Args: tries: wording to its mean log-likelihood, nats.
        """
        struck = {_bare(text) for text in self._struck}
        others = [text for pair in self if pair[0] == kind and (text := self.get(pair))]
        for number in numbers:
            if self.get((kind, number)):
                continue
            known, starts = {*struck, *map(_bare, others)}, Counter(map(_start, others))
            left = {text: likelihood - AGAIN * starts[_start(text)] for text, likelihood in tries.items() if _bare(text) not in known}
            best = self._drawn[kind, number] = max(left, key=left.__getitem__, default=None)
            others += [best] if best else []
        for pair in [*self._drawn][: max(0, len(self._drawn) - KEPT)]:
            del self._drawn[pair]

    def strike(self, wordings: Collection[str]) -> None:
        """Takes out wordings, wherever they stand, for good: what they stood for is to be drawn again, and they are not kept then."""
        self._struck = frozenset(wordings)
        self._drawn = {pair: text for pair, text in self._drawn.items() if text not in self._struck}

    def save(self) -> None:
        """Keeps what was drawn for the next process, which would draw the same again; where the file cannot be written, it will."""
        if self.file is None:
            return
        told = [
            {**kind._asdict(), "slots": sorted(kind.slots), "number": number, "text": text} for (kind, number), text in self._drawn.items()
        ]
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in told)
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, f'{{"version": {VERSION}, "adapter": "{self.adapter}", "wordings": [\n{lines}\n]}}\n'.encode())


def _load(file: Path | None, adapter: str) -> dict[Pair, str | None]:
    if file is None:
        return {}
    try:
        told = json.loads(file.read_text("utf-8"))
        if (told["version"], told["adapter"]) != (VERSION, adapter):
            return {}
        return {
            (Kind(frozenset(one["slots"]), one["firm"], one["occasion"], one["tone"], one["length"]), one["number"]): one["text"]
            for one in told["wordings"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _start(wording: str) -> str:
    return " ".join(wording.split()[:3])


def _bare(wording: str) -> str:
    """A wording without what makes it no other: its punctuation, and whose a thing is said to be."""
    return re.sub(r"[^\w{}\s]", "", wording).casefold().replace("your {own}", "the {own}")
