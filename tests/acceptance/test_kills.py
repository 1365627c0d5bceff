"""`kill -9` of `lumper up` at every station: after the restart the build ends correctly, and once."""

from __future__ import annotations

import random
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest

from lumper.model.builds.build import Output
from parts.disks.kept_files import sizes_in
from parts.engines.gate import SAYS, Gate
from parts.git.forge import Forge
from parts.line.line import Line, line_of
from parts.processes.lumper_process import LumperServer
from parts.servers.ports import free_ports
from parts.servers.tcp_line import NarrowLine, opened
from parts.suite.pace import StandStill, slower
from parts.suite.waiting import wait_for

pytestmark = pytest.mark.docker

TAGS = ("1.2.3", "1.2", "1", "latest")
SOON = 25.0  # seconds from the restart until a message is in other hands; the lease of the queue would be 30
LOST = "was not heard of"  # of a build that begins again because the lease of its worker has ended
HELD = "held by the test"

# A service that is healthy only when somebody has made a file in its container.
SLOW_SERVER = """\
FROM scratch
COPY busybox /bin/busybox
COPY index.html /www/
CMD ["/bin/busybox", "sh", "-c", \
"until [ -e /ready ]; do /bin/busybox sleep 0.05; done; exec /bin/busybox httpd -f -p 8080 -h /www"]
"""


@pytest.fixture(scope="module")
def lumper(tmp_path_factory: pytest.TempPathFactory) -> LumperServer:
    return LumperServer(tmp_path_factory.mktemp("lumper") / "data")


@pytest.fixture(scope="module")
def registry_line(lumper: LumperServer) -> Iterator[NarrowLine]:
    """What the engine pushes goes through here."""
    with opened(NarrowLine("127.0.0.1", lumper.port)) as narrow:
        lumper.settings["worker.registry"] = narrow.address
        yield narrow


@pytest.fixture(scope="module")
def running(lumper: LumperServer, registry_line: NarrowLine) -> Iterator[LumperServer]:
    with lumper:
        yield lumper


@pytest.fixture
def line(running: LumperServer, forge: Forge) -> Iterator[Line]:
    if not running.running:  # the test before has failed
        running.restart()
    with line_of(running, forge) as made:
        yield made


@pytest.fixture
def told(record_property: Callable[[str, object], None]) -> Iterator[Callable[[str, Line, str], float]]:
    """Measures the seconds from the restart to a moment. No build had to wait for the end of its worker's lease.

    Those in which the machine stood still do not count, and on a slower one they are as much longer.
    """

    def measure(what: str, line: Line, at: str) -> float:
        seconds = datetime.fromisoformat(at).timestamp() - line.lumper.back_at
        seconds = (seconds - stood_still.seconds) / slower()
        record_property(what, round(seconds, 2))
        print(f"{what}: {seconds:.2f} s after the restart")
        assert LOST not in line.lumper.said
        return seconds

    with StandStill() as stood_still:
        yield measure


Told = Callable[[str, Line, str], float]


def test_killed_during_the_checkout(line: Line, forge: Forge, told: Told) -> None:
    forge.git.drip = True
    try:
        build_id = line.project.release("v1.2.3", {"big": random.randbytes(1 << 20)})
        packs = line.lumper.data / "mirrors"
        wait_for(lambda: [*packs.glob("*.git/objects/pack/tmp_pack_*")], "unfinished pack")
        line.lumper.kill()
    finally:
        forge.git.drip = False
    line.lumper.restart()
    line.check_that_it_ended_once(build_id, TAGS)
    build = line.build(build_id)
    assert build["attempt"] == 2
    told("checkout", line, build["started_at"])


def test_killed_during_the_build(line: Line, told: Told) -> None:
    gate, build_id = line.at_a_gate("v1.2.3")
    line.lumper.kill()
    gate.wait_until_nobody_waits()
    line.lumper.restart()
    gate.let_through()
    line.check_that_it_ended_once(build_id, TAGS)
    build = line.build(build_id)
    assert build["attempt"] == 2
    printed = [[r.text for r in line.log(build_id, attempt) if isinstance(r, Output)][-1] for attempt in (1, 2)]
    assert printed[0] == SAYS
    told("build", line, build["started_at"])


def test_killed_during_the_push(registry_line: NarrowLine, line: Line, told: Told) -> None:
    registry_line.hold_after(3 << 20)
    dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY big /\n"
    build_id = line.project.release("v1.2.3", {"Dockerfile": dockerfile, "big": random.randbytes(4 << 20)})
    assert registry_line.held.wait(60)
    uploads = line.lumper.data / "registry" / "uploads"
    wait_for(lambda: sum(sizes_in(uploads).values()) >= 1 << 20, "half of an upload")
    line.lumper.kill()
    registry_line.let_go()
    line.lumper.restart()
    line.check_that_it_ended_once(build_id, TAGS)
    build = line.build(build_id)
    assert build["attempt"] == 2
    told("push", line, build["started_at"])


@contextmanager
def held_result(line: Line) -> Iterator[None]:
    """As long as this lasts, the database refuses to call a build succeeded."""
    when = "BEFORE UPDATE OF state ON builds WHEN NEW.state = 'succeeded'"
    _execute(line, f"CREATE TRIGGER held {when} BEGIN SELECT RAISE(ABORT, '{HELD}'); END")
    try:
        yield
    finally:
        _execute(line, "DROP TRIGGER held")


def _execute(line: Line, statement: str) -> None:
    with closing(line.database()) as connection, connection:
        connection.execute(statement)


def test_killed_just_before_the_result_is_stored(line: Line, told: Told) -> None:
    with held_result(line):
        build_id = line.project.release("v1.2.3")
        line.lumper.wait_until_said(HELD)
        assert line.build(build_id)["state"] == "running"
        assert set(line.tags()) == {f"_build-{build_id}-1"}
        line.lumper.kill()
    line.lumper.restart()
    line.succeeded(build_id)
    assert told("result", line, datetime.now(UTC).isoformat()) < SOON
    line.check_that_it_ended_once(build_id, TAGS)


@contextmanager
def held_report(line: Line) -> Iterator[None]:
    """As long as this lasts, the outbox lets go of nothing: what was published is published again."""
    _execute(line, f"CREATE TRIGGER held BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, '{HELD}'); END")
    try:
        yield
    finally:
        _execute(line, "DROP TRIGGER held")


def test_killed_before_the_outbox_knows_what_was_published(line: Line) -> None:
    with held_report(line):
        build_id = line.project.release("v1.2.3")
        line.succeeded(build_id)
        line.mail(f"{line.project.name} v1.2.3 built")
        line.lumper.kill()
    line.lumper.restart()
    line.check_that_it_ended_once(build_id, TAGS)


def recipe(port: int) -> str:
    """A service on one port of this machine, whose health is asked often."""
    health = 'http = "/"\nport = 8080\ninterval = 0.05\ntimeout = 60'
    return f'[deploy]\nports = ["127.0.0.1:{port}:8080"]\nstop_timeout = 1\n\n[deploy.health]\n{health}\n'


def make_ready(line: Line) -> None:
    """Let all containers of the service that run now become healthy."""
    for container in line.containers():
        if container["State"]["Running"]:
            command = ["docker", "exec", container["Id"], "/bin/busybox", "touch", "/ready"]
            subprocess.run(command, capture_output=True, check=False)  # one that has just ended needs no help


def rolled_out(line: Line, build_id: int) -> str:
    """Make every container ready that comes, until the rollout has succeeded; when that was."""

    def look() -> str:
        make_ready(line)
        found = line.build(build_id)["rollout"]
        assert found is None or found["state"] != "failed", found
        return str(found["finished_at"] or "") if found and found["state"] == "succeeded" else ""

    return wait_for(look, "end of the rollout")


def test_killed_during_a_rollout(line: Line, told: Told) -> None:
    (port,) = free_ports(1)
    files = {"Dockerfile": SLOW_SERVER, "lumper.toml": recipe(port), "index.html": "one"}
    build_id = line.project.release("v1.2.3", files)
    line.succeeded(build_id)
    wait_for(lambda: [c for c in line.containers() if c["State"]["Running"]], "container")
    line.lumper.kill()
    line.lumper.restart()
    assert told("rollout", line, rolled_out(line, build_id)) < SOON
    line.check_that_it_ended_once(build_id, TAGS, deployed=True)
    assert line.page(port) == "one"


def test_killed_while_a_release_replaces_another_which_serves_on(line: Line, told: Told) -> None:
    (port,) = free_ports(1)
    files = {"Dockerfile": SLOW_SERVER, "lumper.toml": recipe(port), "index.html": "one"}
    rolled_out(line, line.project.release("v1.2.2", files))
    build_id = line.project.release("v1.2.3", files | {"index.html": "two"})
    line.succeeded(build_id)
    wait_for(lambda: len([c for c in line.containers() if c["State"]["Running"]]) == 2, "trial container")
    line.lumper.kill()
    assert line.page(port) == "one"
    line.lumper.restart()
    assert told("replacement", line, rolled_out(line, build_id)) < SOON
    (container,) = line.containers()
    assert line.build(build_id)["digest"] in container["Config"]["Image"]
    assert line.page(port) == "two"
    line.mail(f"{line.project.name} v1.2.3 runs")


def test_killed_again_and_again_the_build_is_done_in_the_end(line: Line) -> None:
    gate = Gate()
    build_id = line.project.release("v1.2.3", {"Dockerfile": gate.dockerfile})
    for attempt in (1, 2, 3):
        wait_for(lambda attempt=attempt: line.build(build_id)["attempt"] == attempt, f"attempt {attempt}")  # type: ignore[misc]
        line.wait_until_logged(build_id, SAYS)
        line.lumper.kill()
        gate.wait_until_nobody_waits()
        line.lumper.restart()
    gate.let_through()
    line.check_that_it_ended_once(build_id, TAGS)
    assert line.build(build_id)["attempt"] == 4


def test_a_delivery_whose_answer_was_not_seen_is_built_once_when_it_comes_again(line: Line, told: Told) -> None:
    commit = line.project.commit()
    line.project.repository.tag("v1.2.3", commit)
    answer = line.project.deliver("refs/tags/v1.2.3", commit, delivery="5a5a-0001")
    line.lumper.kill()
    line.lumper.restart()
    again = line.project.deliver("refs/tags/v1.2.3", commit, delivery="5a5a-0001")
    assert (again.status, again.verdict) == (200, "duplicate")
    (build_id,) = answer.builds
    line.check_that_it_ended_once(build_id, TAGS)
    assert told("delivery", line, line.build(build_id)["started_at"]) < SOON


def test_the_database_is_sound_after_all_that(line: Line) -> None:
    for number in range(3):
        line.project.release(f"v1.2.{number}")
        line.lumper.kill()
        line.lumper.restart()
    for build in line.builds():
        line.succeeded(build["id"])
    for name in ("lumper.db", "queue.db"):
        with closing(sqlite3.connect(line.lumper.data / name)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert line.image().digest("latest") == line.builds()[0]["digest"]
