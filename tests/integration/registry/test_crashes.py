"""A push that is killed before any of its changes to the disk: nothing wrong stays, nothing is lost, no space leaks."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lumper.registry.catalog.images import ImageHistory
from lumper.registry.gc.collector import Policy
from lumper.registry.registry import Registry
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.registry.verify import Defect
from lumper.store.database import Database
from parts.processes.fork_server import forking
from parts.registries import crashing_push

_MOST = 200  # changes: more than one run of the push makes


def crashed(folder: Path, change: int) -> bool:
    """Push in a process that is killed before this change; whether it got so far."""
    process = forking().Process(target=crashing_push.main, args=(folder, change))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


async def swept(folder: Path) -> tuple[Registry, ImageHistory, FilesystemStorage, Database]:
    """The registry after a restart, when all that nobody needs has been given up."""
    database = Database(f"sqlite:///{folder}/lumper.db")
    metadata, storage = ImageHistory(database), FilesystemStorage(folder / "registry")
    registry = Registry(storage, metadata, Policy(timedelta(0)))
    await registry.blobs.expire_uploads(datetime.now(UTC) + timedelta(minutes=1))
    for _ in range(5):
        await registry.names.tell()
        await registry.collector.run()
    return registry, metadata, storage, database


def acknowledged(folder: Path) -> dict[str, str]:
    """Where tags point, as the client was told."""
    return dict(line.split() for line in (folder / "acknowledged").read_text().splitlines())


async def check(folder: Path) -> None:
    """What must be so after a crash, whenever it came."""
    tags = await asyncio.to_thread(acknowledged, folder)
    registry, metadata, storage, database = await swept(folder)
    files = [path for path in (folder / "registry" / "blobs").rglob("*") if path.is_file()]
    assert [path for path in files if hashlib.sha256(path.read_bytes()).hexdigest() != path.name] == []
    assert not [*(folder / "registry" / "uploads").rglob("*")]
    for tag, digest in tags.items():
        found = await registry.manifests.find("one", tag)
        moved = tag == "latest" and (await metadata.tag("one", "v2")) is not None  # killed before that could be told
        assert found.digest == digest or moved
        assert hashlib.sha256(await registry.manifests.content(found)).hexdigest() == found.digest[7:]
    known = await metadata.known_blobs()
    assert {path.name for path in files} == {digest[7:] for digest, (_, needed) in known.items() if needed}
    assert [flaw async for flaw in registry.verifier.run() if isinstance(flaw, Defect)] == []
    await database.close()
    await storage.close()


async def test_a_push_that_is_killed_before_any_change_to_the_disk_leaves_nothing_wrong(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    await crashing_push.push(begun, "v1")
    for change in range(1, _MOST):
        folder = tmp_path / str(change)
        await asyncio.to_thread(shutil.copytree, begun, folder)
        if not await asyncio.to_thread(crashed, folder, change):
            break
        await check(folder)
        if change % 5 == 0:
            assert not await asyncio.to_thread(crashed, folder, _MOST)  # the client tries again
            await check(folder)
    assert 15 < change < _MOST - 1
