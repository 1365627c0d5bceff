"""The logs of builds in the database, where every server process can read and continue them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, select

from lumper.errors import LogGap, NotFound
from lumper.line.logs.logs import Logs
from lumper.store.database import Database, insert_missing
from lumper.store.tables import log_chunks

_TOPIC = "logs"
_AT_ONCE = 8  # chunks of one query


class DatabaseLogs(Logs):
    """One row a chunk, as it came."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        database.on_change(_TOPIC, self._changed)
        database.on_commit(self.wake)  # perhaps a build has ended

    def _changed(self, build: str | None) -> None:
        if build is None:
            self.wake()
        else:
            self.grew(int(build))

    async def size(self, build_id: int, attempt: int) -> int:
        """How many bytes of log there are."""
        async with self._database.read() as connection:
            return _end((await connection.execute(_last(build_id, attempt))).first())

    async def append(self, build_id: int, attempt: int, offset: int, data: bytes) -> None:
        """Write `data` at `offset`; what is there already is not written again.

        Raises LogGap when bytes before `offset` are missing, StorageFull, StorageError.
        """
        await self._database.write_hot(
            lambda connection: _append(connection, build_id, attempt, offset, data), changes={(_TOPIC, str(build_id))}
        )

    async def read(self, build_id: int, attempt: int, offset: int = 0) -> AsyncGenerator[bytes]:
        """Chunks of the log from `offset` to its present end. Raises NotFound if it is removed meanwhile."""
        chunk = log_chunks.c
        here = [chunk.build_id == build_id, chunk.attempt == attempt]
        first = select(func.max(chunk.offset)).where(*here, chunk.offset <= offset).scalar_subquery()
        query = select(chunk.offset, chunk.data).where(*here).order_by(chunk.offset).limit(_AT_ONCE)
        bound = chunk.offset >= func.coalesce(first, 0)
        at: int | None = None  # where the last chunk begins that was read
        while True:
            async with self._database.read() as connection:
                rows = (await connection.execute(query.where(bound))).all()
            for row in rows:
                if piece := bytes(row.data)[max(0, offset - row.offset) :]:
                    offset = row.offset + len(row.data)
                    yield piece
            if not rows and at is not None and not await self._has(build_id, attempt, at):
                raise NotFound(f"The log of build {build_id} was removed while it was read.")
            if len(rows) < _AT_ONCE:
                return
            at = rows[-1].offset
            bound = chunk.offset >= offset

    async def _has(self, build_id: int, attempt: int, offset: int) -> bool:
        """Whether a chunk begins there."""
        chunk = log_chunks.c
        query = select(chunk.offset).where(chunk.build_id == build_id, chunk.attempt == attempt, chunk.offset == offset)
        async with self._database.read() as connection:
            return (await connection.execute(query)).first() is not None

    async def delete(self, build_id: int, last: int) -> None:
        """Remove the logs of a build's attempts up to `last`. No error if there are none."""
        chunk = log_chunks.c
        async with self._database.write() as connection:
            await connection.execute(delete(log_chunks).where(chunk.build_id == build_id, chunk.attempt <= last))

    async def sizes(self) -> dict[int, int]:
        """How many bytes of log there are of each build that has any, of all its attempts."""
        chunk = log_chunks.c
        query = select(chunk.build_id, func.sum(func.length(chunk.data)).label("size")).group_by(chunk.build_id)
        async with self._database.read() as connection:
            return {row.build_id: int(row.size) for row in await connection.execute(query)}


def _append(connection: Connection, build_id: int, attempt: int, offset: int, data: bytes) -> None:
    """Again, if another process has written the same chunk, or a part of it, in this moment."""
    key = {"build_id": build_id, "attempt": attempt}
    while True:
        size = _end(connection.execute(_last(build_id, attempt)).first())
        if offset > size:
            raise LogGap(f"The log of build {build_id} ends at {size}, the chunk begins at {offset}.")
        rest = data[size - offset :]
        if (
            not rest
            or connection.execute(
                insert_missing(connection, log_chunks), {**key, "offset": size, "data": rest}
            ).rowcount
        ):
            return


def _last(build_id: int, attempt: int) -> Select[Any]:
    chunk = log_chunks.c
    return (
        select(chunk.offset, func.length(chunk.data).label("length"))
        .where(chunk.build_id == build_id, chunk.attempt == attempt)
        .order_by(chunk.offset.desc())
        .limit(1)
    )


def _end(row: Row[Any] | None) -> int:
    return 0 if row is None else int(row.offset + row.length)
