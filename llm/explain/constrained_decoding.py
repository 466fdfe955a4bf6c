"""Constrained decoding of a wording, token by token: joining words, punctuation and slot letters.

Whatever the model samples, the finished wording names the item, contains each given fact once, states no facts of its own, begins its
sentences with a capital letter, hedges weak facts, and does not claim that shoppers own what they only viewed. The model decides the
order of the facts and the words between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from .slots import NAME_SLOTS, QUOTE_SLOTS, SLOT_LETTERS
from .vocabulary import (
    ATTRIBUTION_WORDS,
    COMMENTING_WORDS,
    COMPLAINT_WORDS,
    CONCESSION_WORDS,
    HEDGE_WORDS,
    JOINING_WORDS,
    NEGATION_WORDS,
    OWNERSHIP_WORDS,
    STORE_WORDS,
)

if TYPE_CHECKING:
    import torch

    from ..models.language_model import LanguageModel

Length = Literal["line", "paragraph", "bullets"]
MAX_TOKENS = {"line": 56, "paragraph": 90, "bullets": 80}
"""Maximum length of a wording."""
MAX_SENTENCES = {"line": 2, "paragraph": 3, "bullets": 1}
"""Maximum number of sentences of a wording, before the first bullet of a list, not counting those that end with a quote."""
_ARTICLES = ("the", "your")
_SENTENCE_ENDS = (".", "?")
_STOPS = (",", ";", ":", *_SENTENCE_ENDS)
_BULLET = "\n-"


@dataclass(frozen=True, slots=True)
class WordingConstraints:
    """Constraints on one wording.

    Attributes:
        slots: Slots that must each be written once.
        confident: Whether the facts support a judgement without "may".
        anchor_only_viewed: Whether the shopper only viewed the anchor.
        length: Form of the wording.
        relaxed: Whether a quote may be introduced in an earlier sentence, as some handwritten wordings do. A model that does so loses
            track of the quote.
    """

    slots: frozenset[str]
    confident: bool
    anchor_only_viewed: bool
    length: Length
    relaxed: bool = False


Ids = tuple[int, ...]


class TokenTrie:
    """A trie of token ids.

    Args:
        entries: (token ids, value) pairs.

    Attributes:
        values: Value of each complete sequence of token ids.
    """

    def __init__(self, entries: Iterable[tuple[Ids, str]]) -> None:
        self.values = dict(entries)
        self._children: dict[Ids, set[int]] = {}
        for ids in self.values:
            for i, token in enumerate(ids):
                self._children.setdefault(ids[:i], set()).add(token)

    def next_tokens(self, prefix: Ids) -> set[int]:
        """Return the tokens that may follow a prefix."""
        return self._children.get(prefix, set())


class TokenVocabulary:
    """Token ids of all words, slots and punctuation of a model.

    Args:
        words: The words, in lower case.
        encode: Maps a text to token ids.
        end: The end-of-sequence token.

    Attributes:
        end: The end-of-sequence token.
        words: Trie of the words by position (first, opening or inner), whether the anchor was only viewed, and whether a quote may follow.
        slots: Token ids of each slot's letter at the start of the text and elsewhere.
        stops: Token ids of each punctuation mark.
    """

    def __init__(self, words: Iterable[str], encode: Callable[[str], Sequence[int]], end: int) -> None:
        ordered = sorted(words)

        def trie(spelling: Callable[[str], str], members: Iterable[str]) -> TokenTrie:
            return TokenTrie((tuple(encode(spelling(word))), word) for word in members)

        def capitalized(word: str) -> str:
            return word[:1].upper() + word[1:]

        spellings: dict[str, Callable[[str], str]] = {
            "first": capitalized,
            "opening": lambda word: f" {capitalized(word)}",
            "inner": lambda word: f" {word}",
        }
        self.end = end
        self.words = {
            (position, viewed, quoting): trie(
                spelling,
                [word for word in ordered if not (viewed and word in OWNERSHIP_WORDS) and (quoting or word not in ATTRIBUTION_WORDS)],
            )
            for position, spelling in spellings.items()
            for viewed in (False, True)
            for quoting in (False, True)
        }
        self.slots = {slot: (tuple(encode(letter)), tuple(encode(f" {letter}"))) for slot, letter in SLOT_LETTERS.items()}
        self.stops = {stop: tuple(encode(stop)) for stop in (*_STOPS, _BULLET)}


def token_vocabulary(llm: LanguageModel) -> TokenVocabulary:
    """Return the vocabulary of explanations for a model."""
    return TokenVocabulary((JOINING_WORDS | STORE_WORDS | COMMENTING_WORDS) - NEGATION_WORDS, llm.encode, llm.tokenizer.eos_token_id)


def is_decodable(vocabulary: TokenVocabulary, constraints: WordingConstraints, ids: Sequence[int]) -> bool:
    """Whether the decoder can generate a complete answer."""
    decoder = ConstrainedDecoder(vocabulary, constraints)
    for token in (*ids, vocabulary.end):
        if token not in decoder.allowed_tokens():
            return False
        decoder.append(token)
    return True


_Kind = Literal["word", "slot", "stop", "end"]


@dataclass(frozen=True, slots=True)
class _Unit:
    """A complete word, slot or punctuation mark, or the end."""

    kind: _Kind
    value: str


@dataclass
class ConstrainedDecoder:
    """State of one wording: the tokens that may come next, given those that were written.

    Attributes:
        vocabulary: The vocabulary of the model.
        constraints: Constraints on the wording.
        log_likelihoods: Log-probability of each written token among all allowed and disallowed tokens, in nats.
    """

    vocabulary: TokenVocabulary
    constraints: WordingConstraints
    log_likelihoods: list[float] = field(default_factory=list)
    _previous: _Unit | None = None
    _remaining: frozenset[str] = frozenset()
    """Slots that are not written yet."""
    _hedged: bool = False
    _sentences: int = 0
    _bullets: int = 0
    _sentence_words: frozenset[str] = frozenset()
    """Words of the current sentence."""
    _has_slot: bool = False
    """Whether the current sentence contains a slot."""
    _ids: Ids = ()
    """Tokens of the current unit."""
    _length: int = 0

    def __post_init__(self) -> None:
        self._remaining, self._hedged = self.constraints.slots, self.constraints.confident

    @property
    def finished(self) -> bool:
        """Whether the end was written."""
        return self._previous is not None and self._previous.kind == "end"

    def append(self, token: int) -> None:
        """Record one more token, which must be one of `allowed_tokens`. No effect once the wording is finished."""
        if self.finished:
            return
        if token == self.vocabulary.end:
            self._previous, self._ids = _Unit("end", ""), ()
            return
        if self._ids and not any(token in trie.next_tokens(self._ids) for trie in self._tries()):
            self._complete_unit()
        self._ids = (*self._ids, token)
        self._length += 1

    def allowed_tokens(self) -> list[int]:
        """Return the ids of the tokens that may come next; an empty list if the wording is finished or cannot be completed."""
        tokens: set[int] = set().union(*(trie.next_tokens(self._ids) for trie in self._tries()))
        if self._ids and any(self._ids in trie.values for trie in self._tries()):
            following = copy(self)
            following._complete_unit()
            tokens = tokens.union(*(trie.next_tokens(()) for trie in following._tries()))
        if self._length >= MAX_TOKENS[self.constraints.length]:
            tokens &= {self.vocabulary.end}
        return sorted(tokens)

    def _complete_unit(self) -> None:
        kind, value = next((kind, trie.values[self._ids]) for kind, trie in self._options() if self._ids in trie.values)
        self._previous, self._ids = _Unit(kind, value), ()
        if kind == "slot":
            self._remaining -= {value}
        sentence_ends = (kind == "stop" and value in _SENTENCE_ENDS) or (kind == "slot" and value in QUOTE_SLOTS)
        self._sentences += sentence_ends
        self._bullets += kind == "stop" and value == _BULLET
        if sentence_ends or (kind == "stop" and value == _BULLET):
            self._sentence_words = frozenset()
        elif kind == "word":
            self._sentence_words |= {value}
        self._has_slot = not sentence_ends and (self._has_slot or kind == "slot")
        self._hedged |= kind == "word" and value in HEDGE_WORDS

    def _tries(self) -> list[TokenTrie]:
        return [trie for _, trie in self._options()]

    def _options(self) -> list[tuple[_Kind, TokenTrie]]:
        """Return the units that may come next, by kind."""
        previous, vocabulary = self._previous, self.vocabulary
        if previous and previous.kind == "end":
            return []
        after_quote = previous is not None and previous.kind == "slot" and previous.value in QUOTE_SLOTS
        after_article = previous is not None and previous.kind == "word" and previous.value in _ARTICLES
        sentence_start = previous is None or (previous.kind == "stop" and previous.value in (*_SENTENCE_ENDS, _BULLET)) or after_quote
        position = "first" if previous is None else "opening" if sentence_start else "inner"
        after_slot = previous is not None and previous.kind == "slot" and not after_quote  # two slots need a word or stop between them
        slots = [slot for slot in self._remaining if self._slot_fits(slot, after_article)] if not after_slot else []
        text_full = sentence_start and previous is not None and previous.value != _BULLET
        text_full = text_full and (not self._remaining or not self._may_add_sentence())
        options: list[tuple[_Kind, TokenTrie]] = [
            ("word", TokenTrie([]) if text_full else self._words(position)),
            ("slot", TokenTrie((vocabulary.slots[slot][previous is not None], slot) for slot in ([] if text_full else slots))),
        ]
        if previous == _Unit("stop", _BULLET):
            options.append(("word", self._words("inner")))
        if previous is not None and not after_article:
            stops = [] if previous.kind == "stop" or after_quote else list(_STOPS)
            # A sentence contains a fact, and the last sentence contains all remaining ones.
            attributes = self._sentence_words & ATTRIBUTION_WORDS and not self.constraints.relaxed
            is_complete = not self._remaining and self._has_bullets()
            is_list = self.constraints.length == "bullets"
            may_follow = self._may_add_sentence(1)
            if attributes or not self._has_slot or not (is_complete or may_follow):
                stops = [stop for stop in stops if stop != "."]
            if attributes or not self._has_slot or not self._remaining - set(NAME_SLOTS) or not may_follow:
                stops = [stop for stop in stops if stop != "?"]  # a fact follows a question
            if is_list and self._remaining - set(NAME_SLOTS) and (previous.kind != "stop" or previous.value in (*_SENTENCE_ENDS, ":")):
                stops.append(_BULLET)
            options.append(("stop", TokenTrie((vocabulary.stops[stop], stop) for stop in stops)))
            may_end = after_quote or previous == _Unit("stop", ".") or (is_list and previous.kind != "stop")
            if may_end and self._has_bullets() and not self._remaining and self._hedged:
                options.append(("end", TokenTrie([((vocabulary.end,), "")])))
        return options

    def _has_bullets(self) -> bool:
        """Whether a list has enough bullets; True for other forms."""
        return self.constraints.length != "bullets" or self._bullets >= min(2, len(self.constraints.slots - set(NAME_SLOTS)))

    def _may_add_sentence(self, ending: int = 0) -> bool:
        """Whether one more sentence may begin. Args: ending: sentences that end before it, besides those that have ended."""
        if self.constraints.length == "bullets":
            return not self._bullets and self._sentences + ending <= MAX_SENTENCES["bullets"]
        quotes = len(self.constraints.slots & set(QUOTE_SLOTS))
        return self._sentences + ending < MAX_SENTENCES[self.constraints.length] + quotes

    def _slot_fits(self, slot: str, after_article: bool) -> bool:
        """Whether a slot may come next: names follow an article, clauses and quotes do not."""
        previous = self._previous
        if slot == "item":
            after_the = after_article and previous is not None and previous.value == "the"
            return after_the or (previous is None and self.constraints.length == "bullets")
        if not self.constraints.relaxed:
            if slot == "caution" and not self._sentence_words & CONCESSION_WORDS:
                return False
            if slot == "quote" and self._sentence_words & COMPLAINT_WORDS:
                return False
            if self._sentence_words & ATTRIBUTION_WORDS and slot not in (*NAME_SLOTS, *QUOTE_SLOTS):
                return False
        return after_article if slot == "own" else not after_article

    def _words(self, position: str) -> TokenTrie:
        """Return the words that may come next. Args: position: first, opening or inner."""
        may_quote = self.constraints.relaxed or bool(self._remaining & set(QUOTE_SLOTS))
        return self.vocabulary.words[position, self.constraints.anchor_only_viewed, may_quote]


def restore_slots(text: str, slots: Collection[str]) -> str:
    """Return a generated text with `{slot}` for every letter of the given slots."""
    letters = {SLOT_LETTERS[slot]: slot for slot in slots}
    return re.sub(r"(?<!\w)([A-Z])(?![\w'’])", lambda match: f"{{{letters[match[1]]}}}" if match[1] in letters else match[1], text)


def constrained_sampler(
    decoders: Sequence[ConstrainedDecoder], seeds: Sequence[int], end: int, temperature: float
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a logits processor with which greedy generation samples a wording per row from the model's distribution over allowed tokens.

    Args:
        decoders: Decoder of each row.
        seeds: Seed of each row; the same seed gives the same wording.
        end: Token that pads a finished row.
        temperature: Scale of the Gumbel noise; 0 for the most likely tokens.
    """
    import torch

    def process_logits(generated: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        constrained = torch.full_like(logits, float("-inf"))
        step = generated.shape[1]
        for row, (decoder, ids) in enumerate(zip(decoders, generated.tolist(), strict=True)):
            if step:
                decoder.append(ids[-1])
            tokens = decoder.allowed_tokens()
            if not tokens:  # finished, or a dead end, which makes the wording unusable
                if not decoder.finished:
                    decoder.log_likelihoods.append(float("-inf"))
                tokens = [end]
            log_probabilities = torch.log_softmax(logits[row].float(), 0)[tokens]
            sampled = log_probabilities
            if temperature > 0:
                noise = np.random.default_rng([seeds[row], step]).gumbel(size=len(tokens))
                sampled = log_probabilities + torch.from_numpy(noise).to(log_probabilities) * temperature
            if not decoder.finished:
                decoder.log_likelihoods.append(float(log_probabilities[int(sampled.argmax())]))
            constrained[row, tokens] = sampled.to(constrained.dtype)
        return constrained

    return process_logits
