"""A Docker Engine on another machine's port, which asks for a certificate and shows one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lumper.build.engines.buildkit import BuildKitEngine
from lumper.build.engines.buildkit.transport.address import Certificates, parse_address
from lumper.build.port import BuildRequest
from lumper.errors import EngineError, EngineUnavailable
from lumper.model.builds.build import Progress
from lumper.wiring.engines import open_target
from parts.engines.context import BASE, context_tar, stream
from parts.engines.push_sink import PushSink, push_sink
from parts.engines.second_engine import second_engine
from parts.line.records import printed
from parts.servers.certificates import Authority, Pair
from parts.servers.ports import free_ports
from parts.suite.eventually import eventually

pytestmark = pytest.mark.docker


async def test_builds_pushes_and_cancels_over_tls_and_only_for_those_that_it_knows(tmp_path: Path) -> None:
    authority, others = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    server, client = authority.certificate("127.0.0.1"), authority.certificate("worker", file="worker")
    stranger = others.certificate("worker", file="stranger")
    (port,) = free_ports(1)
    options = [
        *("--host", f"tcp://127.0.0.1:{port}", "--tlsverify", f"--tlscacert={authority.file}"),
        *(f"--tlscert={server.certificate}", f"--tlskey={server.key}"),
    ]

    def engine(known: Authority | None, shown: Pair | None) -> BuildKitEngine:
        files = (shown.certificate, shown.key) if shown else (None, None)
        own = Certificates(known.file, *files) if known else None
        return BuildKitEngine(parse_address(f"tcp://127.0.0.1:{port}", own), open_target=open_target)

    async with second_engine(*options), push_sink() as registry:
        ours = engine(authority, client)
        await builds_and_pushes(ours, registry)
        await is_cancelled(ours, registry)
        await ours.close()
        await says_that_tls_is_wanted(engine(None, None))
        for wrong in (engine(authority, stranger), engine(others, client), engine(authority, None)):
            await is_not_reached(wrong, registry)


async def builds_and_pushes(engine: BuildKitEngine, registry: PushSink) -> None:
    image, told = f"{registry.address}/app:1", list[Progress]()
    large: dict[str, bytes | str] = {
        "Dockerfile": f"{BASE}COPY large /\nRUN echo built\n",
        "large": bytes(40 << 20),
    }
    await engine.build(BuildRequest("1", image), stream(context_tar(large)), told.append)
    assert "built" in printed(told)
    assert await engine.images(f"{registry.address}/") == [image]
    assert (await engine.push(image, None, told.append)).digest in registry.manifests
    assert await engine.cache_size() >= 0


async def is_cancelled(engine: BuildKitEngine, registry: PushSink) -> None:
    told = list[Progress]()
    waits = stream(context_tar({"Dockerfile": f"{BASE}RUN echo begun; sleep 1000\n"}))
    building = asyncio.create_task(engine.build(BuildRequest("2", f"{registry.address}/app:2"), waits, told.append))

    async def begun() -> bool:
        return "begun" in printed(told)

    await eventually(begun)
    building.cancel()
    await asyncio.wait_for(asyncio.wait((building,)), 60)
    assert building.cancelled()


async def says_that_tls_is_wanted(engine: BuildKitEngine) -> None:
    with pytest.raises(EngineError, match="HTTPS server") as caught:
        await engine.info()
    await engine.close()
    assert "engine_ca" in caught.value.hint


async def is_not_reached(engine: BuildKitEngine, registry: PushSink) -> None:
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        await engine.info()
    request = BuildRequest("3", f"{registry.address}/app:1")
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        await engine.build(request, stream(context_tar({"Dockerfile": BASE})), list[Progress]().append)
    await engine.close()
