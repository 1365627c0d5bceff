"""A buildkitd over TLS, and what the worker's folder of images is worth when the daemon is gone."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from lumper.build.engines.buildkit.daemon import DaemonEngine
from lumper.build.engines.buildkit.transport.address import Certificates, parse_address
from lumper.build.port import BuildRequest
from lumper.errors import ConfigError, EngineUnavailable, PushFailed
from lumper.model.builds.build import Progress
from lumper.wiring.engines import open_target
from parts.engines.buildkitd import behind_a_socket
from parts.engines.context import BASE, context_tar, stream
from parts.engines.engine_bench import Daemons
from parts.engines.push_sink import push_sink
from parts.servers.certificates import Authority, Pair

pytestmark = pytest.mark.docker

FILES = {"Dockerfile": f"{BASE}RUN echo built >/mark\n"}


def serving(pair: Pair, authority: Authority) -> ssl.SSLContext:
    """What a daemon has that asks for certificates."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pair.certificate, pair.key)
    context.set_alpn_protocols(["h2"])
    return context


async def test_over_tls_both_sides_show_who_they_are(daemons: Daemons, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server, client = authority.certificate("127.0.0.1"), authority.certificate("worker", file="worker")
    stranger = Authority(tmp_path / "other").certificate("worker", file="stranger")
    told: list[Progress] = []

    def engine(address: str, shown: Pair) -> DaemonEngine:
        place = parse_address(f"buildkitd+{address}", Certificates(authority.file, shown.certificate, shown.key))
        return DaemonEngine(place, tmp_path / "images", open_target)

    async with behind_a_socket(daemons.newer_engine(), tls=serving(server, authority)) as address:
        await engine(address, client).build(BuildRequest("1", "r.test/app:1"), stream(context_tar(FILES)), told.append)
        with pytest.raises(EngineUnavailable):
            await engine(address, stranger).info()
        with pytest.raises(EngineUnavailable):
            await DaemonEngine(parse_address(f"buildkitd+{address}"), tmp_path / "images", open_target).info()

    assert await engine(address, client).images("r.test/") == ["r.test/app:1"]


async def test_a_push_needs_no_daemon_and_is_tried_again_without_a_build(daemons: Daemons, tmp_path: Path) -> None:
    async with push_sink(refusal="no space left on device") as registry:
        image = f"{registry.address}/app:1"
        async with behind_a_socket(daemons.newer_engine()) as address:
            engine = DaemonEngine(parse_address(f"buildkitd+{address}"), tmp_path / "images", open_target)
            await engine.build(BuildRequest("1", image), stream(context_tar(FILES)), lambda _: None)
        with pytest.raises(PushFailed):
            await engine.push(image, None, lambda _: None)
        registry.refusal = ""

        pushed = await engine.push(image, None, lambda _: None)

    assert pushed.digest in registry.manifests


async def test_a_cancelled_build_leaves_nothing_in_the_folder(daemons: Daemons, tmp_path: Path) -> None:
    begun = asyncio.Event()
    folder = tmp_path / "images"
    dockerfile = f"{BASE}RUN sleep 1000\n"
    async with behind_a_socket(daemons.newer_engine()) as address:
        engine = DaemonEngine(parse_address(f"buildkitd+{address}"), folder, open_target)
        context = stream(context_tar({"Dockerfile": dockerfile}))
        building = asyncio.create_task(engine.build(BuildRequest("1", "r.test/app:1"), context, lambda _: begun.set()))
        await begun.wait()
        building.cancel()
        await asyncio.wait((building,))

    assert building.cancelled()
    assert await engine.images("") == []
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_certificates_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="certificates for TLS cannot be loaded"):
        parse_address("tcp://build.test:2376", Certificates(tmp_path / "none.pem"))
