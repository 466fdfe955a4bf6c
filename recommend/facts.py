"""What the LLM is told of a candidate: how many of those who had a history item had it too.

The counts are those of the associations at hand. In training they are counted without the shopper who is asked, so that no fact knows the
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..prompts.fence import fence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.associations import Associations
    from ..retrieval.candidates import Proposals
    from ..retrieval.catalogue import Catalogue
    from ..retrieval.seeds import Seeds

TITLE = 60
"""Characters of a title inside a fact."""


def pairs(found: Proposals, seeds: Seeds, associations: Associations) -> NDArray[np.int32]:
    """(candidates, 3): the row of the history item that makes the most telling pair, -1 for none; users of both; users of that item."""
    told = np.full((len(found), 3), [-1, 0, 0], dtype=np.int32)
    places = found.places.get("associations")
    if places is None:
        return told
    there = np.flatnonzero(places >= 0)
    anchors = seeds.rows[places[there]]
    told[there, 0] = anchors
    told[there, 1] = np.asarray(associations.items[anchors, found.rows[there]]).reshape(-1)
    told[there, 2] = associations.source_users[anchors]
    told[told[:, 1] <= 0] = (-1, 0, 0)
    return told


def sentences(told: NDArray[np.int32], catalogue: Catalogue) -> Sequence[str | None]:
    """The facts in words, None where there is none: shares of a hundred, because a small model reads one number better than two.

    Args: told: as `pairs` has it.
    """
    titles, verb = catalogue.items["title"], catalogue.verb
    return [
        f'{_share(both / had)} of 100 shoppers who {verb} "{fence(titles[anchor], TITLE)}" also {verb} it.' if anchor >= 0 else None
        for anchor, both, had in told.tolist()
    ]


def _share(share: float) -> str:
    return str(round(100 * share)) if share >= 0.005 else "Less than 1"
