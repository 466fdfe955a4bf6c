"""What narrows a cohort besides its names: when, at what price, how often, and any column of the items."""

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
    from numpy.typing import NDArray

_CONDITION = re.compile(r"\s*([^=!<>]+?)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Filters:
    """What narrows a cohort; the defaults narrow nothing.

    Attributes:
        since / until: days as `2024-01-31`, both inclusive: only what happened then counts, before and after.
        min_price / max_price: of the items that make the cohort, inclusive; an item without a price is out.
        at_least: how often each wanted name must have been had.
        first_time: only users whose first time it was in the period; without a period, whose only time it was.
        where: conditions on columns of the items that make the cohort: `colour=red`, `brand!=Acme`, `price<20`.
    """

    since: str | None = None
    until: str | None = None
    min_price: float | None = None
    max_price: float | None = None
    at_least: int = 1
    first_time: bool = False
    where: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises: QueryError: filters that contradict themselves or mean nothing."""
        period = self.period
        if period[0] is not None and period[1] is not None and period[0] >= period[1]:
            raise QueryError(f"the period is upside down: from {self.since} to {self.until}")
        validate_price_range(self.min_price, self.max_price)
        if self.at_least < 1:
            raise QueryError(f"at least {self.at_least} times is no condition; give 1 or more")
        if self.first_time and self.at_least > 1 and period == (None, None):
            raise QueryError(
                f"nobody can have it for the first time and at least {self.at_least} times; give a period for the first time, or drop one"
            )

    @property
    def period(self) -> tuple[int | None, int | None]:
        """From when on, and before when, in milliseconds. Raises: QueryError: no day."""
        since, until = _day(self.since), _day(self.until)
        return since, None if until is None else until + DAY

    def rows(self, catalogue: Catalogue) -> NDArray[np.bool_]:
        """(items,) which may make the cohort.

        Raises: QueryError: a condition that cannot be read, or on a column that the items do not have.
        """
        mask = price_mask(catalogue, self.min_price, self.max_price)
        for condition in self.where:
            mask &= _matching(condition, catalogue.items)
        return mask

    def to_dict(self) -> dict[str, Any]:
        """The filters that narrow anything, as JSON holds them."""
        said = {name: getattr(self, name) for name in ("since", "until", "min_price", "max_price", "at_least", "first_time", "where")}
        return {name: list(value) if name == "where" else value for name, value in said.items() if value != getattr(NO_FILTERS, name)}


NO_FILTERS = Filters()


def _day(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        day = datetime.date.fromisoformat(text.strip())
    except ValueError:
        raise QueryError(f"a day of the period is {sanitize_for_prompt(text, 40)!r}; write it as 2024-01-31") from None
    return int(datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC).timestamp() * 1000)


def _matching(condition: str, items: Any) -> NDArray[np.bool_]:
    """(items,) which satisfy one condition; an item without a value satisfies none but `!=`."""
    import polars as pl

    parts = _CONDITION.fullmatch(condition)
    if not parts or not parts[3]:
        raise QueryError(
            f"the condition {sanitize_for_prompt(condition, 60)!r} is not COLUMN=VALUE (or != < <= > >=), as in colour=red or price<20"
        )
    name, compare, value = parts[1], parts[2], parts[3]
    if name not in items.columns:
        raise QueryError(f"the items have no column {sanitize_for_prompt(name, 40)!r}; they have {', '.join(items.columns)}")
    column = items[name]
    if column.dtype.is_numeric():
        try:
            number = float(value)
        except ValueError:
            raise QueryError(f"{name} is a number, and {sanitize_for_prompt(value, 40)!r} is none") from None
        values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        if compare in _COMPARE:
            return np.asarray(_COMPARE[compare](values, number))
        return np.asarray((values == number) if compare == "=" else (values != number))
    if compare in _COMPARE:
        raise QueryError(f"{name} is text, which is = or != and never {compare}")
    wanted = value.casefold()
    if isinstance(column.dtype, pl.List):
        same = items.select(pl.col(name).list.eval(pl.element().cast(pl.String).str.to_lowercase() == wanted).list.any()).to_series()
    else:
        same = column.cast(pl.String).str.to_lowercase() == wanted
    found = same.fill_null(False).to_numpy()
    return np.asarray(found if compare == "=" else ~found, dtype=bool)
