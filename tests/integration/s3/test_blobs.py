"""Large blobs in a bucket: where their bytes lie, what is wrong with them, and how they go."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from lumper.errors import StorageError
from lumper.registry.storage.s3 import S3Storage, keys
from lumper.registry.storage.s3 import storage as s3_storage
from lumper.registry.storage.s3.multipart import Body, Multipart
from lumper.registry.storage.s3.objects import Objects
from parts.s3.s3_pushes import LARGE, MIB, content, pieces, push, sha256
from parts.s3.s3_service import Bucket


async def test_a_large_blob_is_read_back_and_its_bytes_lie_there_once(storage: S3Storage, bucket: Bucket) -> None:
    await push(storage, "u", LARGE)

    assert await content(storage, sha256(LARGE)) == LARGE
    hexadecimal = sha256(LARGE).removeprefix("sha256:")
    assert sorted(bucket.objects()) == [
        f"images/here/blobs/sha256/{hexadecimal}/{len(LARGE)}-u",
        "images/here/data/u",
    ]
    assert bucket.unfinished() == 0


async def test_a_blob_of_exactly_two_parts_is_read_back(storage: S3Storage) -> None:
    data = LARGE[: 16 * MIB]

    await push(storage, "u", data)

    assert await content(storage, sha256(data)) == data


async def test_the_bytes_that_end_a_small_upload_are_sent_once(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, put = list[str](), Multipart.put

    async def seen(multipart: Multipart, key: str, body: Body) -> None:
        sent.append(key)
        await put(multipart, key, body)

    await storage.begin("u")
    monkeypatch.setattr(Multipart, "put", seen)
    assert await storage.commit("u", sha256(b"x"), b"x") is not None

    assert sent == [keys.whole(sha256(b"x"))]


async def test_the_same_large_blob_again_takes_no_space(storage: S3Storage, bucket: Bucket) -> None:
    await push(storage, "first", LARGE)
    before = bucket.objects()

    await push(storage, "second", LARGE)

    assert bucket.objects() == before
    assert bucket.unfinished() == 0


async def test_a_large_blob_whose_bytes_the_bucket_has_lost_is_pushed_again(
    storage: S3Storage, other: S3Storage, bucket: Bucket
) -> None:
    await push(storage, "first", LARGE)
    bucket.request("DELETE", "/images/here/data/first")

    await push(storage, "second", LARGE)

    assert await content(other, sha256(LARGE)) == LARGE
    assert not [key for key in bucket.objects() if "first" in key]


async def test_a_large_blob_that_is_damaged_at_the_same_size_is_replaced_by_a_push(
    storage: S3Storage, other: S3Storage, bucket: Bucket
) -> None:
    digest = sha256(LARGE)
    await push(storage, "first", LARGE)
    bucket.request("PUT", "/images/here/data/first", body=b"x" + LARGE[1:])

    assert "the digest" in await storage.set_aside(digest)

    assert await storage.stat(digest) is None
    assert await other.stat(digest) is None
    assert await other.blobs() == []
    assert await storage.review() == [digest]
    await push(storage, "second", LARGE)
    assert await content(other, digest) == LARGE
    assert [one for one, _, _ in await other.blobs()] == [digest]
    assert await storage.review() == []
    hexadecimal = digest.removeprefix("sha256:")
    assert sorted(bucket.objects()) == [
        f"images/here/blobs/sha256/{hexadecimal}/{len(LARGE)}-second",
        "images/here/data/second",
    ]


async def test_what_was_set_aside_and_is_right_after_all_is_there_again(storage: S3Storage, bucket: Bucket) -> None:
    await push(storage, "first", LARGE)
    bucket.request("PUT", "/images/here/damaged/somebody-s", body=b"an object that is none of ours")
    before = bucket.objects()
    bucket.request("PUT", "/images/here/data/first", body=b"x" + LARGE[1:])
    assert await storage.set_aside(sha256(LARGE)) != ""

    bucket.request("PUT", "/images/here/data/first", body=LARGE)

    assert await storage.review() == []
    assert await content(storage, sha256(LARGE)) == LARGE
    assert bucket.objects() == before


async def test_a_blob_whose_bytes_the_bucket_has_lost_is_not_there_once_that_was_seen(
    storage: S3Storage, bucket: Bucket
) -> None:
    await push(storage, "first", LARGE)
    bucket.request("DELETE", "/images/here/data/first")

    assert await storage.set_aside(sha256(LARGE)) == "its bytes are not in the bucket"

    assert await storage.stat(sha256(LARGE)) is None
    await storage.delete(sha256(LARGE))
    assert bucket.objects() == []
    bucket.request("PUT", f"/images/here/{keys.damaged(sha256(LARGE))}", body=b"all else of it has gone")
    assert await storage.review() == []
    assert bucket.objects() == []


async def test_bytes_behind_those_of_a_blob_are_wrong_bytes(storage: S3Storage, bucket: Bucket) -> None:
    folder = f"/images/here/blobs/sha256/{sha256(b'x').removeprefix('sha256:')}"
    bucket.request("PUT", f"{folder}/1-u")
    bucket.request("PUT", "/images/here/data/u", body=b"x and more")

    assert await storage.set_aside(sha256(b"x")) == "it has 10 bytes, not 1"
    assert await storage.stat(sha256(b"x")) is None


async def test_of_two_places_the_right_one_counts(storage: S3Storage, other: S3Storage, bucket: Bucket) -> None:
    await asyncio.gather(push(storage, "first", LARGE), push(other, "second", LARGE))
    if len(bucket.objects()) == 2:  # one came after the other
        bucket.request("PUT", "/images/here/data/third", body=LARGE)
        hexadecimal = sha256(LARGE).removeprefix("sha256:")
        bucket.request("PUT", f"/images/here/blobs/sha256/{hexadecimal}/{len(LARGE)}-third")
    bucket.request("PUT", f"/images/here/data/{bucket.objects()[-1].rpartition('/')[2]}", body=b"x" + LARGE[1:])

    assert await storage.set_aside(sha256(LARGE)) == ""

    assert await content(storage, sha256(LARGE)) == LARGE
    assert await storage.review() == []
    assert len(bucket.objects()) == 2
    assert await content(storage, sha256(LARGE)) == LARGE


async def test_a_deletion_that_is_cut_off_leaves_no_blob_without_bytes_and_nothing_once_it_is_swept(
    storage: S3Storage, other: S3Storage, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await push(storage, "first", LARGE)
    delete = Objects.delete

    async def cut_off(objects: Objects, *found: str) -> None:
        await delete(objects, found[0])
        raise StorageError

    with monkeypatch.context() as patch, pytest.raises(StorageError):
        patch.setattr(Objects, "delete", cut_off)
        await storage.delete(sha256(LARGE))

    assert await other.stat(sha256(LARGE)) is None
    await storage.delete(sha256(LARGE))
    for name, _ in await storage.uploads():
        await storage.abort(name)
    assert bucket.objects() == []


async def test_a_large_blob_that_was_pushed_twice_at_once_is_deleted_whole(
    storage: S3Storage, other: S3Storage, bucket: Bucket
) -> None:
    await asyncio.gather(push(storage, "first", LARGE), push(other, "second", LARGE))
    assert await content(storage, sha256(LARGE)) == LARGE

    await storage.delete(sha256(LARGE))

    assert await storage.stat(sha256(LARGE)) is None
    assert bucket.objects() == []


async def test_large_bytes_with_another_digest_leave_nothing(storage: S3Storage, bucket: Bucket) -> None:
    await storage.begin("u")
    await storage.append("u", 0, pieces(LARGE))

    assert await storage.commit("u", sha256(b"another")) is None

    assert bucket.objects() == []
    assert bucket.unfinished() == 0


async def test_a_large_blob_may_have_a_sha512_digest(storage: S3Storage) -> None:
    digest = f"sha512:{hashlib.sha512(LARGE).hexdigest()}"
    await storage.begin("u")
    await storage.append("u", 0, pieces(LARGE))

    assert await storage.commit("u", digest) is not None

    assert await content(storage, digest) == LARGE


async def test_a_blob_that_was_deleted_by_another_process_cannot_be_read(
    storage: S3Storage, other: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_storage, "_STAT_SECONDS", 600.0)  # also where the machine stands still for a while
    await storage.put(sha256(b"x"), b"x")
    assert await storage.stat(sha256(b"x")) is not None
    await other.delete(sha256(b"x"))

    with pytest.raises(StorageError, match="NoSuchKey"):
        await content(storage, sha256(b"x"))
