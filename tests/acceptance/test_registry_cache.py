"""`cache = true`: what one engine has built, another one takes from the registry."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from parts.engines.context import BASE
from parts.engines.newer_engine import newer_engine
from parts.git.forge import serve_forge
from parts.line.line import line_of
from parts.processes.lumper_process import LumperServer

pytestmark = pytest.mark.docker

RECIPE = "[build]\ncache = true\n"


def test_an_engine_takes_from_the_registry_what_another_one_has_built(tmp_path: Path) -> None:
    mark = secrets.token_hex(6)
    dockerfile = f"{BASE}RUN echo {mark} >/said; cat /said\nCOPY index.html /page\n"
    files = {"Dockerfile": dockerfile, "lumper.toml": RECIPE}
    with (
        serve_forge(tmp_path / "forge") as forge,
        LumperServer(tmp_path / "data") as lumper,
        line_of(lumper, forge) as line,
    ):
        for tag in ("v1.0.0", "v1.0.1"):
            lumper.end()
            with newer_engine() as socket:
                lumper.settings["worker.engine"] = f"unix://{socket}"
                lumper.start()
                build = line.succeeded(line.project.release(tag, files), 120)
                lumper.end()
            lumper.settings.pop("worker.engine")
        lumper.start()
        said = line.text(build["id"])
        assert mark not in said.replace(f"echo {mark}", ""), said  # the step of the second build has not run
        assert "buildcache" in line.tags()


def test_an_engine_that_cannot_keep_a_cache_there_builds_without_and_says_so(tmp_path: Path) -> None:
    with (
        serve_forge(tmp_path / "forge") as forge,
        LumperServer(tmp_path / "data") as lumper,
        line_of(lumper, forge) as line,
    ):
        build = line.succeeded(line.project.release("v1.0.0", {"lumper.toml": RECIPE}))
        assert "only the cache of its own is used" in line.text(build["id"])
        assert "buildcache" not in line.tags()
