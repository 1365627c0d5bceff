"""Webhooks of a running server: added by the command line, told of real pushes, and of all of them after a kill."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lumper.notify.webhook import SIGNATURE, signature
from parts.processes.command_line import lumper
from parts.processes.lumper_process import LumperServer
from parts.registries.live_registry import RegistryClient
from parts.servers.receiver import Got, Receiver, receiver
from parts.suite.eventually import eventually

SECRET = "a secret that is long enough"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LumperServer]:
    with LumperServer(tmp_path_factory.mktemp("webhooks") / "data", role="registry") as started:
        yield started


@pytest.fixture
def server(running: LumperServer) -> Iterator[LumperServer]:
    """The one server, without webhooks of other tests."""
    yield running
    for webhook in running.client.get("registry/webhooks"):
        running.client.delete(f"registry/webhooks/{webhook['id']}")


@pytest.fixture
async def here() -> AsyncIterator[Receiver]:
    async with receiver() as listening:
        yield listening


@pytest.fixture
async def pushing(server: LumperServer) -> AsyncIterator[RegistryClient]:
    token = (server.data / "tokens" / "operator").read_text().strip()
    async with aiohttp.ClientSession() as session:
        yield RegistryClient(session, server.url, token)


def webhooks(server: LumperServer, *words: object) -> Any:
    """`lumper registry webhooks …` with JSON."""
    return lumper("registry", "webhooks", *words, "--json", "--data", server.data).json


def events(got: list[Got]) -> list[tuple[str, str, str]]:
    return [(one.event["action"], one.event["repository"], one.event["tag"]) for one in got]


async def test_a_push_is_told_signed_and_nothing_shows_the_secret(
    server: LumperServer, here: Receiver, pushing: RegistryClient, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    made = webhooks(server, "add", here.url, "--secret-file", file, "--repository", "team/*", "--private")
    digest = await pushing.push_image("team/app", "1.0")
    await pushing.push_image("other/app", "1.0")
    await pushing.push_image("team/app", "1.1", b"another layer")
    assert await pushing.status("DELETE", "/v2/team/app/manifests/1.0") == 202

    got = await here.until(5)
    assert events(got) == [
        ("push", "team/app", ""),
        ("tag", "team/app", "1.0"),
        ("push", "team/app", ""),
        ("tag", "team/app", "1.1"),
        ("untag", "team/app", "1.0"),
    ]
    tagged = got[1]
    assert tagged.headers[SIGNATURE] == signature(SECRET, tagged.body)
    assert (tagged.event["digest"], tagged.event["registry"]) == (digest, server.address)
    assert tagged.event["media_type"] == "application/vnd.oci.image.manifest.v1+json"
    assert tagged.event["size"] > 0
    assert tagged.event["actor"] == {"name": "operator", "role": "operator"}
    await eventually(lambda: _states(server, made["id"], ["delivered"] * 5))
    shown = json.dumps([webhooks(server, "list"), webhooks(server, "calls", made["id"]), made]) + server.said
    assert SECRET not in shown


async def _states(server: LumperServer, number: int, wanted: list[str]) -> bool:
    return [call["state"] for call in webhooks(server, "calls", number)] == wanted


async def test_whoever_reads_distributions_notifications_can_read_these(
    server: LumperServer, here: Receiver, pushing: RegistryClient
) -> None:
    webhooks(server, "add", here.url, "--on", "tag", "--format", "distribution", "--private")
    await pushing.push_image("team/whoever", "1.0")
    (got,) = await here.until(1)
    assert got.headers["Content-Type"] == "application/vnd.docker.distribution.events.v2+json"
    (event,) = got.event["events"]
    assert (event["action"], event["target"]["repository"], event["target"]["tag"]) == ("push", "team/whoever", "1.0")


async def test_after_a_kill_in_the_middle_every_event_is_told_and_in_order(
    server: LumperServer, here: Receiver, pushing: RegistryClient
) -> None:
    webhooks(server, "add", here.url, "--on", "tag", "--private")
    here.gate.clear()
    for tag in ("1", "2", "3"):
        await pushing.push_image("team/killed", tag)
    await here.until(1)  # the first is with the receiver, which has not answered
    server.kill()
    here.gate.set()
    server.restart()
    got = await here.until(4)
    assert [one.event["tag"] for one in got] == ["1", "1", "2", "3"]
    assert got[0].body == got[1].body
    assert got[0].headers["Lumper-Delivery"] == got[1].headers["Lumper-Delivery"]


async def test_a_push_does_not_wait_for_a_receiver_that_is_away(
    server: LumperServer, here: Receiver, pushing: RegistryClient
) -> None:
    here.gate.clear()
    made = webhooks(server, "add", here.url, "--private")
    await pushing.push_image("team/away", "1.0")
    await pushing.push_image("team/away", "1.1")
    await here.until(1)
    assert await _states(server, made["id"], ["waiting"] * 4)
    here.gate.set()
    await here.until(4)


def test_one_that_leads_to_loopback_is_refused_unless_that_is_meant(server: LumperServer) -> None:
    add = ("registry", "webhooks", "add", "--data", server.data)
    for url in (server.url, f"http://localhost:{server.port}/", "http://2130706433/", "https://[::1]/"):
        assert "say `--private` if that is meant" in lumper(*add, url).trouble
    assert "never called" in lumper(*add, "http://169.254.169.254/", "--private").trouble
    assert webhooks(server, "list") == []
    made = webhooks(server, "add", f"{server.url}/healthz", "--private")
    assert len(made["secret"]) > 40
    webhooks(server, "ping", made["id"])
    server.wait_until_said("The receiver answered 405")
    (call,) = webhooks(server, "calls", made["id"], "--state", "waiting")
    assert call["event"]["action"] == "ping"
    assert call["tries"] >= 1
    assert call["event"]["actor"] == {"name": "operator", "role": "operator"}
    assert webhooks(server, "revive", made["id"])["revived"] == 0
    assert webhooks(server, "remove", made["id"]) == {"id": made["id"]}
    assert webhooks(server, "list") == []


def test_what_is_wrong_with_a_new_one_is_told_with_what_to_do(server: LumperServer, tmp_path: Path) -> None:
    add = ("registry", "webhooks", "add", "--data", server.data)
    assert "must not have a password" in lumper(*add, "https://a:b@example.org/").trouble
    assert "is no glob" in lumper(*add, "https://example.org/", "--repository", "Team/*").trouble
    assert "actions" in lumper(*add, "https://example.org/", "--on", "everything").err
    (tmp_path / "short").write_text("short")
    assert "at least 16" in lumper(*add, "https://example.org/", "--secret-file", tmp_path / "short").trouble
    assert "cannot be read" in lumper(*add, "https://example.org/", "--secret-file", tmp_path / "none").trouble
    assert "no webhook 9" in lumper("registry", "webhooks", "remove", 9, "--data", server.data).trouble
