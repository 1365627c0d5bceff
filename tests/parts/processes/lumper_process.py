"""Lumper as a person runs it: `lumper ROLE`, a process of its own that tests kill and start again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from lumper.cli.client import Client
from parts.processes.forked_lumper import ForkedLumper, environment, start
from parts.servers.ports import free_ports
from parts.suite.waiting import wait_for

NO_ENGINE = {"worker.engine": "unix:///nonexistent/docker.sock", "deploy.engine": "unix:///nonexistent/docker.sock"}
_END = 60.0


def as_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Options by their dotted keys, as variables."""
    return {f"LUMPER_{key}".upper().replace(".", "_"): value for key, value in settings.items()}


class LumperProcess:
    """One role over a data folder. `settings` are options by their dotted keys, given in the environment at each start.

    A context that starts it, and at its end lets it end in order. `fresh`: it shares no memory with other processes.
    """

    def __init__(self, role: str, data: Path, settings: dict[str, str], *arguments: str, fresh: bool = False) -> None:
        self.data = data
        self.arguments = (role, "--data", str(data), *arguments)
        self._fresh = fresh
        self.settings = dict(settings)
        self.back_at = 0.0
        self._said_before = 0
        self._output = data.with_name(f"{data.name}.{role}.log")
        self._process: ForkedLumper | subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LumperProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, in a session of its own."""
        self.data.mkdir(parents=True, exist_ok=True)
        self._said_before = len(self.said)
        with self._output.open("ab") as output:
            self._process = self._started(environment(as_environment(self.settings)), output)

    def _started(self, settings: Mapping[str, str], output: IO[bytes]) -> ForkedLumper | subprocess.Popen[bytes]:
        return start(self.arguments, settings, out=output, session=True, fresh=self._fresh)

    def kill(self) -> None:
        """As `kill -9` does."""
        assert self._process is not None and self.running, self.said
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Start it again after `kill`. `back_at` is when that was done, as seconds of the epoch."""
        self.start()
        self.back_at = time.time()

    def end(self) -> None:
        """Ask it to end, as a service manager does; it must do so, and without an error."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            assert self._process.wait(_END) == 0, self.said
            assert "Unclosed" not in self.said, self.said  # what aiohttp says of connections that were forgotten
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise

    @property
    def said(self) -> str:
        """All that it has printed and logged, over all its lives."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    @property
    def said_since_start(self) -> str:
        """What it has printed and logged in its present life."""
        return self.said[self._said_before :]

    def wait_until_said(self, words: str, seconds: float = 60) -> None:
        """Wait until these words are in the log of its present life."""
        try:
            wait_for(lambda: words in self.said_since_start, f"{words!r} in the log", seconds)
        except TimeoutError as exc:
            raise TimeoutError(f"{exc}:\n{self.said}") from None


class LumperServer(LumperProcess):
    """`lumper up` or `lumper server`, always on the same free port of loopback.

    `behind_tls`: that port is the local one, and `settings` say what is listened on besides.
    """

    def __init__(
        self,
        data: Path,
        settings: dict[str, str] | None = None,
        *,
        role: str = "up",
        behind_tls: bool = False,
        fresh: bool = False,
    ) -> None:
        (self.port,) = free_ports(1)
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        if behind_tls:
            super().__init__(role, data, {**(settings or {}), "server.local_listen": self.address}, fresh=fresh)
        else:
            super().__init__(role, data, settings or {}, "--listen", self.address, fresh=fresh)

    def __enter__(self) -> LumperServer:
        self.start()
        return self

    def start(self) -> None:
        """Start it and wait until it answers."""
        super().start()
        try:
            wait_for(lambda: (self._announced() and self._answers()) or not self.running, "answer of the server")
            assert self.running, self.said
        except BaseException:
            self._end_at_once()
            raise

    @property
    def client(self) -> Client:
        """The API, with the token of whoever owns the data folder."""
        return Client(self.url, (self.data / "tokens" / "operator").read_text().strip())

    @property
    def setup_link(self) -> str:
        """The last one-time link for the first admin."""
        return str(re.findall(r"http://\S+/setup\?token=\S+", self.said)[-1])

    def _announced(self) -> bool:
        """Whether this process, not an earlier one or another one on its port, says that it serves the folder."""
        assert self._process is not None
        try:
            return bool(json.loads((self.data / "server.json").read_text())["pid"] == self._process.pid)
        except (FileNotFoundError, ValueError):  # ValueError: half of it is there after a power failure
            return False

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _end_at_once(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
