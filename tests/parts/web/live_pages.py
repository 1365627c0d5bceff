"""The pages on loopback, over a real database and folders of their own; builds live without workers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from lumper.build.source.remotes import Remotes
from lumper.forges.all import open_forges
from lumper.forges.client import ForgeClient
from lumper.line.history import History, open_history
from lumper.model import events
from lumper.model.builds.build import Build, BuildState, Output, Progress, Step, StepState
from lumper.model.builds.log import to_line
from lumper.model.links import Links
from lumper.model.people.people import Role
from lumper.model.source import Person, Project, Push, parse_git_url
from lumper.notify.channels.maildir import MaildirChannel, MaildirReader
from lumper.queue.codec import encode
from lumper.registry.attest.signer import make_signing_key, read_signer
from lumper.registry.attest.store import Attestations
from lumper.registry.port import Storage
from lumper.registry.registry import Registry
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.roles.forge import ForgeDesk
from lumper.roles.receiver import HistoryReceiver
from lumper.roles.triggers import Triggers
from lumper.web import pages
from lumper.web.auth.authenticator import Authenticator
from lumper.web.auth.signed_tokens import Keys
from lumper.web.replayer import Replayer
from parts.registries.page_images import Put
from parts.servers.ports import free_ports
from parts.web.quick_user import quick_user

PASSWORD = "correct horse battery"
COMMIT = "3f6c1a9be07d4c52b8e1f0a94d7726c5e1b0aa42"
REGISTRY = "registry.example.org"


@dataclass
class LivePages:
    """A running set of pages. `admin` is a user with `PASSWORD`; `worker_token` is for a program.

    `restart` ends the server and starts another one at the same address.
    """

    url: str
    history: History
    registry: Registry
    storage: Storage
    mail: MaildirChannel
    worker_token: str
    told: Attestations
    links: Links
    restart: Callable[[], Awaitable[None]]

    async def project(self, url: str = "https://git.example.org/acme/shop.git", **names: str) -> Project:
        return await self.history.projects.add(parse_git_url(url), **names)

    def put(self, repository: str) -> Put:
        """What puts images into a repository."""
        return Put(self.registry, self.storage, repository)

    async def queued(
        self, project: Project, tag: str = "v1.4.2", commit: str = COMMIT, pusher: Person | None = None
    ) -> int:
        push = Push(project.repository, f"refs/tags/{tag}", commit, pusher=pusher or Person("mara", "mara@example.org"))
        async with self.history.database.write() as connection:
            build_id, _ = await self.history.builds.queue(connection, project, push)
        return build_id

    async def running(self, project: Project, tag: str = "v1.4.2", commit: str = COMMIT) -> int:
        build_id = await self.queued(project, tag, commit)
        await self.taken(build_id)
        return build_id

    async def taken(self, build_id: int, attempt: int = 1) -> None:
        await self.history.builds.take(
            events.AttemptStarted(build_id, attempt, "claim", "builder-1", "boot", datetime.now(UTC))
        )

    async def ended(self, build_id: int, state: BuildState, **values: Any) -> Build:
        build = await self.history.builds.get(build_id)
        if build.state not in state.sources:
            await self.taken(build_id, build.attempt)
        async with self.history.database.write() as connection:
            await self.history.builds.end(connection, build_id, state, **values)
        self.history.logs.wake()
        return await self.history.builds.get(build_id)

    async def say(self, build_id: int, records: Iterable[Progress], attempt: int = 1) -> None:
        data = "".join(map(to_line, records)).encode()
        offset = await self.history.logs.size(build_id, attempt)
        await self.history.logs.append(build_id, attempt, offset, data)

    @asynccontextmanager
    async def browser(self, *, signed_in: bool = True) -> AsyncIterator[aiohttp.ClientSession]:
        """An HTTP client that keeps cookies and says where its forms come from, as browsers do."""
        jar = aiohttp.CookieJar(unsafe=True)
        headers = {"Accept": "text/html", "Origin": self.url}
        async with aiohttp.ClientSession(self.url, cookie_jar=jar, headers=headers) as session:
            if signed_in:
                form = {"name": "admin", "password": PASSWORD}
                async with session.post("/login", data=form, allow_redirects=False) as answer:
                    assert answer.status == 303
            yield session


def step_lines(number: int, name: str, lines: Iterable[str], state: StepState = StepState.DONE) -> list[Progress]:
    """All that a step says from its begin to its end."""
    now = time.time()
    said: list[Progress] = [Output(number, 1, now, line) for line in lines]
    return [Step(number, name, StepState.RUNNING, now), *said, Step(number, name, state, now + 0.4)]


_prepared: list[tuple[bytes, str]] = []  # a new database with its people, and the worker's token: made once


async def _prepare(data: Path, links: Links) -> str:
    """A database with the user and the token; the token."""
    if not _prepared:
        history = open_history(_url(data), data / "logs", links, encode)
        await history.database.migrate()
        await quick_user(history.database, "admin", PASSWORD)
        token = await history.accounts.create_token("builder-1", Role.WORKER)
        await history.database.close()
        _prepared.append(((data / "lumper.db").read_bytes(), token))
    content, token = _prepared[0]
    (data / "lumper.db").write_bytes(content)
    return token


def _url(data: Path) -> str:
    return f"sqlite:///{data}/lumper.db"


@asynccontextmanager
async def live_pages(data: Path) -> AsyncIterator[LivePages]:
    links = Links("http://lumper.example.org", REGISTRY, REGISTRY)
    token = await _prepare(data, links)
    history = open_history(_url(data), data / "logs", links, encode)
    storage = FilesystemStorage(data / "registry")
    registry = Registry(storage, history.images)
    make_signing_key(data / "signing.pem")
    told = Attestations(registry, partial(read_signer, data / "signing.pem"), links.registry)
    runners: list[web.AppRunner] = []

    async def serve(port: int) -> None:
        """Serve them anew."""
        while runners:
            await runners.pop().cleanup()
        app = web.Application()
        replayer = Replayer(history, HistoryReceiver(history), open_forges())
        starter = Triggers(history, Remotes(data / "git"))
        auth = Authenticator(history.accounts, Keys(data / "key.pem"))
        reader = MaildirReader(data / "mail")
        desk = ForgeDesk(history, links, open_forges(), ForgeClient())
        acting = pages.Acting(replayer, starter, desk, open_forges())
        pages.add_routes(app, history, registry, auth, reader, links, acting, told)
        runners.append(web.AppRunner(app, shutdown_timeout=60))
        await runners[0].setup()
        await web.TCPSite(runners[0], "127.0.0.1", port, reuse_address=True).start()

    try:
        (port,) = free_ports(1)  # which is there for nobody else between two servers
        await serve(port)
        mail = MaildirChannel(data / "mail", sender="lumper@example.org")
        yield LivePages(
            f"http://127.0.0.1:{port}",
            history,
            registry,
            storage,
            mail,
            token,
            told,
            links,
            restart=lambda: serve(port),
        )
    finally:
        for runner in runners:
            await runner.cleanup()
        await history.database.close()


async def seen(session: aiohttp.ClientSession, path: str, status: int = 200) -> str:
    """The page that somebody gets with this status, without HTML's escapes."""
    async with session.get(path, allow_redirects=False) as answer:
        text = await answer.text()
        assert answer.status == status, text
        return unescape(text)


async def text_at(session: aiohttp.ClientSession, path: str, status: int = 200) -> str:
    """The text that comes with this status, as it is; redirects are followed."""
    async with session.get(path) as answer:
        text = await answer.text()
        assert answer.status == status, text
        return text


async def posted(
    session: aiohttp.ClientSession,
    path: str,
    form: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, str, str]:
    """Status, location and text of the answer to a form."""
    async with session.post(path, data=form or {}, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", ""), await answer.text()
