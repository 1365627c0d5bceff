"""A push of an image in a process that kills itself before its n-th change to the storage's files.

Tags that the registry has acknowledged are written to a file beside. Without a crash the status is 0.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from lumper.model.images.activity import SERVER
from lumper.registry.catalog.images import ImageHistory
from lumper.registry.port import Storage
from lumper.registry.registry import Registry
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.store.database import Database
from parts.registries.live_registry import OCI_MANIFEST, digest_of, image_manifest

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.truncate"}  # and "open" for writing: PEP 578's audit events


def crash_before(change: int, folder: Path) -> None:
    """Kill this process, as `kill -9` does, right before the n-th change below the folder; 1 is the first."""
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(flags := arguments[2], int) and flags & (os.O_WRONLY | os.O_RDWR)
        if (event in _CHANGES or writes) and str(arguments[0]).startswith(str(folder)):
            count += 1
            if count == change:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


async def _pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def push(folder: Path, version: str) -> None:
    """Push an image under its version and `latest` to files in the folder, two of its blobs whole at the same time."""
    small = [b"{}", version.encode()]
    await push_to(FilesystemStorage(folder / "registry"), folder, version, version.encode() * 100_000, small)


async def push_to(storage: Storage, folder: Path, version: str, layer: bytes, whole: Collection[bytes] = ()) -> None:
    """Push an image with this layer under its version and `latest`, then close the storage.

    Blobs come in two chunks each, other than those that come `whole`, first and at the same time.
    """
    database = Database(f"sqlite:///{folder}/lumper.db")
    await database.migrate()
    registry = Registry(storage, ImageHistory(database))
    await asyncio.gather(*(_push_whole(registry, content) for content in whole))
    links = [(digest_of(content), len(content)) for content in whole]
    for content in (layer,) if whole else (b"{}", layer):
        digest = digest_of(content)
        session = await registry.blobs.begin("one", "me")
        await registry.blobs.append(session, 0, _pieces(content[:1]))
        await registry.blobs.finish(session, digest, None, _pieces(content[1:]))
        links.append((digest, len(content)))
    body = json.dumps(image_manifest(*links)).encode()
    manifests = registry.manifests
    done = await manifests.put("one", digest_of(body), OCI_MANIFEST, body, (version, "latest"), actor=SERVER)
    with (folder / "acknowledged").open("a") as told:
        told.write(f"{version} {done.digest}\nlatest {done.digest}\n")
    await database.close()
    await storage.close()


async def _push_whole(registry: Registry, content: bytes) -> None:
    session = await registry.blobs.begin("one", "me")
    await registry.blobs.finish(session, digest_of(content), None, content)


def main(folder: Path, change: int) -> None:
    """Push until the crash."""
    crash_before(change, folder / "registry")
    asyncio.run(push(folder, "v2"))
