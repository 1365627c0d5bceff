"""A Docker Engine that has our registry as its mirror: pulls, and builds whose FROM exists only upstream."""

from __future__ import annotations

from pathlib import Path

from lumper.build.engines.buildkit import BuildKitEngine
from lumper.build.port import BuildRequest
from lumper.registry.access import anonymous_rights
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.upstream.upstreams import Upstream
from parts.context import context_tar, stream
from parts.live_registry import live_registry
from parts.second_engine import second_engine
from parts.static_registry import static_registry


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
