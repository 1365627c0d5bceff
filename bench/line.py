"""From webhook to pullable tag: Lumper against the same work done by plain shell, in one run, alternating.

    .venv/bin/python bench/line.py [--rounds 10]

Both sides get the same small repository from the same git server, build it on the same Docker Engine and push to the
same registry (Lumper's, with its rights and its durability). The shell side is what one would write without Lumper:
`git clone --depth 1`, a build by the Engine's API with BuildKit, a push by the Engine's API. Cached: the commit changes
nothing that the Dockerfile copies. Uncached: it changes the file of the first layer. Prints medians and their ratio.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from lumper.cli.client import Client
from lumper.cli.demo.repository import static_busybox
from lumper.layout import DataFolder

Found = TypeVar("Found")

DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
COPY input /input
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox cat /input /input > /output"]
CMD ["/bin/busybox", "cat", "/output"]
"""
SHELL = """\
set -e
rm -rf "$WORK"
git clone -q --depth 1 --branch "$TAG" "$URL" "$WORK" 2>/dev/null
tar -C "$WORK" --exclude .git -c . | curl -sf --unix-socket /var/run/docker.sock -H 'Content-Type: application/x-tar' \
  --data-binary @- "http://engine/build?version=2&t=$IMAGE:$TAG&buildid=$TAG" > "$WORK.log"
curl -sf -X POST --unix-socket /var/run/docker.sock -H "X-Registry-Auth: $AUTH" \
  "http://engine/images/$IMAGE/push?tag=$TAG" >> "$WORK.log"
"""


class Bench:
    """One Lumper, one git server, one repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.bare = folder / "repositories" / "bench" / "line.git"
        self.bare.parent.mkdir(parents=True)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start everything and make the first commit."""
        python = sys.executable
        self._spawn(python, "-m", "lumper.cli.demo.forge", str(self.folder / "repositories"))
        port = _await(lambda: (self.folder / "repositories" / "port").read_text())
        data = DataFolder(self.folder / "data")
        begun = time.monotonic()
        self._spawn(python, "-m", "lumper", "up", "--listen", "127.0.0.1:0", "--data", str(data.root))
        self.url = _await(data.server_url)
        self.host = urlsplit(self.url).netloc
        _await(lambda: _status(self.host, "GET", "/healthz") == 200 or None)
        print(f"start of `lumper up` to the first answer (an empty data folder): {time.monotonic() - begun:.2f} s")
        self.token = data.token("operator").read_text().strip()
        git(self.folder, "init", "-q", "--bare", str(self.bare))
        git(self.folder, "init", "-q", "--initial-branch=main", str(self.work))
        shutil.copy(static_busybox(), self.work / "busybox")
        (self.work / "Dockerfile").write_text(DOCKERFILE)
        self.clone_url = f"http://127.0.0.1:{port}/bench/line.git"
        self.project = Client(self.url, self.token).post("projects", {"url": self.clone_url})

    def commit(self, tag: str, *, cached: bool) -> str:
        """A new commit with a tag; its id."""
        if not cached or not (self.work / "input").exists():
            (self.work / "input").write_text(uuid.uuid4().hex * 4096)
        (self.work / "note").write_text(tag)
        (self.work / ".dockerignore").write_text("note\n")
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "-m", tag)
        git(self.work, "tag", tag)
        git(self.work, "push", "-q", str(self.bare), tag)
        return git(self.work, "rev-parse", "HEAD")

    def lumper(self, tag: str, commit: str) -> float:
        """Seconds from the webhook to the pullable tag."""
        payload = {
            "ref": f"refs/tags/{tag}",
            "before": "0" * 40,
            "after": commit,
            "repository": {"full_name": "bench/line", "clone_url": self.clone_url},
            "pusher": {"login": "bench", "email": "bench@example.org"},
        }
        body = json.dumps(payload).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Gitea-Event": "push",
            "X-Gitea-Delivery": str(uuid.uuid4()),
            "X-Gitea-Signature": hmac.new(self.project["secret"].encode(), body, hashlib.sha256).hexdigest(),
        }
        begun = time.monotonic()
        assert _status(self.host, "POST", "/hooks/gitea", body, headers) == 202
        self._pullable(f"/v2/bench/line/manifests/{tag.removeprefix('v')}")
        return time.monotonic() - begun

    def shell(self, tag: str) -> float:
        """Seconds of the plain shell, to the pullable tag."""
        login = {"username": "operator", "password": self.token, "serveraddress": self.host}
        environment = {
            **os.environ,
            "WORK": str(self.folder / "clone"),
            "TAG": tag,
            "URL": self.clone_url,
            "IMAGE": f"{self.host}/plain/line",
            "AUTH": base64.urlsafe_b64encode(json.dumps(login).encode()).decode(),
        }
        begun = time.monotonic()
        subprocess.run(["bash", "-c", SHELL], env=environment, check=True)
        self._pullable(f"/v2/plain/line/manifests/{tag}")
        return time.monotonic() - begun

    def _pullable(self, path: str) -> None:
        login = base64.b64encode(f"operator:{self.token}".encode()).decode()
        deadline = time.monotonic() + 60
        while _status(self.host, "HEAD", path, headers={"Authorization": f"Basic {login}"}) != 200:
            if time.monotonic() > deadline:
                raise SystemExit(f"{path} was not pullable within a minute; see {self.folder}")
            time.sleep(0.002)

    def memory(self) -> float:
        """The resident memory of `lumper up`, in MB."""
        status = Path(f"/proc/{self.processes[1].pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1000

    def _spawn(self, *command: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def stop(self) -> None:
        """End what was started."""
        for process in reversed(self.processes):
            process.terminate()
            process.wait(10)


def git(folder: Path, *arguments: str) -> str:
    """Run git as the bench's own person."""
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def _status(host: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        return connection.getresponse().status
    except ConnectionError:
        return 0
    finally:
        connection.close()


def _await(look: Callable[[], Found | None]) -> Found:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            found = look()
        except FileNotFoundError:
            found = None
        if found:
            return found
        time.sleep(0.005)
    raise SystemExit("a part did not start")


def main() -> None:
    """Run it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=10)
    rounds = arguments.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="lumper-bench-") as name:
        bench = Bench(Path(name))
        try:
            bench.start()
            time.sleep(5)  # idle is what is left after the start
            print(f"idle memory of `lumper up`, all roles: {bench.memory():.0f} MB")
            for number, cached in ((1, True), (2, False)):
                compare(bench, number, rounds, cached=cached)
            print(f"memory of `lumper up` after {rounds * 2 + 2} builds: {bench.memory():.0f} MB")
        finally:
            bench.stop()


def compare(bench: Bench, number: int, rounds: int, *, cached: bool) -> None:
    """Both sides in turn, one warm-up each, then `rounds` that count."""
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(rounds + 1):
        tag = f"v{number}.{turn}.0"
        ours.append(bench.lumper(tag, bench.commit(tag, cached=cached)))
        tag = f"v{number}.{turn}.1"
        bench.commit(tag, cached=cached)
        theirs.append(bench.shell(tag))
    a, b = ours[1:], theirs[1:]
    ratio = statistics.median(x / y for x, y in zip(a, b, strict=True))
    print(
        f"{'cached  ' if cached else 'uncached'}  lumper {statistics.median(a) * 1000:.0f} ms  "
        f"shell {statistics.median(b) * 1000:.0f} ms  median ratio {ratio:.2f}  "
        f"({min(x / y for x, y in zip(a, b, strict=True)):.2f}-{max(x / y for x, y in zip(a, b, strict=True)):.2f})"
    )


if __name__ == "__main__":
    main()
