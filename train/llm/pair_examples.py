"""Pairs of items that shoppers need together, as examples for the LLM ranker: a shopper has an anchor, do they also need the positive?

A pair is a strong association between two categories that chance does not explain; items and leaf categories both give pairs. A question
has an anchor, some of its positives and negatives. The negatives were never bought with the anchor, or no more often than by chance: hard
ones are the nearest to it by text, the others have about as many users as the positives. No count is in the prompt, so that the model
learns complements from texts, which is all there is for a text query and for items without users.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.records import Item
from ..lora.listwise_loss import ListwiseExample

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from ...eval.splits.training_view import TrainingView
    from ...retrieval.associations.rules import Associations
    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.items.ragged import RaggedArray

CANDIDATES, POSITIVES, HARD_NEGATIVES = 12, 4, 2
"""Candidates of a question; how many of them are positives in training, at most; and how many are negatives that are the nearest to the
anchor by text."""
NEAREST, MATCHED = 30, 60
"""Numbers of entities that the hard and the popularity-matched negatives are sampled from."""
MIN_USERS, MIN_LIFT, MAX_NEGATIVE_LIFT = 3, 2.0, 1.0
"""Minimum users and minimum lift of a pair, and maximum lift of a negative."""
MAX_CHANCE = 1e-3
"""Maximum probability (Poisson) that independent purchases have as many users in common as a pair. On the simulated shoppers of the demo
store, 99 of 100 such pairs serve a common need; by users and lift alone, 72 of 100 do."""
ROUNDS = 3
"""Maximum number of questions with the same anchor."""
PASSES = 3
"""Maximum number of training examples of the same pair, each with other negatives."""
TEXT_QUERIES = ("I have {}", "I just bought {}", "What goes with {}?", "Something for my {}")
"""Text queries of a shopper who has the anchor."""
TEXT_SHARE = 0.5
"""Share of the examples that state the anchor in a text query; in the others it is a purchase."""
UNSEEN_SHARE = 0.3
"""Share of the entities that no training pair contains, on either side: the pairs among them measure the model."""
MAX_PAIRS, VALIDATION_PAIRS = 400, 48
"""Maximum numbers of training and of validation questions."""


@dataclass(frozen=True)
class PairEntities:
    """What pairs are made of: the items of a store, or its leaf categories.

    Attributes:
        items: (entities) as they are in the prompt.
        category: (entities,) number of the category that both sides of a pair must differ in.
        users: (entities,) users of each.
        vectors: (entities, dimensions) unit vectors of the texts.
        shared_users: (entities, entities) sparse matrix of users of both.
        total_users: Number of users.
    """

    items: Sequence[Item]
    category: NDArray[np.int32]
    users: NDArray[np.int64]
    vectors: NDArray[np.float32]
    shared_users: sparse.csr_array
    total_users: int


@dataclass(frozen=True)
class PairQuestion:
    """Pairs of one anchor with negatives.

    Attributes:
        anchor: Index of the anchor.
        candidates: (candidates,) indices of the positives and then of the negatives.
        positives: Number of positives.
    """

    anchor: int
    candidates: NDArray[np.int64]
    positives: int = 1


@dataclass(frozen=True)
class PairExamples:
    """Questions for training and for early stopping, of different anchors and none of them with an unseen entity."""

    training: Sequence[ListwiseExample]
    validation: Sequence[ListwiseExample]

    @classmethod
    def sample(cls, entity_sets: Sequence[PairEntities], max_training: int, seed: int) -> PairExamples:
        """Return questions about items and about leaf categories, an equal share of each; what the smaller set lacks comes from the other.

        Args:
            entity_sets: Items and leaf categories.
            max_training: Maximum number of training questions.
            seed: Random seed.
        """
        rng = np.random.default_rng([seed, 8])
        training: list[ListwiseExample] = []
        validation: list[ListwiseExample] = []
        validation_share = VALIDATION_PAIRS // max(1, len(entity_sets))
        for number, entities in enumerate(sorted(entity_sets, key=lambda entities: len(entities.items))):
            training_share = (max_training - len(training)) // (len(entity_sets) - number)
            questions = _questions(entities, ~unseen(entities, seed), training_share + validation_share, rng)
            validation_count = min(validation_share, len(questions) // 5)
            validated = {question.anchor for question in questions[:validation_count]}
            chosen = [question for question in questions[validation_count:] if question.anchor not in validated][:training_share]
            validation += [pair_example(entities, question, rng) for question in questions[:validation_count]]
            training += [pair_example(entities, question, rng) for question in chosen]
        return cls(training, validation)


def _questions(entities: PairEntities, selected: NDArray[np.bool_], limit: int, rng: np.random.Generator) -> list[PairQuestion]:
    """Training questions; where there are too few pairs, again with other negatives."""
    questions: list[PairQuestion] = []
    for _ in range(PASSES):
        questions += pair_questions(entities, selected, limit - len(questions), rng, positives=POSITIVES)
    return questions


def unseen(entities: PairEntities, seed: int) -> NDArray[np.bool_]:
    """Return (entities,) which are in no training pair of an adapter with this seed. It depends on the id alone: later snapshots agree."""
    hashes = [zlib.crc32(f"{seed} {item.item_id}".encode()) for item in entities.items]
    return np.asarray([value % 1000 < 1000 * UNSEEN_SHARE for value in hashes], dtype=bool)


def item_entities(catalogue: Catalogue, associations: Associations, vectors: NDArray[np.float32]) -> PairEntities:
    """Return the items of a store. Args: vectors: (items, dimensions) text embeddings."""
    items = catalogue.records(range(len(catalogue)))
    return PairEntities(items, catalogue.category, associations.source_users, vectors, associations.items.tocsr(), associations.users)


def leaf_codes(catalogue: Catalogue) -> NDArray[np.int64]:
    """Return (items,) the index of each item's leaf category among `leaf_category_entities`; -1 without a category."""
    paths = [tuple(path) for path in catalogue.items["category"].to_list()]
    code = {path: index for index, path in enumerate(sorted({path for path in paths if path}))}
    return np.asarray([code.get(path, -1) for path in paths], dtype=np.int64)


def leaf_category_entities(catalogue: Catalogue, histories: RaggedArray, vectors: NDArray[np.float32]) -> PairEntities:
    """Return the leaf categories of a store.

    Args:
        catalogue: The items.
        histories: (users) item rows of each.
        vectors: (items, dimensions) text embeddings.
    """
    from scipy import sparse

    leaf, paths = leaf_codes(catalogue), catalogue.items["category"].to_list()
    leaves = sorted({tuple(path) for path in paths if path})
    user, leaf_of_event = np.repeat(np.arange(len(histories)), np.diff(histories.starts)), leaf[histories.rows]
    purchases = np.unique(np.stack([user, leaf_of_event])[:, leaf_of_event >= 0], axis=1)
    matrix = sparse.csr_array((np.ones(purchases.shape[1]), purchases), shape=(len(histories), len(leaves)))
    shared_users = sparse.csr_array(matrix.T @ matrix)
    category, sums = np.zeros(len(leaves), dtype=np.int32), np.zeros((len(leaves), vectors.shape[1]), dtype=np.float32)
    category[leaf[leaf >= 0]] = catalogue.category[leaf >= 0]
    np.add.at(sums, leaf[leaf >= 0], vectors[leaf >= 0])
    return PairEntities(
        [Item(" > ".join(path), path[-1], path[-2:-1]) for path in leaves],
        category,
        shared_users.diagonal().astype(np.int64),
        sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9),
        shared_users,
        len(histories),
    )


def pair_entities(view: TrainingView) -> tuple[PairEntities, PairEntities]:
    """Return the items and the leaf categories of a view."""
    items = item_entities(view.catalogue, view.associations, view.vectors)
    return items, leaf_category_entities(view.catalogue, view.training_data.histories, view.vectors)


def pair_questions(
    entities: PairEntities,
    selected: NDArray[np.bool_],
    limit: int,
    rng: np.random.Generator,
    *,
    anchors: NDArray[np.bool_] | None = None,
    hard: int = HARD_NEGATIVES,
    positives: int = 1,
) -> list[PairQuestion]:
    """Return pairs with negatives, in random order of the anchors. No pair comes twice; positives that came less often come first.

    Args:
        entities: Items or leaf categories.
        selected: (entities,) which may be in a pair or a negative.
        limit: Maximum number of questions.
        rng: Generator that samples them.
        anchors: (entities,) which of them may be an anchor; None for all.
        hard: Number of negatives that are the nearest to the anchor by text.
        positives: Maximum number of positives of a question.
    """
    log_users, times_positive = np.log1p(entities.users), np.zeros(len(entities.users), dtype=np.int64)
    eligible = np.flatnonzero(selected & (entities.users > 0))
    is_anchor = np.full(len(selected), True) if anchors is None else anchors
    remaining: dict[int, NDArray[np.int64]] = {}
    questions: list[PairQuestion] = []
    negative_count = CANDIDATES - positives
    for _ in range(ROUNDS):
        for anchor in rng.permutation(eligible[is_anchor[eligible]]).tolist():
            if len(questions) >= limit:
                return questions
            partners, lift = _partners(entities, anchor)
            if anchor not in remaining:
                is_pair = _is_pair(entities, anchor, partners) & selected[partners]
                remaining[anchor] = rng.permutation(partners[is_pair])
            others = eligible[entities.category[eligible] != entities.category[anchor]]
            negatives = np.setdiff1d(others, partners[lift > MAX_NEGATIVE_LIFT])
            if not len(remaining[anchor]) or len(negatives) < negative_count:
                continue
            order = np.argsort(times_positive[remaining[anchor]], kind="stable")
            chosen, remaining[anchor] = remaining[anchor][order[:positives]], remaining[anchor][order[positives:]]
            times_positive[chosen] += 1
            nearest = negatives[np.argsort(-(entities.vectors[negatives] @ entities.vectors[anchor]), kind="stable")[:NEAREST]]
            sampled = rng.choice(nearest, hard, replace=False)
            rest = np.setdiff1d(negatives, sampled)
            distances = np.abs(log_users[rest] - log_users[chosen][:, None])  # (positives, rest)
            pools = rest[np.argsort(distances, axis=1, kind="stable")[:, :MATCHED]]
            for number in range(negative_count - hard):
                pool = np.setdiff1d(pools[number % len(chosen)], sampled)
                sampled = np.append(sampled, rng.choice(pool if len(pool) else np.setdiff1d(rest, sampled)))
            questions.append(PairQuestion(anchor, np.concatenate([chosen, sampled]).astype(np.int64), len(chosen)))
    return questions


def _partners(entities: PairEntities, anchor: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The entities that share a user with an anchor, and the lift of each."""
    run = slice(entities.shared_users.indptr[anchor], entities.shared_users.indptr[anchor + 1])
    partners = entities.shared_users.indices[run].astype(np.int64)
    expected = entities.users[anchor] * entities.users[partners] / max(entities.total_users, 1)
    return partners, np.asarray(entities.shared_users.data[run] / np.maximum(expected, 1e-9), dtype=np.float64)


def _is_pair(entities: PairEntities, anchor: int, partners: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(partners,) whether each is a strong association in another category that chance does not explain."""
    from scipy.stats import poisson

    run = slice(entities.shared_users.indptr[anchor], entities.shared_users.indptr[anchor + 1])
    shared = entities.shared_users.data[run]
    expected = entities.users[anchor] * entities.users[partners] / max(entities.total_users, 1)
    is_strong = (shared >= MIN_USERS) & (shared >= MIN_LIFT * expected) & (poisson.sf(shared - 1, expected) < MAX_CHANCE)
    return np.asarray(is_strong & (entities.category[partners] != entities.category[anchor]), dtype=bool)


def pair_example(entities: PairEntities, question: PairQuestion, rng: np.random.Generator) -> ListwiseExample:
    """Return a question as an example, whose positives come first. At random, the anchor is stated in a text query or is a purchase."""
    anchor, count = entities.items[question.anchor], question.positives
    candidates = [entities.items[candidate] for candidate in question.candidates.tolist()]
    shares = None if count == 1 else [*([1 / count] * count), *([0.0] * (len(candidates) - count))]
    if rng.random() < TEXT_SHARE:
        return ListwiseExample([], candidates, 0, need=str(rng.choice(TEXT_QUERIES)).format(anchor.title), target_shares=shares)
    return ListwiseExample([anchor], candidates, 0, target_shares=shares)
