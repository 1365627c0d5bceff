"""What the registry answers past aiohttp: from memory, the manifests and blobs that are asked for again and again.

Each answer is, byte for byte, what `ManifestRoutes` and `BlobRoutes` say to the same request.
"""

from __future__ import annotations

import re
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from lumper.errors import TooManyRequests
from lumper.metrics import Requests
from lumper.registry.access import PULL
from lumper.registry.registry import Registry
from lumper.web.connection.proxies import FORWARDED, Proxies
from lumper.web.connection.request_head import Asker
from lumper.web.oci.address import Kind
from lumper.web.oci.answers import blob_headers, manifest_headers
from lumper.web.oci.bytes.wire import Wire
from lumper.web.oci.guard import Guard
from lumper.web.oci.rights import Caller
from lumper.web.oci.shortcut.small_pushes import SmallPushes

_ADDRESS = re.compile(r"/v2/([a-z0-9._/-]+)/(manifests|blobs)/([A-Za-z0-9._:-]+)")
_MEANINGLESS = frozenset(  # to the answers that are given here; a field that is not known may mean something
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "content-type",
        "docker-distribution-api-version",
        "forwarded",
        "host",
        "pragma",
        "traceparent",
        "tracestate",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-meta-source-client",
        "x-real-ip",
        "x-request-id",
    }
)


class RegistryAnswers:
    """The registry's `Answers`."""

    def __init__(
        self, registry: Registry, guard: Guard, requests: Requests, proxies: Proxies, pushes: SmallPushes, wire: Wire
    ) -> None:
        self._pushes = pushes
        self._wire = wire
        self._proxies = proxies
        self._requests = requests
        self._manifests = registry.manifests
        self._blobs = registry.blobs
        self._guard = guard

    def asker(self, fields: Mapping[str, str]) -> Asker | None:
        """The authenticator's ticket for the credentials in these fields, if there are any."""
        if not _MEANINGLESS.issuperset(fields.keys() - {"authorization"}):
            return None
        ticket = self._guard.authenticator.ticket(fields["authorization"]) if "authorization" in fields else None
        if ticket is None and "authorization" in fields:
            return None
        return Asker(ticket, {name: fields[name.lower()] for name in FORWARDED if name.lower() in fields})

    def expects(self, method: str, target: str, asker: Asker) -> bool:
        """Whether the body of this request is waited for: it pushes."""
        return self._pushes.expects(method, target, asker)

    def answer(
        self, method: str, target: str, asker: Asker, remote: str, body: bytes
    ) -> bytes | Coroutine[Any, Any, bytes] | None:
        """A manifest, or the head of a manifest or blob, in memory, for someone who is known and may have it.

        What pushes is answered when it is done. Who has asked too often is told so by aiohttp's way, where the refused
        request may count twice.
        """
        address = self._proxies.client(remote, asker.forwarded)
        if method in ("GET", "HEAD"):
            return None if body else self._from_memory(method, target, asker, address)
        return self._pushes.answer(method, target, asker, address, body)

    def _from_memory(self, method: str, target: str, asker: Asker, address: str) -> bytes | None:
        began = time.perf_counter()
        named = _ADDRESS.fullmatch(target)
        caller = self._guard.known(asker.ticket)
        if named is None or caller is None or not caller.may(named[1], PULL):
            return None
        try:
            if named[2] == "manifests":
                kind, answer = Kind.MANIFEST, self._manifest(named[1], named[3], method, caller, address)
            elif method == "HEAD":
                kind, answer = Kind.BLOB, self._blob(named[1], named[3], caller, address)
            else:
                return None
        except TooManyRequests:
            return None
        if answer is not None:
            self._requests.answered(kind.value, method, 200, time.perf_counter() - began)
        return answer

    def _manifest(self, repository: str, reference: str, method: str, caller: Caller, address: str) -> bytes | None:
        found = self._manifests.remembered(repository, reference)
        if found is None:
            return None
        manifest, body = found
        self._guard.admit(address, caller.reach)
        told = self._guard.pull(caller, address, counts=method == "GET")
        return self._wire.head({**manifest_headers(manifest), **told}) + (body if method == "GET" else b"")

    def _blob(self, repository: str, digest: str, caller: Caller, address: str) -> bytes | None:
        blob = self._blobs.remembered(repository, digest)
        if blob is None:
            return None
        self._guard.admit(address, caller.reach)
        return self._wire.head(blob_headers(blob))
