"""Configuration to adapters to roles: the only place that knows them all.

Adapters are imported where they are chosen, so that an extra that is not used need not be installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from aiohttp import web

from lumper.build.checkout import Limits, Mirrors
from lumper.build.port import Engine
from lumper.build.port import Login as EngineLogin
from lumper.build.run import Builder, GitCredentials
from lumper.config import Config
from lumper.deploy.port import Host
from lumper.deploy.port import Login as HostLogin
from lumper.errors import Conflict, Invalid, StorageError
from lumper.history.store import History, open_history
from lumper.hooks.port import Forge
from lumper.layout import DataFolder
from lumper.model.links import Links
from lumper.model.people import Role
from lumper.notify.port import Channel
from lumper.queue.codec import encode
from lumper.queue.port import Broker
from lumper.registry.gc import Policy
from lumper.registry.port import Storage
from lumper.registry.registry import Registry
from lumper.roles.base import run_until_signal, supervise
from lumper.roles.deployer import Deployer
from lumper.roles.mailer import Mailer, ReadLog
from lumper.roles.remote import RemoteServer
from lumper.roles.server import Server
from lumper.roles.worker import Worker

Announce = Callable[[str, str], None]
"""Told, once the port is open, the public URL and the one-time admin link ("" when there is an admin already)."""


def open_forges() -> list[Forge]:
    """All forges whose webhooks are understood."""
    from lumper.hooks.forges.gitea import Gitea
    from lumper.hooks.forges.github import GitHub

    return [GitHub(), Gitea()]


async def open_broker(config: Config, folder: DataFolder) -> Broker:
    """The broker that [queue] url names. Raises Invalid for a kind of URL that there is none for."""
    url = config.queue.url.get_secret_value()
    match url.partition(":")[0]:
        case "":
            from lumper.queue.brokers.sqlite import SqliteBroker

            return SqliteBroker(folder.queue)
        case "amqp" | "amqps":
            try:
                from lumper.queue.brokers.rabbitmq import RabbitBroker
            except ModuleNotFoundError as exc:
                hint = "Install it with pip install 'lumper[rabbitmq]'."
                raise Invalid("RabbitMQ needs the Python package aio-pika.", hint=hint) from exc
            return RabbitBroker(url)
        case other:
            raise Invalid(
                f"[queue] url begins with {other}:, and no such broker is known.", hint="Use amqp:// or leave it empty."
            )


def open_engine(config: Config) -> Engine:
    """The engine that builds."""
    from lumper.build.engines.buildkit.engine import BuildKitEngine

    return BuildKitEngine(config.worker.engine)


def open_host(config: Config) -> Host:
    """The host that services run on."""
    from lumper.deploy.hosts.docker import DockerHost

    return DockerHost(config.deploy.host, config.deploy.engine)


def open_channels(config: Config, folder: DataFolder) -> tuple[Channel, Channel]:
    """The channel for reports, and the one for what it refuses."""
    from lumper.notify.channels.maildir import MaildirChannel

    maildir = MaildirChannel(folder.folder("mail"), sender=config.mail.sender)
    if not config.mail.host:
        return maildir, maildir
    from lumper.notify.channels.email import EmailChannel

    mail = config.mail
    channel = EmailChannel(
        mail.host,
        mail.port,
        sender=mail.sender,
        username=mail.username,
        password=mail.password.get_secret_value(),
        security=mail.security,
        timeout=mail.timeout,
        ca_file=mail.ca_file,
    )
    return channel, maildir


@dataclass(frozen=True)
class Addresses:
    """What follows from where the server listens. `local` is HOST:PORT for programs on this machine."""

    local: str
    links: Links


def addresses(config: Config, port: int) -> Addresses:
    """The instance's addresses, `port` being the one that was really bound."""
    host, _ = config.listen
    near = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    local = f"{near}:{port}"
    public = config.server.public_url.rstrip("/") or f"http://{local}"
    return Addresses(local, Links(public, public.partition("://")[2], config.deploy.registry or local))


def bind(config: Config) -> socket.socket:
    """The listening socket of [server] listen. Raises StorageError if the port is taken or not allowed."""
    host, port = config.listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024, reuse_port=False)
    except OSError as exc:
        raise Conflict(
            f"Lumper cannot listen on {config.server.listen}: {exc.strerror}.",
            hint="Choose another address with --listen HOST:PORT.",
        ) from exc


@contextlib.asynccontextmanager
async def _history(config: Config, folder: DataFolder, links: Links) -> AsyncIterator[History]:
    url = config.database.url.get_secret_value() or folder.database_url
    history = open_history(url, folder.folder("logs"), links, encode)
    try:
        await history.database.migrate()
        for role in (Role.OPERATOR, Role.WORKER, Role.MAILER, Role.DEPLOYER):
            await history.accounts.ensure_token(role.value, role, folder.token(role.value))
        yield history
    finally:
        await history.database.close()


def open_storage(config: Config, folder: DataFolder) -> Storage:
    """Where images lie, as [registry] storage says. Raises Invalid for what is not known, or not whole."""
    registry = config.registry
    match registry.storage.partition(":")[0]:
        case "":
            from lumper.registry.storage.filesystem import FilesystemStorage

            return FilesystemStorage(folder.folder("registry"))
        case "s3":
            secret = registry.secret_access_key.get_secret_value()
            if not registry.access_key_id or not secret:
                raise Invalid(
                    "[registry] storage is an S3 bucket, and there is no key for it.",
                    hint="Set [registry] access_key_id and LUMPER_REGISTRY_SECRET_ACCESS_KEY_FILE.",
                )
            try:
                from lumper.registry.storage.s3 import S3Storage
            except ModuleNotFoundError as exc:
                hint = "Install it with pip install 'lumper[s3]'."
                raise Invalid("An S3 bucket needs the Python package obstore.", hint=hint) from exc
            return S3Storage(
                registry.storage,
                endpoint=registry.endpoint,
                region=registry.region,
                access_key_id=registry.access_key_id,
                secret_access_key=secret,
                ca_file=registry.ca_file,
                redirect=registry.redirect,
            )
        case other:
            raise Invalid(
                f"[registry] storage begins with {other}:, and no such storage is known.",
                hint="Use s3://BUCKET/PREFIX or leave it empty.",
            )


def open_registry(config: Config, storage: Storage, history: History) -> Registry:
    """The registry over its storage and its metadata."""
    grace = timedelta(seconds=config.registry.gc_grace)
    return Registry(storage, history.images, Policy(grace, untagged=config.registry.untagged == "delete"))


def _app(
    config: Config, folder: DataFolder, history: History, broker: Broker, registry: Registry, links: Links
) -> web.Application:
    from lumper.notify.channels.maildir import MaildirReader
    from lumper.roles.receiver import HistoryReceiver
    from lumper.web.app import make_app
    from lumper.web.tokens import Keys

    return make_app(
        history,
        broker,
        registry,
        Keys(folder.folder("keys") / "registry.pem"),
        HistoryReceiver(history),
        open_forges(),
        MaildirReader(folder.folder("mail")),
        links,
        allow_local=config.git.allow_local,
        public_url=config.server.public_url,
        anonymous=config.registry.anonymous,
    )


def _worker(
    config: Config, folder: DataFolder, broker: Broker, registry: str, token: str, git: GitCredentials
) -> Worker:
    ssh = folder.folder("ssh")
    mirrors = Mirrors(
        folder.folder("mirrors"),
        limits=Limits(timeout=config.git.timeout, max_bytes=config.git.max_size),
        ssh_key=config.git.ssh_key or ssh / "id_ed25519",
        known_hosts=config.git.ssh_known_hosts or ssh / "known_hosts",
        strict_host_keys=config.git.ssh_known_hosts is not None,
    )
    login = EngineLogin("worker", token)
    builder = Builder(
        open_engine(config), mirrors, config.worker.registry or registry, login, git, config.worker.build_timeout
    )
    return Worker(
        broker,
        builder,
        name=config.worker.name,
        concurrency=config.worker.concurrency,
        spool=folder.folder("spool"),
    )


def _mailer(config: Config, folder: DataFolder, broker: Broker, read_log: ReadLog) -> Mailer:
    channel, fallback = open_channels(config, folder)
    return Mailer(broker, channel, fallback, read_log, people=config.mail.people, admin=config.mail.admin)


def _deployer(config: Config, broker: Broker, token: str) -> Deployer:
    async def credentials(_image: str) -> HostLogin:
        return HostLogin("deployer", token)

    return Deployer(broker, open_host(config), credentials)


async def run_server(config: Config, announce: Announce, roles: frozenset[Role]) -> None:
    """The server, with these roles in its process, until a signal comes: all for `lumper up`, none for a registry."""
    folder = DataFolder(config.data)
    folder.prepare()
    async with AsyncExitStack() as stack:
        stack.enter_context(folder.lock())
        listener = stack.enter_context(bind(config))
        where = addresses(config, listener.getsockname()[1])
        history = await stack.enter_async_context(_history(config, folder, where.links))
        broker = await open_broker(config, folder)
        stack.push_async_callback(broker.close)
        storage = open_storage(config, folder)
        stack.push_async_callback(storage.close)
        registry = open_registry(config, storage, history)
        app = _app(config, folder, history, broker, registry, where.links)
        server = Server(app, listener, history, registry, broker, gc_interval=config.registry.gc_interval)
        parts = [server.run(), _announced(server, folder, history, where, announce)]
        if Role.WORKER in roles:

            async def git(project_id: str) -> tuple[str, str] | None:
                project = await history.projects.get(project_id)
                return (project.username, project.password) if project.username or project.password else None

            worker = _worker(config, folder, broker, where.local, _token(folder, Role.WORKER), git)
            parts.append(supervise("worker", worker.run))
        if Role.MAILER in roles:

            async def read_log(build_id: int, attempt: int) -> bytes:
                return b"".join([chunk async for chunk in history.logs.read(build_id, attempt)])

            parts.append(supervise("mailer", _mailer(config, folder, broker, read_log).run))
        if Role.DEPLOYER in roles:
            deployer = _deployer(config, broker, _token(folder, Role.DEPLOYER))
            parts.append(supervise("deployer", deployer.run))
        await run_until_signal(*parts)


async def _announced(
    server: Server, folder: DataFolder, history: History, where: Addresses, announce: Announce
) -> None:
    await server.ready.wait()
    link = ""
    if not await history.accounts.users():
        link = f"{where.links.public_url}/setup?token={await history.accounts.create_setup_token()}"
    with folder.announced(f"http://{where.local}"):
        announce(where.links.public_url, link)
        await asyncio.Event().wait()


def _token(folder: DataFolder, role: Role, file: Path | None = None) -> str:
    path = file or folder.token(role.value)
    try:
        return path.read_text().strip()
    except OSError as exc:
        raise StorageError(
            f"The token of the {role.value} cannot be read from {path}: {exc.strerror}.",
            hint="The server writes it at its first start; elsewhere, copy it and set [connect] token_file.",
        ) from exc


@contextlib.asynccontextmanager
async def _remote_role(config: Config, role: Role) -> AsyncIterator[tuple[DataFolder, Broker, RemoteServer, str]]:
    """What a role on its own has: the queue, the server over HTTP, and its token."""
    folder = DataFolder(config.data)
    if not config.queue.url.get_secret_value() and not folder.queue.exists():
        raise Invalid(
            f"`lumper {role.value}` on its own needs a queue that it shares with the server.",
            hint="Set [queue] url to amqp://…, or run `lumper up`, which has all roles in one process.",
        )
    folder.prepare()
    token = _token(folder, role, config.connect.token_file)
    broker = await open_broker(config, folder)
    try:
        async with RemoteServer(_server_url(config, folder), token) as server:
            yield folder, broker, server, token
    finally:
        await broker.close()


def _server_url(config: Config, folder: DataFolder) -> str:
    own = folder.server_url() or f"http://{addresses(config, config.listen[1]).local}"
    return config.connect.server.rstrip("/") or own


async def run_worker(config: Config) -> None:
    """`lumper worker`, until a signal comes."""
    async with _remote_role(config, Role.WORKER) as (folder, broker, server, token):
        registry = _server_url(config, folder).partition("://")[2]
        await run_until_signal(_worker(config, folder, broker, registry, token, server.git_credentials).run())


async def run_mailer(config: Config) -> None:
    """`lumper mailer`, until a signal comes."""
    async with _remote_role(config, Role.MAILER) as (folder, broker, server, _):
        await run_until_signal(_mailer(config, folder, broker, server.read_log).run())


async def run_deployer(config: Config) -> None:
    """`lumper deployer`, until a signal comes."""
    async with _remote_role(config, Role.DEPLOYER) as (_, broker, _server, token):
        await run_until_signal(_deployer(config, broker, token).run())


@contextlib.contextmanager
def serve_in_thread(config: Config) -> Iterator[str]:
    """The API over the data folder for one command, while no server runs; its URL on loopback.

    Raises Conflict if a server runs with this folder after all.
    """
    folder = DataFolder(config.data)
    folder.prepare()
    ready: list[str] = []
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        own = config.model_copy(update={"server": config.server.model_copy(update={"listen": "127.0.0.1:0"})})
        async with AsyncExitStack() as stack:
            stack.enter_context(folder.lock())
            listener = stack.enter_context(bind(own))
            links = addresses(config, config.listen[1]).links
            history = await stack.enter_async_context(_history(config, folder, links))
            broker = await open_broker(config, folder)
            stack.push_async_callback(broker.close)
            storage = open_storage(config, folder)
            stack.push_async_callback(storage.close)
            app = _app(config, folder, history, broker, open_registry(config, storage, history), links)
            runner = web.AppRunner(app, access_log=None, auto_decompress=False)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.SockSite(runner, listener).start()
            ready.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
            started.set()
            await asyncio.to_thread(stop.wait)

    with ThreadPoolExecutor(1) as executor:
        serving = executor.submit(lambda: asyncio.run(serve()))
        serving.add_done_callback(lambda _: started.set())
        started.wait()
        try:
            if not ready:
                serving.result()  # raises what went wrong
            yield ready[0]
        finally:
            stop.set()
