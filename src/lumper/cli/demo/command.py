"""`lumper demo`: the whole line on a small real repository."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from lumper.cli.client import Client, Target, connect
from lumper.cli.demo import clean
from lumper.cli.demo.repository import Repository
from lumper.cli.demo.watch import Stopwatch, watch_build, watch_mail, watch_rollout
from lumper.cli.output import plain, warn
from lumper.config.layout import DataFolder
from lumper.errors import LumperError
from lumper.notify.port import MailReader

_PREFIX = "lumper-demo-"


def demo(
    *,
    keep: bool = False,
    stop: bool = False,
) -> None:
    """Show the whole line: a repository, three tags, a running container, its replacement, a failure and the mails.

    Example: lumper demo --keep

    Parameters
    ----------
    keep
        Leave it running to click around; `lumper demo --stop` ends it.
    stop
        End and remove every demo that was left running.
    """
    if stop:
        for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
            clean.remove(folder)
            print(f"Removed {folder}.")
        return
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    before = clean.build_cache()
    (folder / "before.json").write_text(json.dumps(sorted(before)))
    done = False
    try:
        _Demo(folder).run()
        done = True
    finally:
        if not (keep and done):
            clean.remove(folder)
    if keep:
        print("\nIt is left running; `lumper demo --stop` ends it and removes everything.")
    else:
        print("\nThe demo has removed what it made; `lumper demo --keep` leaves it running to click around.")


class _Demo:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        service = f"hello-{secrets.token_hex(3)}"
        (folder / "repositories" / "demo").mkdir(parents=True)
        self._repository = Repository(
            folder / "repositories" / "demo" / "hello.git", folder / "hello", service, _free_port()
        )
        (folder / "service").write_text(service)

    def run(self) -> None:
        """The scenes, one after the other."""
        self._repository.create()
        forge_port = self._start_forge()
        address = self._start_lumper()
        with connect(Target(data=self._data)) as client:
            clone_url = f"http://127.0.0.1:{forge_port}/demo/hello.git"
            project = client.post("projects", {"url": clone_url})
            self._repository.connect(clone_url, project["repository"], project["hooks"]["gitea"], project["secret"])
            print(f"\n{address}\nA project: {project['url']}, with a webhook at {project['hooks']['gitea']}")
            self._release(client, "v0.0.1")
            self._release(client, "v0.0.2")
            self._failing_release(client, "v0.0.3")
            print("\nWhat runs now, still:")
            self._curl("v0.0.2")
        print(f"\n{address}")

    def _release(self, client: Client, tag: str) -> None:
        clock = self._push(tag)
        build = watch_build(client, tag, clock)
        _expect(build["state"], "succeeded", f"the build of {tag}")
        watch_mail(self._subjects, f"{tag} built", clock)
        rollout = watch_rollout(client, build["id"], clock)
        _expect(rollout["state"], "succeeded", f"the rollout of {tag}")
        self._curl(tag, clock)

    def _failing_release(self, client: Client, tag: str) -> None:
        clock = self._push(tag, broken=True)
        build = watch_build(client, tag, clock)
        _expect(build["state"], "failed", f"the build of {tag}")
        watch_mail(self._subjects, f"{tag} failed", clock)
        print("\nThe mail:")
        for line in self._mail_text(f"{tag} failed").splitlines():
            print(f"  | {plain(line)}")

    def _push(self, tag: str, *, broken: bool = False) -> Stopwatch:
        print(f"\n$ git tag {tag} && git push --tags{'      (its Dockerfile fails)' if broken else ''}")
        clock = Stopwatch(time.time())
        clock.show("webhook", self._repository.release(tag, broken=broken))
        return clock

    def _curl(self, tag: str, clock: Stopwatch | None = None) -> None:
        url = f"http://127.0.0.1:{self._repository.port}/"
        with urllib.request.urlopen(url, timeout=10) as response:
            page = response.read().decode().strip()
        (clock or Stopwatch(time.time())).show("run", f"curl {url} → {page}")
        if tag not in page:
            raise LumperError(f"The container should have answered with {tag}.")

    def _subjects(self) -> list[str]:
        return [mail.subject for mail in asyncio.run(self._mails().list_messages())]

    def _mail_text(self, wanted: str) -> str:
        reader = self._mails()
        key = next(mail.key for mail in asyncio.run(reader.list_messages()) if wanted in mail.subject)
        mail = asyncio.run(reader.read_message(key))
        return mail.text if mail else ""

    def _mails(self) -> MailReader:
        from lumper.notify.channels.maildir import MaildirReader

        return MaildirReader(self._data / "mail")

    def _start_forge(self) -> int:
        folder = self._folder / "repositories"
        process = self._spawn("forge", sys.executable, "-m", "lumper.cli.demo.forge", str(folder))
        _wait(process, (folder / "port").exists, "the demo's forge", self._folder / "forge.log")
        return int((folder / "port").read_text())

    def _start_lumper(self) -> str:
        begun = time.monotonic()
        process = self._spawn(
            "lumper", sys.executable, "-m", "lumper", "up", "--listen", "127.0.0.1:0", "--data", str(self._data)
        )
        output = self._folder / "lumper.out"
        _wait(process, lambda: "admin" in output.read_text(), "lumper up", self._folder / "lumper.log")
        print(f"lumper up answered after {round((time.monotonic() - begun) * 1000)} ms", flush=True)
        url = DataFolder(self._data).server_url()
        with urllib.request.urlopen(f"{url}/healthz", timeout=10) as response:  # noqa: S310
            _expect(str(response.status), "200", "the server's health")
        return output.read_text().strip()

    def _spawn(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """A process of the demo's own, in a session of its own, whose id is kept for the end."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LUMPER_")}
        with (self._folder / f"{name}.out").open("wb") as out, (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=environment, start_new_session=True
            )
        (self._folder / f"{name}.pid").write_text(str(process.pid))
        return process


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], what: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            warn(log.read_text()[-2000:])
            raise LumperError(f"{what} did not start; its last words are above.")
        time.sleep(0.01)


def _expect(found: str, wanted: str, what: str) -> None:
    if found != wanted:
        raise LumperError(f"{what} should be {wanted} and is {found}.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
