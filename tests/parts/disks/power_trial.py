"""A registry on a disk whose power fails at many moments, and what each of them leaves."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from parts.disks.forgetful_server import ForgetfulServer
from parts.disks.power_ledger import Kind, Ledger, Thing
from parts.disks.power_load import PowerLoad, wrong
from parts.disks.recorded_disk import Recording, mounted, recorded, repaired
from parts.line.several_servers import client_of
from parts.processes.command_line import lumper
from parts.processes.lumper_process import LumperServer
from parts.suite.waiting import wait_for

_SIZE = 320 << 20  # bytes: mkfs.xfs makes none below 300 MiB
_CARE = {"registry.gc_interval": "0", "registry.undo_days": "1"}
_SWEEP = {
    "registry.gc_interval": "0.2",
    "registry.gc_grace": "0.1",
    "registry.undo_days": "0",
    "registry.untagged": "delete",
}
_SWEEP_EVERY = 3  # moments
_STAYS = "afterwards"
_OF_ONE_IMAGE = 6  # files: three blobs, two names, and the id of the storage
DISKS = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "ext4-no-journal": ["mkfs.ext4", "-q", "-F", "-O", "^has_journal"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
}


@dataclass(frozen=True)
class Wanted:
    """How much of it. `forgotten` is what the server leaves out, "" for nothing."""

    disk: str
    clients: int
    steps: int
    moments: int
    seed: int
    forgotten: str = ""


def power_fails(folder: Path, wanted: Wanted) -> Iterator[str]:
    """Put a load on a registry, then tell what is wrong after its power failed at some moments. # are remarks."""
    with recorded(folder, DISKS[wanted.disk], _SIZE, folder / "place") as recording:
        load = asyncio.run(_loaded(recording, folder / "place" / "data", wanted))
    yield f"# {', '.join(f'{count} {what}' for what, count in sorted(load.done.items()))}"
    for number, (moment, kept) in enumerate(_chosen(recording, load.ledger, wanted)):
        image = folder / "image"
        recording.after_power_failure(image, moment, kept, wanted.seed + number)
        with mounted(repaired(image) if "no-journal" in wanted.disk else image, folder / "after") as place:
            for found in _found(place / "data", load, moment, sweep=number % _SWEEP_EVERY == 0):
                yield f"{moment} with {kept:.0%} of what was not flushed: {found}"


async def _loaded(recording: Recording, data: Path, wanted: Wanted) -> PowerLoad:
    server = _server(data, _CARE, wanted.forgotten)
    with server:
        async with client_of(server) as client:
            load = PowerLoad(client, lambda: recording.now)
            await load.run(wanted.clients, wanted.steps, wanted.seed)
    return load


def _server(data: Path, settings: dict[str, str], forgotten: str = "") -> LumperServer:
    if not forgotten:
        return LumperServer(data, settings, role="registry")
    server = ForgetfulServer(data, settings, role="registry")
    server.forgotten = forgotten
    return server


def _chosen(recording: Recording, ledger: Ledger, wanted: Wanted) -> list[tuple[int, float]]:
    """Moments just after something was acknowledged, and any others, with how much is kept of what was not flushed."""
    chance = random.Random(wanted.seed)
    told = ledger.acknowledgements()
    first, moments = told[0], recording.moments()
    some = [(chance.choice(told), chance.choice((0.0, 0.5, 1.0))) for _ in range(wanted.moments * 2 // 3)]
    others = [one for one in moments if one >= first]
    some += [(chance.choice(others), chance.random()) for _ in range(wanted.moments - len(some))]
    return sorted(some)


def _found(data: Path, load: PowerLoad, moment: int, *, sweep: bool) -> Iterator[str]:
    with LumperServer(data, _CARE, role="registry") as server:
        yield from asyncio.run(_served(server, load, moment))
        yield from _flaws(data, load, moment)
        if "Traceback" in server.said_since_start:
            yield server.said_since_start
    if sweep:
        yield from _kept(data)


async def _served(server: LumperServer, load: PowerLoad, moment: int) -> list[str]:
    async with client_of(server) as client:
        found = await wrong(load, client, moment)
        await client.push_image(_STAYS, "1.0", os.urandom(100))
        return found


def _flaws(data: Path, load: PowerLoad, moment: int) -> Iterator[str]:
    """What is told to be wrong, but for the names of pushes that were under way; those are mended."""
    for repair in ((), ("--repair",), ()):
        flaws = json.loads(lumper("registry", "verify", "--json", *repair, "--data", data).out)["flaws"]
        for flaw in flaws:
            things = [Thing(kind, flaw["repository"], flaw["name"]) for kind in (Kind.TAG, Kind.MANIFEST)]
            under_way = any(len(load.ledger.right(thing, moment)) > 1 for thing in things)
            if flaw["kind"] not in ("unnamed", "unknown") or not under_way:
                yield f"verify {repair}: {flaw}"
        if not flaws:
            return
    yield from (f"verify, after the repair: {flaw}" for flaw in flaws)


def _kept(data: Path) -> Iterator[str]:
    """What is still there when all but one image was deleted and a day has passed."""
    past = time.time() - 3 * 86_400
    for file in _files(data / "registry" / "uploads"):
        os.utime(file, (past, past))
    with LumperServer(data, _SWEEP, role="registry") as server:
        try:
            wait_for(lambda: asyncio.run(_all_deleted(server)) == _OF_ONE_IMAGE, "end of the rest", 20)
        except TimeoutError:
            yield from (f"it is never given up: {file.relative_to(data)}" for file in _files(data / "registry"))


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


async def _all_deleted(server: LumperServer) -> int:
    """Delete what is there, also of pushes that the collector has completed since; how many files there are then."""
    async with client_of(server) as client:
        async with client.request("GET", "/v2/_catalog?n=1000") as response:
            names = (await response.json())["repositories"]
        for name in names:
            if name != _STAYS:
                assert await client.status("DELETE", f"/api/v1/images/{name}?everything=1") in (200, 404)
    return len(_files(server.data / "registry"))
