"""The lines of a build's log as pages show them: whole, in bounded memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from lumper.errors import NotFound
from lumper.history.logs import Logs
from lumper.model.build import Build, Output, Progress
from lumper.model.log import from_line, render, to_line

LONGEST = 256 * 1024  # bytes of one record; what is longer is cut for showing, never in the log itself
_LONGEST_ESCAPE = 6  # characters of \u0000


async def is_gone(logs: Logs, build: Build) -> bool:
    """Whether the build has had a log that is not kept any more."""
    return build.state.final and build.log_size > 0 and not await logs.size(build.id, build.attempt)


async def check_kept(logs: Logs, build: Build) -> None:
    """Raises NotFound if the build's log is not kept any more."""
    if await is_gone(logs, build):
        hint = "[log] keep_days and keep_bytes of the server say how long logs are kept; build it again for a new one."
        raise NotFound(f"The log of build {build.id} is not kept any more.", hint=hint)


async def whole_blocks(logs: Logs, build_id: int, attempt: int, offset: int = 0) -> AsyncGenerator[tuple[int, bytes]]:
    """Whole lines from `offset` on, many together, behind the offset at which the next one begins.

    The end of the last one is left out. A line that is too long comes alone, and cut.
    """
    held, dropped = b"", 0
    async with aclosing(logs.read(build_id, attempt, offset)) as chunks:
        async for chunk in chunks:
            *ends, tail = chunk.split(b"\n")
            if ends and not dropped and len(held) + max(map(len, ends)) <= LONGEST:
                block = held + chunk[: -len(tail) - 1]
                offset += len(block) + 1
                yield offset, block
                held, ends = b"", []
            for end in ends:
                length = len(held) + dropped + len(end)
                offset += length + 1
                line = held + end[: max(0, LONGEST + 1 - len(held))]
                yield offset, line if length <= LONGEST else _cut(line[:LONGEST], length)
                held, dropped = b"", 0
            room = max(0, LONGEST + 1 - len(held))
            held, dropped = held + tail[:room], dropped + len(tail[room:])


def shortened(line: bytes, longest: int) -> bytes:
    """The record of an output, cut if it has more than so many bytes."""
    return line if len(line) <= longest else _cut(line[:longest], len(line))


def _cut(head: bytes, length: int) -> bytes:
    """A record that shows the beginning of a line of `length` bytes."""
    for end in range(len(head), len(head) - _LONGEST_ESCAPE - 1, -1):  # an escape may not be cut in two
        try:
            fields: dict[str, Any] = json.loads(head[:end] + b'"}')
            text = f"{fields['x']} … (a line of {length:,} bytes, cut here)"
            return to_line(Output(fields["s"], fields["o"], fields.get("t", 0.0), text)).encode().rstrip()
        except (ValueError, KeyError, TypeError):
            continue
    return to_line(Output(0, 0, 0.0, f"(a line of {length:,} bytes that is no record)")).encode().rstrip()


async def text_of(logs: Logs, build_id: int, attempt: int) -> AsyncGenerator[bytes]:
    """The log as plain text in UTF-8, in parts."""
    names: dict[int, str] = {}
    async with aclosing(whole_blocks(logs, build_id, attempt)) as blocks:
        async for _, block in blocks:
            yield await asyncio.to_thread(_text, block, names)


def _text(block: bytes, names: dict[int, str]) -> bytes:
    return "".join(f"{line}\n" for line in render(_records(block), names)).encode("utf-8", "replace")


def _records(block: bytes) -> Iterator[Progress]:
    for line in block.split(b"\n"):
        try:
            yield from_line(line)
        except ValueError:  # half a line that a crash left; what it should say follows
            continue
