"""Other people's programs, run to their end without any configuration of the user's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

Run = Callable[..., Awaitable[str]]


def programs(home: Path, **more: str) -> Run:
    """A function that runs a program with `home` as its home, and gives its standard output. It must succeed.

    `more` is put into its environment.
    """
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "BUILDAH_ISOLATION": "chroot", **more}

    async def run(*command: str | Path) -> str:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment, cwd=home
        )
        out, err = await process.communicate()
        assert process.returncode == 0, f"{command}: {err.decode()}"
        return out.decode()

    return run
