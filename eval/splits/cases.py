"""Evaluation cases: a user's history and the target items to find, as arrays and as JSON lines.

    {"user_id": "u1", "history": ["a", "b"], "targets": ["c"], "target_category": null}

Histories are oldest first. A case ranks all items of its `target_category`. Without one, it ranks every item outside the categories of the
history or, if the line has `"scope": "any"`, every item outside the history. This module does not know how cases are sampled (see
`protocols`) or which systems rank them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...data.atomic_files import write_atomically
from ...data.errors import FormatError, QueryError, storage_errors
from ...retrieval.items.ragged import RaggedArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue

CandidateScope = Literal["new", "any"]
"""Items to rank if a case names no category: `new` for items outside the history's categories, `any` for all items outside the history."""
MAX_UNKNOWN_ITEM_SHARE = 0.05
"""Largest share of unknown items in a case file; a file with more belongs to another catalogue."""


@dataclass(frozen=True)
class Cases:
    """Evaluation cases.

    Attributes:
        users: (cases,) user ids; a user may have several cases.
        histories: Distinct item rows of each case, oldest first.
        targets: Distinct item rows of each case.
        target_categories: (cases,) name of the category to rank; None to rank by `scope`.
        scope: Items to rank if a case names no category.
        exclusions: Reason to the number of cases or targets left out.
    """

    users: Sequence[str]
    histories: RaggedArray
    targets: RaggedArray
    target_categories: Sequence[str | None]
    scope: CandidateScope = "new"
    exclusions: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.users)

    def take(self, case_indices: NDArray[np.int64]) -> Cases:
        """Return the cases with these indices, in this order."""
        indices = case_indices.tolist()
        return Cases(
            [self.users[i] for i in indices],
            self.histories.part(case_indices),
            self.targets.part(case_indices),
            [self.target_categories[i] for i in indices],
            self.scope,
            self.exclusions,
        )

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """(cases,) user numbers, the clusters of a bootstrap: cases of one user are not independent."""
        number: dict[str, int] = {}
        return np.asarray([number.setdefault(user, len(number)) for user in self.users], dtype=np.int64)

    def with_eligible_targets(self, eligible: EligibleItems) -> Cases:
        """Return the cases that have a history and an eligible target, with eligible targets only; `exclusions` counts the others."""
        owner, target_rows = self.targets.row_index, self.targets.rows.astype(np.int64)
        is_eligible = np.zeros(len(target_rows), dtype=bool)
        for start in range(0, len(self), 512):
            block = slice(start, start + 512)
            in_block = (owner >= start) & (owner < start + 512)
            is_eligible[in_block] = eligible.mask(self, block)[owner[in_block] - start, target_rows[in_block]]
        history = set(zip(self.histories.row_index.tolist(), self.histories.rows.tolist(), strict=True))
        in_history = np.asarray([pair in history for pair in zip(owner.tolist(), target_rows.tolist(), strict=True)], dtype=bool)
        not_rankable = ~eligible.rankable[target_rows]
        exclusions = Counter(
            {
                "targets that are in the history": int((~is_eligible & in_history).sum()),
                "targets without a title or category": int((~is_eligible & ~in_history & not_rankable).sum()),
                "targets outside what is ranked": int((~is_eligible & ~in_history & ~not_rankable).sum()),
            }
        )
        targets = self.targets.where(is_eligible)
        usable = np.flatnonzero((targets.lengths > 0) & (self.histories.lengths > 0))
        exclusions["cases without a target or a history"] = len(self) - len(usable)
        cases = replace(self, targets=targets).take(usable)
        return replace(cases, exclusions=dict(Counter(self.exclusions) + exclusions))


class EligibleItems:
    """The items that each case ranks.

    Attributes:
        rankable: (items,) which items may be ranked at all.
    """

    def __init__(self, catalogue: Catalogue, scope: CandidateScope) -> None:
        self.catalogue, self.scope = catalogue, scope
        has_title = catalogue.items["title"].str.len_chars().to_numpy() > 0
        has_category = np.asarray([bool(name) for name in catalogue.categories], dtype=bool)[catalogue.category]
        # Same rule as in serving: an item without a title cannot be shown, and one without a category may belong to a known category.
        self.rankable: NDArray[np.bool_] = has_title & has_category if scope == "new" else has_title
        self._category_masks: dict[str, NDArray[np.bool_]] = {}

    def in_category(self, name: str) -> NDArray[np.bool_]:
        """(items,) which items are in a category, at any level of the tree."""
        if name not in self._category_masks:
            self._category_masks[name] = self.catalogue.in_categories([name])
        return self._category_masks[name]

    def mask(self, cases: Cases, block: slice) -> NDArray[np.bool_]:
        """(cases in the block, items) which items each case of a slice ranks; items of its history are never ranked."""
        case_indices = np.arange(len(cases))[block]
        histories = cases.histories.part(case_indices)
        owner, rows = histories.row_index, histories.rows.astype(np.int64)
        category = self.catalogue.category
        history_categories = np.zeros((len(case_indices), len(self.catalogue.nodes)), dtype=bool)
        history_categories[owner, category[rows]] = True
        names = [cases.target_categories[case] for case in case_indices.tolist()]
        if self.scope == "new" and None in names:
            mask = np.take(~history_categories, category, axis=1) & self.rankable
        else:
            mask = np.repeat(self.rankable[None], len(case_indices), axis=0)
        for name in {name for name in names if name is not None}:
            mask[[i for i, other in enumerate(names) if other == name]] = self.rankable & self.in_category(name)
        mask[owner, rows] = False
        return mask


def load_cases(path: Path, catalogue: Catalogue) -> Cases:
    """Return the cases of a JSON lines file.

    Raises:
        FormatError: The file cannot be read, a line is not a case, the lines differ in scope, or more than `MAX_UNKNOWN_ITEM_SHARE` of the
            items are unknown.
        QueryError: A target category has no items, or the file has no cases.
    """
    users: list[str] = []
    target_categories: list[str | None] = []
    histories: list[list[int]] = []
    targets: list[list[int]] = []
    item_total, unknown_total = 0, 0
    known_categories: set[str] = set()
    scopes: set[CandidateScope] = set()
    for number, line in _lines(path):
        case = _parse_case(path, number, line)
        rows = {
            key: [row for item in dict.fromkeys(case[key]) if (row := catalogue.rows.get(item)) is not None]
            for key in ("history", "targets")
        }
        case_items = sum(len(dict.fromkeys(case[key])) for key in rows)
        item_total += case_items
        unknown_total += case_items - sum(map(len, rows.values()))
        category = case.get("target_category")
        if category is not None and category not in known_categories:
            if not catalogue.in_categories([category]).any():
                raise QueryError(f"{path}, line {number}: no item has the category {category!r}; names are compared case-insensitively")
            known_categories.add(category)
        scopes.add(case.get("scope", "new"))
        users.append(case["user_id"])
        histories.append(rows["history"])
        targets.append(rows["targets"])
        target_categories.append(category)
    if not users:
        raise QueryError(f"{path} has no cases; write one JSON object per line, with user_id, history and targets")
    if unknown_total > MAX_UNKNOWN_ITEM_SHARE * item_total:
        raise FormatError(
            path,
            None,
            f"{unknown_total:,} of {item_total:,} items are unknown among the {len(catalogue):,} items of this workspace (limit "
            f"{MAX_UNKNOWN_ITEM_SHARE:.0%}); check that the file belongs to this catalogue",
        )
    if len(scopes) > 1:
        raise FormatError(path, None, "cases have both scope new and scope any; evaluate them as two files")
    exclusions = {"items of the file that are unknown": unknown_total} if unknown_total else {}
    return Cases(users, RaggedArray.of(histories), RaggedArray.of(targets), target_categories, scopes.pop(), exclusions)


def load_users(path: Path) -> frozenset[str]:
    """Return the user ids of a JSON lines file, such as a case file; only `user_id` is read.

    Raises:
        FormatError: The file cannot be read, or a line is not an object with a `user_id`.
        QueryError: The file names no users.
    """
    users = frozenset(str(_parse_object(path, number, line, '"user_id" (text)')["user_id"]) for number, line in _lines(path))
    if not users:
        raise QueryError(f"{path} names no users; write one JSON object per line, with user_id, as in a case file")
    return users


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a file that are not blank, with their numbers."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path, None, f"cannot be read ({type(error).__name__}); a case file is JSON lines in UTF-8") from error
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _parse_object(path: Path, number: int, line: str, expected: str) -> dict[str, Any]:
    """The object of a line; it has a `user_id`."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise FormatError(path, number, f"invalid JSON ({error})") from error
    if not isinstance(value, dict) or not isinstance(value.get("user_id"), str):
        raise FormatError(path, number, f"expected an object with {expected}")
    return value


def _parse_case(path: Path, number: int, line: str) -> dict[str, Any]:
    case = _parse_object(path, number, line, '"user_id" (text), "history" and "targets" (lists of item ids)')
    for key in ("history", "targets"):
        if not isinstance(case.get(key), list) or not all(isinstance(item, str) for item in case[key]):
            raise FormatError(path, number, f'"{key}" is not a list of item ids')
    if not isinstance(case.get("target_category"), str | None):
        raise FormatError(path, number, '"target_category" must be a name or null')
    if case.get("scope", "new") not in ("new", "any"):
        raise FormatError(path, number, '"scope" must be new or any')
    return case


def save_cases(cases: Cases, catalogue: Catalogue, path: Path) -> None:
    """Write cases as JSON lines that `load_cases` reads.

    Raises:
        StorageError: The file cannot be written.
    """
    ids = catalogue.items["item_id"].to_list()
    scope = {} if cases.scope == "new" else {"scope": cases.scope}
    lines = [
        json.dumps(
            {
                "user_id": user,
                "history": [ids[row] for row in cases.histories[i].tolist()],
                "targets": [ids[row] for row in cases.targets[i].tolist()],
                "target_category": cases.target_categories[i],
                **scope,
            },
            ensure_ascii=False,
        )
        for i, user in enumerate(cases.users)
    ]
    with storage_errors(f"the cases in {path}"):
        write_atomically(path, "".join(line + "\n" for line in lines).encode())
