"""From `git tag` to a running container and a mail, by `lumper up` with real parts."""

from __future__ import annotations

import subprocess

import pytest

from parts.engines.gate import SAYS, Gate
from parts.line.line import DEPLOY, Line, body_of
from parts.suite.pace import lasts_less_than

pytestmark = pytest.mark.docker

LABEL = "org.opencontainers.image"


def host_port(line: Line) -> int:
    (container,) = line.containers()
    return int(container["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"])


def test_a_version_tag_becomes_image_tags_a_mail_and_a_container_that_answers(line: Line) -> None:
    build_id = line.project.release("v1.2.3", {"index.html": "from v1.2.3", "lumper.toml": DEPLOY})
    build = line.succeeded(build_id)
    image = line.image()
    assert {image.digest(tag) for tag in ("1.2.3", "1.2", "1", "latest")} == {build["digest"]}
    line.check_that_it_ended_once(build_id, ("1.2.3", "1.2", "1", "latest"), deployed=True)

    (container,) = line.containers()
    assert container["Config"]["Image"] == f"{line.lumper.address}/{line.project.image}@{build['digest']}"
    assert container["State"]["Running"]
    assert line.page(host_port(line)) == "from v1.2.3"


def test_the_image_says_where_it_comes_from(line: Line) -> None:
    build = line.succeeded(line.project.release("v1.2.3"))
    commit = line.project.repository.git("rev-parse", "refs/tags/v1.2.3")
    labels = line.image().config("latest")["config"]["Labels"]
    assert labels == {
        f"{LABEL}.created": "2023-11-14T22:15:00Z",
        f"{LABEL}.revision": commit,
        f"{LABEL}.source": line.project.url,
        f"{LABEL}.title": line.project.name,
        f"{LABEL}.version": "1.2.3",
    }
    assert build["commit"] == commit


def test_the_mail_tells_the_pusher_what_was_built_and_how_to_run_it(line: Line) -> None:
    build = line.succeeded(line.project.release("v1.2.3"))
    mail = line.mail(f"{line.project.name} v1.2.3 built")
    assert mail["To"] == "ada@example.org"
    words = body_of(mail)
    assert build["commit"] in words
    assert "Ada Lovelace" in words
    assert f"docker run --rm {line.lumper.address}/{line.project.image}@{build['digest']}" in words
    assert f"{line.lumper.url}/builds/{build['id']}" in words
    (log,) = mail.iter_attachments()
    assert "built by a real shell" in log.get_content()


def test_docker_itself_pulls_and_runs_what_was_built(line: Line) -> None:
    build = line.succeeded(line.project.release("v1.2.3", {"index.html": "pulled"}))
    login = ("--username", "me", "--password-stdin", line.lumper.address)
    token = (line.lumper.data / "tokens" / "operator").read_bytes()
    config = ("docker", "--config", str(line.lumper.data.with_name("docker")))
    subprocess.run([*config, "login", *login], input=token, capture_output=True, check=True)
    name = f"{line.lumper.address}/{line.project.image}@{build['digest']}"
    command = [*config, "run", "--rm", "--label", f"lumper.test={line.project.name}", name]
    page = subprocess.run([*command, "/bin/busybox", "cat", "/www/index.html"], capture_output=True, check=True)
    assert page.stdout == b"pulled"


def test_a_pre_release_moves_only_its_own_tag(line: Line) -> None:
    first = line.succeeded(line.project.release("v1.2.3"))
    second = line.succeeded(line.project.release("v1.3.0-rc.1"))
    assert second["tags"] == ["1.3.0-rc.1"]
    old = dict.fromkeys(("1.2.3", "1.2", "1", "latest"), first["digest"])
    assert line.tags() == {**old, "1.3.0-rc.1": second["digest"]}


def test_a_failing_step_is_told_by_its_mail_and_moves_nothing(line: Line) -> None:
    first = line.succeeded(line.project.release("v1.0.0"))
    step = 'RUN ["/bin/busybox", "sh", "-c", "echo compiling; echo main.c:7: oh no >&2; exit 3"]\n'
    build = line.failed(line.project.release("v1.0.1", {"Dockerfile": f"FROM scratch\nCOPY busybox /bin/\n{step}"}))
    assert build["error"].startswith("Dockerfile, line 3: step `")
    assert build["error"].endswith("ended with exit code 3.")
    words = body_of(line.mail(f"{line.project.name} v1.0.1 failed"))
    assert "main.c:7: oh no" in words
    assert set(line.tags().values()) == {first["digest"]}


def test_a_pushed_branch_is_ignored(line: Line) -> None:
    answer = line.project.deliver("refs/heads/main", line.project.commit())
    assert (answer.status, answer.verdict, answer.builds) == (200, "ignored", ())
    assert line.builds() == []


def test_a_deleted_tag_never_builds(line: Line) -> None:
    commit = line.project.commit()
    answer = line.project.deliver("refs/tags/v1.0.0", "0" * 40, before=commit)
    assert (answer.status, answer.verdict, answer.builds) == (200, "ignored", ())
    assert line.builds() == []


@pytest.mark.parametrize("forge_name", ["gitea", "github"])
def test_the_same_delivery_twice_is_one_build(line: Line, forge_name: str) -> None:
    commit = line.project.commit()
    line.project.repository.tag("v1.0.0", commit)
    answers = [
        line.project.deliver("refs/tags/v1.0.0", commit, forge=forge_name, delivery="5a5a-0001") for _ in range(2)
    ]
    assert [(answer.status, answer.verdict) for answer in answers] == [(202, "build"), (200, "duplicate")]
    again = line.project.deliver("refs/tags/v1.0.0", commit, forge=forge_name, delivery="5a5a-0002")
    assert (again.status, again.verdict, again.builds) == (200, "duplicate", ())
    line.check_that_it_ended_once(answers[0].builds[0], ("1.0.0", "1.0", "1", "latest"))


@pytest.mark.parametrize("secret", ["", "not the secret"])
def test_a_delivery_with_a_wrong_signature_is_refused_and_not_kept(line: Line, secret: str) -> None:
    before = line.lumper.client.get("deliveries", limit=1000)
    answer = line.project.deliver("refs/tags/v1.0.0", line.project.commit(), secret=secret)
    assert (answer.status, answer.verdict, answer.builds) == (401, "refused", ())
    assert line.lumper.client.get("deliveries", limit=1000) == before
    assert line.builds() == []


def test_two_tags_pushed_at_once_are_built_at_the_same_time(line: Line) -> None:
    gates = {"v1.0.0": Gate(), "v2.0.0": Gate()}
    builds = {tag: line.project.release(tag, {"Dockerfile": gate.dockerfile}) for tag, gate in gates.items()}
    for build_id in builds.values():
        line.wait_until_logged(build_id, SAYS)
    assert {line.build(build_id)["state"] for build_id in builds.values()} == {"running"}
    for gate in gates.values():
        gate.let_through()
    digests = {tag: line.succeeded(build_id)["digest"] for tag, build_id in builds.items()}
    assert line.image().digest("1.0.0") == digests["v1.0.0"]
    assert line.image().digest("latest") == digests["v2.0.0"] == line.image().digest("2")


def test_a_cancelled_build_ends_at_once_with_its_program_and_can_be_restarted(line: Line) -> None:
    gate, build_id = line.at_a_gate("v1.0.0")
    assert gate.somebody_waits
    with lasts_less_than(10):
        line.lumper.client.post(f"builds/{build_id}/cancel")
        assert line.ended(build_id)["state"] == "cancelled"
        gate.wait_until_nobody_waits()
    assert line.tags() == {}

    line.lumper.client.post(f"builds/{build_id}/restart")
    gate.let_through()
    line.check_that_it_ended_once(build_id, ("1.0.0", "1.0", "1", "latest"))
