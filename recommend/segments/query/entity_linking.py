"""What of the store a name means: a category, a brand, an item, or whatever is near it in meaning.

A name is looked for as it stands, then in singular and plural, then as the head of a longer category name or as words of one title,
then with a spelling mistake, and last by meaning. Case, accents, punctuation, `&` for and, and a leading "the" make no difference.
Plurals and common words are English, the thresholds measured with the bundled embedder. Of users it knows only how many had each item.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ....data.errors import QueryError
from ....data.records import Category
from ....retrieval.items.catalogue import Catalogue
from ....retrieval.items.category_tree import CategoryTree
from .grammar import QueryNode, Term, TermKind, quoted, satisfiable, terms, to_text
from .name_matching import (
    NO_ROWS,
    STOP_WORDS,
    MatchType,
    NameIndex,
    category_heads,
    group_by_name,
    normalize_name,
    singular_key,
    singular_stem,
    title_postings,
    without_generic,
    word_stem,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

NameSource = Literal["category", "brand", "title", "id"]
NearestItems = Callable[[str], "tuple[NDArray[np.int64], NDArray[np.float32]]"]
"""Item rows and cosines nearest to a text, best first; a few hundred are enough."""

SPELLING_CUTOFF = 0.85
"""Likeness (difflib's ratio) from which a name counts as misspelled, not as another one."""
COSINE_ALL_WORDS, COSINE_NO_WORDS, COSINE_UNKNOWN_WORDS = 0.2, 0.4, 0.5
"""Cosine from which an item is meant by a free text: when its title and category path hold all the words of the text that the store knows;
when they hold none; when the store knows no word of it. Between the first two by the rarity of the words held. Cosines alone do not
tell sense from nonsense: with the bundled embedder "people who started running" is at 0.31 from the best running item of the demo store,
"flurbnax" at 0.31 from an edge guard. Of 600 made-up words and letter strings these find something for 1 in the demo store (382 items)
and for 10 among 3,228 real products; of 28 descriptions of shoppers' needs 21 find items, 87 % of them for that need."""
MAX_TEXT_ITEMS = 50
"""Items that a free text means at most."""
MAX_CHOICES = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """Something else that a name could have meant.

    Attributes: name: a path for a category. users: of its items, summed. ask: what to type to get it: `category:"Electronics > Phones"`.
    """

    kind: TermKind
    name: str | Category
    users: int
    ask: str

    def to_dict(self) -> dict[str, Any]:
        """The choice as JSON holds it; how many users it has would pass by every protection of figures."""
        return {"kind": self.kind, "name": _listed(self.name), "ask": self.ask}


@dataclass(frozen=True, slots=True, eq=False)
class Meaning:
    """What a name was taken for.

    Attributes:
        name: a path for a category, else a brand, a title or the text itself.
        rows: (items,) bool, the items that it means; at least one.
        how: what the name has in common with what was written. choices: what else it could have been, most users first.
    """

    kind: TermKind
    name: str | Category
    item_mask: NDArray[np.bool_]
    match: MatchType
    choices: tuple[Choice, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The meaning as JSON holds it: kind, name, how, the number of items, and the choices where there are any."""
        said: dict[str, Any] = {"kind": self.kind, "name": _listed(self.name), "how": self.match, "items": int(self.item_mask.sum())}
        return {**said, "choices": [choice.to_dict() for choice in self.choices]} if self.choices else said


@dataclass(frozen=True, slots=True)
class _Sense:
    """One thing that a name may mean. `ref`: a node, a brand's or a title's number, or an item's row."""

    source: NameSource
    ref: int
    match: MatchType
    users: int
    rank: float = 0.0

    @property
    def kind(self) -> TermKind:
        return self.source if self.source == "category" or self.source == "brand" else "item"


class EntityLinker:
    """The names of a store.

    Attributes: catalogue: the store's items. categories: their tree. near: asked only for what no name fits.
    """

    def __init__(self, catalogue: Catalogue, near: NearestItems) -> None:
        self.catalogue, self.nearest_items = catalogue, near
        self.categories = categories = catalogue.tree
        items, users = catalogue.items, catalogue.users.astype(np.int64)
        self._titles: list[str] = items["title"].fill_null("").to_list()
        brands: list[str] = items["brand"].fill_null("").to_list() if "brand" in items.columns else [""] * len(items)
        self._leaf = categories.at(max(categories.levels, 1)).astype(np.int64)
        self._ids = {key.casefold(): row for key, row in reversed(catalogue.rows.items())}
        self._brand_of, self._brand_rows = group_by_name(brands)
        self._title_of, self._title_rows = group_by_name(self._titles)
        self._users: dict[NameSource, NDArray[np.int64]] = {
            "category": _summed_upwards(categories, self._leaf, users),
            "brand": np.bincount(self._brand_of, users, minlength=len(self._brand_rows)).astype(np.int64),
            "title": np.bincount(self._title_of, users, minlength=len(self._title_rows)).astype(np.int64),
            "id": users,
        }
        self._names: dict[NameSource, NameIndex] = {
            "category": NameIndex(
                (" > ".join(path[start:]), node) for node, path in enumerate(categories.paths) for start in reversed(range(len(path)))
            ),
            "brand": NameIndex((brands[row], number) for number, row in enumerate(self._brand_rows)),
            "title": NameIndex((self._titles[row], number) for number, row in enumerate(self._title_rows)),
        }
        self._heads: dict[str, list[tuple[int, int]]] = {}  # the head of a category's name -> (words beside it, node)
        for node, path in enumerate(categories.paths):
            for head, beside in category_heads(path[-1]):
                self._heads.setdefault(head, []).append((beside, node))
        self._in_path: dict[str, set[int]] = {}  # a word -> nodes that have it anywhere in their path
        for node, path in enumerate(categories.paths):
            for base in {word_stem(word) for name in path for word in normalize_name(name).split()}:
                self._in_path.setdefault(base, set()).add(node)
        self._in_title = title_postings(self._titles)

    def is_name(self, text: str) -> bool:
        """Whether the words are a name as they stand, singular or plural; for the parser, before it splits at and, or, not and commas."""
        folded = normalize_name(text)
        if not folded:
            return False
        if text.strip().casefold() in self._ids:
            return True
        found = [name for names in self._names.values() for name in names.by_key.get(singular_key(folded), ())]
        if "," not in re.sub(r"\d,\d", "", text) or " and " in folded:
            return bool(found)
        # "phone, cases" are two names, though a category be called "Phone Cases".
        return any(name in names.with_comma for names in self._names.values() for name in found)

    def resolve(self, term: Term) -> Meaning:
        """What a name means.

        Raises: QueryError: nothing is called so or near it in meaning; says which names come nearest.
        """
        folded = normalize_name(term.text)
        if term.kind != "text" and folded:
            for step in (self._called, self._inside, self._spelled):
                if senses := step(term, folded):
                    return self._meaning(senses)
        if term.kind in (None, "text") and folded:
            rows = self._near_in_meaning(term.text, folded)
            if rows.any():
                return Meaning("text", term.text, rows, "meaning", self._named_in(folded) if term.kind is None else ())
        what = (
            f"no {term.kind} is called"
            if term.kind not in (None, "text")
            else "nothing in this store is called or comes near in meaning to"
        )
        raise QueryError(f"{what} {quoted(term.text)}; {self._hint(term, folded)}")

    def resolve_all(self, tree: QueryNode) -> dict[Term, Meaning]:
        """What every name of a question means, left to right.

        Raises: QueryError: a name means nothing here, or what is ruled out holds all that is wanted; says what was understood.
        """
        meant: dict[Term, Meaning] = {}
        for term in terms(tree):
            try:
                meant.setdefault(term, meant[term] if term in meant else self.resolve(term))
            except QueryError as error:
                raise QueryError(f"{error}{f' (understood: {_told(meant)})' if meant else ''}") from None
        implied = [(a, b) for a in meant for b in meant if a != b and not (meant[a].item_mask & ~meant[b].item_mask).any()]
        if implied and not satisfiable(tree, implied):
            raise QueryError(
                f"the question contradicts itself: what it rules out holds all that it wants, so nobody can match "
                f"(understood: {_told(meant)}); take one of the names out"
            )
        return meant

    # ------------------------------------------------------------------ steps, each [] where it finds nothing

    def _called(self, term: Term, folded: str) -> list[_Sense]:
        senses = [
            self._sense(source, ref, how)
            for source, names in self._names.items()
            if term.kind in (None, "item" if source == "title" else source)
            for ref, how in names.lookup(folded)
        ]
        row = self._ids.get(term.text.strip().casefold()) if term.kind in (None, "item") else None
        row = self.catalogue.rows.get(term.text.strip(), row) if row is not None else None
        senses += [self._sense("id", row, "exact")] if row is not None else []
        nodes = {sense.ref for sense in senses if sense.source == "category"}
        senses = [sense for sense in senses if sense.source != "category" or not nodes.intersection(self._above(sense.ref))]
        order = {"category": 0, "brand": 0, "id": 1, "title": 2}
        return sorted(
            senses, key=lambda sense: (sense.match != "exact", order[sense.source], -sense.users, sense.source != "category", sense.ref)
        )

    def _inside(self, term: Term, folded: str) -> list[_Sense]:
        senses: list[_Sense] = []
        if term.kind in (None, "category"):
            key = " ".join(without_generic(singular_stem(word) for word in folded.split()))
            senses = [self._sense("category", node, "inside the name", beside) for beside, node in self._heads.get(key, ())]
        words = {word_stem(word) for word in folded.split()} - {"and"}
        # One word is in one title by accident: the only title with "tripod" may be a screen on a tripod.
        if not senses and (term.kind == "item" or (term.kind is None and len(words - STOP_WORDS) > 1)):
            rows = self._titled(words)
            numbers = np.unique(self._title_of[rows])
            if len(numbers) == 1 or (term.kind == "item" and len(numbers)):
                senses = [self._sense("title", int(number), "inside the name") for number in numbers]
        return sorted(senses, key=lambda sense: (sense.rank, -sense.users, sense.ref))

    def _spelled(self, term: Term, folded: str) -> list[_Sense]:
        if len(folded) < 4:
            return []
        senses = {
            (source, ref): self._sense(source, ref, "spelling", -ratio)
            for source, names in self._names.items()
            if term.kind in (None, "item" if source == "title" else source)
            for ratio, name in reversed(names.similar(folded, SPELLING_CUTOFF, MAX_CHOICES))
            for ref in names.refs[name]
        }
        return sorted(senses.values(), key=lambda sense: (sense.rank, sense.kind == "item", -sense.users, sense.ref))

    def _near_in_meaning(self, text: str, folded: str) -> NDArray[np.bool_]:
        meant, shared = np.zeros(len(self.catalogue), dtype=bool), np.zeros(len(self.catalogue))
        total = 0.0
        for base in {word_stem(word) for word in folded.split() if word not in STOP_WORDS and len(word) > 1}:
            has = self._with_word(base)
            if count := int(has.sum()):
                # A rare word says more: "home" alone is little of "work from home".
                weight = math.log(1 + len(has) / count)
                shared, total = shared + weight * has, total + weight
        rows, cosines = self.nearest_items(text)
        floor = COSINE_NO_WORDS - (COSINE_NO_WORDS - COSINE_ALL_WORDS) * shared[rows] / total if total else COSINE_UNKNOWN_WORDS
        meant[rows[cosines >= floor][:MAX_TEXT_ITEMS]] = True
        return meant

    def _with_word(self, root: str) -> NDArray[np.bool_]:
        """(items,) which have a word in their title or category path."""
        # One place more than there are nodes: -1 stands for an item without a category.
        inside = np.zeros(len(self.categories) + 1, dtype=bool)
        inside[list(self._in_path.get(root, ()))] = True
        has = inside[self._leaf]
        has[self._in_title.get(root, NO_ROWS)] = True
        return has

    # ------------------------------------------------------------------ senses

    def _sense(self, source: NameSource, ref: int, how: MatchType, rank: float = 0.0) -> _Sense:
        return _Sense(source, ref, how, int(self._users[source][ref]), rank)

    def _meaning(self, senses: Sequence[_Sense]) -> Meaning:
        """The first sense, with the others that are not the same items as choices."""
        best = senses[0]
        name, rows = self._name(best), self._rows(best)
        others = sorted((s for s in senses[1:] if (s.kind, self._name(s)) != (best.kind, name)), key=lambda sense: -sense.users)
        choices = dict.fromkeys(self._choice(sense) for sense in others[: 2 * MAX_CHOICES])
        return Meaning(best.kind, name, rows, best.match, tuple(choices)[:MAX_CHOICES])

    def _name(self, sense: _Sense) -> str | Category:
        if sense.source == "category":
            return self.categories.paths[sense.ref]
        if sense.source == "brand":
            return str(self.catalogue.items.item(int(self._brand_rows[sense.ref]), "brand"))
        row = sense.ref if sense.source == "id" else int(self._title_rows[sense.ref])
        return self._titles[row] or self.catalogue.id(row)

    def _rows(self, sense: _Sense) -> NDArray[np.bool_]:
        if sense.source == "category":
            return self.categories.under(sense.ref)
        if sense.source == "id":
            return np.asarray(np.arange(len(self.catalogue)) == sense.ref)
        return np.asarray((self._brand_of if sense.source == "brand" else self._title_of) == sense.ref)

    def _choice(self, sense: _Sense) -> Choice:
        name = self._name(sense)
        words = self.categories.words(sense.ref) if sense.source == "category" else str(name)
        if sense.kind == "item" and len(rows := np.flatnonzero(self._rows(sense))) == 1:
            words = self.catalogue.id(int(rows[0]))
        return Choice(sense.kind, name, sense.users, to_text(Term(words, sense.kind)))

    def _named_in(self, folded: str) -> tuple[Choice, ...]:
        """Categories and brands that single words of a free text are the names of."""
        senses = [
            sense
            for word in dict.fromkeys(folded.split())
            if word not in STOP_WORDS and len(word) > 2
            for sense in self._called(Term(word), word)
            if sense.kind != "item"
        ]
        return tuple(dict.fromkeys(map(self._choice, senses)))[:MAX_CHOICES]

    def _above(self, node: int) -> list[int]:
        above: list[int] = []
        while (node := int(self.categories.parent[node])) >= 0:
            above.append(node)
        return above

    def _titled(self, words: set[str]) -> NDArray[np.int64]:
        """The rows whose title has all of the words."""
        lists = sorted((self._in_title.get(word, NO_ROWS) for word in words), key=len)
        rows = lists[0] if lists else NO_ROWS
        for other in lists[1:]:
            rows = np.intersect1d(rows, other, assume_unique=True)
        return rows

    def _hint(self, term: Term, folded: str) -> str:
        """The nearest names, or else the largest categories, as something to try."""
        sources = [s for s in self._names if term.kind in (None, "text", "item" if s == "title" else s)]
        near = sorted(
            (pair for source in sources for pair in ((r, n, source) for r, n in self._names[source].similar(folded, 0.5, 3))), reverse=True
        )
        found = [self._sense(source, self._names[source].refs[name][0], "spelling") for _, name, source in near]
        start = "the nearest names are"
        if not found:
            refs = np.flatnonzero(self.categories.parent < 0) if sources[0] == "category" else np.arange(len(self._users[sources[0]]))
            largest = refs[np.argsort(-self._users[sources[0]][refs], kind="stable")][:4]
            found, start = [self._sense(sources[0], int(ref), "exact") for ref in largest], "there are for instance"
        shown = list(dict.fromkeys(quoted(name if isinstance(name := self._name(sense), str) else " > ".join(name)) for sense in found))[:3]
        return f"{start} {', '.join(shown)}" if shown else "try other words"


def _summed_upwards(categories: CategoryTree, leaf: NDArray[np.int64], users: NDArray[np.int64]) -> NDArray[np.int64]:
    """(nodes,) the users of all items in a node or below it, summed."""
    sums = np.bincount(leaf[leaf >= 0], users[leaf >= 0], minlength=len(categories)).astype(np.int64)
    for node in np.argsort(-categories.depth, kind="stable"):
        if (parent := categories.parent[node]) >= 0:
            sums[parent] += sums[node]
    return sums


def _told(meant: Mapping[Term, Meaning]) -> str:
    names = ((term, m.kind, m.name if isinstance(m.name, str) else " > ".join(m.name)) for term, m in meant.items())
    return ", ".join(f"{quoted(term.text, 30)} as {kind} {quoted(name)}" for term, kind, name in names)


def _listed(name: str | Category) -> str | list[str]:
    return name if isinstance(name, str) else list(name)
