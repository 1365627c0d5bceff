"""Pushes without the engine: what comes is right, what is there is not sent, what cannot be read the engine pushes.

Those of the contract of engines run for this way of pushing too.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lumper.build.engines.buildkit import BuildKitEngine
from lumper.build.known_layers import KnownLayers
from lumper.build.port import BuildRequest, Login
from lumper.build.source.packing import BLOCK, Packing, Pool
from lumper.model.builds.build import Output, Progress, Step, StepState
from lumper.model.people.people import Role
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.registry import RemoteRegistry
from lumper.wiring.engines import open_target
from parts.engines import docker_engine
from parts.engines.context import BASE, context_tar, stream
from parts.engines.push_sink import PushSink, push_sink
from parts.engines.second_engine import second_engine
from parts.registries.live_registry import RegistryClient, live_registry
from parts.suite.eventually import eventually

pytestmark = [pytest.mark.docker, pytest.mark.system]

TWO_LAYERS = f'{BASE}RUN i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo "$i {{mark}}"; done > /numbers\n'


class Pusher:
    """An engine with direct pushes, and what became of the last one."""

    def __init__(self, known: KnownLayers | None = None, address: str = docker_engine.ADDRESS) -> None:
        self.engine = BuildKitEngine(address, open_target=open_target, known=known)
        self.mark = uuid.uuid4().hex
        self.told: list[Progress] = []
        self.images: set[str] = set()

    async def build(self, image: str, dockerfile: str = TWO_LAYERS, mark: str = "") -> None:
        self.images.add(image)
        context = context_tar({"Dockerfile": dockerfile.format(mark=mark or self.mark)})
        await self.engine.build(BuildRequest("1", image), stream(context), lambda _: None)

    async def push(self, image: str, login: Login | None = None) -> str:
        self.told = []
        return (await self.engine.push(image, login, self.told.append)).digest

    @property
    def layers(self) -> list[str]:
        """What was said of each layer, in alphabetical order."""
        return sorted(line.text.partition(": ")[2] for line in self.told if isinstance(line, Output))

    async def close(self) -> None:
        for image in self.images:
            await self.engine.remove(image)
        await self.engine.close()


@pytest.fixture
async def pusher() -> AsyncIterator[Pusher]:
    pusher = Pusher()
    yield pusher
    await pusher.close()


@pytest.fixture
async def sink() -> AsyncIterator[PushSink]:
    async with push_sink() as sink:
        yield sink


async def packed(data: bytes) -> str:
    """The digest of these bytes when we compress them, which the engine does otherwise."""
    pool = Pool()
    packing = Packing(pool)
    async for _ in packing.pack(data[begin : begin + BLOCK] for begin in range(0, len(data), BLOCK)):
        pass
    pool.close()
    return packing.digest


async def docker(*arguments: str) -> str:
    command = ["docker", "--host", docker_engine.ADDRESS, *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def test_the_layers_are_bit_for_bit_those_of_the_image(pusher: Pusher, sink: PushSink) -> None:
    image = f"{sink.address}/lumper-test/app:1"
    await pusher.build(image)

    digest = await pusher.push(image)

    manifest = json.loads(sink.manifests[digest])
    config = json.loads(sink.blobs[manifest["config"]["digest"]])
    plain = [gzip.decompress(sink.blobs[layer["digest"]]) for layer in manifest["layers"]]
    assert manifest["config"]["digest"] == await docker("inspect", "--format", "{{.Id}}", image)
    assert [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in plain] == config["rootfs"]["diff_ids"]
    assert [layer["size"] for layer in manifest["layers"]] == [
        len(sink.blobs[layer["digest"]]) for layer in manifest["layers"]
    ]
    assert [await packed(one) for one in plain] == [layer["digest"] for layer in manifest["layers"]]
    assert pusher.layers == ["Pushed", "Pushed"]
    assert sink.uploads == 3


async def test_the_same_layer_always_comes_out_the_same(pusher: Pusher) -> None:
    digests = set()
    for _ in range(2):
        async with push_sink() as sink:
            await pusher.build(f"{sink.address}/lumper-test/app:1")
            digests.add(await pusher.push(f"{sink.address}/lumper-test/app:1"))
    assert len(digests) == 1


async def test_layers_that_the_registry_has_are_not_sent_again(sink: PushSink, tmp_path: Path) -> None:
    known = tmp_path / "layers.json"
    first = Pusher(KnownLayers(known))
    await first.build(f"{sink.address}/lumper-test/app:1")
    await first.push(f"{sink.address}/lumper-test/app:1")
    await first.close()
    uploads = sink.uploads

    second = Pusher(KnownLayers(known))  # the worker was restarted
    image = f"{sink.address}/lumper-test/app:2"
    await second.build(image, f"{TWO_LAYERS}RUN echo {second.mark} > /more\n", first.mark)
    digest = await second.push(image)
    await second.close()

    assert second.layers == ["Layer already exists", "Layer already exists", "Pushed"]
    assert sink.uploads == uploads + 2  # the new layer and the config
    assert len(json.loads(sink.manifests[digest])["layers"]) == 3


async def test_what_the_engine_has_pushed_is_not_sent_again(pusher: Pusher, sink: PushSink) -> None:
    image = f"{sink.address}/lumper-test/app:1"
    await pusher.build(image)
    by_itself = BuildKitEngine(docker_engine.ADDRESS)
    await by_itself.push(image, None, lambda _: None)
    await by_itself.close()
    uploads = sink.uploads

    await pusher.push(image)

    assert pusher.layers == ["Layer already exists", "Layer already exists"]
    assert sink.uploads == uploads


async def test_a_layer_of_another_repository_is_mounted(pusher: Pusher, sink: PushSink) -> None:
    for name in ("app", "other"):
        await pusher.build(f"{sink.address}/lumper-test/{name}:1")
        await pusher.push(f"{sink.address}/lumper-test/{name}:1")

    assert pusher.layers == ["Mounted from lumper-test/app", "Mounted from lumper-test/app"]
    assert sink.uploads == 4  # both layers once, the config in each repository


async def test_a_layer_that_the_registry_has_lost_is_sent_again(pusher: Pusher, sink: PushSink) -> None:
    image = f"{sink.address}/lumper-test/app:1"
    await pusher.build(image)
    await pusher.push(image)
    sink.forget()

    await pusher.push(image)

    assert pusher.layers == ["Pushed", "Pushed"]


async def test_two_images_with_the_same_new_layer_send_it_once(pusher: Pusher, sink: PushSink) -> None:
    images = [f"{sink.address}/lumper-test/app:{number}" for number in range(4)]
    for image in images:
        await pusher.build(image)

    await asyncio.gather(*(pusher.push(image) for image in images))

    assert sink.uploads <= 2 + len(images)  # each image may look for the config before it is there


async def test_the_pushed_image_is_pulled_and_runs(pusher: Pusher, tmp_path: Path) -> None:
    async with live_registry(tmp_path, anonymous="pull") as registry:
        image = f"{registry.host}/lumper-test/app:1"
        await pusher.build(image)
        before = await docker("inspect", "--format", "{{.Id}}", image)
        digest = await pusher.push(image, Login("operator", registry.tokens[Role.OPERATOR]))
        await pusher.engine.remove(image)

        pulled = f"{registry.host}/lumper-test/app@{digest}"
        try:
            await docker("pull", "--quiet", pulled)
            assert await docker("inspect", "--format", "{{.Id}}", pulled) == before
            script = 'while read line; do last="$line"; done < /numbers; echo "$last"'
            assert await docker("run", "--rm", pulled, "/bin/sh", "-c", script) == f"40000 {pusher.mark}"
        finally:
            await docker("image", "rm", pulled)
        skopeo = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{pulled}", f"dir:{tmp_path}/copy"]
        await asyncio.to_thread(subprocess.run, skopeo, check=True)


@pytest.mark.parametrize("lost", [False, True])
async def test_layers_that_the_own_registry_was_given_are_looked_for_only_if_it_has_lost_one(
    pusher: Pusher, tmp_path: Path, lost: bool
) -> None:
    async with live_registry(tmp_path, anonymous="pull") as registry:
        looked: list[str] = []

        class Noting(RemoteRegistry):
            async def blob_size(self, repository: str, digest: str, *, to_push: bool = False) -> int | None:
                looked.append(digest)
                return await super().blob_size(repository, digest, to_push=to_push)

        def open_noting(url: str, login: Login | None) -> Noting:
            assert login is not None
            return Noting(url, Credentials(login.username, login.password, at_once=login.own))

        image, login = f"{registry.host}/lumper-test/app:1", Login("operator", registry.tokens[Role.OPERATOR], own=True)
        engine = BuildKitEngine(docker_engine.ADDRESS, open_target=open_noting)
        try:
            await pusher.build(image)
            await engine.push(image, login, pusher.told.append)
            assert pusher.layers == ["Pushed", "Pushed"]
            if lost:
                remote = open_noting(registry.url, login)
                layer = (await remote.manifest("lumper-test/app", "1")).manifest.links[-1].digest
                await remote.close()
                async with aiohttp.ClientSession() as session:
                    admin = RegistryClient(session, registry.url, registry.tokens[Role.ADMIN])
                    assert await admin.status("DELETE", f"/v2/lumper-test/app/blobs/{layer}") == 202
            looked.clear()
            pusher.told = []
            await pusher.build(image, TWO_LAYERS + "LABEL new=yes\n")
            pushed = await engine.push(image, login, pusher.told.append)

            told = [line.text.partition(": ")[2] for line in pusher.told if isinstance(line, Output)]
            assert told[:2] == ["Layer already exists"] * 2
            if lost:
                assert told[2].startswith(
                    f"each layer is looked for ({registry.host} answered 400: MANIFEST_BLOB_UNKNOWN"
                )
                assert sorted(told[3:]) == ["Layer already exists", "Pushed"]
            else:
                assert told[2:] == []
            assert len(looked) == (3 if lost else 0)
            labels = await docker("inspect", "--format", "{{.Config.Labels}}", image)
            await pusher.engine.remove(image)
            pulled = f"{registry.host}/lumper-test/app@{pushed.digest}"
            await docker("pull", "--quiet", pulled)
            assert await docker("inspect", "--format", "{{.Config.Labels}}", pulled) == labels == "map[new:yes]"
            await docker("image", "rm", pulled)
        finally:
            await engine.close()


async def test_a_cancelled_push_takes_its_upload_back(pusher: Pusher) -> None:
    async with push_sink() as sink:
        image = f"{sink.address}/lumper-test/app:1"
        await pusher.build(image)
        sink.flowing.clear()
        pushing = asyncio.create_task(pusher.push(image))

        async def all_are_held() -> bool:
            return sink.held == 3  # two layers and the config

        await eventually(all_are_held)
        pushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pushing

        assert sink.pending == {}
        assert isinstance(pusher.told[-1], Step)
        assert pusher.told[-1].state is StepState.CANCELLED


async def test_an_engine_that_keeps_layers_otherwise_pushes_by_itself(sink: PushSink) -> None:
    async with second_engine() as other:
        pusher = Pusher(address=other.address)
        image = f"{sink.address}/lumper-test/app:1"
        await pusher.build(image)

        digest = await pusher.push(image)

        await pusher.close()
    assert "Pushed" in pusher.layers
    assert digest in sink.manifests
