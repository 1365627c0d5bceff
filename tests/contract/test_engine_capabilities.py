"""What engines can beyond a Dockerfile, each by those that have it according to the table."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lumper.build.port import BuildRequest, Cache, Capability, Limits, Login
from lumper.errors import BuildFailed, BuildRefused
from lumper.model.builds.build import Step, StepState
from lumper.model.people.people import Role
from parts.engines.context import BASE, BUSYBOX, context_tar, stream
from parts.engines.engine_bench import BENCHES, Bench, Daemons, engine_bench, engines, having
from parts.git.ssh_agent import program_with_libraries, ssh_agent
from parts.registries.live_registry import live_registry
from parts.suite.needs import lacking

PLATFORMS = ("linux/amd64", "linux/arm64")
SECRET = b"correct horse battery staple"


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path, daemons: Daemons) -> AsyncIterator[Bench]:
    async with engine_bench(request.param, tmp_path, daemons) as bench:
        yield bench


def needing(*capabilities: Capability) -> pytest.MarkDecorator:
    """Run the test by every engine that has all of these."""
    return pytest.mark.parametrize("bench", having(*capabilities), indirect=True)


def everything_pushed(bench: Bench) -> bytes:
    layers = [gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob for blob in bench.blobs.values()]
    return b"".join((*layers, *bench.manifests.values()))


@pytest.mark.parametrize("name", engines(name for name in BENCHES if name != "dummy"))
async def test_an_engine_says_of_itself_what_the_table_says(name: str, tmp_path: Path, daemons: Daemons) -> None:
    async with engine_bench(name, tmp_path, daemons) as bench:
        assert (await bench.engine.info()).capabilities >= BENCHES[name][1]


@needing(Capability.SECRETS)
async def test_a_secret_is_there_for_its_step_and_nowhere_else(bench: Bench) -> None:
    mount = "--mount=type=secret,id=token"
    dockerfile = f"{BASE}RUN {mount} sha256sum </run/secrets/token; echo {bench.mark}\nRUN ls -a /run/secrets || true\n"

    await bench.build(dockerfile, secrets={"token": SECRET, "other": b"another"})
    await bench.engine.push(bench.image(), None, bench.told.append)

    assert bench.output()[:2] == [f"{hashlib.sha256(SECRET).hexdigest()}  -", bench.mark]
    assert "token" not in bench.output()
    assert bench.mark.encode() in everything_pushed(bench)
    assert SECRET not in everything_pushed(bench)
    assert SECRET.decode() not in repr(bench.told)


@needing(Capability.SECRETS)
async def test_a_secret_that_nobody_gave_is_named(bench: Bench) -> None:
    mount = "--mount=type=secret,id=token,required=true"
    for given in ({"other": SECRET}, {}):
        with pytest.raises(BuildFailed, match=r"token.*not found"):
            await bench.build(f"{BASE}RUN {mount} echo {bench.mark}\n", secrets=given)


@needing(Capability.SSH)
async def test_a_step_reaches_the_ssh_agent_that_was_forwarded(bench: Bench) -> None:
    files = {f"root/{path}": data for path, data in program_with_libraries("ssh-add").items()}
    run = f"chmod -R 755 /usr /lib /lib64; ssh-add -l; echo {bench.mark}"

    async with ssh_agent() as agent:
        await bench.build(
            f"{BASE}COPY root /\nRUN --mount=type=ssh,id=deploy {run}\n", files=files, ssh={"deploy": agent.socket}
        )
        [line] = [line for line in bench.output() if "ED25519" in line]

    assert agent.fingerprint in line


@needing(Capability.SSH)
async def test_an_agent_that_is_gone_is_named(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="ssh agent 'default' does not answer"):
        await bench.build(
            f"{BASE}RUN --mount=type=ssh,required=true echo {bench.mark}\n", ssh={"default": f"{tmp_path}/none"}
        )


@needing(Capability.LOGINS)
async def test_a_private_base_image_is_fetched_with_the_login_for_its_registry(bench: Bench, tmp_path: Path) -> None:
    async with live_registry(tmp_path) as registry:
        base = f"{registry.host}/base:{bench.mark}"
        login = Login("token", registry.tokens[Role.ADMIN])
        await bench.build(f"{BASE}RUN echo {bench.mark} >/mark\n", image=base)
        await bench.engine.push(base, login, bench.told.append)
        await bench.engine.remove(base)

        await bench.build(f"FROM {base}\nRUN cat /mark; echo again\n", logins={registry.host: login})
        assert bench.output() == [bench.mark, "again"]

        with pytest.raises(BuildFailed, match="cannot be fetched"):
            await bench.build(f"FROM {base}\nRUN cat /mark\n", logins={"elsewhere.test": login}, pull=True)


@needing(Capability.NETWORK_NONE)
async def test_without_a_network_there_is_only_loopback(bench: Bench) -> None:
    await bench.build(f"{BASE}RUN ls /sys/class/net; echo {bench.mark}\n", network="none")

    assert bench.output() == ["lo", bench.mark]


@needing(Capability.NETWORK_HOST)
async def test_the_network_of_the_host_is_there_for_those_who_may(bench: Bench) -> None:
    before = {name for _, name in socket.if_nameindex()}
    dockerfile = f"{BASE}RUN ls /sys/class/net; echo {bench.mark}\n"

    await bench.build(dockerfile, network="host", entitlements=("network.host",))
    lasting = before & {name for _, name in socket.if_nameindex()}  # those of containers come and go
    assert lasting > {"lo"}
    assert lasting <= set(bench.output())

    with pytest.raises(BuildRefused, match=r"network\.host"):
        await bench.build(dockerfile, network="host")


@needing(Capability.DOCKERFILE_APART)
async def test_a_dockerfile_may_lie_beside_the_context_without_being_in_it(bench: Bench) -> None:
    dockerfile = f"{BASE}COPY . /x\nRUN ls /x > /dev/null; echo {bench.mark}\n"
    files: dict[str, bytes | str] = {"Dockerfile": dockerfile, "in/busybox": BUSYBOX.read_bytes()}
    request = BuildRequest(bench.mark, bench.image(), context_folder="in")
    await bench.engine.build(request, stream(context_tar(files, busybox=False)), bench.told.append)
    assert bench.mark in bench.output()
    files["Dockerfile"] = f"{BASE}COPY Dockerfile /x\n"
    with pytest.raises(BuildFailed, match="Dockerfile"):
        await bench.engine.build(request, stream(context_tar(files, busybox=False)), bench.told.append)


@pytest.mark.parametrize("bench", engines(("buildah", "buildkitd", "newer engine")), indirect=True)
async def test_what_takes_more_memory_than_it_may_is_killed(bench: Bench) -> None:
    if Capability.LIMITS not in (await bench.engine.info()).capabilities:
        lacking("whoever runs the tests may not limit what this engine runs")
    dockerfile = f"{BASE}RUN echo {bench.mark}; dd if=/dev/zero of=/dev/null bs=200M count=1 || exit 9\n"

    with pytest.raises(BuildFailed, match="exit code 9"):
        await bench.build(dockerfile, limits=Limits(memory=64 << 20, cpus=0.5))
    assert "Killed" in bench.output()
    await bench.build(dockerfile, limits=Limits(memory=512 << 20))
    await bench.build(dockerfile, limits=Limits(memory=512 << 20))
    assert StepState.CACHED in bench.last_states().values()


@needing(Capability.CACHE_INLINE, Capability.CACHE_IMPORT)
async def test_a_cache_within_an_image_is_written_and_read(bench: Bench, tmp_path: Path) -> None:
    async with live_registry(tmp_path) as registry:
        image = f"{registry.host}/cached:{bench.mark}"
        login = Login("token", registry.tokens[Role.ADMIN])
        dockerfile = f"{BASE}RUN echo {bench.mark}\n"
        await bench.build(dockerfile, image=image, cache_to=(Cache("inline"),))
        await bench.engine.push(image, login, bench.told.append)
        logins = {registry.host: login}

        await bench.build(dockerfile, cache_from=(Cache("registry", {"ref": image}),), logins=logins)
        importing = [step.state for step in bench.told if isinstance(step, Step) and "cache manifest" in step.name]
        await bench.engine.remove(image)

    assert importing[-1] in (StepState.DONE, StepState.CACHED)
    assert StepState.CACHED in bench.last_states().values()


@needing(Capability.PLATFORMS)
async def test_an_image_for_several_platforms_is_an_index_of_them_and_nothing_else(bench: Bench) -> None:
    await bench.build(f"FROM scratch\nCOPY mark /\n# {bench.mark}\n", files={"mark": bench.mark}, platforms=PLATFORMS)
    pushed = await bench.engine.push(bench.image(), None, bench.told.append)

    index = json.loads(bench.manifests[pushed.digest])
    told = ["{os}/{architecture}".format(**one["platform"]) for one in index["manifests"]]
    assert sorted(told) == list(PLATFORMS)  # buildah lists them as they were finished
    assert {one["digest"] for one in index["manifests"]} <= bench.manifests.keys()


@needing(Capability.ATTESTATIONS)
async def test_attestations_are_there_for_those_who_ask(bench: Bench) -> None:
    await bench.build(f"{BASE}RUN echo {bench.mark}\n", provenance="min")
    attested = json.loads(bench.manifests[(await bench.engine.push(bench.image(), None, bench.told.append)).digest])
    await bench.build(f"{BASE}RUN echo {bench.mark}\n")
    plain = json.loads(bench.manifests[(await bench.engine.push(bench.image(), None, bench.told.append)).digest])

    assert [one["platform"]["architecture"] for one in attested["manifests"]][1:] == ["unknown"]
    assert "layers" in plain


@needing(Capability.REWRITE_TIMESTAMP)
async def test_files_of_an_image_can_have_the_time_of_the_commit(bench: Bench) -> None:
    args = {"SOURCE_DATE_EPOCH": "1000000000"}
    dockerfile = f"{BASE}RUN echo {bench.mark} >/mark\n"

    await bench.build(dockerfile, args=args, rewrite_timestamp=True)
    first = await bench.engine.push(bench.image(), None, bench.told.append)
    await bench.build(dockerfile, args=args, rewrite_timestamp=True, no_cache=True)
    second = await bench.engine.push(bench.image(), None, bench.told.append)

    assert first.digest == second.digest


@needing(Capability.CACHE_EXPORT, Capability.CACHE_IMPORT)
async def test_a_cache_in_a_registry_makes_up_for_one_that_was_lost(bench: Bench, tmp_path: Path) -> None:
    async with live_registry(tmp_path) as registry:
        cache = Cache("registry", {"ref": f"{registry.host}/cache:{bench.mark}", "mode": "max"})
        logins = {registry.host: Login("token", registry.tokens[Role.ADMIN])}
        dockerfile = f"{BASE}RUN echo {bench.mark}\n"
        await bench.build(dockerfile, cache_to=(cache,), logins=logins)
        await bench.engine.remove(bench.image())
        await bench.engine.prune(0)

        await bench.build(dockerfile, cache_from=(cache,), logins=logins)

    states = [step.state for step in bench.told if isinstance(step, Step) and bench.mark in step.name]
    assert StepState.CACHED in states  # what follows is that the engine fetches the layer
    assert bench.output() == []
