"""The server's side of builds as tests sit at it, and the events that workers send there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lumper.line.history import History
from lumper.model.builds.build import Build, Outcome, Output, Result
from lumper.model.builds.log import pack, to_line
from lumper.model.deployment import Service
from lumper.model.events import AttemptFinished, AttemptStarted, LogChunk, Payload
from lumper.model.images.image import NewManifest
from lumper.model.source import Person, Push, parse_git_url
from lumper.queue.codec import decode
from lumper.roles.acceptance import Acceptance

OCI = "application/vnd.oci.image.manifest.v1+json"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LINES = [to_line(Output(1, 1, 1732440000.0, f"line {number}")) for number in range(3)]


async def sent(history: History) -> list[Payload]:
    """What is to be published since the last call."""
    pending = await history.outbox.pending(1000)
    await history.outbox.forget([each.id for each in pending])
    return [decode(each.body) for each in pending]


@dataclass
class Desk:
    """The server's side, without a queue: events go in, messages come out of the outbox."""

    history: History
    acceptance: Acceptance

    async def queued(self, tag: str = "v1.2.3", name: str = "owner/app") -> int:
        """A queued build of a project of this name."""
        known = {project.name: project for project in await self.history.projects.all()}
        url = f"https://git.example.org/{name}.git"
        project = known.get(name) or await self.history.projects.add(parse_git_url(url))
        push = Push(name, f"refs/tags/{tag}", f"{abs(hash((name, tag))):040x}"[:40], pusher=Person("ann"))
        async with self.history.database.write() as connection:
            build_id, _ = await self.history.builds.queue(connection, project, push)
        return build_id

    async def manifest(self, digest: str, image: str = "owner/app", tag: str = "") -> str:
        """A manifest that a worker has pushed."""
        await self.history.images.put_manifest(image, NewManifest(digest, OCI, 400, ()), [tag] if tag else [])
        return digest

    async def handle(self, *payloads: Payload) -> None:
        """Take these events, one after the other."""
        for payload in payloads:
            await self.acceptance.handle(payload)

    async def sent(self) -> list[Payload]:
        """What is to be published since the last call."""
        return await sent(self.history)

    async def tags(self, image: str = "owner/app") -> dict[str, str]:
        """Every public tag with the last four digits of its digest."""
        return {tag.name: tag.digest[-4:] for tag in await self.history.images.tags(image) or []}

    async def build(self, build_id: int) -> Build:
        """The build as it is."""
        return await self.history.builds.get(build_id)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def started(build_id: int, attempt: int = 1, claim: str = "c1", worker: str = "w") -> AttemptStarted:
    return AttemptStarted(build_id, attempt, claim, worker, "boot", NOW)


def finished(build_id: int, result: Result, attempt: int = 1, claim: str = "c1", log_size: int = 0) -> AttemptFinished:
    return AttemptFinished(build_id, attempt, claim, NOW + timedelta(seconds=9), log_size, result)


def success(number: int, service: Service | None = None) -> Result:
    return Result(Outcome.SUCCEEDED, "c" * 40, Person("Ada"), digest(number), 400, service=service, stages={"build": 7})


FAILURE = Result(Outcome.FAILED, error="Step 2 failed.", hint="Look at it.")


def chunks(build_id: int, claim: str = "c1") -> list[LogChunk]:
    offsets = [0, len(LINES[0]), len(LINES[0]) + len(LINES[1])]
    return [
        LogChunk(build_id, 1, claim, offset, pack(line.encode())) for offset, line in zip(offsets, LINES, strict=True)
    ]
