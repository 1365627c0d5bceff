"""Waiting for health: what counts as proof, and what ends the waiting at once."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from lumper.deploy.health import wait_until_healthy
from lumper.deploy.hosts.memory import Image, MemoryHost
from lumper.errors import ReleaseUnhealthy
from lumper.model.deployment import Container, Health, Port, Release, Service

SOON = {"interval": 0.001, "timeout": 0.01, "stable": 0.0}
FOREVER = {"interval": 0.001, "timeout": 3600.0}  # a test that waited for it would never end


async def started(image: Image, **health: Any) -> tuple[MemoryHost, Container, Service]:
    release = Release(
        Service("shop", ports=(Port(8080),), health=Health(**health)), "shop", f"sha256:{secrets.token_hex(32)}", 1
    )
    host = MemoryHost(images={release.reference: image})
    await host.pull(release, None)
    return host, await host.start(release), release.service


@pytest.mark.parametrize(
    ("image", "health", "words"),
    [
        (Image(http=204), {"http": "/up"}, "GET /up at port 8080 answered 204"),
        (Image(http=302), {"http": "/"}, "answered 302"),
        (Image(http=200, healthcheck=False), {"http": "/"}, "answered 200"),
        (Image(http=None), {"command": ("true",)}, "exit code 0"),
        (Image(http=None, healthcheck=True), {}, "HEALTHCHECK calls it healthy"),
        (Image(http=None), {}, "has been running for"),
    ],
)
async def test_healthy_by_the_proof_that_the_service_asks_for(image: Image, health: Any, words: str) -> None:
    assert words in await wait_until_healthy(*await started(image, **(SOON | health)))


@pytest.mark.parametrize(
    ("image", "health", "words"),
    [
        (Image(http=404), {"http": "/"}, "not healthy within 0.01 s: GET / at port 8080 answered 404"),
        (Image(http=500), {"http": "/"}, "answered 500"),
        (Image(http=None), {"http": "/"}, "nobody listens"),
        (Image(), {"command": ("false",)}, "exit code 1"),
        (Image(), {"command": ("nonsense",)}, "cannot be run"),
    ],
)
async def test_unhealthy_when_the_time_is_over_with_the_last_answer(image: Image, health: Any, words: str) -> None:
    with pytest.raises(ReleaseUnhealthy, match=words):
        await wait_until_healthy(*await started(image, **(SOON | health)))


@pytest.mark.parametrize("health", [{"http": "/"}, {"command": ("true",)}, {}])
async def test_a_container_that_ends_is_not_waited_for(health: Any) -> None:
    with pytest.raises(ReleaseUnhealthy, match="ended with exit code 3"):
        await wait_until_healthy(*await started(Image(exits=3), **(FOREVER | health)))


async def test_a_container_that_ends_during_the_check_is_not_waited_for() -> None:
    host, container, service = await started(Image(http=503), http="/", **FOREVER)
    waiting = asyncio.create_task(wait_until_healthy(host, container, service))
    await asyncio.sleep(0.01)
    host.crash(container.id, 9)
    with pytest.raises(ReleaseUnhealthy, match="ended with exit code 9"):
        await waiting


async def test_a_container_that_is_restarted_during_the_check_is_unhealthy() -> None:
    host, container, service = await started(Image(), stable=3600.0, **FOREVER)
    await host.accept(container.id)
    host.crash(container.id)
    with pytest.raises(ReleaseUnhealthy, match="was restarted"):
        await wait_until_healthy(host, container, service)


async def test_a_container_that_is_removed_during_the_check_is_unhealthy() -> None:
    host, container, service = await started(Image(), **FOREVER)
    await host.remove(container.id)
    with pytest.raises(ReleaseUnhealthy, match="removed"):
        await wait_until_healthy(host, container, service)


async def test_the_engines_verdict_of_unhealthy_is_not_waited_for() -> None:
    with pytest.raises(ReleaseUnhealthy, match="HEALTHCHECK fails"):
        await wait_until_healthy(*await started(Image(healthcheck=False), **FOREVER))


async def test_an_http_check_without_any_port_says_what_is_missing() -> None:
    host, container, _ = await started(Image())
    with pytest.raises(ReleaseUnhealthy, match=r"health\.port"):
        await wait_until_healthy(host, container, Service("shop", health=Health(http="/")))
