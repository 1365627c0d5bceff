"""`lumper` on a real command line against a running `lumper up`, and with everything that goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from parts.git.forge import ForgeProject, serve_forge
from parts.processes.command_line import Ran, lumper
from parts.processes.forked_lumper import environment
from parts.processes.lumper_process import NO_ENGINE, LumperServer
from parts.suite.waiting import wait_for


@dataclass
class Running:
    """A `lumper up`, with a project at a forge and builds of two tags, both failed for their lumper.toml."""

    server: LumperServer
    project: ForgeProject
    builds: tuple[int, int]

    def lumper(self, *arguments: object) -> Ran:
        """Run a command against it."""
        return lumper(*arguments, "--data", self.server.data)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("command-line")
    with serve_forge(folder / "forge") as forge, LumperServer(folder / "data", NO_ENGINE) as server:
        project = forge.project()
        project.connect(server.client)
        wrong = {"lumper.toml": "[build]\ncolour = 1\n\n[deploy]\nname = 7\n"}
        builds = (project.release("v1.0.0", wrong), project.release("v1.0.1", wrong))
        wait_for(lambda: {server.client.get(f"builds/{build}")["state"] for build in builds} == {"failed"}, "end")
        yield Running(server, project, builds)


# Projects


def test_a_project_is_added_before_the_server_starts_and_it_sees_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    added = lumper("project", "add", "https://git.example.org/owner/app.git", "--data", data, "--json").json
    assert added["name"] == "owner/app"
    assert len(added["secret"]) >= 32
    assert [p["name"] for p in lumper("project", "list", "--data", data, "--json").json] == ["owner/app"]
    with LumperServer(data, NO_ENGINE) as server:
        assert server.client.get("projects/owner/app")["secret"] == added["secret"]
        assert [p["name"] for p in lumper("project", "list", "--data", data, "--json").json] == ["owner/app"]
    assert lumper("project", "remove", "owner/app", "--data", data).status == 0


def test_a_project_moves_and_its_password_comes_from_a_file(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "token"
    file.write_text("s3cret-token\n")
    lumper("project", "add", "https://git.example.org/owner/app.git", "--data", data)
    there = "https://git.example.org/new/app.git"
    options = ("--username", "robot", "--password-file", file, "--data", data)
    moved = lumper("project", "url", "owner/app", there, *options)
    assert moved.out == f"owner/app is built from {there} with the new credentials.\n"
    with LumperServer(data, NO_ENGINE) as server:
        found = server.client.get("projects/owner/app/credentials")
    assert found == {"username": "robot", "password": "s3cret-token"}
    wrong = lumper("project", "url", "owner/app", "--password-file", tmp_path / "none", "--data", data)
    assert (wrong.status, "The password cannot be read" in wrong.err) == (1, True)


def test_commands_at_the_same_time_without_a_server_all_succeed(tmp_path: Path) -> None:
    def add(number: int) -> Ran:
        return lumper("project", "add", f"https://git.example.org/owner/app{number}", "--data", tmp_path, "--json")

    with ThreadPoolExecutor(3) as threads:
        assert len({ran.json["name"] for ran in threads.map(add, range(3))}) == 3


def test_projects_are_added_listed_shown_and_removed(up: Running) -> None:
    added = up.lumper("project", "add", "https://git.example.org/owner/one.git", "--name", "one")
    assert added.status == 0
    assert f"{up.server.url}/hooks/github/one" in added.out
    secret = up.lumper("project", "show", "one", "--json").json["secret"]
    assert secret in added.out
    assert secret in up.lumper("project", "show", "one", "--secret").out
    for text in (up.lumper("project", "show", "one").out, up.lumper("project", "list").out):
        assert "https://git.example.org/owner/one.git" in text
        assert secret not in text
    assert "already" in up.lumper("project", "add", "https://git.example.org/x/y", "--name", "one").trouble
    assert up.lumper("project", "remove", "one", "--json").json["name"] == "one"
    assert "no project 'one'" in up.lumper("project", "remove", "one").trouble
    assert "no project 'one'" in up.lumper("project", "show", "one").trouble


def test_a_local_repository_is_added_only_when_that_is_allowed(up: Running, tmp_path: Path) -> None:
    (tmp_path / "app.git").mkdir()
    refused = up.lumper("project", "add", tmp_path / "app.git").trouble
    assert "--allow-local" in refused
    added = up.lumper("project", "add", tmp_path / "app.git", "--allow-local", "--json").json
    assert (added["url"], added["local"]) == (str(tmp_path / "app.git"), True)
    assert up.lumper("project", "remove", added["name"]).status == 0


@pytest.mark.parametrize("url", ["file:///etc", "ext::sh -c id", "https://u:hunter2@h/..", "nonsense"])
def test_urls_that_are_not_fetched_are_refused(up: Running, url: str) -> None:
    trouble = up.lumper("project", "add", url).trouble
    assert "hunter2" not in trouble


# Builds


def test_builds_are_listed_newest_first(up: Running) -> None:
    first, second = up.builds
    builds = up.lumper("builds", "--json").json
    assert [build["id"] for build in builds] == [second, first]
    assert [build["id"] for build in up.lumper("builds", "--limit", 1, "--json").json] == [second]
    assert up.lumper("builds", "--project", "no/such", "--json").json == []
    lines = up.lumper("builds").out.splitlines()
    assert lines[0].split()[:4] == ["ID", "STATE", "PROJECT", "TAG"]
    assert "failed" in lines[1]
    assert "between 1 and" in up.lumper("builds", "--limit", 0).err


def test_the_log_of_a_failed_build_ends_with_its_reason_and_status_1(up: Running) -> None:
    first, _ = up.builds
    for follow in ((), ("--follow",)):
        ran = up.lumper("log", first, *follow)
        assert (ran.status, ran.err) == (1, "")
        assert "line 2: build.colour" in ran.out
        assert "line 5: deploy.name" in ran.out
    assert f"Build {first} failed: " in ran.out
    records = up.lumper("log", first, "--json").out.splitlines()
    assert all(isinstance(json.loads(record), dict) for record in records)
    assert "no attempt 9" in up.lumper("log", first, "--attempt", 9).trouble
    assert "no build 999" in up.lumper("log", 999).trouble


def test_a_build_that_has_ended_cannot_be_cancelled_and_can_be_restarted(up: Running) -> None:
    _, second = up.builds
    trouble = up.lumper("cancel", second)
    assert (trouble.status, "has ended already" in trouble.err) == (1, True)
    assert up.lumper("restart", second).out == f"Build {second} is queued; `lumper log {second} --follow` shows it.\n"
    followed = up.lumper("log", second, "--follow")
    assert (followed.status, f"Build {second} failed" in followed.out) == (1, True)
    assert up.lumper("builds", "--limit", 1, "--json").json[0]["attempt"] == 2


# Listings


@pytest.mark.parametrize(
    "command",
    [
        ("project", "list"),
        ("builds",),
        ("images",),
        ("ps",),
        ("rollouts",),
        ("hooks", "list"),
        ("token", "list"),
    ],
)
def test_every_listing_can_be_json_and_text(up: Running, command: tuple[str, ...]) -> None:
    assert isinstance(up.lumper(*command, "--json").json, list)
    text = up.lumper(*command)
    assert (text.status, text.err) == (0, "")
    assert text.out.strip()


def test_the_queue_is_shown_with_its_topics_builds_and_workers(up: Running) -> None:
    shown = up.lumper("queue", "show", "--json").json
    assert set(shown) == {"topics", "builds", "workers"}
    assert {"events", "notify", "deploy", "statuses"} <= {topic["topic"] for topic in shown["topics"]}
    assert "events" in up.lumper("queue", "show").out


def test_deliveries_are_listed_with_their_verdicts(up: Running) -> None:
    newest, *_ = up.lumper("hooks", "list", "--json").json
    assert (newest["forge"], newest["verdict"], newest["project"]) == ("gitea", "build", up.project.name_at_lumper)


def test_a_delivery_is_shown_and_delivered_again(up: Running) -> None:
    newest, *_ = up.lumper("hooks", "list", "--json").json
    shown = up.lumper("hooks", "show", newest["id"])
    assert ("Verdict   build" in shown.out, '"ref"' in shown.out) == (True, True)
    assert "same commit of this ref" in up.lumper("hooks", "replay", newest["id"]).out
    assert "lumper hooks list" in up.lumper("hooks", "show", 999_999).trouble


def test_an_image_that_is_not_there_is_told(up: Running) -> None:
    assert "no image 'no/such'" in up.lumper("images", "no/such").trouble


def test_tokens_are_made_once_and_revoked(up: Running) -> None:
    made = up.lumper("token", "create", "builder-2", "--role", "worker")
    token = made.out.strip()
    assert token.startswith("lmp_")
    assert "already" in up.lumper("token", "create", "builder-2").err
    assert token not in up.lumper("token", "list").out
    assert up.lumper("token", "remove", "builder-2").status == 0
    assert up.lumper("token", "create", "root", "--role", "admin").status == 0


def test_people_are_let_in_with_a_password_from_a_file(up: Running, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse battery\n")
    given = ("--password-file", str(tmp_path / "password"))
    assert up.lumper("user", "add", "ann", *given).status == 0
    assert "ann" in up.lumper("user", "list").out
    assert up.lumper("user", "password", "ann", *given).status == 0
    assert up.lumper("user", "remove", "ann").status == 0
    assert "cannot be read" in up.lumper("user", "add", "bob", "--password-file", str(tmp_path / "none")).trouble


def test_a_robot_is_made_granted_rotated_kept_out_and_removed_and_the_audit_tells(up: Running) -> None:
    token = up.lumper("robot", "add", "ci", "--days", "30").out.strip()
    assert token.startswith("lmp_")
    assert "ci may pull, push in team/*." in up.lumper("grant", "add", "ci", "team/*", "--allow", "pull,push").out
    assert up.lumper("grant", "list", "ci", "--json").json[0]["actions"] == ["pull", "push"]
    assert "Name some of pull" in up.lumper("grant", "add", "ci", "team/*", "--allow", "all").trouble
    assert "no account nobody" in up.lumper("grant", "add", "nobody", "team/*").trouble
    rotated = up.lumper("robot", "rotate", "ci").out.strip()
    assert rotated.startswith("lmp_")
    assert rotated != token
    assert "kept out" in up.lumper("robot", "disable", "ci").out
    assert "kept out" in up.lumper("robot", "list").out
    assert up.lumper("robot", "enable", "ci").status == 0
    assert "any more" in up.lumper("grant", "remove", "ci", "team/*").out
    assert up.lumper("robot", "remove", "ci").status == 0
    assert "lumper robot list" in up.lumper("robot", "remove", "ci").trouble

    told = up.lumper("audit", "--action", "robot").out
    assert told.index("ci: removed") < told.index("ci: another token") < told.index("ci: added as robot")
    assert token not in up.lumper("audit", "--json").out
    assert "is not a time" in up.lumper("audit", "--since", "soon").trouble
    narrow = up.lumper("token", "create", "narrow", "--repository", "team/*", "--allow", "pull", "--json").json
    assert narrow["token"].startswith("lmp_")
    assert "pull in team/*" in up.lumper("token", "list").out


def test_a_role_that_is_none_is_a_mistake_on_the_command_line(up: Running) -> None:
    ran = up.lumper("token", "create", "x", "--role", "king")
    assert ran.status != 0
    assert "Traceback" not in ran.out + ran.err


# Which server


def test_a_server_elsewhere_is_named_by_its_url_and_a_token(up: Running, tmp_path: Path) -> None:
    made = up.lumper("token", "create", "laptop", "--json").json
    (tmp_path / "token").write_text(made["token"] + "\n")
    settings = {"LUMPER_SERVER": up.server.url, "LUMPER_TOKEN_FILE": str(tmp_path / "token")}
    assert len(lumper("builds", "--json", settings=settings).json) == 2
    before = {"LUMPER_URL": up.server.url, "LUMPER_TOKEN": made["token"]}
    assert len(lumper("builds", "--json", settings=before).json) == 2
    assert (
        len(lumper("builds", "--json", "--server", up.server.url, settings={"LUMPER_TOKEN": made["token"]}).json) == 2
    )
    assert up.lumper("token", "remove", "laptop").status == 0
    revoked = lumper("builds", settings=settings)
    assert (revoked.status, "not known" in revoked.err) == (1, True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9", "No Lumper server answers"),
        ("http://127.0.0.1:99999", "not the URL of a server"),
        ("nonsense", "not the URL of a server"),
        ("ftp://h/", "not the URL of a server"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_with_what_to_do(url: str, words: str) -> None:
    assert words in lumper("builds", settings={"LUMPER_SERVER": url, "LUMPER_TOKEN": "lmp_x"}).trouble


def test_a_server_elsewhere_needs_a_token(tmp_path: Path) -> None:
    settings = {"LUMPER_SERVER": "http://127.0.0.1:9"}
    assert "LUMPER_TOKEN_FILE" in lumper("builds", settings=settings).trouble
    missing = lumper("builds", "--token-file", tmp_path / "nothing", settings=settings).trouble
    assert "cannot be read" in missing


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("token", "remove", "nope"), "`lumper token list` shows all"),
        (("robot", "rotate", "nope"), "`lumper robot list` shows all"),
        (("robot", "disable", "nope"), "`lumper robot list` shows all"),
        (("queue", "revive", "builds"), "There are events, notify, deploy, statuses"),
        (("builds", "--limit", "-5"), "one whole number of 0 or more"),
        (("recipe", "check", "/nonexistent"), "there is no folder /nonexistent"),
        (("build", "/nonexistent"), "There is no folder /nonexistent"),
    ],
)
def test_what_is_not_there_is_told_with_where_to_look(up: Running, command: tuple[str, ...], words: str) -> None:
    ran = up.lumper(*command) if command[0] not in ("recipe", "build") else lumper(*command)
    assert (ran.status, ran.out) == (1, "")
    assert words in ran.err


def test_a_project_without_builds_a_forge_or_a_repository_is_told_as_that(up: Running) -> None:
    assert "No builds of nope;" in up.lumper("builds", "--project", "nope").out
    added = up.lumper("project", "add", "--allow-local", "/nonexistent/later.git", "--name", "later")
    assert (added.status, added.err) == (0, "There is nothing at /nonexistent/later.git yet.\n")
    checked = up.lumper("project", "check", "later")
    assert (checked.status, checked.err) == (1, "`lumper project connect later --forge-token-file FILE` makes it.\n")
    assert up.lumper("project", "remove", "later").status == 0


def test_a_folder_that_was_not_there_is_told(tmp_path: Path) -> None:
    asked = lumper("builds", "--data", tmp_path / "mistyped")
    assert asked.status == 0
    assert asked.err == f"There was no data folder {tmp_path / 'mistyped'}: this command has made it.\n"
    assert lumper("builds", "--project", "nope", "--data", tmp_path / "mistyped").err == ""


def test_the_data_folder_is_found_by_the_environment_and_the_file(up: Running, tmp_path: Path) -> None:
    (tmp_path / "lumper.toml").write_text(f'data = "{up.server.data}"\n[worker]\nconcurrency = 3\n')
    for settings in {"LUMPER_DATA": str(up.server.data)}, {"LUMPER_CONFIG": str(tmp_path / "lumper.toml")}:
        assert len(lumper("builds", "--json", settings=settings).json) == 2


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--data DIR" in lumper("builds", "--data", tmp_path / "file" / "data").trouble


def test_the_doctor_finds_the_running_server(up: Running) -> None:
    checks = {check["name"]: check for check in json.loads(up.lumper("doctor", "--json").out)}
    assert checks["server"]["found"] == f"runs at {up.server.url}"


# Starting


def test_a_second_server_on_one_data_folder_is_refused(up: Running) -> None:
    trouble = lumper("up", "--listen", "127.0.0.1:0", "--data", up.server.data).trouble
    assert "runs already" in trouble
    assert len(up.lumper("builds", "--json").json) == 2


def test_a_reader_that_goes_away_is_no_error(up: Running) -> None:
    process = subprocess.Popen(
        f"{sys.executable} -m lumper log {up.builds[0]} --data {up.server.data} | head -n 1",
        shell=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    out, err = process.communicate(timeout=60)
    assert (out.count("\n"), err) == (1, "")
