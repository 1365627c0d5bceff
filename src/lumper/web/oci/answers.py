"""What several answers of the registry have in common: errors, digests, pages."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from aiohttp import hdrs, web

from lumper.errors import RegistryError
from lumper.model.images.image import Manifest
from lumper.registry.errors import status_of, told_code
from lumper.registry.port import StoredBlob
from lumper.web.oci.address import Address, Kind

Handler = Callable[[web.Request, Address], Awaitable[web.StreamResponse]]
Routes = dict[tuple[Kind, str], Handler]

DIGEST = "Docker-Content-Digest"
VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}  # on every answer; older clients look for it
_LONGEST_REASON = 300  # characters


def error_answer(refused: RegistryError, headers: Mapping[str, str] | None = None, **more: str) -> web.Response:
    """The error as the specification has it. `more` stands beside the list of errors."""
    entry = {"code": told_code(refused.code), "message": refused.message}
    if refused.detail:
        entry["detail"] = refused.detail
    headers = dict(headers or {})
    if refused.retry_after:
        headers[hdrs.RETRY_AFTER] = str(math.ceil(refused.retry_after))
    status = status_of(refused.code)
    reason = _reason(refused.message) if status >= 500 else None
    return web.json_response({"errors": [entry], **more}, status=status, reason=reason, headers=headers)


def _reason(message: str) -> str:
    """The message as a reason phrase: of a status from 500 on the Docker Engine shows the status line, and no body."""
    return "".join(one if one.isascii() and one.isprintable() else "?" for one in message[:_LONGEST_REASON])


def digest_headers(digest: str) -> dict[str, str]:
    """What tells which content this is."""
    return {**VERSION, DIGEST: digest, hdrs.ETAG: f'"{digest}"'}


def manifest_headers(manifest: Manifest) -> dict[str, str]:
    """What is told of a manifest."""
    size = str(manifest.size)
    return {**digest_headers(manifest.digest), hdrs.CONTENT_TYPE: manifest.media_type, hdrs.CONTENT_LENGTH: size}


def blob_headers(blob: StoredBlob) -> dict[str, str]:
    """What is told of a blob that is sent whole."""
    return {
        **digest_headers(blob.digest),
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CONTENT_TYPE: "application/octet-stream",
        hdrs.CONTENT_LENGTH: str(blob.size),
    }


def next_page(request: web.Request, size: int, last: str, **query: list[str]) -> dict[str, str]:
    """The Link header that leads to what comes after `last`, at the same upstream. Source: RFC 8288."""
    query |= {"ns": request.query.getall("ns", [])[:1]}
    fields = [("n", str(size)), ("last", last), *((name, value) for name, values in query.items() for value in values)]
    asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields)
    return {hdrs.LINK: f'<{request.rel_url.raw_path}?{asked}>; rel="next"'}
