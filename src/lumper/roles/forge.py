"""Requests to a project's forge: its webhook, and a status beside each commit that is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lumper.errors import (
    ForgeError,
    ForgeRefused,
    ForgeUnknown,
    Invalid,
    NotFound,
    StorageError,
)
from lumper.forges.all import Forges
from lumper.forges.client import ForgeClient
from lumper.forges.port import Forge, Repository
from lumper.forges.registration import Looked, WebhookState, looked, webhook_id
from lumper.forges.statuses import split_status, status_of
from lumper.line.history import History
from lumper.logs import get_logger
from lumper.model.events import Payload, StatusDue
from lumper.model.links import Links
from lumper.model.source import Project, forge_url_of

log = get_logger(__name__)


@dataclass(frozen=True)
class Connected:
    """A project with its forge. `pings`: a first delivery comes without a push; `statuses`: commits get them."""

    project: Project
    pings: bool
    statuses: bool


class ForgeDesk:
    """The forges of the projects that have a token."""

    def __init__(self, history: History, links: Links, forges: Forges, client: ForgeClient) -> None:
        self._history = history
        self._links = links
        self._forges = forges
        self._client = client

    async def connect(self, project: Project, name: str, url: str, token: str) -> Connected:
        """Make the webhook at the forge, in place of one that Lumper has made there before, and keep the token.

        The forge's `name` and `url` may be "" where the project's URL says. Raises Invalid, NotFound, ForgeError,
        StorageError.
        """
        name = name or self._forges.likely(project.url)
        if not name:
            raise Invalid(f"The URL {project.url} does not tell whose forge it is.", hint="Name it with --forge.")
        if not token.isascii() or not token.isprintable() or not token or " " in token:
            raise Invalid("That is not a token of a forge.", hint="Give the file with the token alone, on one line.")
        forge = self._forges.get(name)
        at = Repository((url or forge_url_of(project.url)).rstrip("/"), project.repository, token)
        before = project.webhook if (project.forge, project.forge_url) == (name, at.base) else ""
        made = await self._make(project, forge, at, before)
        connected = await self._history.projects.set_forge(project.id, name, at.base, token, webhook_id(made))
        try:
            if (ping := forge.ping(at, made)) is not None:
                await self._client.send(ping)
        except (ForgeError, KeyError, TypeError, ValueError) as exc:
            log.warning("no test delivery", action="forge.ping", project=project.name, error=str(exc))
            return Connected(connected, pings=False, statuses=forge.statuses)
        return Connected(connected, pings=forge.pings, statuses=forge.statuses)

    async def renew(self, project: Project) -> bool:
        """Give the webhook that Lumper has made at the forge the project's secret of now; whether there is one.

        Raises ForgeError, StorageError.
        """
        projects = self._history.projects
        _, token = await projects.with_forge_token(project.id)
        if not token or not project.webhook:
            return False
        made = await self._make(project, self._forges.get(project.forge), _at(project, token), project.webhook)
        await projects.set_forge(project.id, project.forge, project.forge_url, token, webhook_id(made))
        return True

    async def _make(self, project: Project, forge: Forge, at: Repository, before: str) -> Mapping[str, Any]:
        """Make the webhook; the one of before goes first, since GitHub takes no second one for the same URL."""
        await self._remove(project, forge, at, before)
        secret = await self._history.projects.webhook_secret(project.id)
        return await self._client.send(forge.make_webhook(at, self._links.hook(forge.name, project.name), secret))

    async def forget(self, project: Project) -> None:
        """Remove the webhook that Lumper has made, if the forge lets it: the project is about to go."""
        if not project.webhook:
            return
        try:
            _, token = await self._history.projects.with_forge_token(project.id)
        except StorageError as exc:
            _not_removed(project, exc)
        else:
            await self._remove(project, self._forges.get(project.forge), _at(project, token), project.webhook)

    async def _remove(self, project: Project, forge: Forge, at: Repository, webhook: str) -> None:
        """Remove a webhook, if there is one and the forge lets it."""
        try:
            if webhook and (request := forge.webhook(at, "DELETE", webhook)) is not None:
                await self._client.send(request)
        except ForgeError as exc:
            _not_removed(project, exc)

    async def look(self, project: Project) -> Looked:
        """Ask the forge how the webhook stands that Lumper has made there. Raises NotFound, StorageError."""
        _, token = await self._history.projects.with_forge_token(project.id)
        if not token:
            return Looked(WebhookState.UNKNOWN, "Lumper has no token of the project's forge.")
        forge = self._forges.get(project.forge)
        request = forge.webhook(_at(project, token), "GET", project.webhook) if project.webhook else None
        if request is None:
            return Looked(WebhookState.UNKNOWN, "This forge does not tell of a single webhook: look there.")
        hooks = self._links.hook(project.forge, project.name), self._links.shared_hook(project.forge)
        try:
            return looked(await self._client.send(request), *hooks)
        except ForgeUnknown as exc:
            return Looked(WebhookState.GONE, exc.message)
        except ForgeError as exc:
            return Looked(WebhookState.UNKNOWN, exc.message)

    async def disconnect(self, project: Project) -> Project:
        """Forget the token. The webhook at the forge stays."""
        return await self._history.projects.set_forge(project.id, "", "", "", "")

    async def handle(self, payload: Payload) -> None:
        """Tell the forge how a build stands now. Raises ForgeUnavailable: then it is worth another try."""
        if not isinstance(payload, StatusDue):
            log.error("not a status", action="forge.unknown", kind=type(payload).__name__)
            return
        try:
            build = await self._history.builds.get(payload.build_id)
            project, token = await self._history.projects.with_forge_token(build.project)
        except NotFound:
            return
        if not token:
            return
        page = self._links.build(build.id)
        status = split_status(payload.split, build.ref, page) if payload.split else status_of(build, page)
        request = self._forges.get(project.forge).set_status(_at(project, token), build.commit, build.ref, status)
        if request is None:
            return
        try:
            await self._client.send(request)
        except ForgeRefused as exc:
            log.warning("a status was refused", action="forge.status", build=build.id, error=exc.sentence)


def _at(project: Project, token: str) -> Repository:
    return Repository(project.forge_url, project.repository, token)


def _not_removed(project: Project, exc: Exception) -> None:
    log.warning("a webhook was not removed", action="forge.remove", project=project.name, error=str(exc))
