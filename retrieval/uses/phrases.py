"""Mentions of uses in descriptions and reviews: noun phrases and activities behind "for", "during", "when", "take it ...".

Each mention keeps its sentence, verbatim. Patterns decide by the head of the noun phrase: "for camping weekends" is a use, "for garden
chairs" is none, since its head is a thing. Denied uses ("too small for hikes") are left out. Knows no items and no users.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .english import ENGLISH
from .language import UseKind, UseLanguage

LANGUAGES = (ENGLISH,)
"""Languages that uses can be mined in."""
MAX_SENTENCE_CHARS = 300
"""Longer sentences are lists of keywords, or have lost their full stops."""
MAX_PHRASE_WORDS = 5
USAGE_WINDOW = 6
"""Words before a preposition of place or time among which a review must have one about using the thing."""
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\s*(?:\n|<br\s*/?>|•)\s*")
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d[\w.,]*|[^\w\s]")


@dataclass(frozen=True, slots=True)
class UseMention:
    """A use that a sentence names.

    Attributes:
        name: The use as the sentence writes it, lower case, without articles and general adjectives: "camping weekends".
        key: Canonical words of the name.
        head: Canonical word of the head alone, where the head names a use too; equal to `key` without other words.
        head_name: The head as the sentence writes it.
        kind: Occasion, task, place, person or need.
        sentence: The sentence, verbatim.
    """

    name: str
    key: tuple[str, ...]
    head: tuple[str, ...] | None
    head_name: str
    kind: UseKind
    sentence: str


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, verbatim, without those that are longer than `MAX_SENTENCE_CHARS`."""
    parts = (part.strip() for part in _SENTENCE_END.split(text) if part)
    return [part for part in parts if part and len(part) <= MAX_SENTENCE_CHARS]


def mentions(sentence: str, language: UseLanguage = ENGLISH, *, review: bool = False, story: bool = False) -> list[UseMention]:
    """Return the uses that a sentence names, each once, in the order of the sentence.

    Args:
        sentence: One sentence.
        language: Language of the sentence.
        review: Whether it is from a review, which may tell a story: prepositions of place and time then need a word about using the thing
            shortly before them, and complaints do not count.
        story: Whether the item is a book, a film or a game, of whose content a review tells: only prepositions of purpose count, in
            sentences without words about the content.
    """
    tokens = [token.lower().replace("’", "'") for token in _TOKEN.findall(sentence)]
    distinct: dict[tuple[str, ...], UseMention] = {}
    if review and (
        (story and any(token in language.story for token in tokens))
        or not any(token in language.speakers for token in tokens)
        or any(token in language.complaints and following[0].isalpha() for token, following in pairwise(tokens))
    ):
        return []
    for mention in _Sentence(sentence, tokens, language, None if not review else 0 if story else USAGE_WINDOW).mentions():
        distinct.setdefault(mention.key, mention)
    return list(distinct.values())


def use_key(text: str, language: UseLanguage = ENGLISH) -> tuple[str, ...]:
    """Return the canonical words of the name of a use, without articles and general adjectives.

    Args:
        text: Name of a use, in any form: "a camping weekend".
        language: Language of the name.
    """
    words = [token.lower().replace("’", "'") for token in _TOKEN.findall(text)]
    return tuple(language.activities.get(word) or language.canonical(word) for word in words if word not in language.skipped)


def title_mentions(title: str, language: UseLanguage = ENGLISH) -> list[UseMention]:
    """Return the uses that a title names before a thing, as in "Camping Stove", or behind "for"; the title is the sentence.

    Args:
        title: Title of an item that is no book, film or game.
        language: Language of the title.
    """
    tokens = [token.lower().replace("’", "'") for token in _TOKEN.findall(title)]
    patterns = _Sentence(title, tokens, language, 0)
    found = [*patterns.compounds(), *(mention for mention in patterns.mentions() if mention.head == mention.key)]
    return list({mention.key: mention for mention in found}.values())


class _Sentence:
    """The tokens of a sentence with the patterns of its language."""

    def __init__(self, text: str, tokens: Sequence[str], language: UseLanguage, window: int | None) -> None:
        self.text, self.tokens, self.language, self.window = text, tokens, language, window

    def mentions(self) -> Iterator[UseMention]:
        """Yield the mentions of all patterns; the same use may occur twice."""
        language = self.language
        for index, token in enumerate(self.tokens):
            for words, name, kind in language.phrases_by_first_word.get(token, ()):
                if tuple(self.tokens[index : index + len(words)]) == words and self._ends(index + len(words)):
                    if not self._denied(index):
                        yield self._mention(name.split(), kind, alone=True)
                    break
            if token in language.conjunctions and not self._denied(index):
                yield from self._activity(index + 1)
            if token in language.companions and not self._denied(index):
                yield from self._companion(index + 1)
            kinds = {kind for kind, prepositions in language.prepositions.items() if token in prepositions}
            if kinds and (token in language.certain or self._about_usage(index)) and not self._denied(index):
                yield from self._enumeration(index + 1, kinds)

    def _denied(self, index: int) -> bool:
        """Whether one of the three words before a position denies what follows."""
        before = self.tokens[max(0, index - 3) : index]
        last = max((i for i, token in enumerate(before) if token in self.language.negations), default=-1)
        return last >= 0 and not any(token in self.language.affirmations for token in before[last:])

    def compounds(self) -> Iterator[UseMention]:
        """Yield the activities, occasions, places and persons before another noun of the title."""
        language = self.language
        for index, token in enumerate(self.tokens[:-1]):
            if self._ends(index + 1) or token in language.ambiguous or (index and self.tokens[index - 1] in language.negations):
                continue
            if token in language.activities:
                yield self._mention(language.activities[token].split(), "task", alone=True)
            elif (kind := language.kind_of_head.get(language.singular(token))) is not None:
                yield self._mention([token], kind, alone=True)

    def _about_usage(self, index: int) -> bool:
        """Whether a word about using the thing is near a position: before it in a review, anywhere in a description."""
        near = self.tokens if self.window is None else self.tokens[max(0, index - self.window) : index]
        return any(token in self.language.usage for token in near)

    def _activity(self, index: int) -> Iterator[UseMention]:
        """An activity after "when", "while" or "for", with or without a subject."""
        tokens, language = self.tokens, self.language
        if index < len(tokens) and tokens[index] in language.subjects:
            index += 1
        elif index and tokens[index - 1] not in ("when", "while") and index < len(tokens) and not tokens[index].endswith("ing"):
            return
        changed = index + 1 < len(tokens) and tokens[index + 1] in language.particles
        if index < len(tokens) and tokens[index] in language.activities and self._ends(index + 1) and not changed:
            yield self._mention(language.activities[tokens[index]].split(), "task", alone=True)

    def _companion(self, index: int) -> Iterator[UseMention]:
        """An activity within three words after "take" or "go": "take it camping"."""
        for position in range(index, min(index + 3, len(self.tokens))):
            token = self.tokens[position]
            if token.endswith("ing") and token in self.language.activities:
                yield self._mention(self.language.activities[token].split(), "task", alone=True)
                return

    def _enumeration(self, index: int, kinds: set[UseKind]) -> Iterator[UseMention]:
        """The noun phrases of "for gym, lake and youth hostel"."""
        while index < len(self.tokens):
            words, end = self._noun_phrase(index)
            mention = self._named(words, kinds)
            if mention is not None and self.tokens[end : end + 1] != ["of"]:
                yield mention
            if not words or end >= len(self.tokens) or self.tokens[end] not in self.language.separators:
                return
            while end < len(self.tokens) and self.tokens[end] in self.language.separators:
                end += 1
            index = end

    def _noun_phrase(self, start: int) -> tuple[list[str], int]:
        """The words of a noun phrase without those that are skipped, and the index after it."""
        words: list[str] = []
        index = start
        while index < len(self.tokens) and index - start < MAX_PHRASE_WORDS + 2:
            token = self.tokens[index]
            if token in self.language.skipped and not words:
                index += 1
                continue
            if not self._belongs(token) or (words and token in self.language.followers):
                break
            words.append(token)
            index += 1
        return words[:MAX_PHRASE_WORDS], index

    def _belongs(self, token: str) -> bool:
        return token[0].isalpha() and token not in self.language.function_words and token not in self.language.separators

    def _ends(self, index: int) -> bool:
        """Whether no noun follows at a position: "for camping." but not "for camping chairs"."""
        return index >= len(self.tokens) or not self._belongs(self.tokens[index]) or self.tokens[index] in self.language.followers

    def _named(self, words: list[str], kinds: set[UseKind]) -> UseMention | None:
        """The mention of a noun phrase whose head names a use of one of the kinds."""
        language = self.language
        if not words:
            return None
        activity = language.activities.get(words[-1])
        if activity is not None and "task" in kinds and len(words) == 1:
            return self._mention(activity.split(), "task", alone=True)
        if phrase := language.phrases.get(" ".join(words[-2:])):
            name, named = phrase
            return UseMention(name, tuple(name.split()), self._head(words[-1]), words[-1], named, self.text)
        noun = language.singular(words[-1])
        kind = language.kind_of_head.get(noun)
        if kind is not None and kind in kinds:
            return self._mention(words[-2:], kind, alone=len(words) == 1)
        kind = language.kind_of_modified_head.get(noun)
        if kind is not None and kind in kinds and len(words) > 1:
            before = words[-2]
            names_a_use = (
                language.singular(before) in language.kind_of_head or before in language.activities or before in language.modifiers
            )
            return self._mention(words[-2:], kind, alone=False, head=False) if names_a_use else None
        return None

    def _head(self, noun: str) -> tuple[str, ...] | None:
        """The canonical head of a fixed phrase, if it names a use alone."""
        return (self.language.canonical(noun),) if self.language.singular(noun) in self.language.kind_of_head else None

    def _mention(self, words: Sequence[str], kind: UseKind, *, alone: bool, head: bool = True) -> UseMention:
        key = tuple(self.language.canonical(word) for word in words)
        head_key = (key if alone else key[-1:]) if head else None
        return UseMention(" ".join(words), key, head_key, " ".join(words) if alone else words[-1], kind, self.text)
