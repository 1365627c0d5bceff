"""A build is built once more by the real engine, and its image compared with the first, file by file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lumper.build.engines.buildah.home import BuildahHome
from parts.engines.context import BASE
from parts.engines.engine_bench import remove_storage
from parts.engines.gate import Gate
from parts.engines.newer_engine import newer_engine
from parts.git.forge import Forge
from parts.git.git_repository import ENVIRONMENT
from parts.line.line import Line, line_of
from parts.processes.command_line import lumper as run
from parts.processes.lumper_process import LumperServer
from parts.suite.waiting import wait_for

pytestmark = pytest.mark.docker

CHANGING = f"{BASE}COPY hello /hello\nRUN /bin/sh -c 'head -c 8 /dev/urandom > /made; echo the same > /same'\n"


@pytest.fixture
def line(tmp_path: Path, forge: Forge) -> Iterator[Line]:
    settings = {"registry.gc_grace": "60", "registry.untagged": "keep"}
    with LumperServer(tmp_path / "data", settings) as lumper, line_of(lumper, forge) as made:
        yield made


def verify(line: Line, build_id: int) -> tuple[int, dict[str, Any], str]:
    """The status of `lumper build verify`, what it printed as JSON, and what it said besides."""
    done = run("build", "verify", build_id, "--json", "--data", line.lumper.data, seconds=120)
    return done.status, json.loads(done.out), done.err


def manifests(line: Line) -> set[str]:
    """All manifests of the repository that are not given up."""
    query = "SELECT digest FROM manifests WHERE NOT abandoned AND subject = '' AND artifact_type = ''"
    with closing(line.database()) as connection:
        return {digest for (digest,) in connection.execute(query)}


def test_a_file_that_is_made_anew_each_time_is_found_and_nothing_is_left(line: Line) -> None:
    first = line.project.release("v1.0.0", {"Dockerfile": CHANGING, "hello": "world"})
    build = line.succeeded(first)
    line.mail("v1.0.0 built")  # it comes a moment later, and is the only one
    tags, before = line.tags(), manifests(line)

    status, found, said = verify(line, first)

    assert (status, found["state"], found["build"]) == (1, "differs", first), found
    last = [one for one in found["differences"] if one["part"] == "layer 3"]
    assert {"path": "made", "what": ["content", "time"]} in last[0]["files"], found
    assert "layer 1" not in found["summary"]  # busybox, and its time is that of the commit
    assert "DONE [3/3] RUN /bin/sh -c 'head" in said
    second = line.succeeded(found["by"])
    assert (second["verifies"], second["trigger"], second["tags"], second["digest"]) == (first, "verify", [], "")
    assert line.tags() == tags
    assert manifests(line) == before
    assert len(line.mails("")) == 1
    wait_for(lambda: not line.names_in_engine(), "removal of the names that the worker gave")

    shown = line.lumper.client.get(f"inspect/{line.project.image}@{build['digest']}")
    assert shown["verification"] == found
    assert shown["build"]["id"] == first
    text = run("image", "inspect", f"{line.project.image}:1.0.0", "--data", line.lumper.data).out
    assert f"differs (build {found['by']}" in text


def test_a_server_that_is_killed_in_the_middle_goes_on_with_it(line: Line) -> None:
    gate = Gate()
    first = line.project.release("v1.1.0", {"Dockerfile": gate.dockerfile, "index.html": "world"})
    gate.let_through()
    line.succeeded(first)
    begun = line.lumper.client.post(f"builds/{first}/verify")
    wait_for(lambda: gate.somebody_waits, "the second build at the gate")
    line.lumper.kill()
    gate.wait_until_nobody_waits()
    line.lumper.restart()
    gate.let_through()
    second = line.succeeded(begun["by"])
    assert second["attempt"] == 2

    def decided() -> dict[str, Any] | None:
        found: dict[str, Any] = line.lumper.client.get(f"builds/{first}/verification", follow=1)
        return found if found["decided_at"] else None

    assert wait_for(decided, "the comparison")["state"] in ("differs", "reproducible")
    assert not [name for name in line.tags() if name.startswith("_build-")]


REPRODUCIBLE = "[build]\nreproducible = true\n"
FILES = f"{BASE}COPY hello /srv/www/hello\nRUN /bin/sh -c 'mkdir /made; echo the same > /made/same'\n"


def check_reproducible(settings: dict[str, str], folder: Path, forge: Forge) -> None:
    with LumperServer(folder / "data", settings) as lumper, line_of(lumper, forge) as line:
        files = {"Dockerfile": FILES, "hello": "world", "lumper.toml": REPRODUCIBLE}
        first = line.project.release("v1.0.0", files)
        build = line.succeeded(first)
        status, found, said = verify(line, first)
        assert (status, found["state"], found["other"]) == (0, "reproducible", build["digest"]), (found, said)
        assert found["differences"] == []
        assert line.image().config("1.0.0")["history"][-1]["created"] == line.image().config("1.0.0")["created"]


def test_buildah_gives_the_same_image_once_more_if_the_recipe_asks_for_that(tmp_path: Path, forge: Forge) -> None:
    place = BuildahHome(tmp_path / "b")
    try:
        check_reproducible({"worker.engine": f"buildah:{place.base}"}, tmp_path, forge)
    finally:
        remove_storage(place)


def test_a_newer_docker_engine_gives_the_same_image_once_more(tmp_path: Path, forge: Forge) -> None:
    with newer_engine() as socket:
        check_reproducible({"worker.engine": f"unix://{socket}"}, tmp_path, forge)


@pytest.mark.parametrize("fixed", [False, True])
def test_what_an_earlier_commit_left_in_the_cache_changes_no_time(
    fixed: bool, tmp_path: Path, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = REPRODUCIBLE + 'args = { SOURCE_DATE_EPOCH = "0" }\n' * fixed
    with (
        newer_engine() as socket,
        LumperServer(tmp_path / "data", {"worker.engine": f"unix://{socket}"}) as lumper,
        line_of(lumper, forge) as line,
    ):
        files = {"Dockerfile": f"{FILES}COPY last /last\n", "hello": "world", "last": "1", "lumper.toml": recipe}
        line.succeeded(line.project.release("v1.0.0", files))
        monkeypatch.setitem(ENVIRONMENT, "GIT_COMMITTER_DATE", f"{int(time.time())} +0000")  # after its files
        second = line.project.release("v1.1.0", {**files, "last": "2"})
        line.succeeded(second)
        assert ("cached [3/4]" in line.text(second)) == fixed
        status, found, said = verify(line, second)
    assert (status, found["state"]) == (0, "reproducible"), (found, said)


def verified_on_a_moved_base(settings: dict[str, str], folder: Path, forge: Forge) -> tuple[int, dict[str, Any], str]:
    """Build on a tag of another image, move that tag, and verify; also the digest that the base had first."""
    settings = {"registry.anonymous": "pull", **settings}
    with (
        LumperServer(folder / "data", settings) as lumper,
        line_of(lumper, forge, "base") as base,
        line_of(lumper, forge) as line,
    ):
        stable = {
            "hello": "one",
            "lumper.toml": REPRODUCIBLE if "worker.engine" in settings else "",
            "Dockerfile": FILES,
        }
        first = base.succeeded(base.project.release("v1.0.0", stable))
        dockerfile = f"FROM {lumper.address}/{base.project.image}:1\nCOPY hello /srv/app/hello\n"
        app = line.project.release("v1.0.0", {**stable, "Dockerfile": dockerfile})
        assert [one["digest"] for one in line.succeeded(app)["bases"]] == [first["digest"]]
        base.succeeded(base.project.release("v1.1.0", {**stable, "hello": "two"}))
        status, found, said = verify(line, app)
        assert f"{base.project.image}:1" in said
        return status, found, first["digest"]


def test_a_base_image_that_moved_is_pinned_where_the_engine_can(tmp_path: Path, forge: Forge) -> None:
    with newer_engine() as socket:
        status, found, _ = verified_on_a_moved_base({"worker.engine": f"unix://{socket}"}, tmp_path, forge)
    assert (status, found["state"]) == (0, "reproducible"), found


def test_a_base_image_that_moved_is_told_where_the_engine_cannot_pin_it(tmp_path: Path, forge: Forge) -> None:
    status, found, digest = verified_on_a_moved_base({}, tmp_path, forge)
    assert (status, found["state"]) == (1, "unknown")
    assert "the base image" in found["summary"]
    assert f"was {digest} then" in found["summary"]
