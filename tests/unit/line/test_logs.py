"""The logs of builds, in a folder and in the database: chunks that come twice, in halves or too early."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lumper.errors import LogGap, NotFound
from lumper.line.history import open_history
from lumper.line.logs.log_rows import DatabaseLogs
from lumper.line.logs.logs import FolderLogs, Logs
from lumper.model.links import Links
from lumper.model.source import Push, parse_git_url
from lumper.queue.codec import encode
from parts.servers.postgresql import PostgresServer
from parts.suite.eventually import eventually


@pytest.fixture(params=["folder", "database"])
async def logs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Logs]:
    if request.param == "folder":
        yield FolderLogs(tmp_path / "logs")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    history = open_history(server.ready(), tmp_path, Links("http://l", "l", "l"), encode)
    assert isinstance(history.logs, DatabaseLogs)
    await history.database.listen()
    project = await history.projects.add(parse_git_url("https://git.example.org/owner/app.git"))
    async with history.database.write() as connection:
        push = Push("owner/app", "refs/tags/v1", "a" * 40)
        assert await history.builds.queue(connection, project, push) == (1, True)
    yield history.logs
    await history.database.close()


async def whole(logs: Logs, offset: int = 0) -> bytes:
    return b"".join([chunk async for chunk in logs.read(1, 1, offset)])


async def test_chunks_become_one_log_whatever_comes_twice(logs: Logs) -> None:
    await logs.append(1, 1, 0, b"one\n")
    await logs.append(1, 1, 0, b"one\n")
    await logs.append(1, 1, 0, b"one\ntwo\n")
    await logs.append(1, 1, 8, b"three\n")
    assert await whole(logs) == b"one\ntwo\nthree\n"
    assert await whole(logs, 4) == b"two\nthree\n"
    assert await whole(logs, 14) == b""
    assert await logs.size(1, 1) == 14


async def test_chunks_that_come_at_the_same_time_become_one_log(logs: Logs) -> None:
    if isinstance(logs, FolderLogs):
        return  # one process writes them, one after the other
    text = b"".join(b"line %d\n" % number for number in range(200))
    ends = [*range(50, len(text), 50), len(text)]
    for start, end in itertools.pairwise([0, *ends]):
        await asyncio.gather(*(logs.append(1, 1, start, text[start : end + more]) for more in (0, 7, 20)))
    assert await whole(logs) == text
    for offset in (1, 49, 51, 777):
        assert await whole(logs, offset) == text[offset:]


async def test_a_chunk_that_is_too_early_is_refused_for_now(logs: Logs) -> None:
    with pytest.raises(LogGap):
        await logs.append(1, 1, 5, b"two\n")
    assert await logs.size(1, 1) == 0


async def test_the_tail_begins_with_a_whole_line(logs: Logs) -> None:
    await logs.append(1, 1, 0, b"first line\nsecond\nthird\n")
    assert await logs.tail(1, 1, 10) == b"third\n"
    assert await logs.tail(1, 1, 1000) == b"first line\nsecond\nthird\n"
    assert await logs.tail(2, 1, 1000) == b""


async def test_a_reader_wakes_when_the_log_grows(logs: Logs) -> None:
    reader = asyncio.create_task(logs.wait(1, 1, 0, 60.0, logs.wakes))
    await asyncio.sleep(0)
    await logs.append(1, 1, 0, b"x\n")
    await asyncio.wait_for(reader, 50)


async def test_the_log_of_another_build_wakes_no_reader(tmp_path: Path) -> None:
    logs = FolderLogs(tmp_path / "logs")
    reader = asyncio.create_task(logs.wait(1, 1, 0, 60.0, logs.wakes))
    await logs.append(2, 1, 0, b"x\n")
    done, _ = await asyncio.wait({reader}, timeout=0.05)
    assert not done
    logs.wake()
    await asyncio.wait_for(reader, 50)


async def test_what_happens_between_looking_and_waiting_is_not_missed(logs: Logs) -> None:
    wakes = logs.wakes
    logs.wake()
    await asyncio.wait_for(logs.wait(1, 1, 0, 60.0, wakes), 50)


async def test_the_logs_of_a_build_are_deleted_together(logs: Logs, tmp_path: Path) -> None:
    await logs.append(1, 1, 0, b"x\n")
    await logs.append(1, 2, 0, b"x\n")
    assert await logs.sizes() == {1: 4}
    await logs.delete(1, 1)
    assert await logs.sizes() == {1: 2}
    await logs.delete(1, 2)
    await logs.delete(1, 2)
    assert await logs.sizes() == {}
    assert await logs.size(1, 1) == await logs.size(1, 2) == 0
    if isinstance(logs, FolderLogs):
        assert list((tmp_path / "logs").iterdir()) == []


async def test_a_reader_at_one_server_wakes_when_the_log_grows_at_another(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    links = Links("http://l", "l", "l")
    url = await asyncio.to_thread(postgres.ready)
    one, other = (open_history(url, tmp_path, links, encode) for _ in range(2))
    await one.database.listen()
    await other.database.listen()
    project = await one.projects.add(parse_git_url("https://git.example.org/owner/app.git"))
    async with one.database.write() as connection:
        await one.builds.queue(connection, project, Push("owner/app", "refs/tags/v1", "a" * 40))
    reader = asyncio.create_task(other.logs.wait(1, 1, 0, 60.0, other.logs.wakes))

    async def wakes() -> bool:
        await one.logs.append(1, 1, 0, b"x\n")
        return reader.done()

    await eventually(wakes)
    assert b"".join([chunk async for chunk in other.logs.read(1, 1)]) == b"x\n"
    await one.database.close()
    await other.database.close()


async def test_a_log_that_is_removed_while_it_is_read_is_never_cut_silently(logs: Logs) -> None:
    line, size = b"x" * 999 + b"\n", 0
    for _ in range(20):
        await logs.append(1, 1, size, line * 300)
        size += 300_000
    read = 0
    try:
        async for chunk in logs.read(1, 1):
            read += len(chunk)
            await logs.delete(1, 1)
    except NotFound as exc:
        assert "removed while it was read" in exc.message
    else:
        assert read == size
    assert await logs.size(1, 1) == 0
