"""Webhooks of forges: `POST /hooks/{forge}/{project}`.

    200  {"verdict": "ignored" | "refused" | "duplicate", "reason": "…", "builds": []}
    202  {"verdict": "build", "reason": "…", "builds": [7]}
    400  not what the forge sends          401  no project of that name has that secret
    404  no such forge                     408, 413, 415  too slow, too large, compressed
    503  try again later

The signature is checked over the raw bytes before anything is parsed. `POST /hooks/{forge}` is the address for all
projects: the delivery itself names its project, so it is parsed first, and a small limit holds.

Bodies are never decompressed. Large ones wait for one of a few places, so that memory stays bounded whatever comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiohttp import web

from lumper.errors import (
    HookError,
    HookMalformed,
    HookTooLarge,
    HookUnauthorized,
    LumperError,
)
from lumper.forges.port import Forge, Parsed, Request
from lumper.forges.rules import candidates, decide
from lumper.forges.signature import without_secret
from lumper.logs import get_logger
from lumper.model.source import Project, Verdict
from lumper.web.ports import Accepted, Receiver

log = get_logger(__name__)

# Bytes. GitHub and GitLab send up to 25 MB (docs.github.com, "Webhook events and payloads"; GitLab's merge request
# 38687), Bitbucket Cloud 256 KB (support.atlassian.com, "Troubleshoot webhooks"), the others a few commits or none.
MAX_BODY = 25 * 1024 * 1024
# Bytes of a delivery that is parsed before its signature is checked: four times Bitbucket Cloud's cap. A pushed tag
# takes some 10 KB at every forge. Only a branch with hundreds of new commits takes more, at GitHub.
MAX_UNSIGNED = 1024 * 1024
LARGE_BODY = 1024 * 1024  # bytes; above it a delivery needs a place and a thread
LARGE_PLACES = 4
_MAX_UNNAMED = 16 * 1024  # bytes of a delivery that names no repository, and so is compared with every secret
READ_TIMEOUT = 60.0  # seconds for the whole body; forges give up after 10
PLACE_TIMEOUT = 5.0  # seconds to wait for a place
_DUMMY_SECRET = "verified against when no project fits, so that both answers take the same work"  # noqa: S105


def add_routes(app: web.Application, receiver: Receiver, forges: Iterable[Forge]) -> None:
    """Take the webhooks of these forges."""
    routes = _WebhookRoutes(receiver, {forge.name: forge for forge in forges})
    for path in (
        "/hooks/{forge}/{project:.+}",
        "/hooks/{forge}",
        "/hooks/{forge}/",  # people type this one too, and no forge follows a redirect
    ):
        app.router.add_post(path, routes.handle, expect_handler=routes.expect)


class _WebhookRoutes:
    def __init__(self, receiver: Receiver, forges: dict[str, Forge]) -> None:
        self._receiver = receiver
        self._forges = forges
        self._places = asyncio.Semaphore(LARGE_PLACES)

    async def handle(self, request: web.Request) -> web.Response:
        early = self._refuse_early(request)
        if early is not None:
            return early
        body, name = _Body(self._places, _limit(request)), _project(request)
        try:
            await body.read(request)
            forge, delivery = self._forges[request.match_info["forge"]], Request(_headers(request), body.take())
            if name:
                accepted = await self._deliver_to(name, forge, delivery, large=body.large)
            else:
                accepted = await self._deliver(forge, delivery)
        except HookError as exc:
            return _refusal(_STATUS.get(type(exc), 400), exc.sentence)
        except LumperError as exc:  # whoever asks has proved nothing yet: what is wrong here is not for them
            log.warning("a delivery was not taken", action="hook.fail", error=exc.sentence, hint=exc.hint)
            return _refusal(503, "Lumper cannot take this delivery now; its log says why. Send it again later.")
        finally:
            body.release()
        status = 202 if accepted.verdict is Verdict.BUILD else 200
        return _answer(status, accepted.verdict, accepted.reason, accepted.builds)

    async def expect(self, request: web.Request) -> web.Response | None:
        """Answer `Expect: 100-continue` (RFC 9110, section 10.1.1): refuse before the body is sent."""
        early = self._refuse_early(request)
        if early is None:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # that was not the answer yet
        return early

    def _refuse_early(self, request: web.Request) -> web.Response | None:
        if request.match_info["forge"] not in self._forges:
            return _refusal(404, f"There is no forge of this name; there are {', '.join(sorted(self._forges))}.")
        if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            return _refusal(415, "A webhook request may not be compressed.")
        if request.content_length is not None and request.content_length > _limit(request):
            return _refusal(413, _too_large(_limit(request)).sentence)
        return None

    async def _deliver_to(self, name: str, forge: Forge, request: Request, *, large: bool) -> Accepted:
        """Check the signature first: nothing is parsed that the project's secret has not signed."""
        project, secret = await self._receiver.project(name) or (None, _DUMMY_SECRET)
        good = await asyncio.to_thread(forge.verify, request, secret) if large else forge.verify(request, secret)
        if project is None or not good:
            raise HookUnauthorized
        parsed = await asyncio.to_thread(forge.parse, request) if large else forge.parse(request)
        return await self._accept(project, secret, forge, request, parsed)

    async def _deliver(self, forge: Forge, request: Request) -> Accepted:
        """Find the project by what the delivery says of itself."""
        parsed = forge.parse(request)
        if not parsed.repository and len(request.body) > _MAX_UNNAMED:
            raise HookUnauthorized
        known = await self._receiver.projects_like(parsed.repository)
        secret_of = {project.id: secret for project, secret in known}
        fitting = candidates(parsed, [project for project, _ in known])
        signed = [project for project in fitting if forge.verify(request, secret_of[project.id])]
        if not fitting:
            forge.verify(request, _DUMMY_SECRET)
        if not signed:
            raise HookUnauthorized
        return await self._accept(signed[0], secret_of[signed[0].id], forge, request, parsed)

    async def _accept(self, project: Project, secret: str, forge: Forge, request: Request, parsed: Parsed) -> Accepted:
        kept = without_secret(request, secret, forge.secret_headers)
        return await self._receiver.accept(project, forge.name, kept, parsed, decide(parsed, project))


def _project(request: web.Request) -> str:
    """The name in the address, "" in the one for all projects."""
    return request.match_info.get("project", "").rstrip("/")


def _limit(request: web.Request) -> int:
    return MAX_BODY if _project(request) else MAX_UNSIGNED


def _too_large(limit: int) -> HookTooLarge:
    if limit == MAX_BODY:
        return HookTooLarge()
    text = f"The webhook request is larger than {limit >> 20} MiB, which is all that this address takes."
    return HookTooLarge(
        text, hint="`lumper project show NAME` tells the project's own address: enter that at the forge."
    )


class _Body:
    """A body on its way in; it holds a place from the moment it is large until it was handled."""

    def __init__(self, places: asyncio.Semaphore, limit: int) -> None:
        self._places = places
        self._limit = limit
        self._data = bytearray()
        self.large = False

    async def read(self, request: web.Request) -> None:
        """Read it all. Raises HookTooLarge, HookMalformed, _TooSlow, _Busy."""
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                async for chunk in request.content.iter_any():
                    await self._add(chunk)
        except TimeoutError as exc:
            raise _TooSlow from exc
        except (web.RequestPayloadError, ConnectionError) as exc:
            raise HookMalformed("The body of the webhook request broke off.") from exc

    async def _add(self, chunk: bytes) -> None:
        if len(self._data) + len(chunk) > self._limit:
            raise _too_large(self._limit)
        self._data += chunk
        if len(self._data) > LARGE_BODY and not self.large:
            await self._take_place()

    async def _take_place(self) -> None:
        try:
            async with asyncio.timeout(PLACE_TIMEOUT):
                await self._places.acquire()
        except TimeoutError as exc:
            raise _Busy from exc
        self.large = True

    def take(self) -> bytes:
        """The bytes, once."""
        data, self._data = bytes(self._data), bytearray()
        return data

    def release(self) -> None:
        """Give the place back."""
        if self.large:
            self._places.release()


class _Busy(HookError):
    """Too many large webhook requests are in work; send this one again later."""


class _TooSlow(HookError):
    """The body of the webhook request did not come in time."""


_STATUS = {HookMalformed: 400, HookUnauthorized: 401, _TooSlow: 408, HookTooLarge: 413, _Busy: 503}


def _headers(request: web.Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():  # a header sent twice verifies as neither of its values
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


def _refusal(status: int, reason: str) -> web.Response:
    response = _answer(status, Verdict.REFUSED, reason)
    if status in (404, 408, 413, 415):
        response.force_close()  # the rest of the body is not wanted
    if status == 503:
        response.headers["Retry-After"] = "30"
    return response


def _answer(status: int, verdict: Verdict, reason: str, builds: tuple[int, ...] = ()) -> web.Response:
    return web.json_response({"verdict": verdict.value, "reason": reason, "builds": list(builds)}, status=status)
