"""Docker's SDK for Python, with which programs look for updates too."""

from __future__ import annotations

import asyncio
import contextlib
import secrets

import docker
import pytest
from docker.errors import ImageNotFound

from parts.engines.docker_engine import ADDRESS
from parts.registries.image_files import layer_of
from parts.registries.live_registry import PASSWORD, LiveRegistry

pytestmark = pytest.mark.docker


async def test_dockers_sdk_pushes_and_pulls_and_sees_which_digest_a_tag_has(live: LiveRegistry) -> None:
    repository = f"{live.host}/team/sdk"

    def work() -> None:
        engine = docker.DockerClient(ADDRESS, timeout=100)
        login = {"username": "admin", "password": PASSWORD}
        try:
            layer = layer_of(("random", secrets.token_bytes(1000)))
            engine.api.import_image_from_data(layer, repository=repository, tag="1")
            assert "digest: sha256:" in engine.images.push(repository, tag="1", auth_config=login)
            engine.images.remove(f"{repository}:1")
            there = engine.images.get_registry_data(f"{repository}:1", auth_config=login)
            assert there.has_platform("linux/amd64")
            pulled = engine.images.pull(repository, tag="1", auth_config=login)
            assert pulled.attrs["RepoDigests"] == [f"{repository}@{there.id}"]
        finally:
            with contextlib.suppress(ImageNotFound):
                engine.images.remove(f"{repository}:1", force=True)
            engine.close()

    await asyncio.to_thread(work)
