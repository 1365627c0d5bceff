"""Files that go out."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import threading
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from lumper.errors import StorageError
from lumper.web.oci.bytes.sendfile import FileSender, _Stream, send_file


async def test_a_file_for_which_no_descriptor_is_left_cannot_be_had_at_the_moment(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"x")
    request, sender = make_mocked_request("GET", "/"), FileSender()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.open(tmp_path, os.O_RDONLY)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, hard))
    try:
        with pytest.raises(StorageError, match="Too many open files"):
            await send_file(sender, request, web.StreamResponse(), tmp_path / "blob", [])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with pytest.raises(FileNotFoundError):
        await send_file(sender, request, web.StreamResponse(), tmp_path / "gone", [])


@pytest.mark.parametrize("together", [1, 3, 6])
async def test_of_a_file_that_part_is_sent_which_was_asked_for_and_no_byte_more(tmp_path: Path, together: int) -> None:
    """One alone is sent from the event loop, several by threads, and more than there are threads in turns."""
    loop, sender, data = asyncio.get_running_loop(), FileSender(), os.urandom(3 << 20)
    (tmp_path / "blob").write_bytes(data)

    async def sent(start: int, size: int) -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        with (tmp_path / "blob").open("rb", 0) as file, theirs:
            sending = asyncio.create_task(sender.send_part(transport, file, start, size))
            sending.add_done_callback(lambda _: transport.close())
            got = bytearray()
            while piece := await loop.sock_recv(theirs, 1 << 20):
                got += piece
            assert got == data[start : start + size]
            assert await sending == len(got)

    await asyncio.gather(*(sent(number, 2 << 20) for number in range(together)))
    await sent(2 << 20, 2 << 20)  # the file is shorter


class Held(_Stream):
    """Sends a byte at a time, once it may go on."""

    def __init__(self, connection: int, file: int, size: int) -> None:
        super().__init__(connection, file, 0, size)
        self.stands, self.goes_on = threading.Event(), threading.Event()

    def step(self, most: int) -> None:
        self.stands.set()
        self.goes_on.wait()
        super().step(1)


async def test_of_an_answer_that_is_given_up_no_thread_sends_anything_afterwards(tmp_path: Path) -> None:
    """The descriptors that it has may be another connection's then."""
    (tmp_path / "blob").write_bytes(bytes(1000))
    ours, theirs = socket.socketpair()
    with (tmp_path / "blob").open("rb", 0) as file, ours, theirs:
        ours.setblocking(False)
        stream = Held(ours.fileno(), file.fileno(), 1000)
        sending = asyncio.create_task(FileSender()._in_thread(stream))
        await asyncio.to_thread(stream.stands.wait)
        try:
            for _ in range(9):  # however often it is told so
                sending.cancel()
                await asyncio.sleep(0)
            assert not sending.done()
        finally:
            stream.goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert stream.position == 1
