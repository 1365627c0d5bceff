"""Uploads to a bucket by several processes that are cut off, killed and refused."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lumper.errors import StorageError, StorageFull
from lumper.registry.storage.s3 import S3Storage, multipart, progress, uploads
from lumper.registry.storage.s3.multipart import Body, Multipart
from lumper.registry.storage.s3.tail import Tail
from parts.s3.s3_push_process import arguments
from parts.s3.s3_pushes import LARGE, MIB, content, pieces, sha256
from parts.s3.s3_service import Bucket
from parts.suite.eventually import eventually

PARTS = Path(__file__).parents[2]


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
