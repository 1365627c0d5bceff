"""A registry on loopback with accounts of its own, as `lumper up` serves it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from lumper.accounts.accounts import Accounts
from lumper.model.people.people import Role
from lumper.registry.access import Anonymous, anonymous_rights
from lumper.registry.catalog.images import ImageHistory
from lumper.registry.gc.collector import Policy
from lumper.registry.port import Storage
from lumper.registry.registry import Registry
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.registry.upstream.upstreams import Upstream, Upstreams
from lumper.store.database import Database
from lumper.web import oci
from lumper.web.auth.authenticator import Authenticator
from lumper.web.auth.rate_limits import RateLimits
from lumper.web.auth.signed_tokens import Keys
from lumper.web.connection.shortcut import LONGEST_LINE, protocols
from parts.web.quick_user import quick_user

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
PASSWORD = "correct horse"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class LiveRegistry:
    """A running registry. `tokens` has one API token for each role; `admin` is a user with `PASSWORD`."""

    url: str
    data: Path
    database: Database
    accounts: Accounts
    keys: Keys
    registry: Registry
    runner: web.AppRunner
    tokens: dict[Role, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.data / "registry").rglob("*") if path.is_file()]


@asynccontextmanager
async def live_registry(
    data: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    anonymous: Anonymous = "none",
    anonymous_repositories: tuple[str, ...] = ("**",),
    registry_folder: Path | None = None,
    storage: Storage | None = None,
    policy: Policy | None = None,
    limits: RateLimits | None = None,
    database_url: str = "",
    upstreams: Sequence[Upstream] = (),
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[LiveRegistry]:
    """Serve the data folder, with blobs in `storage` if it is given, until the block ends.

    By the `clock` who guesses passwords has to wait.
    """
    database = Database(database_url or f"sqlite:///{data}/lumper.db")
    await database.migrate()
    accounts, keys = Accounts(database), Keys(data / "token.key")
    storage = storage or FilesystemStorage(registry_folder or data / "registry")
    mirrored = Upstreams(upstreams, data / "arrivals") if upstreams else None
    registry = Registry(storage, ImageHistory(database), policy, upstreams=mirrored)
    app = web.Application()
    rights = anonymous_rights(anonymous, anonymous_repositories)
    oci.add_routes(app, registry, Authenticator(accounts, keys, anyone=rights, clock=clock), limits=limits)
    runner = web.AppRunner(app, shutdown_timeout=1, auto_decompress=False, max_line_size=LONGEST_LINE)
    await runner.setup()
    listening = await asyncio.get_running_loop().create_server(protocols(runner), host, port)
    address = f"http://{host}:{listening.sockets[0].getsockname()[1]}"
    live = LiveRegistry(address, data, database, accounts, keys, registry, runner)
    for role in Role:
        live.tokens[role] = await accounts.ensure_token(role.value, role, data / f"{role}.token")
    await quick_user(database, "admin", PASSWORD)
    try:
        yield live
    finally:
        listening.close()
        await runner.cleanup()
        await registry.close()
        await database.close()


class RegistryClient:
    """The distribution API as plain requests, with the token of one role."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str = "") -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def request(self, method: str, path: str, **options: Any) -> Any:
        """A request, to be used as a context; paths that are locations are taken as they come."""
        headers = {**self._headers, **options.pop("headers", {})}
        return self._session.request(method, self._url + path, headers=headers, allow_redirects=False, **options)

    async def status(self, method: str, path: str, **options: Any) -> int:
        """Only the status of the answer."""
        async with self.request(method, path, **options) as response:
            await response.read()
            return int(response.status)

    async def refusal(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """Status and OCI code of an answer that is an error."""
        async with self.request(method, path, **options) as response:
            body = json.loads(await response.read())
            return int(response.status), str(body["errors"][0]["code"])

    async def begin(self, repository: str, query: str = "") -> str:
        """Begin an upload; its location."""
        async with self.request("POST", f"/v2/{repository}/blobs/uploads/{query}") as response:
            assert response.status == 202, await response.text()
            return str(response.headers["Location"])

    async def push_blob(self, repository: str, data: bytes) -> str:
        """Push a blob in one request; its digest."""
        digest = digest_of(data)
        path = f"/v2/{repository}/blobs/uploads/?digest={digest}"
        assert await self.status("POST", path, data=io.BytesIO(data)) == 201
        return digest

    async def push_manifest(
        self, repository: str, reference: str, manifest: dict[str, Any], media_type: str = OCI_MANIFEST
    ) -> str:
        """Push a manifest; its digest."""
        body = json.dumps(manifest).encode()
        path = f"/v2/{repository}/manifests/{reference}"
        async with self.request("PUT", path, data=io.BytesIO(body), headers={"Content-Type": media_type}) as response:
            assert response.status == 201, await response.text()
            return str(response.headers["Docker-Content-Digest"])

    async def manifest(self, repository: str, reference: str) -> tuple[str, str, dict[str, Any]]:
        """Digest, media type and content of a manifest."""
        async with self.request("GET", f"/v2/{repository}/manifests/{reference}") as response:
            body = await response.read()
            assert response.status == 200, body
            return response.headers["Docker-Content-Digest"], response.headers["Content-Type"], json.loads(body)

    async def push_image(self, repository: str, tag: str, layer: bytes = b"layer") -> str:
        """Push a small image; its digest."""
        config = b'{"architecture":"amd64","os":"linux"}'
        links = [await self.push_blob(repository, data) for data in (config, layer)]
        return await self.push_manifest(
            repository, tag, image_manifest((links[0], len(config)), (links[1], len(layer)))
        )


def image_manifest(config: tuple[str, int], *layers: tuple[str, int], **more: Any) -> dict[str, Any]:
    """An OCI manifest with these digests and sizes."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", *config),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", *layer) for layer in layers],
        **more,
    }


def image_index(*children: tuple[str, int]) -> dict[str, Any]:
    """An OCI index of these manifests."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [_descriptor(OCI_MANIFEST, *child) for child in children],
    }


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


async def serve_for_ever(data: Path) -> None:
    """Serve the folder until the process is killed; the first line of output is the address."""
    async with live_registry(data) as live:
        print(live.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_for_ever(Path(sys.argv[1])))
