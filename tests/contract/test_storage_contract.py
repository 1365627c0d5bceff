"""What every storage keeps to, whatever it is made of."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from lumper.errors import StorageError
from lumper.registry.port import Storage
from parts.registries.pieces import pieces

MIB = 1 << 20


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def broken(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise ConnectionResetError("the client is gone")


async def content(storage: Storage, digest: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in storage.read(digest, start, end)])


async def test_what_was_put_is_read_back_whole(storage: Storage) -> None:
    await storage.put(sha256(b"manifest"), b"manifest")

    blob = await storage.stat(sha256(b"manifest"))
    assert blob is not None
    assert (blob.digest, blob.size) == (sha256(b"manifest"), 8)
    assert await content(storage, blob.digest) == b"manifest"


async def test_a_blob_may_be_put_twice(storage: Storage) -> None:
    await storage.put(sha256(b"x"), b"x")
    await storage.put(sha256(b"x"), b"x")

    assert await content(storage, sha256(b"x")) == b"x"


async def test_a_path_to_send_leads_to_the_blobs_bytes(storage: Storage) -> None:
    await storage.put(sha256(b"x"), b"x")

    blob = await storage.stat(sha256(b"x"))
    assert blob is not None
    assert blob.path is None or await asyncio.to_thread(blob.path.read_bytes) == b"x"


async def test_an_unknown_blob_is_none_and_cannot_be_read(storage: Storage) -> None:
    assert await storage.stat(sha256(b"?")) is None
    with pytest.raises(StorageError):
        await content(storage, sha256(b"?"))


@pytest.mark.parametrize(("start", "end"), [(0, 3), (2, None), (MIB - 1, MIB + 1), (5, 5), (2 * MIB, 9 * MIB)])
async def test_a_part_of_a_blob_is_read(storage: Storage, start: int, end: int | None) -> None:
    data = bytes(range(256)) * (2 * MIB // 256) + b"the end"
    await storage.put(sha256(data), data)

    assert await content(storage, sha256(data), start, end) == data[start:end]


async def test_no_chunk_that_is_read_is_larger_than_a_mebibyte(storage: Storage) -> None:
    data = bytes(3 * MIB + 1)
    await storage.put(sha256(data), data)

    assert max([len(chunk) async for chunk in storage.read(sha256(data))]) <= MIB


async def test_an_upload_in_several_requests_becomes_a_blob(storage: Storage) -> None:
    await storage.begin("u-1")
    assert await storage.uploaded("u-1") == 0
    assert await storage.append("u-1", 0, pieces(b"one ", b"", b"two ")) == 8
    assert await storage.append("u-1", 8, pieces(b"three")) == 13
    assert await storage.uploaded("u-1") == 13

    blob = await storage.commit("u-1", sha256(b"one two three"))

    assert blob is not None
    assert blob.size == 13
    assert await content(storage, blob.digest) == b"one two three"
    assert await storage.uploaded("u-1") is None


@pytest.mark.parametrize("before", [b"", b"x", b"x" * (9 * MIB)])
async def test_the_last_bytes_may_come_with_the_end_of_an_upload(storage: Storage, before: bytes) -> None:
    await storage.begin("u")
    if before:
        await storage.append("u", 0, pieces(before))

    blob = await storage.commit("u", sha256(before + b"rest"), b"rest")

    assert blob is not None
    assert blob.size == len(before) + 4
    assert await content(storage, blob.digest) == before + b"rest"
    assert await storage.uploaded("u") is None
    assert await storage.uploads() == []


async def test_an_upload_with_wrong_last_bytes_is_gone(storage: Storage) -> None:
    await storage.begin("u")

    assert await storage.commit("u", sha256(b"right"), b"wrong") is None

    assert await storage.uploaded("u") is None
    assert await storage.stat(sha256(b"wrong")) is None


async def test_a_large_upload_in_small_pieces_keeps_their_order(storage: Storage) -> None:
    parts = [bytes([n % 251]) * (n * 7 % 9000) for n in range(2000)]
    await storage.begin("u")

    size = await storage.append("u", 0, pieces(*parts))

    data = b"".join(parts)
    assert size == len(data)
    assert await storage.commit("u", sha256(data)) is not None
    assert await content(storage, sha256(data)) == data


async def test_an_upload_may_have_a_sha512_digest(storage: Storage) -> None:
    digest = f"sha512:{hashlib.sha512(b'x').hexdigest()}"
    await storage.begin("u")
    await storage.append("u", 0, pieces(b"x"))

    assert await storage.commit("u", digest) is not None
    assert await content(storage, digest) == b"x"


async def test_an_upload_with_other_bytes_is_never_visible_and_is_gone(storage: Storage) -> None:
    await storage.begin("u")
    await storage.append("u", 0, pieces(b"wrong"))

    assert await storage.commit("u", sha256(b"right")) is None

    assert await storage.stat(sha256(b"right")) is None
    assert await storage.stat(sha256(b"wrong")) is None
    assert await storage.uploaded("u") is None


async def test_a_wrong_offset_is_refused_and_changes_nothing(storage: Storage) -> None:
    await storage.begin("u")
    await storage.append("u", 0, pieces(b"abc"))

    for offset in (0, 2, 4):
        with pytest.raises(StorageError):
            await storage.append("u", offset, pieces(b"x"))

    assert await storage.uploaded("u") == 3
    assert await storage.commit("u", sha256(b"abc")) is not None


async def test_an_upload_goes_on_after_the_client_was_cut_off(storage: Storage) -> None:
    await storage.begin("u")
    with pytest.raises(ConnectionResetError):
        await storage.append("u", 0, broken(b"abc", b"def"))

    kept = await storage.uploaded("u")
    assert kept is not None
    assert await storage.append("u", kept, pieces(b"abcdefghi"[kept:])) == 9
    assert await storage.commit("u", sha256(b"abcdefghi")) is not None


async def test_an_upload_goes_on_after_its_request_was_cancelled(storage: Storage) -> None:
    waiting = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"a" * MIB
        waiting.set()
        await asyncio.Event().wait()

    await storage.begin("u")
    task = asyncio.create_task(storage.append("u", 0, endless()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    kept = await storage.uploaded("u")
    assert kept in (0, MIB)
    await storage.append("u", kept, pieces(b"a" * (MIB - kept), b"b"))
    assert await storage.commit("u", sha256(b"a" * MIB + b"b")) is not None


async def test_an_aborted_upload_is_gone(storage: Storage) -> None:
    await storage.begin("u")
    await storage.append("u", 0, pieces(b"x"))

    await storage.abort("u")
    await storage.abort("u")

    assert await storage.uploaded("u") is None
    with pytest.raises(StorageError):
        await storage.append("u", 1, pieces(b"x"))
    with pytest.raises(StorageError):
        await storage.commit("u", sha256(b"x"))


async def test_an_upload_is_begun_once(storage: Storage) -> None:
    await storage.begin("u")
    with pytest.raises(StorageError):
        await storage.begin("u")
    await storage.append("u", 0, pieces(b"x"))
    with pytest.raises(StorageError):
        await storage.begin("u")


async def test_uploads_are_listed_with_the_time_of_their_last_byte(storage: Storage) -> None:
    assert await storage.uploads() == []
    await storage.begin("b")
    await storage.begin("a")

    listed = await storage.uploads()

    assert [name for name, _ in listed] == ["a", "b"]
    assert all(abs(datetime.now(UTC) - at) < timedelta(minutes=1) for _, at in listed)


async def test_a_deleted_blob_is_gone(storage: Storage) -> None:
    await storage.put(sha256(b"x"), b"x")
    assert await storage.stat(sha256(b"x")) is not None

    await storage.delete(sha256(b"x"))
    await storage.delete(sha256(b"x"))

    assert await storage.stat(sha256(b"x")) is None


async def test_uploads_of_the_same_blob_at_the_same_time_all_succeed(storage: Storage) -> None:
    async def upload(name: str) -> bool:
        await storage.begin(name)
        await storage.append(name, 0, pieces(b"same ", b"bytes"))
        return await storage.commit(name, sha256(b"same bytes")) is not None

    assert all(await asyncio.gather(*(upload(f"u-{n}") for n in range(20))))
    assert await content(storage, sha256(b"same bytes")) == b"same bytes"


async def test_a_storage_keeps_the_id_that_it_was_given(storage: Storage) -> None:
    assert await storage.identity() == ""

    await storage.identify("one")
    await storage.identify("another")

    assert await storage.identity() == "another"
    assert await storage.blobs() == []
    assert [page async for page in storage.names() if page] == []


async def test_a_blob_with_wrong_bytes_is_not_there_until_it_is_stored_anew(storage: Storage) -> None:
    digest = sha256(b"right")
    await storage.put(digest, b"wrong")
    await storage.put(sha256(b"other"), b"other")
    assert await storage.stat(digest) is not None

    assert "5 bytes" in await storage.set_aside(digest)

    assert await storage.stat(digest) is None
    assert storage.remembered(digest) is None
    with pytest.raises(StorageError):
        await content(storage, digest)
    assert [one for one, _, _ in await storage.blobs()] == [sha256(b"other")]
    assert await storage.review() == [digest]
    await storage.begin("u")
    await storage.append("u", 0, pieces(b"right"))
    assert await storage.commit("u", digest) is not None
    assert await content(storage, digest) == b"right"
    assert await storage.review() == []
    assert await content(storage, digest) == b"right"
    assert await storage.set_aside(digest) == ""
    assert await storage.stat(digest) is not None


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_what_was_set_aside_can_be_put_anew_and_deleted(storage: Storage, algorithm: str) -> None:
    digest = f"{algorithm}:{hashlib.new(algorithm, b'right').hexdigest()}"
    await storage.put(digest, b"wrong")
    assert await storage.set_aside(digest) != ""

    await storage.put(digest, b"right")

    assert await content(storage, digest) == b"right"
    await storage.put(digest, b"wrong in another way")
    assert await storage.set_aside(digest) != ""
    await storage.delete(digest)
    assert await storage.review() == []
    assert await storage.stat(digest) is None


async def test_a_blob_that_is_right_or_not_there_is_not_set_aside(storage: Storage) -> None:
    await storage.put(sha256(b"x"), b"x")
    await storage.put(sha256(b""), b"")

    assert await storage.set_aside(sha256(b"x")) == ""
    assert await storage.set_aside(sha256(b"")) == ""
    assert await storage.set_aside(sha256(b"lost")) == ""

    assert await storage.review() == []
    assert await content(storage, sha256(b"x")) == b"x"


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 32, "sha256:" + "0" * 63]
)
async def test_what_is_not_a_digest_is_refused(storage: Storage, digest: str) -> None:
    with pytest.raises(StorageError):
        await storage.stat(digest)
    with pytest.raises(StorageError):
        await storage.put(digest, b"x")
    with pytest.raises(StorageError):
        await storage.delete(digest)
    await storage.begin("u")
    with pytest.raises(StorageError):
        await storage.commit("u", digest, b"x")
    assert await storage.uploaded("u") == 0


async def test_blobs_are_listed_in_the_order_of_their_digests(storage: Storage) -> None:
    assert await storage.blobs() == []
    before = datetime.now(UTC) - timedelta(seconds=5)
    digests = sorted([sha256(b"%d" % n) for n in range(20)])
    for n in range(20):
        await storage.put(sha256(b"%d" % n), b"%d" % n)
    await storage.begin("u1")
    await storage.append("u1", 0, pieces(b"x" * 3 * MIB))
    digest = f"sha512:{hashlib.sha512(b'x' * 3 * MIB).hexdigest()}"
    assert await storage.commit("u1", digest) is not None
    await storage.begin("u2")

    listed = await storage.blobs()

    assert [one for one, _, _ in listed] == [*digests, digest]
    assert listed[-1][1] == 3 * MIB
    assert all(before < at < datetime.now(UTC) + timedelta(seconds=5) for _, _, at in listed)
    assert [one for one, _, _ in await storage.blobs(limit=3)] == digests[:3]
    assert [one for one, _, _ in await storage.blobs(digests[2], 4)] == digests[3:7]
    assert [one for one, _, _ in await storage.blobs(digests[-1])] == [digest]
    assert await storage.blobs(digest) == []
