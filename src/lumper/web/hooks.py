"""Webhooks of forges: `POST /hooks/{forge}`.

    200  {"verdict": "ignored" | "refused" | "duplicate", "reason": "…", "builds": []}
    202  {"verdict": "build", "reason": "…", "builds": [7]}
    400  not what the forge sends          401  no project of that name has that secret
    404  no such forge                     408, 413, 415  too slow, too large, compressed
    503  try again later

Bodies are read up to a limit and never decompressed. Large ones wait for one of a few places, so that memory stays
bounded whatever comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from aiohttp import web

from lumper.errors import HookError, HookMalformed, HookTooLarge, HookUnauthorized, LumperError
from lumper.hooks.port import Forge, Request
from lumper.hooks.rules import candidates, decide
from lumper.hooks.signature import without_secret
from lumper.logs import get_logger
from lumper.model.source import Verdict
from lumper.web.ports import Accepted, Receiver

log = get_logger(__name__)

MAX_BODY = 25 * 1024 * 1024  # bytes; GitHub's own cap (docs.github.com, "Webhook events and payloads")
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
        "/hooks/{forge}",
        "/hooks/{forge}/",
    ):  # people type the second one too, and no forge follows a redirect
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
        body = _Body(self._places)
        try:
            await body.read(request)
            forge = self._forges[request.match_info["forge"]]
            accepted = await self._deliver(forge, Request(_headers(request), body.take()), large=body.large)
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
        if request.content_length is not None and request.content_length > MAX_BODY:
            return _refusal(413, HookTooLarge().sentence)
        return None

    async def _deliver(self, forge: Forge, request: Request, *, large: bool) -> Accepted:
        parsed = await asyncio.to_thread(forge.parse, request) if large else forge.parse(request)
        if not parsed.repository and len(request.body) > _MAX_UNNAMED:
            raise HookUnauthorized
        known = await self._receiver.projects_like(parsed.repository)
        fitting = candidates(parsed, [project for project, _ in known])
        secret_of = {project.id: secret for project, secret in known}
        secrets = [secret_of[project.id] for project in fitting] or [_DUMMY_SECRET]
        verified = (
            await asyncio.to_thread(_verify, forge, request, secrets) if large else _verify(forge, request, secrets)
        )
        project = next((project for project, good in zip(fitting, verified, strict=False) if good), None)
        if project is None:
            raise HookUnauthorized
        kept = without_secret(request, secret_of[project.id])
        return await self._receiver.accept(project, forge.name, kept, parsed, decide(parsed, project))


def _verify(forge: Forge, request: Request, secrets: Sequence[str]) -> list[bool]:
    return [forge.verify(request, secret) for secret in secrets]


class _Body:
    """A body on its way in; it holds a place from the moment it is large until it was handled."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
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
        if len(self._data) + len(chunk) > MAX_BODY:
            raise HookTooLarge
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
