"""An ssh agent for each key that a build is given: in a folder that nobody else can enter, gone with the build.

Should the worker be killed, the agent forgets the key by itself after the longest time that a build may take.
Source: OpenSSH, ssh-agent(1), ssh-add(1).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from lumper.errors import EngineError, Invalid

_PATIENCE = 10.0  # seconds for a program that has nothing to wait for


@contextlib.asynccontextmanager
async def agents(keys: Mapping[str, bytes], seconds: float) -> AsyncIterator[Mapping[str, str]]:
    """The sockets of agents, by the ids of their keys, while the block runs, or so many seconds.

    Raises Invalid for what is no key, EngineError without OpenSSH.
    """
    if not keys:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="lumper-ssh-") as folder:  # mode 0700
        async with contextlib.AsyncExitStack() as stack:
            sockets = {}
            for number, (name, key) in enumerate(keys.items()):
                socket = Path(folder) / str(number)
                await stack.enter_async_context(_agent(socket, math.ceil(seconds)))
                await _add(socket, name, key)
                sockets[name] = str(socket)
            yield sockets


@contextlib.asynccontextmanager
async def _agent(socket: Path, lifetime: int) -> AsyncIterator[None]:
    process = await _start("ssh-agent", "-D", "-a", str(socket), "-t", str(lifetime), stdout=PIPE)
    try:
        if not await _listens(process):
            raise EngineError("The program `ssh-agent` does not start.", hint="Look whether it runs by hand.")
        yield
    finally:
        await _end(process)


async def _listens(agent: Process) -> bool:
    """Whether it says where it listens, which it does as soon as it does so."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            return bool(agent.stdout and await agent.stdout.readline())
    return False


async def _end(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    await process.wait()


async def _add(socket: Path, name: str, key: bytes) -> None:
    code, words = await _run("ssh-add", "-q", "-", socket=socket, data=key.rstrip() + b"\n")
    if code:
        raise Invalid(
            f"The ssh key {name} is not taken by ssh-add: {words[-200:] or f'it ended with {code}'}.",
            hint="It must be a private key without a passphrase: lumper secret ssh-key.",
        )


async def _run(*command: str, socket: Path, data: bytes = b"") -> tuple[int, str]:
    """The exit code of a program, and what it said."""
    process = await _start(*command, socket=socket, stderr=PIPE)
    try:
        async with asyncio.timeout(_PATIENCE):
            _, said = await process.communicate(data)
    except TimeoutError:
        return 1, "it did not end"
    finally:
        await _end(process)
    return process.returncode or 0, said.decode("utf-8", "replace").strip()


async def _start(*command: str, socket: Path | None = None, stdout: int = DEVNULL, stderr: int = DEVNULL) -> Process:
    """A program without our environment: no other agent, no display to ask for a passphrase."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    if socket is not None:
        environment["SSH_AUTH_SOCK"] = str(socket)
    try:
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=stdout, stderr=stderr, env=environment, start_new_session=True
        )
    except FileNotFoundError as exc:
        raise EngineError(
            f"There is no program `{command[0]}` on this worker.", hint="Install OpenSSH's client: openssh-client."
        ) from exc
