"""A worker whose disk is full: the build says so, and the worker goes on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lumper.build.engines.dummy import DummyEngine
from lumper.build.run import Builder
from lumper.build.source.checkout import Mirrors
from lumper.model.builds.build import Outcome, Result
from lumper.model.events import EVENTS, AttemptFinished, BuildJob, jobs_topic
from lumper.queue.brokers.memory import MemoryBroker
from lumper.roles.worker import Worker
from parts.disks.small_disk import filled, small_disk
from parts.git.git_repository import Repository
from parts.line.running import Ear, listening, message, running
from parts.line.worker_bench import a_login, no_credentials

pytestmark = pytest.mark.system

JOBS = jobs_topic("w")


class Bench:
    """A worker with these folders, told to build one commit after the other."""

    def __init__(self, mirrors: Path, spool: Path) -> None:
        self._broker = MemoryBroker()
        builder = Builder(DummyEngine(), Mirrors(mirrors), "registry.test", a_login, no_credentials, timeout=60)
        self._worker = Worker(self._broker, builder, name="w", concurrency=1, spool=spool)
        self._ear: Ear | None = None
        self._count = 0

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """The worker at work."""
        async with listening(self._broker, EVENTS) as ear, running(self._worker.run()):
            self._ear = ear
            yield

    async def build(self, folder: Path, files: Mapping[str, bytes | str]) -> Result:
        """How a build of a new repository with these files ends."""
        self._count += 1
        number = self._count
        repository = Repository(folder / f"{number}.git")
        repository.tag("v1.0.0", commit := repository.commit(files))
        job = BuildJob(
            number, 1, f"p{number}", "owner/app", str(repository.path), True, "refs/tags/v1.0.0", commit, "owner/app",
            f"_build-{number}-1",
        )  # fmt: skip
        await self._broker.publish([message(job, JOBS, number)])
        assert self._ear is not None
        return (await self._ear.until(AttemptFinished, number))[-1].result


SMALL = {"Dockerfile": "FROM scratch\nRUN echo hello\n"}


async def test_a_full_spool_fails_the_build_that_fills_it_and_no_other(tmp_path: Path) -> None:
    with small_disk(tmp_path / "spool", "64k") as spool:
        bench = Bench(tmp_path / "mirrors", spool)
        async with bench.at_work():
            lines = "".join(f"RUN {'; '.join(f'echo {number} {n}' for n in range(100))}\n" for number in range(50))
            full = await bench.build(tmp_path, {"Dockerfile": f"FROM scratch\n{lines}"})
            assert full.outcome is Outcome.FAILED
            assert "There is no space left on the worker" in full.error
            assert full.hint
            assert list(spool.iterdir()) == []
            assert (await bench.build(tmp_path, SMALL)).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("size", [3 << 20, 30 << 20])
async def test_a_repository_that_has_no_room_fails_and_leaves_it_to_others(size: int, tmp_path: Path) -> None:
    with small_disk(tmp_path / "mirrors", "2m") as disk:
        bench = Bench(disk, tmp_path / "spool")
        async with bench.at_work():
            full = await bench.build(tmp_path, {**SMALL, "large": os.urandom(size)})
            assert full.outcome is Outcome.FAILED
            assert "no space left" in full.error
            assert full.hint
            assert list(disk.glob("*.git/objects/pack/*")) == []
            assert (await bench.build(tmp_path, SMALL)).outcome is Outcome.SUCCEEDED


async def test_a_build_whose_temporary_files_have_no_room_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "temporary", "64k") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        bench = Bench(tmp_path / "mirrors", tmp_path / "spool")
        files = {
            "app/Dockerfile": SMALL["Dockerfile"],
            "lumper.toml": '[build]\ncontext = "app"\n',
            ".gitattributes": "*.txt text eol=lf\n",  # which git is told of in a file
        }
        async with bench.at_work():
            with filled(disk):
                full = await bench.build(tmp_path, files)
            assert full.outcome is Outcome.FAILED
            assert "There is no space left on the worker" in full.error
            assert full.hint
            assert list(disk.iterdir()) == []
            assert (await bench.build(tmp_path, files)).outcome is Outcome.SUCCEEDED
