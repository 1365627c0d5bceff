"""The attester, a part of the server: once a build is accepted, it tells beside the image where that comes from.

First the signature and the provenance, which take milliseconds; then, build by build, the list of what is in the
image, which takes reading all of it: that gives way to builds for a minute, because nobody waits for it. Every step
looks first whether it was done, so each may be repeated. What fails because the storage is away is tried again for a
day, and from the beginning after a restart, because the table of builds says what is not done; other failures a few
times. Then it is left: the build has succeeded in any case.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from lumper.errors import ArchiveError, LumperError, StorageError
from lumper.line.history import History
from lumper.logs import get_logger
from lumper.model.builds.build import Attested, Build
from lumper.model.links import Links
from lumper.registry.attest.provenance import PROVENANCE, provenance
from lumper.registry.attest.store import Attestations
from lumper.registry.contents.image import bill_of
from lumper.registry.contents.spdx import SPDX
from lumper.registry.registry import Registry
from lumper.roles.backoff import A_FEW_TIMES, FOR_A_DAY, Backoff

log = get_logger(__name__)

_MOST_WAITING = 200  # for their next try; then nothing new is begun
_MOST_SECONDS = 1800.0  # of reading one image
_GIVE_WAY = timedelta(minutes=1)  # to builds


class Attester:
    """Looks for accepted builds, and tells of their images. `now` is a clock in seconds."""

    def __init__(
        self,
        history: History,
        registry: Registry,
        attestations: Attestations,
        links: Links,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history = history
        self._registry = registry
        self._attestations = attestations
        self._links = links
        self._patience: Backoff[int] = Backoff(now)

    async def sign(self) -> None:
        """Sign what was accepted, and tell its provenance."""
        for build, url in await self._waiting(Attested.NOTHING):
            await self._try(build, Attested.SIGNED, self._sign(build, url))

    async def _waiting(self, attested: Attested, give_way: timedelta = timedelta()) -> list[tuple[Build, str]]:
        later = self._patience.waiting
        if len(later) >= _MOST_WAITING:
            return []
        return await self._history.origins.waiting(attested, but=later, give_way=give_way)

    async def _sign(self, build: Build, url: str) -> None:
        manifest = await self._history.images.manifest(build.image, build.digest)
        if manifest is None:  # deleted meanwhile
            return
        await self._attestations.sign(build.image, manifest)
        told = provenance(build, url, self._links.public_url, build.parameters)
        await self._attestations.attest(build.image, manifest, PROVENANCE, told)

    async def describe(self) -> None:
        """Tell what is in the images that are signed, and let cosign find all that is told."""
        for build, _ in await self._waiting(Attested.SIGNED, _GIVE_WAY):
            await self._try(build, Attested.WHOLE, self._describe(build))

    async def _describe(self, build: Build) -> None:
        manifest = await self._history.images.manifest(build.image, build.digest)
        if manifest is None:
            return
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                space = f"{self._links.build(build.id)}/contents/{build.digest}"
                at = build.finished_at or build.created_at
                told = await bill_of(self._registry, build.image, manifest, space, at)
            await self._attestations.attest(build.image, manifest, SPDX, told)
        except (ArchiveError, TimeoutError) as exc:  # another try would find the same layers
            log.warning("what is in an image is not told", action="attest", build=build.id, error=str(exc))
        await self._attestations.gather(build.image, manifest)

    async def _try(self, build: Build, done: Attested, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as exc:  # one image may not hold up all others
            known = exc.sentence if isinstance(exc, LumperError) else ""
            log.warning(
                "an image was not attested",
                action="attest",
                build=build.id,
                error=known or repr(exc),
                exc_info=None if known else exc,
            )
            if self._patience.failed(build.id, FOR_A_DAY if isinstance(exc, StorageError) else A_FEW_TIMES):
                return
            done = Attested.FAILED
        self._patience.forget(build.id)
        await self._history.origins.told(build, done)
