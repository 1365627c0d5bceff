"""Pushes of small blobs past aiohttp: the beginning of an upload, and its end, whose body has come whole.

They end in the same methods of `UploadRoutes` as all others; here they are only found out. Whatever is to be refused
before that is left to aiohttp.
"""

from __future__ import annotations

import re
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from lumper.errors import RegistryError, TooManyRequests
from lumper.metrics import Requests
from lumper.registry.access import PUSH
from lumper.registry.blobs import Session
from lumper.web.connection.request_head import Asker
from lumper.web.oci.address import Address, Kind, parse_address
from lumper.web.oci.answers import VERSION
from lumper.web.oci.bytes.wire import Wire
from lumper.web.oci.guard import Guard
from lumper.web.oci.namespaces import Namespaces
from lumper.web.oci.refusals import refusal
from lumper.web.oci.rights import Caller
from lumper.web.oci.routes.uploads import UploadRoutes

_TARGET = re.compile(r"(/v2/[a-z0-9._/-]+/blobs/uploads/[0-9a-f-]*)(?:\?digest=(sha256|sha512)(?::|%3A)([0-9a-f]+))?")


@dataclass(frozen=True)
class _Push:
    """What is asked for, by somebody who may. `digest` is "" if none is told."""

    address: Address
    digest: str
    caller: Caller


class SmallPushes:
    """Answers requests that push, each with its body."""

    def __init__(
        self, uploads: UploadRoutes, guard: Guard, requests: Requests, namespaces: Namespaces | None, wire: Wire
    ) -> None:
        self._wire = wire
        self._uploads = uploads
        self._guard = guard
        self._requests = requests
        self._namespaces = namespaces

    def expects(self, method: str, target: str, asker: Asker) -> bool:
        """Whether the body of this request is waited for here."""
        push = self._read(method, target, asker)
        return push is not None and bool(push.digest)

    def answer(
        self, method: str, target: str, asker: Asker, address: str, body: bytes
    ) -> Coroutine[Any, Any, bytes] | None:
        """What makes the answer; None: it is not to be given here. `address` is the client's."""
        push = self._read(method, target, asker)
        if push is None:
            return None
        begins = push.address.kind is Kind.UPLOADS
        if begins and bool(push.digest) != bool(body):
            return None
        try:
            self._guard.admit(address, push.caller.reach)
        except TooManyRequests:
            return None
        if self._namespaces is not None:
            self._namespaces.pushed(push.address.repository)
        return self._answered(method, push, self._stored(push, body) if push.digest else self._begun(push))

    def _read(self, method: str, target: str, asker: Asker) -> _Push | None:
        named = _TARGET.fullmatch(target)
        if named is None or method not in ("POST", "PUT"):
            return None
        caller = self._guard.known(asker.ticket)
        try:
            address = parse_address(named[1])
        except RegistryError:
            return None
        digest = f"{named[2]}:{named[3]}" if named[2] else ""
        fits = method == "POST" if address.kind is Kind.UPLOADS else method == "PUT" and digest
        if caller is None or not fits or not caller.may(address.repository, PUSH):
            return None
        return _Push(address, digest, caller)

    async def _begun(self, push: _Push) -> web.Response:
        return await self._uploads.begun(push.address.repository, push.caller)

    async def _stored(self, push: _Push, data: bytes) -> web.Response:
        async def body() -> bytes:
            return data

        if push.address.kind is Kind.UPLOADS:
            return await self._uploads.at_once(push.address.repository, push.caller, push.digest, body)
        session = Session(push.address.repository, push.caller.owner, push.address.item)
        return await self._uploads.finished(session, push.digest, _anywhere, body)

    async def _answered(self, method: str, push: _Push, making: Coroutine[Any, Any, web.Response]) -> bytes:
        began = time.perf_counter()
        try:
            response = await making
        except Exception as exc:  # noqa: BLE001 - what is none of the registry's errors is logged, and answered as one
            response = refusal(exc, f"/v2/{push.address.repository}/blobs/uploads/{push.address.item}")
        self._requests.answered(push.address.kind.value, method, response.status, time.perf_counter() - began)
        response.headers.update(VERSION)
        return self._wire.whole(response)


def _anywhere() -> None:
    """No Content-Range came."""
