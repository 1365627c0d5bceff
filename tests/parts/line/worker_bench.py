"""A worker with the dummy engine and a real git repository, and everything around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lumper.build.engines.dummy import DummyEngine
from lumper.build.port import Login
from lumper.build.run import Builder
from lumper.build.source.checkout import Mirrors
from lumper.model.builds.log import from_line, render, unpack
from lumper.model.builds.secrets import GivenSecrets
from lumper.model.events import EVENTS, BuildJob, LogChunk, Payload, jobs_topic, worker_topic
from lumper.queue.brokers.memory import MemoryBroker
from lumper.roles.worker import Worker
from parts.git.git_repository import Repository
from parts.line.running import Ear, listening, message, running
from parts.suite.eventually import eventually

TOPIC = worker_topic("w")
JOBS = jobs_topic("w")


@dataclass
class Bench:
    """A worker, and everything around it."""

    broker: MemoryBroker
    engine: DummyEngine
    builder: Builder
    repository: Repository
    folder: Path
    given: list[GivenSecrets]

    def tag(self, name: str, dockerfile: str, toml: str = "") -> BuildJob:
        """A tag with this Dockerfile, as the job to build it."""
        files = {"Dockerfile": dockerfile} | ({"lumper.toml": toml} if toml else {})
        commit = self.repository.commit(files)
        self.repository.tag(name, commit)
        number = int(name.rpartition(".")[2])
        return BuildJob(
            number, 1, "p1", "owner/app", str(self.repository.path), True, f"refs/tags/{name}", commit, "owner/app",
            f"_build-{number}-1",
        )  # fmt: skip

    async def give(self, *jobs: BuildJob) -> None:
        """Put the jobs into the queue."""
        await self.broker.publish([message(job, JOBS, number) for number, job in enumerate(jobs)])

    async def tell(self, payload: Payload, number: int = 1) -> None:
        """Tell the worker something."""
        await self.broker.publish([message(payload, TOPIC, number)])

    @asynccontextmanager
    async def at_work(
        self, builder: Builder | None = None, *, concurrency: int = 1, log_limit: int = 0
    ) -> AsyncIterator[Ear]:
        """A worker at work, and an ear on what it says."""
        worker = Worker(
            self.broker,
            builder or self.builder,
            name="w",
            concurrency=concurrency,
            spool=self.folder / "spool",
            log_limit=log_limit,
        )
        async with listening(self.broker, EVENTS) as ear, running(worker.run()):
            yield ear

    async def runs(self, *commands: str) -> None:
        """Wait until the engine runs exactly these commands."""

        async def look() -> bool:
            return sorted(self.engine.running) == sorted(commands)

        await eventually(look)


async def a_login(build_id: int, attempt: int) -> Login:
    """With which a builder pushes to the registry of Lumper."""
    return Login(f"_build-{build_id}-{attempt}", "t")


async def no_credentials(_: str) -> None:
    """A builder has none for other registries."""
    return


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    engine = DummyEngine()
    mirrors = Mirrors(tmp_path / "mirrors")
    given: list[GivenSecrets] = [GivenSecrets(registry="lumper.test")]

    async def entrust(*_: object) -> GivenSecrets:
        return given[-1]

    builder = Builder(engine, mirrors, "registry.test", a_login, no_credentials, timeout=60, entrust=entrust)
    return Bench(MemoryBroker(), engine, builder, Repository(tmp_path / "app.git"), tmp_path, given)


def printed(ear: Ear, build: int) -> str:
    """The log of a build as people read it."""
    log = "".join(unpack(chunk.data).decode() for chunk in ear.of(LogChunk) if chunk.build_id == build)
    return "\n".join(render(map(from_line, log.splitlines())))
