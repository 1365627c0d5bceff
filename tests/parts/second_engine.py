"""A Docker Engine of a test's own, with settings that the machine's engine does not have."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from parts.eventually import eventually


class SecondEngine:
    """Is asked by the `docker` program."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"unix://{folder}/docker.sock"

    async def docker(self, *arguments: str, stdin: str = "") -> str:
        """Run the program to its end; its output. Fails with what it said."""
        environment = {
            **os.environ,
            "HOME": str(self._folder),
            "DOCKER_HOST": self.address,
            "DOCKER_BUILDKIT": "0",
        }
        process = await asyncio.create_subprocess_exec(
            "docker",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
        )
        out, _ = await process.communicate(stdin.encode())
        assert process.returncode == 0, f"docker {arguments}: {out.decode()}"
        return out.decode()

    async def _answers(self) -> bool:
        with contextlib.suppress(AssertionError):
            return bool(await self.docker("version", "--format", "{{.Server.Version}}"))
        return False


@asynccontextmanager
async def second_engine(*options: str) -> AsyncIterator[SecondEngine]:
    """An engine without a network, started with these options."""
    folder = Path(tempfile.mkdtemp(prefix="engine"))  # sockets have short paths
    engine = SecondEngine(folder)
    program = shutil.which("dockerd", path=os.environ.get("PATH", "") + ":/usr/sbin") or "dockerd"
    log = (folder / "log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *(program, "--host", engine.address, "--data-root", f"{folder}/data"),
        *("--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "--storage-driver", "vfs"),
        *("--bridge", "none", "--iptables=false", "--ip6tables=false", *options),
        stdout=log,
        stderr=log,
    )
    try:
        await eventually(engine._answers, seconds=30)
        yield engine
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 30)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)
