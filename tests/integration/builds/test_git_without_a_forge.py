"""A bare repository on the machine of the server: what `lumper project add` prints for it, put there and pushed to."""

from __future__ import annotations

import os
import subprocess
from html import unescape
from pathlib import Path

from lumper.forges.guide import post_receive
from parts.git.git_repository import ENVIRONMENT, Repository
from parts.processes.command_line import lumper
from parts.processes.lumper_process import NO_ENGINE, LumperServer
from parts.web.live_pages import live_pages


def test_the_hook_that_is_printed_builds_every_tag_that_is_pushed_at_once(tmp_path: Path) -> None:
    bare = Repository(tmp_path / "app.git")
    commit = bare.commit({"Dockerfile": "FROM scratch\n"})
    with LumperServer(tmp_path / "data", NO_ENGINE) as server:
        at = ("--data", server.data)
        said = lumper("project", "add", bare.path, "--name", "shop", "--allow-local", *at).out
        assert said == lumper("project", "show", "shop", "--secret", *at).out
        hook = bare.path / "hooks/post-receive"
        hook.write_text(said[said.index("#!/bin/sh") :])
        hook.chmod(0o755)
        mine = {**ENVIRONMENT, "PATH": os.defpath}

        def push(*refs: str) -> str:
            command = ["git", "-C", str(work), "push", "-q", str(bare.path), *refs]
            return subprocess.run(command, env=mine, capture_output=True, text=True, check=True).stderr

        work = tmp_path / "work"
        bare.git("clone", "-q", str(bare.path), str(work))
        for tag in ("v1.0.0", "v1.1.0"):
            subprocess.run(["git", "-C", str(work), "tag", tag, commit], env=mine, check=True)
        said = push(f"{commit}:refs/heads/main", "v1.0.0", "v1.1.0")
        assert "remote: Build 1 of v1.0.0 is queued" in said
        assert "remote: Build 2 of v1.1.0 is queued" in said
        assert push(":v1.0.0") == ""
        told = [(build["ref"], build["commit"], build["trigger"]) for build in reversed(server.client.get("builds"))]
    assert told == [("refs/tags/v1.0.0", commit, "manual"), ("refs/tags/v1.1.0", commit, "manual")]


async def test_the_page_of_a_project_at_a_path_shows_the_hook(tmp_path: Path) -> None:
    async with live_pages(tmp_path) as live, live.browser() as person:
        await live.project("/srv/git/shop.git", name="shop")
        await live.project("https://git.example.org/acme/other.git", name="other")
        async with person.get("/projects/shop") as answer:
            shown = await answer.text()
        async with person.get("/projects/other") as answer:
            other = await answer.text()
    assert unescape(shown).count(post_receive("shop")) == 1
    assert "post-receive" not in other
