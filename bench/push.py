"""Pushes of a large image: by the Docker Engine itself, and by Lumper past it, in one run, alternating.

    sudo .venv/bin/python bench/push.py [--size 500] [--rounds 3] [--data random,text,mixed] [--json FILE]

Each push goes to a docker-registry of its own, which has nothing, so that every layer is compressed and sent. The image
has a layer of this size (with `mixed` two of half of it), whose bytes are random, text and programs, or half of each.
CPU is that of Lumper's side alone, in seconds. Medians; the ratio is the median of each pair's own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lumper.build.engines.buildkit import BuildKitEngine
from lumper.build.port import BuildRequest, Pushed
from lumper.wiring.engines import open_target
from registries import Server, distribution
from repositories import Repository, cases
from sides import SOCKET


@dataclass
class Push:
    """One push. `size` is that of all blobs, in bytes; `cpu` in seconds."""

    seconds: float
    size: int
    cpu: float


class Bench:
    """An image of one kind, in the engine."""

    def __init__(self, folder: Path, data: str, size: int) -> None:
        self._folder = folder
        self._image = f"lumper-bench-{uuid.uuid4().hex[:8]}"
        repository = Repository(cases(data, size)["large"], folder, folder / "forge")
        repository.commit("v1", "cold")
        self._context = repository.export(folder / "context")

    async def build(self) -> None:
        """Have it built."""
        engine = BuildKitEngine(f"unix://{SOCKET}")
        await engine.build(BuildRequest("1", f"{self._image}:1"), _tar(self._context), lambda _: None)
        await engine.close()

    async def push(self, *, past: bool) -> Push:
        """Push it to a registry that has nothing, with the engine or past it."""
        registry = distribution(self._folder / uuid.uuid4().hex)
        engine = BuildKitEngine(f"unix://{SOCKET}", open_target=open_target if past else None)
        name = f"127.0.0.1:{registry.port}/bench/large"
        try:
            _engine("POST", f"/images/{self._image}:1/tag?repo={quote(name, safe='')}&tag=1")
            begun, cpu = time.monotonic(), time.process_time()
            pushed = await engine.push(f"{name}:1", None, lambda _: None)
            return Push(time.monotonic() - begun, _size(registry, pushed), time.process_time() - cpu)
        finally:
            await engine.remove(f"{name}:1")
            await engine.close()
            registry.stop()
            for path in self._folder.glob("*/data"):
                shutil.rmtree(path)

    async def remove(self) -> None:
        """Take it out of the engine."""
        engine = BuildKitEngine(f"unix://{SOCKET}")
        await engine.remove(f"{self._image}:1")
        await engine.close()


async def _tar(folder: Path) -> AsyncIterator[bytes]:
    tar = await asyncio.create_subprocess_exec("tar", "-C", folder, "-c", ".", stdout=subprocess.PIPE)
    assert tar.stdout is not None
    while chunk := await tar.stdout.read(1 << 20):
        yield chunk
    await tar.wait()


def _size(registry: Server, pushed: Pushed) -> int:
    layers = json.loads(registry.blob_file(pushed.digest).read_bytes())["layers"]
    return sum(layer["size"] for layer in layers)


def _engine(method: str, path: str) -> None:
    curl = ["curl", "-sf", "-X", method, "--unix-socket", SOCKET, f"http://engine{path}"]
    subprocess.run(curl, check=True, stdout=subprocess.DEVNULL)


async def compare(data: str, size: int, rounds: int) -> dict[str, object]:
    """Alternating pushes of one kind of image; prints a row."""
    with tempfile.TemporaryDirectory(prefix="lumper-bench-") as name:
        bench = Bench(Path(name), data, size)
        await bench.build()
        try:
            pairs = [(await bench.push(past=True), await bench.push(past=False)) for _ in range(rounds)]
        finally:
            await bench.remove()
    ratios = [ours.seconds / theirs.seconds for ours, theirs in pairs]
    ours, theirs = (statistics.median(pair[side].seconds for pair in pairs) for side in (0, 1))
    sizes = [pairs[0][side].size / 1e6 for side in (0, 1)]
    print(
        f"| {data:6} | {ours:6.2f} s | {theirs:6.2f} s | {statistics.median(ratios):.2f} ({min(ratios):.2f}-"
        f"{max(ratios):.2f}) | {statistics.median(pair[0].cpu for pair in pairs):5.2f} s | {sizes[0]:4.0f} MB | "
        f"{sizes[1]:4.0f} MB |",
        flush=True,
    )
    return {"data": data, "pairs": [[vars(ours), vars(theirs)] for ours, theirs in pairs]}


def main() -> None:
    """Run it."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--size", type=int, default=500, help="MB of the image")
    arguments.add_argument("--rounds", type=int, default=3, help="pairs of each kind")
    arguments.add_argument("--data", default="random,text,mixed", help="kinds, with commas")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write all pairs there")
    options = arguments.parse_args()
    print("| data | past the engine | engine | ratio | CPU | sent | by the engine |\n|---|---|---|---|---|---|---|")
    rows = [asyncio.run(compare(data, options.size, options.rounds)) for data in options.data.split(",")]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
