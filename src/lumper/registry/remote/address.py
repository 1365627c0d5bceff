"""Which addresses are connected to: another registry's answers may name hosts that are none of its business.

Every address is looked at when it is about to be connected to, so that no second answer of a name server counts
(CVE-2026-48978: a token realm at 169.254.169.254).
"""

from __future__ import annotations

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from lumper.errors import RemoteInvalid
from lumper.model.addresses import AddressScope, literal_of, place_of


class Guard(AbstractResolver):
    """Names to addresses, for a client of the registry at `home`.

    The registry itself may be anywhere except at a special address, unless its URL has that address. Other hosts that
    it names may be public, or as near as the registry itself.
    """

    def __init__(self, home: URL) -> None:
        self._home = home.host or ""
        self._near: set[AddressScope] = {AddressScope.PUBLIC}
        self._resolver = ThreadedResolver()

    def check_literal(self, url: URL) -> None:
        """Raise RemoteInvalid for an URL with an IP address that is not connected to: no resolver is asked for it."""
        host = url.host or ""
        literal = literal_of(host.partition("%")[0])
        if literal is None:  # a name: `resolve` looks at what it means
            return
        found = place_of(literal)
        if host == self._home:
            self._near.add(found)
        elif found not in self._near:
            raise _refused(host)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Those addresses of the host that may be connected to. Raises RemoteInvalid if there is none, OSError."""
        found = await self._resolver.resolve(host, port, family)
        if host == self._home:
            good = [one for one in found if _place(one) is not AddressScope.NEVER]
            self._near.update(map(_place, good))
        else:
            good = [one for one in found if _place(one) in self._near]
        if not good:
            raise _refused(host)
        return good

    async def close(self) -> None:
        """Nothing is held."""


def _place(found: ResolveResult) -> AddressScope:
    return place_of(ipaddress.ip_address(found["host"].partition("%")[0]))


def _refused(host: str) -> RemoteInvalid:
    return RemoteInvalid(
        f"{ascii(host)[1:-1]} has an address that is not connected to.",
        hint="It is nearer to this machine than the registry that named it.",
    )
