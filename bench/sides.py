"""The two sides of `bench/line.py`: Lumper with all its roles, and a shell that does the same work without it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from lumper.build.engines.buildkit.api import registry_auth
from lumper.build.port import Login
from lumper.cli.client import Client
from lumper.config.layout import DataFolder
from repositories import Repository

Found = TypeVar("Found")

SOCKET = "/var/run/docker.sock"
_CLONE = """\
rm -rf "$WORK"
git clone -q --depth 1 --branch "$TAG" "$URL" "$WORK" 2>/dev/null
"""
_FETCH = """\
git -C "$WORK" fetch -q --depth 1 origin tag "$TAG"
git -C "$WORK" checkout -q "$TAG"
"""
_BUILD = """\
echo "$EPOCHREALTIME"
tar -C "$WORK" --exclude .git -c . | curl -sf --unix-socket "$SOCKET" -H 'Content-Type: application/x-tar' \
  --data-binary @- "http://engine/build?version=2&t=$IMAGE:$TAG&buildid=$TAG" > "$WORK.log"
echo "$EPOCHREALTIME"
curl -sf -X POST --unix-socket "$SOCKET" -H "X-Registry-Auth: $AUTH" \
  "http://engine/images/$IMAGE/push?tag=$TAG" >> "$WORK.log"
echo "$EPOCHREALTIME"
if grep -q '"errorDetail"' "$WORK.log"; then cat "$WORK.log"; exit 1; fi
"""


@dataclass
class Run:
    """One way from push to pullable tag: `seconds` in all, and those of its parts by name."""

    seconds: float
    parts: dict[str, float] = field(default_factory=dict)


class Lumper:
    """`lumper up` beside a forge, on a folder of its own."""

    def __init__(self, folder: Path, concurrency: int) -> None:
        self._folder = folder
        self.forge = folder / "repositories"
        self.forge.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._projects: dict[str, dict[str, Any]] = {}
        self._spawn(sys.executable, "-m", "lumper.cli.demo.forge", str(self.forge))
        port = awaited(lambda: (self.forge / "port").read_text())
        self._git = f"http://127.0.0.1:{port}"
        data = DataFolder(folder / "data")
        begun = time.monotonic()
        limits = {"LUMPER_WORKER_CONCURRENCY": str(concurrency)}
        self._spawn(
            *(sys.executable, "-m", "lumper", "up", "--listen", "127.0.0.1:0", "--data", str(data.root)), more=limits
        )
        url = awaited(data.server_url)
        self.host = urlsplit(url).netloc
        awaited(lambda: status(self.host, "GET", "/healthz") == 200 or None)
        self.start = time.monotonic() - begun
        self.token = data.token("operator").read_text().strip()
        self._client = Client(url, self.token)

    def project(self, path: str) -> None:
        """Let Lumper know a repository of the forge."""
        if path not in self._projects:
            self._projects[path] = self._client.post("projects", {"url": self.url(path)})

    def url(self, path: str) -> str:
        """Where a repository is cloned from."""
        return f"{self._git}/{path}.git"

    def run(self, path: str, tag: str, commit: str) -> Run:
        """From the webhook to the pullable tag."""
        begun = time.monotonic()
        self.await_end(self.push(path, tag, commit))
        self.pullable(f"/v2/{path}/manifests/{tag.removeprefix('v')}")
        return Run(time.monotonic() - begun, self._stages(tag))

    def push(self, path: str, tag: str, commit: str) -> int:
        """Deliver the push of a tag, as Gitea does; its build."""
        payload = {
            "ref": f"refs/tags/{tag}",
            "before": "0" * 40,
            "after": commit,
            "repository": {"full_name": path, "clone_url": self.url(path)},
            "pusher": {"login": "bench", "email": "bench@example.org"},
        }
        body = json.dumps(payload).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Gitea-Event": "push",
            "X-Gitea-Delivery": str(uuid.uuid4()),
            "X-Gitea-Signature": hmac.new(self._projects[path]["secret"].encode(), body, hashlib.sha256).hexdigest(),
        }
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request("POST", f"/hooks/gitea/{self._projects[path]['name']}", body, headers)
            [build] = json.load(connection.getresponse())["builds"]
        finally:
            connection.close()
        return int(build)

    def await_end(self, build: int) -> None:
        """Read the build's log until it ends: to ask again and again would cost what is measured."""
        connection = http.client.HTTPConnection(self.host, timeout=300)
        try:
            authorization = {"Authorization": f"Bearer {self.token}"}
            connection.request("GET", f"/api/v1/builds/{build}/log?follow=1", headers=authorization)
            connection.getresponse().read()
        finally:
            connection.close()

    def pullable(self, path: str) -> None:
        """Wait until the registry has this manifest, asking over one connection: to ask must not cost much."""
        login = base64.b64encode(f"operator:{self.token}".encode()).decode()
        connection = http.client.HTTPConnection(self.host, timeout=30)
        begun = time.monotonic()
        try:
            while True:
                connection.request("HEAD", path, headers={"Authorization": f"Basic {login}"})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    return
                waited = time.monotonic() - begun
                if waited > 300:
                    raise SystemExit(f"{path} was not pullable within five minutes")
                if waited > 10:
                    self._complain()
                time.sleep(0.005 if waited < 10 else 0.5)
        finally:
            connection.close()

    def _complain(self) -> None:
        for build in self._client.get("builds", limit=50):
            if build["state"] == "failed":
                raise SystemExit(f"build {build['id']} failed: {build['error']}")

    def _stages(self, tag: str) -> dict[str, float]:
        for build in self._client.get("builds", limit=50):
            if build["ref"] == f"refs/tags/{tag}":
                return {name: took / 1000 for name, took in build["stages"].items()}
        return {}

    def rest(self) -> None:
        """Wait until it does no more of what gives way to builds, such as reading what is in their images."""
        before = -1.0
        while (now := self._worked()) - before > 0.1:
            before = now
            time.sleep(1.0)

    def _worked(self) -> float:
        """Seconds that `lumper up` has had of a processor."""
        told = Path(f"/proc/{self._processes[1].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """The resident memory of `lumper up`, in MB."""
        told = Path(f"/proc/{self._processes[1].pid}/status").read_text()
        return int(told.split("VmRSS:")[1].split()[0]) / 1000

    def _spawn(self, *command: str, more: dict[str, str] | None = None) -> None:
        with (self._folder / "log").open("ab") as log:
            environment = {**os.environ, **(more or {})}
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))

    def stop(self) -> None:
        """End what was started."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait(30)


class Shell:
    """What one would write without Lumper: git, a build with BuildKit and a push, both by the Engine's API."""

    def __init__(self, folder: Path, lumper: Lumper) -> None:
        self._folder = folder / "clones"
        self._folder.mkdir()
        self._lumper = lumper

    def run(self, path: str, tag: str, *, clone: bool) -> Run:
        """Clone (or fetch into the clone of this path), build, push; to the pullable tag."""
        begun = time.monotonic()
        process = self.begin(path, tag, (_CLONE if clone else _FETCH) + _BUILD)
        marks = self.end(process)
        self._lumper.pullable(f"/v2/plain/{path}/manifests/{tag}")
        seconds = time.monotonic() - begun
        self.forget(path, tag)
        return Run(seconds, {"build": marks[1] - marks[0], "push": marks[2] - marks[1]})

    def begin(self, path: str, tag: str, script: str = _BUILD, work: Path | None = None) -> subprocess.Popen[str]:
        """Start the script; without a clone or fetch in it, it builds what lies in `work`."""
        environment = {
            **os.environ,
            "SOCKET": SOCKET,
            "WORK": str(work or self._folder / path.replace("/", "-")),
            "TAG": tag,
            "URL": self._lumper.url(path),
            "IMAGE": f"{self._lumper.host}/plain/{path}",
            "AUTH": registry_auth(Login("operator", self._lumper.token)),
        }
        return subprocess.Popen(["bash", "-ec", script], env=environment, stdout=subprocess.PIPE, text=True)

    def end(self, process: subprocess.Popen[str]) -> list[float]:
        """Wait for the script; when its build began, when its push began, when that ended."""
        output, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"the shell failed: {output[-2000:]}")
        return [float(line) for line in output.split()]

    def forget(self, path: str, tag: str) -> None:
        """Take the name from the engine again."""
        name = quote(f"{self._lumper.host}/plain/{path}:{tag}")
        curl = ["curl", "-sf", "-X", "DELETE", "--unix-socket", SOCKET, f"http://engine/images/{name}?noprune=1"]
        subprocess.run(curl, stdout=subprocess.DEVNULL, check=False)


def warm_up(repository: Repository, lumper: Lumper, shell: Shell) -> str:
    """Have both sides build a repository for the first time; its path at the forge."""
    path = repository.named(f"{repository.case.name}-known")
    lumper.project(path)
    tag = "v0.0.1"
    lumper.run(path, tag, repository.commit(tag, "cold"))
    shell.run(path, tag, clone=True)
    return path


def status(host: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
    """The status of one answer, 0 if there is none."""
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        return connection.getresponse().status
    except ConnectionError:
        return 0
    finally:
        connection.close()


def awaited(look: Callable[[], Found | None]) -> Found:
    """What `look` finds, once it does."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            found = look()
        except FileNotFoundError:
            found = None
        if found:
            return found
        time.sleep(0.005)
    raise SystemExit("a part did not start")
