"""A host that only remembers: for tests, and for trying Lumper out without an engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from lumper.deploy.port import Login
from lumper.errors import HostUnavailable, ReleaseRefused, ReleaseUnhealthy
from lumper.model.deployment import Container, ContainerState, Port, Release

_FIRST_FREE_PORT = 49152
_KILLED = 137  # 128 + SIGKILL


@dataclass(frozen=True)
class Image:
    """How the containers of an image behave.

    `exits` is the exit code with which they end at once, None if they stay. `http` is the status that they answer any
    request with, None if they do not listen. `healthcheck` is what the image's own HEALTHCHECK finds, None without
    one. `commands` are the programs that can be run inside, with their exit codes. With `trials_only` every container
    that is no trial ends at once.
    """

    exits: int | None = None
    http: int | None = 200
    healthcheck: bool | None = None
    commands: Mapping[str, int] = field(default_factory=lambda: {"true": 0, "false": 1})
    output: str = ""
    login: Login | None = None
    trials_only: bool = False


@dataclass
class _Running:
    """A container, the image that it came from and the ports that were asked for."""

    shown: Container
    image: Image
    reference: str
    asked: tuple[Port, ...] = field(default_factory=tuple)


class MemoryHost:
    """Containers in a dictionary. `images` is what its registry has, by reference (`image@digest`).

    `taken` are host ports that other programs have. `on_change` is called after every change with its name; what it
    raises comes out of the method, as if the caller had been cut off there. `reachable` can be set to False.
    """

    def __init__(self, name: str = "memory", images: dict[str, Image] | None = None) -> None:
        self._name = name
        self.images = images if images is not None else {}
        self.pulled: list[str] = []
        self.taken: set[int] = set()
        self.reachable = True
        self.on_change: Callable[[str], None] = lambda change: None
        self._containers: dict[str, _Running] = {}
        self._ids = itertools.count(1)
        self._ports = itertools.count(_FIRST_FREE_PORT)

    @property
    def name(self) -> str:
        """The name of the host, unique within Lumper."""
        return self._name

    async def containers(self, service: str | None = None) -> list[Container]:
        """See Host."""
        self._reach()
        return [c.shown for c in self._containers.values() if service in (None, c.shown.service)]

    async def inspect(self, container_id: str) -> Container | None:
        """See Host."""
        self._reach()
        container = self._containers.get(container_id)
        return container.shown if container else None

    async def pull(self, release: Release, login: Login | None) -> None:
        """See Host."""
        self._reach()
        image = self.images.get(release.reference)
        if image is None:
            raise ReleaseRefused(f"{release.reference} is not in the registry.", hint="Build the tag again.")
        if image.login not in (None, login):
            raise ReleaseRefused(f"The registry does not let {self._name} pull {release.reference}.")
        if release.reference not in self.pulled:
            self.pulled.append(release.reference)
            self.on_change("pull")

    async def start(self, release: Release, *, trial: bool = False) -> Container:
        """See Host."""
        self._reach()
        if release.reference not in self.pulled:
            raise ReleaseRefused(f"{self._name} has no image {release.reference}.")
        container = self._create(release, trial)
        self.on_change("create")
        try:
            self._run(container)
        except ReleaseRefused:
            del self._containers[container.shown.id]
            raise
        self.on_change("start")
        return container.shown

    async def accept(self, container_id: str) -> None:
        """See Host."""
        container = self._known(container_id)
        container.shown = replace(container.shown, accepted=True)
        self.on_change("accept")

    async def restart(self, container_id: str) -> None:
        """See Host."""
        container = self._known(container_id)
        if not container.shown.up:
            self._run(container)
            self.on_change("restart")

    async def probe(self, container: Container, port: int, path: str, timeout: float) -> int:
        """See Host."""
        await asyncio.sleep(0)
        found = self._containers.get(container.id)
        if found is None or not found.shown.up or found.image.http is None:
            raise ReleaseUnhealthy(f"GET {path} at port {port} failed: nobody listens there.")
        return found.image.http

    async def execute(self, container_id: str, command: tuple[str, ...], timeout: float) -> int:
        """See Host."""
        self._reach()
        container = self._containers.get(container_id)
        if container is None or not container.shown.up or command[0] not in container.image.commands:
            raise ReleaseUnhealthy("Its health command cannot be run.")
        return container.image.commands[command[0]]

    async def logs(self, container_id: str, lines: int) -> str:
        """See Host."""
        self._reach()
        container = self._containers.get(container_id)
        return "".join(container.image.output.splitlines(keepends=True)[-lines:]) if container else ""

    async def stop(self, container_id: str, timeout: float) -> None:
        """See Host."""
        self._reach()
        container = self._containers.get(container_id)
        if container is not None and container.shown.up:
            self._end(container, 0)
            self.on_change("stop")

    async def remove(self, container_id: str) -> None:
        """See Host."""
        self._reach()
        if self._containers.pop(container_id, None) is not None:
            self.on_change("remove")

    async def prune(self, image: str, keep: Set[str]) -> list[str]:
        """See Host."""
        self._reach()
        used = {container.reference for container in self._containers.values()}
        digests = [ref.removeprefix(f"{image}@") for ref in self.pulled if ref.startswith(f"{image}@")]
        removed = [digest for digest in digests if digest not in keep and f"{image}@{digest}" not in used]
        if removed:
            self.pulled = [ref for ref in self.pulled if ref not in {f"{image}@{digest}" for digest in removed}]
            self.on_change("prune")
        return removed

    async def close(self) -> None:
        """See Host."""

    def crash(self, container_id: str, exit_code: int = _KILLED) -> None:
        """End a container from outside; one that is accepted is started again by the host."""
        container = self._known(container_id)
        accepted = container.shown.accepted
        self._end(container, exit_code)
        if accepted:
            self._run(container)
            container.shown = replace(container.shown, restarts=container.shown.restarts + 1)

    def set_image(self, container_id: str, image: Image) -> None:
        """Let a container behave in another way from now on."""
        self._known(container_id).image = image

    def _reach(self) -> None:
        if not self.reachable:
            raise HostUnavailable(f"{self._name} cannot be reached.")

    def _known(self, container_id: str) -> _Running:
        self._reach()
        if container_id not in self._containers:
            raise ReleaseRefused(f"{self._name} has no container {container_id}.")
        return self._containers[container_id]

    def _create(self, release: Release, trial: bool) -> _Running:
        service = release.service
        number = next(self._ids)
        asked = tuple(replace(p, host=0, address="127.0.0.1") for p in service.ports) if trial else service.ports
        shown = Container(
            id=f"{number:064x}",
            service=service.name,
            digest=release.digest,
            config_hash=service.config_hash,
            generation=release.generation,
            state=ContainerState.EXITED,
            host=self._name,
            version=release.version,
            final=not trial,
            accepted=False,
            ports=asked,
            address=f"172.17.{number // 250}.{number % 250 + 2}",
            exit_code=0,
        )
        container = _Running(shown, self.images[release.reference], release.reference, asked)
        self._containers[shown.id] = container
        return container

    def _run(self, container: _Running) -> None:
        held = self.taken | {p.host for c in self._containers.values() if c.shown.up for p in c.shown.ports}
        for port in container.asked:
            if port.host and port.host in held:
                raise ReleaseRefused(f"{self._name} refused: port {port.host} is already allocated.")
        ports = tuple(replace(port, host=port.host or next(self._ports)) for port in container.asked)
        now = datetime.now(UTC)
        container.shown = replace(
            container.shown, ports=ports, state=_state(container.image), exit_code=None, started_at=now
        )
        exits = 1 if container.image.trials_only and container.shown.final else container.image.exits
        if exits is not None:
            self._end(container, exits)

    def _end(self, container: _Running, exit_code: int) -> None:
        container.shown = replace(
            container.shown, state=ContainerState.EXITED, exit_code=exit_code, ports=container.asked
        )


def _state(image: Image) -> ContainerState:
    if image.healthcheck is None:
        return ContainerState.RUNNING
    return ContainerState.HEALTHY if image.healthcheck else ContainerState.UNHEALTHY
