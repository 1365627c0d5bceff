"""Real clients of a registry that mirrors another one: an Engine that pulls and builds, a containerd that pushes."""

from __future__ import annotations

import tarfile
from pathlib import Path

import aiohttp
import pytest

from lumper.build.engines.buildkit import BuildKitEngine
from lumper.build.port import BuildRequest
from lumper.model.people.people import Role
from lumper.registry.access import anonymous_rights
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.upstream.upstreams import Upstream
from parts.engines.containerd import containerd
from parts.engines.context import context_tar, stream
from parts.engines.second_engine import second_engine
from parts.processes.programs import programs
from parts.registries.image_files import layer_of, oci_layout
from parts.registries.live_registry import PASSWORD, RegistryClient, digest_of, live_registry
from parts.registries.static_registry import static_registry

pytestmark = [pytest.mark.docker, pytest.mark.system]


async def test_an_engine_pulls_and_builds_through_its_mirror(tmp_path: Path) -> None:
    async with static_registry(login=("me", "secret"), bearer=True) as hub:
        digest = hub.add(["true"])
        remote = RemoteRegistry(f"http://{hub.address}", Credentials("me", "secret"))
        upstreams = [Upstream("docker.io", remote, default=True)]
        async with (
            live_registry(
                tmp_path, anonymous="pull", anonymous_repositories=("docker.io/**",), upstreams=upstreams
            ) as live,
            second_engine("--registry-mirror", live.url) as engine,
        ):
            assert "Downloaded newer image" in await engine.docker("pull", f"a/pulled@{digest}")
            await engine.docker("build", "-q", "-", stdin=f"FROM b/classic@{digest}\nLABEL a=b\n")
            buildkit = BuildKitEngine(engine.address)
            dockerfile = f"FROM c/buildkit@{digest}\nLABEL a=b\n"
            context = stream(context_tar({"Dockerfile": dockerfile}))
            await buildkit.build(BuildRequest("1", "built:1"), context, lambda _: None)
            await buildkit.close()

            page = await live.registry.listings.repositories("", 10, anonymous_rights("pull"))
            assert page.names == ["docker.io/a/pulled", "docker.io/b/classic", "docker.io/c/buildkit"]
        assert hub.pulled_by == ["me"] * 3


async def test_what_is_pushed_needs_no_upstream_although_its_name_could_be_one_there(tmp_path: Path) -> None:
    """containerd, and so BuildKit, first looks without credentials whether a layer is there."""
    (tmp_path / "registry").mkdir()
    oci_layout(tmp_path / "image", layer_of(("hello", b"world")))
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(tmp_path / "image", arcname=".")
    away = Upstream("docker.io", RemoteRegistry("http://127.0.0.1:1"), default=True)
    async with (
        live_registry(tmp_path / "registry", anonymous="pull", upstreams=[away]) as live,
        containerd() as ctr,
        aiohttp.ClientSession() as session,
    ):
        run, name = programs(tmp_path / "home"), f"{live.host}/new/app:1"
        await run(*ctr, "images", "import", "--no-unpack", "--base-name", "made", tmp_path / "image.tar")
        await run(*ctr, "images", "tag", "made:x", name)
        await run(*ctr, "images", "push", "--plain-http", "--user", f"admin:{PASSWORD}", name)

        assert [tag.name for tag in await live.registry.metadata.tags("new/app") or []] == ["1"]
        blob = f"/v2/other/app/blobs/{digest_of(b'new')}"
        admin = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        assert await RegistryClient(session, live.url).status("HEAD", blob) == 401
        assert await admin.status("HEAD", blob) == 404
        assert await admin.refusal("GET", blob) == (502, "UPSTREAM_FAILED")
