"""Two server processes on one PostgreSQL and one bucket are one Lumper."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from lumper.model import events
from lumper.model.builds.build import Outcome, Output, Progress, Result, Step, StepState
from lumper.model.builds.log import pack, to_line
from lumper.queue.brokers.rabbitmq import RabbitBroker
from lumper.queue.codec import encode
from lumper.queue.port import Message
from parts.git.forge import Forge, serve_forge
from parts.line.several_servers import client_of, shared_settings, token_of
from parts.processes.lumper_process import LumperServer
from parts.registries.live_registry import RegistryClient, digest_of, image_manifest
from parts.s3.s3_service import S3Service
from parts.servers.postgresql import PostgresServer
from parts.servers.rabbitmq import RabbitNode
from parts.suite.eventually import eventually

Pair = tuple[LumperServer, LumperServer]
Clients = tuple[RegistryClient, RegistryClient]
GRACE = 3.0  # seconds, where garbage is collected that is no older


@contextmanager
def two_registries(postgres: PostgresServer, s3: S3Service, folder: Path, grace: float) -> Iterator[Pair]:
    """Two registries that collect garbage every second, once it is so many seconds old."""
    often = {"registry.gc_interval": "1", "registry.gc_grace": f"{grace:.0f}"}
    all_of_it = {"registry.untagged": "delete", "registry.undo_days": "0"}
    settings = shared_settings(postgres.fresh(), s3.bucket(), **often, **all_of_it)
    servers = [LumperServer(folder / name, settings, role="registry") for name in ("a", "b")]
    with servers[0], servers[1]:
        yield servers[0], servers[1]


@pytest.fixture(scope="module")
def pair(postgres: PostgresServer, s3: S3Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two registries in which nothing goes while a push takes long, on a machine that stands still."""
    with two_registries(postgres, s3, tmp_path_factory.mktemp("pair"), 600.0) as servers:
        yield servers


@pytest.fixture
async def both(pair: Pair) -> AsyncIterator[Clients]:
    async with client_of(pair[0]) as a, client_of(pair[1]) as b:
        yield a, b


@pytest.fixture
def tidy(postgres: PostgresServer, s3: S3Service, tmp_path: Path) -> Iterator[Pair]:
    """Two registries that collect garbage at once."""
    with two_registries(postgres, s3, tmp_path, GRACE) as servers:
        yield servers


@pytest.fixture
async def tidy_both(tidy: Pair) -> AsyncIterator[Clients]:
    async with client_of(tidy[0]) as a, client_of(tidy[1]) as b:
        yield a, b


def test_each_server_has_the_same_tokens_and_the_same_key(pair: Pair) -> None:
    for name in ("tokens/worker", "tokens/operator", "keys/tokens.key"):
        one, other = (server.data / name for server in pair)
        assert one.read_bytes() == other.read_bytes()
        assert other.stat().st_mode & 0o777 == 0o600


async def test_a_token_from_one_server_opens_the_other(pair: Pair) -> None:
    async with aiohttp.ClientSession() as session:
        login = {"Authorization": aiohttp.encode_basic_auth("operator", token_of(pair[0]))}
        query = {"service": "lumper", "scope": "repository:app:pull,push"}
        async with session.get(f"{pair[0].url}/v2/token", params=query, headers=login) as answer:
            assert answer.status == 200, await answer.text()
            token = (await answer.json())["token"]
        async with session.get(f"{pair[1].url}/v2/", headers={"Authorization": f"Bearer {token}"}) as answer:
            assert answer.status == 200


async def test_an_image_is_pushed_chunk_by_chunk_by_turns(both: Clients) -> None:
    layer = os.urandom(9 << 20)
    location, size, step = await both[0].begin("turns"), 0, 3 << 20
    for number, start in enumerate(range(0, len(layer), step)):
        chunk = layer[start : start + step]
        span = {"Content-Range": f"{start}-{start + len(chunk) - 1}", "Content-Length": str(len(chunk))}
        async with both[number % 2].request("PATCH", location, data=io.BytesIO(chunk), headers=span) as answer:
            assert answer.status == 202, await answer.text()
            location, size = answer.headers["Location"], start + len(chunk)
            assert answer.headers["Range"] == f"0-{size - 1}"
    assert await both[1].status("PUT", f"{location}?digest={digest_of(layer)}") == 201
    config = await both[0].push_blob("turns", b"{}")
    await both[1].push_manifest("turns", "v1", image_manifest((config, 2), (digest_of(layer), len(layer))))

    async with both[0].request("GET", f"/v2/turns/blobs/{digest_of(layer)}") as answer:
        assert await answer.read() == layer
    assert await both[0].status("HEAD", "/v2/turns/manifests/v1") == 200


async def test_a_tag_that_moves_at_one_server_has_moved_at_the_other(both: Clients) -> None:
    async def seen(client: RegistryClient) -> str:
        async with client.request("HEAD", "/v2/moves/manifests/latest") as answer:
            return str(answer.headers.get("Docker-Content-Digest", ""))

    for number in range(6):
        digest = await both[number % 2].push_image("moves", "latest", b"layer %d" % number)

        async def moved(digest: str = digest) -> bool:
            return [await seen(client) for client in both] == [digest, digest]

        await eventually(moved)


async def _write(client: RegistryClient, location: str, body: Callable[[], AsyncIterator[bytes]]) -> int:
    """The status of a chunk, which the other server may have kept from its turn for a moment."""
    while (status := await client.status("PATCH", location, data=body())) == 416:
        pass
    return status


async def test_while_one_server_writes_to_an_upload_the_other_does_not(both: Clients) -> None:
    location, going_on = await both[0].begin("busy"), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await going_on.wait()
        yield b"y" * 1000

    first = asyncio.create_task(_write(both[0], location, slowly))

    async def refused() -> bool:
        return await both[1].status("PATCH", location, data=b"") == 416

    await eventually(refused)
    going_on.set()
    assert await first == 202
    digest = digest_of(b"x" * 1000 + b"y" * 1000)
    assert await both[1].status("PUT", f"{location}?digest={digest}") == 201


async def test_when_a_server_is_killed_in_a_push_the_other_goes_on(pair: Pair) -> None:
    layer = os.urandom(12 << 20)
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(client_of(server)) for server in pair]
        location = await a.begin("killed")
        async with a.request("PATCH", location, data=io.BytesIO(layer[: 9 << 20])) as answer:
            location = answer.headers["Location"]

        async def endless() -> AsyncIterator[bytes]:
            yield layer[9 << 20 : 10 << 20]
            await asyncio.Event().wait()

        writing = asyncio.create_task(_write(a, location, endless))

        async def busy() -> bool:
            return await b.status("PATCH", location, data=b"") == 416

        await eventually(busy)
        await asyncio.to_thread(pair[0].kill)
        with pytest.raises(aiohttp.ClientError):
            await writing
        async with b.request("GET", location) as answer:
            start = int(answer.headers["Range"].partition("-")[2]) + 1
        assert start >= 9 << 20

        async def goes_on() -> bool:
            return await b.status("PATCH", location, data=io.BytesIO(layer[start:])) == 202

        await eventually(goes_on)
        assert await b.status("PUT", f"{location}?digest={digest_of(layer)}") == 201
        async with b.request("GET", f"/v2/killed/blobs/{digest_of(layer)}") as answer:
            assert await answer.read() == layer
    await asyncio.to_thread(pair[0].restart)


async def test_nothing_that_is_pushed_anywhere_is_collected_anywhere(tidy_both: Clients) -> None:
    """The same few layers again and again, so that what one server pushes is garbage to the other one just then.

    A push that took longer than the grace, on a machine that stood still, may find that what it needs is gone.
    """
    end = asyncio.get_running_loop().time() + 5
    pushed: list[tuple[str, str, list[str]]] = []

    async def push_on(lane: int) -> None:
        number = 0
        while asyncio.get_running_loop().time() < end or len(pushed) <= 20:
            begun = asyncio.get_running_loop().time()
            try:
                await push(lane, number)
            except AssertionError:
                if asyncio.get_running_loop().time() - begun < GRACE:
                    raise
            if number % 3 == 2:
                await asyncio.sleep(0.1 * (lane + 1))
            number += 1

    async def push(lane: int, number: int) -> None:
        layer = b"layer %d" % (number % 7)
        client, other = tidy_both[(lane + number) % 2], tidy_both[(lane + number + 1) % 2]
        repository = f"mix{lane % 2}"
        config = await client.push_blob(repository, b'{"n":%d}' % (number % 5))
        if await other.status("HEAD", f"/v2/{repository}/blobs/{digest_of(layer)}") != 200:
            await other.push_blob(repository, layer)
        manifest = image_manifest((config, 7), (digest_of(layer), len(layer)), annotations={"n": f"{number % 11}"})
        tag = f"lane{lane}"
        digest = await client.push_manifest(repository, tag, manifest)
        pushed.append((repository, digest, [config, digest_of(layer)]))
        assert await other.status("GET", f"/v2/{repository}/manifests/{digest}") == 200
        for blob in (config, digest_of(layer)):
            assert await other.status("GET", f"/v2/{repository}/blobs/{blob}") == 200, blob
        if number % 3 == 2:
            assert await client.status("DELETE", f"/v2/{repository}/manifests/{tag}") in (202, 404)

    async with asyncio.timeout(120):
        await asyncio.gather(*(push_on(lane) for lane in range(4)))


async def test_a_delivery_at_both_servers_is_one_build_and_its_log_is_at_both(
    postgres: PostgresServer, s3: S3Service, rabbitmq: RabbitNode, tmp_path: Path
) -> None:
    broker_url = await rabbitmq.fresh_url()
    url = await asyncio.to_thread(postgres.fresh)
    more = {"queue.url": broker_url, "deploy.with_server": "false"}
    settings = shared_settings(url, await asyncio.to_thread(s3.bucket), **more)
    servers = [LumperServer(tmp_path / name, settings, role="server") for name in ("a", "b")]
    with ExitStack() as stack:
        for server in servers:
            await asyncio.to_thread(stack.enter_context, server)
        forge: Forge = stack.enter_context(serve_forge(tmp_path / "forge"))
        build = await asyncio.to_thread(_delivered_to_both, forge, servers)
        broker = RabbitBroker(broker_url)
        try:
            async with AsyncExitStack() as listeners:
                news = [await listeners.enter_async_context(_news_of(server)) for server in servers]
                await _built(broker, build)
                for changes in news:  # one of them handles what the worker says; both tell of it
                    await _change(changes)
        finally:
            await broker.close()

        async def ended() -> bool:
            return [await asyncio.to_thread(_seen, server, build) for server in servers] == [("failed", 400)] * 2

        await eventually(ended)
        for server in servers:  # each event waited for the one before it, also where the other server had that
            assert "a message failed" not in server.said


def _seen(server: LumperServer, build: int) -> tuple[str, int]:
    """The state of a build and how many lines its log has, as this server shows them."""
    lines = b"".join(server.client.lines(f"builds/{build}/log"))
    return str(server.client.get(f"builds/{build}")["state"]), lines.count(b"line ")


def _delivered_to_both(forge: Forge, servers: list[LumperServer]) -> int:
    project = forge.project()
    project.connect(servers[0].client)
    commit = project.commit(busybox=False)
    project.repository.tag("v1.0.0", commit)
    first = project.deliver("refs/tags/v1.0.0", commit, delivery="one")
    hooks = dict(project.hooks)
    project.hooks = {name: hook.replace(servers[0].url, servers[1].url) for name, hook in hooks.items()}
    second = project.deliver("refs/tags/v1.0.0", commit, delivery="one")
    third = project.deliver("refs/tags/v1.0.0", commit, delivery="two")
    assert (first.verdict, second.verdict, third.verdict) == ("build", "duplicate", "duplicate")
    (build,) = first.builds
    return build


def _lines() -> str:
    records: list[Progress] = [
        Step(1, "RUN make", StepState.RUNNING, 1.0),
        *(Output(1, 1, 1.0, f"line {n}") for n in range(400)),
    ]
    return "".join(map(to_line, records))


async def _built(broker: RabbitBroker, build: int) -> None:
    """What a worker says of a build: that it has begun it, a log, and that it failed."""
    text, now = _lines(), datetime.now(UTC)
    said: list[events.Payload] = [
        events.AttemptStarted(build, 1, "claim", "builder", "boot", now),
        *(
            events.LogChunk(build, 1, "claim", at, pack(text[at : at + 500].encode()))
            for at in range(0, len(text), 500)
        ),
        events.AttemptFinished(build, 1, "claim", now, len(text), Result(Outcome.FAILED, error="make: no rule")),
    ]
    await broker.publish([Message(f"{number}", events.EVENTS, encode(event)) for number, event in enumerate(said)])


@asynccontextmanager
async def _news_of(server: LumperServer) -> AsyncIterator[aiohttp.StreamReader]:
    """The events of this server, behind the first one, with which it says that it listens."""
    headers = {"Authorization": f"Bearer {token_of(server)}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{server.url}/events") as answer:
        assert answer.status == 200
        await _change(answer.content)
        yield answer.content


async def _change(news: aiohttp.StreamReader) -> None:
    async with asyncio.timeout(60):
        while not (line := await news.readline()).startswith(b"event: change"):
            assert line, "the events ended"
