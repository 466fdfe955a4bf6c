"""Filters of a cohort besides its names: period, price, number of purchases, and conditions on any column of the items."""

from __future__ import annotations

import datetime
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....data.errors import QueryError
from ....prompts.sanitize import sanitize_for_prompt
from ....retrieval.items.catalogue import Catalogue
from ....retrieval.items.interactions import DAY
from ...constraints.price_range import price_mask, validate_price_range

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

_CONDITION = re.compile(r"\s*([^=!<>]+?)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters of a cohort; the defaults filter nothing.

    Attributes:
        since: First day, as `2024-01-31`; only interactions from then on count, for the cohort and for what follows.
        until: Last day, inclusive.
        min_price: Minimum price of the items that define the cohort; an item without a price fails a price filter.
        max_price: Maximum price, inclusive.
        at_least: Minimum number of interactions with each name that is not negated.
        first_time: Only users whose first interaction with the items was in the period; without a period, whose only one it was.
        where: Conditions on columns of the items that define the cohort: `colour=red`, `brand!=Acme`, `price<20`.
    """

    since: str | None = None
    until: str | None = None
    min_price: float | None = None
    max_price: float | None = None
    at_least: int = 1
    first_time: bool = False
    where: tuple[str, ...] = ()

    def check(self) -> None:
        """Validate the values.

        Raises:
            QueryError: A value is out of range, or two contradict each other.
        """
        period = self.period
        if period[0] is not None and period[1] is not None and period[0] >= period[1]:
            raise QueryError(f"the period is upside down: from {self.since} to {self.until}; swap the days")
        validate_price_range(self.min_price, self.max_price)
        if self.at_least < 1:
            raise QueryError(f"at_least must be 1 or more, not {self.at_least}; give 1 or more")
        if self.first_time and self.at_least > 1 and period == (None, None):
            raise QueryError(
                f"nobody matches first time and at least {self.at_least} times without a period; "
                "give a period for the first time, or drop one of the two"
            )

    @property
    def period(self) -> tuple[int | None, int | None]:
        """Start and end of the period in milliseconds, the end exclusive; None for an open side.

        Raises:
            QueryError: A value is not a day.
        """
        since, until = _day(self.since), _day(self.until)
        return since, None if until is None else until + DAY

    def rows(self, catalogue: Catalogue) -> NDArray[np.bool_]:
        """Return the items that may define the cohort, (items,) bool.

        Raises:
            QueryError: A condition cannot be parsed, or names a column that the items do not have.
        """
        mask = price_mask(catalogue, self.min_price, self.max_price)
        for condition in self.where:
            mask &= _matching(condition, catalogue.items)
        return mask

    def to_dict(self) -> dict[str, Any]:
        """Return the filters that differ from the defaults, for JSON."""
        values = {name: getattr(self, name) for name in ("since", "until", "min_price", "max_price", "at_least", "first_time", "where")}
        return {name: list(value) if name == "where" else value for name, value in values.items() if value != getattr(NO_FILTERS, name)}


NO_FILTERS = Filters()


def _day(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        day = datetime.date.fromisoformat(text.strip())
    except ValueError:
        raise QueryError(f"not a day of the period: {sanitize_for_prompt(text, 40)!r}; write it as 2024-01-31") from None
    return int(datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC).timestamp() * 1000)


def _matching(condition: str, items: pl.DataFrame) -> NDArray[np.bool_]:
    """Return the items that satisfy one condition, (items,) bool; an item without a value satisfies only `!=`."""
    import polars as pl

    match = _CONDITION.fullmatch(condition)
    if not match or not match[3]:
        shown = sanitize_for_prompt(condition, 60)
        raise QueryError(f"the condition {shown!r} is not COLUMN=VALUE (or != < <= > >=), as in colour=red or price<20")
    name, operation, value = match[1], match[2], match[3]
    if name not in items.columns:
        raise QueryError(f"the items have no column {sanitize_for_prompt(name, 40)!r}; they have {', '.join(items.columns)}")
    column = items[name]
    if column.dtype.is_numeric():
        try:
            number = float(value)
        except ValueError:
            raise QueryError(f"{name} is a number, but {sanitize_for_prompt(value, 40)!r} is not; compare it with a number") from None
        numbers = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        if operation in _COMPARE:
            return np.asarray(_COMPARE[operation](numbers, number))
        return np.asarray((numbers == number) if operation == "=" else (numbers != number))
    if operation in _COMPARE:
        raise QueryError(f"{name} is text, which can be compared with = and !=, not with {operation}")
    lowered = value.casefold()
    if isinstance(column.dtype, pl.List):
        equal = items.select(pl.col(name).list.eval(pl.element().cast(pl.String).str.to_lowercase() == lowered).list.any()).to_series()
    else:
        equal = column.cast(pl.String).str.to_lowercase() == lowered
    mask = equal.fill_null(False).to_numpy()
    return np.asarray(mask if operation == "=" else ~mask, dtype=bool)
