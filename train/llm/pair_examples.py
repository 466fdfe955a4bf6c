"""Pairs of things that shoppers need together, as examples for the LLM ranker: somebody has A, do they also need B?

A pair is a strong association between two categories; items and leaf categories both give pairs. Its negatives were never bought with A,
or less than by chance: some are the nearest to A by text, which the cosine takes for needs, the others have about as many users as B. No
count is in the prompt, so that the model learns what needs what from the texts, which is all there is for a text query and for items
without users.
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
"""Negatives of a pair, and how many of them are the nearest to A by text."""
NEAREST, MATCHED = 30, 60
"""Numbers of things that the hard negatives and the others are drawn from."""
MIN_SHOPPERS, MIN_LIFT, MAX_NEGATIVE_LIFT = 3, 2.0, 0.8
"""Least shoppers and least lift of a pair, and largest lift of a negative."""
PAIRS_PER_THING = 3
"""Largest number of pairs with the same A."""
NEED_TEXTS = ("I have {}", "I just bought {}", "What goes with {}?", "Something for my {}")
"""Texts of a shopper who has A."""
TEXT_SHARE = 0.5
"""Share of the examples that state A in a text; in the others it is a purchase."""
UNSEEN_SHARE = 0.3
"""Share of the things that no training pair contains, on either side: the pairs among them measure the model."""
MAX_PAIRS, VALIDATION_PAIRS = 400, 24
"""Largest numbers of training and validation pairs, over all kinds of things."""


@dataclass(frozen=True)
class Things:
    """What pairs are made of: the items of a store, or its leaf categories.

    Attributes:
        items: (things) as they are in the prompt.
        group: (things,) number of the category that both sides of a pair must differ in.
        users: (things,) shoppers of each.
        vectors: (things, dimensions) unit vectors of the texts.
        shared: (things, things) sparse matrix of shoppers of both.
        total: Number of shoppers.
    """

    items: Sequence[Item]
    group: NDArray[np.int32]
    users: NDArray[np.int64]
    vectors: NDArray[np.float32]
    shared: sparse.csr_array
    total: int


@dataclass(frozen=True)
class PairExamples:
    """Pairs for training and for early stopping, none of them with an unseen thing."""

    training: Sequence[ListwiseExample]
    validation: Sequence[ListwiseExample]

    @classmethod
    def sample(cls, kinds: Sequence[Things], max_training: int, seed: int) -> PairExamples:
        """Return pairs of several kinds of things, as many of each as there are, up to an equal share.

        Args:
            kinds: Items and leaf categories.
            max_training: Largest number of training pairs.
            seed: Random seed.
        """
        rng = np.random.default_rng([seed, 8])
        training: list[ListwiseExample] = []
        validation: list[ListwiseExample] = []
        for number, things in enumerate(sorted(kinds, key=lambda kind: len(kind.items))):
            room = (max_training - len(training)) // (len(kinds) - number)
            questions = pair_questions(things, ~unseen(things, seed), room + VALIDATION_PAIRS // len(kinds), rng)
            made = [pair_example(things, question, rng) for question in questions]
            held_back = min(VALIDATION_PAIRS // len(kinds), len(made) // 5)
            validation += made[:held_back]
            training += made[held_back : held_back + room]
        return cls(training, validation)


@dataclass(frozen=True)
class PairQuestion:
    """One pair with its negatives.

    Attributes:
        owned: Number of A.
        others: (1 + negatives,) numbers of B and of the negatives.
    """

    owned: int
    others: NDArray[np.int64]


def unseen(things: Things, seed: int) -> NDArray[np.bool_]:
    """Return (things,) which are kept for measuring an adapter with this seed. It depends on a thing's id alone, so that it holds for later
    snapshots."""
    return np.asarray([zlib.crc32(f"{seed} {item.item_id}".encode()) % 1000 < 1000 * UNSEEN_SHARE for item in things.items], dtype=bool)


def items_of(catalogue: Catalogue, associations: Associations, vectors: NDArray[np.float32]) -> Things:
    """Return the items of a store. Args: vectors: (items, dimensions) text embeddings."""
    items = catalogue.records(range(len(catalogue)))
    return Things(items, catalogue.category, associations.source_users, vectors, associations.items.tocsr(), associations.users)


def leaf_categories_of(catalogue: Catalogue, histories: RaggedArray, vectors: NDArray[np.float32]) -> Things:
    """Return the leaf categories of a store.

    Args:
        catalogue: The items.
        histories: (users) item rows of each.
        vectors: (items, dimensions) text embeddings.
    """
    from scipy import sparse

    paths = [tuple(path) for path in catalogue.items["category"].to_list()]
    leaves = sorted({path for path in paths if path})
    number = {path: index for index, path in enumerate(leaves)}
    leaf = np.asarray([number.get(path, -1) for path in paths], dtype=np.int64)
    user, code = np.repeat(np.arange(len(histories)), np.diff(histories.starts)), leaf[histories.rows]
    pairs = np.unique(np.stack([user, code])[:, code >= 0], axis=1)
    buys = sparse.csr_array((np.ones(pairs.shape[1]), pairs), shape=(len(histories), len(leaves)))
    shared = sparse.csr_array(buys.T @ buys)
    group, sums = np.zeros(len(leaves), dtype=np.int32), np.zeros((len(leaves), vectors.shape[1]), dtype=np.float32)
    group[leaf[leaf >= 0]] = catalogue.category[leaf >= 0]
    np.add.at(sums, leaf[leaf >= 0], vectors[leaf >= 0])
    return Things(
        [Item(" > ".join(path), path[-1], path[-2:-1]) for path in leaves],
        group,
        shared.diagonal().astype(np.int64),
        sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9),
        shared,
        len(histories),
    )


def pair_questions(
    things: Things,
    selected: NDArray[np.bool_],
    limit: int,
    rng: np.random.Generator,
    *,
    hard: int = HARD_NEGATIVES,
) -> list[PairQuestion]:
    """Return pairs in random order, with negatives. A thing that is B of many pairs comes last among the partners of an A.

    Args:
        things: Items or leaf categories.
        selected: (things,) which may occur, on either side.
        limit: Largest number of pairs.
        rng: Generator that draws them.
        hard: Number of negatives that are the nearest to A by text.
    """
    shared, log_users = things.shared, np.log1p(things.users)
    kept = np.flatnonzero(selected & (things.users > 0))
    used = np.zeros(len(things.users), dtype=np.int64)
    questions: list[PairQuestion] = []
    for owned in rng.permutation(kept).tolist():
        if len(questions) >= limit:
            break
        part = slice(shared.indptr[owned], shared.indptr[owned + 1])
        partners, shoppers = shared.indices[part], shared.data[part]
        lift = shoppers * things.total / np.maximum(things.users[owned] * things.users[partners], 1)
        strong = (shoppers >= MIN_SHOPPERS) & (lift >= MIN_LIFT) & (things.group[partners] != things.group[owned]) & selected[partners]
        others = np.setdiff1d(kept[things.group[kept] != things.group[owned]], partners[lift > MAX_NEGATIVE_LIFT])
        if not strong.any() or len(others) < NEGATIVES:
            continue
        nearest = others[np.argsort(-(things.vectors[others] @ things.vectors[owned]), kind="stable")[:NEAREST]]
        strength = (lift * np.sqrt(shoppers))[strong]
        order = np.lexsort((-strength, used[partners[strong]]))
        for needed in partners[strong][order][:PAIRS_PER_THING].tolist():
            used[needed] += 1
            alike = rng.choice(nearest, hard, replace=False)
            rest = np.setdiff1d(others, alike)
            matched = rest[np.argsort(np.abs(log_users[rest] - log_users[needed]), kind="stable")[:MATCHED]]
            negatives = np.concatenate([alike, rng.choice(matched, min(NEGATIVES - hard, len(matched)), replace=False)])
            questions.append(PairQuestion(owned, np.concatenate([[needed], negatives]).astype(np.int64)))
    return questions[:limit]


def pair_example(things: Things, question: PairQuestion, rng: np.random.Generator) -> ListwiseExample:
    """Return a pair as an example, whose target comes first: A is stated in a text or is a purchase, by chance."""
    owned = things.items[question.owned]
    others = [things.items[other] for other in question.others.tolist()]
    if rng.random() < TEXT_SHARE:
        return ListwiseExample([], others, 0, need=str(rng.choice(NEED_TEXTS)).format(owned.title))
    return ListwiseExample([owned], others, 0)
