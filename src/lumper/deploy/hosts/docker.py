"""A host that is a Docker Engine, over its socket or TCP. Works with Engine 20.10 and newer."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Iterator, Set
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError

from lumper.deploy.hosts import docker_json
from lumper.deploy.port import Login
from lumper.errors import DeployError, HostUnavailable, ReleaseRefused, ReleaseUnhealthy
from lumper.model.deployment import Container, Release
from lumper.system.library_internals import query_json

_REQUEST = 60.0  # seconds; asking and telling, not waiting
_SILENCE = 300.0  # seconds without a byte of progress after which a pull is given up
_EXEC_POLL = 0.05
_LOG_BYTES = 64 * 1024
_UNREACHED = 900  # aiodocker's own status for "no connection"
_REGISTRY_DOWN = (
    "connection refused",
    "no such host",
    "i/o timeout",
    "tls handshake timeout",
    "no route to host",
    "connection reset",
    "client.timeout",
    "unexpected eof",
    "500 internal",
    "502 bad gateway",
    "503 service",
    "504 gateway",
)
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to replace, not to bind


class DockerHost:
    """One Docker Engine at `address`: unix:///path or tcp://host:port. Connects when it is first asked something."""

    def __init__(self, name: str, address: str) -> None:
        self._name = name
        self._address = address
        self._docker: aiodocker.Docker | None = None
        self._http: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """The name of the host, unique within Lumper."""
        return self._name

    async def containers(self, service: str | None = None) -> list[Container]:
        """See Host."""
        label = docker_json.SERVICE if service is None else f"{docker_json.SERVICE}={service}"
        async with self._asking() as docker:
            found = await docker.containers.list(all=True, filters={"label": [label]})
        shown = await asyncio.gather(*(self.inspect(container.id) for container in found))
        return [container for container in shown if container is not None]

    async def inspect(self, container_id: str) -> Container | None:
        """See Host."""
        async with self._asking() as docker:
            try:
                body = await docker.containers.container(container_id).show()
            except DockerError as exc:
                if exc.status == 404:
                    return None
                raise
            return docker_json.container_from_engine(body, self._name)

    async def pull(self, release: Release, login: Login | None) -> None:
        """See Host. Asks no registry if the image is there: a digest means the same bytes everywhere."""
        docker_json.check(release)
        auth = {"username": login.username, "password": login.password} if login else None
        if await self._has_image(release):
            return
        async with self._asking(None) as docker:
            try:
                await docker.images.pull(release.reference, auth=auth, timeout=_patient())
            except DockerError as exc:
                raise _pull_refused(exc, release.reference, self._name) from exc
        if not await self._has_image(release):
            raise HostUnavailable(f"The connection to {self._name} broke while it pulled {release.reference}.")

    async def start(self, release: Release, *, trial: bool = False) -> Container:
        """See Host."""
        body = docker_json.release_to_engine(release, trial=trial)
        container_id = await self._create(body, docker_json.name_of(release, trial=trial))
        try:
            async with self._asking(refusals=True) as docker:
                await docker.containers.container(container_id).start()
        except ReleaseRefused:
            await self.remove(container_id)
            raise
        container = await self.inspect(container_id)
        if container is None:
            raise ReleaseRefused(f"Somebody removed the new container of {release.service.name} while it started.")
        return container

    async def accept(self, container_id: str) -> None:
        """See Host."""
        policy = {"RestartPolicy": {"Name": docker_json.ACCEPTED_POLICY}}
        async with self._asking(refusals=True) as docker:
            # aiodocker has no call of its own for ContainerUpdate
            await query_json(docker, f"containers/{container_id}/update", policy)

    async def restart(self, container_id: str) -> None:
        """See Host."""
        async with self._asking(refusals=True) as docker:
            await docker.containers.container(container_id).start()

    async def probe(self, container: Container, port: int, path: str, timeout: float) -> int:
        """See Host."""
        where = self._reach(container, port)
        url = f"http://{where}/{path.lstrip('/')}"
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        try:
            limit = aiohttp.ClientTimeout(total=timeout)
            async with self._http.get(url, timeout=limit, allow_redirects=False) as response:
                return response.status
        except TimeoutError as exc:
            raise ReleaseUnhealthy(f"GET {url} was not answered within {timeout:.1f} s.") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise ReleaseUnhealthy(f"GET {url} failed: {exc}.") from exc

    async def execute(self, container_id: str, command: tuple[str, ...], timeout: float) -> int:
        """See Host. A command that takes too long is left to the container: the API has no way to end it."""
        try:
            async with asyncio.timeout(timeout), self._asking() as docker:
                return await _execute(docker, container_id, command)
        except TimeoutError as exc:
            raise ReleaseUnhealthy(f"Its health command did not end within {timeout:.1f} s.") from exc

    async def logs(self, container_id: str, lines: int) -> str:
        """See Host."""
        async with self._asking() as docker:
            try:
                parts = await docker.containers.container(container_id).log(stdout=True, stderr=True, tail=lines)
            except DockerError as exc:
                if exc.status == 404:
                    return ""
                raise
        return "".join(parts)[-_LOG_BYTES:]

    async def stop(self, container_id: str, timeout: float) -> None:
        """See Host."""
        async with self._asking(timeout + _REQUEST) as docker:
            with _ignoring(404):
                await docker.containers.container(container_id).stop(t=math.ceil(timeout))

    async def remove(self, container_id: str) -> None:
        """See Host. Anonymous volumes go with it, named ones stay."""
        async with self._asking() as docker:
            with _ignoring(404, 409):  # 409: its removal is under way already
                await docker.containers.container(container_id).delete(force=True, v=True)

    async def prune(self, image: str, keep: Set[str]) -> list[str]:
        """See Host."""
        removed = []
        async with self._asking() as docker:
            for entry in await docker.images.list(filters={"reference": [image]}, digests=True):
                names = set(entry.get("RepoDigests") or ())
                tags = set(entry.get("RepoTags") or ()) - {"<none>:<none>"}
                digests = {name.removeprefix(f"{image}@") for name in names if name.startswith(f"{image}@")}
                if tags or len(digests) != len(names) or digests & keep:
                    continue
                for digest in sorted(digests):
                    with _ignoring(404, 409):  # 409: a container uses it
                        await docker.images.delete(f"{image}@{digest}")
                        removed.append(digest)
        return removed

    async def close(self) -> None:
        """See Host."""
        docker, http, self._docker, self._http = self._docker, self._http, None, None
        if http is not None:
            await http.close()
        if docker is not None:
            await docker.close()

    async def _create(self, body: dict[str, Any], name: str) -> str:
        async with self._asking(refusals=True) as docker:
            try:
                return (await docker.containers.create(body, name=name)).id
            except DockerError as exc:
                if exc.status != 409:
                    raise
            return (await docker.containers.create(body, name=f"{name}-{secrets.token_hex(3)}")).id

    async def _has_image(self, release: Release) -> bool:
        async with self._asking() as docker:
            try:
                return "Id" in await docker.images.inspect(release.reference)
            except DockerError as exc:
                if exc.status == 404:
                    return False
                raise

    def _reach(self, container: Container, port: int) -> str:
        """Where `port` of the container is reached from here, as host:port."""
        published = next((p for p in container.ports if (p.container, p.protocol) == (port, "tcp") and p.host), None)
        address, number = (published.address, published.host) if published else (container.address, port)
        if not address:
            raise ReleaseUnhealthy(f"Port {port} is not published, and the container has no address of its own.")
        remote = urlsplit(self._address).hostname if not self._address.startswith("unix:") else None
        address = (remote or _ANYWHERE[address]) if address in _ANYWHERE else address
        return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"

    @asynccontextmanager
    async def _asking(
        self, seconds: float | None = _REQUEST, *, refusals: bool = False
    ) -> AsyncIterator[aiodocker.Docker]:
        """The client; what it raises becomes HostUnavailable or, with `refusals`, ReleaseRefused for its no."""
        try:
            async with asyncio.timeout(seconds):
                yield self._connected()
        except DockerError as exc:
            if exc.status == _UNREACHED:
                raise HostUnavailable(
                    f"The Docker Engine of {self._name} cannot be reached at {self._address}."
                ) from exc
            raise (_refused(exc, self._name) if refusals else _answered(exc, self._name)) from exc
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            raise HostUnavailable(f"The Docker Engine of {self._name} does not answer at {self._address}.") from exc
        except (ValueError, TypeError, KeyError, AttributeError) as exc:  # another shape than the API has
            raise HostUnavailable(f"What answers at {self._address} is not a Docker Engine that Lumper knows.") from exc

    def _connected(self) -> aiodocker.Docker:
        if self._docker is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
            self._docker = aiodocker.Docker(self._address, timeout=timeout)
        return self._docker


def _patient() -> Any:
    return aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_SILENCE)


@contextmanager
def _ignoring(*statuses: int) -> Iterator[None]:
    try:
        yield
    except DockerError as exc:
        if exc.status not in statuses:
            raise


async def _execute(docker: aiodocker.Docker, container_id: str, command: tuple[str, ...]) -> int:
    try:
        run = await docker.containers.container(container_id).exec(command)
        await run.start(detach=True)
    except DockerError as exc:
        if exc.status == _UNREACHED:
            raise
        raise ReleaseUnhealthy(f"Its health command cannot be run: {exc.message.strip()}.") from exc
    while (shown := await run.inspect())["Running"] or shown["ExitCode"] is None:  # noqa: ASYNC110 - none tells us
        await asyncio.sleep(_EXEC_POLL)
    return int(shown["ExitCode"])


def _answered(exc: DockerError, host: str) -> DeployError:
    return HostUnavailable(f"The Docker Engine of {host} answered {exc.status}: {exc.message.strip()}.")


def _refused(exc: DockerError, host: str) -> DeployError:
    words = exc.message.strip()
    hint = ""
    if "already allocated" in words or "address already in use" in words:
        hint = "Another container or program has the port: choose another one in lumper.toml, or end that program."
    return ReleaseRefused(f"The Docker Engine of {host} refused: {words}.", hint=hint)


def _pull_refused(exc: DockerError, reference: str, host: str) -> DeployError:
    words = exc.message.strip()
    lower = words.lower()
    if exc.status == _UNREACHED:
        return HostUnavailable(f"The Docker Engine of {host} cannot be reached.")
    if any(sign in lower for sign in _REGISTRY_DOWN):
        return HostUnavailable(
            f"The registry of {reference} cannot be reached from {host}: {words}.",
            hint="Does the registry run, and is its address right as seen from that host?",
        )
    if "denied" in lower or "unauthorized" in lower or "no basic auth" in lower or "authentication" in lower:
        return ReleaseRefused(
            f"The registry does not let {host} pull {reference}: {words}.", hint="Check its credentials."
        )
    if "not found" in lower or "manifest unknown" in lower:
        return ReleaseRefused(f"{reference} is not in the registry: {words}.", hint="Build the tag again.")
    return ReleaseRefused(f"{host} cannot pull {reference}: {words}.")
