"""`lumper log --follow`: line by line, to the end of the build, through all its attempts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from lumper.model.builds.build import BuildState, Result
from lumper.model.builds.build import Outcome as How
from lumper.model.events import AttemptFinished
from lumper.model.people.people import Role
from lumper.roles.acceptance import Acceptance
from parts.processes.followed_log import followed, said, say
from parts.processes.forked_lumper import environment
from parts.suite.eventually import eventually
from parts.web.live_api import Api, live_api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with live_api(tmp_path) as served:
        await served.project()
        yield served


async def end(api: Api, build: int, attempt: int, result: Result) -> None:
    """The worker tells the result of the attempt."""
    size = await api.history.logs.size(build, attempt)
    finished = AttemptFinished(build, attempt, "c", datetime.now(UTC), size, result)
    await Acceptance(api.history).handle(finished)


FAILED = Result(How.FAILED, error="Step 1 failed.", hint="Look at it.")
AWAY = Result(How.FAILED, error="The engine is away.", temporary=True)


async def test_lines_come_one_by_one_and_the_command_ends_with_the_build(api: Api) -> None:
    build = await api.build()
    async with followed(api, build) as process:
        await api.start(build)
        await say(api, build, 1, "one")
        assert await said(process) == "#1 RUN make"
        assert await said(process) == "#1 one"
        await say(api, build, 1, "two", "three")
        assert [await said(process), await said(process)] == ["#1 two", "#1 three"]
        await end(api, build, 1, FAILED)
        out, err = await process.communicate()
        assert out.decode() == f"Build {build} failed: Step 1 failed. Look at it.\n"
        assert (process.returncode, err) == (1, b"")


async def test_a_build_that_begins_again_is_followed_into_its_next_attempt(api: Api) -> None:
    build = await api.build()
    async with followed(api, build) as process:
        for attempt in (1, 2, 3):
            await api.start(build, attempt)
            await say(api, build, attempt, f"attempt {attempt}")
            assert [await said(process), await said(process)] == ["#1 RUN make", f"#1 attempt {attempt}"]
            await end(api, build, attempt, AWAY)
        out, err = await process.communicate()
        assert out.decode() == f"Build {build} failed: The engine is away.\n"
        assert err.decode() == "Attempt 2 begins.\nAttempt 3 begins.\n"


async def test_one_attempt_alone_is_followed_to_its_own_end(api: Api) -> None:
    build = await api.build()
    await api.start(build)
    async with followed(api, build, "--attempt", "1") as process:
        await say(api, build, 1, "one")
        assert [await said(process), await said(process)] == ["#1 RUN make", "#1 one"]
        await end(api, build, 1, AWAY)
        out, _ = await process.communicate()
        assert out.decode().startswith(f"Build {build} queued")
        assert process.returncode == 0


async def test_a_build_that_is_cancelled_while_it_waits_ends_the_command(api: Api) -> None:
    build = await api.build()
    async with followed(api, build) as process:
        await api.history.builds.cancel(build)
        api.history.logs.wake()
        out, _ = await process.communicate()
        assert out.decode() == f"Build {build} cancelled: Cancelled before it began.\n"
        assert process.returncode == 0


async def test_a_hundred_thousand_lines_pass(api: Api) -> None:
    build = await api.build()
    await api.start(build)
    await say(api, build, 1, *(f"line {number} of a long log" for number in range(100_000)))
    async with api.history.database.write() as connection:
        await api.history.builds.end(connection, build, BuildState.SUCCEEDED, digest="sha256:" + "a" * 64)
    async with followed(api, build) as process:
        out, _ = await process.communicate()
    lines = out.decode().splitlines()
    assert len(lines) == 100_002
    assert lines[-2].endswith("line 99999 of a long log")


async def test_lines_with_a_text_are_printed(api: Api) -> None:
    build = await api.build()
    await api.start(build)
    await say(api, build, 1, *(f"line {number}" for number in range(100)))
    settings = environment({"LUMPER_SERVER": api.url, "LUMPER_TOKEN": api.tokens[Role.OPERATOR]})

    async def grep(text: str) -> tuple[int | None, str]:
        command = (sys.executable, "-m", "lumper", "log", str(build), "--grep", text)
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, env=settings)
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    assert await grep("LINE 9") == (0, "".join(f"#1:{n + 1} line {n}\n" for n in [9, *range(90, 100)]))
    assert await grep("not there") == (1, "")


async def test_what_a_terminal_would_obey_is_not_printed(api: Api) -> None:
    build = await api.build()
    await api.start(build)
    await say(api, build, 1, "\x1b]8;;javascript:alert(1)\x07 \x1b[2J \r \0")
    await end(api, build, 1, FAILED)
    async with followed(api, build) as process:
        out, _ = await process.communicate()
    assert not set("\x1b\x07\r\0") & set(out.decode())


async def test_a_log_goes_on_where_it_was_when_the_server_is_back(api: Api) -> None:
    build = await api.build()
    await api.start(build)
    await say(api, build, 1, "one")
    async with followed(api, build) as process:
        assert [await said(process), await said(process)] == ["#1 RUN make", "#1 one"]
        await cut(api)
        assert process.stderr is not None
        assert (await process.stderr.readline()).endswith(b"Waiting for it.\n")
        await say(api, build, 1, "two")
        await again(api)
        assert await said(process) == "#1 two"
        await end(api, build, 1, FAILED)
        out, err = await process.communicate()
        assert (out.decode(), err) == (f"Build {build} failed: Step 1 failed. Look at it.\n", b"")


async def cut(api: Api) -> None:
    """End the server in the middle of all its answers."""
    (site,) = api.runner.sites
    await site.stop()
    assert api.runner.server is not None
    await api.runner.server.shutdown(0.1)


async def again(api: Api) -> None:
    """Start it again, where it was."""
    await web.TCPSite(api.runner, "127.0.0.1", urlsplit(api.url).port).start()


MANY = [f"line {n} of a log that no buffer holds: {'x' * 300}" for n in range(40_000)]


async def finished_log(api: Api) -> int:
    """A build that has ended, with a log of some 15 MB."""
    build = await api.build()
    await api.start(build)
    await say(api, build, 1, *MANY)
    await end(api, build, 1, FAILED)
    return build


async def test_reading_a_log_goes_on_where_it_was_when_the_server_is_back(api: Api) -> None:
    build = await finished_log(api)
    async with followed(api, build, follow=False) as process:
        assert [await said(process), await said(process)] == ["#1 RUN make", f"#1 {MANY[0]}"]
        await cut(api)
        await again(api)
        out, err = await process.communicate()
        assert [line[10:] for line in out.decode().splitlines()] == [f"#1 {text}" for text in MANY[1:]]
        assert (process.returncode, err) == (1, b"")


async def test_a_log_that_is_removed_while_it_is_read_is_told_as_such(api: Api) -> None:
    build = await finished_log(api)
    async with followed(api, build, follow=False) as process:
        assert await said(process) == "#1 RUN make"
        await cut(api)
        await api.history.logs.delete(build, 1)
        await again(api)
        out, err = await process.communicate()
        assert 0 < len(out.splitlines()) < len(MANY)
        assert f"The log of build {build} is not kept any more." in err.decode()
        assert "keep_days" in err.decode()
        assert "No Lumper server" not in err.decode()
        assert process.returncode == 1


async def test_an_answer_that_cannot_go_on_is_cut_off_and_no_other_one_follows_in_it(api: Api) -> None:
    build = await api.build()
    await api.start(build)
    await say(api, build, 1, "one")
    reader, writer = await _asked(api, f"/api/v1/builds/{build}/log?follow=1")
    came = await reader.readuntil(b"one")
    async with api.history.database.write() as connection:
        await connection.exec_driver_sql("ALTER TABLE builds RENAME TO moved")
    api.history.logs.wake()
    with suppress(ConnectionError):
        async with asyncio.timeout(60):
            while more := await reader.read(4096):
                came += more
    writer.close()
    assert (came.count(b"HTTP/1.1"), came.count(b"error"), came.endswith(b"0\r\n\r\n")) == (1, 0, False)


async def test_who_leaves_in_the_middle_of_a_page_is_no_matter_for_the_log(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    build = await finished_log(api)
    assert api.runner.server is not None
    before = {*api.runner.server.connections}
    reader, writer = await _asked(api, f"/builds/{build}/log.txt")
    await reader.readuntil(b"RUN make")
    writer.transport.abort()

    async def gone() -> bool:
        assert api.runner.server is not None
        return before.issuperset(api.runner.server.connections)

    await eventually(gone)
    assert "a page failed" not in caplog.text


async def _asked(api: Api, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which this was asked for, by the operator."""
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    token = api.tokens[Role.OPERATOR]
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    return reader, writer


async def test_a_server_that_goes_away_is_told(tmp_path: Path) -> None:
    async with live_api(tmp_path) as served:
        await served.project()
        build = await served.build()
        await served.start(build)
        await say(served, build, 1, "one")
        async with followed(served, build) as process:
            assert await said(process) == "#1 RUN make"
            await served.runner.cleanup()
            assert process.stderr is not None
            assert b"No Lumper server answers" in await process.stderr.readline()
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
            assert (process.returncode, err) == (130, b"")


HOSTILE = (
    "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[2J\x1b[H\x1b[?1049h\x1bc\ta\x1b[32mgreen"
    "\rb\x1b[31mred\x1b]8;;javascript:x\x07!"
)


async def test_a_hostile_log_drives_no_terminal_and_keeps_its_colours_on_one(api: Api) -> None:
    build = await api.build()
    await api.start(build)
    await say(api, build, 1, HOSTILE)
    async with api.history.database.write() as connection:
        await api.history.builds.end(connection, build, BuildState.SUCCEEDED, digest="sha256:" + "a" * 64)
    for settings, seen in (({"TERM": "xterm"}, "b\x1b[31mred!\x1b[0m"), ({"TERM": "xterm", "NO_COLOR": "1"}, "bred!")):
        assert (await on_a_terminal(api, ("log", str(build)), settings)).split("#1 ")[-1] == f"{seen}\r\n"
    async with followed(api, build, follow=False) as process:
        out, _ = await process.communicate()
        assert out.decode().splitlines()[-1][10:] == "#1 bred!"


async def on_a_terminal(api: Api, arguments: tuple[str, ...], settings: Mapping[str, str]) -> str:
    """What a command prints on a terminal of its own."""
    settings = {"LUMPER_SERVER": api.url, "LUMPER_TOKEN": api.tokens[Role.OPERATOR], **settings}
    ours, theirs = os.openpty()
    try:
        command = (sys.executable, "-m", "lumper", *arguments)
        process = await asyncio.create_subprocess_exec(*command, stdout=theirs, stderr=PIPE, env=environment(settings))
        os.close(theirs)
        assert await process.wait() == 0
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
