"""Rollouts on a real Docker Engine, with images from a registry on loopback."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import aiodocker
import aiohttp
import pytest

from lumper.deploy.hosts.docker import DockerHost
from lumper.deploy.port import Login
from lumper.deploy.rollout import RolloutResult, observe, roll_out
from lumper.errors import ReleaseRefused
from lumper.model.deployment import Container, ContainerState, Health, Port, Release, RolloutState, Service
from parts.engines.docker_engine import ADDRESS, engine, remove_service
from parts.registries.static_registry import StaticRegistry, static_registry
from parts.servers.ports import free_ports
from parts.suite.eventually import eventually

pytestmark = pytest.mark.docker

SERVE = ["httpd", "-f", "-p", "8080", "-h", "/www"]
CRASH = ["sh", "-c", "echo reading the config; echo no config; exit 3"]
FAILS_THE_SECOND_TIME = ["sh", "-c", "test -e /data/once && exit 5; touch /data/once; httpd -f -p 8080 -h /www"]
LOGIN = Login("puller", "secret")
ONCE = Health(interval=60, timeout=60, stable=0)  # there is no time for a second look


class CutOff(BaseException):
    """What a kill -9 is to the code that runs."""


@dataclass
class Site:
    """A host, a registry, and one service on a host port of its own."""

    host: DockerHost
    registry: StaticRegistry
    service: Service
    lines: list[str] = field(default_factory=list)
    cut_at: str = ""

    @property
    def image(self) -> str:
        return f"{self.registry.address}/test/{self.service.name}"

    def release(self, generation: int, command: list[str] | None = None, **settings: Any) -> Release:
        healthcheck = settings.pop("healthcheck", None)
        digest = self.registry.add(command or SERVE, healthcheck=healthcheck)
        service = replace(self.service, **settings)
        return Release(service, self.image, digest, generation, f"v0.0.{generation}")

    async def run(self, release: Release) -> RolloutResult:
        """Roll out; cut off just after the journal line that has `cut_at` in it."""

        async def credentials(image: str) -> Login | None:
            assert image == self.image
            return LOGIN

        async def journal(line: str) -> None:
            self.lines.append(line)
            if self.cut_at and self.cut_at in line:
                raise CutOff(line)

        return await roll_out(self.host, release, credentials=credentials, journal=journal)

    async def containers(self) -> list[Container]:
        return [c for c in await observe(self.host) if c.service == self.service.name]

    async def answers(self) -> bool:
        """Whether the service's host port answers."""
        url = f"http://127.0.0.1:{self.service.ports[0].host}/"
        try:
            async with aiohttp.request("GET", url, timeout=aiohttp.ClientTimeout(total=60)) as response:
                return await response.text() == "hello\n"
        except aiohttp.ClientError:
            return False


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    (port,) = free_ports(1)
    health = Health(http="/", interval=0.02, timeout=60, stable=0.2)
    service = Service(
        f"rollout-{secrets.token_hex(4)}", ports=(Port(8080, port),), volumes={"data": "/data"}, health=health
    )
    async with static_registry((LOGIN.username, LOGIN.password)) as registry:
        site = Site(DockerHost("local", ADDRESS), registry, replace(service, stop_timeout=2))
        try:
            yield site
        finally:
            await remove_service(service.name, site.image)
            await site.host.close()


@pytest.fixture
async def docker() -> AsyncIterator[aiodocker.Docker]:
    async with engine() as client:
        yield client


async def test_a_release_replaces_the_one_before_on_the_same_port_by_digest(
    site: Site, docker: aiodocker.Docker
) -> None:
    one, two = site.release(1), site.release(2)
    first = await site.run(one)
    assert first.state is RolloutState.SUCCEEDED, first.error
    assert await site.answers()
    second = await site.run(two)
    assert second.state is RolloutState.SUCCEEDED, second.error
    assert await site.answers()
    (container,) = await site.containers()
    assert container == second.container
    assert (container.digest, container.generation, container.accepted) == (two.digest, 2, True)
    shown = await docker.containers.container(container.id).show()
    assert shown["Config"]["Image"] == two.reference
    assert shown["Name"] == f"/{site.service.name}-2"


async def test_a_container_gets_no_more_rights_than_it_needs(site: Site, docker: aiodocker.Docker) -> None:
    result = await site.run(site.release(3, env={"COLOUR": "blue"}))
    assert result.container is not None, result.error
    shown = await docker.containers.container(result.container.id).show()
    host = shown["HostConfig"]
    assert host["Privileged"] is False
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Init"] is True
    assert host["Binds"] is None
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert [(m["Type"], m["Name"], m["Destination"]) for m in shown["Mounts"]] == [
        ("volume", f"{site.service.name}_data", "/data")
    ]
    assert "COLOUR=blue" in shown["Config"]["Env"]
    labels = {name: value for name, value in shown["Config"]["Labels"].items() if name.startswith("lumper.")}
    assert labels == {
        "lumper.service": site.service.name,
        "lumper.digest": result.container.digest,
        "lumper.config.settings": result.container.config_hash,
        "lumper.generation": "3",
        "lumper.version": "v0.0.3",
        "lumper.trial": "false",
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"volumes": {"/": "/host"}},
        {"volumes": {"/var/run/docker.sock": "/docker.sock"}},
        {"volumes": {"..": "/host"}},
        {"volumes": {"data": "/data/../.."}},
        {"name": "../x"},
        {"env": {"A=B": "c"}},
    ],
)
async def test_what_reaches_outside_of_the_container_is_refused(site: Site, settings: dict[str, Any]) -> None:
    release = site.release(1)
    await site.host.pull(release, LOGIN)
    with pytest.raises(ReleaseRefused):
        await site.host.start(replace(release, service=replace(release.service, **settings)))


@pytest.mark.parametrize(
    ("command", "settings", "reason"),
    [
        (CRASH, {}, "ended with exit code 3"),
        (["sleep", "600"], {"health": replace(ONCE, http="/")}, "not healthy within 60 s: GET"),
        (SERVE, {"health": replace(ONCE, command=("false",))}, "exit code 1"),
        (SERVE, {"health": Health(interval=0.02), "healthcheck": ["false"]}, "HEALTHCHECK fails"),
        (["/absent"], {}, "ended with exit code 127"),
    ],
)
async def test_an_unhealthy_release_leaves_the_one_before_untouched_and_serving(
    site: Site, command: list[str], settings: dict[str, Any], reason: str
) -> None:
    await site.run(site.release(1))
    before = await site.containers()
    result = await site.run(site.release(2, command, **settings))
    assert result.state is RolloutState.FAILED
    assert reason in result.error
    assert await site.containers() == before
    assert await site.answers()
    assert result.container == before[0]


async def test_a_failure_has_the_last_lines_of_the_new_container(site: Site) -> None:
    result = await site.run(site.release(1, CRASH))
    assert result.error.endswith("The last lines of the new container:\n  reading the config\n  no config")
    assert await site.containers() == []


async def test_a_release_that_fails_only_on_the_real_port_brings_the_old_one_back(site: Site) -> None:
    await site.run(site.release(1))
    (before,) = await site.containers()
    result = await site.run(site.release(2, FAILS_THE_SECOND_TIME))
    assert result.state is RolloutState.FAILED
    assert "ended with exit code 5" in result.error
    (after,) = await site.containers()
    assert (after.id, after.up, after.accepted) == (before.id, True, True)
    assert await eventually(site.answers)
    assert f"started {site.service.name} generation 1 (v0.0.1) again" in " ".join(site.lines)


@pytest.mark.parametrize(
    ("settings", "proof"),
    [
        ({"ports": (Port(8080),)}, "GET / at port 8080"),
        ({"ports": (), "health": Health(http="/", port=8080, interval=0.02, timeout=60)}, "GET / at port 8080"),
        ({"health": Health(command=("test", "-e", "/www/index.html"), interval=0.02)}, "exit code 0"),
        ({"health": Health(interval=0.02), "healthcheck": ["true"]}, "HEALTHCHECK calls it healthy"),
        ({"health": Health(interval=0.02, stable=0.1)}, "has been running for"),
    ],
)
async def test_every_proof_of_health_is_taken(site: Site, settings: dict[str, Any], proof: str) -> None:
    result = await site.run(site.release(1, **settings))
    assert result.state is RolloutState.SUCCEEDED, result.error
    assert any(proof in line for line in site.lines)


@pytest.mark.parametrize(
    ("command", "cut_at"),
    [
        (SERVE, "started the trial"),
        (SERVE, "stopped"),
        (SERVE, "started {}"),
        (SERVE, "is accepted"),
        (SERVE, "removed {}"),
        (FAILS_THE_SECOND_TIME, "stopped"),
        (FAILS_THE_SECOND_TIME, "removed {}"),
    ],
)
async def test_cut_off_and_executed_again_it_ends_right(site: Site, command: list[str], cut_at: str) -> None:
    await site.run(site.release(1))
    release = site.release(2, command)
    site.cut_at = cut_at.format(f"{site.service.name} generation")
    with pytest.raises(CutOff):
        await site.run(release)
    site.cut_at = ""
    result = await site.run(release)
    (left,) = await site.containers()
    assert (left.generation, left.accepted, left.up) == (2 if result.state is RolloutState.SUCCEEDED else 1, True, True)
    assert result.state is RolloutState.SUCCEEDED or command is not SERVE
    assert await eventually(site.answers)


async def test_a_cancelled_rollout_is_gone_on_with_later(site: Site) -> None:
    await site.run(site.release(1))
    release = site.release(2, health=Health(http="/absent", interval=0.02, timeout=60))
    running = asyncio.create_task(site.run(release))

    async def trial_is_there() -> bool:
        return any(not c.final for c in await site.containers())

    await eventually(trial_is_there)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await site.answers()
    result = await site.run(site.release(3))
    assert result.state is RolloutState.SUCCEEDED, result.error
    assert [c.generation for c in await site.containers()] == [3]


async def test_the_images_of_the_last_two_releases_stay(site: Site, docker: aiodocker.Docker) -> None:
    releases = [site.release(generation) for generation in range(1, 4)]
    for release in releases:
        await site.run(release)
    images = await docker.images.list(filters={"reference": [site.image]}, digests=True)
    kept = {name for image in images for name in image["RepoDigests"]}
    assert kept == {release.reference for release in releases[1:]}


async def test_a_release_that_crashes_over_and_over_is_observed_as_such(site: Site) -> None:
    release = site.release(1, ["sh", "-c", "sleep 0.05; exit 1"], ports=())
    await site.host.pull(release, LOGIN)
    container = await site.host.start(release)
    await site.host.accept(container.id)

    async def restarted() -> Container | None:
        seen = await site.host.inspect(container.id)
        return seen if seen and seen.restarts > 1 and seen.state is ContainerState.UNHEALTHY else None

    seen = await eventually(restarted)
    assert seen is not None
    assert seen.up


async def test_a_host_port_that_another_program_has_fails_with_what_to_do(site: Site) -> None:
    with socket.create_server(("127.0.0.1", site.service.ports[0].host)):
        result = await site.run(site.release(1))
    assert result.state is RolloutState.FAILED
    assert "choose another one" in result.hint
    assert await site.containers() == []


async def test_a_wrong_login_fails_the_rollout_with_a_reason(site: Site) -> None:
    async def credentials(image: str) -> Login | None:
        return Login("puller", "guessed")

    async def journal(line: str) -> None:
        assert "guessed" not in line

    result = await roll_out(site.host, site.release(1), credentials=credentials, journal=journal)
    assert result.state is RolloutState.FAILED
    assert "does not let local pull" in result.error
    assert "credentials" in result.hint
