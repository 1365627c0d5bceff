"""`lumper log --follow` in a process of its own, and a build that says what it prints."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from lumper.model.builds.build import Output, Progress, Step, StepState
from lumper.model.builds.log import to_line
from lumper.model.people.people import Role
from parts.processes.forked_lumper import environment
from parts.web.live_api import Api


@asynccontextmanager
async def followed(
    api: Api,
    build: int,
    *arguments: str,
    follow: bool = True,
    settings: Mapping[str, str] = MappingProxyType({}),
    program: tuple[str, str] = ("-m", "lumper"),
) -> AsyncIterator[Process]:
    """`lumper log BUILD --follow` at work, or without `--follow`."""
    settings = {"LUMPER_SERVER": api.url, "LUMPER_TOKEN": api.tokens[Role.OPERATOR], **settings}
    command = (sys.executable, *program, "log", str(build), *(["--follow"] if follow else []), *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment(settings))
    try:
        async with asyncio.timeout(120):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(process: Process) -> str:
    """The next line, without its time."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().rstrip("\n")[10:]


async def say(api: Api, build: int, attempt: int, *texts: str) -> None:
    """The build prints lines, in a step of its own."""
    size = await api.history.logs.size(build, attempt)
    records: list[Progress] = [] if size else [Step(1, "RUN make", StepState.RUNNING, 1732440000.0)]
    records += [Output(1, 1, 1732440000.0, text) for text in texts]
    await api.history.logs.append(build, attempt, size, "".join(map(to_line, records)).encode())
