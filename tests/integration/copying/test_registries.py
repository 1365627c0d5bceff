"""A whole registry is copied into another one, again and again; what is wrong with one image stops no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aiohttp import web

from lumper.cli.images.progress import Quiet
from lumper.errors import LumperError
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.transfer.copy import Copier
from lumper.registry.transfer.mirror import Mirror
from lumper.registry.transfer.source import RemoteSource
from parts.registries.copies import copied, outcomes, push_index
from parts.registries.live_registry import RegistryClient, digest_of
from parts.registries.upstream import Door


async def test_a_whole_registry_is_mirrored_and_a_second_run_only_looks(
    old: tuple[Door, RegistryClient], new: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    layer = os.urandom(1000)
    for name in ("a", "team/b", "team/c"):
        for tag in ("1", "2"):
            await old[1].push_image(name, tag, layer + name.encode() + tag.encode())
    names = [f"{name}:{tag}" for name in ("a", "team/b", "team/c") for tag in "12"]

    assert await outcomes(here, there, dry_run=True) == dict.fromkeys(names, "would")
    assert new[0].count("POST", "/blobs/uploads/") == 0
    assert await outcomes(here, there) == dict.fromkeys(names, "copied")
    assert await outcomes(here, there) == dict.fromkeys(names, "there")
    moved = await old[1].push_image("a", "1", b"moved")
    assert await outcomes(here, there, repositories=["a*"]) == {"a:1": "copied", "a:2": "there"}
    assert await there.digest("a", "1") == moved
    assert await outcomes(here, there, repositories=["team/*"], tags=["2"], prefix="old/") == {
        "old/team/b:2": "copied",
        "old/team/c:2": "copied",
    }


def damaged(data: Path) -> list[str]:
    """The digests of the files that are not what their names say."""
    files = [path for path in (data / "registry/blobs/sha256").rglob("*") if path.is_file()]
    return [path.name for path in files if digest_of(path.read_bytes()) != f"sha256:{path.name}"]


async def test_what_was_damaged_or_lost_is_whole_again_when_everything_is_sent_again(
    old: tuple[Door, RegistryClient],
    new: tuple[Door, RegistryClient],
    here: RemoteRegistry,
    there: RemoteRegistry,
    tmp_path: Path,
) -> None:
    layer = os.urandom(400_000)
    for name in ("a", "b"):
        await old[1].push_image(name, "1", layer)
    await push_index(old[1], "a", "all", "linux/amd64", "linux/arm64")
    await outcomes(here, there)
    files = sorted(path for path in (tmp_path / "new/registry/blobs/sha256").rglob("*") if path.is_file())
    for number, path in enumerate(files):  # layers, configs, manifests and an index
        path.write_bytes(b"rotten") if number % 2 else path.unlink()

    assert set((await outcomes(here, there)).values()) == {"there"}
    assert damaged(tmp_path / "new")
    new[0].asked.clear()
    assert set((await outcomes(here, there, again=True)).values()) == {"copied"}

    assert sorted(path for path in (tmp_path / "new/registry/blobs/sha256").rglob("*") if path.is_file()) == files
    assert damaged(tmp_path / "new") == []


async def test_an_image_is_sent_again_if_that_is_asked_for_and_each_layer_once(
    old: tuple[Door, RegistryClient], new: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    await push_index(old[1], "app", "1", "linux/amd64", "linux/arm64")  # of one config
    await copied(RemoteSource(here, "app", "1"), there, "copy:1")
    copier = Copier(there, again=True)

    first = await copier.copy(RemoteSource(here, "app", "1"), "copy", "1", Quiet())
    other = await copier.copy(RemoteSource(here, "app", "1"), "other", "1", Quiet())

    assert (first.sent, first.there, first.manifests) == (3, 1, 3)
    assert (other.sent, other.mounted + other.there, other.manifests) == (0, 4, 3)


async def test_what_fails_is_told_and_the_rest_goes_on(
    old: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    for name in ("a", "b", "c"):
        await old[1].push_image(name, "1", name.encode())

    async def failing(request: web.Request) -> web.Response | None:
        broken = request.path.startswith("/v2/b/manifests/") or request.path == "/v2/c/tags/list"
        return web.Response(status=403) if broken else None

    old[0].first = failing
    assert await outcomes(here, there) == {"a:1": "copied", "b:1": "failed", "c:": "failed"}


async def test_what_a_damaged_image_lacks_is_told_and_not_asked_for_again_and_again(
    old: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    layer = os.urandom(100_000)
    await old[1].push_image("a", "1", layer)
    await push_index(old[1], "a", "both", "linux/amd64")
    child = await here.digest("a", "p-linux-amd64")
    gone = {digest_of(layer), child}

    async def failing(request: web.Request) -> web.Response | None:
        return web.Response(status=404) if request.method == "GET" and request.path.split("/")[-1] in gone else None

    old[0].first = failing
    told = {one.tag: one.why async for one in Mirror(here, there, Quiet()).run()}
    assert f"a at {here.url} lacks {digest_of(layer)}, which the image refers to." in told["1"]
    assert f"a at {here.url} lacks {child}, which the image refers to." in told["both"]
    assert old[0].count("GET", f"/v2/a/blobs/{digest_of(layer)}") == 1


async def test_an_image_of_schema_1_is_told_as_one(
    old: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    await old[1].push_image("a", "1")
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"

    async def ancient(request: web.Request) -> web.Response | None:
        headers = {"Docker-Content-Digest": "sha256:" + "a" * 64, "Content-Type": kind}
        return web.Response(body=b"{}", headers=headers) if "/manifests/" in request.path else None

    old[0].first = ancient
    (told,) = [one.why async for one in Mirror(here, there, Quiet()).run()]
    assert told.startswith("a:1 is an image of Docker's schema 1")


async def test_a_registry_without_tls_is_told_as_such(here: RemoteRegistry, there: RemoteRegistry) -> None:
    secure = RemoteRegistry(here.url.replace("http://", "https://"))
    with pytest.raises(LumperError) as refused:
        await outcomes(secure, there)
    await secure.close()
    assert "http://" in refused.value.hint


async def test_a_registry_that_lists_nothing_needs_whole_names(
    old: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    await old[1].push_image("a/b", "1")

    async def failing(request: web.Request) -> web.Response | None:
        return web.Response(status=401) if request.path == "/v2/_catalog" else None

    old[0].first = failing
    assert await outcomes(here, there, repositories=["a/b"]) == {"a/b:1": "copied"}
    with pytest.raises(LumperError) as refused:
        await outcomes(here, there, repositories=["a/*"])
    assert "--repository" in refused.value.hint
