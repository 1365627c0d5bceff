"""One image is copied with all that belongs to it, from a registry, a layout, or what an engine has saved."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
from pathlib import Path

import pytest
from aiodocker.exceptions import DockerError
from aiohttp import web

from lumper.errors import ArchiveError, NotFound, RemoteError
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.transfer.archive import open_archive
from lumper.registry.transfer.source import RemoteSource
from parts.engines.docker_engine import engine
from parts.registries.copies import copied, outcomes, push_index, sign
from parts.registries.image_files import docker_archive, layer_of
from parts.registries.live_registry import OCI_INDEX, RegistryClient, digest_of, image_manifest
from parts.registries.upstream import Door

pytestmark = [pytest.mark.docker, pytest.mark.system]


async def test_an_index_is_copied_whole_and_then_not_again(
    old: tuple[Door, RegistryClient], new: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    index = await push_index(old[1], "app", "1", "linux/amd64", "linux/arm64/v8")
    source = RemoteSource(here, "app", "1")

    first = await copied(source, there, "copy:1")
    asked = new[0].count("POST", "/blobs/uploads/")
    again = await copied(source, there, "copy:1")
    other = await copied(source, there, "copy:2")

    assert (first.digest, first.manifests, first.sent) == (index, 3, 3)  # both have the same config
    assert (again.digest, again.manifests, again.sent) == (index, 0, 0)
    assert new[0].count("POST", "/blobs/uploads/") == asked
    assert await there.digest("copy", "2") == other.digest == index


@pytest.mark.parametrize("platform", ["linux/arm64", "linux/arm64/v8"])
async def test_one_platform_of_an_index(
    old: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry, platform: str
) -> None:
    await push_index(old[1], "app", "1", "linux/amd64", "linux/arm64/v8")
    wanted = await here.digest("app", "p-linux-arm64-v8")

    assert (await copied(RemoteSource(here, "app", "1"), there, "copy:1", platform=platform)).digest == wanted
    with pytest.raises(NotFound) as unknown:
        await copied(RemoteSource(here, "app", "1"), there, "copy:1", platform="linux/s390x")
    assert "linux/amd64, linux/arm64/v8" in unknown.value.hint


async def test_referrers_come_along_if_they_are_asked_for(
    old: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    pusher = old[1]
    subject = await pusher.push_image("app", "1")
    async with pusher.request("GET", "/v2/app/manifests/1") as response:
        size = len(await response.read())
    blob = await pusher.push_blob("app", b"{}")
    about = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject, "size": size}
    signature = await pusher.push_manifest("app", "s", image_manifest((blob, 2), (blob, 2), subject=about))

    async def outdated(request: web.Request) -> web.Response | None:
        listed = [{**about, "digest": digest} for digest in (digest_of(b"deleted since"), signature, subject)]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
        return web.json_response(index, content_type=OCI_INDEX) if "/referrers/" in request.path else None

    await copied(RemoteSource(here, "app", "1"), there, "without:1")
    old[0].first = outdated
    await copied(RemoteSource(here, "app", "1"), there, "copy:1", referrers=True)

    assert await there.referrers("without", subject) == []
    assert [one["digest"] for one in await there.referrers("copy", subject)] == [signature]


async def test_signatures_under_tags_of_older_tools_come_along_too(
    old: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    subject = await old[1].push_image("app", "1")
    tag = f"{subject.replace(':', '-')}.sig"
    signature = await sign(old[1], subject, tag)

    await copied(RemoteSource(here, "app", "1"), there, "copy:1", referrers=True)
    assert await there.digest("copy", tag) == signature


async def test_a_signature_that_came_later_comes_along_with_an_image_that_is_there(
    old: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    await push_index(old[1], "app", "1", "linux/amd64")
    index, child = await here.digest("app", "1"), await here.digest("app", "p-linux-amd64")

    async def again() -> str:
        return (await outcomes(here, there, repositories=["app"], tags=["1"], referrers=True))["app:1"]

    assert [await again(), await again()] == ["copied", "there"]
    for subject in (index, child):
        signature = await sign(old[1], subject)
        assert await again() == "copied"
        assert [one["digest"] for one in await there.referrers("app", subject)] == [signature]
    assert await again() == "there"


async def test_layers_are_mounted_where_both_sides_are_one_registry(
    old: tuple[Door, RegistryClient], here: RemoteRegistry
) -> None:
    await old[1].push_image("team/app", "1", os.urandom(1000))
    done = await copied(RemoteSource(here, "team/app", "1"), here, "other/app:1")
    assert (done.mounted, done.sent) == (2, 0)

    async def refusing(request: web.Request) -> web.Response | None:
        return web.Response(status=403) if "mount" in request.query else None

    old[0].first = refusing
    done = await copied(RemoteSource(here, "team/app", "1"), here, "third/app:1")
    assert (done.mounted, done.sent) == (0, 2)


def nested(folder: Path, count: int) -> Path:
    """A layout of an index that names an index that names another one, and so on."""
    (folder / "blobs/sha256").mkdir(parents=True)
    listed: list[dict[str, object]] = []
    for _ in range(count):
        index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).encode()
        (folder / "blobs/sha256" / digest_of(index)[7:]).write_bytes(index)
        listed = [{"mediaType": OCI_INDEX, "digest": digest_of(index), "size": len(index)}]
    (folder / "index.json").write_text(json.dumps({"manifests": listed}))
    return folder


async def test_indexes_in_indexes_come_to_an_end(there: RemoteRegistry, tmp_path: Path) -> None:
    assert (await copied(open_archive(nested(tmp_path / "deep", 9)), there, "deep:1")).manifests == 9
    with pytest.raises(ArchiveError, match="nested deeper") as refused:
        await copied(open_archive(nested(tmp_path / "deeper", 10)), there, "deeper:1")
    assert "by its digest" in refused.value.hint


async def test_a_copy_that_was_cut_off_goes_on(
    old: tuple[Door, RegistryClient], new: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    await old[1].push_image("app", "1", os.urandom(50_000))

    async def failing(request: web.Request) -> web.Response | None:
        return web.Response(status=507) if request.method == "PUT" and "/manifests/" in request.path else None

    new[0].first = failing
    with pytest.raises(RemoteError, match="507"):
        await copied(RemoteSource(here, "app", "1"), there, "app:1")
    new[0].first = None
    done = await copied(RemoteSource(here, "app", "1"), there, "app:1")
    assert (done.there, done.sent) == (2, 0)


async def test_wrong_bytes_at_the_source_are_not_kept(
    old: tuple[Door, RegistryClient], here: RemoteRegistry, there: RemoteRegistry
) -> None:
    layer = os.urandom(50_000)
    await old[1].push_image("app", "1", layer)

    async def lie(request: web.Request) -> web.Response | None:
        wrong = request.method == "GET" and request.path.endswith(digest_of(layer))
        return web.Response(body=layer[::-1]) if wrong else None

    old[0].first = lie
    with pytest.raises(RemoteError):
        await copied(RemoteSource(here, "app", "1"), there, "app:1")
    assert not await there.has_blob("app", digest_of(layer))


async def test_skopeos_layouts_are_read_as_folders_and_as_tars(
    old: tuple[Door, RegistryClient], there: RemoteRegistry, tmp_path: Path
) -> None:
    pushed = await old[1].push_image("app", "1", os.urandom(100_000))
    for kind, place in (("oci", "layout"), ("oci-archive", "layout.tar")):
        made = f"{kind}:{tmp_path / place}:named"
        command = ("skopeo", "copy", "--preserve-digests", "--src-tls-verify=false", f"docker://{old[0].host}/app:1")
        process = await asyncio.create_subprocess_exec(*command, made, stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0
        assert (await copied(open_archive(tmp_path / place, "named"), there, f"{kind}:1")).digest == pushed
        with pytest.raises(ArchiveError, match="There is no image other") as unknown:
            open_archive(tmp_path / place, "other")
        assert "named" in unknown.value.hint


async def test_what_an_engine_has_saved_is_the_same_image(there: RemoteRegistry, tmp_path: Path) -> None:
    name = f"lumper-save-{os.urandom(4).hex()}"
    layers = [layer_of((f"file{n}", os.urandom(1000))) for n in range(2)]
    async with engine() as docker:
        try:
            await docker.images.import_image(io.BytesIO(docker_archive(f"{name}:1", *layers, layers[0])))
            made = (await docker.images.inspect(f"{name}:1"))["Id"]
            async with docker.images.export_image(f"{name}:1") as content:
                (tmp_path / "saved.tar").write_bytes(await content.read())
        finally:
            with contextlib.suppress(DockerError):
                await docker.images.delete(f"{name}:1", force=True)

    source = open_archive(tmp_path / "saved.tar", f"{name}:1")
    done = await copied(source, there, "saved:1")
    document = await there.manifest("saved", "1")

    assert done.digest == document.manifest.digest
    assert json.loads(document.body)["config"]["digest"] == made
    assert [link.digest for link in document.manifest.links[1:]] == [digest_of(x) for x in (*layers, layers[0])]
