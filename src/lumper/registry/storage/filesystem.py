"""Blobs and uploads in a folder. The layout is drawn in registry/paths.py."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from typing import ParamSpec, TypeVar

from lumper.errors import StorageError, StorageFull
from lumper.model.images.image import Name
from lumper.registry import paths
from lumper.registry.port import Pourable, StoredBlob
from lumper.registry.storage import damage
from lumper.registry.storage.chunk_queue import ChunkQueue, room_for_belts
from lumper.registry.storage.listing import listed
from lumper.registry.storage.name_files import erase_name, named, read_name
from lumper.registry.storage.presence import Presence
from lumper.registry.storage.reserve import Reserve
from lumper.registry.storage.small_files import SmallFile, store
from lumper.registry.storage.upload_file import Progress, UploadEnd, hash_of, hashed
from lumper.registry.ttl_cache import TtlCache
from lumper.system.batching import Batching
from lumper.system.fsync import sync_folder
from lumper.system.full_disk import no_space_left

_CHUNK = 1 << 20  # bytes that are read at a time
_ON_THEIR_WAY = 8 << 20  # bytes of all uploads together
_THREADS = 16  # several large files are synced side by side
_PAGE = 1000  # names
_REMEMBERED_UPLOADS = 1024
_SOON = timedelta(seconds=0.1)  # after the beginning of a small upload its end has come, or is not waited for
_MOST_BEGUN = 4096  # uploads without a byte that have no file
_STAT_SECONDS = 5.0  # how long a blob that was seen is believed to be there still

_P = ParamSpec("_P")
_T = TypeVar("_T")


class FilesystemStorage:
    """A folder on a local disk.

    A blob is written under uploads/, synced, renamed to its digest, and the folder synced, in this order. The hash of
    an upload is kept in memory between its chunks and made anew from the file after a restart. An upload gets its file
    with its first byte; of one without, a restart leaves nothing. `reserve` are bytes that stay free on the disk.
    """

    def __init__(self, root: Path, reserve: int = 0) -> None:
        self._root = root
        self._reserve = Reserve(root, reserve)
        self._presence = Presence(root)
        self._progress: OrderedDict[str, Progress] = OrderedDict()
        self._begun: dict[str, datetime] = {}  # uploads that have no file
        self._room = room_for_belts(_ON_THEIR_WAY)
        self._small = Batching(self._store, self._more)
        self._seen = TtlCache[StoredBlob]()
        self._made: set[Path] = set()
        self._threads = ThreadPoolExecutor(_THREADS, "storage")

    async def _in_thread(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        call = functools.partial(function, *args, **kwargs)
        try:
            with _translating():
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except _Missing:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._presence.check)
            raise

    async def _where_it_is(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The same, for what finds nothing where there is nothing."""

        def whole() -> _T:
            self._presence.check()
            return function(*args, **kwargs)

        return await self._in_thread(whole)

    @property
    def shared(self) -> bool:
        """The folder is locked by the process that has it."""
        return False

    async def stat(self, digest: str) -> StoredBlob | None:
        """The blob, or None."""
        if (seen := self.remembered(digest)) is not None:
            return seen
        blob = await self._in_thread(self._stat, digest)
        if blob is not None:
            self._remember(blob)
        return blob

    def remembered(self, digest: str) -> StoredBlob | None:
        """What `stat` has found lately."""
        return self._seen.get(digest)

    def _stat(self, digest: str) -> StoredBlob | None:
        path = paths.blob(self._root, digest)
        try:
            return StoredBlob(digest, path.stat().st_size, path)
        except FileNotFoundError:
            self._presence.check()
            return None

    def _remember(self, blob: StoredBlob) -> None:
        self._seen.keep(blob.digest, blob, _STAT_SECONDS)

    async def address(self, digest: str) -> str | None:
        """None: the blob's file is sent from here."""
        return None

    async def read(self, digest: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `end`."""
        path = paths.blob(self._root, digest)
        file = await self._in_thread(functools.partial(path.open, "rb", 0))
        try:
            position = start
            while end is None or position < end:
                wanted = _CHUNK if end is None else min(_CHUNK, end - position)
                chunk = await self._in_thread(os.pread, file.fileno(), wanted, position)
                if not chunk:
                    return
                position += len(chunk)
                yield chunk
        finally:
            file.close()

    async def put(self, digest: str, data: bytes) -> None:
        """Store a small blob whole."""
        await self._put(paths.blob(self._root, digest), data)

    async def _put(self, target: Path, data: bytes) -> None:
        file = SmallFile(target, data)
        await self._small.add(file)
        if file.error is not None:
            with _translating():
                raise file.error

    def _more(self, waiting: int) -> bool:
        """Whether more have just begun an upload than wait for its end, which comes soon if it is a small one."""
        since = datetime.now(UTC) - _SOON
        return sum(1 for _ in takewhile(lambda begun: begun > since, reversed(self._begun.values()))) > waiting

    async def _store(self, files: Sequence[SmallFile]) -> None:
        await self._where_it_is(store, files, paths.uploads(self._root), self._make, self._reserve)

    async def begin(self, upload: str) -> None:
        """Make an empty upload of this name."""
        if upload in self._begun or upload in self._progress:
            raise StorageError(f"There is an upload {upload} already.")
        path = paths.upload(self._root, upload)
        if len(self._begun) < _MOST_BEGUN:
            self._begun[upload] = datetime.now(UTC)
        else:
            await self._in_thread(self._begin, path)

    def _begin(self, path: Path) -> None:
        self._make(path.parent)
        path.touch(exist_ok=False)

    async def append(self, upload: str, offset: int, data: AsyncIterator[bytes]) -> int:
        """Write at `offset`; the new size. What came before an error is kept, but not on a full disk."""
        progress = await self._resume(upload)
        if progress.size != offset:
            raise StorageError(f"The upload has {progress.size} bytes, not {offset}.")
        end = UploadEnd(paths.upload(self._root, upload), progress, self._reserve)
        before = progress.copy()
        try:
            if isinstance(data, Pourable):
                await data.pour(lambda view: _written(end, [view]))
            else:
                await self._pump(end, data)
        except StorageFull:  # most clients begin anew, and everybody needs the space
            with suppress(OSError):  # the first error is the one to tell
                end.cut(offset)
            progress = before
            raise
        finally:
            end.close()
            self._keep(upload, progress)
        return progress.size

    def _keep(self, upload: str, progress: Progress) -> None:
        self._progress[upload] = progress
        if len(self._progress) > _REMEMBERED_UPLOADS:
            self._progress.popitem(last=False)

    async def _resume(self, upload: str) -> Progress:
        progress = self._progress.pop(upload, None)
        if progress is not None:
            return progress
        path = paths.upload(self._root, upload)
        if upload in self._begun:
            await self._in_thread(self._begin, path)
            self._begun.pop(upload, None)
            return Progress(0, hashlib.sha256())
        return await self._in_thread(hashed, path)

    async def _pump(self, end: UploadEnd, data: AsyncIterator[bytes]) -> None:
        """Write all of `data`: while some chunks are hashed and written in a thread, the next ones come in."""
        with self._room.taken():
            belt = ChunkQueue(end, self._in_thread, self._room)
            try:
                async for part in data:
                    await belt.put(part)
                    del part  # the next one may be long in coming
            finally:  # what came before the client went away is kept; after a failed write nothing more may be written
                await belt.finish()

    async def uploaded(self, upload: str) -> int | None:
        """The size of the upload, or None if there is none."""
        progress = self._progress.get(upload)
        if progress is not None:
            return progress.size
        if upload in self._begun:
            return 0
        try:
            return (await self._in_thread(paths.upload(self._root, upload).stat)).st_size
        except _Missing:
            return None

    async def commit(self, upload: str, digest: str, rest: bytes = b"") -> StoredBlob | None:
        """Make the upload, with `rest` at its end, the blob of this digest; None if the bytes have another one."""
        target = paths.blob(self._root, digest)
        if upload in self._begun:
            blob = await self._commit_small(upload, target, digest, rest)
        else:
            if rest:
                await self.append(upload, await self.uploaded(upload) or 0, _once(rest))
            progress = await self._resume(upload)
            blob = await self._in_thread(self._commit, upload, progress, digest)
        if blob is not None:
            self._remember(blob)
        return blob

    async def _commit_small(self, upload: str, target: Path, digest: str, data: bytes) -> StoredBlob | None:
        """All bytes are here: they need no file of an upload."""
        algorithm, _, wanted = digest.partition(":")
        right = hash_of(algorithm, data) == wanted
        if right:
            await self._put(target, data)
        self._begun.pop(upload, None)
        return StoredBlob(digest, len(data), target) if right else None

    def _commit(self, upload: str, progress: Progress, digest: str) -> StoredBlob | None:
        source = paths.upload(self._root, upload)
        algorithm, _, wanted = digest.partition(":")
        if algorithm == "sha256":
            found = progress.sha256.hexdigest()
        else:
            with source.open("rb", 0) as file:
                found = hashlib.file_digest(file, algorithm).hexdigest()
        size = source.stat().st_size
        if found != wanted or size != progress.size:
            source.unlink(missing_ok=True)
            return None
        return StoredBlob(digest, size, self._publish(source, paths.blob(self._root, digest)))

    async def abort(self, upload: str) -> None:
        """Forget the upload."""
        path = paths.upload(self._root, upload)
        self._progress.pop(upload, None)
        if self._begun.pop(upload, None) is None:
            await self._in_thread(path.unlink, missing_ok=True)

    async def uploads(self) -> list[tuple[str, datetime]]:
        """All uploads with the time of their last byte."""
        begun = [*self._begun.items()]
        return sorted({**dict(begun), **await self._where_it_is(lambda: dict(self._uploads()))}.items())

    def _uploads(self) -> Iterator[tuple[str, datetime]]:
        folder = paths.uploads(self._root)
        for path in folder.iterdir() if folder.is_dir() else ():
            try:
                yield path.name, datetime.fromtimestamp(path.stat().st_mtime, UTC)
            except FileNotFoundError:  # it ended meanwhile
                continue

    async def blobs(self, after: str = "", limit: int = 1000) -> list[tuple[str, int, datetime]]:
        """Digest, size and time of at most `limit` blobs after `after`, in lexical order."""
        return await self._where_it_is(listed, self._root, after, limit)

    async def delete(self, digest: str) -> None:
        """Remove the blob."""
        self._seen.forget(digest)
        await self._where_it_is(self._delete, digest)
        self._seen.forget(digest)

    def _delete(self, digest: str) -> None:
        paths.blob(self._root, digest).unlink(missing_ok=True)
        paths.set_aside(self._root, digest).unlink(missing_ok=True)

    async def set_aside(self, digest: str) -> str:
        """Put the blob away if its bytes are wrong; what is wrong with them."""
        self._seen.forget(digest)
        why = await self._where_it_is(damage.set_aside, self._root, digest, self._make)
        self._seen.forget(digest)
        return why

    async def review(self) -> list[str]:
        """What was set aside and is neither right nor there anew."""
        return await self._where_it_is(damage.review, self._root)

    async def note(self, name: Name) -> None:
        """Say this of its repository's reference."""
        await self._put(self._name(name.repository, name.reference), name.says.encode())

    async def noted(self, repository: str, reference: str) -> str | None:
        """What is said of the reference."""
        return await self._where_it_is(read_name, self._name(repository, reference))

    async def erase(self, repository: str, reference: str) -> None:
        """Say nothing more of the reference."""
        await self._where_it_is(erase_name, self._name(repository, reference))

    async def names(self) -> AsyncIterator[list[tuple[Name, datetime]]]:
        """All that is said, in pages."""
        found = named(self._root)
        while page := await self._where_it_is(lambda: list(islice(found, _PAGE))):
            yield page

    def _name(self, repository: str, reference: str) -> Path:
        return paths.names(self._root) / paths.named(repository, reference)

    async def identity(self) -> str:
        """The id that it was given."""
        found = await self._where_it_is(read_name, paths.identity(self._root)) or ""
        self._presence.expected = bool(found)
        return found

    async def identify(self, identity: str) -> None:
        """Keep this id."""
        await self._put(paths.identity(self._root), identity.encode())
        self._presence.expected = True

    async def close(self) -> None:
        """The threads end when they are done."""
        self._threads.shutdown(wait=False)

    def _publish(self, source: Path, target: Path) -> Path:
        """Give a whole file its name: afterwards it survives a power cut under it."""
        self._make(target.parent)
        try:
            with source.open("rb", 0) as file:
                os.fdatasync(file.fileno())
        except OSError:  # the kernel tells once that it has lost bytes: a second sync would find nothing wrong
            with suppress(OSError):  # the first error is the one to tell
                source.unlink()
            raise
        source.replace(target)
        sync_folder(target.parent)
        return target

    def _make(self, folder: Path) -> None:
        """Have the folder, with its name on the disk: who has made it before may not have got so far yet, or ever."""
        if folder in self._made:
            return
        if self._root in folder.parents or not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)
        self._made.add(folder)


def _written(end: UploadEnd, parts: Sequence[memoryview]) -> None:
    with _translating():
        end.write(parts)


class _Missing(StorageError):
    """There is no such blob or upload in the storage."""


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if no_space_left(exc):
            raise StorageFull() from exc
        if isinstance(exc, FileNotFoundError):
            raise _Missing() from exc
        raise StorageError(f"The storage refused: {exc.strerror or exc}.") from exc
