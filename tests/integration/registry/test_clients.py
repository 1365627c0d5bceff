"""Real clients against a registry with authentication on: the Docker Engine, skopeo and buildah."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import secrets
from pathlib import Path

import pytest
from aiodocker.exceptions import DockerError

from lumper.model.people.people import Role
from lumper.registry.manifest_format import DOCKER_MANIFEST
from parts.engines.docker_engine import engine
from parts.processes.programs import Run
from parts.registries.image_files import docker_archive, layer_of, oci_layout
from parts.registries.live_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    PASSWORD,
    LiveRegistry,
    RegistryClient,
    image_index,
)

pytestmark = [pytest.mark.docker, pytest.mark.system]


async def test_skopeo_pushes_copies_and_pulls_the_same_bytes(
    live: LiveRegistry, admin: RegistryClient, run: Run, tmp_path: Path
) -> None:
    digest = oci_layout(tmp_path / "image", os.urandom(5 << 20), layer_of(("hello", b"world")))
    here, there = f"docker://{live.host}/team/app:1.0", f"docker://{live.host}/team/copy:1.0"
    as_admin = ("--dest-tls-verify=false", f"--dest-creds=admin:{PASSWORD}")
    from_admin = ("--src-tls-verify=false", f"--src-creds=admin:{PASSWORD}")

    await run("skopeo", "copy", "--preserve-digests", *as_admin, f"oci:{tmp_path / 'image'}:x", here)
    await run("skopeo", "copy", "--preserve-digests", *as_admin, *from_admin, here, there)
    await run("skopeo", "copy", "--preserve-digests", *from_admin, there, f"oci:{tmp_path / 'back'}:x")

    async with admin.request("HEAD", "/v2/team/copy/manifests/1.0") as response:
        assert response.headers["Docker-Content-Digest"] == digest
    assert {path.name for path in (tmp_path / "back" / "blobs" / "sha256").iterdir()} == {
        path.name for path in (tmp_path / "image" / "blobs" / "sha256").iterdir()
    }
    listed = await run(
        "skopeo", "list-tags", "--tls-verify=false", f"--creds=any:{live.tokens[Role.DEPLOYER]}", here[:-4]
    )
    assert json.loads(listed)["Tags"] == ["1.0"]


async def test_skopeo_copies_all_images_of_an_index(live: LiveRegistry, admin: RegistryClient, run: Run) -> None:
    children = [await admin.push_image("multi", f"arch{n}", os.urandom(100)) for n in range(3)]
    sizes = []
    for child in children:
        async with admin.request("GET", f"/v2/multi/manifests/{child}") as response:
            sizes.append((child, len(await response.read())))
    index = await admin.push_manifest("multi", "all", image_index(*sizes), OCI_INDEX)
    creds = (f"--src-creds=admin:{PASSWORD}", f"--dest-creds=admin:{PASSWORD}")

    await run(
        *("skopeo", "copy", "--preserve-digests", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", *creds),
        *(f"docker://{live.host}/multi:all", f"docker://{live.host}/other:all"),
    )

    async with admin.request("GET", "/v2/other/manifests/all") as response:
        assert response.headers["Docker-Content-Digest"] == index
        assert response.headers["Content-Type"] == OCI_INDEX


async def test_who_may_not_push_is_refused_and_private_tags_are_nobodys(
    live: LiveRegistry, admin: RegistryClient, run: Run, tmp_path: Path
) -> None:
    oci_layout(tmp_path / "image", layer_of(("hello", b"world")))

    async def push(role: Role, tag: str) -> str:
        return await run(
            *(
                "skopeo",
                "copy",
                "--preserve-digests",
                "--dest-tls-verify=false",
                f"--dest-creds=any:{live.tokens[role]}",
            ),
            *(f"oci:{tmp_path / 'image'}:x", f"docker://{live.host}/app:{tag}"),
        )

    await push(Role.OPERATOR, "1")
    for role, tag in ((Role.WORKER, "latest"), (Role.DEPLOYER, "latest"), (Role.OPERATOR, "_build-1-1")):
        with pytest.raises(AssertionError, match=r"denied|may not|403"):
            await push(role, tag)

    assert await admin.status("GET", "/v2/app/manifests/1") == 200
    assert await admin.status("GET", "/v2/app/manifests/latest") == 404


async def test_buildah_pushes_and_pulls_an_image(
    live: LiveRegistry, admin: RegistryClient, run: Run, tmp_path: Path
) -> None:
    store = ("--storage-driver=vfs", f"--root={tmp_path / 'root'}", f"--runroot={tmp_path / 'run'}")
    image = f"docker://{live.host}/built/app:1"
    login = ("--tls-verify=false", f"--creds=admin:{PASSWORD}")
    container = (await run("buildah", *store, "from", "scratch")).strip()
    await asyncio.to_thread((tmp_path / "hello").write_text, "world")
    await run("buildah", *store, "copy", container, str(tmp_path / "hello"), "/hello")
    made = (await run("buildah", *store, "commit", "--rm", container, "built")).strip()

    await run("buildah", *store, "push", *login, made, image)
    await run("buildah", *store, "rmi", "--all")
    pulled = (await run("buildah", *store, "pull", *login, image)).strip()

    assert pulled == made
    async with admin.request("HEAD", "/v2/built/app/manifests/1") as response:
        assert response.headers["Content-Type"] in (OCI_MANIFEST, DOCKER_MANIFEST)


async def test_the_docker_engine_pushes_mounts_and_pulls_an_image(live: LiveRegistry, admin: RegistryClient) -> None:
    name, other = f"{live.host}/docker/app", f"{live.host}/docker/other"
    login = {"username": "admin", "password": PASSWORD, "serveraddress": live.host}
    made = ""
    layers = [layer_of((f"random{n}", secrets.token_bytes(1 << 20))) for n in range(3)]
    async with engine() as docker:
        try:
            await docker.images.import_image(io.BytesIO(docker_archive(f"{name}:1", *layers)))
            await docker.images.push(name, tag="1", auth=login)
            await docker.images.tag(f"{name}:1", other, tag="1")
            pushed = await docker.images.push(other, tag="1", auth=login)
            made = (await docker.images.inspect(f"{name}:1"))["Id"]
            for image in (f"{name}:1", f"{other}:1"):
                await docker.images.delete(image, force=True)

            async with admin.request("HEAD", "/v2/docker/other/manifests/1") as response:
                digest = response.headers["Docker-Content-Digest"]
            await docker.images.pull(f"{other}@{digest}", auth=login)

            assert any("Mounted from docker/app" in line.get("status", "") for line in pushed)
            assert (await docker.images.inspect(f"{other}@{digest}"))["Id"] == made
            with pytest.raises(DockerError):
                await docker.images.pull(f"{name}:1", auth={**login, "password": "wrong"})
        finally:
            for image in (f"{name}:1", f"{other}:1", made):
                with contextlib.suppress(DockerError):
                    await docker.images.delete(image, force=True)


async def test_the_docker_engine_works_as_a_robot_within_its_grants(live: LiveRegistry, admin: RegistryClient) -> None:
    name, other = f"{live.host}/team/app", f"{live.host}/other/app"
    token = await live.accounts.create_robot("robot-ci.team")
    await live.accounts.grants.add("robot-ci.team", "team/*", ["push"])
    login = {"username": "robot-ci.team", "password": token, "serveraddress": live.host}
    layer = layer_of(("random", secrets.token_bytes(1 << 10)))
    async with engine() as docker:
        try:
            assert (await docker.auth(**login))["Status"] == "Login Succeeded"
            await docker.images.import_image(io.BytesIO(docker_archive(f"{name}:1", layer)))
            await docker.images.tag(f"{name}:1", other, tag="1")
            await docker.images.push(name, tag="1", auth=login)
            with pytest.raises(DockerError, match=r"denied|may not|403"):
                await docker.images.push(other, tag="1", auth=login)
            assert await admin.status("GET", "/v2/other/app/manifests/1") == 404

            await docker.images.pull(f"{name}:1", auth=login)
            await live.accounts.grants.remove("robot-ci.team", "team/*")
            with pytest.raises(DockerError):
                await docker.images.pull(f"{name}:1", auth=login)
            await live.accounts.disable_robot("robot-ci.team", disabled=True)
            with pytest.raises(DockerError):
                await docker.auth(**login)
        finally:
            for image in (f"{name}:1", f"{other}:1"):
                with contextlib.suppress(DockerError):
                    await docker.images.delete(image, force=True)
