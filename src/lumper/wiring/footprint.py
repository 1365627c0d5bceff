"""How much memory a server takes, beside what it needs: what the C library keeps, and what only its start has used."""

from __future__ import annotations

import asyncio
import ctypes
import re
from collections.abc import Callable
from pathlib import Path

_DONTNEED = 4  # mman.h
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # malloc.h
_LARGE = 1 << 20  # bytes
_AGAIN_SECONDS = 10.0
_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ *(.*)")


def allocate_sparingly() -> None:
    """Let what is large go back to the system at once, and threads share what is free. Call it before there are any.

    glibc takes large pieces from the system, and gives them back, until the first one is freed: from then on it keeps
    pieces of that size. One hash of a password are 9 MiB. Source: mallopt(3), M_MMAP_THRESHOLD and M_ARENA_MAX.
    """
    if (mallopt := _function("mallopt")) is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_ARENA_MAX, 1)


async def keep_small() -> None:
    """Give back what only the start has used, and from time to time what a burst of requests has left free."""
    await asyncio.to_thread(_leave_libraries)
    while True:
        await asyncio.to_thread(give_back)
        await asyncio.sleep(_AGAIN_SECONDS)


def give_back() -> None:
    """Free memory goes back to the system, also from the middle of what was taken. Source: malloc_trim(3)."""
    if (trim := _function("malloc_trim")) is not None:
        trim(ctypes.c_size_t(0))


def _leave_libraries() -> None:
    """Code and constants of libraries come back by some pages as soon as they are used again; most was for the start.

    It lies in the page cache as before. Source: madvise(2), "MADV_DONTNEED".
    """
    if (madvise := _function("madvise")) is not None:
        for first, end in untouched():
            madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), _DONTNEED)


def untouched() -> list[tuple[int, int]]:
    """Where code and constants lie that are byte for byte their file's: begin and end. Source: proc_pid_smaps(5)."""
    found: list[tuple[int, int]] = []
    try:
        lines = Path("/proc/self/smaps").read_text().splitlines()
    except OSError:  # Linux has it
        return []
    for line in lines:
        if (head := _HEAD.match(line)) is not None:
            fixed = head[3] in ("r-xp", "r--p") and head[4].startswith("/")
            place = (int(head[1], 16), int(head[2], 16)) if fixed else None
        elif place is not None and line.split() == ["Anonymous:", "0", "kB"]:
            found.append(place)
    return found


def _function(name: str) -> Callable[..., int] | None:
    """What the C library has of this name; None if it is another one than glibc."""
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    return found
