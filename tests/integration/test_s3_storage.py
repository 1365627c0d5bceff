"""Images in a bucket: large ones, several processes, crashes, refusals."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from lumper.errors import StorageError, StorageFull
from lumper.registry.storage.s3 import S3Storage, keys, multipart, progress, uploads
from lumper.registry.storage.s3.multipart import Body, Multipart
from lumper.registry.storage.s3.objects import Objects
from lumper.registry.storage.s3.tail import Tail
from parts.eventually import eventually
from parts.s3_push_process import arguments
from parts.s3_service import Bucket

MIB = 1 << 20
PARTS = Path(__file__).parents[1]
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


@pytest.fixture
async def storage(bucket: Bucket) -> AsyncIterator[S3Storage]:
    opened = bucket.open()
    yield opened
    await opened.close()


@pytest.fixture
async def other(bucket: Bucket) -> AsyncIterator[S3Storage]:
    """The same bucket as another process sees it, or the same one after a restart."""
    opened = bucket.open()
    yield opened
    await opened.close()


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


async def test_processes_take_turns_at_one_upload(storage: S3Storage, other: S3Storage) -> None:
    await storage.begin("u")
    size = 0
    for number, end in enumerate([5, MIB, 9 * MIB, 9 * MIB + 1, 17 * MIB, len(LARGE)]):
        writer = (storage, other)[number % 2]
        assert await writer.uploaded("u") == size
        size = await writer.append("u", size, pieces(LARGE[size:end]))

    assert await storage.commit("u", sha256(LARGE)) is not None

    assert await content(other, sha256(LARGE)) == LARGE


async def test_after_a_restart_wrong_bytes_are_still_found_out_also_of_a_blob_that_is_there(
    storage: S3Storage, other: S3Storage, bucket: Bucket
) -> None:
    await storage.put(sha256(b"another"), b"another")
    before = bucket.objects()
    await storage.begin("u")
    await storage.append("u", 0, pieces(LARGE))

    assert await other.commit("u", sha256(b"another")) is None

    assert await content(other, sha256(b"another")) == b"another"
    assert bucket.objects() == before


async def test_a_large_blob_may_have_a_sha512_digest(storage: S3Storage) -> None:
    digest = f"sha512:{hashlib.sha512(LARGE).hexdigest()}"
    await storage.begin("u")
    await storage.append("u", 0, pieces(LARGE))

    assert await storage.commit("u", digest) is not None

    assert await content(storage, digest) == LARGE


async def test_an_upload_that_was_cut_off_goes_on_after_a_restart(storage: S3Storage, other: S3Storage) -> None:
    async def cut_off() -> AsyncIterator[bytes]:
        async for piece in pieces(LARGE[: 13 * MIB]):
            yield piece
        raise ConnectionResetError

    await storage.begin("u")
    with pytest.raises(ConnectionResetError):
        await storage.append("u", 0, cut_off())

    assert await other.uploaded("u") == 13 * MIB
    await other.append("u", 13 * MIB, pieces(LARGE[13 * MIB :]))
    assert await other.commit("u", sha256(LARGE)) is not None
    assert await content(other, sha256(LARGE)) == LARGE


async def test_what_comes_of_a_long_push_is_written_down_while_it_goes_on(
    storage: S3Storage, other: S3Storage, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "CHECKPOINT", 1)
    seen: list[int | None] = []

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield LARGE[: 8 * MIB]
            seen.append(await other.uploaded("u"))

    await storage.begin("u")
    await storage.append("u", 0, parts())

    assert seen == [0, 0, 24 * MIB]  # two parts may be under way
    assert len(bucket.objects()) == 1  # what was written down before has gone


async def test_a_commit_that_was_cut_off_after_any_of_its_requests_can_be_repeated(
    storage: S3Storage, other: S3Storage, bucket: Bucket
) -> None:
    await storage.begin("u")
    await storage.append("u", 0, pieces(LARGE))
    for loops in range(40):  # each time a little further
        commit = asyncio.create_task(storage.commit("u", sha256(LARGE)))
        await asyncio.wait([commit], timeout=loops / 500)
        commit.cancel()
        await asyncio.wait([commit])
        if not commit.cancelled():
            break

    if await other.uploaded("u") is not None:
        with suppress(StorageError):  # the last request of the one that was cut off has come to its end meanwhile
            assert await other.commit("u", sha256(LARGE)) is not None

    assert await content(other, sha256(LARGE)) == LARGE
    await other.abort("u")  # the sweep comes after all
    assert await content(other, sha256(LARGE)) == LARGE
    assert len(bucket.objects()) == 2
    assert bucket.unfinished() == 0


async def test_a_blob_that_was_deleted_by_another_process_cannot_be_read(storage: S3Storage, other: S3Storage) -> None:
    await storage.put(sha256(b"x"), b"x")
    assert await storage.stat(sha256(b"x")) is not None
    await other.delete(sha256(b"x"))

    with pytest.raises(StorageError, match="NoSuchKey"):
        await content(storage, sha256(b"x"))


async def test_bytes_that_another_process_has_joined_are_not_believed(
    storage: S3Storage, other: S3Storage, bucket: Bucket
) -> None:
    await storage.begin("u")
    await storage.append("u", 0, pieces(LARGE))
    wrong = await other._uploads.load("u")
    part = wrong.take_part()
    wrong.tail.add([part.read(0, len(part) - 1), b"!"])
    await other._uploads.join(wrong, sha256(LARGE))

    assert await storage.commit("u", sha256(LARGE)) is None

    assert await storage.stat(sha256(LARGE)) is None
    assert bucket.objects() == []


async def test_an_upload_that_was_joined_but_never_became_a_blob_is_removed_with_its_bytes(
    storage: S3Storage, other: S3Storage, bucket: Bucket
) -> None:
    await storage.begin("u")
    await storage.append("u", 0, pieces(LARGE))
    progress = await storage._uploads.load("u")
    await storage._uploads.join(progress, sha256(LARGE))
    assert await other.stat(sha256(LARGE)) is None
    await storage.put(sha256(LARGE), LARGE)  # it is a blob by now, but elsewhere

    await other.abort("u")

    hexadecimal = sha256(LARGE).removeprefix("sha256:")
    assert bucket.objects() == [f"images/here/blobs/sha256/{hexadecimal}/whole"]


async def test_a_process_that_is_killed_while_it_pushes_leaves_nothing_after_the_sweep(
    other: S3Storage, bucket: Bucket
) -> None:
    pushing = await asyncio.create_subprocess_exec(*arguments("endless", bucket), cwd=PARTS)

    async def has_begun() -> bool:
        return await asyncio.to_thread(bucket.unfinished) > 0

    await eventually(has_begun)
    pushing.kill()
    await pushing.wait()

    assert [name for name, _ in await other.uploads()] == ["killed"]
    await other.abort("killed")
    assert await other.uploads() == []
    assert bucket.objects() == []
    assert bucket.unfinished() == 0


async def test_parts_of_an_upload_that_nobody_knows_any_more_are_found_and_removed(
    storage: S3Storage, bucket: Bucket
) -> None:
    await storage._multipart.create("data/orphan")

    assert [name for name, _ in await storage.uploads()] == ["orphan"]
    await storage.abort("orphan")

    assert bucket.unfinished() == 0


async def test_an_upload_is_as_old_as_its_last_bytes_and_not_as_its_first_part(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = Multipart.unfinished

    async def an_hour_ago(multipart: Multipart, under: str) -> AsyncIterator[tuple[str, str, datetime]]:
        async for key, upload, at in unfinished(multipart, under):
            yield key, upload, at - timedelta(hours=1)

    monkeypatch.setattr(Multipart, "unfinished", an_hour_ago)
    await storage._multipart.create("data/u")
    await storage.begin("u")

    [(name, at)] = await storage.uploads()
    assert (name, at > datetime.now(UTC) - timedelta(minutes=30)) == ("u", True)


async def test_bytes_that_cannot_be_kept_on_the_disk_here_do_not_count(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Tail.add

    def half(tail: Tail, found: Sequence[bytes | memoryview]) -> None:
        add(tail, [piece[: len(piece) // 2] for piece in found])
        raise StorageFull

    await storage.begin("u")
    await storage.append("u", 0, pieces(b"before"))
    with monkeypatch.context() as patch, pytest.raises(StorageFull):
        patch.setattr(Tail, "add", half)
        await storage.append("u", 6, pieces(bytes(MIB)))

    assert await storage.uploaded("u") == 6
    assert await storage.append("u", 6, pieces(b" after")) == 12
    assert await storage.commit("u", sha256(b"before after")) is not None


def test_memory_stays_flat_while_512_mebibytes_are_pushed(bucket: Bucket) -> None:
    done = subprocess.run(
        arguments("memory", bucket), cwd=PARTS, stdout=subprocess.PIPE, check=True, timeout=120, env={**os.environ}
    )

    assert int(done.stdout) < 64 * MIB


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


async def test_a_part_that_s3_refuses_fails_the_push_and_what_was_written_down_before_still_counts(
    storage: S3Storage, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "_PAUSES", ())  # moto does not say that the upload has ended
    await storage.begin("u")
    assert await storage.append("u", 0, pieces(LARGE[: 9 * MIB])) == 9 * MIB
    progress = await storage._uploads.load("u")
    await storage._multipart.abort("data/u", progress.multipart)

    with pytest.raises(StorageError):
        await storage.append("u", 9 * MIB, pieces(LARGE[9 * MIB :]))

    assert await storage.uploaded("u") == 9 * MIB
    await storage.abort("u")
    assert bucket.objects() == []


async def test_bytes_after_a_part_that_is_lost_do_not_count(
    storage: S3Storage, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_part = Multipart.put_part

    async def second_is_lost(multipart: Multipart, key: str, upload: str, number: int, body: Body) -> str:
        if number == 2:
            raise StorageError
        return await put_part(multipart, key, upload, number, body)

    monkeypatch.setattr(Multipart, "put_part", second_is_lost)
    monkeypatch.setattr(uploads, "CHECKPOINT", 1)
    await storage.begin("u")
    with pytest.raises(StorageError):
        await storage.append("u", 0, pieces(LARGE + LARGE[: 8 * MIB]))

    assert await storage.uploaded("u") == 0


async def test_a_blob_of_more_parts_than_s3_takes_is_refused(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_MOST_PARTS", 2)
    await storage.begin("u")
    assert await storage.append("u", 0, pieces(LARGE[: 15 * MIB])) == 15 * MIB  # a part, and most of the last one
    with pytest.raises(StorageFull, match="larger than S3 takes"):
        await storage.append("u", 15 * MIB, pieces(LARGE[15 * MIB :]))

    kept = LARGE[: await storage.uploaded("u")]
    assert await storage.commit("u", sha256(kept)) is not None
    assert await content(storage, sha256(kept)) == kept
