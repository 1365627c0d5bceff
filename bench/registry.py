"""The registry's speed: Lumper against Debian's docker-registry, in one run, alternating.

    sudo .venv/bin/python bench/registry.py [--rounds 5] [--quick] [--only TEXT] [--folder DIR] [--peer PROGRAM]

Needs `apt-get install docker-registry`, and nginx for one more line. Both registries keep their files on the same disk,
in a network namespace that this program makes for itself and that ends with it: its congestion control is reno, since
BBR, where that is the default, paces loopback. Lumper runs as `lumper registry` with everything on: tokens, rights,
metadata in SQLite, all of it durable before it is acknowledged. docker-registry runs with its defaults and without
accounts. nginx takes its turn where a blob is fetched, with the very file that Lumper sends. `--peer` is a `registry`
that was built from a newer release of distribution; it runs beside the two with the same configuration, and has a table
of its own.

Each row is the median over the rounds; a first round only warms up (pages of memory that a virtual machine has never
touched are slow). The ratio is the median of each round's own ratio. Pushed blobs are removed outside of the time
taken, and the disk is quiet before every measurement.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raw_http import Body, Connection, push, push_small, repeat, together
from registries import Server, distribution, lumper, nginx

REPOSITORY = "bench/speed"
MIB = 1 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Sample:
    """One measurement: a rate, and the CPU seconds of the server and of the client per unit of the rate."""

    rate: float
    server_cpu: float
    client_cpu: float


class Bench:
    """What the rows need."""

    def __init__(self, folder: Path, size: int, seconds: float) -> None:
        self.folder = folder
        self.size = size
        self.seconds = seconds
        self.bodies = [Body(size, framed=number == 0) for number in range(4)]
        self.digest = ""

    def prepare(self, server: Server) -> None:
        """The blob that is fetched, and the manifest."""
        with Connection(server.port, server.token(REPOSITORY)) as connection:
            push(connection, REPOSITORY, self.bodies[0], "put")
            self.digest = self.bodies[0].digest
            layers = [push_small(connection, REPOSITORY, os.urandom(1000)) for _ in range(6)]
            described = [{"mediaType": "application/octet-stream", "digest": d, "size": 1000} for d in layers]
            body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
            data, kind = json.dumps(body, indent=3).encode(), f"Content-Type: {MANIFEST}\r\n"
            answer = connection.request("PUT", f"/v2/{REPOSITORY}/manifests/latest", data, kind)
            assert answer.status == 201, answer

    def get(self, server: Server, clients: int) -> Sample:
        """In MB."""
        token, times = server.token(REPOSITORY), 8 // clients

        def work(_: int) -> None:
            with Connection(server.port, token) as connection:
                for _ in range(times):
                    connection.fetch(server.blob_url(REPOSITORY, self.digest))

        return timed(server, lambda: (self.size * times * clients / 1e6, together(clients, work)))

    def push(self, server: Server, way: str, clients: int) -> Sample:
        """In MB."""
        token, bodies = server.token(REPOSITORY), [body.renew() for body in self.bodies[:clients]]
        self._quiet(self.size * clients)

        def work(number: int) -> None:
            with Connection(server.port, token) as connection:
                push(connection, REPOSITORY, bodies[number], way)

        sample = timed(server, lambda: (self.size * clients / 1e6, together(clients, work)))
        for body in bodies:
            server.blob_file(body.digest).unlink()
        return sample

    def _quiet(self, size: int) -> None:
        """Nothing waits for the disk, and memory for so much page cache is there.

        A virtual machine gives memory that was freed back to its host within seconds, and has to ask for it again page
        by page: files are then written at a fraction of the disk's speed, whoever writes them.
        """
        scratch = self.folder / "scratch"
        with scratch.open("wb", 0) as file:
            sent = 0
            while sent < size:
                sent += os.sendfile(file.fileno(), self.bodies[sent // self.size].plain, sent % self.size, MIB)
        scratch.unlink()
        os.sync()

    def small(self, server: Server) -> Sample:
        """In blobs of 20 kB."""
        token, blobs = server.token(REPOSITORY), [os.urandom(20_000) for _ in range(200)]
        self._quiet(0)

        def work(number: int) -> None:
            with Connection(server.port, token) as connection:
                for blob in blobs[number::8]:
                    push_small(connection, REPOSITORY, blob)

        return timed(server, lambda: (len(blobs), together(8, work)))

    def requests(self, server: Server, method: str, clients: int) -> Sample:
        """In answers."""
        what = "manifests/latest" if method == "GET" else f"blobs/{self.digest}"
        token = server.token(REPOSITORY)
        path = f"/v2/{REPOSITORY}/{what}"
        return timed(server, lambda: repeat(server.port, token, method, path, clients, self.seconds))

    def requests_beside_pushes(self, server: Server) -> Sample:
        """In manifests, for 32 clients, while two others push one blob after the other."""
        token, done = server.token(REPOSITORY), threading.Event()
        self._quiet(self.size * 2)

        def pushes(body: Body) -> None:
            with Connection(server.port, token) as connection:
                while not done.is_set():
                    push(connection, REPOSITORY, body, "patch")

        threads = [threading.Thread(target=pushes, args=[body.renew()]) for body in self.bodies[:2]]
        for thread in threads:
            thread.start()
        try:
            return self.requests(server, "GET", 32)
        finally:
            done.set()
            for thread in threads:
                thread.join()


@dataclass
class Row:
    """One line of the table. `goal` is a ratio; `sends`: it is about the sending of a file, which nginx can do too."""

    name: str
    unit: str
    goal: float
    run: Callable[[Bench, Server], Sample]
    sends: bool = False
    samples: dict[str, list[Sample]] = field(default_factory=dict)


ROWS = [
    Row("GET 256 MiB, 1 client", "MB/s", 4.5, lambda b, s: b.get(s, 1), sends=True),
    Row("GET 256 MiB, 4 clients", "MB/s", 2.7, lambda b, s: b.get(s, 4), sends=True),
    Row("push 256 MiB, one PATCH", "MB/s", 2.7, lambda b, s: b.push(s, "patch", 1)),
    Row("push 256 MiB, chunked", "MB/s", 2.3, lambda b, s: b.push(s, "chunked", 1)),
    Row("push 256 MiB, POST+PUT", "MB/s", 2.7, lambda b, s: b.push(s, "put", 1)),
    Row("push 256 MiB, 4 clients", "MB/s", 2.0, lambda b, s: b.push(s, "patch", 4)),
    Row("200 blobs of 20 kB, 8 clients", "1/s", 3.0, lambda b, s: b.small(s)),
    Row("GET manifest, 1 client", "1/s", 7.0, lambda b, s: b.requests(s, "GET", 1)),
    Row("GET manifest, 32 clients", "1/s", 8.0, lambda b, s: b.requests(s, "GET", 32)),
    Row("HEAD blob, 32 clients", "1/s", 9.0, lambda b, s: b.requests(s, "HEAD", 32)),
    Row("GET manifest, 32, 2 pushing", "1/s", 17.0, lambda b, s: b.requests_beside_pushes(s)),
]


def timed(server: Server, work: Callable[[], tuple[float, float]]) -> Sample:
    """Do the work, which returns how much it was and how long it took."""
    cpu, own = server.cpu(), _own_cpu()
    amount, seconds = work()
    return Sample(amount / seconds, (server.cpu() - cpu) / amount, (_own_cpu() - own) / amount)


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def compare(bench: Bench, rows: list[Row], servers: list[Server], sender: Server | None, rounds: int) -> None:
    """All rows, all rounds, the servers in turn; who begins changes every round."""
    for turn in range(rounds + 1):
        for row in rows:
            asked = [*servers, sender] if sender and row.sends else servers
            for server in asked if turn % 2 else asked[::-1]:
                sample = row.run(bench, server)
                if turn:
                    row.samples.setdefault(server.name, []).append(sample)
        print(f"round {turn} of {rounds}" + ("" if turn else " (does not count)"), file=sys.stderr, flush=True)


def report(rows: list[Row], servers: tuple[Server, Server]) -> None:
    """The table of two of them. Goals are for the comparison with Debian's."""
    ours, theirs = (server.name for server in servers)
    print(f"\n{'':31}{ours:>10}{theirs:>17}      ratio (least-most)  goal   CPU, ours theirs client")
    for row in rows:
        pairs = list(zip(row.samples[ours], row.samples[theirs], strict=True))
        ratios = [a.rate / b.rate for a, b in pairs]
        ratio = statistics.median(ratios)
        a, b = (statistics.median(pair[side].rate for pair in pairs) for side in (0, 1))
        scale, unit = (2**30 / 1e6, "s/GiB") if row.unit == "MB/s" else (1e6, "µs")
        used = [statistics.median(p[side].server_cpu for p in pairs) * scale for side in (0, 1)]
        used.append(statistics.median(p[0].client_cpu for p in pairs) * scale)
        goal = row.goal if theirs == "docker-registry" else 1.0
        print(
            f"{row.name:31}{a:>10,.0f}{b:>12,.0f} {row.unit:4} {ratio:>9.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
            f"{'' if ratio >= goal else ' <':3}{goal:>6.1f}   {' '.join(f'{u:>8.2f}' for u in used)} {unit}"
        )
    for server in servers:
        most, own = server.memory()
        print(f"memory of {server.name}: at most {most:.0f} MB, of which {own:.0f} MB are mapped from no file")


def limits(bench: Bench, rows: list[Row]) -> None:
    """What no registry in Python can be faster than: SHA-256 alone for pushes, nginx for GET."""
    data = os.pread(bench.bodies[0].plain, 64 * MIB, 0)
    begun = time.monotonic()
    hashlib.sha256(data).hexdigest()
    print(f"SHA-256 alone, one core: {len(data) / 1e6 / (time.monotonic() - begun):,.0f} MB/s")
    for row in rows:
        if "nginx" not in row.samples:
            continue
        pairs = list(zip(row.samples["lumper"], row.samples["nginx"], strict=True))
        rate, used = (statistics.median(getattr(b, what) for _, b in pairs) for what in ("rate", "server_cpu"))
        ratios = [a.rate / b.rate for a, b in pairs]
        print(
            f"nginx's sendfile, {row.name}: {rate:,.0f} MB/s, {used * 2**30 / 1e6:.2f} s/GiB; lumper to it"
            f" {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        )


def run(folder: Path, rounds: int, *, quick: bool, only: str, peer: str) -> None:
    """Inside the namespace."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text("reno")
    bench = Bench(folder, 256 * MIB, 0.7 if quick else 2.0)
    rows = [row for row in ROWS if only in row.name]
    servers: list[Server] = []
    sender = nginx(folder / "nginx")
    try:
        servers.append(lumper(folder / "lumper"))
        for program in ("docker-registry", *([peer] if peer else [])):
            servers.append(distribution(folder / f"peer{len(servers)}", program))
        for server in servers:
            bench.prepare(server)
        if sender is not None:
            sender.blob_file(bench.digest).hardlink_to(servers[0].blob_file(bench.digest))
        compare(bench, rows, servers, sender, rounds)
        for other in servers[1:]:
            report(rows, (servers[0], other))
    finally:
        for server in [*servers, *([sender] if sender else [])]:
            server.stop()
    limits(bench, rows)


def main() -> None:
    """Run it, in a namespace and a folder of its own."""
    arguments = argparse.ArgumentParser(description="The registry's speed against docker-registry's.")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--quick", action="store_true", help="two rounds, shorter ones")
    arguments.add_argument("--only", default="", help="rows with this in their name")
    arguments.add_argument(
        "--folder", type=Path, help="where both registries keep their files; default: as TMPDIR says"
    )
    arguments.add_argument("--peer", default="", help="the program of another distribution, to compare with as well")
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if shutil.which("docker-registry") is None:
        raise SystemExit("docker-registry is not installed: apt-get install docker-registry")
    if not given.inside:
        raise SystemExit(subprocess.call(["unshare", "--net", "--", sys.executable, *sys.argv, "--inside"]))
    with tempfile.TemporaryDirectory(prefix="lumper-bench-", dir=given.folder) as name:
        run(Path(name), 2 if given.quick else given.rounds, quick=given.quick, only=given.only, peer=given.peer)


if __name__ == "__main__":
    main()
