"""What comes while a page is open: the log of a build, and word of every change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lumper.model import events
from lumper.model.builds.build import BuildState, Output
from parts.suite.eventually import eventually
from parts.web.live_pages import PASSWORD, LivePages, live_pages, posted, step_lines, text_at


async def events_of(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(":")
            event[name] = f"{event[name]}\n{value.strip()}" if name in event else value.strip()
        elif event:
            if event.keys() & {"data", "event"}:
                yield event
            event = {}


async def test_the_log_streams_while_it_grows_and_ends_with_the_build(
    live: LivePages, person: aiohttp.ClientSession
) -> None:
    build_id = await live.running(await live.project())
    await live.say(build_id, step_lines(1, "RUN one", ["first"]))
    async with person.get(f"/builds/{build_id}/log/stream") as answer:
        assert answer.content_type == "text/event-stream"
        stream = events_of(answer)
        first = await anext(stream)
        assert "first" in first["data"]
        assert int(first["id"]) == await live.history.logs.size(build_id, 1)
        await live.say(build_id, [Output(1, 1, 1.0, "second\r\nevent: end")])
        second = await anext(stream)
        assert second["data"] == '{"s":1,"o":1,"x":"second\\r","t":1.0}\n{"s":1,"o":1,"x":"event: end","t":1.0}'
        await live.ended(build_id, BuildState.FAILED)
        end = await anext(stream)
        assert (end["event"], '"state": "failed"' in end["data"]) == ("end", True)
        assert [event async for event in stream] == []
    async with person.get(f"/builds/{build_id}/log/stream", headers={"Last-Event-ID": first["id"]}) as answer:
        resumed = [event async for event in events_of(answer)]
        assert [event.get("id") for event in resumed] == [second["id"], None]
    async with person.get(f"/builds/{build_id}/log/stream?from={second['id']}") as answer:
        assert [event["event"] async for event in events_of(answer)] == ["end"]


async def test_an_attempt_that_another_one_follows_ends_its_stream(
    live: LivePages, person: aiohttp.ClientSession
) -> None:
    build_id = await live.running(await live.project())
    await live.say(build_id, step_lines(1, "RUN one", ["of the first attempt"]))
    async with person.get(f"/builds/{build_id}/log/stream?attempt=1") as answer:
        stream = events_of(answer)
        await anext(stream)
        await live.history.builds.online(events.WorkerOnline("builder-1", "another boot"))
        live.history.logs.wake()
        end = await anext(stream)
        assert '"attempt": 2' in end["data"]
    assert "attempt=1#log" in await text_at(person, f"/builds/{build_id}")
    assert "of the first attempt" in await text_at(person, f"/builds/{build_id}/log.txt?attempt=1")
    assert await text_at(person, f"/builds/{build_id}/log.txt") == ""


@pytest.mark.parametrize("header", ["x", "-1", "1" * 30, "1.5"])
async def test_an_offset_that_is_none_is_a_bad_request(
    live: LivePages, person: aiohttp.ClientSession, header: str
) -> None:
    build_id = await live.queued(await live.project())
    async with person.get(f"/builds/{build_id}/log/stream", headers={"Last-Event-ID": header}) as answer:
        assert answer.status == 400


async def test_pages_hear_of_every_change(live: LivePages, person: aiohttp.ClientSession) -> None:
    async with person.get("/events") as answer:
        stream = events_of(answer)
        assert (await anext(stream))["event"] == "change"
        await live.project()
        assert (await anext(stream))["event"] == "change"


async def test_open_streams_end_when_the_server_does(tmp_path: Path) -> None:
    async with live_pages(tmp_path) as live:
        build_id = await live.running(await live.project())
        session = await live_session(live)
        answers = [await session.get(path) for path in ("/events", f"/builds/{build_id}/log/stream")]
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 50  # and not after the time limit for that
    await eventually(lambda: _ended(answers))
    await session.close()


async def live_session(live: LivePages) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(live.url, cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Origin": live.url})
    await posted(session, "/login", {"name": "admin", "password": PASSWORD})
    return session


async def _ended(answers: list[aiohttp.ClientResponse]) -> bool:
    for answer in answers:
        await answer.content.read()
    return all(answer.content.at_eof() for answer in answers)
