"""Dockerfiles that mean harm, by every engine: they get no right of the machine, none of its files, and no reader."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lumper.build.port import BuildRequest
from lumper.errors import BuildFailed, BuildRefused, FrontendUnavailable
from lumper.model.builds.build import Step
from parts.engines.context import BASE, context_tar, stream
from parts.engines.engine_bench import BENCHES, Bench, Daemons, engine_bench

REAL = [name for name in BENCHES if name not in ("dummy", "direct", "incremental")]
READING = [name for name in REAL if name != "buildah"]
"""Engines that let an image read the Dockerfile."""


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path, daemons: Daemons) -> AsyncIterator[Bench]:
    async with engine_bench(request.param, tmp_path, daemons) as bench:
        yield bench


by_all = pytest.mark.parametrize("bench", REAL, indirect=True)
by_readers = pytest.mark.parametrize("bench", READING, indirect=True)


@by_all
async def test_rights_of_the_machine_are_refused_unless_granted(bench: Bench) -> None:
    for flag in ("--network=host", "--security=insecure", "--device=vendor.com/device=all"):
        with pytest.raises((BuildRefused, BuildFailed)):  # parsers of old engines do not even know such flags
            await bench.build(f"{BASE}RUN {flag} echo never {bench.mark}\n")
        assert f"never {bench.mark}" not in bench.output()


@by_all
async def test_files_of_the_machine_are_not_there_to_be_mounted(bench: Bench) -> None:
    for mount in ("source=/var/run/docker.sock", "source=/etc/shadow", "source=../../../etc/shadow"):
        with pytest.raises(BuildFailed):
            await bench.build(f"{BASE}RUN --mount=type=bind,{mount},target=/stolen cat /stolen {bench.mark}\n")
        assert not [line for line in bench.output() if line.startswith("root:")]


@by_all
async def test_a_link_to_a_file_of_the_machine_is_a_link_and_not_that_file(bench: Bench) -> None:
    links = {"link": "/etc/shadow", "folder/link": "/etc/shadow", "up": "../../../../etc/shadow"}
    for line in ("COPY link /copied", "COPY up /copied", "COPY folder/ /copied/\nRUN cat /copied/link"):
        context = context_tar({"Dockerfile": f"{BASE}{line}\n", "folder/file": bench.mark}, links=links)
        with pytest.raises(BuildFailed, match=r"not found|no such file|exit code 1"):
            await bench.engine.build(BuildRequest(bench.mark, bench.image()), stream(context), bench.told.append)
        assert not [line for line in bench.output() if line.startswith("root:")]


@by_readers
async def test_a_syntax_image_that_was_not_granted_is_not_even_asked_for(bench: Bench) -> None:
    for line in ("# syntax=registry.invalid/evil:1", "#syntax = registry.invalid/evil"):
        await bench.build(f"{line}\n{BASE}")
        assert not [record for record in bench.told if isinstance(record, Step) and "registry.invalid" in record.name]
    await bench.build(BASE, args={"BUILDKIT_SYNTAX": "registry.invalid/evil:1"})
    assert not [record for record in bench.told if isinstance(record, Step) and "registry.invalid" in record.name]


@by_readers
async def test_a_syntax_image_out_of_reach_fails_soon_and_says_what_to_do(bench: Bench) -> None:
    name = "registry.invalid/dockerfile:1"
    async with asyncio.timeout(60):
        with pytest.raises(
            FrontendUnavailable, match=r"syntax image registry\.invalid/dockerfile:1 cannot be"
        ) as caught:
            await bench.build(f"# syntax={name}\n{BASE}", frontend=name)
    assert "Remove that line" in caught.value.hint


@by_all
async def test_cache_mounts_belong_to_one_namespace(bench: Bench) -> None:
    async def run(step: str, namespace: str, mount: str = "target=/cache", **more: Any) -> None:
        line = f"RUN --mount=type=cache,{mount} {step} # {uuid.uuid4()}\n"
        await bench.build(BASE + line, cache_mounts=namespace, **more)

    await run(f"echo kept > /cache/{bench.mark}", "project-a")
    for mount in ("target=/cache", "id=/cache,target=/cache", "id=../project-a//cache,target=/cache"):
        await run(f"test ! -e /cache/{bench.mark}", "project-b", mount)
    await run(f"test ! -e /cache/{bench.mark}", "project-b", args={"BUILDKIT_CACHE_MOUNT_NS": "project-a"})
    await run(f"cat /cache/{bench.mark}", "project-a")
    assert "kept" in bench.output()


@by_all
async def test_a_cache_mount_leads_to_no_file_of_the_machine(bench: Bench) -> None:
    shown = f"cat /x/hostname /x/passwd 2>/dev/null; true {bench.mark}"
    for mount in ("id=../../../../../../../../../../../etc,target=/x", "target=../../../../../../../../etc"):
        with suppress(BuildFailed):
            await bench.build(f"{BASE}RUN --mount=type=cache,{mount} {shown}\n", cache_mounts="a")
        assert not [line for line in bench.output() if line.startswith("root:")]
    links = f"RUN --mount=type=cache,target=/root ln -sfn /etc /root/x # {bench.mark}\n"
    mounted = f"RUN --mount=type=cache,target=/root/x cat /root/x/passwd {bench.mark} || true\n"
    await bench.build(f"{BASE}{links}{mounted}", cache_mounts="a")
    assert not [line for line in bench.output() if line.startswith("root:")]
