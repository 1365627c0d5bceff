"""The error codes of the OCI API: code, text, HTTP status and what clients are told in one table.

Source: OCI distribution-spec 1.1, "Error Codes". Of statuses from 400 to 499 it allows no other codes than its own:
those that only Lumper knows are told by one of these, and their text says more.
"""

from __future__ import annotations

from typing import NamedTuple

from lumper.errors import RegistryError


class _Row(NamedTuple):
    text: str
    status: int
    told: str = ""  # the specification's code, where this one is none of its


CODES: dict[str, _Row] = {
    "BLOB_UNKNOWN": _Row("This repository has no such blob.", 404),
    "BLOB_UPLOAD_INVALID": _Row("The upload cannot go on.", 400),
    "BLOB_UPLOAD_UNKNOWN": _Row("There is no such upload.", 404),
    "DIGEST_INVALID": _Row("The digest is not one, or the content has another one.", 400),
    "MANIFEST_BLOB_UNKNOWN": _Row("The manifest refers to something that this repository does not have.", 400),
    "MANIFEST_INVALID": _Row("The manifest is not valid.", 400),
    "MANIFEST_UNKNOWN": _Row("This repository has no such manifest.", 404),
    "NAME_INVALID": _Row("The repository's name is not valid.", 400),
    "NAME_UNKNOWN": _Row("There is no such repository.", 404),
    "SIZE_INVALID": _Row("The length is not the one that was announced.", 400),
    "UNAUTHORIZED": _Row("Sign in first, such as by `docker login`.", 401),
    "DENIED": _Row("You may not do that.", 403),
    "UNSUPPORTED": _Row("The registry does not do that.", 405),
    "TOOMANYREQUESTS": _Row("There were too many requests, or failed sign-ins.", 429),
    "MANIFEST_TOO_LARGE": _Row("The manifest is larger than 4 MiB.", 413, "MANIFEST_INVALID"),
    "ADDRESS_TOO_LONG": _Row(
        "The address of the request is longer than 8 KiB, or names too many tags.", 414, "UNSUPPORTED"
    ),
    "PAGE_INVALID": _Row("`n` is not a whole number from 0 on.", 400, "UNSUPPORTED"),
    "REQUEST_INVALID": _Row("The request is not understood.", 400, "UNSUPPORTED"),
    "RANGE_INVALID": _Row("The range is not the next one of the upload.", 416, "SIZE_INVALID"),
    "ENCODING_UNSUPPORTED": _Row("Send the body without Content-Encoding.", 415, "UNSUPPORTED"),
    "NOT_FOUND": _Row("There is nothing at this address.", 404, "UNSUPPORTED"),
    "CONDITION_FAILED": _Row("What is there is not what the request expects.", 412, "DENIED"),
    "STORAGE_FULL": _Row("There is no space left where the registry keeps its data.", 507),
    "UNAVAILABLE": _Row("The registry cannot reach its storage.", 503),
    "UPSTREAM_FAILED": _Row("The registry that is mirrored does not give it.", 502),
    "UNKNOWN": _Row("The registry failed; its log says why.", 500),
}


def refuse(code: str, message: str = "", *, detail: str = "") -> RegistryError:
    """The error of this code, with the table's text unless a better one is given."""
    return RegistryError(code, message or CODES[code].text, detail=detail)


def told_code(code: str) -> str:
    """The code by which clients are told of it."""
    return CODES[code].told or code


def status_of(code: str) -> int:
    """The HTTP status that goes with the code."""
    return CODES[code].status
