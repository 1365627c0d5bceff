"""A builder of buildx beside an older engine: at each push the one that can builds, and both push to the registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from parts.engines.buildkitd import behind_a_socket
from parts.engines.engine_bench import Daemons, remote_builder
from parts.engines.newer_engine import BUILDX
from parts.git.forge import serve_forge
from parts.line.line import Line, line_of
from parts.processes.lumper_process import LumperServer
from parts.servers.background import in_background

pytestmark = pytest.mark.docker

BOTH = ("linux/amd64", "linux/arm64")
RECIPE = f"[build]\nplatforms = {json.dumps(BOTH)}\n"
DOCKERFILE = "FROM scratch\nARG TARGETARCH\nLABEL for=$TARGETARCH\nCOPY index.html /\n"


@pytest.fixture
def line(daemons: Daemons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    plugins = tmp_path / "docker/cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / BUILDX.name).symlink_to(BUILDX)
    monkeypatch.setenv("DOCKER_CONFIG", str(plugins.parent))
    with (
        in_background(behind_a_socket(daemons.newer_engine())) as address,
        in_background(remote_builder(address)) as builder,
        serve_forge(tmp_path / "forge") as forge,
        LumperServer(tmp_path / "data", {"worker.builder": builder}) as lumper,
        line_of(lumper, forge) as made,
    ):
        yield made


def test_several_platforms_are_built_by_the_builder_and_all_else_by_the_engine(line: Line) -> None:
    several = line.succeeded(line.project.release("v1.0.0", {"Dockerfile": DOCKERFILE, "lumper.toml": RECIPE}), 120)
    index = line.image().manifest(several["digest"])
    assert ["{os}/{architecture}".format(**each["platform"]) for each in index["manifests"]] == list(BOTH)
    for each in index["manifests"]:
        line.image().pull(each["digest"])

    plain = line.succeeded(line.project.release("v1.0.1"), 120)
    assert "config" in line.image().manifest(plain["digest"])
    line.image().pull(plain["digest"])
    assert line.tags()["1"] == plain["digest"]

    files = line.lumper.data / "buildx/images/blobs"
    assert [path for path in files.rglob("*") if path.is_file()] == []  # what was pushed is let go
