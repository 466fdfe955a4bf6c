"""Entity linking: the category, brand, item, use or similar items that a name in a question means in one store.

A name is matched as it is, then in singular and plural, then as the head of a longer category name or as words of a single title, then as a
use, then with a spelling mistake, and last by meaning. Case, accents, punctuation, `&` for and, and a leading "the" make no difference.
The thresholds are measured with the bundled embedder. Of users it knows only how many each item has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....data.errors import QueryError
from ....retrieval.items.catalogue import Catalogue
from .grammar import quoted
from .meanings import Choice, Meaning, NameSense
from .name_matching import STOP_WORDS, normalize_name, singular, without_generic_words, word_stem
from .query_tree import QueryNode, Term, satisfiable, terms
from .store_names import StoreNames
from .use_names import UseNames

if TYPE_CHECKING:
    from numpy.typing import NDArray

NearestItems = Callable[[str], "tuple[NDArray[np.int64], NDArray[np.float32]]"]
"""Item rows and cosines nearest to a text, best first; a few hundred are enough."""

SPELLING_CUTOFF = 0.85
"""Minimum similarity of a name to count as misspelled, from 0 to 1 (see `NameIndex.similar`)."""
HINT_CUTOFF = 0.6
"""Minimum similarity of a name that an error message suggests; below it, unrelated words such as "unicorn" and "running" are similar."""
COSINE_ALL_WORDS, COSINE_NO_WORDS, COSINE_UNKNOWN_WORDS = 0.2, 0.4, 0.5
"""Minimum cosine of an item that a free text means: if its title and category path have all words of the text that the store knows; if they
have none of them; if the store knows no word of the text. Between the first two by the rarity of the words. Cosines alone do not separate
sense from nonsense: with the bundled embedder "people who started running" has 0.31 with the best running item of the demo store, and
"flurbnax" 0.31 with an edge guard. Of 300 made-up words and letter strings these thresholds find something for none in the demo store (382
items) and for 6 among 3,228 real products."""
MAX_TEXT_ITEMS = 50
"""Maximum number of items that a free text means."""
MAX_CHOICES = 8
"""Maximum number of other meanings listed for a name."""


class EntityLinker:
    """Resolves names of a question to items of a store.

    Args:
        nearest_items: Called only for a text that matches no name.
        uses: Names of the store's uses.

    Attributes:
        catalogue: Items of the store.
        names: Names of the store.
    """

    def __init__(self, catalogue: Catalogue, nearest_items: NearestItems, uses: UseNames | None = None) -> None:
        self.catalogue, self.names, self._nearest_items = catalogue, StoreNames(catalogue), nearest_items
        self._uses = uses or UseNames()

    def is_name(self, text: str) -> bool:
        """Whether the words are a name of the store as they are (see `StoreNames.is_name`)."""
        return self.names.is_name(text)

    def resolve(self, term: Term) -> Meaning:
        """Return the meaning of a name.

        Raises:
            QueryError: No name matches and no item is near in meaning; the message lists the nearest names.
        """
        normalized = normalize_name(term.text)
        if term.kind != "text" and normalized:
            for match in (self._equal, self._contained):
                if senses := match(term, normalized):
                    return self._meaning(senses)
            if term.kind in (None, "use") and (use := self._uses.meaning(term.text)):
                return use
            if senses := self._misspelled(term, normalized):
                return self._meaning(senses)
        if term.kind in (None, "text") and normalized:
            mask = self._near_in_meaning(term.text, normalized)
            if mask.any():
                return Meaning("text", term.text, mask, "meaning", self._named_in(normalized) if term.kind is None else ())
        if term.kind == "use":
            raise QueryError(f"no use is called {quoted(term.text)}; `crossaisle uses` lists the uses of a store")
        if term.kind in (None, "text"):
            problem = "nothing in this store is called or comes near in meaning to"
        else:
            problem = f"no {term.kind} is called"
        raise QueryError(f"{problem} {quoted(term.text)}; {self._hint(term, normalized)}")

    def resolve_all(self, tree: QueryNode) -> dict[Term, Meaning]:
        """Return the meaning of every name of a question, left to right.

        Raises:
            QueryError: A name means nothing here, or the question rules out all that it wants; the message has what was understood.
        """
        meanings: dict[Term, Meaning] = {}
        for term in terms(tree):
            try:
                meanings.setdefault(term, meanings[term] if term in meanings else self.resolve(term))
            except QueryError as error:
                raise QueryError(f"{error}{f' (understood: {_summary(meanings)})' if meanings else ''}") from None
        implications = [
            (narrow, broad)
            for narrow in meanings
            for broad in meanings
            if narrow != broad and not (meanings[narrow].item_mask & ~meanings[broad].item_mask).any()
        ]
        if implications and not satisfiable(tree, implications):
            raise QueryError(
                f"the question contradicts itself: what it rules out holds all that it wants, so nobody can match "
                f"(understood: {_summary(meanings)}); take one of the names out"
            )
        return meanings

    # ------------------------------------------------------------------ matching, one method a kind of match; [] without a match

    def _equal(self, term: Term, normalized: str) -> list[NameSense]:
        senses = [
            self.names.sense(source, number, match)
            for source in self.names.sources(term.kind)
            for number, match in self.names.indexes[source].lookup(normalized)
        ]
        row = self.names.row_of_id(term.text) if term.kind in (None, "item") else None
        senses += [self.names.sense("id", row, "exact")] if row is not None else []
        # A category below another one of the same name is part of it, not another meaning.
        nodes = {sense.number for sense in senses if sense.source == "category"}
        senses = [sense for sense in senses if sense.source != "category" or not nodes.intersection(self.names.ancestors(sense.number))]
        order = {"category": 0, "brand": 0, "id": 1, "title": 2}
        return sorted(
            senses,
            key=lambda sense: (sense.match != "exact", order[sense.source], -sense.users, sense.source != "category", sense.number),
        )

    def _contained(self, term: Term, normalized: str) -> list[NameSense]:
        senses: list[NameSense] = []
        words = normalized.split()
        if term.kind in (None, "category"):
            head = " ".join(without_generic_words(singular(word) for word in words))
            senses = [
                self.names.sense("category", node, "inside the name", other_words) for other_words, node in self.names.heads.get(head, ())
            ]
        # A single word is no evidence: the only title with "tripod" may be a screen on a tripod.
        several_words = len({word_stem(word) for word in words if word not in STOP_WORDS}) > 1
        if not senses and (term.kind == "item" or (term.kind is None and several_words)):
            titles = self.names.titles_with_all({word_stem(word) for word in words} - {"and"})
            if len(titles) == 1 or term.kind == "item":
                senses = [self.names.sense("title", title, "inside the name") for title in titles]
        return sorted(senses, key=lambda sense: (sense.rank, -sense.users, sense.number))

    def _misspelled(self, term: Term, normalized: str) -> list[NameSense]:
        if len(normalized) < 4:
            return []
        senses = {
            (source, number): self.names.sense(source, number, "spelling", -similarity)
            for source in self.names.sources(term.kind)
            for similarity, name in reversed(self.names.indexes[source].similar(normalized, SPELLING_CUTOFF, MAX_CHOICES))
            for number in self.names.indexes[source].numbers[name]
        }
        return sorted(senses.values(), key=lambda sense: (sense.rank, sense.kind == "item", -sense.users, sense.number))

    def _near_in_meaning(self, text: str, normalized: str) -> NDArray[np.bool_]:
        mask, shared = np.zeros(len(self.catalogue), dtype=bool), np.zeros(len(self.catalogue))
        total = 0.0
        for stem in {word_stem(word) for word in normalized.split() if word not in STOP_WORDS and len(word) > 1}:
            with_stem = self.names.items_with(stem)
            if count := int(with_stem.sum()):
                # A rare word weighs more: "home" alone is little of "work from home".
                weight = math.log(1 + len(with_stem) / count)
                shared, total = shared + weight * with_stem, total + weight
        rows, cosines = self._nearest_items(text)
        floor = COSINE_NO_WORDS - (COSINE_NO_WORDS - COSINE_ALL_WORDS) * shared[rows] / total if total else COSINE_UNKNOWN_WORDS
        mask[rows[cosines >= floor][:MAX_TEXT_ITEMS]] = True
        return mask

    # ------------------------------------------------------------------ meanings and hints

    def _meaning(self, senses: Sequence[NameSense]) -> Meaning:
        """Return the first sense, with the others that have another name as choices."""
        best = senses[0]
        name = self.names.name(best)
        others = sorted((s for s in senses[1:] if (s.kind, self.names.name(s)) != (best.kind, name)), key=lambda sense: -sense.users)
        choices = dict.fromkeys(self.names.choice(sense) for sense in others[: 2 * MAX_CHOICES])
        return Meaning(best.kind, name, self.names.item_mask(best), best.match, tuple(choices)[:MAX_CHOICES])

    def _named_in(self, normalized: str) -> tuple[Choice, ...]:
        """Return the categories and brands that are named by single words of a free text."""
        senses = [
            sense
            for word in dict.fromkeys(normalized.split())
            if word not in STOP_WORDS and len(word) > 2
            for sense in self._equal(Term(word), word)
            if sense.kind != "item"
        ]
        return tuple(dict.fromkeys(map(self.names.choice, senses)))[:MAX_CHOICES]

    def _hint(self, term: Term, normalized: str) -> str:
        """Return the nearest names, or else the largest categories, as something to try."""
        sources = self.names.sources(None if term.kind == "text" else term.kind)
        indexes = self.names.indexes
        similar = sorted(
            ((*match, source) for source in sources for match in indexes[source].similar(normalized, HINT_CUTOFF, 3)),
            reverse=True,
        )
        senses = [self.names.sense(source, indexes[source].numbers[name][0], "spelling") for _, name, source in similar]
        start = "the nearest names are"
        if not senses:
            users = self.names.users[sources[0]]
            numbers = np.flatnonzero(self.names.categories.parent < 0) if sources[0] == "category" else np.arange(len(users))
            largest = numbers[np.argsort(-users[numbers], kind="stable")][:4]
            senses, start = [self.names.sense(sources[0], int(number), "exact") for number in largest], "there are for instance"
        names = list(dict.fromkeys(quoted(_joined(self.names.name(sense))) for sense in senses))[:3]
        return f"{start} {', '.join(names)}" if names else "try other words"


def _summary(meanings: Mapping[Term, Meaning]) -> str:
    return ", ".join(f"{quoted(term.text, 30)} as {meaning.kind} {quoted(_joined(meaning.name))}" for term, meaning in meanings.items())


def _joined(name: str | tuple[str, ...]) -> str:
    return name if isinstance(name, str) else " > ".join(name)
