"""What is pushed to a bucket, and read there again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator

from lumper.registry.storage.s3 import S3Storage

MIB = 1 << 20
LARGE = random.Random(4).randbytes(20 * MIB) + b"the end"  # two parts, and 4 MiB


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def pieces(data: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def content(storage: S3Storage, digest: str) -> bytes:
    return b"".join([chunk async for chunk in storage.read(digest)])


async def push(storage: S3Storage, name: str, data: bytes) -> None:
    await storage.begin(name)
    await storage.append(name, 0, pieces(data))
    assert await storage.commit(name, sha256(data)) is not None
