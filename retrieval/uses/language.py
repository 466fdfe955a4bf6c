"""Language tables of use mining: the words by which a text says what a thing is for, and the choice of the table for a store.

A table is data: prepositions, heads of noun phrases, activities, negations. Another language needs another table in `LANGUAGES` of
`phrases.py` and no code, as long as its noun phrases end with their head. Does not know the patterns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

UseKind = Literal["occasion", "task", "place", "person", "need"]
MIN_FUNCTION_WORD_SHARE = 0.15
"""Share of a store's words that must be function words of a language: English texts have 0.3 to 0.5, others
below 0.08."""
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True)
class UseLanguage:
    """Words of one language by which uses are recognized; all lower case, singular or infinitive.

    Attributes:
        name: Name of the language.
        function_words: Words that end a noun phrase, and by which the language is recognized.
        skipped: Words inside a noun phrase that do not belong to the name: articles, possessives, general adjectives.
        prepositions: Prepositions that introduce uses of each kind.
        certain: Prepositions that state a purpose; the others only count in a sentence about using the thing.
        heads: Nouns that name a use of each kind alone.
        modified_heads: Nouns that name a use of each kind only with another word, such as "night" in "film night".
        modifiers: Words that may precede a head of `modified_heads` without being nouns, such as "dry" in "dry skin".
        activities: Verb forms to the name of the activity: "travel", "traveling" and "travelled" to "travelling".
        phrases: Fixed phrases, as the text has them, to (name, kind).
        subjects: Words that may be between a conjunction and a verb: "when *we* travel".
        conjunctions: Conjunctions before an activity: "when", "while".
        particles: Words after a verb that change its meaning: "run *out*".
        companions: Verbs before an activity without a preposition: "take it camping".
        negations: Words that deny a use that follows within three words, or turn it to the thing itself: "*unscrews* for cleaning".
        complaints: Words by which a sentence of a review does not count: "too" before an adjective, "unfortunately".
        affirmations: Words after a negation that take it back: "not *only* for".
        separators: Words that continue an enumeration.
        usage: Words of sentences about using a thing: "use", "wear", "perfect".
        speakers: Words of sentences about the writer, the reader or the thing, not about the persons of a story.
        story: Words of sentences about the content of a book, a film or a game.
        story_categories: Words in the names of categories of books, films, music and games, whose titles name no use.
        ambiguous: Words that often mean something else before a noun, so that a title does not name a use by them: "*flat* head".
        followers: Verbs and adverbs that may follow a noun phrase without belonging to it.
        plurals: Endings of plurals with those of their singular, longest first.
        irregular: Irregular plurals to their singular.
        synonyms: Singular to the singular of the same use: "vacation" to "holiday".
    """

    name: str
    function_words: frozenset[str]
    skipped: frozenset[str]
    prepositions: Mapping[UseKind, frozenset[str]]
    certain: frozenset[str]
    heads: Mapping[UseKind, frozenset[str]]
    modified_heads: Mapping[UseKind, frozenset[str]]
    modifiers: frozenset[str]
    activities: Mapping[str, str]
    phrases: Mapping[str, tuple[str, UseKind]]
    subjects: frozenset[str]
    conjunctions: frozenset[str]
    particles: frozenset[str]
    companions: frozenset[str]
    negations: frozenset[str]
    complaints: frozenset[str]
    affirmations: frozenset[str]
    separators: frozenset[str]
    usage: frozenset[str]
    speakers: frozenset[str]
    story: frozenset[str]
    story_categories: frozenset[str]
    ambiguous: frozenset[str]
    followers: frozenset[str]
    plurals: tuple[tuple[str, str], ...]
    irregular: Mapping[str, str]
    synonyms: Mapping[str, str]
    _singulars: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def singular(self, word: str) -> str:
        """Return the singular of a known noun, the word itself otherwise."""
        if word not in self._singulars:
            base = word.removesuffix("'s").removesuffix("'")
            forms = [base, self.irregular.get(base, base)]
            forms += [base.removesuffix(ending) + singular for ending, singular in self.plurals if base.endswith(ending)]
            self._singulars[word] = next((form for form in forms if form in self._nouns), forms[1])
        return self._singulars[word]

    def canonical(self, word: str) -> str:
        """Return the word that stands for all forms and synonyms of a word."""
        singular = self.singular(word)
        return self.synonyms.get(singular, singular)

    @cached_property
    def kind_of_head(self) -> dict[str, UseKind]:
        """Singular of a head that names a use alone, to its kind."""
        return {head: kind for kind, heads in self.heads.items() for head in heads}

    @cached_property
    def kind_of_modified_head(self) -> dict[str, UseKind]:
        """Singular of a head that needs another word, to its kind."""
        return {head: kind for kind, heads in self.modified_heads.items() for head in heads}

    @cached_property
    def _nouns(self) -> frozenset[str]:
        return frozenset(self.kind_of_head) | frozenset(self.kind_of_modified_head)

    @cached_property
    def phrases_by_first_word(self) -> dict[str, list[tuple[tuple[str, ...], str, UseKind]]]:
        """First word of a fixed phrase to (words, name, kind), longest first."""
        by_first: dict[str, list[tuple[tuple[str, ...], str, UseKind]]] = {}
        for phrase, (name, kind) in self.phrases.items():
            words = tuple(phrase.split())
            by_first.setdefault(words[0], []).append((words, name, kind))
        return {first: sorted(listed, key=lambda entry: -len(entry[0])) for first, listed in by_first.items()}

    def share(self, texts: Iterable[str]) -> float:
        """Return the share of the words of some texts that are function words of the language, 0 to 1; 0 without words."""
        words = [word for text in texts for word in _WORD.findall(text.lower())]
        return sum(word in self.function_words for word in words) / len(words) if words else 0.0


def language_of(texts: Sequence[str], languages: Sequence[UseLanguage]) -> UseLanguage | None:
    """Return the language of a store's texts; None if it is none of these.

    Args:
        texts: A sample of descriptions and reviews.
        languages: Language tables to choose from.
    """
    best = max(languages, key=lambda language: language.share(texts))
    return best if best.share(texts) >= MIN_FUNCTION_WORD_SHARE else None
