"""What a Docker host makes of an engine that is none, breaks off, or has trouble of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from lumper.deploy.hosts.docker import DockerHost
from lumper.errors import HostUnavailable
from lumper.model.deployment import Release, Service
from parts.servers.http_server import serving

RELEASE = Release(Service("shop"), "127.0.0.1:1/shop", f"sha256:{1:064x}", 1)
Answer = Callable[[web.Request], web.StreamResponse]


def _version(request: web.Request) -> web.Response:
    return web.json_response({"ApiVersion": "1.41"})


def _page(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>hello</html>", content_type="text/html")


def _list(request: web.Request) -> web.StreamResponse:
    return web.json_response(["no", "containers"])


def _broken_json(request: web.Request) -> web.StreamResponse:
    return web.Response(text='[{"Id": ', content_type="application/json")


def _trouble(request: web.Request) -> web.StreamResponse:
    return web.json_response({"message": "no space left on device"}, status=500)


def _hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.fixture(params=[_page, _list, _broken_json, _trouble, _hang_up])
async def strange(request: pytest.FixtureRequest) -> AsyncIterator[DockerHost]:
    async for host in _served(request.param):
        yield host


async def _served(answer: Answer) -> AsyncIterator[DockerHost]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return _version(request) if request.path == "/version" else answer(request)

    async with serving(handle) as url:
        host = DockerHost("strange", url.replace("http://", "tcp://"))
        try:
            yield host
        finally:
            await host.close()


async def test_whatever_answers_only_errors_of_ours_come_out(strange: DockerHost) -> None:
    for call in (
        lambda: strange.containers(),
        lambda: strange.inspect("0" * 64),
        lambda: strange.pull(RELEASE, None),
        lambda: strange.logs("0" * 64, 5),
        lambda: strange.prune("shop", set()),
    ):
        with pytest.raises(HostUnavailable) as caught:
            await call()
        assert caught.value.hint


async def test_a_pull_that_breaks_off_is_not_taken_for_the_image() -> None:
    def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/images/create"):
            return web.Response(text=json.dumps({"status": "Downloading"}) + "\n", content_type="application/json")
        return web.json_response({"message": "No such image"}, status=404)

    async for host in _served(answer):
        with pytest.raises(HostUnavailable, match="broke"):
            await host.pull(RELEASE, None)


@pytest.mark.parametrize(
    "words", ["dial tcp 127.0.0.1:1: connect: connection refused", "received 503 Service Unavailable"]
)
async def test_a_registry_that_is_down_is_worth_another_try(words: str) -> None:
    def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/images/create"):
            return web.json_response({"message": words}, status=500)
        return web.json_response({"message": "No such image"}, status=404)

    async for host in _served(answer):
        with pytest.raises(HostUnavailable, match="registry") as caught:
            await host.pull(RELEASE, None)
        assert caught.value.temporary
