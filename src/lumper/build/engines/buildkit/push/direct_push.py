"""A push without the Engine: its layers, compressed in threads, go straight to the registry.

An Engine compresses each layer in one thread, at a sixth of the speed. Where this way is not open (the Engine is on
another machine, or its folder is not ours to read), the Engine pushes by itself as ever. What is pushed is the same but
for the compression: the config bit for bit, a manifest of the kind that the Engine makes, and layers whose bytes were
compared with the digests in the config. Source: distribution, "Image Manifest Version 2, Schema 2"; OCI
distribution-spec 1.1.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from lumper.build.engines.buildkit.api import ImageApi
from lumper.build.engines.buildkit.push.folder import DRIVER, EngineFolder, NotThere
from lumper.build.engines.buildkit.push.layer_push import Descriptor, LayerPush, first_of
from lumper.build.engines.buildkit.push_reader import PushReader
from lumper.build.engines.registry_words import push_error
from lumper.build.known_layers import KnownLayers
from lumper.build.port import Login
from lumper.build.source.packing import Pool
from lumper.build.target import OpenTarget, Target
from lumper.errors import EngineError, RemoteAway, RemoteError
from lumper.logs import get_logger
from lumper.model.images.image import is_digest

log = get_logger(__name__)

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"


class DirectPush:
    """Pushes of one Engine's images. `known` and the threads are shared by all of them."""

    def __init__(self, api: ImageApi, open_target: OpenTarget, known: KnownLayers) -> None:
        self._api = api
        self._open_target = open_target
        self._known = known
        self._pool = Pool()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._system: Mapping[str, Any] | None = None

    async def push(self, image: str, login: Login | None, reader: PushReader) -> bool:
        """Push; `reader` is told how it goes on, as by the Engine. False if the Engine has to do it.

        Raises PushFailed, EngineUnavailable.
        """
        try:
            return await self._push(image, login, reader)
        except RemoteError as exc:
            wait = exc.retry_after if isinstance(exc, RemoteAway) else 0.0
            raise push_error(image, exc.message, retry_after=wait) from exc
        except NotThere as exc:
            log.debug("the engine pushes by itself", action="push.engine", image=image, reason=str(exc))
            return False

    async def _push(self, image: str, login: Login | None, reader: PushReader) -> bool:
        folder, plain = await self._folder(image)
        image_id, diff_ids = await self._inspected(image)
        config = await self._pool.run(folder.config, image_id)
        if _diff_ids(config) != diff_ids:
            raise NotThere(f"the config of {image_id} names other layers")
        repository, _, tag = image.partition("/")[2].rpartition(":")
        target = self._open_target(f"{'http' if plain else 'https'}://{image.partition('/')[0]}", login)
        layers = partial(
            LayerPush, folder, target, image.rpartition(":")[0], self._known, self._pool, self._locks, reader
        )
        pushing = _Pushing(target, repository, tag, image_id, config, diff_ids, layers, reader)
        try:
            result = await (pushing.to_own() if login is not None and login.own else pushing.run())
        finally:
            await target.close()
            await self._known.save()
        reader.receive({"aux": result})
        return True

    async def _folder(self, image: str) -> tuple[EngineFolder, bool]:
        """The Engine's folder, and whether the Engine would speak to the registry without TLS. Raises NotThere."""
        system = self._system = self._system or await self._api.system()
        if system.get("Driver") != DRIVER or not system.get("DockerRootDir"):
            raise NotThere(f"the engine keeps images by {system.get('Driver')}")
        insecure = is_insecure(image.partition("/")[0], system.get("RegistryConfig") or {})
        return EngineFolder(Path(str(system["DockerRootDir"]))), insecure

    async def _inspected(self, image: str) -> tuple[str, list[str]]:
        try:
            found = await self._api.inspect(image)
            image_id, diff_ids = str(found["Id"]), list(map(str, found["RootFS"]["Layers"]))
        except EngineError as exc:
            if exc.temporary:
                raise
            raise NotThere(exc.message) from exc
        except (LookupError, TypeError) as exc:
            raise NotThere(f"the engine tells nothing of {image}") from exc
        if not diff_ids or not all(map(is_digest, (image_id, *diff_ids))):
            raise NotThere(f"{image} has no layers")
        return image_id, diff_ids

    def close(self) -> None:
        """End the threads. Idempotent."""
        self._pool.close()


@dataclass(frozen=True)
class _Pushing:
    """One image on its way to its registry. What its methods tell is what an Engine tells of a push."""

    target: Target
    repository: str
    tag: str
    image_id: str
    config: bytes
    diff_ids: Sequence[str]
    layers: Callable[..., LayerPush]
    reader: PushReader

    async def to_own(self) -> Mapping[str, Any]:
        """Send what the registry was not given yet; if it takes no manifest of that, send as to any other."""
        try:
            descriptors = await _all(self.layers(trusting=True), self.diff_ids, [self._send_config()])
            return await self._send_manifest(descriptors)
        except RemoteError as exc:
            self.reader.receive({"id": "again", "status": f"each layer is looked for ({exc.message})"})
            return await self.run()

    async def run(self) -> Mapping[str, Any]:
        """Send what the registry says that it does not have. Raises NotThere, RemoteError."""
        sending = [] if await self._has_config() else [self._send_config()]
        return await self._send_manifest(await _all(self.layers(), self.diff_ids, sending))

    async def _has_config(self) -> bool:
        """Raises NotThere if we do not get to the registry as the Engine perhaps does."""
        try:
            return await self.target.blob_size(self.repository, self.image_id, to_push=True) is not None
        except RemoteError as exc:
            raise NotThere(exc.message) from exc

    async def _send_config(self) -> None:
        await self.target.push_blob(self.repository, self.image_id, len(self.config), lambda: _once(self.config))

    async def _send_manifest(self, layers: Sequence[Descriptor]) -> Mapping[str, Any]:
        body = manifest(self.image_id, len(self.config), layers)
        digest = await self.target.put_manifest(self.repository, self.tag, body, _MANIFEST)
        return {"Digest": digest, "Size": len(body)}


async def _all(
    layers: LayerPush, diff_ids: Sequence[str], others: Sequence[Coroutine[Any, Any, None]]
) -> list[Descriptor]:
    """The layers, now in the registry, in their order, while `others` happen too. A layer that is there twice is sent
    once."""
    chains = {diff_ids[number - 1]: diff_ids[:number] for number in range(len(diff_ids), 0, -1)}
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {diff_id: group.create_task(layers.push(chain)) for diff_id, chain in reversed(chains.items())}
            for other in others:
                group.create_task(other)
    except ExceptionGroup as several:
        raise first_of(several) from several
    return [tasks[diff_id].result() for diff_id in diff_ids]


def manifest(image_id: str, size: int, layers: Sequence[Descriptor]) -> bytes:
    """The manifest of an image, as an Engine would make it."""
    config = {"mediaType": _CONFIG, "size": size, "digest": image_id}
    document = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": list(layers)}
    return json.dumps(document, indent=3).encode()


def is_insecure(host: str, registries: Mapping[str, Any]) -> bool:
    """Whether an Engine with this RegistryConfig speaks to a registry (HOST[:PORT]) without TLS, if need be."""
    index = (registries.get("IndexConfigs") or {}).get(host)
    if index is not None:
        return not index.get("Secure", True)
    name = host.rpartition(":")[0].strip("[]") if not host.endswith("]") and ":" in host else host.strip("[]")
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
        networks = [ipaddress.ip_network(one) for one in registries.get("InsecureRegistryCIDRs") or ()]
    except ValueError:
        return False
    return address.is_loopback or any(address in network for network in networks)


def _diff_ids(config: bytes) -> list[str]:
    try:
        return list(json.loads(config)["rootfs"]["diff_ids"])
    except (ValueError, LookupError, TypeError) as exc:
        raise NotThere("the image's config cannot be read") from exc


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
