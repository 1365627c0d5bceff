"""A private PostgreSQL on a socket and a port of loopback, with its data in a temporary folder."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from lumper.store.database import Database
from lumper.store.tables import metadata
from parts.servers.ports import free_ports
from parts.suite.needs import lacking
from parts.suite.waiting import wait_for

_START_TIMEOUT = 120
# Sorting by a language's rules, as a person's own cluster may have it: what has to sort by bytes must say so itself.
_INIT = ("--auth=scram-sha-256", "--username=lumper", "--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8")
_QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=32MB", "max_connections=200")

_END_OTHERS = (
    b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    b" WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class PostgresServer:
    """A server with the user `lumper`. `kill` ends it at once, `start` brings it back with what was committed."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs
        self._password = secrets.token_hex(8)
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL does not run as root
        self._made = 0
        self._ready = ""
        self._init()

    def _init(self) -> None:
        password = self.folder / "password"
        password.write_text(self._password)
        if self._user:
            shutil.chown(self.folder, self._user)
            shutil.chown(password, self._user)
        command: list[str | Path] = [
            self._programs / "initdb",
            "-D",
            self._data,
            f"--pwfile={password}",
            "--no-sync",
            "-E",
            "UTF8",
            *_INIT,
        ]
        done = subprocess.run(command, user=self._user, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb: {done.stdout}{done.stderr}")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.folder}",
            *_QUICK,
        )
        options = [part for setting in settings for part in ("-c", setting)]
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options],
                user=self._user,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for(self._answers, f"answer of PostgreSQL (see {self.folder}/log)", _START_TIMEOUT)

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """End it at once, with all connections; what was committed is there at the next start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None

    def cut(self, url: str) -> None:
        """End all connections to this database."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_END_OTHERS)

    @contextmanager
    def standby_away(self, url: str) -> Iterator[None]:
        """Whoever connects to this database meanwhile waits at each COMMIT, for a standby that is not there."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as admin, ThreadPoolExecutor(1) as thread:
            name = url.rpartition("/")[2].encode()
            admin.execute(b"ALTER DATABASE " + name + b" SET synchronous_commit = on")
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            try:
                admin.execute("SELECT pg_reload_conf()")
                waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                committing = thread.submit(self._commit, url)

                def waits() -> bool:
                    nonlocal committing
                    if committing.done():  # the server had not noticed yet
                        committing.result()
                        committing = thread.submit(self._commit, url)
                    return admin.execute(waiting).fetchone() == (1,)

                wait_for(waits, "a COMMIT that waits for the standby")
                yield
            finally:
                admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
                admin.execute("SELECT pg_reload_conf()")
                admin.execute(b"ALTER DATABASE " + name + b" RESET synchronous_commit")

    def _commit(self, url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("SELECT pg_logical_emit_message(true, 'try', '')")

    def url(self, name: str) -> str:
        """The URL of a database, as `[database] url` takes it."""
        return f"postgresql://lumper:{self._password}@127.0.0.1:{self.port}/{name}"

    def fresh(self) -> str:
        """The URL of a new database."""
        self._made += 1
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE t{self._made}".encode())
        return self.url(f"t{self._made}")

    def ready(self) -> str:
        """The URL of a database with Lumper's tables, all of them empty: the same for every test, which is quicker."""
        if not self._ready:
            self._ready = self.fresh()
            with ThreadPoolExecutor(1) as thread:  # an event loop may run in this one
                thread.submit(lambda: asyncio.run(_migrated(self._ready))).result()
        self.cut(self._ready)
        with psycopg.connect(self._ready, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE".encode())
        return self._ready


async def _migrated(url: str) -> None:
    database = Database(url)
    await database.migrate()
    await database.close()


def programs() -> Path | None:
    """Where initdb and postgres are, if they are installed."""
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), "")
    return Path(found).resolve().parent if found else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server for the whole test run. A test that kills it starts it again."""
    found = programs()
    if found is None:
        lacking("PostgreSQL is not installed (`apt-get install postgresql`)")
    with tempfile.TemporaryDirectory(prefix="lumper-postgres-") as folder:
        server = PostgresServer(Path(folder), found)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database with Lumper's tables, of each kind: a test that asks for it runs on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/lumper.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.ready()
