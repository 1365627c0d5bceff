"""How a role on another machine than the server asks it what its messages do not say."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from urllib.parse import urlencode

import aiohttp

from lumper.build.port import Login
from lumper.errors import NotFound, ServerUnreachable, Unauthorized
from lumper.model.builds.secrets import GivenSecrets, Needed

_TIMEOUT = aiohttp.ClientTimeout(total=60)
_LOG_TIMEOUT = aiohttp.ClientTimeout(sock_connect=60, sock_read=60)  # however long it is
_PIECE = 256 * 1024
_HINT = "Is it running, and is [connect] server right?"


class RemoteServer:
    """The server at `url`, asked with a role's token. An async context.

    Its methods raise ServerUnreachable, Unauthorized (the token is not right), NotFound.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/") + "/api/v1"
        self._headers = {"Authorization": f"Bearer {token}"}

    async def __aenter__(self) -> RemoteServer:
        self._session = aiohttp.ClientSession(headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._session.close()

    async def git_credentials(self, project_id: str) -> tuple[str, str] | None:
        """User name and password for a project's git server, if it has any."""
        username, password = await self._credentials(f"/projects/{project_id}/credentials")
        return (username, password) if username or password else None

    async def _credentials(self, path: str) -> tuple[str, str]:
        answer = await self._get(path)
        try:
            found = json.loads(answer)
            return str(found["username"]), str(found["password"])
        except (ValueError, KeyError, TypeError) as exc:
            raise ServerUnreachable(f"What answers at {self._url} is not a Lumper server.", hint=_HINT) from exc

    async def registry_login(self, build_id: int, attempt: int) -> Login:
        """What an attempt of a build pushes with."""
        username, password = await self._credentials(f"/builds/{build_id}/login?attempt={attempt}")
        return Login(username, password, own=True)

    async def entrust(self, build_id: int, attempt: int, needed: Needed) -> GivenSecrets:
        """What an attempt is given, asked for with its own token."""
        login = await self.registry_login(build_id, attempt)
        query = [("attempt", str(attempt)), ("taken", str(int(needed.taken)))]
        query += [("value", name) for name in needed.values] + [("key", name) for name in needed.keys]
        headers = {"Authorization": f"Bearer {login.password}"}
        answer = await self._get(f"/builds/{build_id}/secrets?{urlencode(query)}", headers)
        try:
            found = json.loads(answer)
            return GivenSecrets(
                values={name: b64decode(value) for name, value in found["values"].items()},
                keys={name: b64decode(value) for name, value in found["keys"].items()},
                logins={host: (str(one["username"]), str(one["password"])) for host, one in found["logins"].items()},
                refused=frozenset(found["refused"]),
                registry=str(found["registry"]),
                taken=frozenset(found["taken"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise ServerUnreachable(f"What answers at {self._url} is not a Lumper server.", hint=_HINT) from exc

    async def read_log(self, build_id: int, attempt: int) -> AsyncGenerator[bytes]:
        """The log of an attempt, piece by piece."""
        async with self._asked(f"/builds/{build_id}/log?attempt={attempt}", timeout=_LOG_TIMEOUT) as response:
            async for piece in response.content.iter_chunked(_PIECE):
                yield piece

    async def _get(self, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        async with self._asked(path, headers) as response:
            return await response.read()

    @asynccontextmanager
    async def _asked(
        self, path: str, headers: Mapping[str, str] | None = None, timeout: aiohttp.ClientTimeout = _TIMEOUT
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.get(self._url + path, headers=headers, timeout=timeout) as response:
                match response.status:
                    case 200:
                        yield response
                    case 401 | 403:
                        hint = "Copy it anew from tokens/ in the server's data folder, and set [connect] token_file."
                        raise Unauthorized(f"The server at {self._url} does not take this role's token.", hint=hint)
                    case 404:
                        raise NotFound(f"The server at {self._url} has no {path}.")
                    case status:
                        raise ServerUnreachable(f"The server at {self._url} answered {status} to {path}.", hint=_HINT)
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise ServerUnreachable(f"The server at {self._url} does not answer: {exc}.", hint=_HINT) from exc
