"""Waiting for a container to prove itself healthy, by whichever proof its service asks for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from lumper.deploy.port import Host
from lumper.errors import ReleaseUnhealthy
from lumper.model.deployment import Container, ContainerState, Health, Service

_ATTEMPT = 5.0  # seconds for one request or command, so that one which hangs is tried again
_LAST_ATTEMPT = 1.0  # seconds that even an attempt just before the end gets, so that its answer can be told


@dataclass(frozen=True)
class _Answer:
    """What one look at the container found. `words` explain it to a person."""

    healthy: bool
    words: str


async def wait_until_healthy(host: Host, container: Container, service: Service) -> str:
    """Wait until the container is healthy; what proved it, in words.

    Raises ReleaseUnhealthy (it ended, began to restart, or was not healthy in time), HostUnavailable.
    """
    health, began = service.health, time.monotonic()
    limit = max(health.timeout, health.stable + health.interval)
    words = "it was not asked yet"
    while True:
        seen = _still_up(await host.inspect(container.id), container)
        elapsed = time.monotonic() - began
        answer = await _ask(host, seen, service, elapsed)
        if answer.healthy:
            return answer.words
        words = answer.words or words
        if time.monotonic() - began + health.interval > limit:
            _still_up(await host.inspect(container.id), container)  # that it ended is the better reason
            raise ReleaseUnhealthy(f"It was not healthy within {health.timeout:g} s: {words}.")
        await asyncio.sleep(health.interval)


def _still_up(seen: Container | None, before: Container) -> Container:
    if seen is None:
        raise ReleaseUnhealthy("It was removed while its health was checked.")
    if seen.state is ContainerState.EXITED:
        raise ReleaseUnhealthy(f"It ended with exit code {seen.exit_code}.")
    if seen.restarts > before.restarts:
        raise ReleaseUnhealthy("It ended while its health was checked, and was restarted.")
    return seen


async def _ask(host: Host, seen: Container, service: Service, elapsed: float) -> _Answer:
    health = service.health
    patience = min(_ATTEMPT, max(health.timeout - elapsed, _LAST_ATTEMPT))
    if health.http:
        return await _ask_http(host, seen, service, patience)
    if health.command:
        return await _ask_command(host, seen, health, patience)
    if seen.state is ContainerState.RUNNING:
        return _Answer(elapsed >= health.stable, f"it has been running for {elapsed:.1f} s")
    if seen.state is ContainerState.UNHEALTHY:
        raise ReleaseUnhealthy(
            "Its engine calls it unhealthy: the image's HEALTHCHECK fails, or it crashes over and over."
        )
    words = "the image's own HEALTHCHECK "
    if seen.state is ContainerState.HEALTHY:
        return _Answer(True, words + "calls it healthy")
    return _Answer(False, words + "has not succeeded yet")


async def _ask_http(host: Host, seen: Container, service: Service, patience: float) -> _Answer:
    health = service.health
    port = health.port or next((p.container for p in service.ports if p.protocol == "tcp"), 0)
    if not port:
        raise ReleaseUnhealthy("Its health is asked by HTTP, but neither health.port nor a published port is given.")
    try:
        status = await host.probe(seen, port, health.http, patience)
    except ReleaseUnhealthy as exc:
        return _Answer(False, str(exc).rstrip("."))
    return _Answer(200 <= status < 400, f"GET {health.http} at port {port} answered {status}")


async def _ask_command(host: Host, seen: Container, health: Health, patience: float) -> _Answer:
    try:
        code = await host.execute(seen.id, health.command, patience)
    except ReleaseUnhealthy as exc:
        return _Answer(False, str(exc).rstrip("."))
    return _Answer(code == 0, f"its health command ended with exit code {code}")
