"""Candidates for a query: each channel proposes, with a score of its own and the history item behind it.

Channels: `semantic` (near in meaning to the last items or to the text, through the item's own text and through its reviews),
`associations` (had by the same shoppers), `popularity` (much had inside the categories that shoppers of the history's
categories go to). What may be proposed at all is the caller's mask; nothing here knows rules, users or language models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..data.records import Candidate
from .channels.base import CandidateQuery, Channel, LazyAnchorChannel
from .fusion import channel_weights, reciprocal_rank_fusion
from .index.vector_index import ITEMS, REVIEWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .associations.rules import Associations
    from .items.catalogue import Catalogue

LAST = 6
"""History items that the semantic channel looks from; older ones still count in the other channels."""
PER_CHANNEL = 50
FEW = 500
"""Items that are all looked at when the rules leave no more; searching an index for them would go through all of it."""
ALSO = 20
"""Candidates of each channel from a part that is to be heard, too."""
POPULAR = 2
"""Users that make an item popular; one is an accident."""


class Vectors(Protocol):
    """What the semantic channel asks of an index (see `VectorIndex`)."""

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors by id."""

    def nearest(
        self,
        name: str,
        vectors: NDArray[np.float32],
        wanted: Callable[[int, list[str]], Sequence[bool]],
        n: int,
        *,
        rounds: int | None = None,
    ) -> list[list[tuple[str, float]]]:
        """For each query vector the nearest wanted ids with their cosine, best first."""


@dataclass(frozen=True)
class Proposals:
    """What all channels propose together, and what each says of all of it.

    Attributes:
        rows: (candidates,) item rows, ascending.
        scores: channel to (candidates,) its score, 0 where it says nothing; a channel speaks of what others proposed as well.
        places: channel to (candidates,) place in the history of the item behind it, -1 where there is none.
    """

    rows: NDArray[np.int64]
    scores: Mapping[str, NDArray[np.float32]]
    places: Mapping[str, NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.rows)


class Retriever:
    """The channels over one index.

    Args: further: channels beyond `semantic`, `associations` and `popularity`, for a blend that was trained on them; one named `semantic`
        takes the place of the index's.
    """

    def __init__(
        self, catalogue: Catalogue, index: Vectors, associations: Associations, further: Mapping[str, Channel] | None = None
    ) -> None:
        self.catalogue, self.index, self.associations, self.further = catalogue, index, associations, dict(further or {})

    def propose(
        self,
        seeds: CandidateQuery,
        eligible: NDArray[np.bool_],
        most: int,
        *,
        other_than_anchor: bool = False,
        also: NDArray[np.bool_] | None = None,
        quota: float = 0.0,
    ) -> Proposals:
        """The best `most` of every channel, and the scores of all of them in every channel.

        Args: as `candidates` has them; most: of each channel, so that none crowds out another. also: (items,) some of the eligible ones, of
            which every channel that scores all items proposes its best `ALSO` beside. quota: the part, 0 to 1, of a channel's places that
            its categories share alike, so that no large one crowds out the others; the rest goes by score.
        Raises: ValueError: a quota outside 0 to 1.
        """
        if not 0 <= quota <= 1:
            raise ValueError(f"a quota is 0 to 1, not {quota}")
        category = self.catalogue.category
        said: dict[str, tuple[NDArray[np.floating[Any]], NDArray[np.int64] | None]] = {"popularity": self._popular(seeds)}
        spared: dict[str, LazyAnchorChannel] = {}
        if len(seeds.rows):
            said["associations"] = self._associated(seeds)
            for name, channel in self.further.items():
                if isinstance(channel, LazyAnchorChannel) and not other_than_anchor:
                    said[name], spared[name] = (channel.item_scores(seeds), None), channel
                else:
                    said[name] = channel.scores(seeds)
        near = {} if "semantic" in said else self._semantic(seeds, eligible, other_than_anchor, most)
        rows = [np.fromiter(near, dtype=np.int64, count=len(near))]
        if len(near) > most:  # it looks from several history items, each for so many
            rows = [rows[0][np.argsort([-near[row][0] for row in rows[0].tolist()], kind="stable")[:most]]]
        for name, (scores, places) in said.items():
            allowed = eligible & (scores > 0)
            if name == "popularity":
                allowed &= self.catalogue.users >= POPULAR
            if other_than_anchor and len(seeds.rows) and places is not None:
                allowed &= (places < 0) | (category != category[seeds.rows[places]])
            rows.append(_highest(scores, np.flatnonzero(allowed), most, category if quota else None, quota))
            if also is not None:
                rows.append(_highest(scores, np.flatnonzero(allowed & also), ALSO))
        union = np.unique(np.concatenate(rows))
        found = {name: scores[union].astype(np.float32) for name, (scores, _) in said.items()}
        behind = {name: spared[name].anchors(seeds, union) if at is None else at[union] for name, (_, at) in said.items()}
        if "semantic" not in said:
            found["semantic"] = np.asarray([near[row][0] if row in near else 0.0 for row in union.tolist()], dtype=np.float32)
            behind["semantic"] = np.asarray([near[row][1] if row in near else -1 for row in union.tolist()], dtype=np.int64)
        return Proposals(union, found, behind)

    def standing(self, seeds: CandidateQuery, eligible: NDArray[np.bool_], row: int) -> dict[str, tuple[float, int, int]]:
        """Where an item stands in every channel that scores all items.

        Returns: channel to its score, its rank among what may be proposed, 1 the best, and the place in the history of the item behind
            it, -1 for none. A channel that says nothing of the item is left out; so is the index's `semantic`, which looks at the nearest
            only.
        """
        said = {"popularity": self._popular(seeds)}
        if len(seeds.rows):
            said["associations"] = self._associated(seeds)
            for name, channel in self.further.items():
                scores, places = channel.scores(seeds)
                said[name] = scores.astype(np.float64), places
        return {
            name: (float(scores[row]), 1 + int((scores[eligible] > scores[row]).sum()), int(places[row]))
            for name, (scores, places) in said.items()
            if scores[row] > 0
        }

    def candidates(self, seeds: CandidateQuery, eligible: NDArray[np.bool_], n: int, *, other_than_anchor: bool = False) -> list[Candidate]:
        """At most `n` candidates, best fused rank first.

        Args:
            eligible: (items,) which may be proposed.
            other_than_anchor: a history item proposes nothing of its own category (`scope="other"`).
        """
        return self.pool(self.channels(seeds, eligible, max(PER_CHANNEL, n), other_than_anchor=other_than_anchor), seeds, n)

    def channels(
        self, seeds: CandidateQuery, eligible: NDArray[np.bool_], most: int, *, other_than_anchor: bool = False
    ) -> dict[str, dict[int, tuple[float, int]]]:
        """What each channel proposes: channel to item row to (score, place in the history of the item behind it, or -1).

        Args: most: how many the channels look for; `semantic` gives so many for every history item that it looks from.
        """
        return {
            "semantic": self._semantic(seeds, eligible, other_than_anchor, most),
            "associations": self._associations(seeds, eligible, other_than_anchor, most),
            "popularity": self._popularity(seeds, eligible, other_than_anchor, most),
        }

    def pool(self, channels: Mapping[str, Mapping[int, tuple[float, int]]], seeds: CandidateQuery, n: int) -> list[Candidate]:
        """At most `n` of what the channels propose, best fused rank first."""
        fused = reciprocal_rank_fusion(
            {name: {row: score for row, (score, _) in found.items()} for name, found in channels.items()}, channel_weights(seeds)
        )
        best = sorted(fused, key=lambda row: (-fused[row], self.catalogue.id(row)))[:n]
        return [self._candidate(row, channels, seeds) for row in best]

    def _candidate(self, row: int, channels: Mapping[str, Mapping[int, tuple[float, int]]], seeds: CandidateQuery) -> Candidate:
        scores = {name: found[row][0] for name, found in channels.items() if row in found}
        # Behaviour names the history item behind a candidate more truly than likeness does.
        behind = (found[row][1] for name in ("associations", "semantic", "popularity") if row in (found := channels.get(name, {})))
        place = next((place for place in behind if place >= 0), -1)
        return Candidate(self.catalogue.id(row), scores, self.catalogue.id(int(seeds.rows[place])) if place >= 0 else None)

    # ------------------------------------------------------------------ channels: row -> (score, place in the history or -1)

    def _semantic(self, seeds: CandidateQuery, eligible: NDArray[np.bool_], other: bool, most: int) -> dict[int, tuple[float, int]]:
        catalogue, places = self.catalogue, range(max(0, len(seeds.rows) - LAST), len(seeds.rows))
        ids = [catalogue.id(int(seeds.rows[place])) for place in places]
        known = self.index.vectors(ITEMS, ids)
        looks = [(place, seeds.weights[place], known[key]) for place, key in zip(places, ids, strict=True) if key in known]
        # What the shopper says now counts twice as much as all of the history together.
        looks += [(-1, 2 * float(seeds.weights.sum()) or 1.0, vector) for vector in seeds.text_vectors]
        if not looks:
            return {}
        vectors = np.stack([vector for _, _, vector in looks])  # (looks, dimensions)
        weights = np.asarray([weight for _, weight, _ in looks])
        # (looks, items): what each look may propose
        allowed = np.repeat(eligible[None], len(looks), axis=0)
        if other:
            for i, (place, _, _) in enumerate(looks):
                if place >= 0:
                    allowed[i] &= catalogue.category != catalogue.category[seeds.rows[place]]

        def items_wanted(look: int, found: list[str]) -> list[bool]:
            return [bool(allowed[look, catalogue.rows[key]]) if key in catalogue.rows else False for key in found]

        def reviews_wanted(look: int, found: list[str]) -> list[bool]:
            return items_wanted(look, [key.rsplit("#", 1)[0] for key in found])

        few = np.flatnonzero(allowed.any(axis=0))
        if len(few) <= FEW:
            proposed = set(few.tolist())
        else:
            proposed = {catalogue.rows[key] for page in self.index.nearest(ITEMS, vectors, items_wanted, most) for key, _ in page}
        through_reviews: dict[int, NDArray[np.float64]] = {}
        for look, page in enumerate(self.index.nearest(REVIEWS, vectors, reviews_wanted, most, rounds=2)):
            for key, cosine in page:
                row = catalogue.rows[key.rsplit("#", 1)[0]]
                best = through_reviews.setdefault(row, np.zeros(len(looks)))
                best[look] = max(best[look], cosine)
        rows = sorted(proposed | through_reviews.keys())
        found = self.index.vectors(ITEMS, [catalogue.id(row) for row in rows])
        rows = [row for row in rows if catalogue.id(row) in found]
        if not rows:
            return {}
        cosines = np.stack([found[catalogue.id(row)] for row in rows]) @ vectors.T  # (rows, looks)
        spoken = np.stack([through_reviews.get(row, np.zeros(len(looks))) for row in rows])
        # An item's reviews say what it is used with, its own text what it is: each half of the likeness.
        likeness = np.where(allowed[:, rows].T, 0.5 * np.maximum(cosines, 0) + 0.5 * np.maximum(spoken, np.maximum(cosines, 0)), 0)
        votes = likeness * weights  # (rows, looks)
        scores, strongest = votes.sum(axis=1) / weights.sum(), votes.argmax(axis=1)
        return {row: (float(score), looks[look][0]) for row, score, look in zip(rows, scores, strongest, strict=True) if score > 0}

    def _associations(self, seeds: CandidateQuery, eligible: NDArray[np.bool_], other: bool, most: int) -> dict[int, tuple[float, int]]:
        if not len(seeds.rows):
            return {}
        scores, strongest = self._associated(seeds)
        allowed = eligible & (strongest >= 0)
        if other:
            category = self.catalogue.category
            allowed &= category != category[seeds.rows[strongest]]
        rows = _highest(scores, np.flatnonzero(allowed), most)
        return {int(row): (float(scores[row]), int(strongest[row])) for row in rows}

    def _popularity(self, seeds: CandidateQuery, eligible: NDArray[np.bool_], other: bool, most: int) -> dict[int, tuple[float, int]]:
        if len(seeds.text_vectors) and not len(seeds.rows):
            return {}  # what everybody buys says nothing about what somebody just asked for
        catalogue = self.catalogue
        scores, strongest = self._popular(seeds)
        allowed = eligible & (catalogue.users >= POPULAR)
        if other and len(seeds.rows):
            allowed &= catalogue.category != catalogue.category[seeds.rows[-1]]
        rows = _highest(scores, np.flatnonzero(allowed), most)
        return {int(row): (float(scores[row]), int(strongest[row])) for row in rows}

    # ------------------------------------------------------------------ channels: (items,) scores and places in the history, or -1

    def _associated(self, seeds: CandidateQuery) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        return self.associations.scores(seeds.rows, seeds.weights)

    def _popular(self, seeds: CandidateQuery) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Users of an item times how many of the history's kind of shoppers go to its category."""
        catalogue, associations = self.catalogue, self.associations
        users = max(associations.users, 1)
        pull = associations.category_users / users  # (categories,) base rate
        place_of = np.full(len(pull), -1, dtype=np.int64)
        if len(seeds.rows):
            codes = catalogue.category[seeds.rows]
            share = np.bincount(codes, weights=seeds.weights, minlength=len(pull))
            had = associations.category_users[codes]
            # (history, categories): of the shoppers of each history item's category, how many go to each other one;
            # smoothed by ten shoppers of the base rate, so that a category of three shoppers proves nothing
            confidence = (associations.categories[codes].toarray() + 10 * pull) / (had[:, None] + 10)
            votes = confidence * seeds.weights[:, None]
            pull = votes.sum(axis=0) / max(share.sum(), 1e-12)
            place_of = votes.argmax(axis=0)
        return pull[catalogue.category] * np.log1p(catalogue.users), place_of[catalogue.category]


def _highest(
    scores: NDArray[np.floating[Any]],
    rows: NDArray[np.int64],
    most: int,
    category: NDArray[np.integer[Any]] | None = None,
    quota: float = 0.0,
) -> NDArray[np.int64]:
    """The `most` rows of the highest scores, highest first; of equal ones the first rows.

    Args: category: (items,) codes; quota: the part of the places that go to the best of every category, as many to each, before the rest
        goes by score. Where there are more categories than such places, those with the best items have one each.
    """
    if category is not None and quota and len(rows) > most:
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        _, code = np.unique(category[rows], return_inverse=True)
        by_category = np.argsort(code, kind="stable")  # still by falling score inside
        sizes = np.bincount(code)
        place = np.empty(len(rows), dtype=np.int64)
        place[by_category] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        kept = int(quota * most)
        first = place < max(1, kept // len(sizes))
        first &= np.cumsum(first) <= kept
        chosen = np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)])[:most]
        return np.asarray(rows[np.sort(chosen)])
    if len(rows) > 4 * most:  # sorting thirty thousand to keep fifty is most of a query's time
        edge = np.partition(scores[rows], len(rows) - most)[len(rows) - most]
        rows = rows[scores[rows] >= edge]
    return rows[np.argsort(-scores[rows], kind="stable")][:most]
