"""The description of the API: made from the routes and from what their handlers say of themselves.

GET /api/v1/openapi.json       the description; docs/reference/api.md tells the same to people

Source: OpenAPI Specification 3.1.1; JSON Schema 2020-12.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, NamedTuple, TypeVar, get_origin, get_type_hints

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, create_model

from lumper.errors import Invalid
from lumper.web.oci import description as registry

PREFIX = "/api/v1"
_PROPERTY = "operation"
_JSON = "application/json"
_SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API token; for /v2/ also a registry token."},
    "basic": {"type": "http", "scheme": "basic", "description": "A user's password, or any name and an API token."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "lumper_session",
        "description": "Who signed in to the pages.",
    },
}
_H = TypeVar("_H", bound=Callable[..., Any])


class Error(BaseModel):
    """What is wrong, and what to do next. Every answer from 400 on has this shape."""

    error: str
    hint: str


@dataclass(frozen=True)
class Operation:
    """What a handler takes and answers; types are whatever pydantic makes a schema of."""

    answer: Any
    status: int = 200
    body: type[BaseModel] | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    media_type: str = _JSON


class Described(NamedTuple):
    """A route, with what its handler says of itself; `operation` is None if it says nothing."""

    method: str
    path: str
    roles: tuple[str, ...]
    summary: str
    operation: Operation | None


def describe(answer: Any, **more: Any) -> Callable[[_H], _H]:
    """Say of a handler what it takes and answers: the fields of `Operation`."""

    def described(handler: _H) -> _H:
        handler.__dict__[_PROPERTY] = Operation(answer, **more)
        return handler

    return described


def check_query(request: web.Request, handler: Callable[..., Any]) -> None:
    """Raise Invalid for a parameter that the handler does not take, or not twice, or that is no text.

    A misspelt filter or `dry_run` that was passed over would do something else than is meant. What is not described
    takes anything.
    """
    operation: Operation | None = getattr(handler, _PROPERTY, None)
    if operation is None:
        return
    for name in dict.fromkeys(request.query):
        values = request.query.getall(name)
        if name not in operation.query:
            known = ", ".join(operation.query)
            raise Invalid(f"There is no parameter {name[:100]!r}.", hint=f"There is {known}." if known else "")
        if len(values) > 1 and get_origin(operation.query[name]) is not list:
            raise Invalid(f"{name} may be given once.")
        if any("\0" in value for value in values):
            raise Invalid(f"{name} has a NUL character, which nothing has.")


def like(source: type, name: str, *, without: tuple[str, ...] = (), **more: Any) -> Any:
    """A model with the fields of a dataclass, or fewer, or more."""
    kinds = {key: kind for key, kind in get_type_hints(source).items() if key not in without} | more
    fields: Any = {key: (kind, ...) for key, kind in kinds.items()}
    return create_model(name, **fields)


def described_routes(app: web.Application) -> Iterator[Described]:
    """Every route of the API but its answer to what is not there."""
    for route in app.router.routes():
        path = route.resource.canonical if route.resource else ""
        if path.startswith(f"{PREFIX}/") and route.method not in ("HEAD", "*"):
            roles = tuple(role.value for role in getattr(route.handler, "roles", ()))
            summary = (route.handler.__doc__ or "").partition("\n")[0]
            yield Described(route.method, path, roles, summary, getattr(route.handler, _PROPERTY, None))


def document(app: web.Application) -> dict[str, Any]:
    """The description of the API and of the registry."""
    routes = [(route, route.operation) for route in described_routes(app) if route.operation is not None]
    schemas, definitions = _schemas([operation for _, operation in routes])
    paths: dict[str, Any] = {}
    for route, operation in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, operation, schemas)
    return {
        "openapi": "3.1.1",
        "info": {"title": "Lumper", "version": version("lumper"), "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": {**paths, **registry.paths()},
        "components": {
            "securitySchemes": _SECURITY,
            "schemas": {**definitions, "Error": Error.model_json_schema(), **registry.SCHEMAS},
        },
        "security": [{name: []} for name in _SECURITY],
    }


_Key = tuple[int, str]
_Schemas = Mapping[_Key, Any]


def _schemas(operations: list[Operation]) -> tuple[_Schemas, dict[str, Any]]:
    """The schema of every answer, body and parameter, by operation and name, and what they refer to."""
    inputs: list[tuple[_Key, Any, TypeAdapter[Any]]] = []
    for operation in operations:
        key = id(operation)
        inputs.append(((key, "answer"), "serialization", TypeAdapter(operation.answer)))
        if operation.body is not None:
            inputs.append(((key, "body"), "validation", TypeAdapter(operation.body)))
        inputs += [((key, f"?{name}"), "validation", TypeAdapter(kind)) for name, kind in operation.query.items()]
    found, rest = TypeAdapter.json_schemas(inputs, ref_template="#/components/schemas/{model}")
    return {key: schema for (key, _), schema in found.items()}, rest.get("$defs", {})


def _operation(route: Described, operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    key = id(operation)
    error = {"description": "What is wrong.", "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}
    content = {operation.media_type: {"schema": schemas[key, "answer"]}}
    told: dict[str, Any] = {
        "operationId": route.method.lower() + re.sub(r"\W+", "_", route.path.removeprefix(PREFIX)).rstrip("_"),
        "summary": route.summary,
        "description": f"For the roles {', '.join(route.roles)}.",
        "tags": [route.path.split("/")[3]],
        "parameters": [
            *(_parameter(name, "path", _in_path(name)) for name in re.findall(r"{(\w+)}", route.path)),
            *(_parameter(name, "query", schemas[key, f"?{name}"]) for name in operation.query),
        ],
        "responses": {
            str(operation.status): {"description": "Done.", "content": content},
            **dict.fromkeys(("400", "401", "403", "404", "409", "413", "429", "503", "507"), error),
        },
    }
    if operation.body is not None:
        told["requestBody"] = {"required": True, "content": {_JSON: {"schema": schemas[key, "body"]}}}
    return told


def _in_path(name: str) -> dict[str, Any]:
    """What a part of a path looks like; whatever looks otherwise is 404."""
    if name == "id":
        return {"type": "integer", "minimum": 0, "exclusiveMaximum": 10**18}
    return {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._@/-]*$"}


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


class Describer:
    """Answers with the description; it is made when first asked for, when all routes are there."""

    def __init__(self) -> None:
        self._document: dict[str, Any] | None = None

    @describe(dict[str, Any])
    async def show(self, request: web.Request) -> web.Response:
        """This description."""
        if self._document is None:
            self._document = document(request.app)
        return web.json_response(self._document)
