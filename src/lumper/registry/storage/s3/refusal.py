"""What S3 says when it refuses, in words for a person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

from lumper.errors import StorageError, StorageFull

_CODE = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
_REDIRECT = "redirect without LOCATION"  # how obstore tells of the answer to a request for another region's bucket
_FULL = {"QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull"}
_HINTS = {
    "AccessDenied": "Allow this key to list, read, write and delete in the bucket, and to list and abort multipart "
    "uploads.",
    "InvalidAccessKeyId": "Check [registry] access_key_id.",
    "NoSuchBucket": "Make the bucket, or correct [registry] storage.",
    "PermanentRedirect": "Set [registry] region to the bucket's region.",
    "AuthorizationHeaderMalformed": "Set [registry] region to the bucket's region.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "SignatureDoesNotMatch": "Check [registry] secret_access_key.",
}


class Missing(StorageError):
    """There is no such object, or no such multipart upload."""


def refusal(code: str, status: int = 0) -> StorageError:
    """The error for S3's code, "" if there is none. Source: Amazon S3 API Reference, "Error responses"."""
    if code in _FULL or status == 507:
        return StorageFull(hint="Give the bucket more space; nothing that was stored is lost.")
    if code in ("NoSuchKey", "NoSuchUpload"):
        return Missing(f"The S3 service has no such object ({code}).")
    return StorageError(f"The S3 service refused: {code or status or 'no reason given'}.", hint=_HINTS.get(code, ""))


def code_in(answer: str | bytes) -> str:
    """The error code in an answer of S3, or ""."""
    text = answer if isinstance(answer, str) else answer.decode("utf-8", "replace")
    match = _CODE.search(text)
    return match[1] if match else ""


@contextmanager
def translating() -> Iterator[None]:
    """Turn obstore's exceptions into ours. Its texts quote whole answers: only the code of the error is told."""
    try:
        yield
    except (FileNotFoundError, NotFoundError) as exc:  # obstore raises either
        raise refusal(code_in(str(exc)) or "NoSuchKey") from exc
    except (PermissionDeniedError, UnauthenticatedError) as exc:
        raise refusal(code_in(str(exc)) or "AccessDenied") from exc
    except BaseError as exc:
        code = code_in(str(exc)) or ("PermanentRedirect" if _REDIRECT in str(exc) else "")
        if code:
            raise refusal(code) from exc
        raise unreachable() from exc
    except OSError as exc:
        raise unreachable() from exc


def unreachable() -> StorageError:
    """The error for a service that does not answer."""
    return StorageError("The S3 service does not answer as it should.", hint="Check [registry] endpoint and ca_file.")
