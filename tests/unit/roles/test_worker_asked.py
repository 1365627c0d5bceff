"""What a recipe asks for, and what a build is given, as the engine gets it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lumper.build.engines.dummy import DummyEngine
from lumper.build.grants import Grants
from lumper.build.port import Limits, Login
from lumper.build.replication import BuiltImage, Elsewhere
from lumper.model.builds.build import Outcome
from lumper.model.builds.secrets import GivenSecrets
from lumper.model.events import AttemptFinished
from parts.line.worker_bench import Bench, printed


async def test_the_engine_gets_what_the_recipe_asks_for_within_what_the_worker_grants(bench: Bench) -> None:
    toml = '[build]\nplatforms = ["linux/arm64"]\nmemory = "1GiB"\ncache = true\nreproducible = true\n'
    await bench.give(bench.tag("v1.0.1", "FROM scratch\n", toml))
    builder = replace(bench.builder, grants=Grants(limits=Limits(2 << 30, 1.0)))
    async with bench.at_work(builder) as ear:
        [finished] = await ear.until(AttemptFinished)
    assert finished.result.outcome is Outcome.SUCCEEDED, finished.result
    [request] = bench.engine.requests
    assert (request.platforms, request.limits) == (("linux/arm64",), Limits(1 << 30, 1.0))
    assert request.cache_from[0].attributes == {"ref": "registry.test/owner/app:buildcache"}
    assert request.rewrite_timestamp
    assert finished.result.parameters["platforms"] == ["linux/arm64"]


async def test_a_cache_that_the_engine_cannot_keep_is_left_out_and_the_log_says_so(bench: Bench) -> None:
    bench.engine = DummyEngine(capabilities=())
    await bench.give(bench.tag("v1.0.1", "FROM scratch\n", "[build]\ncache = true\n"))
    async with bench.at_work(replace(bench.builder, engine=bench.engine)) as ear:
        [finished] = await ear.until(AttemptFinished)
    assert finished.result.outcome is Outcome.SUCCEEDED, finished.result
    assert bench.engine.requests[0].cache_to == ()
    assert bench.engine.requests[0].logins == {}
    assert "only the cache of its own is used" in printed(ear, 1)


async def test_what_the_engine_lacks_or_the_worker_does_not_grant_fails_before_the_engine_builds(bench: Bench) -> None:
    bench.engine = DummyEngine(capabilities=())
    await bench.give(
        bench.tag("v1.0.1", "FROM scratch\n", "[build]\nsbom = true\n"),
        bench.tag("v1.0.2", "FROM scratch\n", '[build]\nnetwork = "host"\n'),
        bench.tag("v1.0.3", "FROM scratch\n", '[build]\ncache = { to = ["inline"] }\n'),
    )
    async with bench.at_work(replace(bench.builder, engine=bench.engine)) as ear:
        finished = await ear.until(AttemptFinished, 3)
    assert bench.engine.requests == []
    assert "attestations" in finished[0].result.error
    assert "does not grant" in finished[1].result.error
    assert "caches within images" in finished[2].result.error


@pytest.mark.parametrize(
    ("toml", "words"),
    [("timeout = 0.1", "did not end within 0.1 seconds"), ("silence_timeout = 0.1", "printed nothing for")],
)
async def test_a_recipe_can_end_its_own_build(bench: Bench, toml: str, words: str) -> None:
    await bench.give(bench.tag("v1.0.1", "FROM scratch\nRUN wait\n", f"[build]\n{toml}\n"))
    async with bench.at_work() as ear:
        [finished] = await ear.until(AttemptFinished)
    assert finished.result.outcome is Outcome.FAILED
    assert words in finished.result.error
    assert bench.engine.running == []


ASKING = '[build]\nsecrets = { token = "npm" }\n'
READING = "FROM scratch\nRUN --mount=type=secret,id=token cat /run/secrets/token\n"


async def test_a_build_is_given_its_secrets_and_nobody_sees_them(bench: Bench) -> None:
    bench.given.append(
        GivenSecrets({"npm": b"s3cr3t-of-npm"}, {}, {"docker.io": ("bot", "hub-passw0rd")}, registry="r.org")
    )
    await bench.give(
        bench.tag("v1.0.1", READING + "RUN echo s3cr3t-of-npm hub-passw0rd czNjcjN0LW9mLW5wbQ==\n", ASKING)
    )
    async with bench.at_work() as ear:
        [finished] = await ear.until(AttemptFinished)
    assert finished.result.outcome is Outcome.SUCCEEDED, finished.result
    [request] = bench.engine.requests
    assert request.secrets == {"token": b"s3cr3t-of-npm"}
    assert request.logins == {
        "docker.io": Login("bot", "hub-passw0rd"),
        "registry.test": Login("_build-1-1", "t"),
        "r.org": Login("_build-1-1", "t"),
    }
    assert finished.result.parameters["secrets"] == ["token"]
    said = printed(ear, 1)
    assert said.count("***") >= 4
    for secret in ("s3cr3t", "passw0rd", "czNjcjN0"):
        assert secret not in said
        assert secret not in repr(finished)


async def test_a_secret_that_is_missing_fails_the_build_before_the_engine_is_asked(bench: Bench) -> None:
    await bench.give(bench.tag("v1.0.1", READING, ASKING))
    async with bench.at_work() as ear:
        [finished] = await ear.until(AttemptFinished)
    assert bench.engine.requests == []
    assert "the secret npm" in finished.result.error
    assert finished.result.hint == "lumper secret set owner/app npm < FILE"
    assert not finished.result.temporary


def new_key(file: Path) -> bytes:
    """A private key as OpenSSH makes it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file.read_bytes()


async def test_a_key_reaches_the_engine_as_the_socket_of_an_agent(bench: Bench, tmp_path: Path) -> None:
    bench.given.append(GivenSecrets(keys={"default": new_key(tmp_path / "key")}))
    await bench.give(bench.tag("v1.0.1", "FROM scratch\nRUN sleep 0.1\n", "[build]\nssh = true\n"))
    async with bench.at_work() as ear:
        [finished] = await ear.until(AttemptFinished)
    assert finished.result.outcome is Outcome.SUCCEEDED, finished.result
    socket = bench.engine.requests[0].ssh["default"]
    assert "lumper-ssh-" in socket
    assert not Path(socket).exists()


async def test_the_agent_of_the_worker_serves_the_ids_that_the_project_has_no_key_for(
    bench: Bench, tmp_path: Path
) -> None:
    bench.given += [GivenSecrets(keys={"vendor": new_key(tmp_path / "key")})]
    job = bench.tag("v1.0.1", "FROM scratch\n", '[build]\nssh = ["default", "vendor"]\n')
    await bench.give(job, replace(job, build_id=2, project="other/app"))
    grants = Grants(agent="/operator/agent", agent_for={job.project: ()})
    async with bench.at_work(replace(bench.builder, grants=grants)) as ear:
        first, second = await ear.until(AttemptFinished, 2)
    assert first.result.outcome is Outcome.SUCCEEDED, first.result
    [request] = bench.engine.requests
    assert request.ssh["default"] == "/operator/agent"
    assert "lumper-ssh-" in request.ssh["vendor"]
    assert "the ssh key default" in second.result.error


async def test_what_is_built_once_more_to_be_compared_goes_to_no_other_registry(bench: Bench) -> None:
    toml = '[build]\npush = ["other.test/team/app"]\n'
    went: list[tuple[str, str]] = []

    async def copy(image: BuiltImage, place: Elsewhere, _: object) -> None:
        went.append((image.digest, place.repository))

    first = bench.tag("v1.0.1", "FROM scratch\n", toml)
    again = replace(first, build_id=2, push_tag="_build-2-1", trigger="verify", verifies=1)
    bench.given.append(GivenSecrets(logins={"other.test": ("bot", "passw0rd")}, registry="r.org"))
    await bench.give(first, again)
    async with bench.at_work(replace(bench.builder, copy=copy)) as ear:
        ended = {one.build_id: one.result for one in await ear.until(AttemptFinished, 2)}
    assert [result.outcome for result in ended.values()] == [Outcome.SUCCEEDED] * 2, ended
    assert went == [(ended[1].digest, "other.test/team/app")]
    assert ended[1].elsewhere
    assert ended[2].elsewhere == ()
