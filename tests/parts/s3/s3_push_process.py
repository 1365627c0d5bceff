"""A process that pushes into a bucket: `python s3_push_process.py WHAT ENDPOINT BUCKET KEY SECRET`.

endless    begins the upload "killed", and writes to it until it is killed
memory     writes 512 MiB to an upload, removes it, and prints by how many bytes its memory peaked above the start
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from lumper.registry.storage.s3 import S3Storage
from parts.s3.s3_service import Bucket

_PIECE = 256 << 10


def arguments(what: str, bucket: Bucket) -> list[str]:
    """The command line of this process."""
    return [sys.executable, "-m", "parts.s3.s3_push_process", what, *vars(bucket).values()]


async def _pieces(count: int | None) -> AsyncIterator[bytes]:
    sent = 0
    while count is None or sent < count:
        sent += 1
        yield sent.to_bytes(8, "big") * (_PIECE // 8)
        await asyncio.sleep(0)


def _peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


async def _endless(storage: S3Storage) -> None:
    await storage.begin("killed")
    await storage.append("killed", 0, _pieces(None))


async def _memory(storage: S3Storage) -> None:
    await storage.begin("large")
    await storage.uploads()  # connections and threads are there
    before = _peak()
    await storage.append("large", 0, _pieces((512 << 20) // _PIECE))
    await storage.abort("large")
    sys.stdout.write(f"{_peak() - before}\n")


async def _main(what: str, bucket: Bucket) -> None:
    storage = bucket.open()
    try:
        await {"endless": _endless, "memory": _memory}[what](storage)
    finally:
        await storage.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Bucket(*sys.argv[2:])))
