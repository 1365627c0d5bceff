"""Whole objects of one bucket, under one prefix, by obstore: with path-style addresses, and errors of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import obstore
from obstore.store import S3Store

from lumper.registry.storage.s3.bucket import Bucket
from lumper.registry.storage.s3.reading import Reading
from lumper.registry.storage.s3.refusal import Missing, translating

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Credential

_CHUNK = 1 << 20


class Listed(NamedTuple):
    """An object as a listing tells of it. `version` is another one once the object was written anew."""

    key: str
    size: int
    at: datetime
    version: str


_ADDRESS_LASTS = timedelta(minutes=20)  # a client may begin to read until then; what has begun goes on


class Objects:
    """Put, get, list and delete."""

    def __init__(self, bucket: Bucket) -> None:
        """Raises OSError, ValueError and obstore's errors for a bucket that cannot be reached so."""

        def provide() -> S3Credential:  # else obstore would take a session token from the environment besides our key
            return {
                "access_key_id": bucket.credentials.access_key_id,
                "secret_access_key": bucket.credentials.secret_access_key,
                "token": None,
                "expires_at": None,
            }

        options: ClientConfig = {
            "allow_http": True,
            "timeout": "1day",
            "connect_timeout": "10s",
            "read_timeout": timedelta(seconds=bucket.silence),
        }
        if bucket.ca_file is not None:
            options["root_certificate"] = bucket.ca_file.read_bytes()
        self._store = S3Store(
            bucket.name,
            prefix=bucket.prefix or None,
            config={
                "endpoint": bucket.endpoint,
                "region": bucket.credentials.region,
                "virtual_hosted_style_request": False,
            },
            client_options=options,
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=bucket.silence)},
            credential_provider=provide,
        )
        self._reading = Reading(self._store)

    async def put(self, key: str, data: bytes | memoryview) -> None:
        """Write an object whole."""
        with translating():
            await obstore.put_async(self._store, key, data, use_multipart=False)

    async def get(self, key: str) -> bytes:
        """A small object. Raises Missing."""
        with translating():
            return (await (await obstore.get_async(self._store, key)).bytes_async()).to_bytes()

    async def content(self, key: str) -> AsyncIterator[bytes]:
        """An object in pieces. Raises Missing."""
        with translating():
            found = await obstore.get_async(self._store, key)
            async for piece in found.stream(min_chunk_size=_CHUNK):
                yield bytes(piece)

    async def size(self, key: str) -> int | None:
        """The size of an object, or None if there is none."""
        try:
            with translating():
                return (await obstore.head_async(self._store, key))["size"]
        except Missing:
            return None

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `end`, which is behind it. Raises Missing."""
        with translating():
            async for piece in self._reading.read(key, start, end):
                yield piece

    async def listed(self, folder: str, after: str | None = None) -> AsyncIterator[Listed]:
        """Every object in a folder and below; with `after`, those whose key comes after it."""
        with translating():
            async for page in obstore.list(self._store, folder, offset=after):
                for entry in page:
                    at = entry["last_modified"]
                    yield Listed(entry["path"], entry["size"], at, f"{entry['e_tag']} {at.isoformat()}")

    async def delete(self, *found: str) -> None:
        """Remove objects, in this order. No error for those that are not there."""
        for key in found:
            with translating():
                await obstore.delete_async(self._store, key)

    async def address(self, key: str) -> str:
        """A URL at which whoever has it can read the object for some minutes."""
        with translating():
            return await obstore.sign_async(self._store, "GET", key, _ADDRESS_LASTS)
