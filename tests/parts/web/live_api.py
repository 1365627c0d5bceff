"""The API of a whole application on loopback, over a real database; builds live without workers."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from lumper.build.source.remotes import Remotes
from lumper.config.layout import DataFolder
from lumper.forges.all import open_forges
from lumper.forges.client import ForgeClient
from lumper.line.history import History, open_history
from lumper.metrics import Metrics
from lumper.model.events import AttemptStarted
from lumper.model.links import Links
from lumper.model.people.people import Role
from lumper.model.source import Push
from lumper.notify.channels.maildir import MaildirReader
from lumper.queue.brokers.memory import MemoryBroker
from lumper.queue.codec import encode
from lumper.registry.registry import Registry
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.roles.forge import ForgeDesk
from lumper.roles.receiver import HistoryReceiver
from lumper.roles.triggers import Triggers
from lumper.web.app import make_app
from lumper.web.auth.signed_tokens import Keys
from lumper.web.parts import Parts, Settings
from lumper.web.replayer import Replayer
from lumper.wiring.assembly import assemble_attestations


def basic(name: str, password: str) -> dict[str, str]:
    """The header of somebody who comes with name and password."""
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


@dataclass
class Answer:
    """An answer of the API."""

    status: int
    headers: Any
    body: Any

    @property
    def error(self) -> str:
        """What is wrong, of an answer that has the shape of an error."""
        assert set(self.body) == {"error", "hint"}, self.body
        return str(self.body["error"])


@dataclass
class Api:
    """The API of an application that is served on loopback."""

    url: str
    history: History
    links: Links
    tokens: dict[Role, str]
    session: aiohttp.ClientSession
    folder: Path
    app: web.Application
    runner: web.AppRunner

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        role: Role | None = Role.OPERATOR,
        data: bytes | AsyncIterator[bytes] | None = None,
        **options: Any,
    ) -> Answer:
        """One request, with the token of a role."""
        headers = options.pop("headers", {})
        if role is not None:
            headers = {"Authorization": f"Bearer {self.tokens[role]}", **headers}
        sent = data if data is not None else json.dumps(body).encode() if body is not None else None
        url = f"{self.url}/api/v1{path}"
        async with self.session.request(method, url, data=sent, headers=headers, **options) as response:
            text = await response.text()
            as_json = response.content_type == "application/json"
            return Answer(response.status, response.headers, json.loads(text) if as_json else text)

    async def project(self, url: str = "https://bot:hunter2@git.example.org/owner/app.git") -> Any:
        """Add a project."""
        answer = await self.ask("POST", "/projects", {"url": url})
        assert answer.status == 201, answer.body
        return answer.body

    async def build(self, tag: str = "v1.0.0") -> int:
        """Queue a build of the project owner/app."""
        project = await self.history.projects.get("owner/app")
        async with self.history.database.write() as connection:
            push = Push("owner/app", f"refs/tags/{tag}", "a" * 40)
            build_id, _ = await self.history.builds.queue(connection, project, push)
        return build_id

    async def start(self, build_id: int, attempt: int = 1) -> None:
        """A worker takes the build."""
        now = datetime.now(UTC)
        assert await self.history.builds.take(AttemptStarted(build_id, attempt, "c", "w", "b", now))


@asynccontextmanager
async def live_api(tmp_path: Path, database_url: str = "") -> AsyncIterator[Api]:
    """Serve the API while the block runs. Repositories under `allowed` in the folder may be named by their path."""
    links = Links("http://lumper.example.org", "lumper.example.org", "127.0.0.1:5080")
    url = database_url or f"sqlite:///{tmp_path}/lumper.db"
    history = open_history(url, tmp_path / "logs", links, encode)
    (tmp_path / "allowed").mkdir()
    receiver, forges = HistoryReceiver(history), open_forges()
    registry = Registry(FilesystemStorage(tmp_path / "registry"), history.images)
    parts = Parts(
        history=history,
        broker=MemoryBroker(),
        registry=registry,
        keys=Keys(tmp_path / "key.pem"),
        receiver=receiver,
        forges=forges,
        replayer=Replayer(history, receiver, forges),
        starter=Triggers(history, Remotes(tmp_path / "git")),
        desk=ForgeDesk(history, links, open_forges(), ForgeClient()),
        mail=MaildirReader(tmp_path / "mail"),
        links=links,
        metrics=Metrics(),
        attestations=assemble_attestations(DataFolder(tmp_path), registry, links),
    )
    app = make_app(parts, Settings(data=tmp_path, allow_local=(tmp_path / "allowed",)))
    runner = web.AppRunner(app, shutdown_timeout=1)
    try:
        await history.database.migrate()
        tokens = {role: await history.accounts.create_token(role.value, role) for role in Role}
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            yield Api(
                f"http://127.0.0.1:{runner.addresses[0][1]}", history, links, tokens, session, tmp_path, app, runner
            )
    finally:
        await runner.cleanup()
        await history.database.close()
