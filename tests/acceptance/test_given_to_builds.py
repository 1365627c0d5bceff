"""What builds are given, over the whole line: it reaches the step that asks for it, and stays nowhere."""

from __future__ import annotations

import base64
import gzip
import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumper.cli.main import main
from lumper.model.people.people import Role
from parts.disks.kept_files import contents_in
from parts.engines.context import BASE
from parts.git.forge import serve_forge
from parts.git.ssh_agent import program_with_libraries
from parts.line.line import Line, line_of
from parts.processes.lumper_process import LumperProcess, LumperServer
from parts.registries.live_registry import live_registry
from parts.registries.registry_reader import RegistryReader
from parts.servers.background import in_background
from parts.suite.waiting import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.system]

SECRET = f"tok-{secrets.token_hex(12)}"
FORMS = (SECRET.encode(), base64.b64encode(SECRET.encode()), SECRET.encode().hex().encode())
DOCKERFILE = f"""{BASE}
COPY index.html /new-each-time
RUN --mount=type=secret,id=token t=$(cat /run/secrets/token); sha256sum /run/secrets/token; \\
    echo "the token is $t"; base64 /run/secrets/token; sleep 1; test -n "$t"
RUN test ! -e /run/secrets/token
"""
RECIPE = '[build]\nsecrets = { token = "npm" }\n'


@pytest.fixture(params=["in one process", "with a worker of its own"])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Line]:
    alone = request.param == "in one process"
    with (
        serve_forge(tmp_path / "forge") as forge,
        LumperServer(tmp_path / "data", role="up" if alone else "server") as lumper,
        line_of(lumper, forge) as made,
    ):
        if alone:
            yield made
        else:
            with LumperProcess("worker", lumper.data, {}), LumperProcess("mailer", lumper.data, {}):
                yield made


def command(line: Line, *arguments: str) -> None:
    """A command of `lumper secret`."""
    with pytest.raises(SystemExit) as ended:
        main(["secret", *arguments, "--data", str(line.lumper.data)])
    assert ended.value.code == 0


def run(line: Line, *arguments: str, value: Path) -> None:
    """A command of `lumper secret`, whose value is in a file."""
    command(line, *arguments, "--file", str(value))


def seen_by_ps() -> bytes:
    """What every process of this machine shows of itself: its command line and, to root, its environment."""
    shown = b""
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                shown += (process / name).read_bytes()
            except OSError:  # it has ended
                continue
    return shown


def agents() -> set[bytes]:
    """The folders of all agents that workers of this machine have started, also those of other tests."""
    return set(re.findall(rb"lumper-ssh-\w+", seen_by_ps()))


def test_a_secret_reaches_its_step_and_is_left_nowhere(line: Line, tmp_path: Path) -> None:
    (tmp_path / "value").write_text(SECRET + "\n")
    run(line, "set", line.project.name_at_lumper, "npm", value=tmp_path / "value")
    build_id = line.project.release("v1.0.0", {"Dockerfile": DOCKERFILE, "lumper.toml": RECIPE})
    line.wait_until_logged(build_id, "the token is")
    shown = seen_by_ps()
    build = line.succeeded(build_id)

    said = line.text(build_id)
    whole = subprocess.run(["sha256sum"], input=SECRET.encode(), capture_output=True, check=True).stdout.split()[0]
    assert whole.decode() in said, "the step had another secret"
    assert "the token is ***" in said
    image = line.image()
    manifest = image.manifest(build["digest"])
    content = json.dumps([manifest, image.config(build["digest"]), build]).encode()
    for layer in manifest["layers"]:
        content += gzip.decompress(image.blob(layer["digest"]))
    line.mail(f"{line.project.name} v1.0.0 built")
    kept = contents_in(line.lumper.data)
    assert any(path.name == "queue.db" for path in kept)
    for form in FORMS:
        assert form not in shown
        assert form not in said.encode()
        assert form not in content
        assert [path for path, data in kept.items() if form in data] == []
        assert form.decode() not in line.lumper.said


def test_a_secret_that_is_missing_ends_the_build_with_the_command_that_helps(line: Line) -> None:
    build = line.failed(line.project.release("v1.0.0", {"Dockerfile": DOCKERFILE, "lumper.toml": RECIPE}))
    assert "has no such secret" in build["error"]
    assert build["hint"] == f"lumper secret set {line.project.name_at_lumper} npm < FILE"
    assert build["attempt"] == 1


def test_a_step_reaches_an_agent_that_has_the_key_of_the_project(line: Line, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", tmp_path / "key.pub"], check=True, capture_output=True, text=True)
    run(line, "ssh-key", line.project.name_at_lumper, value=tmp_path / "key")
    before = agents()
    files: dict[str, bytes | str] = {f"root/{path}": data for path, data in program_with_libraries("ssh-add").items()}
    run_step = "RUN --mount=type=ssh chmod -R 755 /usr /lib /lib64; ssh-add -l\n"
    dockerfile = f"{BASE}COPY root /\nCOPY index.html /new-each-time\n{run_step}"
    build_id = line.project.release(
        "v1.0.0", {"Dockerfile": dockerfile, "lumper.toml": "[build]\nssh = true\n", **files}
    )
    line.succeeded(build_id)
    assert shown.stdout.split()[1] in line.text(build_id)
    left = agents() - before
    wait_for(lambda: not left & agents(), "end of the agent")


def test_a_base_image_of_our_own_registry_is_there_for_projects_that_were_granted_it(
    line: Line, tmp_path: Path
) -> None:
    base = line.succeeded(line.project.release("v1.0.0", {"Dockerfile": f"{BASE}RUN echo first >/said\n"}))
    assert base["tags"]
    dockerfile = f"FROM {line.lumper.address}/{line.project.image}:1.0.0\nRUN cat /said; echo {secrets.token_hex(4)}\n"
    own = line.succeeded(line.project.release("v1.0.1", {"Dockerfile": dockerfile}))
    assert "first" in line.text(own["id"])

    with serve_forge(tmp_path / "other") as forge, line_of(line.lumper, forge, "other") as other:
        refused = other.failed(other.project.release("v1.0.0", {"Dockerfile": dockerfile + "RUN true\n"}))
        assert "cannot be fetched" in refused["error"] or "denied" in refused["error"].lower(), refused
        account = f"project:{other.project.name_at_lumper}"
        assert refused["hint"].endswith(f"`lumper grant add {account} {line.project.image}`."), refused
        line.lumper.client.post("grants", {"account": account, "repository": line.project.image, "allow": ["pull"]})
        other.succeeded(other.project.release("v1.0.1", {"Dockerfile": dockerfile + "RUN true\n"}))


def test_an_image_goes_to_another_registry_with_the_same_digest_and_only_with_credentials(
    line: Line, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    with in_background(live_registry(tmp_path / "other")) as other:
        password = tmp_path / "password"
        password.write_text(other.tokens[Role.ADMIN])
        recipe = (
            f'[build]\npush = [{{ to = "{other.host}/team/app", tags = ["raw:edge", "semver:{{{{version}}}}"] }}]\n'
        )
        refused = line.failed(line.project.release("v1.0.0", {"lumper.toml": recipe}))
        assert "no credentials for that registry" in refused["error"]

        who = ("--username", "bot", "--project", line.project.name_at_lumper)
        command(line, "login", other.host, *who, "--password-file", str(password))
        build = line.succeeded(line.project.release("v1.0.1", {"lumper.toml": recipe}))
        reader = RegistryReader(other.url, other.tokens[Role.ADMIN], "team/app")
        tags = ["1.0.1", "edge", "latest"]  # the last one because a version goes there
        assert {reader.digest(tag) for tag in tags} == {build["digest"]}
        names = [f"{other.host}/team/app:{tag}" for tag in tags]
        assert build["elsewhere"] == names
        body = line.mail("v1.0.1 built").get_body(("plain",))
        assert body is not None
        assert ", ".join(names) in body.get_content()
        reader.pull(build["digest"])
        assert f"digest: {build['digest']}" in line.text(build["id"])
        assert password.read_text() not in line.text(build["id"])
