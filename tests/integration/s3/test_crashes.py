"""A push to a bucket that is killed at any of its requests: nothing wrong stays, nothing is lost, no space leaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from lumper.model.images.activity import SERVER
from lumper.registry.catalog.images import ImageHistory
from lumper.registry.gc.collector import Policy
from lumper.registry.registry import Registry
from lumper.registry.storage.s3 import S3Storage, keys
from lumper.registry.verify import Defect
from lumper.store.database import Database
from parts.s3.s3_crashing_push import Moment, Proxy, collect, crashed, proxied, push, verify
from parts.s3.s3_service import Bucket, s3_service

_MOST = 100  # changes: more than one push makes


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """One of moto's: another service would see that the proxy is not itself."""
    monkeypatch.delenv("LUMPER_TEST_S3", raising=False)
    with s3_service() as service:
        yield service.bucket()


@pytest.fixture
async def reached(bucket: Bucket) -> AsyncIterator[tuple[Proxy, Bucket]]:
    async with proxied(bucket) as found:
        yield found


def acknowledged(folder: Path) -> dict[str, str]:
    """Where tags point, as the client was told."""
    told = folder / "acknowledged"
    lines = told.read_text().splitlines() if told.exists() else []
    told.unlink(missing_ok=True)
    return dict(line.split() for line in lines)


async def swept(registry: Registry) -> None:
    """Give up all that nobody needs, as a server does after its start."""
    await registry.blobs.expire_uploads(datetime.now(UTC) + timedelta(minutes=1))
    for _ in range(5):
        await registry.names.tell()
        await registry.collector.run()


async def nothing_leaks(bucket: Bucket, metadata: ImageHistory) -> None:
    """The bucket has what the database knows, and no more."""
    objects = await asyncio.to_thread(bucket.objects)
    found = [key.removeprefix("images/here/") for key in objects]
    assert await asyncio.to_thread(bucket.unfinished) == 0
    assert [key for key in found if key.startswith(f"{keys.UPLOADS}/")] == []
    places = {key: keys.place(key, 0) for key in found if key.startswith(f"{keys.BLOBS}/")}
    assert None not in places.values()
    data = {place.key for place in places.values() if place is not None and place.pointer}
    assert data == {key for key in found if key.startswith(f"{keys.DATA}/")}
    known = await metadata.known_blobs()
    assert {keys.digest_of(key) for key in places} == {digest for digest, (_, needed) in known.items() if needed}


async def check(bucket: Bucket, folder: Path, storage: S3Storage) -> None:
    """What must be so after a crash, whenever it came. Afterwards the registry is empty again."""
    database = Database(f"sqlite:///{folder}/lumper.db")
    await database.migrate()
    metadata = ImageHistory(database)
    registry = Registry(storage, metadata, Policy(timedelta(0)))
    await swept(registry)
    await nothing_leaks(bucket, metadata)
    for tag, digest in (await asyncio.to_thread(acknowledged, folder)).items():
        manifest = await registry.manifests.find("one", tag)
        assert manifest.digest == digest
        assert sha256(await registry.manifests.content(manifest)).hexdigest() == digest[7:]
    assert [flaw async for flaw in registry.verifier.run() if isinstance(flaw, Defect)] == []  # it reads all bytes
    for digest in {one.digest for one in await metadata.tags("one") or []}:
        await registry.manifests.delete("one", digest, actor=SERVER)
    await database.close()


async def kills(
    reached: tuple[Proxy, Bucket],
    folder: Path,
    moment: Moment,
    prepare: Callable[[int], None],
    *work: Callable[..., None],
) -> AsyncIterator[None]:
    """Kill the work, a push unless given, at one change to the bucket after the other; each time the block follows."""
    proxy, through = reached
    change, got_there = 0, True
    while got_there and change < _MOST:
        change += 1
        await asyncio.to_thread(prepare, change)
        got_there = await crashed(proxy, through, folder, change, moment, *work)
        yield
    assert 5 < change < _MOST


async def test_a_collection_that_is_killed_at_any_change_to_the_bucket_leaks_nothing(
    bucket: Bucket, reached: tuple[Proxy, Bucket], storage: S3Storage, tmp_path: Path
) -> None:
    def prepare(change: int) -> None:
        push(bucket, tmp_path, f"v{change}")
        acknowledged(tmp_path)

    async for _ in kills(reached, tmp_path, Moment.AFTER, prepare, collect):
        await check(bucket, tmp_path, storage)


async def test_what_a_killed_verification_has_found_damaged_is_mended_by_a_push(
    bucket: Bucket, reached: tuple[Proxy, Bucket], storage: S3Storage, tmp_path: Path
) -> None:
    def prepare(_change: int) -> None:
        push(bucket, tmp_path, "v")
        for key in bucket.objects():
            if f"/{keys.DATA}/" in key or key.endswith(keys.WHOLE):
                bucket.request("PUT", f"/{key}", body=b"x" * 100)

    async for _ in kills(reached, tmp_path, Moment.AFTER, prepare, verify):
        await asyncio.to_thread(verify, bucket, tmp_path, "")
        await asyncio.to_thread(push, bucket, tmp_path, "v")
        assert await storage.review() == []
        await check(bucket, tmp_path, storage)


@pytest.mark.parametrize("moment", Moment)
async def test_a_push_that_is_killed_at_any_change_to_the_bucket_leaves_nothing_wrong(
    bucket: Bucket, reached: tuple[Proxy, Bucket], storage: S3Storage, tmp_path: Path, moment: Moment
) -> None:
    async for _ in kills(reached, tmp_path, moment, lambda _: None):
        await check(bucket, tmp_path, storage)
