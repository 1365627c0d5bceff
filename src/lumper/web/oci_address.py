"""What a path under `/v2/` means. Pure.

    /v2/                                    ping
    /v2/token                               token
    /v2/_catalog                            catalog
    /v2/<name>/tags/list                    tags
    /v2/<name>/manifests/<tag or digest>    manifest
    /v2/<name>/blobs/<digest>               blob
    /v2/<name>/blobs/uploads/               uploads
    /v2/<name>/blobs/uploads/<upload>       upload
    /v2/<name>/referrers/<digest>           referrers

Source: OCI distribution-spec 1.1, "Endpoints". A name has slashes of its own, so a path is read from its end.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple
from urllib.parse import unquote

from lumper.model.image import is_repository
from lumper.registry.errors import refuse

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,18})-(\d{1,18})(?:/(?:\*|\d{1,18}))?")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Kind(Enum):
    """What a path names."""

    PING = auto()
    TOKEN = auto()
    CATALOG = auto()
    TAGS = auto()
    MANIFEST = auto()
    BLOB = auto()
    UPLOADS = auto()
    UPLOAD = auto()
    REFERRERS = auto()


class Address(NamedTuple):
    """A path that was understood. `item` is the tag, digest or upload at its end; it is not checked yet."""

    kind: Kind
    repository: str = ""
    item: str = ""


def parse_address(raw_path: str) -> Address:
    """Read a path as it came, percent signs and all.

    Parts are decoded after the path was cut at its slashes, so that no `%2F` or `%2e%2e` makes another path of it.
    Raises RegistryError: NOT_FOUND, NAME_INVALID, DIGEST_INVALID.
    """
    try:
        parts = [unquote(part, errors="strict") for part in raw_path.removeprefix("/v2").removeprefix("/").split("/")]
    except UnicodeDecodeError as exc:
        raise refuse("NAME_INVALID") from exc
    match parts:
        case [""]:
            return Address(Kind.PING)
        case ["token"]:
            return Address(Kind.TOKEN)
        case ["_catalog"]:
            return Address(Kind.CATALOG)
        case [*name, "tags", "list"]:
            return _named(Kind.TAGS, name, "")
        case [*name, "blobs", "uploads"] | [*name, "blobs", "uploads", ""]:
            return _named(Kind.UPLOADS, name, "")
        case [*name, "blobs", "uploads", upload]:
            return _named(Kind.UPLOAD, name, upload)
        case [*name, "manifests", reference]:
            return _named(Kind.MANIFEST, name, reference)
        case [*name, "blobs", digest]:
            return _named(Kind.BLOB, name, digest)
        case [*name, "referrers", digest]:
            return _named(Kind.REFERRERS, name, digest)
    if any(":" in part for part in parts):  # no name has a colon: a digest with slashes was meant
        raise refuse("DIGEST_INVALID")
    raise refuse("NOT_FOUND")


def _named(kind: Kind, name: list[str], item: str) -> Address:
    repository = "/".join(name)
    if not is_repository(repository):
        raise refuse("NAME_INVALID", "A name has parts of lower-case letters, digits and single . _ - between slashes.")
    return Address(kind, repository, item)


def parse_content_range(header: str | None, length: int | None) -> int | None:
    """Where the bytes of an upload's request begin; None if it does not say.

    `length` is the request's Content-Length, if it has one. Raises RegistryError RANGE_INVALID for what is not
    `<first>-<last>` or does not fit the length. Source: OCI distribution-spec 1.1, "Pushing a blob in chunks".
    """
    if header is None:
        return None
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        raise refuse("RANGE_INVALID", "Content-Range is not <first byte>-<last byte>.")
    first, last = int(match[1]), int(match[2])
    if last < first - 1 or (length is not None and length != last - first + 1 and not (length == 0 and last == first)):
        raise refuse("RANGE_INVALID", "Content-Range does not fit Content-Length.")
    return first


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The part of a blob that is asked for, as start and end (exclusive); None for all of it.

    What is not one range of bytes is passed over, as RFC 9110, section 14.2, has it. Raises RegistryError RANGE_INVALID
    if no byte of the blob is in the range.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= end:
        raise refuse("RANGE_INVALID", f"The blob has {size} bytes.")
    return start, end
