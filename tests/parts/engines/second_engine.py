"""A Docker Engine of a test's own, with settings that the machine's engine does not have."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from parts.engines.daemon import remove_with_mounts
from parts.suite.eventually import eventually


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


@contextlib.contextmanager
def bridge() -> Iterator[str]:
    """A bridge for the engine alone: one that is told to have none removes that of the machine's engine."""
    name = f"lumper-{secrets.token_hex(3)}"
    subprocess.run(["ip", "link", "add", "name", name, "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "address", "add", f"10.231.{secrets.randbelow(250)}.1/24", "dev", name], check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)


@asynccontextmanager
async def second_engine(*options: str) -> AsyncIterator[SecondEngine]:
    """An engine whose containers reach nobody, started with these options."""
    with bridge() as name:
        async with _engine("--bridge", name, *options) as engine:
            yield engine


@asynccontextmanager
async def _engine(*options: str) -> AsyncIterator[SecondEngine]:
    folder = Path(tempfile.mkdtemp(prefix="engine"))  # sockets have short paths
    engine = SecondEngine(folder)
    program = shutil.which("dockerd", path=os.environ.get("PATH", "") + ":/usr/sbin") or "dockerd"
    log = (folder / "log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *(program, "--host", engine.address, "--data-root", f"{folder}/data"),
        *("--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "--storage-driver", "vfs"),
        *("--iptables=false", "--ip6tables=false", "--ip-masq=false", *options),
        stdout=log,
        stderr=log,
    )
    try:
        await eventually(engine._answers)
        yield engine
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 60)
        log.close()
        remove_with_mounts(folder)
