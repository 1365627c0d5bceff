"""A context on disk, as buildah wants it: unpacked by the `tar` program, as it comes, in flat memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from lumper.build.engines.programs.process import end
from lumper.errors import DockerfileMissing, EngineError, EngineUnavailable


async def unpack(chunks: AsyncIterator[bytes], folder: Path) -> None:
    """Unpack a tar stream below a folder that is made. Raises EngineError, and whatever the stream raises.

    GNU tar leaves no folder: it refuses `..` and makes symbolic links when all else is in place. Owners are ours.
    """
    await asyncio.to_thread(folder.mkdir, mode=0o755)
    try:
        process = await asyncio.create_subprocess_exec(
            *("tar", "--extract", "--preserve-permissions", "--no-same-owner", f"--directory={folder}", "--file=-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as exc:
        raise EngineUnavailable(f"tar cannot be run: {exc.strerror}.", hint="Install tar.") from exc
    try:
        assert process.stdin is not None and process.stderr is not None  # noqa: S101 (for the type checker)
        complaining = asyncio.create_task(process.stderr.read())
        try:
            with contextlib.suppress(ConnectionError):  # its end tells more
                async for chunk in chunks:
                    process.stdin.write(chunk)
                    await process.stdin.drain()
                process.stdin.close()
            words = await complaining
        finally:
            complaining.cancel()
        if await process.wait():
            said = words.decode("utf-8", "replace").strip().partition("\n")[0]
            raise EngineError(f"The context cannot be unpacked: {said.removeprefix('tar: ')}.")
    finally:
        await end(process)


def find_dockerfile(context: Path, name: str) -> Path:
    """The Dockerfile of a context, by way of links inside of it only. Raises DockerfileMissing."""
    path = Path(os.path.realpath(context / name))
    if not path.exists() and path.name == "Dockerfile":  # as BuildKit
        path = Path(os.path.realpath(path.with_name("dockerfile")))
    if not path.is_relative_to(os.path.realpath(context)) or not path.is_file():
        raise DockerfileMissing(f"There is no {name} at this commit.")
    return path
