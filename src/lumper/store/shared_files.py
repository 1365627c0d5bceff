"""Small files that every server process must have alike: the signing key and the tokens of the roles.

Where servers share a database, it holds them; the data folder of each has a copy, where programs on that machine look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from lumper.store.database import Database, insert_missing
from lumper.store.tables import shared_files
from lumper.system import secret_files
from lumper.system.full_disk import storage_error


async def share(database: Database, name: str, file: Path, make: Callable[[Path], object]) -> None:
    """Let `file` hold what every server has under `name`; the first one to ask gives what it has, or `make` makes.

    Without other servers nothing happens. Raises StorageFull, StorageError.
    """
    if not database.shared:
        return
    query = select(shared_files.c.content).where(shared_files.c.name == name)
    async with database.read() as connection:
        content = (await connection.execute(query)).scalar()
    if content is None:
        await asyncio.to_thread(make, file)
        row = {"name": name, "content": await asyncio.to_thread(file.read_bytes)}
        async with database.write() as connection:
            await connection.execute(insert_missing(connection, shared_files), row)
            content = (await connection.execute(query)).scalar_one()
    await asyncio.to_thread(_write, file, bytes(content))


def _write(file: Path, content: bytes) -> None:
    try:
        if file.exists() and file.read_bytes() == content:
            return
        secret_files.replace(file, content)
    except OSError as exc:
        raise storage_error(exc, f"{file} cannot be written: {exc.strerror}.") from exc
