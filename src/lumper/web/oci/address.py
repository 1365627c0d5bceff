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

from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote

from lumper.model.images.image import is_repository
from lumper.registry.errors import refuse

LONGEST = 8192  # characters of a request's target


class Kind(Enum):
    """What a path names; the value is what metrics call it."""

    PING = "ping"
    TOKEN = "token"  # noqa: S105
    CATALOG = "catalog"
    TAGS = "tags"
    MANIFEST = "manifest"
    BLOB = "blob"
    UPLOADS = "uploads"
    UPLOAD = "upload"
    REFERRERS = "referrers"


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
