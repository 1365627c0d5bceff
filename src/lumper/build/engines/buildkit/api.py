"""The Engine's REST API, as far as images go.

Source: Docker Engine API 1.41. Paths without a version are answered by every Engine in its own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp

from lumper.build.capabilities import CAPABILITIES
from lumper.build.engines.buildkit.push_reader import PushReader
from lumper.build.engines.buildkit.transport.address import CONNECT_TIMEOUT, Address
from lumper.build.engines.registry_words import push_error
from lumper.build.port import Capability, EngineInfo, Login, Pushed
from lumper.errors import EngineError

_PLAIN, _CONTAINERD = "a Docker Engine", "a Docker Engine with the containerd image store"
_GROUPS_SINCE = (1, 42)  # Engine 23: its BuildKit knows `cgroup-parent`
ANSWER_TIMEOUT = 60.0
_MAX_LINE = 4 * 1024 * 1024


class ImageApi:
    """Images of one Engine. Every method raises EngineUnavailable; connections open with the first request."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._session: aiohttp.ClientSession | None = None

    async def info(self) -> EngineInfo:
        """What the Engine says of itself; limits are among what it can if it would let the kernel set them."""
        async with self._request("GET", "/version") as response:
            version = await self._json(response)
        kind = _CONTAINERD if await self.with_containerd() else _PLAIN
        name = f"Docker {version.get('Version', '?')}"
        platform = f"{version.get('Os', '?')}/{version.get('Arch', '?')}"
        known = CAPABILITIES[kind]
        if _version(version.get("ApiVersion")) >= _GROUPS_SINCE:
            known |= {Capability.LIMITS}
        return EngineInfo("buildkit", name, platform, known)

    async def system(self) -> dict[str, Any]:
        """What the Engine says of its settings."""
        async with self._request("GET", "/info") as response:
            return dict(await self._json(response))

    async def inspect(self, image: str) -> dict[str, Any]:
        """What the Engine says of one image. Raises EngineError if there is none."""
        async with self._request("GET", f"/images/{quote(image)}/json") as response:
            return dict(await self._json(response))

    async def with_containerd(self) -> bool:
        """Whether it keeps its images in containerd's store. Source: moby, daemon/containerd."""
        told = (await self.system()).get("DriverStatus") or ()
        return ["driver-type", "io.containerd.snapshotter.v1"] in told

    async def names(self) -> list[str]:
        """All names with tag, sorted."""
        async with self._request("GET", "/images/json") as response:
            images = await self._json(response)
        return sorted(name for image in images for name in image.get("RepoTags") or () if name != "<none>:<none>")

    async def untag(self, image: str) -> None:
        """Remove a name. No error if there is none.

        `force` lets go of the name also while a container runs from the image; the Engine then keeps the image.
        """
        path = f"/images/{quote(image)}"
        async with self._request("DELETE", path, params={"force": "1", "noprune": "1"}) as response:
            if response.status != 404:
                await self._json(response)

    async def push(self, image: str, login: Login | None, reader: PushReader) -> Pushed:
        """Push; `reader` is told how it goes on. Raises PushFailed."""
        repository, _, tag = image.rpartition(":")
        headers = {"X-Registry-Auth": registry_auth(login)}
        path = f"/images/{quote(repository)}/push"
        async with self._request("POST", path, params={"tag": tag}, headers=headers, endless=True) as response:
            if response.status != 200:
                raise push_error(image, await _message(response))
            async for line in _lines(response.content):
                reader.receive(json.loads(line))
        return reader.result()

    async def close(self) -> None:
        """Close connections. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        endless: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=self._address.connector())
        timeout = aiohttp.ClientTimeout(total=None if endless else ANSWER_TIMEOUT, sock_connect=CONNECT_TIMEOUT)
        try:
            async with self._session.request(
                method, self._address.url + path, params=params, headers=headers, timeout=timeout
            ) as response:
                yield response
        except (aiohttp.ClientError, OSError, ValueError) as exc:  # ValueError: an answer that is not JSON
            raise self._address.unavailable(exc) from exc

    async def _json(self, response: aiohttp.ClientResponse) -> Any:
        if response.status >= 400:
            words = (await _message(response)).rstrip(".")
            hint = "It speaks TLS: set [worker] engine_ca." if "HTTPS server" in words else ""
            raise EngineError(f"The build engine at {self._address.text} refused: {words}.", hint=hint)
        return json.loads(await response.read())


def _version(text: object) -> tuple[int, ...]:
    """
    >>> _version("1.42")
    (1, 42)
    """
    parts = str(text).split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else (0,)


def registry_auth(login: Login | None) -> str:
    """The value of X-Registry-Auth: base64url of a JSON object, which may not be left out, only be empty."""
    fields = {"username": login.username, "password": login.password} if login else {}
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


async def _message(response: aiohttp.ClientResponse) -> str:
    text = (await response.read()).decode("utf-8", "replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500].strip() or f"HTTP {response.status}"


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to `_MAX_LINE`; aiohttp's own readline gives up after 128 KiB."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(rest) > _MAX_LINE:
            raise ValueError("the engine's answer has a line without end")
    if rest.strip():
        yield rest
