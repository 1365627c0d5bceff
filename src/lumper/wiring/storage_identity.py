"""Database and storage belong together: that is looked at before a server uses them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from lumper.config.layout import DataFolder
from lumper.config.settings import Config
from lumper.errors import Conflict, StorageError
from lumper.logs import get_logger
from lumper.registry.catalog.storage_identity import belong
from lumper.registry.port import Storage
from lumper.store.database import Database
from lumper.wiring.adapters import open_storage

_LOOK_SECONDS = 15.0
_PATIENCE = 3.0  # seconds: a server that was just ended has the lock for a moment yet
_PAUSE = 0.1

log = get_logger(__name__)


@contextlib.asynccontextmanager
async def recognised(config: Config, folder: DataFolder, database: Database, storage: Storage) -> AsyncIterator[None]:
    """The database's images lie in this storage; if that is a folder, no other server uses the database meanwhile.

    A storage that does not answer now may be the right one: the server starts. Raises Invalid, Conflict, StorageError.
    """
    async with contextlib.AsyncExitStack() as stack:
        if database.shared and not storage.shared:
            await _alone(stack, database)
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await belong(database, storage, _where(config, folder))
        except (StorageError, TimeoutError) as exc:
            told = exc.sentence if isinstance(exc, StorageError) else "It does not answer in time."
            log.warning("it is not known if this is the storage of the images", action="storage.look", error=told)
        yield


async def _alone(stack: contextlib.AsyncExitStack, database: Database) -> None:
    until = time.monotonic() + _PATIENCE
    while not await stack.enter_async_context(database.alone("images in a folder")):
        if time.monotonic() > until:
            raise Conflict(
                "Another server uses this database, with its images in a folder.",
                hint="Several servers need one S3 bucket: set [registry] storage for each. If the other one was lost "
                "with its machine, try again in a minute.",
            )
        await asyncio.sleep(_PAUSE)


async def adopt(config: Config) -> str:
    """Let the database's images lie in the storage that the configuration names; how people know it.

    Raises StorageError, Invalid.
    """
    folder = DataFolder(config.data)
    database = Database(config.database.url.get_secret_value() or folder.database_url)
    try:
        storage = open_storage(config, folder)
        try:
            await database.migrate()
            await belong(database, storage, _where(config, folder), adopt=True)
        finally:
            await storage.close()
    finally:
        await database.close()
    return _where(config, folder)


def _where(config: Config, folder: DataFolder) -> str:
    return config.registry.storage or str(folder.folder("registry"))
