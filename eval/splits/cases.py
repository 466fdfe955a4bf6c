"""Cases: what is known of a shopper, and what is to be found. As arrays, and as JSON lines for anybody's own test.

    {"user_id": "u1", "history": ["a", "b"], "targets": ["c"], "target_category": null}

History oldest first. All items of `target_category` are ranked; without one, every item outside the history's categories, or, where the
lines say `"scope": "any"`, every item outside the history. Knows nothing of how cases are drawn (`protocols`) or of who ranks.
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
from ...data.errors import FormatError, QueryError, storing
from ...retrieval.items.ragged import Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue

CandidateScope = Literal["new", "any"]
"""What is ranked where a case names no category: items outside the history's categories, or all items outside the history."""
MAX_UNKNOWN_ITEM_SHARE = 0.05
"""Share of a file's items that may be unknown: above it, the file is of another catalogue."""


@dataclass(frozen=True)
class Cases:
    """Cases by number.

    Attributes:
        users: (cases) user ids; a user may have several cases. histories: distinct rows, oldest first. targets: distinct rows.
        target_categories: (cases) name of the category that is ranked, None for what `scope` says.
        exclusions: what was not made a case, or a target, and how often.
    """

    users: Sequence[str]
    histories: Runs
    targets: Runs
    target_categories: Sequence[str | None]
    scope: CandidateScope = "new"
    exclusions: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.users)

    def take(self, cases: NDArray[np.int64]) -> Cases:
        """Some of the cases, in the order asked for."""
        picked = cases.tolist()
        return Cases(
            [self.users[i] for i in picked],
            self.histories.part(cases),
            self.targets.part(cases),
            [self.target_categories[i] for i in picked],
            self.scope,
            self.exclusions,
        )

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """(cases,) a number per user: cases of one user are not independent."""
        number: dict[str, int] = {}
        return np.asarray([number.setdefault(user, len(number)) for user in self.users], dtype=np.int64)

    def with_eligible_targets(self, eligible: EligibleItems) -> Cases:
        """The cases with only those targets that may be ranked at all, and only such cases as have one left; the rest is counted."""
        owner, wanted = self.targets.owner, self.targets.rows.astype(np.int64)
        kept = np.zeros(len(wanted), dtype=bool)
        for start in range(0, len(self), 512):
            block = slice(start, start + 512)
            inside = (owner >= start) & (owner < start + 512)
            kept[inside] = eligible.mask(self, block)[owner[inside] - start, wanted[inside]]
        history = set(zip(self.histories.owner.tolist(), self.histories.rows.tolist(), strict=True))
        repeated = np.asarray([pair in history for pair in zip(owner.tolist(), wanted.tolist(), strict=True)], dtype=bool)
        untitled = ~eligible.rankable[wanted]
        reasons = Counter(
            {
                "targets that are in the history": int((~kept & repeated).sum()),
                "targets without a title or category": int((~kept & ~repeated & untitled).sum()),
                "targets outside what is ranked": int((~kept & ~repeated & ~untitled).sum()),
            }
        )
        targets = self.targets.where(kept)
        usable = np.flatnonzero((targets.lengths > 0) & (self.histories.lengths > 0))
        reasons["cases without a target or a history"] = len(self) - len(usable)
        found = replace(self, targets=targets).take(usable)
        return replace(found, exclusions=dict(Counter(self.exclusions) + reasons))


class EligibleItems:
    """Which items a case ranks."""

    def __init__(self, catalogue: Catalogue, scope: CandidateScope) -> None:
        self.catalogue, self.scope = catalogue, scope
        titled = catalogue.items["title"].str.len_chars().to_numpy() > 0
        placed = np.asarray([bool(name) for name in catalogue.categories], dtype=bool)[catalogue.category]
        # As the product has it: what has no title cannot be shown, what has no category cannot be told to be from another one.
        self.rankable: NDArray[np.bool_] = titled & placed if scope == "new" else titled
        self._category_masks: dict[str, NDArray[np.bool_]] = {}

    def in_category(self, name: str) -> NDArray[np.bool_]:
        """(items,) which are in a category, at any level."""
        if name not in self._category_masks:
            self._category_masks[name] = self.catalogue.in_categories([name])
        return self._category_masks[name]

    def mask(self, cases: Cases, block: slice) -> NDArray[np.bool_]:
        """(cases in the block, items) what each case of a slice ranks; never what is in its history."""
        numbers = np.arange(len(cases))[block]
        histories = cases.histories.part(numbers)
        owner, rows = histories.owner, histories.rows.astype(np.int64)
        category = self.catalogue.category
        known = np.zeros((len(numbers), len(self.catalogue.nodes)), dtype=bool)
        known[owner, category[rows]] = True
        found = np.repeat(self.rankable[None], len(numbers), axis=0)
        for place, number in enumerate(numbers.tolist()):
            name = cases.target_categories[number]
            if name is not None:
                found[place] &= self.in_category(name)
            elif self.scope == "new":
                found[place] &= ~known[place][category]
        found[owner, rows] = False
        return found


def load_cases(path: Path, catalogue: Catalogue) -> Cases:
    """The cases of a file.

    Raises:
        FormatError: a line that is no case; more than `MAX_UNKNOWN_ITEM_SHARE` of the items are unknown.
        QueryError: a target category that no item has; no case at all.
    """
    users: list[str] = []
    target_categories: list[str | None] = []
    histories: list[list[int]] = []
    targets: list[list[int]] = []
    mentioned, unknown = 0, 0
    known_categories: set[str] = set()
    scopes: set[CandidateScope] = set()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path, None, f"cannot be read ({type(error).__name__}); a case file is JSON lines in UTF-8") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        case = _parse_case(path, number, line)
        found = {
            name: [row for key in dict.fromkeys(case[name]) if (row := catalogue.rows.get(key)) is not None]
            for name in ("history", "targets")
        }
        here = sum(len(dict.fromkeys(case[name])) for name in found)
        mentioned, unknown = mentioned + here, unknown + here - sum(map(len, found.values()))
        name = case.get("target_category")
        if name is not None and name not in known_categories:
            if not catalogue.in_categories([name]).any():
                raise QueryError(f"{path}, line {number}: no item has the category {name!r}; names are compared without regard to case")
            known_categories.add(name)
        scopes.add(case.get("scope", "new"))
        users.append(case["user_id"])
        histories.append(found["history"])
        targets.append(found["targets"])
        target_categories.append(name)
    if not users:
        raise QueryError(f"{path} holds no case; one JSON object a line is wanted, with user_id, history and targets")
    if unknown > MAX_UNKNOWN_ITEM_SHARE * mentioned:
        raise FormatError(
            path,
            None,
            f"{unknown:,} of {mentioned:,} items are not among the {len(catalogue):,} of this workspace, at most {MAX_UNKNOWN_ITEM_SHARE:.0%} may be; "
            "is it the file of another catalogue?",
        )
    if len(scopes) > 1:
        raise FormatError(path, None, "some cases have the scope new and some any; evaluate them as two files")
    exclusions = {"items of the file that are unknown": unknown} if unknown else {}
    return Cases(users, Runs.of(histories), Runs.of(targets), target_categories, scopes.pop(), exclusions)


def _parse_case(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        case = json.loads(line)
    except ValueError as error:
        raise FormatError(path, number, f"no JSON ({error})") from error
    if not isinstance(case, dict) or not isinstance(case.get("user_id"), str):
        raise FormatError(path, number, 'wanted an object with "user_id" (text), "history" and "targets" (lists of item ids)')
    for name in ("history", "targets"):
        if not isinstance(case.get(name), list) or not all(isinstance(key, str) for key in case[name]):
            raise FormatError(path, number, f'"{name}" is not a list of item ids')
    if not isinstance(case.get("target_category"), str | None):
        raise FormatError(path, number, '"target_category" is neither a name nor null')
    if case.get("scope", "new") not in ("new", "any"):
        raise FormatError(path, number, '"scope" is neither new nor any')
    return case


def save_cases(cases: Cases, catalogue: Catalogue, path: Path) -> None:
    """Writes cases as `load` reads them."""
    ids = catalogue.items["item_id"].to_list()
    told = {} if cases.scope == "new" else {"scope": cases.scope}
    lines = [
        json.dumps(
            {
                "user_id": user,
                "history": [ids[row] for row in cases.histories[i].tolist()],
                "targets": [ids[row] for row in cases.targets[i].tolist()],
                "target_category": cases.target_categories[i],
                **told,
            },
            ensure_ascii=False,
        )
        for i, user in enumerate(cases.users)
    ]
    with storing(f"the cases in {path}"):
        write_atomically(path, "".join(line + "\n" for line in lines).encode())
