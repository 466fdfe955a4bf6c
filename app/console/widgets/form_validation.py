"""Validation of the console's form fields with the request models of the API, so that limits and messages are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from ...api.errors import validation_errors
from ...schemas.requests import RequestModel

RequestT = TypeVar("RequestT", bound=RequestModel)


def parse_request(model: type[RequestT], fields: Mapping[str, Any]) -> RequestT | ValidationError:
    """The request that some field values make, or the validation error. Numbers may have spaces or a decimal comma."""
    try:
        return model.model_validate({name: _normalize_number(value) for name, value in fields.items()})
    except ValidationError as error:
        return error


def validation_sentence(error: ValidationError) -> str:
    """The first problem of some fields as a sentence."""
    errors = validation_errors([{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()])
    detail = errors[0]["detail"]
    field, _, message = detail.partition(": ")
    return f"{field.replace('_', ' ').capitalize()}: {message}." if message else f"{detail}."


def _normalize_number(value: Any) -> Any:
    is_decimal_comma = isinstance(value, str) and _has_decimal_comma(value)
    return value.replace(",", ".").replace("\u00a0", "") if is_decimal_comma else value


def _has_decimal_comma(value: str) -> bool:
    return value.count(",") == 1 and value.replace(",", "").replace("\u00a0", "").isdigit()
