"""What a model may write when it words a reason, token by token: joining words, punctuation, and the letters of slots.

Whatever it draws, the finished wording names the item and puts every fact it was given somewhere once, states nothing of its own, begins
its sentences with a capital letter, says "may" where the facts are weak, and tells nobody that they have what they only looked at. The
model still decides what is said when, and how.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from .slots import LETTERS, NAMES, QUOTED
from .vocabulary import DOUBTING, HEDGES, JOINING, NEGATIONS, OWNING, RESERVING, STORE, VOICES, WORDING

if TYPE_CHECKING:
    import torch

    from ..models.language_model import LanguageModel

Length = Literal["line", "paragraph", "bullets"]
MOST_TOKENS = {"line": 56, "paragraph": 90, "bullets": 80}
"""Of one wording."""
SENTENCES = {"line": 1, "paragraph": 3}
"""Of one wording at most, besides those that quotations end."""
_ARTICLES = ("the", "your")
_STOPS = (",", ";", ":", ".")
_BULLET = "\n-"


@dataclass(frozen=True, slots=True)
class Task:
    """What a wording is to be.

    Attributes: slots: that must each be written once. firm: whether the facts carry a judgement without "may". seen: whether the shopper
        only looked at the thing behind it. length: its form. free: whether a quotation may be announced in a sentence before its own, as
        some people do who write by hand; a model that does it loses the thread.
    """

    slots: frozenset[str]
    firm: bool
    seen: bool
    length: Length
    free: bool = False


Ids = tuple[int, ...]


class Units:
    """Texts that may be written as wholes, as a tree of token ids. Args: texts: each with what it means, one meaning per text."""

    def __init__(self, texts: Iterable[tuple[Ids, str]]) -> None:
        self.meaning = dict(texts)
        self._after: dict[Ids, set[int]] = {}
        for ids in self.meaning:
            for i, token in enumerate(ids):
                self._after.setdefault(ids[:i], set()).add(token)

    def after(self, ids: Ids) -> set[int]:
        """The tokens that may follow the beginning of a unit."""
        return self._after.get(ids, set())


class Alphabet:
    """Everything that may be written, as token ids: the same for all wordings of one model.

    Args: words: in small letters. encode: text to token ids. end: the token that ends an answer.
    """

    def __init__(self, words: Iterable[str], encode: Callable[[str], Sequence[int]], end: int) -> None:
        chosen = sorted(words)

        def units(shape: Callable[[str], str], among: Iterable[str]) -> Units:
            return Units((tuple(encode(shape(word))), word) for word in among)

        def capital(word: str) -> str:
            return word[:1].upper() + word[1:]

        self.end = end
        self.words = {
            (place, seen, quoting): units(
                shape, [word for word in chosen if not (seen and word in OWNING) and (quoting or word not in VOICES)]
            )
            for place, shape in (("first", capital), ("opening", lambda word: f" {capital(word)}"), ("inner", lambda word: f" {word}"))
            for seen in (False, True)
            for quoting in (False, True)
        }
        self.slots = {slot: (tuple(encode(letter)), tuple(encode(f" {letter}"))) for slot, letter in LETTERS.items()}
        self.stops = {stop: tuple(encode(stop)) for stop in (*_STOPS, _BULLET)}


def alphabet(llm: LanguageModel) -> Alphabet:
    """What a model may write by itself."""
    return Alphabet((JOINING | STORE | WORDING) - NEGATIONS, llm.encode, llm.tokenizer.eos_token_id)


def may_write(alphabet: Alphabet, task: Task, ids: Sequence[int]) -> bool:
    """Whether a whole answer could have been written."""
    writing = Writing(alphabet, task)
    for token in (*ids, alphabet.end):
        if token not in writing.allowed():
            return False
        writing.take(token)
    return True


@dataclass(frozen=True, slots=True)
class _Unit:
    kind: Literal["word", "slot", "stop", "end"]
    said: str


@dataclass
class Writing:
    """One wording on its way: which tokens may come next, given those that were written.

    Attributes: alphabet: see there. task: what it is to be. likelihood: of each token that was written, in nats, among all tokens.
    """

    alphabet: Alphabet
    task: Task
    likelihood: list[float] = field(default_factory=list)
    _before: _Unit | None = None
    _left: frozenset[str] = frozenset()
    _hedged: bool = False
    _sentences: int = 0
    _lines: int = 0
    _sentence: frozenset[str] = frozenset()
    _told: bool = False
    _ids: Ids = ()
    _tokens: int = 0

    def __post_init__(self) -> None:
        self._left, self._hedged = self.task.slots, self.task.firm

    @property
    def finished(self) -> bool:
        """Whether nothing more is to come."""
        return self._before is not None and self._before.kind == "end"

    def take(self, token: int) -> None:
        """Takes note of one more token, which must be one of those that `allowed` gave; after the end nothing changes any more."""
        if self.finished:
            return
        if token == self.alphabet.end:
            self._before, self._ids = _Unit("end", ""), ()
            return
        if self._ids and not any(token in units.after(self._ids) for units in self._open()):
            self._commit()
        self._ids = (*self._ids, token)
        self._tokens += 1

    def allowed(self) -> list[int]:
        """The ids of the tokens that may come next; none once it is finished or cannot be any more."""
        tokens: set[int] = set().union(*(units.after(self._ids) for units in self._open()))
        if self._ids and any(self._ids in units.meaning for units in self._open()):
            after = copy(self)
            after._commit()
            tokens = tokens.union(*(units.after(()) for units in after._open()))
        if self._tokens >= MOST_TOKENS[self.task.length]:
            tokens &= {self.alphabet.end}
        return sorted(tokens)

    def _commit(self) -> None:
        kind, said = next((kind, units.meaning[self._ids]) for kind, units in self._kinds() if self._ids in units.meaning)
        self._before, self._ids = _Unit(kind, said), ()
        if kind == "slot":
            self._left -= {said}
        ends = (kind == "stop" and said == ".") or (kind == "slot" and said in QUOTED)
        self._sentences += ends
        self._lines += kind == "stop" and said == _BULLET
        if ends or (kind == "stop" and said == _BULLET):
            self._sentence = frozenset()
        elif kind == "word":
            self._sentence |= {said}
        self._told = not ends and (self._told or kind == "slot")
        self._hedged |= kind == "word" and said in HEDGES

    def _open(self) -> list[Units]:
        return [units for _, units in self._kinds()]

    def _kinds(self) -> list[tuple[Literal["word", "slot", "stop", "end"], Units]]:
        """What may stand next, by kind."""
        before, alphabet = self._before, self.alphabet
        if before and before.kind == "end":
            return []
        quoted = before is not None and before.kind == "slot" and before.said in QUOTED
        article = before is not None and before.kind == "word" and before.said in _ARTICLES
        fresh = before is None or (before.kind == "stop" and before.said in (".", _BULLET)) or quoted
        place = "first" if before is None else "opening" if fresh else "inner"
        spoken = before is not None and before.kind == "slot" and not quoted  # two facts are joined by something
        slots = [slot for slot in self._left if self._may(slot, article)] if not spoken else []
        over = fresh and before is not None and before.said != _BULLET and not self._more()
        found: list[tuple[Literal["word", "slot", "stop", "end"], Units]] = [
            ("word", Units([]) if over else self._words(place)),
            ("slot", Units((alphabet.slots[slot][before is not None], slot) for slot in ([] if over else slots))),
        ]
        if before == _Unit("stop", _BULLET):
            found.append(("word", self._words("inner")))
        if before is not None and not article:
            stops = [] if before.kind == "stop" or quoted else list(_STOPS)
            # A sentence tells something, and the last one tells what is left.
            if self._sentence & VOICES and "." in stops and not self.task.free:
                stops.remove(".")
            if "." in stops and not (self._told and ((not self._left and self._listed()) or self._more(1))):
                stops.remove(".")
            if self.task.length == "bullets" and self._left - set(NAMES) and (before.kind != "stop" or before.said in (".", ":")):
                stops.append(_BULLET)
            found.append(("stop", Units((alphabet.stops[stop], stop) for stop in stops)))
            whole = quoted or before == _Unit("stop", ".") or (self.task.length == "bullets" and before.kind != "stop")
            if whole and self._listed() and not self._left and self._hedged:
                found.append(("end", Units([((alphabet.end,), "")])))
        return found

    def _listed(self) -> bool:
        """Whether what is to be a list has lines."""
        return self.task.length != "bullets" or self._lines >= min(2, len(self.task.slots - set(NAMES)))

    def _more(self, ending: int = 0) -> bool:
        """Whether one more sentence may begin. Args: ending: sentences that would have ended by then, besides those that have."""
        quotes = len(self.task.slots & set(QUOTED))
        return self.task.length != "bullets" and self._sentences + ending < SENTENCES[self.task.length] + quotes

    def _may(self, slot: str, article: bool) -> bool:
        """Whether a slot may stand next: names after an article, clauses and quotations not."""
        before = self._before
        if slot == "item":
            return (article and before is not None and before.said == "the") or (before is None and self.task.length == "bullets")
        if not self.task.free:
            if slot == "caution" and not self._sentence & RESERVING:
                return False
            if slot == "quote" and self._sentence & DOUBTING:
                return False
            if self._sentence & VOICES and slot not in (*NAMES, *QUOTED):
                return False
        return article if slot == "own" else not article

    def _words(self, place: str) -> Units:
        """The words that may stand next. Args: place: first, opening or inner."""
        return self.alphabet.words[place, self.task.seen, self.task.free or bool(self._left & set(QUOTED))]


def read(text: str, slots: Collection[str]) -> str:
    """What a model wrote, with `{slot}` for every letter. Args: slots: that the model was given."""
    import re

    letters = {LETTERS[slot]: slot for slot in slots}
    return re.sub(r"(?<!\w)([A-Z])(?![\w'’])", lambda found: f"{{{letters[found[1]]}}}" if found[1] in letters else found[1], text)


def draw(
    rows: Sequence[Writing], seeds: Sequence[int], end: int, temperature: float
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Scores by which greedy generation draws a wording per row from the model's own distribution over what is allowed.

    Args: seeds: one per row; the same seed words the same. end: the token that pads a finished row. temperature: 0 for the likeliest.
    """
    import torch

    def among(so_far: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        kept = torch.full_like(scores, float("-inf"))
        done = so_far.shape[1]
        for row, (writing, ids) in enumerate(zip(rows, so_far.tolist(), strict=True)):
            if done:
                writing.take(ids[-1])
            tokens = writing.allowed()
            if not tokens:  # finished, or nowhere to go: then it is nothing
                if not writing.finished:
                    writing.likelihood.append(float("-inf"))
                tokens = [end]
            own = torch.log_softmax(scores[row].float(), 0)[tokens]
            drawn = own
            if temperature > 0:
                drawn = own + torch.from_numpy(np.random.default_rng([seeds[row], done]).gumbel(size=len(tokens))).to(own) * temperature
            if not writing.finished:
                writing.likelihood.append(float(own[int(drawn.argmax())]))
            kept[row, tokens] = drawn.to(kept.dtype)
        return kept

    return among
