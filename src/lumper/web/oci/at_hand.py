"""What the registry answers from memory alone: the manifests and blobs that are asked for again and again.

Each answer is, byte for byte, what `ManifestRoutes` and `BlobRoutes` say to the same request.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import formatdate

from aiohttp import hdrs
from aiohttp.http import SERVER_SOFTWARE

from lumper.errors import TooManyRequests
from lumper.metrics import Requests
from lumper.registry.access import PULL
from lumper.registry.registry import Registry
from lumper.web.oci.address import Kind
from lumper.web.oci.answers import blob_headers, manifest_headers
from lumper.web.oci.door import Door
from lumper.web.oci.rights import Caller
from lumper.web.proxies import FORWARDED, Proxies
from lumper.web.shortcut import Asker

_ADDRESS = re.compile(r"/v2/([a-z0-9._/-]+)/(manifests|blobs)/([A-Za-z0-9._:-]+)")
_MEANINGLESS = frozenset(  # to the answers that are given here; a field that is not known may mean something
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
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


class AnswersAtHand:
    """The registry's `Answers`."""

    def __init__(self, registry: Registry, door: Door, requests: Requests, proxies: Proxies) -> None:
        self._proxies = proxies
        self._requests = requests
        self._manifests = registry.manifests
        self._blobs = registry.blobs
        self._door = door
        self._second = 0
        self._trailer = ""

    def asker(self, fields: Mapping[str, str]) -> Asker | None:
        """The authenticator's ticket for the credentials in these fields, if there are any."""
        if not _MEANINGLESS.issuperset(fields.keys() - {"authorization"}):
            return None
        ticket = self._door.authenticator.ticket(fields["authorization"]) if "authorization" in fields else None
        if ticket is None and "authorization" in fields:
            return None
        return Asker(ticket, {name: fields[name.lower()] for name in FORWARDED if name.lower() in fields})

    def answer(self, method: str, target: str, asker: Asker, remote: str) -> bytes | None:
        """A manifest, or the head of a manifest or blob, in memory, for someone who is known and may have it.

        Who has asked too often is told so by aiohttp's way, where the refused request may count twice.
        """
        began = time.perf_counter()
        named = _ADDRESS.fullmatch(target)
        caller = self._door.known(asker.ticket)
        if named is None or caller is None or not caller.may(named[1], PULL):
            return None
        address = self._proxies.client(remote, asker.forwarded)
        try:
            if named[2] == "manifests" and method in ("GET", "HEAD"):
                kind, answer = Kind.MANIFEST, self._manifest(named[1], named[3], method, caller, address)
            elif named[2] == "blobs" and method == "HEAD":
                kind, answer = Kind.BLOB, self._blob(named[1], named[3], caller, address)
            else:
                return None
        except TooManyRequests:
            return None
        if answer is not None:
            self._requests.answered(kind.value, method, 200, time.perf_counter() - began)
        return answer

    def _manifest(self, repository: str, reference: str, method: str, caller: Caller, address: str) -> bytes | None:
        found = self._manifests.at_hand(repository, reference)
        if found is None:
            return None
        manifest, body = found
        self._door.admit(address, caller.reach)
        told = self._door.pull(caller, address, counts=method == "GET")
        return self._head({**manifest_headers(manifest), **told}) + (body if method == "GET" else b"")

    def _blob(self, repository: str, digest: str, caller: Caller, address: str) -> bytes | None:
        blob = self._blobs.at_hand(repository, digest)
        if blob is None:
            return None
        self._door.admit(address, caller.reach)
        return self._head(blob_headers(blob))

    def _head(self, headers: Mapping[str, str]) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return f"HTTP/1.1 200 OK\r\n{lines}{self._date()}".encode()

    def _date(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True)
            self._trailer = f"{hdrs.DATE}: {date}\r\n{hdrs.SERVER}: {SERVER_SOFTWARE}\r\n\r\n"
        return self._trailer
