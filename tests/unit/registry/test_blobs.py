from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from lumper.errors import RegistryError
from lumper.registry.errors import CODES, refuse, status_of, told_code
from lumper.registry.listings import page_size
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from parts.registries.pieces import pieces

OF_THE_SPECIFICATION = {  # OCI distribution-spec 1.1, "Error Codes"
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStorage(), MemoryMetadata())


async def test_stale_uploads_expire_and_fresh_ones_stay(registry: Registry) -> None:
    session = await registry.blobs.begin("a", "me")

    assert await registry.blobs.expire_uploads(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert await registry.blobs.size(session) == 0

    assert await registry.blobs.expire_uploads(datetime.now(UTC) + timedelta(seconds=1)) == 1
    with pytest.raises(RegistryError, match="no such upload"):
        await registry.blobs.size(session)


async def test_an_upload_in_use_does_not_expire(registry: Registry) -> None:
    session = await registry.blobs.begin("a", "me")

    async def while_it_runs() -> AsyncIterator[bytes]:
        yield b"x"
        assert await registry.blobs.expire_uploads(datetime.now(UTC) + timedelta(seconds=1)) == 0

    assert await registry.blobs.append(session, 0, while_it_runs()) == 1


async def test_a_blob_whose_file_is_lost_is_unknown() -> None:
    metadata = MemoryMetadata()
    lost = f"sha256:{'a' * 64}"
    await metadata.link_blob("a", lost, 5)
    blobs = Registry(MemoryStorage(), metadata).blobs

    with pytest.raises(RegistryError, match="no such blob"):
        await blobs.stat("a", lost)
    assert not await blobs.mount("b", lost, "a")


async def test_a_finished_upload_is_served_by_its_repository_only(registry: Registry) -> None:
    session = await registry.blobs.begin("a", "me")
    digest = f"sha256:{hashlib.sha256(b'xyz').hexdigest()}"

    blob = await registry.blobs.finish(session, digest, 0, pieces(b"x", b"yz"))

    assert blob.size == 3
    assert (await registry.blobs.stat("a", digest)).size == 3
    with pytest.raises(RegistryError):
        await registry.blobs.stat("b", digest)


def test_every_code_has_a_text_and_a_status_that_says_error() -> None:
    for code, row in CODES.items():
        assert code == code.upper()
        assert row.text.endswith(".")
        assert 400 <= status_of(code) < 600
        assert status_of(code) >= 500 or told_code(code) in OF_THE_SPECIFICATION
        assert refuse(code).message == row.text


def test_a_page_size_is_capped() -> None:
    assert [page_size(text) for text in (None, "0", "5", "1000", "1001", "9" * 20)] == [1000, 0, 5, 1000, 1000, 1000]
    for wrong in ("", "-1", "x", "1.0", "٣", " 1", "9" * 21):
        with pytest.raises(RegistryError):
            page_size(wrong)


async def test_no_two_uploads_have_the_same_name(registry: Registry) -> None:
    names = [(await registry.blobs.begin("a", "me")).name for _ in range(1000)]
    assert len({name.partition("-")[0] for name in names}) == 1000
