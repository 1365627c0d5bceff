"""More of the clients that people use: Podman, containerd, oras, docker manifest; and what only some of them push."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from oras.client import OrasClient
from oras.oci import Subject

from lumper.registry.manifest_format import DOCKER_LIST, DOCKER_MANIFEST
from parts.engines.containerd import containerd
from parts.processes.programs import Run
from parts.registries.image_files import layer_of, oci_layout
from parts.registries.live_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    PASSWORD,
    LiveRegistry,
    RegistryClient,
    digest_of,
    image_manifest,
)

pytestmark = pytest.mark.system

CREDS = f"admin:{PASSWORD}"
LOGIN = ("--tls-verify=false", f"--creds={CREDS}")
DEST = ("--dest-tls-verify=false", f"--dest-creds={CREDS}")
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@pytest.fixture
def podman() -> Iterator[tuple[str, ...]]:
    """The beginning of a command, with a store of its own; Podman allows 50 characters for its path."""
    with tempfile.TemporaryDirectory(prefix="lumper-podman-") as folder:
        yield ("podman", "--storage-driver=vfs", f"--root={folder}/root", f"--runroot={folder}/run")


async def test_podman_pulls_an_image_and_pushes_it_and_an_index_of_it(
    live: LiveRegistry, admin: RegistryClient, run: Run, podman: tuple[str, ...]
) -> None:
    layer = layer_of(("hello", b"world"))
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]}}
    ).encode()
    links = [(await admin.push_blob("a", data), len(data)) for data in (config, layer)]
    pushed = await admin.push_manifest("a", "1", image_manifest(*links))

    made = (await run(*podman, "pull", "--quiet", *LOGIN, f"{live.host}/a:1")).strip()
    await run(*podman, "push", "--quiet", *LOGIN, made, f"docker://{live.host}/b:1")
    await run(*podman, "manifest", "create", "both")
    await run(*podman, "manifest", "add", *LOGIN, "both", f"docker://{live.host}/a:1")
    await run(*podman, "manifest", "push", "--quiet", "--all", *LOGIN, "both", f"docker://{live.host}/c:1")

    assert made == digest_of(config).removeprefix("sha256:")
    assert (await admin.manifest("b", "1"))[1] == OCI_MANIFEST
    _, kind, index = await admin.manifest("c", "1")
    assert (kind, [entry["digest"] for entry in index["manifests"]]) == (OCI_INDEX, [pushed])
    await run(*podman, "rmi", "--all", "--force")
    assert (await run(*podman, "pull", "--quiet", *LOGIN, f"{live.host}/c:1")).strip() == made


async def test_containerd_pushes_and_pulls_an_image(
    live: LiveRegistry, admin: RegistryClient, run: Run, tmp_path: Path
) -> None:
    digest = oci_layout(tmp_path / "image", layer_of(("hello", b"world")), layer_of(("more", os.urandom(1 << 20))))
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(tmp_path / "image", arcname=".")
    name = f"{live.host}/team/app:1"
    async with containerd() as ctr:
        options = ("--plain-http", "--user", CREDS)
        await run(*ctr, "images", "import", "--no-unpack", "--base-name", "made", tmp_path / "image.tar")
        await run(*ctr, "images", "tag", "made:x", name)
        await run(*ctr, "images", "push", *options, name)
        await run(*ctr, "images", "rm", "--sync", name, "made:x")
        await run(*ctr, "images", "pull", *options, "--snapshotter", "native", name)
        listed = await run(*ctr, "images", "ls", f"name=={name}")

    assert digest in listed
    assert (await admin.manifest("team/app", "1"))[0] == digest


async def test_oras_pushes_artifacts_in_chunks_and_attaches_one_to_another(
    live: LiveRegistry, admin: RegistryClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # oras names files by their path
    (tmp_path / "file.bin").write_bytes(content := os.urandom(300_000))
    (tmp_path / "sbom.json").write_text("{}")
    client = OrasClient(hostname=live.host, insecure=True, auth_backend="basic")
    client.auth.set_basic_auth("admin", PASSWORD)

    def work() -> tuple[str, list[str]]:
        target = f"{live.host}/art/fact"
        pushed = client.push(f"{target}:1", files=["file.bin"], do_chunked=True, chunk_size=65_536, quiet=True)
        subject = Subject(OCI_MANIFEST, pushed.headers["Docker-Content-Digest"], len(pushed.request.body))
        client.push(f"{target}:sbom", files=["sbom.json"], subject=subject, quiet=True)
        client.pull(f"{target}:1", outdir=str(tmp_path / "out"))
        tags = client.get_tags(target)
        client.session.close()
        return subject.digest, tags

    digest, tags = await asyncio.to_thread(work)

    assert tags == ["1", "sbom"]
    assert (tmp_path / "out" / "file.bin").read_bytes() == content
    found, _, pushed = await admin.manifest("art/fact", "1")
    assert (found, pushed["config"]["size"]) == (digest, 2)
    async with admin.request("GET", f"/v2/art/fact/referrers/{digest}") as response:
        index = json.loads(await response.read())
    assert [entry["digest"] for entry in index["manifests"]] == [(await admin.manifest("art/fact", "sbom"))[0]]


async def test_oras_pushes_with_the_token_that_it_got_for_its_first_look(
    live: LiveRegistry, admin: RegistryClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.bin").write_bytes(os.urandom(1000))
    client = OrasClient(hostname=live.host, insecure=True)  # with tokens, as it is made by default
    client.auth.set_basic_auth("admin", PASSWORD)

    await asyncio.to_thread(client.push, f"{live.host}/models/one:1", files=["model.bin"], quiet=True)

    assert (await admin.manifest("models/one", "1"))[1] == OCI_MANIFEST


async def test_docker_makes_a_manifest_list_of_schema_2_images(
    live: LiveRegistry, admin: RegistryClient, run: Run, tmp_path: Path
) -> None:
    name = f"{live.host}/list"
    for arch in ("amd64", "arm64"):
        oci_layout(tmp_path / arch, layer_of(("arch", arch.encode())))
        image = f"oci:{tmp_path / arch}:x"
        await run("skopeo", "copy", "--quiet", "--format=v2s2", *DEST, image, f"docker://{name}:{arch}")
    settings = tmp_path / "home" / ".docker" / "config.json"
    settings.parent.mkdir()
    sign_in = base64.b64encode(CREDS.encode()).decode()
    settings.write_text(json.dumps({"auths": {live.host: {"auth": sign_in}}}))

    await run("docker", "manifest", "create", "--insecure", f"{name}:all", f"{name}:amd64", f"{name}:arm64")
    await run("docker", "manifest", "annotate", "--arch=arm64", f"{name}:all", f"{name}:arm64")
    digest = (await run("docker", "manifest", "push", "--insecure", f"{name}:all")).strip()

    assert (await admin.manifest("list", "amd64"))[1] == DOCKER_MANIFEST
    assert (await admin.manifest("list", "all"))[:2] == (digest, DOCKER_LIST)
    raw = await run("skopeo", "inspect", "--raw", *LOGIN, f"docker://{name}:all")
    assert [entry["platform"]["architecture"] for entry in json.loads(raw)["manifests"]] == ["amd64", "arm64"]


async def test_buildah_pushes_an_index_and_deletes_nothing_of_it_with_one_tag(
    live: LiveRegistry, admin: RegistryClient, run: Run, tmp_path: Path
) -> None:
    buildah = ("buildah", "--storage-driver=vfs", f"--root={tmp_path / 'root'}", f"--runroot={tmp_path / 'run'}")
    children = [await admin.push_image("multi", f"arch{n}", os.urandom(100)) for n in range(2)]

    await run(*buildah, "manifest", "create", "all")
    for n in range(2):
        await run(*buildah, "manifest", "add", *LOGIN, "all", f"docker://{live.host}/multi:arch{n}")
    await run(*buildah, "manifest", "push", "--all", *LOGIN, "all", f"docker://{live.host}/multi:all")
    assert await admin.status("DELETE", "/v2/multi/manifests/arch0") == 202

    _, kind, index = await admin.manifest("multi", "all")
    assert (kind, [entry["digest"] for entry in index["manifests"]]) == (OCI_INDEX, children)
    for child in children:
        await admin.manifest("multi", child)


async def test_layers_compressed_with_zstd_are_pushed_and_pulled(
    live: LiveRegistry, admin: RegistryClient, run: Run, podman: tuple[str, ...], tmp_path: Path
) -> None:
    oci_layout(tmp_path / "image", layer_of(("hello", os.urandom(100))))
    options = ("--quiet", "--format=oci", "--dest-compress-format=zstd", *DEST)
    await run("skopeo", "copy", *options, f"oci:{tmp_path / 'image'}:x", f"docker://{live.host}/zstd:1")

    assert [layer["mediaType"] for layer in (await admin.manifest("zstd", "1"))[2]["layers"]] == [ZSTD]
    assert await run(*podman, "pull", "--quiet", *LOGIN, f"{live.host}/zstd:1")


async def test_an_image_whose_layers_are_encrypted_comes_back_with_its_key_only(
    live: LiveRegistry, admin: RegistryClient, run: Run, tmp_path: Path
) -> None:
    oci_layout(tmp_path / "image", layer := layer_of(("secret", os.urandom(1000))))
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    await run("openssl", "genrsa", "-out", private, "2048")
    await run("openssl", "rsa", "-in", private, "-pubout", "-out", public)
    image, source = f"docker://{live.host}/sealed:1", ("--src-tls-verify=false", f"--src-creds={CREDS}")

    await run("skopeo", "copy", f"--encryption-key=jwe:{public}", *DEST, f"oci:{tmp_path / 'image'}:x", image)
    await run("skopeo", "copy", f"--decryption-key={private}", *source, image, f"oci:{tmp_path / 'back'}:x")

    (sealed,) = (await admin.manifest("sealed", "1"))[2]["layers"]
    assert sealed["mediaType"].endswith("+encrypted")
    assert layer in [gunzipped(path.read_bytes()) for path in (tmp_path / "back/blobs/sha256").iterdir()]


def gunzipped(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


async def test_layers_that_may_not_be_distributed_stay_where_they_are(admin: RegistryClient) -> None:
    config = b"{}"
    foreign = {
        "mediaType": FOREIGN,
        "digest": digest_of(b"windows"),
        "size": 7,
        "urls": ["https://go.microsoft.com/fwlink/?linkid=860052"],
    }
    body = image_manifest((await admin.push_blob("win", config), len(config)))
    body |= {"mediaType": DOCKER_MANIFEST, "layers": [foreign]}

    digest = await admin.push_manifest("win", "1", body, DOCKER_MANIFEST)

    assert (await admin.manifest("win", "1"))[0] == digest
    assert await admin.status("GET", f"/v2/win/blobs/{digest_of(b'windows')}") == 404


async def test_an_image_of_a_hundred_layers_comes_back_whole(live: LiveRegistry, run: Run, tmp_path: Path) -> None:
    oci_layout(tmp_path / "image", *(layer_of((f"file{n}", os.urandom(500))) for n in range(100)))
    image = f"docker://{live.host}/hundred:1"

    await run("skopeo", "copy", "--quiet", "--preserve-digests", *DEST, f"oci:{tmp_path / 'image'}:x", image)
    back = ("--src-tls-verify=false", f"--src-creds={CREDS}", image, f"oci:{tmp_path / 'back'}:x")
    await run("skopeo", "copy", "--quiet", "--preserve-digests", *back)

    def blobs(folder: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / folder / "blobs" / "sha256").iterdir()}

    assert blobs("back") == blobs("image")


async def test_twenty_clients_push_the_same_layers_at_once(live: LiveRegistry, run: Run, tmp_path: Path) -> None:
    digest = oci_layout(tmp_path / "image", *(layer_of((f"file{n}", os.urandom(200_000))) for n in range(3)))
    image = f"oci:{tmp_path / 'image'}:x"
    names = [f"same:{n}" if n % 2 else f"other{n}:1" for n in range(20)]

    async def push(name: str) -> None:
        await run("skopeo", "copy", "--quiet", "--preserve-digests", *DEST, image, f"docker://{live.host}/{name}")

    await asyncio.gather(*map(push, names))

    for name in names:
        raw = await run("skopeo", "inspect", "--raw", *LOGIN, f"docker://{live.host}/{name}")
        assert digest_of(raw.encode()) == digest
    assert not [path for path in live.files if "upload" in str(path.relative_to(live.data))]


async def test_skopeo_lists_thousands_of_tags_page_by_page_and_deletes_an_image(
    live: LiveRegistry, admin: RegistryClient, run: Run
) -> None:
    digest = await admin.push_image("many", "first")
    body = json.dumps((await admin.manifest("many", "first"))[2]).encode()
    assert digest_of(body) == digest
    tags = [f"t{n:04}" for n in range(2300)]
    for start in range(0, len(tags), 100):
        query = "&".join(f"tag={tag}" for tag in tags[start : start + 100])
        headers = {"Content-Type": OCI_MANIFEST}
        assert await admin.status("PUT", f"/v2/many/manifests/{digest}?{query}", data=body, headers=headers) == 201

    listed = await run("skopeo", "list-tags", *LOGIN, f"docker://{live.host}/many")
    await run("skopeo", "delete", *LOGIN, f"docker://{live.host}/many:first")

    assert json.loads(listed)["Tags"] == ["first", *tags]
    assert await admin.status("GET", "/v2/many/manifests/t0001") == 404  # skopeo deletes by digest


async def test_skopeo_syncs_a_repository_with_all_its_tags_there_and_back(
    live: LiveRegistry, admin: RegistryClient, run: Run, tmp_path: Path
) -> None:
    digests = {tag: await admin.push_image("old/app", tag, tag.encode()) for tag in ("1", "2", "latest")}

    source = ("--src-tls-verify=false", f"--src-creds={CREDS}")
    await run("skopeo", "sync", "--src=docker", "--dest=dir", "--scoped", *source, f"{live.host}/old/app", tmp_path)
    await run(
        "skopeo", "sync", "--src=docker", "--dest=docker", *source, *DEST, f"{live.host}/old/app", f"{live.host}/new"
    )

    for tag, digest in digests.items():
        assert (await admin.manifest("new/app", tag))[0] == digest
        assert digest_of((tmp_path / f"{live.host}/old/app:{tag}" / "manifest.json").read_bytes()) == digest
