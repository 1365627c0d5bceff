"""The Docker Engine of this machine, and removing from it what a test has made."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiodocker
from aiodocker.exceptions import DockerError

ADDRESS = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


@asynccontextmanager
async def engine() -> AsyncIterator[aiodocker.Docker]:
    """A client of the engine."""
    async with aiodocker.Docker(ADDRESS) as docker:
        yield docker


async def remove_service(service: str, images: str) -> None:
    """Remove the containers and volumes of a service, and the images whose name begins with `images`."""
    async with engine() as docker:
        mine = {"label": [f"lumper.service={service}"]}
        for container in await docker.containers.list(all=True, filters=mine):
            with suppress(DockerError):
                await container.delete(force=True, v=True)
        volumes = await docker._query_json("volumes", params={"filters": json.dumps(mine)})
        for volume in volumes["Volumes"] or ():
            await docker._query_json(f"volumes/{volume['Name']}", "DELETE")
        for image in await docker.images.list(digests=True):
            for name in (*(image.get("RepoDigests") or ()), *(image.get("RepoTags") or ())):
                if name.startswith(images):
                    with suppress(DockerError):
                        await docker.images.delete(name, force=True)
