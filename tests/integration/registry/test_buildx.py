"""What `docker buildx` pushes to the registry and makes there: several platforms, provenance, zstd, lists."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from parts.engines.context import context_tar
from parts.engines.newer_engine import BUILDX, newer_engine
from parts.processes.programs import Run, programs
from parts.registries.live_registry import OCI_INDEX, OCI_MANIFEST, PASSWORD, LiveRegistry, RegistryClient

pytestmark = [pytest.mark.docker, pytest.mark.system]
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
PROVENANCE = "attestation-manifest"


def signed_in(run_home: Path, host: str, socket: str) -> Run:
    run = programs(run_home, DOCKER_HOST=f"unix://{socket}")
    login = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    (run_home / ".docker").mkdir()
    (run_home / ".docker/config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
    return run


async def test_several_platforms_with_provenance_are_pushed_and_lists_of_them_are_made(
    live: LiveRegistry, admin: RegistryClient, tmp_path: Path
) -> None:
    (tmp_path / "context.tar").write_bytes(context_tar({"Dockerfile": "FROM scratch\nCOPY Dockerfile /told\n"}))
    app = f"{live.host}/team/app"
    zstd = f"type=image,name={app}:zstd,push=true,compression=zstd,force-compression=true,oci-mediatypes=true"
    with newer_engine() as socket:
        run = signed_in(tmp_path / "home", live.host, socket)

        async def build(options: str) -> None:
            await run("sh", "-c", f"{BUILDX} build {options} - <{tmp_path}/context.tar")

        await build(f"--platform linux/amd64,linux/arm64 --provenance mode=max --push -t {app}:1 -t {app}:latest")
        await build(f"--provenance false --output {zstd}")
        # Of an image that is here, of one in another repository, and with a note of its own.
        await run(BUILDX, "imagetools", "create", "-t", f"{live.host}/team/copy:all", f"{app}:1", f"{app}:zstd")
        await run(BUILDX, "imagetools", "create", "--annotation", "index:told=yes", "-t", f"{app}:noted", f"{app}:1")
        told = await run(BUILDX, "imagetools", "inspect", "--format", "{{json .Provenance}}", f"{app}:1")

    digest, kind, index = await admin.manifest("team/app", "1")
    assert (digest, kind, index) == await admin.manifest("team/app", "latest")
    assert kind == OCI_INDEX
    platforms = [entry["platform"]["architecture"] for entry in index["manifests"]]
    assert platforms == ["amd64", "arm64", "unknown", "unknown"]
    said = [entry.get("annotations", {}).get("vnd.docker.reference.type") for entry in index["manifests"]]
    assert said == [None, None, PROVENANCE, PROVENANCE]
    assert set(json.loads(told)) == {"linux/amd64", "linux/arm64"}

    _, kind, image = await admin.manifest("team/app", "zstd")
    assert (kind, [layer["mediaType"] for layer in image["layers"]]) == (OCI_MANIFEST, [ZSTD])
    *_, copied = await admin.manifest("team/copy", "all")
    for entry in copied["manifests"]:
        await admin.manifest("team/copy", entry["digest"])
    assert len(copied["manifests"]) == 5
    assert (await admin.manifest("team/app", "noted"))[2]["annotations"] == {"told": "yes"}
