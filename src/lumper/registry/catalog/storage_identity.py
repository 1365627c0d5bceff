"""Which storage the images of a database lie in: both remember one id, so that they are not mixed up.

A server whose storage is another one would serve what that one has, and miss the rest: one of two servers with a folder
each, one whose disk is not mounted, one with the bucket of another database.
"""

from __future__ import annotations

import secrets
from typing import Protocol

from sqlalchemy import select

from lumper.errors import Invalid
from lumper.store.database import Database, upsert
from lumper.store.tables import blobs, shared_files

_NAME = "storage"  # of the row; no file is called so


class Identified(Protocol):
    """A storage, as far as it is asked here."""

    async def identity(self) -> str: ...
    async def identify(self, identity: str) -> None: ...


async def belong(database: Database, storage: Identified, where: str, *, adopt: bool = False) -> None:
    """Make sure that the database's images lie in this storage, which people know as `where`.

    What remembers nothing learns it. With `adopt` the database's images lie there from now on. Raises Invalid,
    StorageError.
    """
    found = await storage.identity()
    async with database.read() as connection:
        known = (await connection.execute(_KNOWN)).scalar()
    if found and found.encode() == known:
        return
    async with database.write() as connection:  # alone among all servers, so that two of them do not make an id each
        found, known = await storage.identity(), (await connection.execute(_KNOWN)).scalar()
        # a file of one process that knows no image can have been told of no other storage that matters
        empty = not database.shared and (await connection.execute(select(blobs.c.digest).limit(1))).scalar() is None
        if known is not None and known != found.encode() and not (adopt or empty):
            raise _strange(where, found)
        if not found:
            found = secrets.token_hex(16)
            await storage.identify(found)
        row = {"name": _NAME, "content": found.encode()}
        await connection.execute(upsert(connection, shared_files, "name"), row)


_KNOWN = select(shared_files.c.content).where(shared_files.c.name == _NAME)


def _strange(where: str, found: str) -> Invalid:
    told = "has the id of another one" if found else "has no id: it is empty, or was copied without it"
    return Invalid(
        f"The images of this database lie in another storage than {where}, which {told}.",
        hint="Is its disk mounted, and [registry] storage right? Several servers need one S3 bucket: a folder is one "
        "server's. If the images are to lie here from now on, run `lumper registry adopt`.",
    )
