"""Ctrl-C ends a command at whatever moment it comes, without a word: tried at one that waits for a server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from parts.processes.followed_log import followed, said, say
from parts.processes.late_waiting import late_waiting
from parts.web.live_api import Api, live_api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with live_api(tmp_path) as served:
        await served.project()
        yield served


async def test_ctrl_c_ends_it_quietly(api: Api) -> None:
    build = await api.build()
    await api.start(build)
    async with followed(api, build) as process:
        await say(api, build, 1, "one")
        await said(process)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert (process.returncode, err) == (130, b"")


async def test_ctrl_c_between_the_decision_to_wait_and_the_wait_ends_it(api: Api) -> None:
    build = await api.build()
    await api.start(build)
    async with followed(api, build, settings=late_waiting(api.folder)) as process:
        await say(api, build, 1, "one")
        assert [await said(process), await said(process)] == ["#1 RUN make", "#1 one"]
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert (process.returncode, err) == (130, b"")


# `__set_name__` is where Python makes another error of what is raised.
LOADING = """
import os, sys, time
from lumper.cli.entry import main
class Field:
    def __set_name__(self, owner, name):
        os.write(1, b"held\\n")
        time.sleep(600)
class Finder:
    def find_spec(name, path=None, target=None):
        if name == "lumper.cli.builds.log":
            type("Owner", (), {"field": Field()})
sys.meta_path.insert(0, Finder)
main()
"""
# A callback like the one that ends the lock of an import, in which Python only reports what is raised.
RUNNING = """
import os, socket, time, weakref
from lumper.cli.entry import main
class Held: pass
connected = socket.create_connection
def held(*arguments, **options):
    weakref.ref(Held(), lambda _: (os.write(1, b"held\\n"), time.sleep(600)))
    return connected(*arguments, **options)
socket.create_connection = held
main()
"""


@pytest.mark.parametrize(("program", "status"), [(LOADING, -signal.SIGINT), (RUNNING, 130)], ids=["loading", "running"])
async def test_ctrl_c_ends_it_where_python_would_lose_it(api: Api, program: str, status: int) -> None:
    async with followed(api, await api.build(), program=("-c", program)) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"held\n"
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert (process.returncode, err) == (status, b"")


BEGUN = "import os; from lumper.cli.entry import main; os.write(1, b'begun\\n'); main()"


async def test_ctrl_c_ends_it_at_whatever_moment(api: Api) -> None:
    build = await api.build()
    await api.start(build)
    await say(api, build, 1, "one")
    start = 0.0  # seconds, on this machine, from Lumper's begin on; before it is Python's, which may lose a Ctrl-C
    for number in range(11):
        async with followed(api, build, program=("-c", BEGUN)) as process:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"begun\n"
            if not number:
                begun = asyncio.get_running_loop().time()
                await said(process)
                start = asyncio.get_running_loop().time() - begun
            with suppress(TimeoutError):  # the moments are spread over the start of the program and the time behind it
                await asyncio.wait_for(process.wait(), number * start / 7)
            process.send_signal(signal.SIGINT)
            await process.communicate()
            assert process.returncode in (130, -signal.SIGINT)
