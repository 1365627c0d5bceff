"""The lines of a build's log as pages show them: whole, in bounded memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any

from lumper.errors import NotFound
from lumper.line.logs.logs import Logs
from lumper.model.builds.build import Build, Output, Progress
from lumper.model.builds.log import from_line, render, to_line
from lumper.model.builds.terminal import visible

LONGEST = 256 * 1024  # bytes of one record; what is longer is cut for showing, never in the log itself
_LONGEST_ESCAPE = 6  # characters of \u0000
_BLOCK = 1024 * 1024  # bytes of lines that are looked at together, in a thread
_LONGEST_LINE = 8 * 1024 * 1024  # bytes; a line that is longer is no record


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
            text = f"{fields['x']} … (a line of {length:,} bytes, cut here; the text has all of it)"
            return to_line(Output(fields["s"], fields["o"], fields.get("t", 0.0), text)).encode().rstrip()
        except (ValueError, KeyError, TypeError):
            continue
    return to_line(Output(0, 0, 0.0, f"(a line of {length:,} bytes that is no record)")).encode().rstrip()


async def full_blocks(logs: Logs, build_id: int, attempt: int, offset: int = 0) -> AsyncGenerator[bytes]:
    """Whole lines with their ends from `offset` on, none of them cut, many at a time."""
    parts: list[bytes] = []
    size = 0
    async with aclosing(logs.read(build_id, attempt, offset)) as chunks:
        async for chunk in chunks:
            parts.append(chunk)
            size += len(chunk)
            if size < _BLOCK:
                continue
            block = b"".join(parts)
            end = block.rfind(b"\n") + 1 or (len(block) if len(block) > _LONGEST_LINE else 0)
            if end:
                yield block[:end]
            parts, size = [block[end:]], len(block) - end
    block = b"".join(parts)
    if end := block.rfind(b"\n") + 1:
        yield block[:end]


async def text_of(logs: Logs, build_id: int, attempt: int, *, raw: bool = False) -> AsyncGenerator[bytes]:
    """The log as text in UTF-8, in parts: as a person reads it, or `raw`, with what programs print for a terminal."""
    names: dict[int, str] = {}
    async with aclosing(full_blocks(logs, build_id, attempt)) as blocks:
        async for block in blocks:
            yield await asyncio.to_thread(_text, block, names, str if raw else visible)


def _text(block: bytes, names: dict[int, str], shown: Callable[[str], str]) -> bytes:
    return "".join(f"{line}\n" for line in render(_records(block), names, shown)).encode("utf-8", "replace")


def _records(block: bytes) -> Iterator[Progress]:
    for line in block.split(b"\n"):
        try:
            yield from_line(line)
        except ValueError:  # half a line that a crash left; what it should say follows
            continue
