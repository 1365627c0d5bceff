"""What lies where in the bucket, under the prefix.

    <prefix>/
    ├── blobs/
    │   └── sha256/                         (and sha512/)
    │       └── 0f3c…9a/                    one folder a digest; its one listing tells place and size
    │           ├── whole                   a blob of less than one part: its bytes
    │           ├── 73400320-5f0c…-1b…      empty: the bytes, as many as it says, are the object of this upload
    │           └── damaged-9c…             empty: one of those two leads to wrong bytes, and does not count
    ├── damaged/
    │   └── sha256-0f3c…9a                  empty: there may be such a mark in the folder of this digest
    ├── data/
    │   └── 5f0c…-1b…                       the bytes of a large blob, under the name of the upload that brought them
    ├── id                                  which storage this is: the database remembers it
    ├── names/                              as in a folder, see registry/paths.py
    │   └── owner/app/
    │       ├── _manifests/sha256-0f3c…9a   the media type of a manifest
    │       └── _tags/1.2.3                 the digest at which a tag points
    └── uploads/
        └── 5f0c…-1b…/                      an upload on its way
            ├── 0000000008388608-3e…        what came so far, as many bytes as it says; the highest one counts
            └── commit-sha256-0f3c…9a       its object may be whole already, for this digest

S3 cannot rename, and fixes the name of an object before its first byte comes, when nobody knows the digest yet. So a
large blob keeps the name of its upload, and a push ends by writing an empty object: the data are never copied.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from lumper.errors import StorageError
from lumper.model.images.image import is_digest
from lumper.registry import paths

BLOBS = "blobs"
DAMAGED = "damaged"
IDENTITY = "id"
NAMES = "names"
UPLOADS = "uploads"
DATA = "data"
WHOLE = "whole"

_UPLOAD = re.compile(r"[A-Za-z0-9-]{1,128}")
_ELSEWHERE = re.compile(r"([0-9]+)-([A-Za-z0-9-]{1,128})")
_STATE = re.compile(r"([0-9]{16})-[0-9a-f]{16}")
_COMMIT = re.compile(r"commit-(sha256|sha512)-([0-9a-f]+)")


@dataclass(frozen=True)
class ParsedKey:
    """A blob's object and its size. `pointer` is the empty object that says so, if there is one."""

    key: str
    size: int
    pointer: str | None = None

    @property
    def named(self) -> str:
        """The object in the blob's folder that this is read from."""
        return self.pointer or self.key


def blob(digest: str) -> str:
    """The folder of a blob. Raises StorageError for what is not a digest."""
    algorithm, _, encoded = _digest(digest).partition(":")
    return f"blobs/{algorithm}/{encoded}"


def digest_of(key: str) -> str:
    """The digest of the blob to whose folder a key belongs; "" for a key that is not in one."""
    algorithm, _, rest = key.removeprefix("blobs/").partition("/")
    digest = f"{algorithm}:{rest.partition('/')[0]}"
    return digest if is_digest(digest) else ""


def name(repository: str, reference: str) -> str:
    """The object that says what a reference is. Raises StorageError for what cannot be one."""
    return f"{NAMES}/{paths.named(repository, reference)}"


def named(key: str) -> tuple[str, str]:
    """Repository and reference of a key under names/, unchecked."""
    folder, _, last = key.removeprefix(f"{NAMES}/").rpartition("/")
    repository, _, kind = folder.rpartition("/")
    return repository, paths.reference(kind, last)


def whole(digest: str) -> str:
    """The object of a small blob."""
    return f"{blob(digest)}/{WHOLE}"


def elsewhere(digest: str, size: int, upload: str) -> str:
    """The empty object that says that an upload's object is the blob."""
    return f"{blob(digest)}/{size}-{upload}"


def place(key: str, size: int) -> ParsedKey | None:
    """Where an object of a blob's folder says that the bytes are; None for what does not belong there."""
    name = key.rpartition("/")[2]
    if name == WHOLE:
        return ParsedKey(key, size)
    match = _ELSEWHERE.fullmatch(name)
    return ParsedKey(data(match[2]), int(match[1]), key) if match else None


def mark(named: str, version: str) -> str:
    """Says of an object in a blob's folder that it is damaged, as long as it is of this version."""
    folder, _, last = named.rpartition("/")
    return f"{folder}/damaged-{hashlib.sha256(f'{last} {version}'.encode()).hexdigest()[:32]}"


def is_mark(key: str) -> bool:
    """Whether a key in a blob's folder is one of these."""
    return key.rpartition("/")[2].startswith("damaged-")


def damaged(digest: str) -> str:
    """Says that a mark may be in the folder of this digest: those are found by it without a walk over all blobs."""
    return f"{DAMAGED}/{_digest(digest).replace(':', '-')}"


def damaged_digest(key: str) -> str:
    """The digest of a key from `damaged`; "" for another one."""
    digest = key.removeprefix(f"{DAMAGED}/").replace("-", ":", 1)
    return digest if is_digest(digest) else ""


def data(upload: str) -> str:
    """The object that an upload becomes."""
    return f"{DATA}/{_checked(upload)}"


def upload_of(key: str) -> str:
    """The upload to which a key under data/ or uploads/ belongs."""
    return key.split("/")[1] if "/" in key else ""


def upload(name: str) -> str:
    """The folder of an upload. Raises StorageError for other characters than letters, digits and dashes."""
    return f"{UPLOADS}/{_checked(name)}"


def state(name: str, size: int) -> str:
    """A new name for what has come of an upload: no two writers ever have the same one."""
    return f"{upload(name)}/{size:016d}-{secrets.token_hex(8)}"


def state_size(key: str) -> int | None:
    """How many bytes the upload has by this key; None if it is no state."""
    match = _STATE.fullmatch(key.rpartition("/")[2])
    return int(match[1]) if match else None


def commit(name: str, digest: str) -> str:
    """Says, before an upload's object is made, which blob it is going to be."""
    return f"{upload(name)}/commit-{digest.replace(':', '-')}"


def committed(key: str) -> str | None:
    """The digest that a key from `commit` names; None for another key."""
    match = _COMMIT.fullmatch(key.rpartition("/")[2])
    return f"{match[1]}:{match[2]}" if match else None


def _digest(digest: str) -> str:
    if not is_digest(digest):
        raise StorageError(f"{digest!r} is not a digest.")
    return digest


def _checked(name: str) -> str:
    if not _UPLOAD.fullmatch(name):
        raise StorageError(f"{name!r} is not the name of an upload.")
    return name
