"""Where things lie in the registry's folder.

    <root>/
    ├── blobs/
    │   ├── sha256/
    │   │   └── 0f/
    │   │       └── 0f3c…9a       the blob with this digest, whole: layers, configs, manifests alike
    │   └── sha512/               likewise
    ├── damaged/
    │   └── sha256-0f3c…9a        a blob whose bytes were wrong: it is not there until it is pushed again
    ├── id                        which storage this is: the database remembers it
    ├── names/
    │   └── owner/app/            a repository
    │       ├── _manifests/
    │       │   └── sha256-0f3c…  the media type of a manifest that it has
    │       └── _tags/
    │           └── 1.2.3         the digest at which this tag points
    └── uploads/
        ├── 5f0c…-1b…             what has come so far of an upload
        └── put-8d…               a small file on its way to its place

A file under blobs/ is never written to: it is renamed there from uploads/ when it is whole, checked and on the disk.
Who may see which blob is a matter of the metadata; names/ says what is needed to make these anew if they are lost.
"""

from __future__ import annotations

import re
from pathlib import Path

from lumper.errors import StorageError
from lumper.model.images.image import is_digest, is_repository, is_tag

MANIFESTS, TAGS = "_manifests", "_tags"  # no part of a repository's name begins like these

_UPLOAD = re.compile(r"[A-Za-z0-9-]{1,128}")


def blobs(root: Path) -> Path:
    """The folder of all blobs."""
    return root / "blobs"


def identity(root: Path) -> Path:
    """The file that says which storage this is."""
    return root / "id"


def damaged(root: Path) -> Path:
    """The folder of what was set aside."""
    return root / "damaged"


def set_aside(root: Path, digest: str) -> Path:
    """Where the file of a damaged blob goes. Raises StorageError for what is not a digest."""
    return damaged(root) / _checked(digest).replace(":", "-")


def uploads(root: Path) -> Path:
    """The folder of all uploads."""
    return root / "uploads"


def names(root: Path) -> Path:
    """The folder of all names."""
    return root / "names"


def named(repository: str, reference: str) -> str:
    """Where under names/ it is said what a digest or tag of a repository is. Raises StorageError for what is none."""
    if is_repository(repository):
        if is_digest(reference):
            return f"{repository}/{MANIFESTS}/{reference.replace(':', '-')}"
        if is_tag(reference):
            return f"{repository}/{TAGS}/{reference}"
    raise StorageError(f"{repository!r} and {reference!r} name no manifest.")


def reference(folder: str, name: str) -> str:
    """The reference of a file called `name` in one of a repository's two folders."""
    return name.replace("-", ":", 1) if folder == MANIFESTS else name


def blob(root: Path, digest: str) -> Path:
    """The file of a blob. Raises StorageError for what is not a digest, so that no name leads out of the tree."""
    algorithm, _, encoded = _checked(digest).partition(":")
    return root / f"blobs/{algorithm}/{encoded[:2]}/{encoded}"  # joined once: each time takes some microseconds


def upload(root: Path, name: str) -> Path:
    """The file of an upload. Raises StorageError for a name with other characters than letters, digits and dashes."""
    if not _UPLOAD.fullmatch(name):
        raise StorageError(f"{name!r} is not the name of an upload.")
    return uploads(root) / name


def _checked(digest: str) -> str:
    if not is_digest(digest):
        raise StorageError(f"{digest!r} is not a digest.")
    return digest
