"""The answers that tell why something was refused, or has failed."""

from __future__ import annotations

from aiohttp import hdrs, web

from lumper.errors import (
    DatabaseFailed,
    RegistryError,
    RemoteError,
    RuleForbids,
    StorageError,
    StorageFull,
    TooManyAttempts,
    TooManyRequests,
)
from lumper.logs import get_logger
from lumper.registry.errors import refuse
from lumper.registry.upstream.errors import as_answer
from lumper.web.health import AGAIN_SECONDS
from lumper.web.oci.answers import error_answer

# The words by which the Docker Engine knows that trying again is of no use; otherwise it does so for 50 seconds.
# Source: moby/moby, distribution/errors.go, retryOnError
_FULL = "no space left on device"

log = get_logger(__name__)


def refusal(exc: Exception, path: str) -> web.Response:
    """What is answered to a request for `path` that has raised `exc`; to be called while that is handled.

    Raises it again if it is aiohttp's to handle: a client that has gone, and errors of HTTP itself.
    """
    match exc:
        case RegistryError():
            return error_answer(exc)
        case RuleForbids():
            return error_answer(refuse("DENIED", exc.sentence))
        case TooManyAttempts():
            return error_answer(refuse("TOOMANYREQUESTS", exc.sentence), {hdrs.RETRY_AFTER: str(exc.retry_after)})
        case TooManyRequests():
            headers = {**exc.headers, hdrs.RETRY_AFTER: str(exc.retry_after)}
            return error_answer(refuse("TOOMANYREQUESTS", exc.sentence), headers)
        case RemoteError():  # in the middle of a blob that is mirrored, of which nothing was sent yet
            return error_answer(as_answer(exc, "BLOB_UNKNOWN", ""))
        case StorageFull():
            log.error("The registry has no space left.", action="registry_full", path=path)
            answer = error_answer(refuse("STORAGE_FULL", exc.sentence))
            answer.set_status(answer.status, _FULL)
            return answer
        case DatabaseFailed():
            log.error("The registry's database failed.", action="registry_database", path=path, error=str(exc))
            told = refuse("UNAVAILABLE", "The registry cannot use its database.")
            return error_answer(told, {hdrs.RETRY_AFTER: AGAIN_SECONDS})
        case StorageError():
            log.error("The registry's storage failed.", action="registry_storage", path=path, error=str(exc))
            return error_answer(refuse("UNAVAILABLE"), {hdrs.RETRY_AFTER: AGAIN_SECONDS})
        case ConnectionError() | web.HTTPException():
            raise exc
    # a fault of ours: clients understand the specification's errors only, the log has the rest
    log.exception("The registry failed.", action="registry_failed", path=path)
    return error_answer(refuse("UNKNOWN"))
