"""`lumper` without a server that runs: deliveries explained, the configuration, the doctor, and starting one."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from parts.git import deliveries
from parts.processes.command_line import Ran, lumper, start_lumper
from parts.processes.forked_lumper import environment
from parts.processes.lumper_process import NO_ENGINE, as_environment

# What a delivery would do


def explain(forge: str, name: str, folder: Path) -> Ran:
    request = deliveries.fixture(f"{forge}/{name}")
    (folder / "payload.json").write_bytes(request.body)
    (folder / "headers.json").write_text(json.dumps({key.title(): value for key, value in request.headers.items()}))
    return lumper("hooks", "explain", "--forge", forge, "--headers", folder / "headers.json", folder / "payload.json")


@pytest.mark.parametrize(
    ("forge", "name", "verdict", "pushes"),
    [
        ("github", "push_lightweight_tag", "build", 1),
        ("github", "push_branch", "ignored", 0),
        ("github", "push_deleted_tag", "ignored", 0),
        ("gitea", "push_tag", "build", 1),
        ("gitea", "push_deleted_tag", "ignored", 0),
        ("gogs", "create_tag", "build", 1),
    ],
)
def test_a_delivery_is_explained(tmp_path: Path, forge: str, name: str, verdict: str, pushes: int) -> None:
    told = explain(forge, name, tmp_path).json
    assert set(told) == {"verdict", "reason", "pushes"}
    assert (told["verdict"], len(told["pushes"])) == (verdict, pushes)
    assert told["reason"].endswith(".")
    for push in told["pushes"]:
        assert set(push) == {"repository", "ref", "commit"}
        assert (push["repository"], push["ref"], len(push["commit"])) == ("Demo/hello", "refs/tags/v1.2.3", 40)


def test_a_payload_may_come_from_standard_input_and_be_nonsense() -> None:
    told = lumper("hooks", "explain", "--forge", "github", "-", given="not json").json
    assert (told["verdict"], told["pushes"]) == ("refused", [])


def test_what_cannot_be_explained_is_told(tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text("{}")
    (tmp_path / "headers.json").write_text("[]")
    payload = tmp_path / "payload.json"
    assert "forgejo, gitea, github" in lumper("hooks", "explain", "--forge", "svnhub", payload).trouble
    assert "cannot be read" in lumper("hooks", "explain", "--forge", "github", tmp_path / "nothing").err
    headers = ("--headers", tmp_path / "headers.json")
    assert "JSON object" in lumper("hooks", "explain", "--forge", "github", payload, *headers).trouble


# Configuration and health


def test_the_configuration_is_printed_as_a_file_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "lumper.toml").write_text(lumper("config").out)
    shown = lumper("config", "--config", tmp_path / "lumper.toml", "--json").json
    assert shown["server"]["listen"] == "127.0.0.1:5080"


def test_secrets_are_not_shown() -> None:
    settings = {
        "LUMPER_QUEUE_URL": "amqp://u:hunter2@mq/",
        "LUMPER_MAIL_PASSWORD": "hunter2",
        "LUMPER_DATABASE_URL": "postgresql+psycopg://u:hunter2@db/lumper",
    }
    ran = lumper("config", "--json", settings=settings)
    assert json.loads(ran.out)["mail"]["port"] == 587
    assert "hunter2" not in ran.out


def test_everything_that_is_wrong_in_the_configuration_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "lumper.toml").write_text('[server]\nlisten = "nowhere"\ncolour = "red"\n\n[mail]\nport = 99999\n')
    for command in ("up", "server", "worker", "mailer", "deployer", "doctor"):
        trouble = lumper(command, "--config", tmp_path / "lumper.toml", "--data", tmp_path / "data").trouble
        for words in ("line 2: server.listen", "line 3: server.colour", "line 6: mail.port", "`lumper config`"):
            assert words in trouble


def test_the_doctor_names_what_is_missing(tmp_path: Path) -> None:
    settings = {"LUMPER_WORKER_ENGINE": "unix:///nonexistent/docker.sock"}
    ran = lumper("doctor", "--data", tmp_path, settings=settings)
    assert (ran.status, ran.err) == (1, "")
    [failed] = [line for line in ran.out.splitlines() if line.startswith("FAILED")]
    assert "/nonexistent/docker.sock" in failed
    assert "systemctl start docker" in failed
    checks = json.loads(lumper("doctor", "--data", tmp_path, "--json", settings=settings).out)
    assert {check["name"]: check["well"] for check in checks}["engine"] is False
    assert all(set(check) == {"name", "well", "found", "hint"} for check in checks)
    alone = lumper("doctor", "--registry", "--data", tmp_path, settings=settings)
    assert (alone.status, "engine" in alone.out, "Start it with `lumper registry`" in alone.out) == (0, False, True)


def test_the_doctor_tells_what_the_worker_keeps(tmp_path: Path) -> None:
    for name in ("p1.git", "p1.abcd.git", "p2.git"):
        (tmp_path / "mirrors" / name / "objects").mkdir(parents=True)
    (tmp_path / "mirrors/p1.git/objects/pack").write_bytes(bytes(5 << 20))
    settings = {"LUMPER_GIT_MIRROR_TOTAL": "2GiB", "LUMPER_WORKER_ENGINE_DISK": "0"}
    ran = lumper("doctor", "--data", tmp_path, "--json", settings=settings)
    found = {check["name"]: check["found"] for check in json.loads(ran.out)}
    assert found["git mirrors"] == "of 2 projects, 5 MiB of the 2,048 MiB of [git] mirror_total"
    assert "MiB without a limit ([worker] engine_disk is 0)" in found["engine's cache"]


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        trouble = lumper("up", "--listen", address, "--data", tmp_path).trouble
    assert address in trouble
    assert "--listen HOST:PORT" in trouble


@pytest.mark.parametrize("role", ["worker", "mailer", "deployer"])
def test_a_role_on_its_own_needs_a_queue_that_it_shares_with_the_server(tmp_path: Path, role: str) -> None:
    assert "[queue] url" in lumper(role, "--data", tmp_path).trouble


@pytest.mark.parametrize(
    ("package", "settings"),
    [
        ("aio_pika", {"LUMPER_QUEUE_URL": "amqp://127.0.0.1:9/"}),
        (
            "obstore",
            {
                "LUMPER_REGISTRY_STORAGE": "s3://images",
                "LUMPER_REGISTRY_ACCESS_KEY_ID": "k",
                "LUMPER_REGISTRY_SECRET_ACCESS_KEY": "s",
            },
        ),
    ],
)
def test_an_extra_that_is_not_installed_is_told(tmp_path: Path, package: str, settings: dict[str, str]) -> None:
    program = f"import sys; sys.modules[{package!r}] = None; from lumper.cli.main import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, "up", "--listen", "127.0.0.1:0", "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(settings),
        timeout=120,
        check=False,
    )
    assert "pip install" in Ran(done.returncode, done.stdout, done.stderr).trouble


def test_the_server_ends_at_once_when_it_is_asked_to(tmp_path: Path) -> None:
    process = start_lumper("up", "--listen", "127.0.0.1:0", "--data", tmp_path, settings=as_environment(NO_ENGINE))
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Lumper answers at http://127.0.0.1:")
    assert "/setup?token=" in process.stdout.readline()
    assert process.stdout.readline() == f"So that other commands find it: export LUMPER_DATA={tmp_path}\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert not (tmp_path / "server.json").exists()


def test_setup_link_is_printed_until_there_is_an_admin(tmp_path: Path) -> None:
    def add(*arguments: str) -> None:
        added = lumper("user", "add", *arguments, "--data", tmp_path, given="a good long password")
        assert added.status == 0, added.err

    def link_is_printed() -> bool:
        up = start_lumper("up", "--listen", "127.0.0.1:0", "--data", tmp_path, settings=as_environment(NO_ENGINE))
        assert up.stdout is not None
        up.stdout.readline()
        second = up.stdout.readline()
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
        return "/setup?token=" in second

    add("ann")
    assert link_is_printed()
    add("ada", "--role", "admin")
    assert not link_is_printed()


def test_what_is_changed_in_a_folder_that_nobody_named_and_no_server_runs_with_is_told(tmp_path: Path) -> None:
    home = {"LUMPER_CONFIG": str(tmp_path / "lumper.toml")}
    (tmp_path / "lumper.toml").write_text(f'data = "{tmp_path / "data"}"\n')
    added = lumper("user", "add", "ann", settings=home, given="a good long password")
    assert added.status == 0
    assert f"No server runs with the data folder {tmp_path / 'data'}" in added.err
    assert lumper("user", "list", settings=home).err == ""
    assert lumper("user", "disable", "ann", "--data", tmp_path / "data").err == ""
