"""The verifier, a part of the server: compares the image of a build with what came out when it was built again.

Where both have the same digest there is nothing to compare, and it is not asked. What fails because the storage or the
database is away is tried again, later and later, also after a restart: the table says what is not decided.
"""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from lumper.errors import LumperError, StorageError
from lumper.line.history import History
from lumper.logs import get_logger
from lumper.model.builds.build import Build
from lumper.model.builds.verification import Verification, Verified, summary_of
from lumper.registry.contents.compare import compare
from lumper.registry.registry import Registry
from lumper.roles.backoff import FOR_A_DAY, Backoff

log = get_logger(__name__)

_TOO_LONG = "That took too long."
_SAME_PLATFORMS = (
    "Every platform came out with the same digest; the index of them differs in its order, or in attestations of the"
    " engine's own."
)


class Verifier:
    """Looks for pairs of images that wait to be compared."""

    def __init__(self, history: History, registry: Registry) -> None:
        self._history = history
        self._registry = registry
        self._patience: Backoff[int] = Backoff()

    async def compare(self) -> None:
        """Compare what waits for that."""
        for verification, second in await self._history.verifications.comparing(but=self._patience.waiting):
            await self._try(verification, second)

    async def _try(self, verification: Verification, second: Build) -> None:
        try:
            await self._compare(verification, second)
        except Exception as exc:  # one pair may not hold up the others
            known = exc.sentence if isinstance(exc, LumperError) else _TOO_LONG if isinstance(exc, TimeoutError) else ""
            log.warning(
                "images were not compared",
                action="verify",
                build=verification.build,
                error=known or repr(exc),
                exc_info=None if known else exc,
            )
            if isinstance(exc, StorageError | SQLAlchemyError) and self._patience.failed(second.id, FOR_A_DAY):
                return
            words = f"It could not be verified: the images were not compared: {known or repr(exc)}"
            await self._history.verifications.decided(second, Verified.UNKNOWN, words)
        self._patience.forget(second.id)
        self._history.logs.wake()

    async def _compare(self, verification: Verification, second: Build) -> None:
        images, decided = self._history.images, self._history.verifications.decided
        first = await images.manifest(second.image, verification.digest)
        other = await images.manifest(second.image, verification.other)
        if first is None or other is None:
            which = verification.digest if first is None else verification.other
            words = f"It could not be verified: the image {which} is not in the registry any more."
            await decided(second, Verified.UNKNOWN, words)
            return
        differences = await compare(self._registry, second.image, first, other)
        if not differences:
            await decided(second, Verified.REPRODUCIBLE, _SAME_PLATFORMS)
            return
        summary = summary_of(differences, asked=bool(second.parameters.get("reproducible")))
        await decided(second, Verified.DIFFERS, summary, differences)
