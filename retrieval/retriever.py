"""Candidate retrieval: each channel proposes items with its score and the history item behind them.

Built-in channels: `semantic` (text similarity to the last history items or the query text, through item texts and reviews), `associations`
(co-occurrence), `popularity` (popularity in the categories that users of the history's categories buy from), and `relations` where the
store declares any. The caller's mask decides which items are eligible; this module does not know rules, users or language models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.records import Candidate
from .channels import text_behaviour
from .channels.base import CandidateQuery, Channel, LazyAnchorChannel
from .fusion import channel_weights, reciprocal_rank_fusion
from .index.vector_index import ITEMS, REVIEWS
from .top_items import highest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .associations.rules import Associations
    from .channels.text_behaviour import TextBehaviour
    from .index.vector_index import VectorSearch
    from .items.catalogue import Catalogue

SEMANTIC_HISTORY_ITEMS = 6
"""Latest history items used by the semantic channel; the other channels use all."""
PER_CHANNEL = 50
EXHAUSTIVE_SEARCH_ITEMS = 500
"""Up to this many eligible items are scored exhaustively instead of searching the index."""
RESERVED_PER_CHANNEL = 20
"""Additional candidates of each channel from the reserved subset `also`."""
MIN_POPULAR_USERS = 2
"""Minimum users of a candidate of the popularity channel."""
Scorer = Callable[[CandidateQuery], tuple["NDArray[np.floating[Any]]", "NDArray[np.int64]"]]


@dataclass(frozen=True)
class CandidateScores:
    """Union of the candidates of all channels, with the scores of every channel for every candidate.

    Attributes:
        rows: (candidates,) item rows, ascending.
        scores: channel to (candidates,) scores, 0 for none.
        anchors: channel to (candidates,) history index of the item behind each candidate, -1 for none.
    """

    rows: NDArray[np.int64]
    scores: Mapping[str, NDArray[np.float32]]
    anchors: Mapping[str, NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.rows)


class Retriever:
    """The channels over one index.

    Args:
        catalogue: the items.
        index: vectors of items and reviews.
        associations: co-occurrence lookup.
        further: channels beyond `semantic`, `associations` and `popularity`: `relations` where the store declares any, and those of a
            trained blend; one named `semantic` replaces the built-in channel.
        text_behaviour: channel of text queries, in addition to `semantic`; None for none.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        index: VectorSearch,
        associations: Associations,
        further: Mapping[str, Channel] | None = None,
        text_behaviour: TextBehaviour | None = None,
    ) -> None:
        self.catalogue, self.index, self.associations, self.further = catalogue, index, associations, dict(further or {})
        self.text_behaviour = text_behaviour

    def propose(
        self,
        seeds: CandidateQuery,
        eligible: NDArray[np.bool_],
        most: int,
        *,
        other_than_anchor: bool = False,
        also: NDArray[np.bool_] | None = None,
        quota: float = 0.0,
    ) -> CandidateScores:
        """The best `most` items of every channel, with the scores of every channel for all of them.

        Args:
            seeds: the query.
            eligible: (items,) mask of allowed items.
            most: items per channel.
            other_than_anchor: a history item proposes no item of its own category (`scope="other"`).
            also: (items,) subset of the eligible items of which every channel that scores all items proposes its best
                `RESERVED_PER_CHANNEL` in addition.
            quota: share, 0 to 1, of a channel's proposals that is distributed evenly over categories.
        Raises: ValueError: a quota outside 0 to 1.
        """
        if not 0 <= quota <= 1:
            raise ValueError(f"the quota must be between 0 and 1, not {quota}")
        category = self.catalogue.category
        channel_scores: dict[str, tuple[NDArray[np.floating[Any]], NDArray[np.int64] | None]] = {"popularity": self._popular(seeds)}
        lazy: dict[str, LazyAnchorChannel] = {}
        if len(seeds.rows):
            channel_scores["associations"] = self._associated(seeds)
            for name, channel in self.further.items():
                if isinstance(channel, LazyAnchorChannel) and not other_than_anchor:
                    channel_scores[name], lazy[name] = (channel.item_scores(seeds), None), channel
                else:
                    channel_scores[name] = channel.scores(seeds)
        near = {} if "semantic" in channel_scores else self._semantic(seeds, eligible, other_than_anchor, most)
        rows = [np.fromiter(near, dtype=np.int64, count=len(near))]
        if len(near) > most:  # several history items propose `most` each
            rows = [rows[0][np.argsort([-near[row][0] for row in rows[0].tolist()], kind="stable")[:most]]]
        for name, (scores, places) in channel_scores.items():
            allowed = eligible & (scores > 0)
            if name == "popularity":
                allowed &= self.catalogue.users >= MIN_POPULAR_USERS
            if other_than_anchor and len(seeds.rows) and places is not None:
                allowed &= (places < 0) | (category != category[seeds.rows[places]])
            rows.append(highest(scores, np.flatnonzero(allowed), most, category if quota else None, quota))
            if also is not None:
                rows.append(highest(scores, np.flatnonzero(allowed & also), RESERVED_PER_CHANNEL))
        union = np.unique(np.concatenate(rows))
        found = {name: scores[union].astype(np.float32) for name, (scores, _) in channel_scores.items()}
        behind = {name: lazy[name].anchors(seeds, union) if at is None else at[union] for name, (_, at) in channel_scores.items()}
        if "semantic" not in channel_scores:
            found["semantic"] = np.asarray([near[row][0] if row in near else 0.0 for row in union.tolist()], dtype=np.float32)
            behind["semantic"] = np.asarray([near[row][1] if row in near else -1 for row in union.tolist()], dtype=np.int64)
        if other_than_anchor and len(seeds.rows):  # a channel may also score the proposal of another one, from an item of its category
            same = {name: category[seeds.rows[at]] == category[union] for name, at in behind.items()}
            behind = {name: np.where(same[name], -1, at) for name, at in behind.items()}
        return CandidateScores(union, found, behind)

    def channel_ranks(self, seeds: CandidateQuery, eligible: NDArray[np.bool_], row: int) -> dict[str, tuple[float, int, int]]:
        """Score and rank of an item in every channel that scores all items.

        Returns:
            Channel to (score, rank among eligible items with 1 the best, history index of the item behind it or -1). Channels without a
            score for the item are left out, and so is the built-in `semantic` channel, which scores the nearest items only.
        """
        channel_scores = {"popularity": self._popular(seeds)}
        if len(seeds.rows):
            channel_scores["associations"] = self._associated(seeds)
            for name, channel in self.further.items():
                scores, places = channel.scores(seeds)
                channel_scores[name] = scores.astype(np.float64), places
        return {
            name: (float(scores[row]), 1 + int((scores[eligible] > scores[row]).sum()), int(places[row]))
            for name, (scores, places) in channel_scores.items()
            if scores[row] > 0
        }

    def candidates(self, seeds: CandidateQuery, eligible: NDArray[np.bool_], n: int, *, other_than_anchor: bool = False) -> list[Candidate]:
        """At most `n` candidates by rank fusion, best first.

        Args:
            seeds: the query.
            eligible: (items,) mask of allowed items.
            n: maximum number of candidates.
            other_than_anchor: a history item proposes no item of its own category (`scope="other"`).
        """
        channels = self._channels(seeds, eligible, max(PER_CHANNEL, n), other_than_anchor)
        fused = reciprocal_rank_fusion(
            {name: {row: score for row, (score, _) in found.items()} for name, found in channels.items()}, channel_weights(seeds)
        )
        best = sorted(fused, key=lambda row: (-fused[row], self.catalogue.id(row)))[:n]
        return [self._candidate(row, channels, seeds) for row in best]

    def _channels(
        self, seeds: CandidateQuery, eligible: NDArray[np.bool_], most: int, other: bool
    ) -> dict[str, dict[int, tuple[float, int]]]:
        """Proposals of each channel: channel to item row to (score, history index of the item behind it or -1).

        `semantic` proposes `most` items for each history item it uses, the others that many in all.
        """
        return {
            "semantic": self._semantic(seeds, eligible, other, most),
            "associations": self._anchored(self._associated, seeds, eligible, other, most),
            "popularity": self._popularity(seeds, eligible, other, most),
            **{name: self._anchored(of.scores, seeds, eligible, other, most) for name, of in self.further.items()},
            **self._from_text(seeds, eligible, most),
        }

    def _from_text(self, seeds: CandidateQuery, eligible: NDArray[np.bool_], most: int) -> dict[str, dict[int, tuple[float, int]]]:
        """Proposals of the channel of text queries, with the row of the item near the text in place of a history index."""
        if self.text_behaviour is None or not len(seeds.text_vectors):
            return {}
        scores, nearest = self.text_behaviour.scores(seeds.text_vectors)
        rows = highest(scores, np.flatnonzero(eligible & (scores > 0)), most)
        return {text_behaviour.NAME: {int(row): (float(scores[row]), int(nearest[row])) for row in rows}}

    def _candidate(self, row: int, channels: Mapping[str, Mapping[int, tuple[float, int]]], seeds: CandidateQuery) -> Candidate:
        scores = {name: found[row][0] for name, found in channels.items() if row in found}
        # The store's declaration and behaviour identify the history item behind a candidate more reliably than text similarity.
        order = ("relations", "associations", "semantic", "popularity")
        behind = (found[row][1] for name in order if row in (found := channels.get(name, {})))
        place = next((place for place in behind if place >= 0), -1)
        nearest = channels.get(text_behaviour.NAME, {}).get(row, (0.0, -1))[1]
        return Candidate(
            self.catalogue.id(row),
            scores,
            self.catalogue.id(int(seeds.rows[place])) if place >= 0 else None,
            self.catalogue.id(nearest) if nearest >= 0 and nearest != row else None,
        )

    # ------------------------------------------------------------------ channels: row -> (score, place in the history or -1)

    def _semantic(self, seeds: CandidateQuery, eligible: NDArray[np.bool_], other: bool, most: int) -> dict[int, tuple[float, int]]:
        catalogue, places = self.catalogue, range(max(0, len(seeds.rows) - SEMANTIC_HISTORY_ITEMS), len(seeds.rows))
        ids = [catalogue.id(int(seeds.rows[place])) for place in places]
        known = self.index.vectors(ITEMS, ids)
        query_vectors = [(place, seeds.weights[place], known[key]) for place, key in zip(places, ids, strict=True) if key in known]
        # The query text weighs twice as much as the whole history.
        query_vectors += [(-1, 2 * float(seeds.weights.sum()) or 1.0, vector) for vector in seeds.text_vectors]
        if not query_vectors:
            return {}
        vectors = np.stack([vector for _, _, vector in query_vectors])  # (query_vectors, dimensions)
        weights = np.asarray([weight for _, weight, _ in query_vectors])
        # (query_vectors, items): what each query may propose
        allowed = np.repeat(eligible[None], len(query_vectors), axis=0)
        if other:
            for i, (place, _, _) in enumerate(query_vectors):
                if place >= 0:
                    allowed[i] &= catalogue.category != catalogue.category[seeds.rows[place]]

        def items_wanted(query: int, found: list[str]) -> list[bool]:
            return [bool(allowed[query, catalogue.rows[key]]) if key in catalogue.rows else False for key in found]

        def reviews_wanted(query: int, found: list[str]) -> list[bool]:
            return items_wanted(query, [key.rsplit("#", 1)[0] for key in found])

        few = np.flatnonzero(allowed.any(axis=0))
        if len(few) <= EXHAUSTIVE_SEARCH_ITEMS:
            proposed = set(few.tolist())
        else:
            proposed = {catalogue.rows[key] for page in self.index.nearest(ITEMS, vectors, items_wanted, most) for key, _ in page}
        through_reviews: dict[int, NDArray[np.float64]] = {}
        for query, page in enumerate(self.index.nearest(REVIEWS, vectors, reviews_wanted, most, rounds=2)):
            for key, cosine in page:
                row = catalogue.rows[key.rsplit("#", 1)[0]]
                best = through_reviews.setdefault(row, np.zeros(len(query_vectors)))
                best[query] = max(best[query], cosine)
        rows = sorted(proposed | through_reviews.keys())
        found = self.index.vectors(ITEMS, [catalogue.id(row) for row in rows])
        rows = [row for row in rows if catalogue.id(row) in found]
        if not rows:
            return {}
        cosines = np.stack([found[catalogue.id(row)] for row in rows]) @ vectors.T  # (rows, query_vectors)
        review_cosines = np.stack([through_reviews.get(row, np.zeros(len(query_vectors))) for row in rows])
        # Reviews describe what an item is used with, its own text what it is: half of the similarity each.
        similarity = np.where(
            allowed[:, rows].T, 0.5 * np.maximum(cosines, 0) + 0.5 * np.maximum(review_cosines, np.maximum(cosines, 0)), 0
        )
        votes = similarity * weights  # (rows, query_vectors)
        scores, strongest = votes.sum(axis=1) / weights.sum(), votes.argmax(axis=1)
        return {
            row: (float(score), query_vectors[query][0]) for row, score, query in zip(rows, scores, strongest, strict=True) if score > 0
        }

    def _anchored(
        self, scorer: Scorer, seeds: CandidateQuery, eligible: NDArray[np.bool_], other: bool, most: int
    ) -> dict[int, tuple[float, int]]:
        """Proposals of a channel that scores all items, among those with a history item behind them."""
        if not len(seeds.rows):
            return {}
        scores, strongest = scorer(seeds)
        allowed = eligible & (strongest >= 0)
        if other:
            category = self.catalogue.category
            allowed &= category != category[seeds.rows[strongest]]
        rows = highest(scores, np.flatnonzero(allowed), most)
        return {int(row): (float(scores[row]), int(strongest[row])) for row in rows}

    def _popularity(self, seeds: CandidateQuery, eligible: NDArray[np.bool_], other: bool, most: int) -> dict[int, tuple[float, int]]:
        if len(seeds.text_vectors) and not len(seeds.rows):
            return {}  # popularity says nothing about a text query
        catalogue = self.catalogue
        scores, strongest = self._popular(seeds)
        allowed = eligible & (catalogue.users >= MIN_POPULAR_USERS)
        if other and len(seeds.rows):
            allowed &= catalogue.category != catalogue.category[seeds.rows[-1]]
        rows = highest(scores, np.flatnonzero(allowed), most)
        return {int(row): (float(scores[row]), int(strongest[row])) for row in rows}

    # ------------------------------------------------------------------ channels: (items,) scores and places in the history, or -1

    def _associated(self, seeds: CandidateQuery) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        return self.associations.scores(seeds.rows, seeds.weights)

    def _popular(self, seeds: CandidateQuery) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Log users of an item times the share of users of the history's categories who buy from its category."""
        catalogue, associations = self.catalogue, self.associations
        users = max(associations.users, 1)
        pull = associations.category_users / users  # (categories,) base rate
        place_of = np.full(len(pull), -1, dtype=np.int64)
        if len(seeds.rows):
            codes = catalogue.category[seeds.rows]
            share = np.bincount(codes, weights=seeds.weights, minlength=len(pull))
            category_users = associations.category_users[codes]
            # (history, categories): share of the users of each history item's category who buy from each other category,
            # smoothed by ten users at the base rate, since a category with three users is no evidence
            confidence = (associations.categories[codes].toarray() + 10 * pull) / (category_users[:, None] + 10)
            votes = confidence * seeds.weights[:, None]
            pull = votes.sum(axis=0) / max(share.sum(), 1e-12)
            place_of = votes.argmax(axis=0)
        return pull[catalogue.category] * np.log1p(catalogue.users), place_of[catalogue.category]
