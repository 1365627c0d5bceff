"""A containerd of the test's own: nothing of it is shared with the machine's."""

from __future__ import annotations

import asyncio
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from parts.suite.eventually import eventually

_CONFIGURATION = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{folder}/containerd.sock"
[ttrpc]
address = "{folder}/containerd.sock.ttrpc"
"""


@asynccontextmanager
async def containerd() -> AsyncIterator[tuple[str, ...]]:
    """Run it while the block runs; the beginning of a command for its client `ctr`."""
    with tempfile.TemporaryDirectory(prefix="lumper-containerd-") as folder:  # the path of a socket is short
        async with _running(Path(folder)) as client:
            yield client


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[tuple[str, ...]]:
    configuration = folder / "config.toml"
    configuration.write_text(_CONFIGURATION.format(folder=folder))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec("containerd", "--config", configuration, stdout=log, stderr=log)
    client = ("ctr", "--address", f"{folder}/containerd.sock")

    async def answers() -> bool:
        assert process.returncode is None, (folder / "log").read_text()
        asked = await asyncio.create_subprocess_exec(*client, "version", stdout=DEVNULL, stderr=DEVNULL)
        return await asked.wait() == 0

    try:
        await eventually(answers)
        yield client
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
