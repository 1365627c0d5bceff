"""Metrics of a running server, as Prometheus asks for them, and who may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from lumper.model.people.people import Role
from parts.processes.lumper_process import LumperServer
from parts.registries.live_registry import RegistryClient, digest_of
from parts.suite.eventually import eventually
from parts.web.live_api import live_api


@dataclass
class Asked:
    """A server, and how it is asked."""

    url: str
    session: aiohttp.ClientSession
    tokens: dict[str, str]

    def registry(self, token: str) -> RegistryClient:
        return RegistryClient(self.session, self.url, token)

    async def get(self, token: str, path: str = "/metrics", **headers: str) -> tuple[int, str]:
        """Status and body."""
        if token:
            headers["Authorization"] = f"Bearer {token}"
        async with self.session.get(self.url + path, headers=headers) as response:
            return response.status, await response.text()

    async def value(self, name: str, **labels: str) -> float:
        """The value of one sample, 0 if there is none."""
        status, text = await self.get(self.tokens["monitor"])
        assert status == 200
        samples: list[Any] = [one for family in text_string_to_metric_families(text) for one in family.samples]
        return float(sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LumperServer]:
    with LumperServer(tmp_path_factory.mktemp("metrics") / "data", {"registry.gc_grace": "0.01"}) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(server: LumperServer) -> dict[str, str]:
    made = {
        role: server.client.post("tokens", {"name": f"a-{role}", "role": role})["token"]
        for role in ("monitor", "admin")
    }
    return made | {
        role: (server.data / "tokens" / role).read_text().strip() for role in ("worker", "mailer", "deployer")
    }


@pytest.fixture
async def asked(server: LumperServer, tokens: dict[str, str]) -> AsyncIterator[Asked]:
    async with aiohttp.ClientSession() as session:
        yield Asked(server.url, session, tokens)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_everybody_hears_whether_the_server_is_well(asked: Asked, path: str) -> None:
    assert await asked.get("", path) == (200, "ok")


async def test_metrics_are_for_monitors_and_admins_only(asked: Asked) -> None:
    statuses = {name: (await asked.get(token))[0] for name, token in asked.tokens.items()}
    assert statuses == {"monitor": 200, "admin": 200, "worker": 403, "mailer": 403, "deployer": 403}
    assert (await asked.get(""))[0] == 401
    assert (await asked.get("lmp_wrong"))[0] == 401


async def test_a_monitor_may_nothing_else(asked: Asked) -> None:
    monitor = asked.tokens["monitor"]
    assert (await asked.get(monitor, "/api/v1/projects"))[0] == 403
    assert (await asked.get(monitor, "/v2/team/app/tags/list"))[0] == 403
    assert (await asked.get(monitor, "/v2/_catalog"))[0] == 403


async def test_pushes_and_pulls_are_counted(asked: Asked) -> None:
    admin = asked.registry(asked.tokens["admin"])
    layer = b"x" * 100_000
    before = await asked.value("lumper_registry_received_bytes_total")
    await admin.push_image("team/counted", "1", layer)
    assert await asked.value("lumper_registry_received_bytes_total") - before == len(layer) + 37  # and the config
    assert await admin.status("GET", "/v2/team/counted/manifests/1") == 200
    assert await admin.status("GET", "/v2/team/counted/manifests/2") == 404
    assert await admin.status("GET", "/v2/team/../x") == 404
    async with admin.request("GET", "/v2/team/counted/manifests/1") as response:
        digest = (await response.json(content_type=None))["layers"][0]["digest"]
    assert await admin.status("GET", f"/v2/team/counted/blobs/{digest}", headers={"Range": "bytes=0-9"}) == 206

    manifests = {"handler": "manifest", "method": "GET"}
    assert await asked.value("lumper_registry_requests_total", status="200", **manifests) == 2
    assert await asked.value("lumper_registry_requests_total", status="404", **manifests) == 1
    assert await asked.value("lumper_registry_request_duration_seconds_count", **manifests) == 3
    assert await asked.value("lumper_registry_sent_bytes_total") == 10


async def test_an_upload_in_chunks_counts_what_was_kept(asked: Asked) -> None:
    admin = asked.registry(asked.tokens["admin"])
    before = await asked.value("lumper_registry_received_bytes_total")
    place = await admin.begin("team/chunks")
    assert await admin.status("PATCH", place, data=b"a" * 70, headers={"Content-Range": "0-69"}) == 202
    assert await admin.status("PATCH", place, data=b"b" * 30, headers={"Content-Range": "0-29"}) == 416
    assert await asked.value("lumper_registry_received_bytes_total") - before == 70
    ended = f"{place}?digest={digest_of(b'a' * 70 + b'c' * 5)}"
    assert await admin.status("PUT", ended, data=b"c" * 5) == 201
    assert await asked.value("lumper_registry_received_bytes_total") - before == 75


async def test_a_collection_of_garbage_is_counted(asked: Asked, server: LumperServer) -> None:
    admin = asked.registry(asked.tokens["admin"])
    await admin.push_blob("team/lonely", b"nobody's" * 100)
    collected = 0

    async def freed() -> bool:
        nonlocal collected
        server.client.post("registry/gc")
        collected += 1
        return await asked.value("lumper_registry_gc_freed_bytes_total") >= 800

    await eventually(freed)
    assert await asked.value("lumper_registry_gc_duration_seconds_count") == collected
    assert await asked.value("lumper_registry_gc_last_success_timestamp_seconds") > 1e9
    assert await asked.value("lumper_registry_gc_collected_total", kind="bytes") >= 1


async def test_what_there_is_and_how_the_process_does_is_told(asked: Asked) -> None:
    assert await asked.value("lumper_queue_up") == 1

    async def heard() -> bool:  # what the worker has just said
        return await asked.value("lumper_queue_messages", topic="events") == 0

    await eventually(heard)
    assert await asked.value("lumper_data_free_bytes") > 0
    assert await asked.value("process_resident_memory_bytes") > 1e6
    status, text = await asked.get(asked.tokens["monitor"], Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200
    names = {family.name for family in open_families(text)}  # type: ignore[no-untyped-call]
    assert {"lumper_info", "lumper_builds", "lumper_registry_storage_bytes"} <= names


async def test_what_can_be_told_is_told_while_the_disk_cannot_be_asked(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    async with live_api(tmp_path / "data") as api:
        (tmp_path / "data").rename(tmp_path / "away")
        asked = Asked(api.url, api.session, {"monitor": api.tokens[Role.OPERATOR]})
        assert await asked.value("lumper_data_free_bytes") == 0
        assert await asked.value("process_resident_memory_bytes") > 1e6
        (tmp_path / "away").rename(tmp_path / "data")


async def test_the_path_is_for_reading(asked: Asked) -> None:
    async with asked.session.post(f"{asked.url}/metrics") as response:
        assert response.status == 405
