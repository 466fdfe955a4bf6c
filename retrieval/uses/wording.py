"""A use as the object of "for" in an English sentence: "camping", "a first flat", "the garden", "use at night"."""

from __future__ import annotations

from typing import Protocol

from .english import ENGLISH


class NamedUse(Protocol):
    """A use."""

    @property
    def name(self) -> str:
        """Its name, as the texts write it."""

    @property
    def kind(self) -> str:
        """Occasion, task, place, person or need."""


_WITHOUT_ARTICLE = frozenset(
    "winter summer spring autumn fall rain snow christmas halloween easter thanksgiving hanukkah school kindergarten preschool college "
    "nursery-school daycare church pregnancy postpartum surgery recovery bedtime bathtime naptime mealtime storytime playtime lunchtime "
    "dinner breakfast lunch supper brunch travel prom".split()
)
"""Last words of names that stand without an article though they are singular."""
_CAPITALIZED = frozenset("christmas halloween easter thanksgiving hanukkah valentine".split())
"""Words that English writes with a capital letter; names are in lower case."""
_PREPOSITIONS = frozenset("at in on by".split())
_ARTICLES = frozenset("a an the".split())


def use_phrase(use: NamedUse) -> str:
    """Return the name of a use with the article that it takes behind "for".

    Places take "the", occasions and persons "a"; plurals, activities and needs take none.
    """
    words = use.name.split()
    name = " ".join(word.capitalize() if word in _CAPITALIZED else word for word in words)
    if words[0] in _PREPOSITIONS:
        return f"use {name}"
    last = words[-1]
    is_plural = ENGLISH.singular(last) != last
    if words[0] in _ARTICLES or is_plural or last in _WITHOUT_ARTICLE or use.kind in ("task", "need"):
        return name
    return f"the {name}" if use.kind == "place" else f"{'an' if name[:1].lower() in tuple('aeiou') else 'a'} {name}"
