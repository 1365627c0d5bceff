"""The registry's HTTP API: every request under `/v2/` finds its handler, every error its answer."""

from __future__ import annotations

import time
from pathlib import Path

from aiohttp import hdrs, web

from lumper.errors import RegistryError
from lumper.metrics import Requests
from lumper.registry.errors import refuse
from lumper.registry.registry import Registry
from lumper.web.auth.authenticator import Authenticator
from lumper.web.auth.rate_limits import RateLimits
from lumper.web.connection.proxies import PROXIES, Proxies
from lumper.web.connection.shortcut import ANSWERS
from lumper.web.oci.address import LONGEST, Address, Kind, parse_address
from lumper.web.oci.answers import VERSION, Routes, error_answer
from lumper.web.oci.bytes.body import expect_later
from lumper.web.oci.bytes.large_bodies import must_close
from lumper.web.oci.bytes.wire import Wire
from lumper.web.oci.guard import Guard
from lumper.web.oci.namespaces import Namespaces, namespace_headers
from lumper.web.oci.refusals import refusal
from lumper.web.oci.rights import Challenge
from lumper.web.oci.routes.blobs import BlobRoutes
from lumper.web.oci.routes.listings import ListingRoutes
from lumper.web.oci.routes.manifests import ManifestRoutes
from lumper.web.oci.routes.uploads import UploadRoutes
from lumper.web.oci.shortcut.answers import RegistryAnswers
from lumper.web.oci.shortcut.small_pushes import SmallPushes
from lumper.web.oci.token import TokenRoutes


def add_routes(
    app: web.Application,
    registry: Registry,
    authenticator: Authenticator,
    *,
    public_url: str = "",
    requests: Requests | None = None,
    limits: RateLimits | None = None,
    folder: Path | None = None,
) -> None:
    """Serve `/v2/`.

    `public_url` is where clients reach us (`https://host`), "" for what they ask for. Large manifests wait in `folder`,
    or where the system keeps such files.
    """
    namespaces = Namespaces(registry.upstreams, registry.listings, authenticator) if registry.upstreams else None
    guard = Guard(authenticator, public_url, limits or RateLimits())
    requests = requests or Requests()
    uploads, wire = UploadRoutes(registry.blobs, guard, requests), Wire()
    manifests = ManifestRoutes(registry.manifests, guard, folder)
    api = _RegistryApi(registry, guard, namespaces, requests, {**uploads.routes(), **manifests.routes()})
    pushes = SmallPushes(uploads, guard, requests, namespaces, wire)
    app[ANSWERS] = RegistryAnswers(registry, guard, requests, app.get(PROXIES) or Proxies(()), pushes, wire)
    app.router.add_route("*", "/v2", api.handle)
    app.router.add_route("*", "/v2/{path:(?s:.*)}", api.handle, expect_handler=expect_later)


def _encoded(request: web.Request) -> bool:
    """Whether a body is not what it is meant to be: nobody here undoes a coding."""
    transfer = request.headers.get(hdrs.TRANSFER_ENCODING, "chunked").strip().lower()
    return request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity" or transfer != "chunked"


class _RegistryApi:
    def __init__(
        self, registry: Registry, guard: Guard, namespaces: Namespaces | None, requests: Requests, pushes: Routes
    ) -> None:
        self._guard = guard
        self._namespaces = namespaces
        self._requests = requests
        self._handlers: Routes = {
            (Kind.PING, "GET"): self._ping,
            **TokenRoutes(guard, namespaces).routes(),
            **ListingRoutes(registry.listings, guard).routes(),
            **BlobRoutes(registry.blobs, guard, requests).routes(),
            **pushes,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request under `/v2/`: an error is always JSON as the specification has it."""
        began = time.perf_counter()
        kind = "none"
        try:
            if len(request.rel_url.raw_path_qs) > LONGEST:
                raise refuse("ADDRESS_TOO_LONG")
            address = parse_address(request.rel_url.raw_path)
        except RegistryError as exc:
            response: web.StreamResponse = error_answer(exc)
        else:
            kind = address.kind.value
            response = await self._answered(request, address)
        self._requests.answered(kind, request.method, response.status, time.perf_counter() - began)
        if not response.prepared:
            response.headers.update({**VERSION, **namespace_headers(request)})
            if must_close(request):
                response.force_close()
        return response

    async def _answered(self, request: web.Request, address: Address) -> web.StreamResponse:
        try:
            handler = self._handlers.get((address.kind, "GET" if request.method == "HEAD" else request.method))
            if handler is None:
                return self._unhandled(address)
            if self._namespaces is not None:
                address = await self._namespaces.resolved(request, address)
            if request.can_read_body and _encoded(request):  # RFC 9110, section 12.5.3, on the header
                return error_answer(refuse("ENCODING_UNSUPPORTED"), {hdrs.ACCEPT_ENCODING: "identity"})
            return await handler(request, address)
        except Challenge as exc:
            header = self._guard.challenge(request, exc)
            return error_answer(refuse("UNAUTHORIZED", exc.message), {hdrs.WWW_AUTHENTICATE: header})
        except Exception as exc:  # noqa: BLE001 - what is none of the registry's errors is logged, and answered as one
            return refusal(exc, request.path)

    def _unhandled(self, address: Address) -> web.Response:
        methods = [method for kind, method in self._handlers if kind is address.kind]
        if "GET" in methods:
            methods.append("HEAD")
        return error_answer(refuse("UNSUPPORTED"), {hdrs.ALLOW: ", ".join(sorted(methods))})

    async def _ping(self, request: web.Request, _address: Address) -> web.Response:
        """Without credentials the answer is the challenge, also where anyone may pull: clients learn of it here."""
        caller = await self._guard.caller(request)
        if caller.reach.identity is None and caller.reach.access is None:
            raise Challenge("")
        return web.json_response({})
