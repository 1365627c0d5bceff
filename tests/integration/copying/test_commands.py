"""`lumper image copy` and `lumper registry import` as a person types them, into a running server and without one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from parts.processes.command_line import Ran, lumper
from parts.processes.lumper_process import LumperServer
from parts.registries.live_registry import RegistryClient
from parts.registries.upstream import Door


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LumperServer]:
    behind_nginx = {"server.public_url": "https://registry.invalid"}  # where tokens are: not where a command asks
    running = LumperServer(tmp_path / "data", behind_nginx, role="registry")
    with running:
        await asyncio.to_thread(running.wait_until_said, "answers at")
        yield running


async def run(data: Path, *arguments: object, **settings: str) -> Ran:
    settings = {"DOCKER_CONFIG": str(data / "nothing"), **settings}
    return await asyncio.to_thread(lumper, *arguments, "--data", data, settings=settings)


async def tags(data: Path, repository: str) -> dict[str, Any]:
    found = (await run(data, "images", repository, "--json")).json
    return {tag["name"]: tag["digest"] for tag in found["tags"]}


async def test_an_image_comes_and_goes_between_repositories(
    old: tuple[Door, RegistryClient], server: LumperServer
) -> None:
    digest = await old[1].push_image("team/app", "1.0", os.urandom(300_000))
    data = server.data

    done = (await run(data, "image", "copy", f"{old[0].url}/team/app:1.0", "mine/app:1.0", "--json")).json
    again = await run(data, "image", "copy", "mine/app:1.0", "other/app:2")

    assert (done["digest"], done["sent"]) == (digest, 2)
    assert again.status == 0, again
    assert "2 mounted" in again.out
    assert await tags(data, "other/app") == {"2": digest}
    history = (await run(data, "image", "history", "mine/app:1.0", "--json")).json
    assert [one["action"] for one in history] == ["tag"]  # it came by the registry's own door


async def test_what_verification_finds_is_mended_by_the_command_that_it_names(
    old: tuple[Door, RegistryClient], server: LumperServer
) -> None:
    await old[1].push_image("team/app", "1.0", os.urandom(300_000))
    data, copy = server.data, ("image", "copy", f"{old[0].url}/team/app:1.0", "mine/app:1.0")
    assert (await run(data, *copy)).status == 0
    files = [path for path in (data / "registry/blobs").rglob("*") if path.is_file()]
    smallest, *_, largest = sorted(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(b"rotten")
    smallest.unlink()

    found = await run(data, "registry", "verify")
    assert (found.status, "corrupt" in found.out, "missing" in found.out) == (1, True, True), found
    assert "`lumper image copy --again`" in found.out
    assert (await run(data, *copy, "--again")).status == 0

    assert (await run(data, "registry", "verify")).out.startswith("Nothing is wrong.")


async def test_the_mistakes_of_a_copy_are_told(
    old: tuple[Door, RegistryClient], server: LumperServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = server.data
    (data.parent / "config.json").write_text('{"auths": {"' + old[0].host + '": {}}, "credsStore": "pass"}')
    (data.parent / "file").write_text("hello")
    cases = {
        "nothing has no tag 1": (f"{old[0].url}/nothing:1", "a:1"),
        "has neither": (str(data.parent), "a:1"),
        "is no tar file": (f"docker-archive:{data.parent}/file", "a:1"),
        "there-is-none.tar cannot be read": ("there-is-none.tar:b:1", "a:1"),
        "does not name": ("UPPER:1", "a:1"),
        "into registries only": ("a:1", "oci:/tmp/x"),
        "without a password": (f"{old[0].url}/a:1", "b:1", "--username", "me"),
    }
    for words, arguments in cases.items():
        assert words in (await run(data, "image", "copy", *arguments)).trouble
    monkeypatch.chdir(data.parent)
    assert "is ./file" in (await run(data, "image", "copy", "file", "a:1")).trouble
    refused = await run(data, "image", "copy", f"{old[0].url}/a:1", "a:1", DOCKER_CONFIG=str(data.parent))
    assert "docker-credential-pass" in refused.trouble


async def test_an_old_registry_is_imported_and_run_again_the_import_goes_on(
    old: tuple[Door, RegistryClient], server: LumperServer, tmp_path: Path
) -> None:
    door, pusher = old
    for name in ("a", "b"):
        await pusher.push_image(name, "1", name.encode())
    (tmp_path / "token").write_text(door.token)
    login = ("--username", "any", "--password-file", tmp_path / "token", "--json")
    data = server.data

    async def broken(request: web.Request) -> web.Response | None:
        return web.Response(status=404) if request.path == "/v2/b/manifests/1" else None

    door.first = broken
    failed = await run(data, "registry", "import", door.url, *login)
    door.first = None
    done = (await run(data, "registry", "import", door.url, *login)).json
    named = await run(data, "registry", "import", door.url, "--repository", "none", *login)

    assert (named.status, '"repository": "none"' in named.out) == (1, True)
    assert failed.status == 1
    assert '"failed": 1' in failed.out
    assert done["counts"] == {"there": 1, "copied": 1}
    assert (await tags(data, "b")).keys() == {"1"}
