"""Bodies that are read in threads."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from lumper.web.oci.bytes.large_bodies import LargeBodies, _Stream

SIZE = 16 << 20


async def test_of_a_body_that_is_given_up_no_thread_hands_on_anything_afterwards() -> None:
    """Where it is written to belongs to the next request then."""
    loop, handed = asyncio.get_running_loop(), bytearray()
    began, goes_on = threading.Event(), threading.Event()

    def sink(piece: memoryview) -> None:
        began.set()
        goes_on.wait()
        handed.extend(piece)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        for one in (ours, theirs):
            one.setblocking(False)
        sending = asyncio.create_task(loop.sock_sendall(theirs, bytes(SIZE)))
        turn = asyncio.create_task(LargeBodies().turn(_Stream(ours, [], SIZE, sink)))
        await asyncio.to_thread(began.wait)
        try:
            for _ in range(9):  # however often it is told so
                turn.cancel()
                await asyncio.sleep(0)
            assert not turn.done()
        finally:
            goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert 0 < len(handed) < SIZE
        sending.cancel()


async def test_no_body_has_a_thread_for_more_than_its_turn() -> None:
    """Others wait for it."""
    loop, size, turns = asyncio.get_running_loop(), 40 << 20, [0]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for one in (ours, theirs):
            one.setblocking(False)
        sending = asyncio.create_task(loop.sock_sendall(theirs, bytes(size)))
        bodies, stream = LargeBodies(), _Stream(ours, [], size, lambda _: None)
        while stream.left:
            before = stream.left
            await bodies.turn(stream)
            turns.append(before - stream.left)
        await sending
    assert sum(turns) == size
    assert max(turns) <= 32 << 20
