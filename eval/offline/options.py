"""Options of an offline evaluation and their validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...data.errors import QueryError
from ...data.splits import PROTOCOLS, WHOLE_USER_PROTOCOLS, Protocol, Split
from ..baselines.tuning import DEFAULT_BUDGET
from ..splits.cases import CandidateScope
from .system_names import RANKING_DEPTH


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to evaluate.

    Attributes:
        protocol: Split protocol, see `protocols`.
        cases: File of cases to use instead of a protocol.
        seed: Random seed of all sampling.
        scope: `new` ranks items outside the history's categories, `any` all items outside the history; None for the protocol's default.
        k: Length of the evaluated lists.
        max_cases: Number of cases to sample; None for all.
        llm_cases: Number of those cases that the LLM scores.
        target_category: Category to rank; only cases with a target in it are used.
        at: First day of the test period, for `temporal`, as 2024-01-31.
        near_duplicates: Whether to keep targets that are near-duplicates of a history item.
        groups: Table with user_id and other columns.
        group_by: Column of that table with the user groups to compare.
        budget: Number of configurations to try per baseline.
        baselines_only: Whether to leave out the product's own systems.
    """

    protocol: Protocol = "users"
    cases: str | None = None
    seed: int = 0
    scope: CandidateScope | None = None
    k: int = 10
    max_cases: int | None = 2000
    llm_cases: int = 500
    target_category: str | None = None
    at: str | None = None
    near_duplicates: bool = False
    groups: str | None = None
    group_by: str | None = None
    budget: int = DEFAULT_BUDGET
    baselines_only: bool = False

    def validate(self) -> None:
        """Check the options that need no workspace.

        Raises:
            QueryError: An option is out of range, or two options exclude each other.
        """
        if self.protocol not in PROTOCOLS:
            raise QueryError(f"--protocol must be one of {', '.join(PROTOCOLS)}, not {self.protocol!r}")
        if self.scope not in (None, "new", "any"):
            raise QueryError(f"--scope must be new or any, not {self.scope!r}")
        if self.protocol in WHOLE_USER_PROTOCOLS and self.scope == "any" and self.cases is None:
            problem = f"--protocol {self.protocol} ranks categories that are new to the shopper"
            raise QueryError(f"{problem}; use --scope any with another protocol")
        if not 1 <= self.k <= RANKING_DEPTH:
            raise QueryError(f"k must be 1 to {RANKING_DEPTH}, not {self.k}")
        for name, value in (("--max-cases", self.max_cases), ("--budget", self.budget)):
            if value is not None and value < 1:
                raise QueryError(f"{name} must be 1 or more, not {value}")
        if self.llm_cases < 0:
            raise QueryError(f"--llm-cases must be 0 or more, not {self.llm_cases}")
        if self.at is not None and self.protocol != "temporal":
            raise QueryError("--at requires --protocol temporal")
        if (self.groups is None) != (self.group_by is None):
            raise QueryError("--groups FILE and --group-by COLUMN must be given together")

    def split(self) -> Split:
        """Return the unresolved split of the protocol, after a check of the options.

        Raises:
            QueryError: An option is out of range.
        """
        self.validate()
        return Split(self.protocol, self.seed, moment=self.test_start)

    @property
    def test_start(self) -> int | None:
        """Start of the test period in milliseconds since 1970; None if `at` is not set.

        Raises:
            QueryError: `at` is not a date.
        """
        if self.at is None:
            return None
        try:
            return int(np.datetime64(self.at, "D").astype("datetime64[ms]").astype(np.int64))
        except ValueError:
            raise QueryError(f"--at must be a date such as 2024-01-31, not {self.at!r}") from None
