"""The end of a demo: nothing of it is left on the machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp

from lumper.config.settings import WorkerConfig
from lumper.errors import EngineUnavailable


def build_cache() -> set[str]:
    """The ids of all entries in the engine's build cache. Raises EngineUnavailable."""
    usage = asyncio.run(_engine("GET", "/system/df"))
    return {entry["ID"] for entry in usage.get("BuildCache") or []}


def remove(folder: Path) -> None:
    """End the demo in `folder`: its processes, containers, images, its part of the build cache, and the folder."""
    for name in ("lumper", "forge"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            _end(int((folder / f"{name}.pid").read_text()))
    with contextlib.suppress(EngineUnavailable, FileNotFoundError):
        service = (folder / "service").read_text()
        asyncio.run(_remove_from_engine(service, set(json.loads((folder / "before.json").read_text()))))
    shutil.rmtree(folder, ignore_errors=True)


def _end(pid: int) -> None:
    if b"lumper" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        return  # the number belongs to somebody else by now
    os.killpg(pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while _alive(pid):
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            return
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def _remove_from_engine(service: str, before: set[str]) -> None:
    filters = json.dumps({"label": [f"lumper.service={service}"]})
    containers = await _engine("GET", "/containers/json", all="1", filters=filters)
    images = {container["ImageID"] for container in containers}
    for container in containers:
        await _engine("DELETE", f"/containers/{container['Id']}", force="1", v="1")
    for image in await _engine("GET", "/images/json"):
        names = [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]
        if image["Id"] in images or any("/demo/hello" in name for name in names):
            await _engine("DELETE", f"/images/{image['Id']}", force="1")
    usage = await _engine("GET", "/system/df")
    for entry in usage.get("BuildCache") or []:
        if entry["ID"] not in before:
            await _engine("POST", "/build/prune", all="1", filters=json.dumps({"id": [entry["ID"]]}))


async def _engine(method: str, path: str, **query: str) -> Any:
    address = WorkerConfig().engine
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(address.removeprefix("unix://"))) as session,
            session.request(method, f"http://engine{path}", params=query) as response,
        ):
            return await response.json(content_type=None) if response.status == 200 else {}
    except (aiohttp.ClientError, OSError) as exc:
        raise EngineUnavailable(f"The Docker Engine does not answer at {address}: {exc}.") from exc
