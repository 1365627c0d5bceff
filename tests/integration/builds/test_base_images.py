"""A base image that has changed brings a build of what was made from it, and nothing goes round in circles."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import update

from lumper.model.builds.build import Base
from lumper.model.builds.secrets import Kind
from lumper.model.images.activity import SERVER
from lumper.model.people.people import Role
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.lookup import Lookup
from lumper.registry.remote.registry import RemoteRegistry
from lumper.roles.bases import Bases
from lumper.store.tables import builds as builds_table
from parts.git.git_repository import Repository
from parts.git.local_project import add, repository_of, states
from parts.registries.live_registry import OCI_MANIFEST, LiveRegistry, digest_of, live_registry
from parts.web.live_api import Api


@pytest.fixture
def origin(api: Api) -> Repository:
    return repository_of(api)


@pytest.fixture
async def built(api: Api, origin: Repository) -> Api:
    """The API of a server where v1.0.0 waits to be built, and is to be built again after its bases."""
    await add(api, origin, base_images=True)
    await api.ask("POST", "/projects/app/builds", {"ref": "v1.0.0"})
    return api


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[LiveRegistry]:
    """Where the bases are."""
    (tmp_path / "bases").mkdir()
    async with live_registry(tmp_path / "bases") as live:
        yield live


async def test_a_base_image_that_has_changed_brings_a_build_of_the_newest_tag_with_the_reason(
    api: Api, origin: Repository, tmp_path: Path
) -> None:
    await add(api, origin, base_images=True)
    origin.tag("v1.1.0", origin.commit({"Dockerfile": "FROM scratch\n", "a": "1"}))
    for tag in ("v1.0.0", "v1.1.0"):
        await api.ask("POST", "/projects/app/builds", {"ref": tag})
    (tmp_path / "bases").mkdir()
    async with live_registry(tmp_path / "bases", anonymous="push") as registry:
        bases = Bases(api.history, lookup(api, registry))
        name = f"{registry.host}/base:1"
        old = await push_image(registry, "base", "1", b"old")
        for build_id in (1, 2):
            await succeeded(api, (Base(name, old), Base("no.such.host.invalid/x:1", old)), build_id)
        await bases.check()
        assert await states(api) == ["succeeded", "succeeded"]
        new = await push_image(registry, "base", "1", b"new")
        for _ in range(2):
            await bases.check()
            assert await states(api) == ["succeeded", "queued"]
        build, _ = (await api.ask("GET", "/builds")).body
        await api.ask("POST", "/builds/2/cancel")
        await bases.check()
        assert await states(api) == ["succeeded", "cancelled"], "neither in vain again, nor an older tag instead"
    assert (build["trigger"], build["attempt"]) == ("base", 2)
    assert all(words in build["cause"] for words in (name, old, new))


async def test_a_private_base_image_is_asked_for_with_the_login_of_the_project(
    built: Api, registry: LiveRegistry
) -> None:
    bases = Bases(built.history, lookup(built, registry))
    old = await push_image(registry, "base", "1", b"old")
    await succeeded(built, (Base(f"{registry.host}/base:1", old),))
    await push_image(registry, "base", "1", b"new")
    for project, password in (("", "wrong"), ("app", registry.tokens[Role.ADMIN])):  # the project's own wins
        await bases.check()
        assert await states(built) == ["succeeded"]
        await built.history.secrets.set(project, Kind.LOGIN, registry.host, password.encode(), username="bot")
    await bases.check()
    assert await states(built) == ["queued"]


async def test_a_base_image_of_our_own_registry_is_looked_up_there_by_each_of_its_names_and_is_not_pulled(
    built: Api, registry: LiveRegistry
) -> None:
    bases = Bases(built.history, lookup(built, registry, own=("registry.example.org", "127.0.0.1:5080")))
    old = await push_image(registry, "base", "1", b"old")
    for number, host in enumerate(("registry.example.org", "127.0.0.1:5080")):
        await succeeded(built, (Base(f"{host}/app:1", "sha256:" + "0" * 64), Base(f"{host}/base:1", old)))
        await bases.check()
        assert await states(built) == ["succeeded"]
        old = await push_image(registry, "base", "1", b"new%d" % number)
        await bases.check()
        assert await states(built) == ["queued"]
    [shown] = (await built.ask("GET", "/builds")).body
    assert f"is {old} now" in shown["cause"]
    await registry.registry.pulls.flush()
    [tag] = await registry.registry.metadata.states_of("base", ["1"])
    assert tag.pulled_at is None


async def test_a_build_is_not_repeated_for_ever_that_is_from_its_own_image_or_in_a_circle_with_another(
    built: Api, origin: Repository, registry: LiveRegistry
) -> None:
    bases = Bases(built.history, lookup(built, registry, own=(registry.host,)))
    old = await push_image(registry, "app", "latest", b"old")
    await succeeded(built, (Base(f"{registry.host}/app:latest", old),))
    await push_image(registry, "app", "latest", b"new")
    await bases.check()
    assert await states(built) == ["succeeded"]
    await built.ask("POST", "/projects", {"url": str(origin.path), "name": "tool"})
    await built.ask("PUT", "/projects/tool/rules", {"base_images": True})
    await built.ask("POST", "/projects/tool/builds", {"ref": "v1.0.0"})
    rounds = [await one_round(built, registry, bases, number) for number in range(3)]
    assert rounds == [["queued", "succeeded"], *[["succeeded", "succeeded"]] * 2]


async def one_round(api: Api, registry: LiveRegistry, bases: Bases, number: int) -> list[str]:
    """What is built again of two images that are made from each other, once the first of them has been pushed."""
    for build_id, name, other in ((1, "app", "tool"), (2, "tool", "app")):
        build = await api.history.builds.get(build_id)
        if number == 0 or not build.state.final:
            there = await registry.registry.manifests.there(other, "latest")
            await push_image(registry, name, "latest", b"%d" % number)
            await succeeded(api, (Base(f"{registry.host}/{other}:latest", there),), build_id)
    await bases.check()
    return await states(api)


def lookup(api: Api, registry: LiveRegistry, own: tuple[str, ...] = ()) -> Lookup:
    """What knows the images of this registry, which has no TLS; it is ours, under these names."""

    def opened(url: str, credentials: Credentials | None) -> RemoteRegistry:
        return RemoteRegistry(url.replace("https://127.0.0.1", "http://127.0.0.1"), credentials)

    return Lookup(opened, api.history.secrets.login, registry.registry.manifests.there, own)


async def push_image(registry: LiveRegistry, repository: str, tag: str, content: bytes) -> str:
    """An image of one layer; its digest."""
    blobs, layer = registry.registry.blobs, digest_of(content)
    session = await blobs.begin(repository, "")
    await blobs.finish(session, layer, data=chunks(content))
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": layer, "size": len(content)}
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}).encode()
    return (await registry.registry.manifests.put(repository, tag, OCI_MANIFEST, body, actor=SERVER)).digest


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def succeeded(api: Api, bases: tuple[Base, ...], build_id: int = 1) -> None:
    """As if this build had ended well with these bases."""
    told = [vars(base) for base in bases]
    values = {"state": "succeeded", "bases": told, "digest": f"sha256:{build_id:064}"}
    async with api.history.database.write() as connection:
        await connection.execute(update(builds_table).where(builds_table.c.id == build_id).values(**values))
