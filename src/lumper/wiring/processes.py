"""What a command runs: everything, the server, one role, or the API for one command."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from aiohttp import web

from lumper.config.layout import DataFolder
from lumper.config.settings import Config
from lumper.errors import Invalid, StorageFull
from lumper.line.history import History
from lumper.logs import get_logger
from lumper.model.links import Links
from lumper.model.people.people import Role
from lumper.queue.port import Broker
from lumper.roles.base import run_until_signal, supervise
from lumper.roles.remote import RemoteServer
from lumper.roles.server import Listeners, Server
from lumper.wiring.adapters import open_broker, open_certificate
from lumper.wiring.addresses import addresses, bind
from lumper.wiring.assembly import assemble_app, assemble_duties, open_instance, token_of

_SWITCH_SECONDS = 0.0005
"""How long a thread that came back from the disk waits for one that computes: Python's own 5 ms add up on the way of a
build, which goes to the disk and back some fifty times."""

_OPEN_FILES = 65_536

_LOCAL_HINT = "Set [server] local_listen to another address of loopback."

log = get_logger(__name__)

Announce = Callable[[str, str], None]
"""Told, once the port is open, the public URL and the one-time admin link ("" when there is an admin already)."""


async def run_server(config: Config, announce: Announce, roles: frozenset[Role], *, alone: bool = False) -> None:
    """The server, with these roles in its process, until a signal comes: all for `lumper up`, none for a registry.

    `alone`: its pages show that registry and nothing else.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    _take_open_files()
    folder = DataFolder(config.data)
    folder.prepare()
    async with AsyncExitStack() as stack:
        stack.enter_context(folder.lock())
        listener = stack.enter_context(bind(config.server.listen))
        tls = open_certificate(config)
        local = stack.enter_context(bind(config.server.local_listen, hint=_LOCAL_HINT)) if tls else None
        links = addresses(config, listener.getsockname()[1], local.getsockname()[1] if local else 0)
        instance = await stack.enter_async_context(open_instance(config, folder, links))
        history, broker = instance.history, instance.broker
        app = assemble_app(instance, alone=alone)
        server = Server(app, Listeners(listener, tls, local), assemble_duties(instance).parts())
        parts = [server.run(), _announced(server, folder, history, links, announce)]
        if Role.WORKER in roles:
            from lumper.wiring.roles import assemble_worker, entrust_builds, sign_in_builds

            git, entrust = history.projects.git_login, entrust_builds(history, links)
            worker = assemble_worker(
                config, folder, broker, links.local, sign_in_builds(folder), git, entrust, f"http://{links.local}"
            )
            parts.append(supervise("worker", worker.run))
        if Role.MAILER in roles:
            from lumper.wiring.roles import assemble_mailer

            parts.append(supervise("mailer", assemble_mailer(config, folder, broker, history.logs.read).run))
        if Role.DEPLOYER in roles:
            from lumper.wiring.roles import assemble_deployer

            deployer = assemble_deployer(config, broker, token_of(folder, Role.DEPLOYER))
            parts.append(supervise("deployer", deployer.run))
        await run_until_signal(*parts)


def _take_open_files() -> None:
    """Let this process open as many files as it may: service managers give 1024 at first, for the sake of select(2).

    Each connection is one. More than is ever needed is left alone, since some programs that we start close all that
    there may be. Source: systemd.exec(5), "LimitNOFILE=".
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def _announced(server: Server, folder: DataFolder, history: History, links: Links, announce: Announce) -> None:
    await server.ready.wait()
    with contextlib.ExitStack() as stack:
        link = ""
        try:
            stack.enter_context(folder.announced(f"http://{links.local}"))
            if not await history.accounts.has_admin():
                link = f"{links.public_url}/setup?token={await history.accounts.create_setup_token()}"
        except (OSError, StorageFull) as exc:  # on a full disk what is there can still be had
            log.warning(
                "the server could not be announced: commands need --server", action="server.announce", error=str(exc)
            )
        announce(links.public_url, link)
        await asyncio.Event().wait()  # the folder names this server until it ends


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
    token = token_of(folder, role, config.connect.token_file)
    broker = await open_broker(config, folder)
    try:
        async with RemoteServer(_server_url(config, folder), token) as server:
            yield folder, broker, server, token
    finally:
        await broker.close()


def _server_url(config: Config, folder: DataFolder) -> str:
    own = folder.server_url() or f"http://{addresses(config, config.listen[1]).local}"
    return config.connect.server.rstrip("/") or own


async def run_role(config: Config, role: Role) -> None:
    """A worker, mailer or deployer in a process of its own, until a signal comes."""
    await {Role.WORKER: _run_worker, Role.MAILER: _run_mailer, Role.DEPLOYER: _run_deployer}[role](config)


async def _run_worker(config: Config) -> None:
    from lumper.wiring.roles import assemble_worker

    async with _remote_role(config, Role.WORKER) as (folder, broker, server, _):
        url = _server_url(config, folder)
        registry = url.partition("://")[2]
        worker = assemble_worker(
            config, folder, broker, registry, server.registry_login, server.git_credentials, server.entrust, url
        )
        await run_until_signal(worker.run())


async def _run_mailer(config: Config) -> None:
    from lumper.wiring.roles import assemble_mailer

    async with _remote_role(config, Role.MAILER) as (folder, broker, server, _):
        await run_until_signal(assemble_mailer(config, folder, broker, server.read_log).run())


async def _run_deployer(config: Config) -> None:
    from lumper.wiring.roles import assemble_deployer

    async with _remote_role(config, Role.DEPLOYER) as (_, broker, _server, token):
        await run_until_signal(assemble_deployer(config, broker, token).run())


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
        async with AsyncExitStack() as stack:
            stack.enter_context(folder.lock())
            listener = stack.enter_context(bind("127.0.0.1:0"))
            links = addresses(config, config.listen[1])
            instance = await stack.enter_async_context(open_instance(config, folder, links))
            runner = web.AppRunner(assemble_app(instance), access_log=None, auto_decompress=False)
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
