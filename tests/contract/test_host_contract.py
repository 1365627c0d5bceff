"""What every kind of host does, run by the one in memory and by a real Docker Engine."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from lumper.deploy.hosts.docker import DockerHost
from lumper.deploy.hosts.memory import Image, MemoryHost
from lumper.deploy.port import Host, Login
from lumper.errors import HostUnavailable, ReleaseRefused, ReleaseUnhealthy
from lumper.model.deployment import Container, ContainerState, Port, Release, Service
from parts.engines.docker_engine import ADDRESS, remove_service
from parts.registries.static_registry import StaticRegistry, static_registry
from parts.servers.ports import free_ports
from parts.suite.eventually import eventually

SERVE = ["httpd", "-f", "-p", "8080", "-h", "/www"]
KINDS: dict[str, tuple[Image, list[str], list[str] | None]] = {
    "web": (Image(), SERVE, None),
    "crash": (
        Image(exits=3, output="one\ntwo\nno config\n"),
        ["sh", "-c", "echo one; echo two; echo no config; exit 3"],
        None,
    ),
    "deaf": (Image(http=None), ["sleep", "600"], None),
    "well": (Image(healthcheck=True), SERVE, ["true"]),
    "sick": (Image(healthcheck=False), SERVE, ["false"]),
}
LOGIN = Login("puller", "secret")


@dataclass
class Lab:
    """A host under test, the images that it can pull, and one service of its own."""

    host: Host
    unreachable: Host
    images: str
    registry: StaticRegistry | None = None
    service: str = field(default_factory=lambda: f"contract-{secrets.token_hex(4)}")

    def release(self, kind: str = "web", generation: int = 1, **settings: Any) -> Release:
        """A release of a new image of this kind."""
        image, command, healthcheck = KINDS[kind]
        name = f"{self.images}/{self.service}"
        if self.registry is None:
            digest = f"sha256:{secrets.token_hex(32)}"
            assert isinstance(self.host, MemoryHost)
            login = LOGIN if self.images == "private" else None
            self.host.images[f"{name}@{digest}"] = replace(image, login=login)
        else:
            digest = self.registry.add(command, healthcheck=healthcheck)
        return Release(Service(self.service, **settings), name, digest, generation, version=f"v{generation}")

    async def started(self, kind: str = "web", *, trial: bool = False, **settings: Any) -> Container:
        """A started container of a new release."""
        release = self.release(kind, **settings)
        await self.host.pull(release, None)
        return await self.host.start(release, trial=trial)

    async def all(self) -> list[Container]:
        """What the host shows of the service."""
        return await self.host.containers(self.service)

    async def reaches(self, container: Container, *states: ContainerState) -> Container:
        """The container when it has got to one of the states."""

        async def look() -> Container | None:
            seen = await self.host.inspect(container.id)
            return seen if seen and seen.state in states else None

        found = await eventually(look)
        assert found is not None
        return found


def by_docker(name: str) -> ParameterSet:
    return pytest.param(name, marks=pytest.mark.docker)


@pytest.fixture(params=["memory", by_docker("docker")])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    if request.param == "memory":
        unreachable = MemoryHost("unreachable")
        unreachable.reachable = False
        yield Lab(MemoryHost("here"), unreachable, images="registry")
        return
    async with static_registry() as registry:
        host, unreachable_host = (
            DockerHost("here", ADDRESS),
            DockerHost("unreachable", "unix:///nonexistent/docker.sock"),
        )
        lab = Lab(host, unreachable_host, f"{registry.address}/test", registry)
        try:
            yield lab
        finally:
            await remove_service(lab.service, f"{lab.images}/{lab.service}")
            await host.close()
            await unreachable_host.close()


@pytest.fixture(params=["memory", *map(by_docker, ("docker with Basic", "docker with a token"))])
async def private(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """A lab whose registry wants LOGIN."""
    if request.param == "memory":
        yield Lab(MemoryHost("here"), MemoryHost(), images="private")
        return
    login = (LOGIN.username, LOGIN.password)
    async with static_registry(login, bearer=request.param == "docker with a token") as registry:
        host = DockerHost("here", ADDRESS)
        lab = Lab(host, host, f"{registry.address}/test", registry)
        try:
            yield lab
        finally:
            await remove_service(lab.service, f"{lab.images}/{lab.service}")
            await host.close()


@pytest.fixture
def free_port() -> int:
    (port,) = free_ports(1)
    return port


async def test_a_started_container_shows_what_it_is_and_is_not_accepted(lab: Lab) -> None:
    release = lab.release(generation=7, env={"NAME": "value"}, volumes={"data": "/data"})
    await lab.host.pull(release, None)
    started = await lab.host.start(release)
    assert started == await lab.host.inspect(started.id)
    assert await lab.all() == [started]
    assert started in await lab.host.containers()
    assert (started.service, started.digest, started.generation) == (lab.service, release.digest, 7)
    assert (started.config_hash, started.version, started.host) == (release.service.config_hash, "v7", lab.host.name)
    assert (started.final, started.accepted, started.up) == (True, False, True)
    assert started.state is ContainerState.RUNNING
    assert started.started_at is not None


async def test_a_host_shows_no_containers_of_a_service_that_it_does_not_have(lab: Lab) -> None:
    assert await lab.all() == []


async def test_pulling_twice_is_as_good_as_once(lab: Lab) -> None:
    release = lab.release()
    await lab.host.pull(release, None)
    await lab.host.pull(release, None)
    assert (await lab.host.start(release)).up


async def test_an_image_that_the_registry_does_not_have_is_refused(lab: Lab) -> None:
    release = replace(lab.release(), digest=f"sha256:{secrets.token_hex(32)}")
    with pytest.raises(ReleaseRefused, match="not in the registry"):
        await lab.host.pull(release, None)


@pytest.mark.parametrize("login", [None, Login("puller", "wrong")])
async def test_an_image_is_not_pulled_without_the_right_login(private: Lab, login: Login | None) -> None:
    with pytest.raises(ReleaseRefused, match="does not let") as caught:
        await private.host.pull(private.release(), login)
    assert "wrong" not in caught.value.sentence


async def test_an_image_is_pulled_with_the_login_given(private: Lab) -> None:
    release = private.release()
    await private.host.pull(release, LOGIN)
    assert (await private.host.start(release)).up
    if private.registry is not None:
        assert set(private.registry.pulled_by) == {LOGIN.username}


async def test_a_start_without_the_image_is_refused_and_leaves_nothing(lab: Lab) -> None:
    with pytest.raises(ReleaseRefused):
        await lab.host.start(lab.release())
    assert await lab.all() == []


async def test_a_fixed_port_is_published_where_it_is_asked_for(lab: Lab, free_port: int) -> None:
    container = await lab.started(ports=(Port(8080, free_port),))
    assert container.ports == (Port(8080, free_port, "127.0.0.1"),)


async def test_a_port_that_is_held_already_is_refused_and_leaves_nothing(lab: Lab, free_port: int) -> None:
    holder = await lab.started(ports=(Port(8080, free_port),))
    with pytest.raises(ReleaseRefused):
        await lab.started(ports=(Port(8080, free_port),))
    assert [container.id for container in await lab.all()] == [holder.id]


async def test_a_trial_runs_beside_the_holder_of_its_port_on_a_free_one_of_loopback(lab: Lab, free_port: int) -> None:
    await lab.started(ports=(Port(8080, free_port, "0.0.0.0"),))
    trial = await lab.started(trial=True, ports=(Port(8080, free_port, "0.0.0.0"),))
    assert (trial.final, trial.accepted, trial.up) == (False, False, True)
    (port,) = trial.ports
    assert port.address == "127.0.0.1"
    assert port.host not in (0, free_port)


async def test_the_same_release_can_be_started_twice(lab: Lab) -> None:
    release = lab.release()
    await lab.host.pull(release, None)
    one, two = await lab.host.start(release), await lab.host.start(release)
    assert one.id != two.id
    assert len(await lab.all()) == 2


async def test_an_accepted_container_is_shown_as_accepted(lab: Lab) -> None:
    container = await lab.started()
    await lab.host.accept(container.id)
    seen = await lab.host.inspect(container.id)
    assert seen is not None
    assert seen.accepted


async def test_a_container_that_crashes_before_it_is_accepted_stays_ended_with_code_and_words(lab: Lab) -> None:
    container = await lab.started("crash")
    ended = await lab.reaches(container, ContainerState.EXITED)
    assert (ended.exit_code, ended.restarts, ended.up) == (3, 0, False)
    assert (await lab.host.logs(container.id, 2)).splitlines() == ["two", "no config"]


async def test_a_stopped_container_can_be_started_again_with_its_port(lab: Lab, free_port: int) -> None:
    container = await lab.started(ports=(Port(8080, free_port),))
    await lab.host.stop(container.id, 1)
    stopped = await lab.host.inspect(container.id)
    assert stopped is not None
    assert not stopped.up
    await lab.host.restart(container.id)
    again = await lab.host.inspect(container.id)
    assert again is not None
    assert (again.up, again.ports) == (True, container.ports)


async def test_a_removed_container_is_gone_running_or_not(lab: Lab) -> None:
    container = await lab.started()
    await lab.host.remove(container.id)
    assert await lab.host.inspect(container.id) is None
    assert await lab.all() == []


async def test_what_is_gone_can_be_stopped_and_removed_but_not_started_or_accepted(lab: Lab) -> None:
    gone = secrets.token_hex(32)
    await lab.host.stop(gone, 1)
    await lab.host.remove(gone)
    assert await lab.host.inspect(gone) is None
    assert await lab.host.logs(gone, 10) == ""
    for method in (lab.host.restart, lab.host.accept):
        with pytest.raises(ReleaseRefused):
            await method(gone)


@pytest.mark.parametrize("ports", [(Port(8080),), ()])
async def test_a_probe_reaches_a_port_whether_it_is_published_or_not(lab: Lab, ports: tuple[Port, ...]) -> None:
    container = await lab.started(ports=ports)

    async def ask() -> int:
        try:
            return await lab.host.probe(container, 8080, "/", 1)
        except ReleaseUnhealthy:
            return 0  # the server in the container is still on its way

    assert await eventually(ask) == 200


async def test_a_probe_of_a_port_where_nobody_listens_says_so(lab: Lab) -> None:
    container = await lab.started("deaf", ports=(Port(8080),))
    with pytest.raises(ReleaseUnhealthy, match="GET"):
        await lab.host.probe(container, 8080, "/", 1)


async def test_a_command_runs_inside_and_its_exit_code_comes_back(lab: Lab) -> None:
    container = await lab.started()
    assert await lab.host.execute(container.id, ("true",), 60) == 0
    assert await lab.host.execute(container.id, ("false",), 60) == 1


async def test_a_command_that_cannot_be_run_is_unhealthy(lab: Lab) -> None:
    container = await lab.started()
    with pytest.raises(ReleaseUnhealthy, match="cannot be run"):
        await lab.host.execute(container.id, ("nonsense",), 60)
    await lab.host.stop(container.id, 1)
    with pytest.raises(ReleaseUnhealthy, match="cannot be run"):
        await lab.host.execute(container.id, ("true",), 60)


async def test_the_images_own_health_check_is_shown(lab: Lab) -> None:
    well, sick = await lab.started("well"), await lab.started("sick")
    await lab.reaches(well, ContainerState.HEALTHY)
    await lab.reaches(sick, ContainerState.UNHEALTHY)


async def test_pruning_removes_the_images_that_are_neither_kept_nor_used(lab: Lab) -> None:
    old, kept, used = lab.release(), lab.release(), lab.release()
    for release in (old, kept, used):
        await lab.host.pull(release, None)
    await lab.host.start(used)
    assert await lab.host.prune(old.image, {kept.digest}) == [old.digest]
    assert await lab.host.prune(old.image, {kept.digest}) == []
    assert (await lab.host.start(kept)).up
    with pytest.raises(ReleaseRefused):
        await lab.host.start(old)


async def test_pruning_leaves_other_repositories_alone(lab: Lab) -> None:
    release = lab.release()
    other = replace(release, image=f"{release.image}-other")
    if isinstance(lab.host, MemoryHost):
        lab.host.images[other.reference] = Image()
    await lab.host.pull(other, None)
    assert await lab.host.prune(release.image, set()) == []
    assert (await lab.host.start(other)).up


async def test_a_host_that_cannot_be_reached_says_so(lab: Lab) -> None:
    release, gone = lab.release(), secrets.token_hex(32)
    for call in (
        lab.unreachable.containers(),
        lab.unreachable.inspect(gone),
        lab.unreachable.pull(release, None),
        lab.unreachable.start(release),
        lab.unreachable.accept(gone),
        lab.unreachable.restart(gone),
        lab.unreachable.execute(gone, ("true",), 60),
        lab.unreachable.logs(gone, 10),
        lab.unreachable.stop(gone, 1),
        lab.unreachable.remove(gone),
        lab.unreachable.prune(release.image, set()),
    ):
        with pytest.raises(HostUnavailable, match="unreachable"):
            await call


async def test_closing_twice_is_as_good_as_once(lab: Lab) -> None:
    await lab.all()
    await lab.host.close()
    await lab.host.close()
