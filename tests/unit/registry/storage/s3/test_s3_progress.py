"""What a bucket says of an upload on its way, read back by whoever goes on with it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest

from lumper.errors import StorageError
from lumper.registry.storage.s3 import keys
from lumper.registry.storage.s3.progress import PART, Progress, decoded


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


@pytest.mark.parametrize("cut", [1, 20, 40, 10_000])
@pytest.mark.parametrize("etags", [[], ['"one"', '"two"']])
async def test_what_came_is_known_to_whoever_goes_on_and_its_hash_as_long_as_all_bytes_are_here(
    etags: list[str], cut: int
) -> None:
    progress, tail = Progress("u", multipart="id", etags=etags), bytes(range(250))
    progress.tail.add([tail])
    whole = progress.encoded().read(0, 1 << 20)

    found = await decoded("u", keys.state("u", progress.size), pieces(*filter(None, (whole[:cut], whole[cut:]))))

    assert (found.multipart, found.etags, found.size) == ("id", etags, len(etags) * PART + 250)
    assert found.tail.read(0, 1 << 20) == tail
    assert found.digest == (None if etags else f"sha256:{hashlib.sha256(tail).hexdigest()}")


@pytest.mark.parametrize(
    "content",
    [b"", b"x\n123", b"[]\n123", b"{}\n123", b'{"multipart": "", "etags": 1}\n123']
    + [b'{"multipart": "", "etags": []}\n' + tail for tail in (b"", b"12", b"1234")],
)
async def test_what_says_something_else_than_its_name_is_not_gone_on_with(content: bytes) -> None:
    with pytest.raises(StorageError, match="cannot be read back"):
        await decoded("u", keys.state("u", 3), pieces(content))
