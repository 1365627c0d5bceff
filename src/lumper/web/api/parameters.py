"""What a request to the API has in its path, its query and its body."""

from __future__ import annotations

import re
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from lumper.errors import Invalid
from lumper.web.api.schemas import MOST
from lumper.web.small_bodies import whole_body

Model = TypeVar("Model", bound=BaseModel)


async def body_of(request: web.Request, model: type[Model]) -> Model:
    """The body of a request, checked. Raises Invalid."""
    data = await whole_body(request)
    try:
        return model.model_validate_json(data)
    except ValidationError as exc:
        words = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise Invalid(f"The body is not understood: {words}.") from exc


def id_of(request: web.Request) -> int:
    """The number `id` in the path."""
    return int(request.match_info["id"])


def number(request: web.Request, name: str, default: int) -> int:
    """A number in the query. Raises Invalid."""
    value = request.query.get(name)
    if value is None:
        return default
    if not re.fullmatch("[0-9]{1,18}", value):
        raise Invalid(f"{name} must be one whole number of 0 or more.")
    return int(value)


def flag(request: web.Request, name: str) -> bool:
    """Whether a parameter of the query is 1 and not 0, as it is where it is missing. Raises Invalid."""
    value = request.query.get(name, "0")
    if value not in ("0", "1"):
        raise Invalid(f"{name} must be 0 or 1.")
    return value == "1"


def limit_of(request: web.Request) -> int:
    """How many entries are asked for. Raises Invalid."""
    limit = number(request, "limit", 50)
    if not 1 <= limit <= MOST:
        raise Invalid(f"limit must be between 1 and {MOST}.")
    return limit
