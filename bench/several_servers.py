"""Two servers on one PostgreSQL and one bucket, a collection every second: is anything ever missing?

    python bench/several_servers.py --seconds 120 --lanes 8 [--kill]

Each lane pushes images of a few layers that all lanes have in common, by turns through either server, removes its tags
again, and pulls through the other server what it has just pushed. So nearly everything is garbage now and then, and is
pushed again just then. With --kill a server is killed every ten seconds, and started again. Prints what was done, what
was collected, how soon a moved tag was seen at the other server, and what was missing: the status is 1 if anything was.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from parts.line.several_servers import client_of, shared_settings
from parts.processes.lumper_process import LumperServer
from parts.registries.live_registry import RegistryClient, digest_of, image_manifest
from parts.s3.s3_service import s3_service
from parts.servers.postgresql import PostgresServer, programs

_TOGETHER = 300  # different layers: each is left alone for long enough now and then
_SETTINGS = {
    "registry.gc_interval": "1",
    "registry.gc_grace": "5",
    "registry.untagged": "delete",
    "registry.undo_days": "0",
}
_AWAY = (aiohttp.ClientError, TimeoutError, AssertionError, KeyError)


class Load:
    """What the lanes do, and what came of it."""

    def __init__(self, servers: list[LumperServer], clients: list[RegistryClient], end: float) -> None:
        self._servers = servers
        self._clients = clients
        self._end = end
        self.done: Counter[str] = Counter()
        self.missing: list[str] = []
        self.seen: list[float] = []

    async def lane(self, lane: int) -> None:
        """Push, pull, remove, until the end."""
        while time.monotonic() < self._end:
            here = random.randrange(2)
            try:
                await self._turn(lane, self._clients[here], self._clients[1 - here])
            except _AWAY as exc:
                if all(server.running for server in self._servers) and not isinstance(exc, aiohttp.ClientError):
                    self.missing.append(repr(exc))
                self.done["cut off"] += 1
                await asyncio.sleep(0.2)

    async def _turn(self, lane: int, client: RegistryClient, other: RegistryClient) -> None:
        repository, tag = f"mix{lane % 3}", f"lane{lane}"
        layers = [b"layer %d" % random.randrange(_TOGETHER) * 100 for _ in range(3)]
        for layer in layers:
            if await client.status("HEAD", f"/v2/{repository}/blobs/{digest_of(layer)}") == 200:
                self.done["layers there"] += 1
            else:
                await random.choice(self._clients).push_blob(repository, layer)
                self.done["layers pushed"] += 1
        links = [(digest_of(layer), len(layer)) for layer in layers]
        manifest = image_manifest(links[0], *links[1:], annotations={"n": str(random.randrange(9))})
        digest = await client.push_manifest(repository, tag, manifest)
        began = time.monotonic()
        self.done["images pushed"] += 1
        await self._wait_for(other, f"/v2/{repository}/manifests/{tag}", digest)
        self.seen.append(time.monotonic() - began)
        await self._pull(other, repository, digest, [link[0] for link in links])
        if random.random() < 0.7:
            await client.status("DELETE", f"/v2/{repository}/manifests/{tag}")
            await asyncio.sleep(random.random() * 4)

    async def _wait_for(self, client: RegistryClient, path: str, digest: str) -> None:
        while True:
            async with client.request("HEAD", path) as answer:
                if answer.headers.get("Docker-Content-Digest") == digest:
                    return

    async def _pull(self, client: RegistryClient, repository: str, digest: str, blobs: list[str]) -> None:
        for path in (f"manifests/{digest}", *(f"blobs/{blob}" for blob in blobs)):
            status = await client.status("GET", f"/v2/{repository}/{path}")
            if status != 200:
                self.missing.append(f"{status} {repository}/{path}")
        self.done["images pulled"] += 1

    async def killer(self) -> None:
        """Kill one of the servers now and then."""
        while time.monotonic() < self._end - 10:
            await asyncio.sleep(10)
            server = random.choice(self._servers)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.restart)
            self.done["kills"] += 1


def collected(servers: list[LumperServer]) -> Counter[str]:
    """What the servers say that they have collected."""
    counts: Counter[str] = Counter()
    for server in servers:
        for line in server.said.splitlines():
            if "garbage was collected" in line:
                plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
                counts.update({kind: int(number) for kind, number in re.findall(r"(manifest|link|bytes)=(\d+)", plain)})
    return counts


async def measured(servers: list[LumperServer], seconds: float, lanes: int, *, kill: bool) -> bool:
    """Do it and tell; whether nothing was missing."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(server)) for server in servers]
        load = Load(servers, clients, time.monotonic() + seconds)
        jobs = [load.lane(number) for number in range(lanes)] + ([load.killer()] if kill else [])
        await asyncio.gather(*jobs)
    for what, count in load.done.most_common():
        print(f"{count:7} {what}")
    for what, count in collected(servers).most_common():
        print(f"{count:7} collected: {what}")
    if len(load.seen) > 1:
        quantiles = statistics.quantiles(load.seen, n=100)
        print(
            f"a moved tag is seen at the other server after {quantiles[49] * 1000:.1f} ms (median), "
            f"{quantiles[98] * 1000:.1f} ms (99 %)"
        )
    print(f"{len(load.missing):7} missing", *load.missing[:10], sep="\n        ")
    return not load.missing


def main() -> None:
    """Start everything, load it, end it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lumper-several-"))
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "postgres").mkdir()
        found = programs()
        if found is None:
            sys.exit("PostgreSQL is not installed (apt-get install postgresql)")
        postgres = PostgresServer(folder / "postgres", found)
        stack.callback(postgres.kill)
        postgres.start()
        bucket = stack.enter_context(s3_service()).bucket()
        settings = shared_settings(postgres.fresh(), bucket, **_SETTINGS)
        servers = [LumperServer(folder / name, settings, role="registry") for name in ("a", "b")]
        for server in servers:
            stack.enter_context(server)
        well = asyncio.run(measured(servers, options.seconds, options.lanes, kill=options.kill))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
