"""Chunks of an upload in any order, cut off anywhere, over restarts: the blob has the right bytes or is not there."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumper.errors import RegistryError
from lumper.registry.blobs import Session
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.port import Storage
from lumper.registry.registry import Registry
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.registry.storage.memory import MemoryStorage


@dataclass(frozen=True)
class Chunk:
    """A request with bytes. It begins where the upload is, or at `start`; it may be cut off after its last piece."""

    pieces: list[bytes]
    start: int | None = None
    cut_off: bool = False

    async def stream(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.cut_off:
            raise ConnectionResetError


@dataclass(frozen=True)
class Restart:
    """The server begins anew: what it only had in memory is gone."""


PIECES = st.lists(st.binary(max_size=9), max_size=4)
STARTS = st.none() | st.integers(0, 40)
STEPS = st.lists(st.builds(Chunk, PIECES, STARTS, st.booleans()) | st.just(Restart()), max_size=12)


def memory(_folder: Path) -> Callable[[], Storage]:
    kept = MemoryStorage()
    return lambda: kept


def filesystem(folder: Path) -> Callable[[], Storage]:
    return lambda: FilesystemStorage(folder)


class Upload:
    """An upload under test, and the bytes that it must have."""

    def __init__(self, open_storage: Callable[[], Storage]) -> None:
        self._open = open_storage
        self.metadata = MemoryMetadata()
        self.blobs = Registry(open_storage(), self.metadata).blobs
        self.content = b""

    async def restart(self, session: Session) -> Session:
        """The upload after a restart: without a byte it may be gone, and the client begins another one."""
        self.blobs = Registry(self._open(), self.metadata).blobs
        try:
            assert await self.blobs.size(session) == len(self.content)
        except RegistryError:
            assert self.content == b""
            return await self.blobs.begin(session.repository, session.owner)
        return session

    async def step(self, session: Session, step: Chunk) -> None:
        all_of_it = self.content + b"".join(step.pieces)
        try:
            size = await self.blobs.append(session, step.start, step.stream())
        except RegistryError as exc:
            assert exc.code == "RANGE_INVALID"
            assert step.start != len(self.content)
        except ConnectionResetError:
            assert step.cut_off
            kept = await self.blobs.size(session)
            assert len(self.content) <= kept <= len(all_of_it)
            self.content = all_of_it[:kept]
        else:
            assert step.start in (None, len(self.content))
            assert size == len(all_of_it)
            self.content = all_of_it
        assert await self.blobs.size(session) == len(self.content)


async def played(
    open_storage: Callable[[], Storage], steps: list[Chunk | Restart], last: Chunk, algorithm: str
) -> None:
    upload = Upload(open_storage)
    session = await upload.blobs.begin("a", "me")
    for step in steps:
        if isinstance(step, Restart):
            session = await upload.restart(session)
        else:
            await upload.step(session, step)
    whole = upload.content + b"".join(last.pieces)
    digest = f"{algorithm}:{hashlib.new(algorithm, whole).hexdigest()}"
    try:
        blob = await upload.blobs.finish(session, digest, last.start, last.stream())
    except (RegistryError, ConnectionResetError):
        assert last.cut_off or last.start not in (None, len(upload.content))
        assert not await upload.metadata.has_blob("a", digest)
        return
    assert blob.size == len(whole)
    assert b"".join([piece async for piece in upload.blobs.read(blob, 0, blob.size)]) == whole
    with pytest.raises(RegistryError, match="no such upload"):
        await upload.blobs.size(session)


@pytest.mark.parametrize("storage", [memory, filesystem])
@settings(max_examples=80, deadline=None)
@given(
    steps=STEPS, last=st.builds(Chunk, PIECES, STARTS, st.booleans()), algorithm=st.sampled_from(["sha256", "sha512"])
)
def test_an_upload_has_what_came_in_order_and_nothing_else(
    storage: Callable[[Path], Callable[[], Storage]], steps: list[Chunk | Restart], last: Chunk, algorithm: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(played(storage(Path(folder)), steps, last, algorithm))


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_client_that_follows_the_told_range_gets_there_from_any_order(content: bytes, data: st.DataObject) -> None:
    edges = sorted({0, len(content), *data.draw(st.lists(st.integers(0, len(content)), max_size=6))})
    chunks = data.draw(st.permutations(list(pairwise(edges))))

    async def push() -> bytes:
        blobs = Registry(MemoryStorage(), MemoryMetadata()).blobs
        session = await blobs.begin("a", "me")
        for start, end in chunks:
            try:
                await blobs.append(session, start, Chunk([content[start:end]]).stream())
            except RegistryError:
                told = await blobs.size(session)
                if told < end:
                    await blobs.append(session, told, Chunk([content[told:end]]).stream())
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        blob = await blobs.finish(session, digest, len(content))
        return b"".join([piece async for piece in blobs.read(blob, 0, blob.size)])

    assert asyncio.run(push()) == content
