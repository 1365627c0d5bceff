"""Which addresses are connected to: another registry's answers may name hosts that are none of its business.

Every address is looked at when it is about to be connected to, so that no second answer of a name server counts
(CVE-2026-48978: a token realm at 169.254.169.254).
"""

from __future__ import annotations

import ipaddress
import socket
from enum import Enum, auto

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from lumper.errors import RemoteInvalid

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Nearness(Enum):
    """How near to this machine an address is."""

    PUBLIC = auto()
    PRIVATE = auto()
    LOOPBACK = auto()
    SPECIAL = auto()  # link-local (metadata services of clouds), multicast, unspecified


def nearness(text: str) -> Nearness:
    """The nearness of an IP address; what is wrapped into IPv6 counts as what it is."""
    address = _unwrapped(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_loopback:
        return Nearness.LOOPBACK
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return Nearness.SPECIAL
    return Nearness.PUBLIC if address.is_global else Nearness.PRIVATE


def _unwrapped(address: _Address) -> _Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class Guard(AbstractResolver):
    """Names to addresses, for a client of the registry at `home`.

    The registry itself may be anywhere except at a special address, unless its URL has that address. Other hosts that
    it names may be public, or as near as the registry itself.
    """

    def __init__(self, home: URL) -> None:
        self._home = home.host or ""
        self._near: set[Nearness] = {Nearness.PUBLIC}
        self._resolver = ThreadedResolver()

    def check_literal(self, url: URL) -> None:
        """Raise RemoteInvalid for an URL with an IP address that is not connected to: no resolver is asked for it."""
        host = url.host or ""
        try:
            found = nearness(host)
        except ValueError:  # a name: `resolve` looks at what it means
            return
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
            good = [one for one in found if nearness(one["host"]) is not Nearness.SPECIAL]
            self._near.update(nearness(one["host"]) for one in good)
        else:
            good = [one for one in found if nearness(one["host"]) in self._near]
        if not good:
            raise _refused(host)
        return good

    async def close(self) -> None:
        """Nothing is held."""


def _refused(host: str) -> RemoteInvalid:
    return RemoteInvalid(
        f"{ascii(host)[1:-1]} has an address that is not connected to.",
        hint="It is nearer to this machine than the registry that named it.",
    )
