"""Whatever is wrong at a station: people are told what it is and what to do, and nothing is lost."""

from __future__ import annotations

import contextlib
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from parts.disks.kept_files import sizes_in
from parts.disks.small_disk import small_disk
from parts.engines.docker_engine import ADDRESS
from parts.git.forge import Forge
from parts.line.line import Line, body_of, line_of, mails_in
from parts.processes.lumper_process import LumperServer
from parts.registries.registry_reader import wrong_blobs
from parts.servers.background import in_background
from parts.servers.ports import free_ports
from parts.servers.smtp import smtp_server
from parts.suite.waiting import wait_for
from parts.web.first_user import pages

pytestmark = [pytest.mark.docker, pytest.mark.system]

TAGS = ("1.0.0", "1.0", "1", "latest")


def mailed(line: Line, words: str) -> str:
    """The text of the mail about a failure."""
    return " ".join(body_of(line.mail(f"{line.project.name_at_lumper} {words}")).split())


# the git server


@pytest.fixture(scope="module")
def away(lumper: LumperServer, forge: Forge) -> Iterator[tuple[Line, int]]:
    """A project whose git server does not answer, and its build, begun early because it is tried three times."""
    (port,) = free_ports(1)
    with line_of(lumper, forge, url=f"http://127.0.0.1:{port}/acme/away.git") as line:
        yield line, line.project.release("v1.0.0")


@dataclass
class Waiting:
    """A Lumper that cannot do its work, and a build that it was given."""

    line: Line
    build_id: int
    place: Path


@pytest.fixture(scope="module")
def without_engine(tmp_path_factory: pytest.TempPathFactory, forge: Forge) -> Iterator[Waiting]:
    """The place is where the engine's socket is missing."""
    folder = tmp_path_factory.mktemp("without-engine")
    lumper = LumperServer(folder / "data", {"worker.engine": f"unix://{folder / 'docker.sock'}"})
    with lumper, line_of(lumper, forge) as line:
        yield Waiting(line, line.project.release("v1.0.0"), folder / "docker.sock")


@pytest.fixture(scope="module")
def with_full_registry(tmp_path_factory: pytest.TempPathFactory, forge: Forge) -> Iterator[Waiting]:
    """The place is the registry's folder, a small disk, in which one image has its place and the next one has not."""
    lumper = LumperServer(tmp_path_factory.mktemp("full") / "data", {"registry.keep_free": "0"})
    registry = lumper.data / "registry"
    dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY big /\n"
    with small_disk(registry, "4m"), lumper, line_of(lumper, forge) as line:
        line.succeeded(line.project.release("v1.0.0"))
        files: dict[str, bytes | str] = {"Dockerfile": dockerfile, "big": random.randbytes(6 << 20)}
        yield Waiting(line, line.project.release("v1.0.1", files), registry)


# What is tried three times takes its time: it begins here, and the tests of its end come last.
@pytest.mark.usefixtures("away", "without_engine", "with_full_registry")
def test_a_repository_without_a_dockerfile(line: Line) -> None:
    commit = line.project.repository.commit({"README": "nothing to build"})
    line.project.repository.tag("v1.0.0", commit)
    (build_id,) = line.project.deliver("refs/tags/v1.0.0", commit).builds
    build = line.failed(build_id)
    assert build["error"] == f"There is no Dockerfile at commit {commit[:12]}."
    assert "Add a Dockerfile at the root" in build["hint"]
    assert build["attempt"] == 1
    mail = mailed(line, "v1.0.0 failed")
    assert build["error"] in mail
    assert "Add a Dockerfile at the root" in mail
    assert build["error"] in line.text(build_id)
    line.succeeded(line.project.release("v1.0.1"))


def test_a_broken_recipe_is_told_with_all_its_errors_and_their_lines(line: Line) -> None:
    recipe = '[build]\ndockerfil = "x"\ncontext = "../.."\n\n[deploy]\nports = ["eighty"]\nstop_timeout = "long"\n'
    build_id = line.project.release("v1.0.0", {"lumper.toml": recipe})
    build = line.failed(build_id)
    problems = (
        "lumper.toml has 4 problems:",
        "line 2: build.dockerfil: there is no such key; did you mean `dockerfile`?",
        "line 3: build.context: ",
        "line 6: deploy.ports",
        "line 7: deploy.stop_timeout: give a number",
    )
    mail = mailed(line, "v1.0.0 failed")
    for problem in problems:
        assert problem in build["error"]
        assert problem in mail
        assert problem in line.text(build_id)
    assert line.tags() == {}


def test_a_tag_that_was_deleted_before_it_could_be_fetched(line: Line) -> None:
    commit = line.project.commit()
    line.project.repository.git("update-ref", "-d", "refs/heads/main")
    line.project.repository.git("gc", "-q", "--prune=now")
    (build_id,) = line.project.deliver("refs/tags/v1.0.0", commit).builds
    build = line.failed(build_id)
    assert build["error"] == f"{line.project.url} has no v1.0.0."
    assert "push it again" in build["hint"]


# the disk


def fill(folder: Path) -> Path:
    """Leave no space at all; the file to remove."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", 0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def test_on_a_full_disk_no_delivery_is_taken_and_a_build_that_runs_ends_when_there_is_space(
    tmp_path: Path, forge: Forge
) -> None:
    lumper = LumperServer(tmp_path / "data", {"registry.keep_free": "0"})
    with small_disk(lumper.data, "24m"), lumper, line_of(lumper, forge) as line:
        gate, build_id = line.at_a_gate("v1.0.0")
        ballast = fill(lumper.data)
        gate.let_through()
        answer = line.project.push_tag("v1.0.1")
        assert (answer.status, answer.builds) == (503, ())
        assert "Send it again later" in answer.reason
        lumper.wait_until_said("The disk is full")
        lumper.wait_until_said("Free some space")
        ballast.unlink()
        line.check_that_it_ended_once(build_id, TAGS)

        commit = line.project.repository.git("rev-parse", "refs/tags/v1.0.1")
        (build_id,) = line.project.deliver("refs/tags/v1.0.1", commit).builds
        build = line.succeeded(build_id)
        assert line.image().digest("latest") == build["digest"]


# the mail server


def test_a_mail_server_that_is_away_gets_the_mail_later_and_what_it_refuses_is_kept(
    tmp_path: Path, forge: Forge
) -> None:
    (port,) = free_ports(1)
    settings = {"mail.host": "127.0.0.1", "mail.port": str(port), "mail.security": "none"}
    lumper = LumperServer(tmp_path / "data", settings)
    with lumper, line_of(lumper, forge) as line:
        line.succeeded(line.project.release("v1.0.0"))
        lumper.wait_until_said("queue.retry")
        assert "127.0.0.1" in lumper.said
        with in_background(smtp_server(None, auth=False, port=port)) as mailbox:
            wait_for(lambda: mailbox.received, "mail")
            assert mailbox.received[0].recipients == ["ada@example.org"]
            assert mails_in(lumper.data / "mail") == []

            mailbox.answer_to_rcpt["ada@example.org"] = "550 5.1.1 no such user here"
            line.succeeded(line.project.release("v1.0.1"))
            mail = line.mail(f"{line.project.name} v1.0.1 built")
            assert mail["To"] == "ada@example.org"
            assert len(mailbox.received) == 1
        assert "no such user here" in lumper.said
        with pages(lumper).open(f"{lumper.url}/mail", timeout=60) as response:
            assert f"{line.project.name} v1.0.1 built" in response.read().decode()


# what is tried again


def test_a_git_server_that_is_away_is_tried_again_and_then_told(away: tuple[Line, int]) -> None:
    line, build_id = away
    build = line.failed(build_id)
    assert build["attempt"] == 3
    assert "cannot be fetched" in build["error"]
    assert "Connection refused" in build["error"] or "Failed to connect" in build["error"]
    assert "Check the URL" in build["hint"]
    mail = mailed(line, "v1.0.0 failed")
    assert "cannot be fetched" in mail
    assert "Check the URL" in mail
    assert "cannot be fetched" in line.text(build_id, attempt=1)


def test_an_engine_that_is_gone_is_told_and_the_build_succeeds_when_it_is_back(without_engine: Waiting) -> None:
    line, build_id, socket = without_engine.line, without_engine.build_id, without_engine.place
    build = line.failed(build_id)
    assert build["attempt"] == 3
    assert build["error"] == f"The build engine at unix://{socket} cannot be reached: No such file or directory."
    assert "[worker] engine" in build["hint"]
    assert "cannot be reached" in mailed(line, "v1.0.0 failed")

    waiting = line.project.release("v1.0.1")
    wait_for(lambda: line.build(waiting)["attempt"] == 2, "second attempt")
    socket.symlink_to(ADDRESS.removeprefix("unix://"))
    assert line.succeeded(waiting)["tags"] == ["1.0.1", "1.0", "1", "latest"]
    line.lumper.client.post(f"builds/{build_id}/restart")
    build = line.succeeded(build_id)
    assert (build["tags"], build["error"], build["hint"]) == (["1.0.0"], "", "")


def test_a_full_registry_is_told_and_the_build_succeeds_when_there_is_space(with_full_registry: Waiting) -> None:
    line, build_id, registry = with_full_registry.line, with_full_registry.build_id, with_full_registry.place
    build = line.failed(build_id)
    assert "no space" in build["error"]
    assert "free some there, then build again" in build["hint"]
    assert "free some there" in mailed(line, "v1.0.1 failed")
    assert set(line.tags()) == {"1.0.0", "1.0", "1", "latest"}
    line.image().pull("latest")
    assert [path for path, size in sizes_in(registry / "uploads").items() if size] == []

    subprocess.run(["mount", "-o", "remount,size=64m", str(registry)], check=True)
    line.lumper.client.post(f"builds/{build_id}/restart")
    build = line.succeeded(build_id)
    assert line.image().digest("latest") == build["digest"]
    line.image().pull("latest")
    assert wrong_blobs(line.lumper.data) == []
