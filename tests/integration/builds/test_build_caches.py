"""BuildKit's caches in the registry, in the forms that `docker buildx build --cache-to type=registry` has for them."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import aiohttp
import pytest

from lumper.model.people.people import Role
from parts.engines.context import BASE, context_tar
from parts.engines.newer_engine import BUILDX, newer_engine
from parts.processes.programs import programs
from parts.registries.live_registry import OCI_INDEX, OCI_MANIFEST, PASSWORD, RegistryClient, live_registry

pytestmark = [pytest.mark.docker, pytest.mark.system]
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("image-manifest=false,oci-mediatypes=true", OCI_INDEX),
        ("image-manifest=false,oci-mediatypes=false", LIST),
        ("image-manifest=true,oci-mediatypes=true", OCI_MANIFEST),
    ],
)
async def test_a_cache_is_kept_and_taken_from_the_registry(tmp_path: Path, form: str, kind: str) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "context.tar").write_bytes(context_tar({"Dockerfile": BASE + "RUN echo made >/said\nRUN cat /said\n"}))
    async with live_registry(tmp_path / "registry") as live, aiohttp.ClientSession() as session:
        with newer_engine() as socket:
            run = programs(tmp_path / "home", DOCKER_HOST=f"unix://{socket}")
            login = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
            (tmp_path / "home/.docker").mkdir()
            (tmp_path / "home/.docker/config.json").write_text(json.dumps({"auths": {live.host: {"auth": login}}}))
            ref = f"type=registry,ref={live.host}/cache/app:1"

            async def build(*options: str) -> str:
                command = f"{BUILDX} build --progress plain {' '.join(options)} - <{tmp_path}/context.tar 2>&1"
                return await run("sh", "-c", command)

            await build("--cache-to", f"{ref},mode=max,{form}")
            await run(BUILDX, "prune", "--all", "--force")
            told = await build("--cache-from", ref)
            (step,) = re.findall(r"(#\d+) \[.*\] RUN echo made", told)
            assert f"{step} CACHED" in told.splitlines()

        client = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        async with client.request("HEAD", "/v2/cache/app/manifests/1") as response:
            assert response.headers["Content-Type"] == kind
