"""Conditions of requests: what a digest names never changes, and what a tag names does. Pure but for the headers.

Source: RFC 9110, section 13. There are no dates here, and If-Range is told apart where ranges are.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from lumper.registry.errors import refuse


def has_already(request: web.Request, digest: str) -> bool:
    """Whether a read by If-None-Match is of what the client has: weak comparison, section 13.1.2."""
    return _names(request, hdrs.IF_NONE_MATCH, digest, weak=True)


def depends(request: web.Request) -> bool:
    """Whether a change is asked for under a condition."""
    return hdrs.IF_MATCH in request.headers or hdrs.IF_NONE_MATCH in request.headers


def check_match(request: web.Request, digest: str) -> None:
    """Raise RegistryError CONDITION_FAILED unless If-Match, if there is one, names this digest ("": nothing is there).

    The comparison is strong: section 13.1.1.
    """
    if hdrs.IF_MATCH in request.headers and not _names(request, hdrs.IF_MATCH, digest, weak=False):
        raise refuse("CONDITION_FAILED")


def check_change(request: web.Request, digest: str) -> None:
    """Raise RegistryError CONDITION_FAILED if what is there, "" for nothing, may not be changed by this request."""
    check_match(request, digest)
    if _names(request, hdrs.IF_NONE_MATCH, digest, weak=True):
        raise refuse("CONDITION_FAILED")


def _names(request: web.Request, header: str, digest: str, *, weak: bool) -> bool:
    """Whether the header's list has the entity tag of what is there. Like others, we take tags without quotes too."""
    tags = [tag.strip() for tag in ",".join(request.headers.getall(header, [])).split(",")]
    if weak:
        tags = [tag.removeprefix("W/") for tag in tags]
    return bool(digest) and ("*" in tags or digest in [tag.strip('"') for tag in tags])
