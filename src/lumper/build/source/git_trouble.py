"""What git's words mean: pure, from the text of a failed fetch to the error that a person reads.

git has one exit code for everything (128), so its words, in the C locale, are all there is.
"""

from __future__ import annotations

import re
from enum import Enum

from lumper.build.source.git import last_words
from lumper.errors import (
    GitUnauthorized,
    GitUnreachable,
    LumperError,
    MirrorDamaged,
    RefNotFound,
    RepositoryNotFound,
    SourceRefused,
    StorageFull,
)


class Trouble(Enum):
    """Why a fetch failed."""

    UNREACHABLE = "unreachable"
    UNAUTHORIZED = "unauthorized"
    HOST_KEY = "host key"
    MOVED = "moved"
    NO_REPOSITORY = "no repository"
    NO_REF = "no ref"
    NO_SHALLOW = "no shallow"
    OTHER_HASH = "other hash"
    DAMAGED = "damaged"
    DISK_FULL = "disk full"
    REFUSED = "refused"
    TOO_LARGE = "too large"  # never from git's words: a limit of ours


# The first that matches wins: the earlier lines are the more exact ones.
_SIGNS = (
    (Trouble.DISK_FULL, r"No space left on device|Disk quota exceeded"),
    (Trouble.OTHER_HASH, r"mismatched algorithms|the receiving end does not support this repository's hash"),
    (Trouble.NO_SHALLOW, r"does not support shallow|shallow capabilities"),
    (
        Trouble.NO_REF,
        r"couldn't find remote ref|not our ref|want \S+ not valid|Unable to find [0-9a-f]{40}|unadvertised object",
    ),
    (Trouble.HOST_KEY, r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED"),
    (
        Trouble.UNAUTHORIZED,
        r"could not read (?:Username|Password)|Authentication failed|Permission denied|returned error: 40[13]"
        r"|[Aa]ccess denied|Invalid username or (?:password|token)|HTTP Basic: Access denied",
    ),
    (Trouble.MOVED, r"returned error: 30[12378]|unable to update url base from redirection"),
    (Trouble.REFUSED, r"transport '.*' not allowed"),
    (
        Trouble.NO_REPOSITORY,
        r"repository '.*' not found|does not appear to be a git repository|[Rr]epository not found"
        r"|returned error: 4(?:04|10)|not valid: is this a git repository",
    ),
    (
        Trouble.DAMAGED,
        r"(?:object|pack)\S* .*(?:corrupt|is empty|damaged)|bad object|inflate: data stream error"
        r"|does not point to a valid object|not a git repository: '|bad config|invalid index file|index file .* is too"
        r"|did not send all necessary objects|missing (?:blob|tree|commit) object"
        r"|unable to (?:read|parse) (?:tree|object)|invalid sha1 pointer|is not a valid object"
        r"|packfile .* cannot be accessed|unresolved deltas"
        r"|cannot lock ref|unable to resolve reference|bad shallow (?:line|file)|Could not read [0-9a-f]{40}"
        r"|Failed to traverse parents",
    ),
)


def trouble(words: str) -> Trouble:
    """Why a fetch failed, from all that git said."""
    return next((kind for kind, sign in _SIGNS if re.search(sign, words)), Trouble.UNREACHABLE)


def error_of(kind: Trouble, words: str, *, url: str, what: str) -> LumperError:
    """The error for a person. `what` names the ref or commit that was asked for."""
    said = last_words(words)
    match kind:
        case Trouble.UNAUTHORIZED:
            return GitUnauthorized(f"{url} does not let Lumper in: {said}")
        case Trouble.HOST_KEY:
            hint = "Compare the key with the one that the host publishes, then put it into the known hosts file."
            return GitUnauthorized(f"The ssh host key of {url} is not the known one: {said}", hint=hint)
        case Trouble.MOVED:
            hint = "Set the project's URL to its new place: credentials are not sent along to another one."
            return RepositoryNotFound(f"The repository at {url} has moved: {said}", hint=hint)
        case Trouble.NO_REPOSITORY:
            return RepositoryNotFound(f"There is no git repository at {url}: {said}")
        case Trouble.NO_REF:
            return RefNotFound(f"{what} is not in {url}.")
        case Trouble.REFUSED:
            return SourceRefused(f"git refused {url}: {said}")
        case Trouble.DISK_FULL:
            return StorageFull(f"There is no space left to fetch {url}: {said}")
        case Trouble.DAMAGED:
            return MirrorDamaged(f"The mirror of {url} is damaged: {said}")
        case _:
            return GitUnreachable(f"{url} cannot be fetched: {said}")
