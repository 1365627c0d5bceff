"""Gzip in threads: what comes out is the same each time, and any gunzip makes of it what went in."""

from __future__ import annotations

import gzip
import hashlib
import random
import zlib
from collections.abc import AsyncIterator, Generator, Iterator

import pytest

from lumper.build.source.packing import BLOCK, Packing, Pool


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool()
    yield pool
    pool.close()


def blocks(data: bytes) -> Iterator[bytes]:
    for begin in range(0, len(data), BLOCK):
        yield data[begin : begin + BLOCK]


def some(size: int) -> bytes:
    """Half of it can be compressed."""
    seeded = random.Random(size)
    return (seeded.randbytes(size // 2) + b"abc" * size)[:size]


@pytest.mark.parametrize("size", [0, 1, 511, BLOCK - 1, BLOCK, BLOCK + 1, 7 * BLOCK + 5])
async def test_what_comes_out_is_one_gzip_member_of_what_went_in(pool: Pool, size: int) -> None:
    data, packing = some(size), Packing(pool)

    packed = b"".join([part async for part in packing.pack(blocks(data))])

    alone = zlib.decompressobj(wbits=31)
    assert alone.decompress(packed) == data
    assert alone.eof
    assert alone.unused_data == b""
    assert gzip.decompress(packed) == data
    assert packing.plain == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert packing.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert (packing.plain_size, packing.size) == (len(data), len(packed))


async def test_the_same_bytes_always_come_out(pool: Pool) -> None:
    data = some(9 * BLOCK + 77)

    digests = set()
    for _ in range(5):
        packing = Packing(pool)
        async for _part in packing.pack(blocks(data)):
            pass
        digests.add(packing.digest)

    assert len(digests) == 1


async def test_it_reads_only_a_little_ahead(pool: Pool) -> None:
    read = 0

    def endless() -> Generator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield bytes(BLOCK)

    source, parts = endless(), 0
    packed = Packing(pool).pack(source)
    async for _part in packed:
        parts += 1
        if parts == 20:
            break
    await packed.aclose()
    source.close()  # which fails if a thread were still in it

    assert read <= 20 + 2 * pool.size + 2


async def test_an_error_of_the_source_ends_it(pool: Pool) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(BLOCK)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        async for _part in Packing(pool).pack(broken()):
            pass


async def test_threads_that_were_ended_begin_anew_with_the_next_work() -> None:
    pool = Pool()
    assert await pool.run(sum, (1, 2)) == 3
    pool.close()
    pool.close()
    assert await pool.run(sum, (3, 4)) == 7
    pool.close()
