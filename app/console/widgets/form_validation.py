"""What is typed into the console's fields, as the requests that the API takes: one set of bounds, one set of sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from ...api.errors import validation_errors
from ...schemas.requests import RequestModel

R = TypeVar("R", bound=RequestModel)


def read(kind: type[R], told: Mapping[str, Any]) -> R | ValidationError:
    """The request that some fields make, or what is wrong with them. A number may be typed as people do, with spaces or a decimal comma."""
    try:
        return kind.model_validate({name: _number(value) for name, value in told.items()})
    except ValidationError as error:
        return error


def problem(error: ValidationError) -> str:
    """What is wrong with the fields, in one sentence."""
    found = validation_errors([{**one, "loc": ("body", *one["loc"])} for one in error.errors()])[0]["detail"]
    field, _, wrong = found.partition(": ")
    return f"{field.replace('_', ' ').capitalize()}: {wrong}." if wrong else f"{found}."


def _number(value: Any) -> Any:
    return value.replace(",", ".").replace("\u00a0", "") if isinstance(value, str) and _looks_like_one(value) else value


def _looks_like_one(value: str) -> bool:
    return bool(value) and value.count(",") == 1 and value.replace(",", "").replace("\u00a0", "").isdigit()
