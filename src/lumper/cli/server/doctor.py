"""`lumper doctor`: is everything here that Lumper needs?"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lumper.build.port import EngineInfo
from lumper.cli.output import Json, show_json, table
from lumper.config.layout import DataFolder
from lumper.config.settings import Config, load
from lumper.errors import LumperError

_LITTLE = 5 << 30  # bytes; below it images soon find no place


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `hint` says what to do when it is not well."""

    name: str
    well: bool
    found: str
    hint: str = ""


def doctor(*, registry: bool = False, data: Path | None = None, config: Path | None = None, json: Json = False) -> None:
    """Check everything that Lumper needs; the status is 1 if something is missing.

    Example: lumper doctor --json

    Parameters
    ----------
    registry
        Look only at what a registry alone needs.
    data
        The data folder.
    config
        The TOML file.
    """
    checks = list(_checks(load(config, overrides={"data": data}), alone=registry))
    if json:
        show_json([vars(check) for check in checks])
    else:
        rows = [("ok" if check.well else "FAILED", check.name, check.found, check.hint) for check in checks]
        table(("", "what", "found", "what to do"), rows, empty="")
    if not all(check.well for check in checks):
        sys.exit(1)


def _checks(config: Config, *, alone: bool) -> Iterator[Check]:
    if not alone:
        yield _git()
    yield _data(config)
    yield _server(config, "registry" if alone else "up")
    yield _database(config)
    yield _storage(config)
    if alone:
        return
    yield _queue(config)
    yield from _engine(config)
    yield _mirrors(config)
    yield _mail(config)


def _git() -> Check:
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S607
    except (OSError, subprocess.SubprocessError) as exc:
        return Check("git", False, str(exc), "Install git.")
    return Check("git", True, done.stdout.strip())


def _data(config: Config) -> Check:
    folder = config.data
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{config.data}, {free >> 30} GiB free"
    if not os.access(folder, os.W_OK):
        return Check("data folder", False, f"{folder} cannot be written", "Choose another one with --data DIR.")
    return Check("data folder", free >= _LITTLE, found, "" if free >= _LITTLE else "Free some space.")


def _server(config: Config, role: str) -> Check:
    url = DataFolder(config.data).server_url()
    if url:
        return Check("server", True, f"runs at {url}")
    host, port = config.listen
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return Check(
                "server", True, f"does not run; {config.server.listen} is free", f"Start it with `lumper {role}`."
            )
    except OSError as exc:
        hint = "Choose another address with --listen HOST:PORT."
        return Check("server", False, f"does not run, and {config.server.listen}: {exc.strerror}", hint)


def _database(config: Config) -> Check:
    from lumper.store.sqlite import look

    url = config.database.url.get_secret_value()
    try:
        if url:
            return Check("database", True, asyncio.run(_about_database(url)))
        return Check("database", True, f"{look(DataFolder(config.data).database)}, in the data folder")
    except LumperError as exc:
        return Check("database", False, exc.message, exc.hint)


async def _about_database(url: str) -> str:
    from lumper.store.database import Database

    database = Database(url)
    try:
        return await database.about()
    finally:
        await database.close()


def _queue(config: Config) -> Check:
    if not config.queue.url.get_secret_value():
        return Check("queue", True, "SQLite in the data folder")
    try:
        waiting = asyncio.run(_depth(config))
    except LumperError as exc:
        return Check("queue", False, exc.message, exc.hint)
    return Check("queue", True, f"RabbitMQ answers; {waiting} events wait")


async def _depth(config: Config) -> int:
    from lumper.wiring.adapters import open_broker

    broker = await open_broker(config, DataFolder(config.data))
    try:
        return await broker.depth("events")
    finally:
        await broker.close()


def _storage(config: Config) -> Check:
    if not config.registry.storage:
        return Check("images", True, "lie in the data folder")
    try:
        asyncio.run(_upload(config))
    except LumperError as exc:
        return Check("images", False, exc.message, exc.hint)
    return Check("images", True, f"lie in {config.registry.storage}, which can be read and written")


async def _upload(config: Config) -> None:
    from lumper.wiring.adapters import open_storage

    storage = open_storage(config, DataFolder(config.data))
    name = f"doctor-{secrets.token_hex(8)}"
    try:
        await storage.begin(name)
        await storage.abort(name)
        await storage.uploads()
    finally:
        await storage.close()


def _engine(config: Config) -> Iterator[Check]:
    try:
        info, cache = asyncio.run(_about_engine(config))
    except LumperError as exc:
        yield Check("engine", False, exc.message, exc.hint)
        return
    yield Check("engine", True, f"{info.version} on {info.platform} at {config.worker.engine}")
    yield from _builder(config)
    yield Check("engine's cache", True, _of(cache, config.worker.engine_disk, "[worker] engine_disk"))


async def _about_engine(config: Config) -> tuple[EngineInfo, int]:
    from lumper.wiring.engines import open_engine

    engine = open_engine(config)
    try:
        return await engine.info(), await engine.cache_size()
    finally:
        await engine.close()


def _builder(config: Config) -> Iterator[Check]:
    from lumper.wiring.engines import open_builder

    builder = open_builder(config)
    if builder is None:
        return
    try:
        info = asyncio.run(builder.info())
    except LumperError as exc:
        yield Check("builder", False, exc.message, exc.hint)
        return
    yield Check("builder", True, f"{info.version} on {info.platform}, for what the engine lacks")


def _mirrors(config: Config) -> Check:
    from lumper.build.source.mirror_keeping import kept_mirrors

    try:
        kept = kept_mirrors(DataFolder(config.data).folder("mirrors"))
    except OSError as exc:
        return Check("git mirrors", False, str(exc), "The worker must be able to write there.")
    size = _of(sum(each.size for each in kept), config.git.mirror_total, "[git] mirror_total")
    return Check("git mirrors", True, f"of {len(kept)} projects, {size}")


def _of(size: int, limit: int, setting: str) -> str:
    """A size beside its limit."""
    allowed = f"of the {limit >> 20:,} MiB of {setting}" if limit else f"without a limit ({setting} is 0)"
    return f"{size >> 20:,} MiB {allowed}"


def _mail(config: Config) -> Check:
    mail = config.mail
    if not mail.host:
        return Check("mail", True, "no SMTP server: mails land in the data folder and in the web UI")
    try:
        with socket.create_connection((mail.host, mail.port), timeout=5) as connection:
            greeting = connection.recv(200).decode("latin-1").strip() if mail.security != "tls" else "connected"
    except OSError as exc:
        return Check("mail", False, f"{mail.host}:{mail.port}: {exc}", "Check [mail] host and port.")
    return Check("mail", True, f"{mail.host}:{mail.port} {greeting}")
