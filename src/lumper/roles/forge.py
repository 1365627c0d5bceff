"""What the server asks of a project's forge: its webhook, and a status beside each commit that is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lumper.errors import ForgeError, ForgeRefused, ForgeUnknown, Invalid, NotFound, StorageError
from lumper.history.store import History
from lumper.hooks.api.client import ForgeClient
from lumper.hooks.api.port import (
    ForgeApi,
    Place,
    Status,
    StatusState,
    WebhookState,
    clip,
    webhook_id,
    webhook_state,
)
from lumper.hooks.guide import likely_forge
from lumper.logs import get_logger
from lumper.model.build import Build, BuildState
from lumper.model.events import Payload, StatusDue
from lumper.model.links import Links
from lumper.model.refs import TAG_PREFIX
from lumper.model.source import Project, forge_url_of

log = get_logger(__name__)

OpenApi = Callable[[str, Place], ForgeApi]
"""From the name of a forge and a repository there to its API. Raises NotFound for a forge that there is none for."""

_LONGEST_TAGS = 68  # characters: with them and a digest a description is as long as GitHub takes it

_STATES = {
    BuildState.QUEUED: (StatusState.PENDING, "waits"),
    BuildState.RUNNING: (StatusState.RUNNING, "is built"),
    BuildState.SUCCEEDED: (StatusState.SUCCESS, ""),
    BuildState.FAILED: (StatusState.FAILURE, ""),
    BuildState.CANCELLED: (StatusState.CANCELLED, "cancelled"),
    BuildState.SKIPPED: (StatusState.CANCELLED, "skipped"),
}


_LOOKED = {
    WebhookState.THERE: "The webhook is there and delivers to {hook}.",
    WebhookState.OFF: "The webhook is switched off at the forge, or given up there because deliveries failed.",
    WebhookState.ELSEWHERE: "The webhook does not deliver to {hook}: it was edited, or [server] public_url.",
}


@dataclass(frozen=True)
class Connected:
    """A project whose forge Lumper speaks with: whether a first delivery comes without a push, and of statuses."""

    project: Project
    pings: bool
    statuses: bool


@dataclass(frozen=True)
class Looked:
    """How a webhook stands at the forge, in a word and in a sentence."""

    state: WebhookState
    words: str


class ForgeDesk:
    """Speaks with forges for the projects that have a token."""

    def __init__(self, history: History, links: Links, open_api: OpenApi, client: ForgeClient) -> None:
        self._history = history
        self._links = links
        self._open_api = open_api
        self._client = client

    async def connect(self, project: Project, forge: str, url: str, token: str) -> Connected:
        """Make the webhook at the forge, in place of one that Lumper has made there before, and keep the token.

        `forge` and `url` may be "" where the project's URL tells. Raises Invalid, NotFound, ForgeError, StorageError.
        """
        forge = forge or likely_forge(project.url)
        if not forge:
            raise Invalid(f"The URL {project.url} does not tell whose forge it is.", hint="Name it with --forge.")
        if not token.isascii() or not token.isprintable() or not token or " " in token:
            raise Invalid("That is not a token of a forge.", hint="Give the file with the token alone, on one line.")
        place = Place((url or forge_url_of(project.url)).rstrip("/"), project.repository, token)
        api = self._open_api(forge, place)
        before = project.webhook if (project.forge, project.forge_url) == (forge, place.base) else ""
        made = await self._make(api, project, forge, before)
        connected = await self._history.projects.set_forge(project.id, forge, place.base, token, webhook_id(made))
        try:
            if (ping := api.ping(made)) is not None:
                await self._client.send(ping)
        except (ForgeError, KeyError, TypeError, ValueError) as exc:
            log.warning("no test delivery", action="forge.ping", project=project.name, error=str(exc))
            return Connected(connected, pings=False, statuses=api.statuses)
        return Connected(connected, pings=api.pings, statuses=api.statuses)

    async def renew(self, project: Project) -> bool:
        """Give the webhook that Lumper has made at the forge the project's secret of now; whether there is one.

        Raises ForgeError, StorageError.
        """
        projects = self._history.projects
        _, token = await projects.with_forge_token(project.id)
        if not token or not project.webhook:
            return False
        api = self._api_of(project, token)
        made = await self._make(api, project, project.forge, project.webhook)
        await projects.set_forge(project.id, project.forge, project.forge_url, token, webhook_id(made))
        return True

    async def _make(self, api: ForgeApi, project: Project, forge: str, before: str) -> Mapping[str, Any]:
        """Make the webhook; the one of before goes first, since GitHub takes no second one for the same URL."""
        await self._remove(api, project, before)
        secret = await self._history.projects.webhook_secret(project.id)
        return await self._client.send(api.make_webhook(self._links.hook(forge, project.name), secret))

    async def forget(self, project: Project) -> None:
        """Remove the webhook that Lumper has made, if the forge lets it: the project is about to go."""
        if not project.webhook:
            return
        try:
            _, token = await self._history.projects.with_forge_token(project.id)
        except StorageError as exc:
            _not_removed(project, exc)
        else:
            await self._remove(self._api_of(project, token), project, project.webhook)

    async def _remove(self, api: ForgeApi, project: Project, webhook: str) -> None:
        """Remove a webhook, if there is one and the forge lets it."""
        try:
            if webhook and (request := api.webhook("DELETE", webhook)) is not None:
                await self._client.send(request)
        except ForgeError as exc:
            _not_removed(project, exc)

    async def look(self, project: Project) -> Looked:
        """Ask the forge how the webhook stands that Lumper has made there. Raises NotFound, StorageError."""
        _, token = await self._history.projects.with_forge_token(project.id)
        if not token:
            return Looked(WebhookState.UNKNOWN, "Lumper has no token of the project's forge.")
        request = self._api_of(project, token).webhook("GET", project.webhook) if project.webhook else None
        if request is None:
            return Looked(WebhookState.UNKNOWN, "This forge does not tell of a single webhook: look there.")
        hook, shared = self._links.hook(project.forge, project.name), self._links.shared_hook(project.forge)
        try:
            told = await self._client.send(request)
        except ForgeUnknown as exc:
            return Looked(WebhookState.GONE, exc.message)
        except ForgeError as exc:
            return Looked(WebhookState.UNKNOWN, exc.message)
        state = webhook_state(told, hook)
        if state is WebhookState.ELSEWHERE and webhook_state(told, shared) is not WebhookState.ELSEWHERE:
            state, hook = webhook_state(told, shared), shared  # made before the addresses named the project
        return Looked(state, _LOOKED[state].format(hook=hook))

    def _api_of(self, project: Project, token: str) -> ForgeApi:
        return self._open_api(project.forge, Place(project.forge_url, project.repository, token))

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
        api = self._api_of(project, token)
        page = self._links.build(build.id)
        status = split_status(payload.split, build.ref, page) if payload.split else status_of(build, page)
        request = api.set_status(build.commit, build.ref, status)
        if request is None:
            return
        try:
            await self._client.send(request)
        except ForgeRefused as exc:
            log.warning("a status was refused", action="forge.status", build=build.id, error=exc.sentence)


def status_of(build: Build, page: str) -> Status:
    """What people see beside the commit. Pure."""
    state, words = _STATES[build.state]
    if build.state is BuildState.SUCCEEDED:
        words = f"{clip(', '.join(build.tags), _LONGEST_TAGS)} {build.digest}"
    elif build.error:
        words = build.error if not words else f"{words}: {build.error}"
    return Status(state, context_of(build.image, build.ref), words, page)


def split_status(image: str, ref: str, page: str) -> Status:
    """What ends the status of a build that turned out to be several: each has one of its own. Pure."""
    return Status(StatusState.SUCCESS, context_of(image, ref), "each image has a status of its own", page)


def context_of(image: str, ref: str) -> str:
    """What tells the status of a build from others of the same commit. Pure.

    Each tag of a commit has one of its own. That of a branch is the same for all branches: a forge can be told to merge
    nothing without it.
    """
    return f"lumper/{image}:{ref.removeprefix(TAG_PREFIX)}" if ref.startswith(TAG_PREFIX) else f"lumper/{image}"


def _not_removed(project: Project, exc: Exception) -> None:
    log.warning("a webhook was not removed", action="forge.remove", project=project.name, error=str(exc))
