from __future__ import annotations

import base64
import csv
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from lumper.build.engines.buildkit.progress import ProgressReader
from lumper.build.engines.buildx.choosing import ChoosingEngine, first_may_build, share
from lumper.build.engines.buildx.commands import Shop, build_arguments
from lumper.build.engines.buildx.context import without_syntax_image
from lumper.build.engines.buildx.program import environment, find_buildx
from lumper.build.engines.buildx.rawjson import RawJsonReader
from lumper.build.engines.buildx.syntax import without_syntax
from lumper.build.engines.dummy import DummyEngine
from lumper.build.port import BuildRequest, Cache, Capability, Limits
from lumper.errors import EngineLacks, EngineUnavailable
from lumper.model.builds.build import Base, Output, Progress, Step, StepState
from parts.engines.context import context_tar, stream

SHOP = Shop(Path("/w/context.tar"), {}, Path("/w/result"))
REQUEST = BuildRequest("1-1", "registry.test/app:1")
VERTEX = "sha256:" + "b1" * 32
STARTED, ENDED = "2026-01-01T00:00:01.000000001Z", "2026-01-01T00:00:02.5+00:00"

RUN = {"digest": VERTEX, "name": "[2/2] RUN make", "started": STARTED}
SAID = [
    {"vertexes": [RUN]},
    {"logs": [{"vertex": VERTEX, "stream": 2, "data": base64.b64encode(b"oh no\n").decode(), "timestamp": STARTED}]},
    {"statuses": [{"id": "transferring", "vertex": VERTEX}]},
    {"vertexes": [{**RUN, "completed": ENDED, "error": 'process "make" did not complete successfully: exit code: 3'}]},
]
WORDS = "Dockerfile:2\n--------------------\n   2 | >>> RUN make\n--------------------\n"
ERROR = 'process "make" did not complete successfully: exit code: 3'


def arguments(shop: Shop = SHOP, **more: object) -> list[str]:
    return build_arguments(replace(REQUEST, **more), shop, "lumper")  # type: ignore[arg-type]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("prefix", ["ERROR: failed to solve: ", "ERROR: failed to build: failed to solve: "])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_old_and_new_versions_are_read_in_whatever_pieces_they_come(indent: int | None, prefix: str, size: int) -> None:
    told: list[Progress] = []
    progress = ProgressReader(told.append)
    reader = RawJsonReader(progress.receive)
    said = "".join(json.dumps(one, indent=indent) + "\n" for one in SAID) + WORDS + prefix + ERROR
    for start in range(0, len(said), size):
        reader.hear(True, 2, said[start : start + size].encode())
    reader.finish()

    assert [one.text if isinstance(one, Output) else (one.name, one.state) for one in told] == [
        ("[2/2] RUN make", StepState.RUNNING),
        "oh no",
        ("[2/2] RUN make", StepState.FAILED),
    ]
    assert [step.error for step in progress.failures] == [ERROR]
    assert reader.error == f"failed to solve: {ERROR}"
    assert [one.at for one in told if isinstance(one, Step)][-1] == pytest.approx(1767225602.5)


def test_words_without_any_message_are_the_error() -> None:
    reader = RawJsonReader(lambda _: None)
    reader.hear(True, 2, b'ERROR: no builder "lumper" found\n')
    assert reader.error == 'no builder "lumper" found'


def test_no_value_can_be_taken_for_an_option_or_another_field() -> None:
    evil = "--push,type=registry"
    made = arguments(
        replace(SHOP, secrets={evil: Path("/m/secret-0")}, result=Path(f"/w/{evil}")),
        args={evil: evil},
        labels={evil: evil},
        target=evil,
        image=evil,
        network=evil,
        platforms=(evil,),
        cache_from=(Cache("registry", {"ref": evil}),),
        entitlements=(evil,),
    )

    assert evil not in made
    assert made[-2:] == ["--", "-"]
    (output,) = [one.removeprefix("--output=") for one in made if one.startswith("--output=")]
    assert next(csv.reader([output])) == ["type=oci", f"dest=/w/{evil}", "tar=false", f"name={evil}"]
    (secret,) = [one.removeprefix("--secret=") for one in made if one.startswith("--secret=")]
    assert next(csv.reader([secret])) == [f"id={evil}", "src=/m/secret-0"]
    (cache,) = [one.removeprefix("--cache-from=") for one in made if one.startswith("--cache-from=")]
    assert next(csv.reader([cache])) == ["type=registry", f"ref={evil}"]


def test_attestations_are_made_only_if_they_are_asked_for() -> None:
    assert {"--provenance=false", "--sbom=false"} <= set(arguments())
    assert {"--provenance=mode=max", "--sbom=true"} <= set(arguments(provenance="max", sbom=True))


def test_caches_platforms_pins_and_times_are_handed_on() -> None:
    made = arguments(
        cache_to=(Cache("registry", {"ref": "registry.test/cache", "mode": "max"}), Cache("inline")),
        platforms=("linux/amd64", "linux/arm64"),
        bases=(Base("docker.io/library/alpine:3.20", "sha256:ab"),),
        rewrite_timestamp=True,
        pull=True,
        no_cache=True,
    )

    assert "--cache-to=type=registry,image-manifest=true,oci-mediatypes=true,ref=registry.test/cache,mode=max" in made
    assert "--cache-to=type=inline" in made
    assert "--platform=linux/amd64,linux/arm64" in made
    assert "--build-context=alpine:3.20=docker-image://docker.io/library/alpine:3.20@sha256:ab" in made
    assert any(one.startswith("--output=") and one.endswith("rewrite-timestamp=true") for one in made)
    assert {"--pull", "--no-cache"} <= set(made)


def test_only_the_syntax_image_that_was_granted_is_asked_for() -> None:
    asked = {"BUILDKIT_SYNTAX": "evil.test/frontend"}
    assert not any("evil" in one for one in arguments(args=asked))
    assert "--build-arg=BUILDKIT_SYNTAX=docker/dockerfile:1" in arguments(args=asked, frontend="docker/dockerfile:1")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"FROM scratch\n# syntax=x\n", b"FROM scratch\n# syntax=x\n"),
        (b"# syntax=x\nFROM scratch\n", b"\nFROM scratch\n"),
        (b"# syntax=x\n# escape=`\nFROM scratch\n", b"# escape=`\n\nFROM scratch\n"),
        (b"\xef\xbb\xbf#!/x\n#Syntax = x\r\n# check=skip=all\r\nRUN", b"\xef\xbb\xbf#!/x\n# check=skip=all\r\n\nRUN"),
        (b"# hello\n# syntax=x\n", b"# hello\n# syntax=x\n"),
        (b"", b""),
    ],
)
def test_a_dockerfile_keeps_all_but_its_syntax_line_in_as_many_lines(before: bytes, after: bytes) -> None:
    assert without_syntax(before) == after
    assert after.count(b"\n") == before.count(b"\n")


@pytest.mark.parametrize("name", ["Dockerfile", "link", "docker/../link"])
def test_a_context_without_the_syntax_line_is_otherwise_the_same(tmp_path: Path, name: str) -> None:
    files = {"Dockerfile": "# syntax=evil.test/x\nFROM scratch\n", "other": "text"}
    context = tmp_path / "context.tar"
    context.write_bytes(context_tar(files, links={"link": "./Dockerfile", "out": "/etc/passwd"}))

    made = without_syntax_image(context, name)

    with tarfile.open(context) as before, tarfile.open(made) as after:
        assert after.getnames() == before.getnames()
        assert [(one.mode, one.mtime, one.type) for one in after] == [(one.mode, one.mtime, one.type) for one in before]
        contents = {one: file.read() for one in ("Dockerfile", "other", "busybox") if (file := after.extractfile(one))}
    assert contents["Dockerfile"] == b"\nFROM scratch\n"
    assert contents["other"] == b"text"


@pytest.mark.parametrize("name", ["other", "out", "none", "loop"])
def test_a_context_that_asks_for_no_syntax_image_stays_as_it_is(tmp_path: Path, name: str) -> None:
    context = tmp_path / "context.tar"
    links = {"out": "/etc/passwd", "loop": "loop"}
    context.write_bytes(context_tar({"other": "FROM scratch\n"}, links=links))
    assert without_syntax_image(context, name) == context


def test_logins_are_those_of_the_build_and_builders_those_of_the_operator(tmp_path: Path) -> None:
    outer = {"HOME": "/root", "PATH": "/bin", "BUILDX_BUILDER": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    made = environment(tmp_path, tmp_path / "login", outer)

    assert made["DOCKER_CONFIG"] == str(tmp_path / "login")
    assert made["BUILDX_CONFIG"] == "/root/.docker/buildx"
    assert "AWS_SECRET_ACCESS_KEY" not in made
    assert "BUILDX_BUILDER" not in made


def test_the_plugin_is_found_where_docker_finds_it(tmp_path: Path) -> None:
    plugin = tmp_path / "cli-plugins/docker-buildx"
    plugin.parent.mkdir()
    plugin.touch(mode=0o755)
    assert find_buildx({"DOCKER_CONFIG": str(tmp_path), "PATH": ""}) == str(plugin)


async def test_what_the_first_engine_lacks_the_other_builds_and_pushes() -> None:
    first, other = DummyEngine(capabilities=(Capability.SECRETS,)), DummyEngine(capabilities={Capability.PLATFORMS})
    engine = ChoosingEngine(first, other, frozenset({Capability.PLATFORMS}))
    context = context_tar({"Dockerfile": "FROM scratch\nRUN true\n"})
    many = {"platforms": ("linux/amd64", "linux/arm64")}

    await engine.build(REQUEST, stream(context), lambda _: None)
    assert (len(first.requests), len(other.requests)) == (1, 0)
    await engine.build(replace(REQUEST, secrets={"t": b"x"}), stream(context), lambda _: None)
    assert (len(first.requests), len(other.requests)) == (2, 0)
    await engine.build(replace(REQUEST, **many), stream(context), lambda _: None)  # type: ignore[arg-type]
    assert (len(first.requests), len(other.requests)) == (2, 1)

    assert await first.images("") == []  # the name means the newer image
    assert await engine.images("") == [REQUEST.image]
    pushed = await engine.push(REQUEST.image, None, lambda _: None)
    assert list(other.pushed) == [pushed.digest]
    assert first.pushed == {}
    await engine.remove(REQUEST.image)
    assert await engine.images("") == []

    with pytest.raises(EngineLacks, match="limits of memory"):
        await engine.build(replace(REQUEST, limits=Limits(1)), stream(context), lambda _: None)


async def test_both_together_can_what_either_can_and_the_first_goes_on_alone() -> None:
    first, more = DummyEngine(capabilities={Capability.SECRETS}), frozenset({Capability.PLATFORMS})
    both = ChoosingEngine(first, DummyEngine(capabilities=more), more)
    alone = ChoosingEngine(first, DummyEngine(down=True), more)
    context = context_tar({"Dockerfile": "FROM scratch\n"})

    for engine in (both, alone):
        assert (await engine.info()).capabilities == {Capability.SECRETS, Capability.PLATFORMS}
    assert "cannot be reached" in (await alone.info()).version
    assert await alone.cache_size() == 0
    assert await alone.prune(0) == 0
    await alone.build(REQUEST, stream(context), lambda _: None)
    with pytest.raises(EngineUnavailable):
        await alone.build(replace(REQUEST, platforms=("linux/amd64", "linux/arm64")), stream(context), lambda _: None)


def test_the_limit_of_the_cache_is_shared_by_size() -> None:
    assert [share(100, size, 400) for size in (100, 300)] == [25, 75]
    assert share(100, 0, 0) == 100
    assert first_may_build({Capability.SECRETS}, {Capability.SECRETS, Capability.SSH})
    assert not first_may_build({Capability.SECRETS, Capability.SSH}, {Capability.SECRETS})
