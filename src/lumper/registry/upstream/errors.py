"""What another registry's errors are to our own clients."""

from __future__ import annotations

from lumper.errors import (
    LumperError,
    RegistryError,
    RemoteLimited,
    RemoteNotFound,
    RemoteUnauthorized,
)
from lumper.registry.errors import refuse


def as_answer(error: LumperError, unknown: str, name: str) -> RegistryError:
    """The error to answer with; `unknown` is the code for what is not there.

    What the upstream does not let us see is not there either: so its registries answer to whom they do not know.
    """
    if isinstance(error, RemoteNotFound):
        return refuse(unknown, detail=name)
    if isinstance(error, RemoteUnauthorized):
        return refuse(unknown, f"The registry that is mirrored does not show it: {error.sentence}", detail=name)
    if isinstance(error, RemoteLimited):
        words = f"The registry that is mirrored allows no more requests: {error.sentence}"
        return RegistryError("TOOMANYREQUESTS", words, retry_after=error.retry_after)
    if isinstance(error, RegistryError):
        return error
    return refuse("UPSTREAM_FAILED", error.sentence, detail=name)
