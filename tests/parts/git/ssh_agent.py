"""A real ssh agent with one key, and the program that asks it, with its libraries, to be run in an image."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Agent:
    """Its socket, and the fingerprint of its key."""

    socket: str
    fingerprint: str


@asynccontextmanager
async def ssh_agent() -> AsyncIterator[Agent]:
    """An agent that ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="agent"))  # sockets have short paths
    socket, key = f"{folder}/socket", f"{folder}/key"
    agent = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", socket, stdout=asyncio.subprocess.PIPE)
    try:
        assert agent.stdout is not None
        await agent.stdout.readline()  # it tells where it listens
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        _run("ssh-add", "-q", key, environment={"SSH_AUTH_SOCK": socket})
        yield Agent(socket, _run("ssh-keygen", "-l", "-f", f"{key}.pub").split()[1])
    finally:
        agent.terminate()
        await agent.wait()
        shutil.rmtree(folder)


def program_with_libraries(name: str) -> dict[str, bytes]:
    """The files by their paths in the file system, without the leading `/`."""
    program = shutil.which(name)
    assert program is not None
    libraries = re.findall(r"(/\S+) \(0x", _run("ldd", program))
    return {path.lstrip("/"): Path(path).read_bytes() for path in (program, *libraries)}


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
