"""Online garbage collection: what nobody needs is given up, while pushes and pulls go on.

A thing goes in steps, and each step needs that it was left alone for the grace period:

    private tag of a build that has ended ─▶ manifest ─▶ its children, referrers and links to blobs ─▶ bytes

A tag that no rule keeps (retention/) goes before all that.

What loses its last reason to be kept is young again, so that who has read a manifest a moment ago still finds the
layers. A manifest goes only after all that refer to it; so an index, its children and their referrers are never seen
in parts. `Metadata.garbage` has the rules; the database finds garbage by its indexes, without a walk over the storage.

No push loses what it has stored or was told to be there:

1. Between the moment when bytes are stored and the transaction that says who has them, nothing in the database speaks
   for them. A push therefore holds the digest in `Holds` over both, and so do a mount and a manifest, which holds
   everything that it refers to. The collector claims a digest only while nobody holds it, and whoever comes
   meanwhile waits until the collector is done with it.
2. With the claim in hand, the metadata are asked again, in the transaction that removes or right before the bytes go:
   what was linked, tagged or pushed since it was found is not garbage any more.
3. A client that asks for a blob or manifest, and is told that it is there, does not send it. So what a repository was
   asked for within the grace is left alone. This is forgotten at a restart; the server role begins an interval later.
4. Bytes are deleted before their row: a crash between the two leaves a row without bytes, which the next run takes,
   and not bytes that nobody knows of. Bytes whose push was killed before its transaction have no row either: orphans.py
   gives them one, after it has brought back what the storage names, so that a database that was lost, or is older than
   the storage, costs no image.

Where several server processes share the database and a bucket, one of them collects at a time, and the pushes of the
others are heard of through the database: `Needs` writes there what a push or a client relies on, before it looks
whether that is there, and the collector, right before bytes go, claims them there (registry/catalog/needs.py). Both
are done in
transactions that cannot overlap. So whichever comes first is seen by the other one: the collector leaves alone what is
needed, and the push waits until what is claimed is gone, or stays. A need that is not renewed, and a claim, end by the
database's clock; who cannot renew in time gives up the push, who cannot delete in time leaves the rest to the next run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lumper.errors import Conflict, StorageError
from lumper.logs import get_logger
from lumper.model.images.garbage import REASONS, Garbage, GarbageKind, Sweep
from lumper.model.images.image import TagState
from lumper.registry.gc.orphans import Orphans
from lumper.registry.gc.steady_clock import SteadyClock
from lumper.registry.holds import Holds
from lumper.registry.port import Alone, Metadata, Storage
from lumper.registry.retention.run import Retention

log = get_logger(__name__)

_STEP = 500  # things of one transaction
_BYTES_STEP = 50  # blobs that are claimed together: whoever pushes one of them waits for all
_CLAIM_SECONDS = 30.0  # for as long a push elsewhere may have to wait, if this process is killed
_REPOSITORIES = 100  # names of one page
_TOLD = 1000  # things of one report
_WHOLE_SECONDS = 86_400.0  # between two runs that look at everything
_REST = 10  # times as long as retention took it rests: with a million tags it takes a while


@dataclass(frozen=True)
class Policy:
    """What is kept, and for how long. `untagged`: whether manifests that lost their tags go too.

    What a tag has left is kept for `undo`, so that the tag can go back. `activity` is how long the activity log reaches
    back, 0 for ever. `unused_after` says how long an image that nobody asks for stays in a repository; None: it is no
    cache.
    """

    grace: timedelta = timedelta(hours=1)
    untagged: bool = False
    undo: timedelta = timedelta()
    activity: timedelta = timedelta()
    unused_after: Callable[[str], timedelta | None] = lambda _: None


@dataclass(frozen=True)
class Report:
    """What one run has given up, or would. `freed` are the bytes given back to the storage.

    `garbage` has at most the first 1000 things; `counts` tells of all.
    """

    dry_run: bool
    freed: int = 0
    counts: dict[GarbageKind, int] = field(default_factory=lambda: dict.fromkeys(GarbageKind, 0))
    garbage: tuple[Garbage, ...] = ()

    def plus(self, garbage: Sequence[Garbage]) -> Report:
        """The report with these things added."""
        counts = dict(self.counts)
        for one in garbage:
            counts[one.kind] += 1
        freed = sum(one.size for one in garbage if one.kind is GarbageKind.BYTES)
        shown = (*self.garbage, *garbage[: max(0, _TOLD - len(self.garbage))])
        return replace(self, freed=self.freed + freed, counts=counts, garbage=shown)


Observe = Callable[[Report, float], None]


def unobserved(_report: Report, _seconds: float) -> None:
    """Nobody wants to know."""


class Collector:
    """Collects garbage, one run at a time. `observe` is told of each that ended well, and its seconds."""

    def __init__(
        self,
        storage: Storage,
        metadata: Metadata,
        holds: Holds,
        policy: Policy,
        retention: Retention,
        orphans: Orphans,
        observe: Observe = unobserved,
        *,
        alone: Alone,
    ) -> None:
        self._retention = retention
        self._alone_of_all = alone
        self._observe = observe
        self._storage = storage
        self._orphans = orphans
        self._metadata = metadata
        self._holds = holds
        self._policy = policy
        self._clock = SteadyClock(policy.grace)
        self._alone = asyncio.Lock()
        self._step: asyncio.Future[list[Garbage]] | None = None  # so that it is not forgotten in the middle
        self._judged: datetime | None = None  # what was not needed since then was looked at by a run that ended well
        self._all_at = float("-inf")  # when a run has begun that looked at everything
        self._retained = float("-inf")  # when retention is due again in a quick run

    async def run(self, *, dry_run: bool = False, quick: bool = False) -> Report:
        """Give up all that is garbage now, or only tell what would be.

        A `quick` run looks at what has come of age, or was given up, since the last run; now and then at everything.
        Raises StorageError; what is done stays done. Raises Conflict while another process collects.
        """
        async with self._alone, self._alone_of_all("gc") as mine:
            if not mine:
                raise Conflict("Another server is collecting garbage at the moment.", hint="Try again in a while.")
            began = time.monotonic()
            since = self._since() if quick else None
            report = await self._run(since, dry_run=dry_run)
            if not dry_run:
                self._all_at = began if since is None else self._all_at
                self._observe(report, time.monotonic() - began)
            return report

    def _since(self) -> datetime | None:
        """From when on things are looked at, None for all: what was judged long ago and has not changed is not garbage.

        Three times the grace reaches back to what a client had asked for, or a push elsewhere had needed.
        """
        if self._judged is None or time.monotonic() > self._all_at + _WHOLE_SECONDS:
            return None
        return self._judged - 3 * self._policy.grace

    async def _run(self, since: datetime | None, *, dry_run: bool) -> Report:
        if not dry_run and (since is None or time.monotonic() > self._retained):
            await self._retain()
        report = Report(dry_run)
        now, grace = self._clock.now(), self._policy.grace
        sweep = Sweep(now - grace, self._policy.untagged, now - max(self._policy.undo, grace), since)
        last = ""
        while names := await self._metadata.repositories(last=last, limit=_REPOSITORIES):
            restless = await self._restless(names, sweep, last)
            for repository in names:
                if (unused := self._policy.unused_after(repository)) is not None:
                    report = await self._cache(repository, self._clock.now() - unused, report)
                if repository in restless:
                    report = await self._repository(repository, sweep, report)
            last = names[-1]
        if not dry_run:
            await self._orphans.adopt(sweep.before)
            if self._policy.activity:
                await self._metadata.forget_activities(self._clock.now() - self._policy.activity)
        report = await self._bytes(sweep, report)
        self._judged = self._judged if dry_run else sweep.before
        return report

    async def _restless(self, names: list[str], sweep: Sweep, last: str) -> set[str]:
        """Those of these repositories, the next ones after `last`, that have to be looked at."""
        if sweep.since is None:
            return set(names)
        return set(await self._metadata.restless(sweep, last=last, limit=len(names)))

    async def _retain(self) -> None:
        """Remove the tags that rules do not keep; what they held is garbage when the time to undo that is over."""
        gone, began = 0, time.monotonic()
        async for verdict in self._retention.run():
            gone += not verdict.kept
        self._retained = time.monotonic() + _REST * (time.monotonic() - began)
        if gone:
            log.info("tags were removed that no rule keeps", action="registry.retention", tags=gone)

    async def _cache(self, repository: str, before: datetime, report: Report) -> Report:
        """Give up tags that were not asked for since `before`, and then all manifests without one.

        A tag that a rule makes immutable, or that is in use, stays: else one of them would end every run.
        """
        freezing, used = (await self._metadata.rules()).freezing(repository), await self._metadata.in_use()
        last = ""
        while tags := await self._metadata.tags(repository, last=last, limit=_STEP):
            unused = [
                TagState(tag.name, tag.digest, tag.updated_at)
                for tag in tags
                if tag.updated_at < before and tag.digest not in used and not (freezing and freezing.freezes(tag.name))
            ]
            names = [state.name for state in unused]
            if unused and not report.dry_run:
                names = await self._metadata.retire(repository, unused, REASONS[GarbageKind.CACHED])
            report = report.plus([Garbage(GarbageKind.CACHED, repository, name) for name in names])
            last = tags[-1].name
        return await self._repository(repository, Sweep(before, untagged=True), report)

    async def _repository(self, repository: str, sweep: Sweep, report: Report) -> Report:
        limit = _TOLD if report.dry_run else _STEP
        while True:
            found = await self._metadata.garbage(repository, sweep, limit=limit)
            if report.dry_run:
                return report.plus(found)
            gone = await self._whole(self._collect(repository, found, sweep))
            report = report.plus(gone)
            if len(gone) < _STEP:
                return report

    async def _collect(self, repository: str, found: Sequence[Garbage], sweep: Sweep) -> list[Garbage]:
        lately = self._holds.lately(repository, self._policy.grace.total_seconds())
        quiet = [one.name for one in found if one.kind is not GarbageKind.TAG and not lately(one.name)]
        with self._holds.claiming(quiet) as free:
            chosen = [one for one in found if one.kind is GarbageKind.TAG or one.name in free]
            if not chosen:
                return []
            return await self._metadata.collect(repository, chosen, sweep)

    async def _bytes(self, sweep: Sweep, report: Report) -> Report:
        last = ""
        while found := await self._metadata.idle_blobs(sweep.before, after=last, limit=_BYTES_STEP, since=sweep.since):
            garbage = [Garbage(GarbageKind.BYTES, "", digest, size) for digest, size in found]
            gone = garbage if report.dry_run else await self._whole(self._delete(garbage, sweep.before))
            report = report.plus(gone)
            last = found[-1][0]
        return report

    async def _delete(self, garbage: Sequence[Garbage], before: datetime) -> list[Garbage]:
        with self._holds.claiming([one.name for one in garbage]) as free:
            enough = time.monotonic() + _CLAIM_SECONDS / 2  # the other half is for the last one
            mine = await self._metadata.claim_blobs(sorted(free), before, _CLAIM_SECONDS)
            gone = [one for one in garbage if one.name in mine and await self._deleted(one.name, enough)]
            if gone:
                await self._metadata.forget_blobs([one.name for one in gone], before)
        return gone  # whatever else was claimed stays so until its time is over: perhaps it is being deleted yet

    async def _whole(self, step: Coroutine[None, None, list[Garbage]]) -> list[Garbage]:
        """Do a step to its end, also when the run is cancelled: a thread that deletes goes on, and needs its claim."""
        self._step = asyncio.ensure_future(step)
        return await asyncio.shield(self._step)

    async def _deleted(self, digest: str, until: float) -> bool:
        if time.monotonic() > until:
            return False
        try:
            async with asyncio.timeout(_CLAIM_SECONDS / 2 if self._holds.needs else None):
                await self._storage.delete(digest)
        except TimeoutError:
            log.warning("a blob could not be deleted in time", action="registry.gc", digest=digest)
            return False
        except StorageError as exc:  # the others can go all the same, and this one next time
            log.warning("a blob could not be deleted", action="registry.gc", digest=digest, error=exc.sentence)
            return False
        return True
