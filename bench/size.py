"""How large a registry may grow: a small one and one with a million tags and blobs, side by side, in one run.

    .venv/bin/python bench/size.py [--tags 1000000] [--gib 20] [--only rows|retention|blob|slow] [--folder DIR]

`rows`: two `lumper registry` on folders of their own, their databases filled with generated rows. In the large one, one
repository has so many tags, on half as many manifests with a layer each, which makes a million blobs, beside a thousand
other repositories; in the small one there are a thousand tags and 150 others, so that every page and every list is full
there too. The same requests go to both over HTTP, in turns; each figure is the median.
`retention`: what a rule would do with every tag of the large one and of the small one, asked for over HTTP.
`blob`: a blob of so many GiB of zeros is pushed and pulled, with the server's memory and CPU.
`slow`: 200 clients that push, and 200 that pull, at 10 kB/s each, for 20 seconds, with the server's memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from raw_http import Connection, push_small
from registries import Server, lumper

REPOSITORY = "size/huge"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
NOW = "2026-01-01T00:00:00.000000Z"
MIB, GIB = 1 << 20, 1 << 30
SLOW_CLIENTS, SLOW_RATE, SLOW_SECONDS = 200, 10_000, 20


def digest(kind: str, number: int) -> str:
    """A digest that nothing has, the same each time."""
    return f"sha256:{hashlib.sha256(f'{kind} {number}'.encode()).hexdigest()}"


def fill(database: Path, tags: int, repositories: int) -> None:
    """Write the rows that so many tags in one repository, and so many other repositories, would have left."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-1000000")
    (identity,) = connection.execute("SELECT id FROM repositories WHERE name = ?", (REPOSITORY,)).fetchone()
    images = tags // 2

    def insert(table: str, columns: str, rows: Iterable[tuple[object, ...]]) -> None:
        marks = ",".join("?" * (columns.count(",") + 1))
        connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
        print(f"  {table} …", flush=True)

    def both() -> Iterator[str]:
        for number in range(images):
            yield digest("manifest", number)
            yield digest("layer", number)

    insert("blobs", "digest, size, stored_at", ((one, 500, NOW) for one in both()))
    insert(
        "repository_blobs",
        "repository_id, digest, size, linked_at",
        ((identity, digest("layer", number), 500, NOW) for number in range(images)),
    )
    insert(
        "manifests",
        "repository_id, digest, media_type, size, total, subject, artifact_type, annotations, created_at, pushed_at,"
        " abandoned, retired",
        (
            (identity, digest("manifest", number), MANIFEST, 500, 1000, "", "", "{}", NOW, NOW, 0, 0)
            for number in range(images)
        ),
    )
    insert(
        "manifest_links",
        "repository_id, parent, child, manifest, size",
        ((identity, digest("manifest", number), digest("layer", number), 0, 500) for number in range(images)),
    )
    insert(
        "tags",
        "repository_id, name, digest, updated_at",
        ((identity, f"v{number:07}", digest("manifest", number % images), NOW) for number in range(tags)),
    )
    insert("repositories", "name, created_at", ((f"small/r{number:04}", NOW) for number in range(repositories)))
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def push_image(connection: Connection, repository: str, tag: str, note: str) -> str:
    """Push a config, a layer and a manifest under a tag; the layer's digest."""
    parts = [
        {"mediaType": "application/x", "digest": push_small(connection, repository, data), "size": len(data)}
        for data in (b"{}", note.encode() * 100)
    ]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": [parts[1]]}
    body = json.dumps({**manifest, "annotations": {"note": note}}).encode()
    path = f"/v2/{repository}/manifests/{tag}"
    made = connection.request("PUT", path, body, headers=f"Content-Type: {MANIFEST}\r\n")
    assert made.status == 201, made
    return str(parts[1]["digest"])


class Side:
    """One of the two registries."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.count = 0
        self.connect()
        self.layer = self.pushed()

    def connect(self) -> None:
        """Make the connection that all requests to the registry's API share."""
        self.registry = Connection(self.server.port, self.server.token(REPOSITORY))

    def elsewhere(self) -> Connection:
        """One to everything else: a shared one would be closed while the other side collects garbage for a minute."""
        assert self.server.login is not None
        return Connection(self.server.port, f"Bearer {self.server.login[1]}")

    def pushed(self) -> str:
        """One more image."""
        self.count += 1
        return push_image(self.registry, REPOSITORY, f"x{self.count}", f"{self.server.port} {self.count}")


def get(path: str, *, api: bool = False, method: str = "GET") -> Callable[[Side], None]:
    """A request that must go well."""

    def work(side: Side) -> None:
        with side.elsewhere() if api else nullcontext(side.registry) as connection:
            answer = connection.request(method, path.replace("LAYER", side.layer))
        assert answer.status == 200, answer

    return work


def restart(side: Side) -> None:
    """End the server, and start it until it answers."""
    side.server = started(side.server)
    side.connect()


def started(server: Server) -> Server:
    """The same registry in a new process."""
    server.stop()
    command = [os.fsdecode(part) for part in server.process.args]  # type: ignore[union-attr,arg-type]
    server.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while True:
        try:
            with socket.create_connection(("127.0.0.1", server.port)):
                return server
        except ConnectionRefusedError:
            time.sleep(0.01)


ROWS: list[tuple[str, int, Callable[[Side], object]]] = [
    ("tags/list, the first page", 15, get(f"/v2/{REPOSITORY}/tags/list?n=1000")),
    ("tags/list, n=100 after the middle", 15, get(f"/v2/{REPOSITORY}/tags/list?n=100&last=v0500000")),
    ("_catalog, n=100", 15, get("/v2/_catalog?n=100", api=True)),
    ("GET manifest by tag", 15, get(f"/v2/{REPOSITORY}/manifests/x1")),
    ("HEAD blob", 15, get(f"/v2/{REPOSITORY}/blobs/LAYER", method="HEAD")),
    ("referrers", 15, get(f"/v2/{REPOSITORY}/referrers/LAYER")),
    ("push of an image", 15, Side.pushed),
    ("page of the repository", 7, get(f"/images/{REPOSITORY}", api=True)),
    ("page of all repositories", 7, get("/images", api=True)),
    ("collection of garbage", 2, get("/api/v1/registry/gc", api=True, method="POST")),
    ("start until it listens", 3, restart),
]


@contextmanager
def filled(folder: Path, tags: int) -> Iterator[dict[str, Side]]:
    """The small registry and the large one, running."""
    sizes = {"small": (1000, 150), "large": (tags, 1000)}
    folder.mkdir()
    sides = {name: Side(lumper(folder / name)) for name in sizes}
    try:
        for name, side in sides.items():
            side.server.stop()
            print(f"filling a database with {sizes[name][0]:,} tags")
            fill(folder / name / "data" / "lumper.db", *sizes[name])
            started(side.server)
        for side in sides.values():
            side.connect()
        yield sides
    finally:
        for side in sides.values():
            side.server.stop()


def rows(folder: Path, tags: int) -> None:
    """The table."""
    with filled(folder, tags) as sides:
        print(f"\n{'':36}{'small':>12}{'large':>12}   ratio")
        for name, times, work in ROWS:
            taken: list[list[float]] = [[], []]
            for number in range(times + 1):
                for side, into in zip(sides.values(), taken, strict=True):
                    begun = time.perf_counter()
                    work(side)
                    if number:
                        into.append(time.perf_counter() - begun)
            small, large = (statistics.median(one) * 1000 for one in taken)
            print(f"{name:36}{small:>9.1f} ms{large:>9.1f} ms   {large / small:>5.1f}", flush=True)
        for name, side in sides.items():
            print(f"memory of the {name} one: at most {side.server.memory()[0]:.0f} MB")


def retention(folder: Path, tags: int) -> None:
    """How long judging every tag takes, and what it takes of memory."""
    with filled(folder, tags) as sides:
        for name, side in sides.items():
            rule = json.dumps({"keep": {"last": 1000, "patches": 1}}).encode()
            with side.elsewhere() as api:
                address = f"/api/v1/registry/rules/{REPOSITORY}"
                made = api.request("PUT", address, rule, "Content-Type: application/json\r\n")
            assert made.status == 200, made
            before, cpu, begun = side.server.memory()[0], side.server.cpu(), time.monotonic()
            done = judged(side.server)
            seconds, used = time.monotonic() - begun, side.server.cpu() - cpu
            count = done["kept"] + done["removed"]
            print(
                f"retention in the {name} one, {count:,} tags, {done['kept']:,} of them kept: {seconds:.1f} s,"
                f" {used:.1f} s of processor time, {used / count * 1e6:.0f} µs a tag;"
                f" memory: {before:.0f} MB before, at most {side.server.memory()[0]:.0f} MB"
            )


def judged(server: Server) -> dict[str, int]:
    """Ask for a dry run, read all of the answer, and return its last line."""
    assert server.login is not None
    address = f"http://127.0.0.1:{server.port}/api/v1/registry/retention?repositories={REPOSITORY}"
    asked = urllib.request.Request(address, headers={"Authorization": f"Bearer {server.login[1]}"})
    with urllib.request.urlopen(asked) as answer:
        (last,) = deque(answer, 1)
    done: dict[str, int] = json.loads(last)["done"]
    return done


def blob(folder: Path, gib: int) -> None:
    """Push and pull so many GiB of zeros."""
    server = lumper(folder / "blob")
    try:
        before, size = server.memory()[0], gib * GIB
        zeros = bytes(MIB)
        hashed = hashlib.sha256()
        for _ in range(size // MIB):
            hashed.update(zeros)
        name = f"sha256:{hashed.hexdigest()}"
        for what, work in (("push", _push_zeros), ("pull", _pull)):
            cpu, begun = server.cpu(), time.monotonic()
            with Connection(server.port, server.token(REPOSITORY)) as connection:
                work(connection, name, size)
            seconds, used = time.monotonic() - begun, (server.cpu() - cpu) / gib
            print(f"{what} of {gib} GiB: {size / 1e6 / seconds:,.0f} MB/s, {used:.2f} CPU seconds per GiB", flush=True)
            print(f"  memory: {before:.0f} MB before, at most {server.memory()[0]:.0f} MB")
    finally:
        server.stop()


def _push_zeros(connection: Connection, name: str, size: int) -> None:
    begun = connection.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/")
    where = begun.headers["location"]
    head = f"Content-Length: {size}\r\nContent-Type: application/octet-stream\r\n"
    sock = connection._socket  # no body of 20 GiB is made for it
    sock.sendall(connection.head("PUT", f"{where}{'&' if '?' in where else '?'}digest={name}", head))
    zeros = bytes(MIB)
    for _ in range(size // MIB):
        sock.sendall(zeros)
    made = connection._answer(keep=True)
    assert made.status == 201, made


def _pull(connection: Connection, name: str, size: int) -> None:
    assert connection.fetch(f"/v2/{REPOSITORY}/blobs/{name}") == size


def slow(folder: Path) -> None:
    """Many clients that hardly move."""
    server = lumper(folder / "slow")
    try:
        authorization = server.token(REPOSITORY)
        with Connection(server.port, authorization) as connection:
            name = push_small(connection, REPOSITORY, os.urandom(64 * MIB))
        server = started(server)
        before = server.memory()[0]
        head = f"Authorization: {authorization}\r\nHost: 127.0.0.1\r\n"
        wanted = f"GET /v2/{REPOSITORY}/blobs/{name} HTTP/1.1\r\n{head}\r\n"
        readers = [_slow_reader(server.port, wanted) for _ in range(SLOW_CLIENTS)]
        writers = []
        for _ in range(SLOW_CLIENTS):
            with Connection(server.port, authorization) as connection:
                where = connection.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/").headers["location"]
            writer = socket.create_connection(("127.0.0.1", server.port))
            writer.sendall(f"PATCH {where} HTTP/1.1\r\n{head}Content-Length: {64 * MIB}\r\n\r\n".encode())
            writers.append(writer)
        cpu, end = server.cpu(), time.monotonic() + SLOW_SECONDS
        step = SLOW_RATE // 4
        while time.monotonic() < end:
            next_step = time.monotonic() + 0.25
            for reader, writer in zip(readers, writers, strict=True):
                reader.recv(step)
                writer.sendall(bytes(step))
            time.sleep(max(0, next_step - time.monotonic()))
        used = (server.cpu() - cpu) / SLOW_SECONDS * 100
        print(f"{SLOW_CLIENTS} readers and {SLOW_CLIENTS} writers at {SLOW_RATE / 1000:.0f} kB/s for {SLOW_SECONDS} s:")
        print(f"  memory: {before:.0f} MB before, at most {server.memory()[0]:.0f} MB; CPU: {used:.0f} % of one core")
        for one in (*readers, *writers):
            one.close()
    finally:
        server.stop()


def _slow_reader(port: int, request: str) -> socket.socket:
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)  # else the kernel takes megabytes at once
    reader.connect(("127.0.0.1", port))
    reader.sendall(request.encode())
    return reader


def main() -> None:
    """Run what is asked for."""
    arguments = argparse.ArgumentParser(description="How large a registry may grow.")
    arguments.add_argument("--tags", type=int, default=1_000_000)
    arguments.add_argument("--gib", type=int, default=20)
    arguments.add_argument("--only", choices=("rows", "retention", "blob", "slow"))
    arguments.add_argument("--folder", type=Path, help="where everything is kept; default: as TMPDIR says")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="lumper-size-", dir=given.folder) as name:
        folder = Path(name)
        if given.only in (None, "rows"):
            rows(folder / "rows", given.tags)
        if given.only in (None, "retention"):
            retention(folder / "retention", given.tags)
        if given.only in (None, "blob"):
            blob(folder, given.gib)
        if given.only in (None, "slow"):
            slow(folder)


if __name__ == "__main__":
    main()
