"""What a bucket's service gives and refuses: addresses that need no key, and words when it is not there."""

from __future__ import annotations

from dataclasses import replace

import aiohttp
import pytest

from lumper.errors import StorageError
from lumper.registry.storage.s3 import S3Storage
from parts.s3.s3_pushes import LARGE, push, sha256
from parts.s3.s3_service import Bucket


async def test_a_blob_has_an_address_that_needs_no_key(storage: S3Storage) -> None:
    await push(storage, "u", LARGE)
    await storage.put(sha256(b"small"), b"small")

    async with aiohttp.ClientSession() as client:
        for data in (LARGE, b"small"):
            address = await storage.address(sha256(data))
            assert address is not None
            async with client.get(address, headers={"Range": "bytes=1-3"}) as answer:
                assert (answer.status, await answer.read()) == (206, data[1:4])


async def test_no_address_is_given_where_that_is_switched_off(bucket: Bucket) -> None:
    storage = bucket.open(redirect=False)
    await storage.put(sha256(b"x"), b"x")

    assert await storage.address(sha256(b"x")) is None
    await storage.close()


async def test_a_bucket_that_is_not_there_is_told_with_what_to_do(bucket: Bucket) -> None:
    storage = replace(bucket, name="no-such-bucket").open()

    with pytest.raises(StorageError, match="NoSuchBucket") as refused:
        await storage.begin("u")
    assert "bucket" in refused.value.hint
    with pytest.raises(StorageError, match="NoSuchBucket"):
        await storage.uploads()
    with pytest.raises(StorageError):
        await storage._multipart.create("data/u")
    await storage.close()


async def test_a_service_that_does_not_answer_is_told_without_the_key() -> None:
    storage = Bucket("http://127.0.0.1:9", "bucket", "key", "a-secret").open()

    for request in (storage.stat(sha256(b"x")), storage.put(sha256(b"x"), b"x"), storage.uploads()):
        with pytest.raises(StorageError, match="does not answer") as refused:
            await request
        assert "a-secret" not in repr(refused.value)
    await storage.close()
