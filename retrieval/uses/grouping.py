"""Uses from mentions: merged by the canonical words of their names, and by embeddings of the names.

A mention with a modified head belongs to two uses: "city trip" and "trip". A use needs several items, so a rare one ("grandparents' trip")
remains as its head alone. Embeddings merge names of one kind ("restaurant" and "local restaurant"); persons are never merged, because
the nearest names are opposites: wife and husband.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .language import UseKind
from .mentions import ItemMention

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Encode = Callable[[Sequence[str]], NDArray[np.float32]]

MIN_ITEMS = 2
"""Items of a use: a use of one item cannot be shared."""
MERGE_COSINE = 0.81
"""Cosine of two names from which they are merged. Chosen on the bundled embedder: in two stores, pairs of one kind above it mean the same;
of those just below half do not (flat and first flat 0.80, party and birthday party 0.77)."""
UNMERGED_KINDS = ("person", "need")


@dataclass(frozen=True, slots=True)
class MinedUse:
    """A use and all that names it.

    Attributes:
        name: The spelling that most items have.
        kind: Occasion, task, place, person or need.
        mentions: Mentions of all its names, in the order of the texts, each item and sentence once.
    """

    name: str
    kind: UseKind
    mentions: tuple[ItemMention, ...]

    @property
    def items(self) -> list[str]:
        """Ids of its items, in the order of the mentions."""
        return list(dict.fromkeys(mention.item_id for mention in self.mentions))


def group_uses(mentions: Iterable[ItemMention], encode: Encode | None = None, *, min_items: int = MIN_ITEMS) -> list[MinedUse]:
    """Return the uses with several items, those with most items first.

    Args:
        mentions: Mentions of all items.
        encode: Embeds names as unit vectors, (names, dimensions); None merges by words only.
        min_items: Minimum number of items of a use.
    """
    by_key: dict[tuple[str, ...], list[tuple[ItemMention, str]]] = defaultdict(list)
    for mention in mentions:
        use = mention.mention
        by_key[use.key].append((mention, use.name))
        if use.head is not None and use.head != use.key:
            by_key[use.head].append((mention, use.head_name))
    groups = [named for named in by_key.values() if len({mention.item_id for mention, _ in named}) >= min_items]
    if encode is not None and len(groups) > 1:
        groups = _merged(groups, encode)
    uses = [MinedUse(_name(named), _kind(named), _distinct(mention for mention, _ in named)) for named in groups]
    return sorted(uses, key=lambda use: (-len(use.items), use.name))


def _name(named: Sequence[tuple[ItemMention, str]]) -> str:
    """The spelling of most items; of equally frequent ones the shortest, then the first by alphabet."""
    items = Counter(name for name, _ in {(name, mention.item_id) for mention, name in named})
    return min(items, key=lambda name: (-items[name], len(name), name))


def _kind(named: Sequence[tuple[ItemMention, str]]) -> UseKind:
    return Counter(mention.mention.kind for mention, _ in named).most_common(1)[0][0]


def _distinct(mentions: Iterable[ItemMention]) -> tuple[ItemMention, ...]:
    return tuple({(mention.item_id, mention.source, mention.mention.sentence): mention for mention in mentions}.values())


def _merged(groups: list[list[tuple[ItemMention, str]]], encode: Encode) -> list[list[tuple[ItemMention, str]]]:
    """Merge groups of one kind whose names have a cosine of at least `MERGE_COSINE`, each into the one with most mentions."""
    groups = sorted(groups, key=lambda named: (-len(named), _name(named)))
    kinds = [_kind(named) for named in groups]
    vectors = encode([_name(named) for named in groups])
    merged: list[list[tuple[ItemMention, str]]] = []
    leaders: list[int] = []
    for index, named in enumerate(groups):
        alike = [
            (float(vectors[index] @ vectors[leader]), position)
            for position, leader in enumerate(leaders)
            if kinds[leader] == kinds[index] and kinds[index] not in UNMERGED_KINDS
        ]
        cosine, position = max(alike, default=(0.0, -1))
        if cosine >= MERGE_COSINE:
            merged[position] = [*merged[position], *named]
        else:
            merged.append(list(named))
            leaders.append(index)
    return merged
