"""Searching a whole log, in bounded memory and time."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from lumper.line.logs.logs import Logs
from lumper.model.builds.log_search import Hit, LogSearch
from lumper.web.log_lines import full_blocks, shortened

MOST_HITS = 10_000
_SECONDS = 20.0  # then what was found is told, and up to where
_SHOWN = 2048  # bytes of one hit that are kept


@dataclass
class Found:
    """`count` lines have the text, of which `hits` are the first. `end` is the offset behind the last line searched.

    `whole` is false if the search took too long to come to the end that the log had.
    """

    count: int = 0
    hits: list[Hit] = field(default_factory=list)
    end: int = 0
    whole: bool = True


async def search_log(logs: Logs, build_id: int, attempt: int, search: LogSearch, offset: int, limit: int) -> Found:
    """Look through a log from `offset`, where a line begins, to its present end; at most `limit` hits are told."""
    found = Found(end=offset)
    deadline = time.monotonic() + _SECONDS
    async with aclosing(full_blocks(logs, build_id, attempt, offset)) as blocks:
        async for block in blocks:
            if time.monotonic() > deadline:
                found.whole = False
                break
            await asyncio.to_thread(_look, found, search, block, limit)
            found.end += len(block)
    return found


def _look(found: Found, search: LogSearch, block: bytes, limit: int) -> None:
    for hit in search.look(block):
        found.count += 1
        if len(found.hits) < limit:
            found.hits.append(replace(hit, record=shortened(hit.record, _SHOWN)))
