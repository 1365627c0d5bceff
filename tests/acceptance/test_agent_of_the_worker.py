"""The worker's own ssh agent, lent to the builds of a project: a step logs in at a real ssh server by a key in it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from parts.engines.context import BASE
from parts.git.forge import Forge
from parts.git.ssh_agent import Agent, program_with_libraries, ssh_agent
from parts.git.sshd import SshServer, ssh_server
from parts.line.line import line_of
from parts.processes.lumper_process import LumperServer
from parts.servers.background import in_background

pytestmark = [pytest.mark.docker, pytest.mark.system]

CONFIG = """\
[worker]
entitlements = ["network.host"]

[worker.ssh_agent]
"*/lent-*" = []
"""
RECIPE = '[build]\nssh = true\nnetwork = "host"\n'
SAYS = "come in"


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with in_background(ssh_agent()) as running:
        yield running


@pytest.fixture(scope="module")
def door(agent: Agent) -> Iterator[SshServer]:
    shown = subprocess.run(
        ["ssh-add", "-L"], env={"SSH_AUTH_SOCK": agent.socket, "PATH": "/usr/bin"}, check=True, capture_output=True
    )
    with ssh_server(shown.stdout.decode(), SAYS) as running:
        yield running


@pytest.fixture(scope="module")
def lumper(tmp_path_factory: pytest.TempPathFactory, agent: Agent) -> Iterator[LumperServer]:
    folder = tmp_path_factory.mktemp("lumper")
    (folder / "config.toml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSH_AUTH_SOCK", agent.socket)
        with LumperServer(folder / "data", {"config": str(folder / "config.toml")}) as running:
            yield running


def files(door: SshServer) -> dict[str, bytes | str]:
    """A repository whose image cannot be built without that key."""
    where = f"-p {door.port} -o UserKnownHostsFile=/known -o StrictHostKeyChecking=yes -o BatchMode=yes root@127.0.0.1"
    run = f"RUN --mount=type=ssh chmod -R 755 /usr /lib /lib64; ssh {where} >/said && cat /said\n"
    root: dict[str, bytes | str] = {f"root/{path}": data for path, data in program_with_libraries("ssh").items()}
    return {
        **root,
        "root/etc/passwd": "root:x:0:0:root:/:/bin/sh\n",
        "known": door.known_host,
        "Dockerfile": f"{BASE}COPY root /\nCOPY known index.html /\n{run}",
        "lumper.toml": RECIPE,
    }


def test_a_step_logs_in_by_a_key_that_it_never_sees(
    lumper: LumperServer, forge: Forge, door: SshServer, agent: Agent
) -> None:
    with line_of(lumper, forge, "lent") as line:
        build_id = line.project.release("v1.0.0", files(door))
        line.succeeded(build_id)
        assert SAYS in line.text(build_id)
    assert "Accepted publickey for root from 127.0.0.1" in door.log.read_text()
    assert agent.fingerprint in door.log.read_text()


def test_the_agent_is_not_lent_to_other_projects(lumper: LumperServer, forge: Forge, door: SshServer) -> None:
    before = door.log.read_text().count("Accepted")
    with line_of(lumper, forge, "other") as line:
        build = line.failed(line.project.release("v1.0.0", files(door)))
        assert "asks for the ssh key default" in build["error"]
        assert build["hint"] == f"lumper secret ssh-key {line.project.name_at_lumper} default < FILE"
    assert door.log.read_text().count("Accepted") == before
