"""The whole line with every role a process of its own, over RabbitMQ and with a real mail server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from lumper.model.events import jobs_topic
from parts.git.forge import Forge
from parts.line.line import Line, body_of, line_of
from parts.processes.lumper_process import LumperProcess, LumperServer
from parts.servers.background import in_background
from parts.servers.rabbitmq import RabbitNode
from parts.servers.smtp import PASSWORD, USERNAME, Mailbox, make_certificate, smtp_server
from parts.suite.pace import lasts_less_than

pytestmark = pytest.mark.docker

LOST = "was not heard of"  # of a build that begins again because the lease of its worker has ended
TAGS = ("1.2.3", "1.2", "1", "latest")
DEPLOY = '[deploy]\nports = ["8080"]\n\n[deploy.health]\nhttp = "/"\ninterval = 0.1\n'


@dataclass
class Roles:
    """Three processes; the deployer is part of the server's."""

    server: LumperServer
    worker: LumperProcess
    mailer: LumperProcess
    mailbox: Mailbox


@pytest.fixture(scope="module")
def roles(rabbitmq: RabbitNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    folder = tmp_path_factory.mktemp("roles")
    queue = {"queue.url": asyncio.run(rabbitmq.fresh_url())}
    certificate = make_certificate(folder)
    with ExitStack() as stack:
        mailbox = stack.enter_context(in_background(smtp_server(certificate)))
        server = stack.enter_context(LumperServer(folder / "server", queue, role="server"))
        worker = LumperProcess("worker", folder / "worker", queue | _connection(server, "worker"))
        mailer = LumperProcess(
            "mailer", folder / "mailer", queue | _connection(server, "mailer") | _mail(mailbox, folder)
        )
        yield Roles(server, stack.enter_context(worker), stack.enter_context(mailer), mailbox)


def _connection(server: LumperServer, role: str) -> dict[str, str]:
    token = server.data / "tokens" / role
    return {"connect.server": server.url, "connect.token_file": str(token), "worker.name": f"builder-{server.port}"}


def _mail(mailbox: Mailbox, folder: Path) -> dict[str, str]:
    login = {"mail.username": USERNAME, "mail.password": PASSWORD, "mail.ca_file": str(folder / "certificate.pem")}
    return {"mail.host": "127.0.0.1", "mail.port": str(mailbox.port), "mail.sender": "lumper@example.org", **login}


@pytest.fixture
def line(roles: Roles, forge: Forge) -> Iterator[Line]:
    with line_of(roles.server, forge, inbox=roles.mailbox) as made:
        yield made


def test_a_version_tag_becomes_image_tags_a_mail_and_a_container(line: Line, roles: Roles) -> None:
    build_id = line.project.release("v1.2.3", {"lumper.toml": DEPLOY})
    line.check_that_it_ended_once(build_id, TAGS, deployed=True)
    assert line.build(build_id)["worker"] == roles.worker.settings["worker.name"]

    mail = line.mail(f"{line.project.name} v1.2.3 built")
    assert mail["To"] == "ada@example.org"
    assert f"@{line.build(build_id)['digest']}" in body_of(mail)
    (log,) = mail.iter_attachments()  # which the mailer has asked the server for
    assert "built by a real shell" in log.get_content()
    (received,) = [each for each in roles.mailbox.received if each.data.count(mail["Message-ID"].encode())]
    assert (received.encrypted, received.login, received.recipients) == (True, USERNAME, ["ada@example.org"])


def test_a_killed_worker_builds_again_as_soon_as_it_is_back(line: Line, roles: Roles) -> None:
    before = len(roles.server.said)
    gate, build_id = line.at_a_gate("v1.2.3")
    roles.worker.kill()
    gate.wait_until_nobody_waits()
    roles.worker.restart()
    gate.let_through()
    line.check_that_it_ended_once(build_id, TAGS)
    build = line.build(build_id)
    assert build["attempt"] == 2
    seconds = datetime.fromisoformat(build["started_at"]).timestamp() - roles.worker.back_at
    print(f"the build began again {seconds:.2f} s after the worker was started")
    assert LOST not in roles.server.said[before:]


def test_a_worker_and_a_server_that_are_killed_together_build_again_as_soon_as_they_are_back(
    line: Line, roles: Roles
) -> None:
    gate, build_id = line.at_a_gate("v1.2.3")
    roles.server.kill()
    roles.worker.kill()
    gate.wait_until_nobody_waits()
    roles.worker.restart()
    roles.server.restart()
    gate.let_through()
    line.check_that_it_ended_once(build_id, TAGS)
    assert line.build(build_id)["attempt"] == 2
    assert LOST not in roles.server.said_since_start


def test_a_killed_server_misses_nothing_that_the_worker_has_done_meanwhile(line: Line, roles: Roles) -> None:
    gate, build_id = line.at_a_gate("v1.2.3")
    roles.server.kill()
    roles.server.restart()
    gate.let_through()
    line.check_that_it_ended_once(build_id, TAGS)
    assert line.build(build_id)["attempt"] == 1


def test_a_worker_that_is_asked_to_end_hands_its_build_back(line: Line, roles: Roles) -> None:
    gate, build_id = line.at_a_gate("v1.2.3")
    roles.worker.end()
    gate.wait_until_nobody_waits()
    roles.worker.start()
    gate.let_through()
    line.check_that_it_ended_once(build_id, TAGS)


def test_a_webhook_is_taken_while_the_broker_is_away_and_built_when_it_is_back(
    line: Line, roles: Roles, rabbitmq: RabbitNode
) -> None:
    jobs = jobs_topic(f"builder-{roles.server.port}")
    for topic in (jobs, "events", "notify"):
        rabbitmq.wait_until_kept(f"lumper.{topic}")
    rabbitmq.kill()
    try:
        with lasts_less_than(10):
            build_id = line.project.release("v1.2.3")
        assert line.build(build_id)["state"] == "queued"
    finally:
        rabbitmq.start()
    line.succeeded(build_id, 90)
    line.check_that_it_ended_once(build_id, TAGS)


def test_the_broker_dies_during_a_build_and_the_build_ends_well(line: Line, rabbitmq: RabbitNode) -> None:
    gate, build_id = line.at_a_gate("v1.2.3")
    rabbitmq.kill()
    gate.let_through()
    rabbitmq.start()
    line.succeeded(build_id, 90)
    line.check_that_it_ended_once(build_id, TAGS)
