"""A private RabbitMQ node on loopback: own ports, own port mapper, own data, own name.

Neither a Debian service on the default ports nor another test run is touched: every port is picked free below 32768,
where the kernel takes none for outgoing connections, and the port mapper (epmd) is a child of the test process.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from parts.servers.ports import free_ports
from parts.suite.needs import lacking

_PROGRAMS = Path("/usr/lib/rabbitmq/bin")
_START_TIMEOUT = 150.0
_STOP_TIMEOUT = 30.0
_KERNEL = "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none"


class RabbitNode:
    """One node with the user `lumper`. `kill` is a power cut, `start` brings it back with the data it had."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port, self._dist_port, self._epmd_port = free_ports(3)
        self.password = secrets.token_hex(8)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None
        self._write_configuration()

    @property
    def url(self) -> str:
        """The node's default virtual host, with user and password."""
        return self._url_of("%2F")

    async def fresh_url(self) -> str:
        """A new, empty virtual host: for a test that needs topics of well-known names. Takes about a second."""
        name = f"test-{secrets.token_hex(4)}"
        await asyncio.to_thread(self.control, "add_vhost", name)
        await asyncio.to_thread(self.control, "set_permissions", "-p", name, "lumper", ".*", ".*", ".*")
        return self._url_of(name)

    def start(self) -> None:
        """Start the node and wait until it answers. After `kill` or `stop` it has its data again."""
        if self._epmd is None:
            epmd = shutil.which("epmd") or "epmd"
            command = [epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _wait_until(lambda: _answers(self._epmd_port), self._epmd, "the port mapper")
        with (self._folder / "out").open("ab") as output:
            self._node = subprocess.Popen(
                [_PROGRAMS / "rabbitmq-server"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            _wait_until(lambda: _speaks_amqp(self.port), self._node, f"RabbitMQ (see {self._folder})")
        except BaseException:
            self.kill()
            raise

    def wait_until_kept(self, queue: str) -> None:
        """Wait until a new queue survives `kill`: before 4.0, that takes half a second after its declaration.

        https://github.com/rabbitmq/ra/pull/443
        """
        end = time.monotonic() + _START_TIMEOUT
        entry = re.compile(re.escape(queue).encode() + rb"(?!\.)")  # a dead letter queue begins with its topic's name
        while not any(entry.search(names.read_bytes()) for names in self._folder.glob("mnesia/*/quorum/*/names.dets")):
            if time.monotonic() > end:
                raise RuntimeError(f"RabbitMQ has not written down its queue {queue}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the node at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the node in order."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """End everything for good."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl`; what it printed."""
        done = self._control(*arguments)
        if "'rabbit' app to be running" in done.stdout + done.stderr:  # it answers a moment before it says that it runs
            self._control("await_startup")
            done = self._control(*arguments)
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def _control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(_PROGRAMS / "rabbitmqctl"), "-q", *arguments]
        return subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, timeout=150, check=False
        )

    def _end(self, how: signal.Signals) -> None:
        pid, shell = self._erlang_pid(), self._node
        self._node = None
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        if shell is None:
            return
        try:
            shell.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        self._pid_file.unlink(missing_ok=True)

    @property
    def _pid_file(self) -> Path:
        return self._folder / "pid"

    def _erlang_pid(self) -> int | None:
        """The Erlang machine below the start script; the id is only believed while it belongs to one."""
        try:
            pid = int(self._pid_file.read_text())
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError):
            return None
        return pid if name == "beam.smp" else None

    def _url_of(self, virtual_host: str) -> str:
        return f"amqp://lumper:{self.password}@127.0.0.1:{self.port}/{virtual_host}"

    def _write_configuration(self) -> None:
        for name in ("mnesia", "log"):
            (self._folder / name).mkdir(parents=True)
        cookie = self._folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16).upper())
        cookie.chmod(0o400)
        (self._folder / "enabled_plugins").write_text("[].\n")
        (self._folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "default_user = lumper\n"
            f"default_pass = {self.password}\n"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "disk_free_limit.absolute = 50MB\n"
            "log.file.level = info\n"
        )

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_CRASH_DUMP": str(folder / "erl_crash.dump"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": f"lumper{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self._pid_file),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _KERNEL,
        }


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """A running node for the whole test run. A test that kills it starts it again."""
    if not (_PROGRAMS / "rabbitmq-server").exists():
        lacking("rabbitmq-server is not installed (`apt-get install rabbitmq-server`)")
    node = RabbitNode(tmp_path_factory.mktemp("rabbitmq"))
    try:
        node.start()
        yield node
    finally:
        node.close()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _speaks_amqp(port: int) -> bool:
    """Whether the broker answers the protocol header (AMQP 0-9-1, section 4.2.2) with its first method frame."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.settimeout(5)
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(1) == b"\x01"
    return False


def _wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], name: str) -> None:
    end = time.monotonic() + _START_TIMEOUT
    while not condition():
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode} instead of starting")
        if time.monotonic() > end:
            raise RuntimeError(f"{name} was not ready after {_START_TIMEOUT:.0f} s")
        time.sleep(0.05)
