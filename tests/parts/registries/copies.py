"""What is copied from one registry to another, and what there is to copy."""

from __future__ import annotations

import json
from typing import Any

from lumper.cli.images.progress import Quiet
from lumper.registry.remote.connection import RetryPolicy
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.transfer.copy import Copied, Copier
from lumper.registry.transfer.mirror import Mirror
from lumper.registry.transfer.source import Source
from parts.registries.live_registry import OCI_INDEX, RegistryClient, digest_of, image_manifest

QUICK = RetryPolicy(attempts=2, longest=0.05, connect=60, idle=60)


async def copied(source: Source, there: RemoteRegistry, name: str, **options: Any) -> Copied:
    repository, _, tag = name.partition(":")
    return await Copier(there).copy(source, repository, tag, Quiet(), **options)


async def push_index(pusher: RegistryClient, repository: str, tag: str, *platforms: str) -> str:
    manifests = []
    for platform in platforms:
        digest = await pusher.push_image(repository, f"p-{platform.replace('/', '-')}", platform.encode())
        async with pusher.request("GET", f"/v2/{repository}/manifests/{digest}") as response:
            body, kind = await response.read(), response.headers["Content-Type"]
        names = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
        manifests.append({"mediaType": kind, "digest": digest, "size": len(body), "platform": names})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    return await pusher.push_manifest(repository, tag, index, OCI_INDEX)


async def sign(pusher: RegistryClient, subject: str, tag: str = "") -> str:
    """Push a signature: a referrer of the manifest, or one under a tag as older tools do; its digest."""
    async with pusher.request("GET", f"/v2/app/manifests/{subject}") as response:
        size = len(await response.read())
    blob = await pusher.push_blob("app", b"{}")
    about = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject, "size": size}
    layers = (blob, 2), (blob, 2)
    manifest = image_manifest(*layers) if tag else image_manifest(*layers, subject=about)
    return await pusher.push_manifest("app", tag or digest_of(json.dumps(manifest).encode()), manifest)


async def outcomes(here: RemoteRegistry, there: RemoteRegistry, **options: Any) -> dict[str, str]:
    work = Mirror(here, there, Quiet(), **options)
    return {f"{one.repository}:{one.tag}": one.state async for one in work.run()}
