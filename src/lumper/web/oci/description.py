"""The registry's routes as OpenAPI has them. Source: OCI distribution-spec 1.1, "Endpoints"; OpenAPI 3.1.1."""

from __future__ import annotations

from typing import Any

from lumper.registry.errors import CODES, told_code
from lumper.registry.listings import MOST
from lumper.web.oci.address import Kind

Json = dict[str, Any]

_JSON = "application/json"
_BYTES = "application/octet-stream"
_TEXT: Json = {"type": "string"}
_PART = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*"
_DIGEST = "(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})"
_TAG = "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"

_IN_PATH: dict[str, Json] = {
    "name": {**_TEXT, "pattern": f"^{_PART}(?:/{_PART})*$", "maxLength": 255},
    "reference": {**_TEXT, "pattern": f"^(?:{_DIGEST}|{_TAG})$"},
    "digest": {**_TEXT, "pattern": f"^{_DIGEST}$"},
    "upload": {**_TEXT, "minLength": 1},
}
PATHS = {
    Kind.PING: "/v2/",
    Kind.TOKEN: "/v2/token",
    Kind.CATALOG: "/v2/_catalog",
    Kind.TAGS: "/v2/{name}/tags/list",
    Kind.MANIFEST: "/v2/{name}/manifests/{reference}",
    Kind.BLOB: "/v2/{name}/blobs/{digest}",
    Kind.UPLOADS: "/v2/{name}/blobs/uploads/",
    Kind.UPLOAD: "/v2/{name}/blobs/uploads/{upload}",
    Kind.REFERRERS: "/v2/{name}/referrers/{digest}",
}


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(item: Json) -> Json:
    return {"type": "array", "items": item}


_DESCRIPTOR = _object(mediaType=_TEXT, digest=_IN_PATH["digest"], size={"type": "integer", "minimum": 0})
SCHEMAS: Json = {
    "RegistryError": _object(
        errors={
            **_list(_object(code={"enum": sorted({told_code(code) for code in CODES})}, message=_TEXT)),
            "minItems": 1,
        },
    ),
    "Token": _object(token=_TEXT, access_token=_TEXT, token_type={"const": "Bearer"}, expires_in={"type": "integer"}),
    "Tags": _object(name=_TEXT, tags=_list(_TEXT)),
    "Repositories": _object(repositories=_list(_TEXT)),
    "Index": _object(schemaVersion={"const": 2}, mediaType=_TEXT, manifests=_list(_DESCRIPTOR)),
}
_COUNT: Json = {"type": "integer", "minimum": 0, "description": f"At most {MOST} entries come, whatever is asked for."}
_PAGE: dict[str, Json] = {"n": _COUNT, "last": _TEXT}
_RANGE = {"Range": _TEXT}
_CHUNK = {"Content-Range": {**_TEXT, "pattern": "^[0-9]{1,18}-[0-9]{1,18}$"}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_ERROR: Json = {"description": "What is wrong.", "content": {_JSON: {"schema": _ref("RegistryError")}}}


def _operation(
    kind: Kind,
    summary: str,
    answers: dict[int, Json],
    *,
    query: dict[str, Json] | None = None,
    several: dict[str, Json] | None = None,
    headers: dict[str, Json] | None = None,
    body: Json | None = None,
) -> Json:
    """One operation; `several` are parameters of the query that may come more than once."""
    asked = {**(query or {}), **{name: _list(schema) for name, schema in (several or {}).items()}}
    named = [name for name in _IN_PATH if f"{{{name}}}" in PATHS[kind]]
    parameters = [
        *({"name": name, "in": "path", "required": True, "schema": _IN_PATH[name]} for name in named),
        *({"name": name, "in": "query", "schema": schema} for name, schema in asked.items()),
        *({"name": name, "in": "header", "schema": schema} for name, schema in (headers or {}).items()),
    ]
    responses = {str(status): {"description": "Done.", **content} for status, content in answers.items()}
    told = {
        "summary": summary,
        "tags": ["registry"],
        "security": [{"bearer": []}, {"basic": []}, {}],
        "parameters": parameters,
        "responses": {**responses, "default": _ERROR},
    }
    return {**told, "requestBody": {"content": body}} if body is not None else told


def _content(media_type: str, schema: Json) -> Json:
    return {"content": {media_type: {"schema": schema}}}


_FORM = {
    "application/x-www-form-urlencoded": {
        "schema": {
            "type": "object",
            "required": ["grant_type"],
            "properties": {
                "grant_type": {"enum": ["password", "refresh_token"]},
                **dict.fromkeys(("username", "password", "refresh_token", "service", "scope", "access_type"), _TEXT),
            },
        }
    }
}
_UPLOAD: Json = {_BYTES: {"schema": {}}}
_MANIFEST: Json = {"*/*": {"schema": {}}}
_ASKED_DIGEST = {"digest": _IN_PATH["digest"]}

OPERATIONS: dict[tuple[Kind, str], Json] = {
    (Kind.PING, "GET"): _operation(
        Kind.PING,
        "Whether this is a registry, and the credentials are right.",
        {200: _content(_JSON, {"type": "object"})},
    ),
    (Kind.TOKEN, "GET"): _operation(
        Kind.TOKEN,
        "A token for Basic credentials; without any, for what anyone may do.",
        {200: _content(_JSON, _ref("Token"))},
        query={"service": _TEXT},
        several={"scope": _TEXT},
    ),
    (Kind.TOKEN, "POST"): _operation(
        Kind.TOKEN, "A token for a form with credentials.", {200: _content(_JSON, _ref("Token"))}, body=_FORM
    ),
    (Kind.CATALOG, "GET"): _operation(
        Kind.CATALOG, "The names of all repositories.", {200: _content(_JSON, _ref("Repositories"))}, query=_PAGE
    ),
    (Kind.TAGS, "GET"): _operation(
        Kind.TAGS, "The tags of a repository.", {200: _content(_JSON, _ref("Tags"))}, query=_PAGE
    ),
    (Kind.REFERRERS, "GET"): _operation(
        Kind.REFERRERS,
        "What has this subject.",
        {200: _content("application/vnd.oci.image.index.v1+json", _ref("Index"))},
        query=_PAGE,
        several={"artifactType": _TEXT},
    ),
    (Kind.MANIFEST, "GET"): _operation(
        Kind.MANIFEST,
        "A manifest by tag or digest, byte by byte as it was pushed.",
        {200: {"content": _MANIFEST}, 304: {}},
        headers={"If-None-Match": _TEXT},
    ),
    (Kind.MANIFEST, "PUT"): _operation(
        Kind.MANIFEST,
        "Push a manifest; by digest it takes tags along.",
        {201: {}},
        several={"tag": _TEXT},
        body=_MANIFEST,
    ),
    (Kind.MANIFEST, "DELETE"): _operation(Kind.MANIFEST, "Delete a tag, or a manifest with all its tags.", {202: {}}),
    (Kind.BLOB, "GET"): _operation(
        Kind.BLOB,
        "A blob, or parts of it; on a bucket the way to it.",
        {200: {"content": _MANIFEST}, 206: {"content": _MANIFEST}, 304: {}, 307: {}},
        headers={**_RANGE, "If-Range": _TEXT, "If-None-Match": _TEXT},
    ),
    (Kind.BLOB, "DELETE"): _operation(Kind.BLOB, "This repository no longer serves the blob.", {202: {}}),
    (Kind.UPLOADS, "POST"): _operation(
        Kind.UPLOADS,
        "Begin an upload, do it at once, or mount a blob that is there.",
        {201: {}, 202: {}},
        query={
            **_ASKED_DIGEST,
            "mount": _TEXT,  # what cannot be mounted begins an upload
            "from": _TEXT,
            "digest-algorithm": {"enum": ["sha256", "sha512"]},
        },
        body=_UPLOAD,
    ),
    (Kind.UPLOAD, "GET"): _operation(Kind.UPLOAD, "How far an upload is.", {204: {}}),
    (Kind.UPLOAD, "PATCH"): _operation(
        Kind.UPLOAD, "The next bytes of an upload.", {202: {}}, headers=_CHUNK, body=_UPLOAD
    ),
    (Kind.UPLOAD, "PUT"): _operation(
        Kind.UPLOAD,
        "The last bytes of an upload, if any, and the digest of the whole.",
        {201: {}},
        query=_ASKED_DIGEST,
        headers=_CHUNK,
        body=_UPLOAD,
    ),
    (Kind.UPLOAD, "DELETE"): _operation(Kind.UPLOAD, "Cancel an upload.", {204: {}}),
}


def paths() -> Json:
    """The routes by path and method; HEAD stands for itself too."""
    found: Json = {}
    for (kind, method), operation in OPERATIONS.items():
        found.setdefault(PATHS[kind], {})[method.lower()] = operation
    return found
