"""The `git` program, run so that nothing reaches it but our own settings and arguments.

The environment is made from scratch, no configuration of the system or of a user is read, nothing can ask a
question, and only the transports http(s) and ssh (local paths where the operator allowed them) are spoken. curl and ssh
are held to the addresses that `lumper.build.source.pinned_address` has judged, and redirects are not followed here at
all.
Credentials travel in the environment of the one process that needs them: neither in arguments, which everybody can
list, nor in a URL, which git writes into messages, nor on disk.

`transfer.fsckObjects` stays off on purpose. It refuses many old and harmless histories (zero-padded modes, dates
without a zone), and what it would find cannot do harm here: nothing is checked out, submodules are never followed,
every object's hash is verified on arrival anyway, and `git archive` itself refuses names such as `..` and `.git`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shlex
import signal
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lumper.errors import SourceError
from lumper.model.source import parse_git_url

CHUNK = 1 << 20
_GRACE = 2.0  # seconds for git to remove its own temporary files before it is killed
_TAIL = 16 << 10  # bytes of standard error that are kept: a hostile server may send without end
_FROM_OPERATOR = (
    *("PATH", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
_SETTINGS = """\
# Written by Lumper at every start: changes are lost.
[core]
    hooksPath = /dev/null
    fsmonitor = false
    attributesFile = /dev/null
    excludesFile = /dev/null
    bigFileThreshold = 16m
[safe]
    bareRepository = explicit
[protocol]
    version = 2
[credential]
    helper =
[gc]
    auto = 0
[maintenance]
    auto = false
[fetch]
    unpackLimit = 1
    recurseSubmodules = false
    writeCommitGraph = false
[submodule]
    recurse = false
[transfer]
    fsckObjects = false
    bundleURI = false
[http]
    followRedirects = false
    lowSpeedLimit = 100
    lowSpeedTime = 60
[tar]
    umask = 0022
"""
# upload-pack, which reads a local repository, is a child that gets no `-c` settings. It runs nothing that the
# repository's own configuration names, so owners other than ours are harmless; the operator allowed the path.
_LOCAL_SETTINGS = """\
[include]
    path = gitconfig
[safe]
    directory = *
"""


@dataclass(frozen=True)
class Access:
    """A repository and how to get in. `credentials` are user name and password (or token) for http(s).

    `pinned` are the addresses that its host is held to, `moves` how many redirects have led here.
    """

    url: str
    local: bool = False
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    pinned: tuple[str, ...] = ()
    moves: int = 0


@dataclass(frozen=True)
class Finished:
    """How a git process ended. `words` is the end of its standard error, printable and without credentials."""

    code: int
    words: str


class Running:
    """A git process on its way."""

    def __init__(self, process: asyncio.subprocess.Process, secrets: tuple[str, ...]) -> None:
        self.process = process
        self._secrets = secrets
        self._stderr: deque[bytes] = deque()
        self._end = asyncio.create_task(self._run_out())

    async def wait(self, timeout: float | None = None) -> Finished | None:
        """How it ended, or None if it still runs after `timeout` seconds. Its standard output must be read by then."""
        await asyncio.wait([self._end], timeout=timeout)
        return self._end.result() if self._end.done() else None

    async def finished(self) -> Finished:
        """Wait for the end."""
        return await asyncio.shield(self._end)

    async def stop(self) -> None:
        """End the whole process group, the transport programs included, and reap it."""
        if not self._end.done():
            self._signal(signal.SIGTERM)
            drain = asyncio.create_task(self._drain())  # a full pipe would hide the end
            try:
                await asyncio.wait([self._end, drain], timeout=_GRACE)
            finally:  # also if we are cancelled once more
                self._signal(signal.SIGKILL)
            await asyncio.wait([self._end, drain])

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    async def _drain(self) -> None:
        while self.process.stdout is not None and await self.process.stdout.read(CHUNK):
            pass

    async def _run_out(self) -> Finished:
        assert self.process.stderr is not None  # noqa: S101 (for the type checker: always a pipe)
        kept = 0
        while data := await self.process.stderr.read(4096):
            self._stderr.append(data)
            kept += len(data)
            while kept > _TAIL and len(self._stderr) > 1:
                kept -= len(self._stderr.popleft())
        code = await self.process.wait()
        return Finished(code, printable(b"".join(self._stderr), self._secrets))


@dataclass(frozen=True)
class Ssh:
    """What git needs for ssh URLs: the private `key`, and the file of trusted host keys.

    The first key that a host shows is noted there and must stay the same from then on; with `strict_host_keys` only
    those count that are in the file already.
    """

    key: Path | None = None
    known_hosts: Path | None = None
    strict_host_keys: bool = False


class Git:
    """Starts git processes. `home` is a folder of ours that holds their settings, and the known hosts unless told."""

    def __init__(self, home: Path, ssh: Ssh | None = None) -> None:
        self._home = home
        self._ssh = ssh or Ssh()
        self._known_hosts = self._ssh.known_hosts or home / "known_hosts"

    def prepare(self) -> None:
        """Write the settings. Blocking."""
        for folder in (self._home.parent, self._home):  # other people's source is nobody's business
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in (("gitconfig", _SETTINGS), ("gitconfig-local", _LOCAL_SETTINGS)):
            temporary = self._home / f"{name}.{uuid.uuid4().hex}"
            temporary.write_text(text)
            temporary.replace(self._home / name)

    @property
    def prepared(self) -> bool:
        """Whether the settings are there: somebody may have made room by hand. Blocking, one look at the disk."""
        return (self._home / "gitconfig").is_file()

    def environment(self, access: Access | None = None, outer: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Everything that a git process may know; variables are documented in git(1)."""
        local = access is not None and access.local
        return {
            "PATH": os.defpath,
            **{name: outer[name] for name in _FROM_OPERATOR if name in outer},
            "HOME": str(self._home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self._home / ("gitconfig-local" if local else "gitconfig")),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": "file" if local else "http:https:ssh",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_SSH_COMMAND": self._ssh_command(_pinned_ssh(access)),
            "GIT_SSH_VARIANT": "ssh",
            **_variables(_authorization(access) | _pinned_http(access)),
        }

    def _ssh_command(self, pinned: Mapping[str, str]) -> str:
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes" if self._ssh.strict_host_keys else "accept-new",
            "UserKnownHostsFile": '"' + str(self._known_hosts).replace("%", "%%") + '"',
            "GlobalKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "ConnectTimeout": "20",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "4",
            "ClearAllForwardings": "yes",
            **pinned,
        }
        words = ["ssh", "-F", "/dev/null"]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        return shlex.join(words + (["-i", str(self._ssh.key)] if self._ssh.key else []))

    @asynccontextmanager
    async def start(
        self,
        mirror: Path,
        *arguments: str,
        access: Access | None = None,
        stdin: int = asyncio.subprocess.DEVNULL,
        stdout: int = asyncio.subprocess.DEVNULL,
        keep_open: tuple[int, ...] = (),
        extra: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Running]:
        """A git process on a bare repository; on leaving, it and its children are gone. `keep_open`: inherited files.

        Raises SourceError where there is no git program.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *("git", "--no-pager", f"--git-dir={mirror}", *arguments),
                stdin=stdin,
                stdout=stdout,
                stderr=asyncio.subprocess.PIPE,
                env=self.environment(access) | dict(extra or {}),
                cwd=self._home,
                pass_fds=keep_open,
                start_new_session=True,
                limit=CHUNK,
            )
        except OSError as exc:
            raise SourceError(f"git cannot be run: {exc.strerror}.", hint="Install git 2.37 or newer.") from exc
        running = Running(process, _secrets(access))
        try:
            yield running
        finally:
            await running.stop()

    async def run(
        self,
        mirror: Path,
        *arguments: str,
        extra: Mapping[str, str] | None = None,
        stdin: int = asyncio.subprocess.DEVNULL,
        data: bytes | None = None,
    ) -> bytes:
        """The standard output of a short command, which gets the open file `stdin` or reads all of `data` first.

        Raises SourceError with git's own words if it fails.
        """
        pipe = asyncio.subprocess.PIPE
        source = stdin if data is None else pipe
        async with self.start(mirror, *arguments, stdin=source, stdout=pipe, extra=extra) as running:
            assert running.process.stdout is not None  # noqa: S101 (for the type checker)
            if running.process.stdin is not None and data is not None:
                with contextlib.suppress(ConnectionError):  # its end tells more
                    running.process.stdin.write(data)
                    await running.process.stdin.drain()
                running.process.stdin.close()
            output = await running.process.stdout.read()
            finished = await running.finished()
        if finished.code:
            raise SourceError(f"git {arguments[0]} failed: {last_words(finished.words)}")
        return output


def _variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings for one process: git-config(1), "GIT_CONFIG_COUNT"."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))} if settings else {}
    for number, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _authorization(access: Access | None) -> dict[str, str]:
    """Basic authentication for one URL."""
    if access is None or access.credentials is None:
        return {}
    token = base64.b64encode(":".join(access.credentials).encode()).decode()
    return {f"http.{access.url}.extraHeader": f"Authorization: Basic {token}"}


def _pinned_http(access: Access | None) -> dict[str, str]:
    """The addresses of the host, so that curl looks nothing up: CURLOPT_RESOLVE(3); git 2.37 and newer."""
    if access is None or not access.pinned or not access.url.startswith(("http://", "https://")):
        return {}
    parts = urlsplit(access.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = ",".join(f"[{address}]" if ":" in address else address for address in access.pinned)
    return {"http.curloptResolve": f"{parts.hostname}:{port}:{addresses}"}


def _pinned_ssh(access: Access | None) -> dict[str, str]:
    """The address of the host, whose key stays known by the host's name: ssh_config(5), known_hosts as sshd(8) says."""
    if access is None or not access.pinned or access.url.startswith(("http://", "https://")):
        return {}
    port = urlsplit(access.url).port if "://" in access.url else None
    host = parse_git_url(access.url).host
    alias = f"[{host}]:{port}" if port and port != 22 else host
    return {"HostName": access.pinned[0], "HostKeyAlias": alias, "CheckHostIP": "no"}


def _secrets(access: Access | None) -> tuple[str, ...]:
    if access is None or access.credentials is None:
        return ()
    username, password = access.credentials
    secrets = (base64.b64encode(f"{username}:{password}".encode()).decode(), password or username)
    return tuple(secret for secret in secrets if len(secret) > 3)


def printable(text: bytes, secrets: tuple[str, ...] = ()) -> str:
    """What git said, without credentials and without anything that a terminal would obey."""
    words = text.decode("utf-8", "replace").replace("\r", "\n")
    words = "".join(c if c.isprintable() or c == "\n" else " " for c in words)
    for secret in secrets:
        words = words.replace(secret, "…")
    return re.sub(r"//[^/@\s]*@", "//…@", words)


def last_words(words: str) -> str:
    """The lines that say what went wrong, in one: the last `fatal:` or `error:`, and what the server said."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    wrong = [line for line in lines if re.match(r"fatal:|error:|ssh:|Host key|(?:\S+: )?Permission denied", line)]
    told = [line for line in lines if line.startswith("remote:")][-3:]
    return " ".join(told + (wrong[-2:] or lines[-2:]))[:1000] or "it said nothing"
