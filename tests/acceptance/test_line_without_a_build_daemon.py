"""From `git tag` to a running container with buildah in the place of a Docker Engine: only the host runs one."""

from __future__ import annotations

import random
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lumper.build.engines.buildah.home import BuildahHome
from parts.engines.engine_bench import remove_storage
from parts.line.line import DEPLOY, Line
from parts.processes.lumper_process import LumperServer
from parts.suite.waiting import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.system]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildahHome]:
    made = BuildahHome(tmp_path_factory.mktemp("buildah") / "b")
    yield made
    remove_storage(made)


@pytest.fixture(scope="module")
def lumper(tmp_path_factory: pytest.TempPathFactory, place: BuildahHome) -> Iterator[LumperServer]:
    settings = {"worker.engine": f"buildah:{place.base}"}
    with LumperServer(tmp_path_factory.mktemp("lumper") / "data", settings) as running:
        yield running


def left_by(place: BuildahHome) -> list[Path]:
    """What builds leave nowhere but in the storage."""
    return [path for path in (*place.volatile.glob("*"), *place.base.glob("work/*")) if path.name not in ("run", "tmp")]


def test_a_version_tag_becomes_image_tags_a_mail_and_a_container_that_answers(line: Line, place: BuildahHome) -> None:
    build_id = line.project.release("v1.2.3", {"index.html": "by buildah", "lumper.toml": DEPLOY})
    build = line.succeeded(build_id, 120)
    line.check_that_it_ended_once(build_id, ("1.2.3", "1.2", "1", "latest"), deployed=True)

    assert build["size"] > 0
    (container,) = line.containers()
    assert container["Config"]["Image"] == f"{line.lumper.address}/{line.project.image}@{build['digest']}"
    port = container["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
        assert page.read() == b"by buildah"
    assert left_by(place) == []


def test_a_cancelled_build_ends_with_its_program_and_can_be_restarted(line: Line, place: BuildahHome) -> None:
    gate, build_id = line.at_a_gate("v1.0.0")
    line.lumper.client.post(f"builds/{build_id}/cancel")
    assert line.ended(build_id)["state"] == "cancelled"
    gate.wait_until_nobody_waits()
    wait_for(lambda: not left_by(place), "removal of what the cancelled build left")

    line.lumper.client.post(f"builds/{build_id}/restart")
    gate.let_through()
    line.check_that_it_ended_once(build_id, ("1.0.0", "1.0", "1", "latest"))


def sleeping(seconds: str) -> list[Path]:
    """The folders in /proc of programs that sleep for so long: who comes second has another."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().split(b"\0")[:3] == [b"/bin/busybox", b"sleep", seconds.encode()]:
                found.append(path.parent)
    return found


def test_the_program_of_a_killed_worker_ends_when_it_comes_back(line: Line, place: BuildahHome) -> None:
    seconds = str(random.randint(10_000, 1_000_000))
    sleep = f'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "sleep", "{seconds}"]\n'
    build_id = line.project.release("v1.0.0", {"Dockerfile": sleep})
    (first,) = wait_for(lambda: sleeping(seconds), "program of the first attempt")
    line.lumper.kill()
    assert first.exists()

    line.lumper.restart()
    wait_for(lambda: not first.exists(), "end of the program of the killed worker")
    (second,) = wait_for(lambda: sleeping(seconds), "program of the second attempt")
    line.lumper.client.post(f"builds/{build_id}/cancel")
    assert line.ended(build_id)["state"] == "cancelled"
    wait_for(lambda: not second.exists(), "end of the program of the second attempt")
    wait_for(lambda: not left_by(place), "removal of what both attempts left")
