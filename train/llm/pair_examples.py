"""Pairs of items that shoppers need together, as examples for the LLM ranker: a shopper has an anchor, do they also need the positive?

A pair is a strong association between two categories; items and leaf categories both give pairs. The negatives were never bought with the
anchor, or less often than by chance: hard ones are the nearest to it by text, the others have about as many users as the positive. No count
is in the prompt, so that the model learns complements from texts, which is all there is for a text query and for items without users.
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

    from ...retrieval.associations.rules import Associations
    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.items.ragged import RaggedArray

NEGATIVES, HARD_NEGATIVES = 11, 4
"""Negatives of a pair, and how many of them are the nearest to the anchor by text."""
NEAREST, MATCHED = 30, 60
"""Numbers of entities that the hard and the popularity-matched negatives are sampled from."""
MIN_USERS, MIN_LIFT, MAX_NEGATIVE_LIFT = 3, 2.0, 0.8
"""Minimum users and minimum lift of a pair, and maximum lift of a negative."""
PAIRS_PER_ANCHOR = 3
"""Maximum number of pairs with the same anchor."""
TEXT_QUERIES = ("I have {}", "I just bought {}", "What goes with {}?", "Something for my {}")
"""Text queries of a shopper who has the anchor."""
TEXT_SHARE = 0.5
"""Share of the examples that state the anchor in a text query; in the others it is a purchase."""
UNSEEN_SHARE = 0.3
"""Share of the entities that no training pair contains, on either side: the pairs among them measure the model."""
MAX_PAIRS, VALIDATION_PAIRS = 400, 24
"""Maximum numbers of training and of validation pairs."""


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
    """One pair with its negatives.

    Attributes:
        anchor: Index of the anchor.
        candidates: (1 + negatives,) indices of the positive and of the negatives.
    """

    anchor: int
    candidates: NDArray[np.int64]


@dataclass(frozen=True)
class PairExamples:
    """Pairs for training and for early stopping, none of them with an unseen entity."""

    training: Sequence[ListwiseExample]
    validation: Sequence[ListwiseExample]

    @classmethod
    def sample(cls, entity_sets: Sequence[PairEntities], max_training: int, seed: int) -> PairExamples:
        """Return pairs of items and of leaf categories, up to an equal share of each; what the smaller set lacks comes from the other.

        Args:
            entity_sets: Items and leaf categories.
            max_training: Maximum number of training pairs.
            seed: Random seed.
        """
        rng = np.random.default_rng([seed, 8])
        training: list[ListwiseExample] = []
        validation: list[ListwiseExample] = []
        validation_share = VALIDATION_PAIRS // max(1, len(entity_sets))
        for number, entities in enumerate(sorted(entity_sets, key=lambda entities: len(entities.items))):
            training_share = (max_training - len(training)) // (len(entity_sets) - number)
            questions = pair_questions(entities, ~unseen(entities, seed), training_share + validation_share, rng)
            examples = [pair_example(entities, question, rng) for question in questions]
            validation_count = min(validation_share, len(examples) // 5)
            validation += examples[:validation_count]
            training += examples[validation_count : validation_count + training_share]
        return cls(training, validation)


def unseen(entities: PairEntities, seed: int) -> NDArray[np.bool_]:
    """Return (entities,) which are in no training pair of an adapter with this seed. It depends on the id alone: later snapshots agree."""
    hashes = [zlib.crc32(f"{seed} {item.item_id}".encode()) for item in entities.items]
    return np.asarray([value % 1000 < 1000 * UNSEEN_SHARE for value in hashes], dtype=bool)


def item_entities(catalogue: Catalogue, associations: Associations, vectors: NDArray[np.float32]) -> PairEntities:
    """Return the items of a store. Args: vectors: (items, dimensions) text embeddings."""
    items = catalogue.records(range(len(catalogue)))
    return PairEntities(items, catalogue.category, associations.source_users, vectors, associations.items.tocsr(), associations.users)


def leaf_category_entities(catalogue: Catalogue, histories: RaggedArray, vectors: NDArray[np.float32]) -> PairEntities:
    """Return the leaf categories of a store.

    Args:
        catalogue: The items.
        histories: (users) item rows of each.
        vectors: (items, dimensions) text embeddings.
    """
    from scipy import sparse

    paths = [tuple(path) for path in catalogue.items["category"].to_list()]
    leaves = sorted({path for path in paths if path})
    code = {path: index for index, path in enumerate(leaves)}
    leaf = np.asarray([code.get(path, -1) for path in paths], dtype=np.int64)
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


def pair_questions(
    entities: PairEntities,
    selected: NDArray[np.bool_],
    limit: int,
    rng: np.random.Generator,
    *,
    hard: int = HARD_NEGATIVES,
) -> list[PairQuestion]:
    """Return pairs with negatives, in random order of the anchors. Frequent positives come last among the partners of an anchor.

    Args:
        entities: Items or leaf categories.
        selected: (entities,) which may be in a pair or a negative.
        limit: Maximum number of pairs.
        rng: Generator that samples them.
        hard: Number of negatives that are the nearest to the anchor by text.
    """
    shared_users, log_users = entities.shared_users, np.log1p(entities.users)
    eligible = np.flatnonzero(selected & (entities.users > 0))
    times_positive = np.zeros(len(entities.users), dtype=np.int64)
    questions: list[PairQuestion] = []
    for anchor in rng.permutation(eligible).tolist():
        if len(questions) >= limit:
            break
        run = slice(shared_users.indptr[anchor], shared_users.indptr[anchor + 1])
        partners, both = shared_users.indices[run], shared_users.data[run]
        lift = both * entities.total_users / np.maximum(entities.users[anchor] * entities.users[partners], 1)
        is_other = entities.category[partners] != entities.category[anchor]
        is_pair = (both >= MIN_USERS) & (lift >= MIN_LIFT) & is_other & selected[partners]
        others = eligible[entities.category[eligible] != entities.category[anchor]]
        negatives = np.setdiff1d(others, partners[lift > MAX_NEGATIVE_LIFT])
        if not is_pair.any() or len(negatives) < NEGATIVES:
            continue
        nearest = negatives[np.argsort(-(entities.vectors[negatives] @ entities.vectors[anchor]), kind="stable")[:NEAREST]]
        strength = (lift * np.sqrt(both))[is_pair]
        order = np.lexsort((-strength, times_positive[partners[is_pair]]))
        for positive in partners[is_pair][order][:PAIRS_PER_ANCHOR].tolist():
            times_positive[positive] += 1
            hard_negatives = rng.choice(nearest, hard, replace=False)
            rest = np.setdiff1d(negatives, hard_negatives)
            matched = rest[np.argsort(np.abs(log_users[rest] - log_users[positive]), kind="stable")[:MATCHED]]
            matched = rng.choice(matched, min(NEGATIVES - hard, len(matched)), replace=False)
            questions.append(PairQuestion(anchor, np.concatenate([[positive], hard_negatives, matched]).astype(np.int64)))
    return questions[:limit]


def pair_example(entities: PairEntities, question: PairQuestion, rng: np.random.Generator) -> ListwiseExample:
    """Return a pair as an example, whose target comes first. At random, the anchor is stated in a text query or is a purchase."""
    anchor = entities.items[question.anchor]
    candidates = [entities.items[candidate] for candidate in question.candidates.tolist()]
    if rng.random() < TEXT_SHARE:
        return ListwiseExample([], candidates, 0, need=str(rng.choice(TEXT_QUERIES)).format(anchor.title))
    return ListwiseExample([anchor], candidates, 0)
