"""Base of the response schemas: the OpenAPI description and the tests use them, which compare real responses with them.

Fields that the JSON takes over from a record are generated from the record (`fields_of`); a class body declares only what the JSON has
in another form. Responses are not validated when they are sent: they consist of plain JSON types already, and validating a large one
takes as long as computing some of the others. Later versions may add fields; under `/v1` none is removed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, Field, create_model

Model = TypeVar("Model", bound=BaseModel)
Interval = list[float | None]
"""Lower and upper bound; null where the interval is unbounded."""


def fields_of(record: type, *names: str) -> Callable[[type[Model]], type[Model]]:
    """Return a class decorator that adds fields of a record to a response model, as required fields of the same types.

    Fields that the model declares itself are kept.

    Args:
        record: Dataclass that the JSON is made from.
        names: Fields to add; all fields of the record if none are given.
    """
    types = get_type_hints(record)

    def decorate(model: type[Model]) -> type[Model]:
        chosen = names or tuple(field.name for field in dataclasses.fields(record))
        added: dict[str, Any] = {name: (types[name], ...) for name in chosen if name not in model.model_fields}
        return create_model(model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **added)

    return decorate


class ResponseModel(BaseModel):
    """Base of all schemas. Fields are always present, unless they have a default."""


class ProblemResponse(ResponseModel):
    """An error, as problem details (RFC 9457)."""

    type: str = Field(description="urn:crossaisle:problem:KIND, or about:blank")
    title: str
    status: int
    detail: str = Field(description="One sentence: what is wrong, and what to do.")
    request_id: str = ""
    errors: list[dict[str, Any]] = Field(default=[], description="Invalid fields of the request: `in`, `pointer`, `detail`.")
