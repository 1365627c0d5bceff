"""Addresses of other machines, and of this one: which of them are to be connected to, and how. Pure.

A URL of a repository is data that somebody typed, and a worker stands inside of the network: without rules, whoever may
name a URL asks questions of the cloud's metadata service, of the machine's own daemons, of the neighbours.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")
_NUMBER = re.compile(r"\d+|0[xX][0-9a-fA-F]*")  # as the last part of a name: an address to curl and getaddrinfo(3)
_METADATA = frozenset(  # of the large clouds; those in 169.254/16 are link-local anyway
    ipaddress.ip_address(text) for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1
_DOCKER = (2375, 2376, 2377)


class AddressScope(Enum):
    """Where an address leads."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    NEVER = "never"


def place_of(address: Address) -> AddressScope:
    """Where an address leads, also one that carries an IPv4 address within (mapped, 6to4, NAT64)."""
    address = _inner(address)
    if address.is_link_local or address.is_unspecified or address.is_multicast or address in _METADATA:
        return AddressScope.NEVER
    if address.version == 4 and (address.packed[0] == 0 or address.packed[0] >= 240):  # this network, reserved
        return AddressScope.NEVER
    if address.is_loopback:
        return AddressScope.LOOPBACK
    return AddressScope.PUBLIC if address.is_global else AddressScope.PRIVATE


def _inner(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(address.packed[12:])
        return address.ipv4_mapped or address.sixtofour or address
    return address


def on_loopback(host: str) -> bool:
    """Whether a host, `HOST[:PORT]`, is written as this machine itself.

    >>> on_loopback("127.0.0.1:5000"), on_loopback("[::1]"), on_loopback("localhost.example.org")
    (True, True, False)
    """
    literal = literal_of(host.strip("[]"))
    if literal is None:
        name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
        literal = literal_of(name.strip("[]"))
        if literal is None:
            return name.rstrip(".").lower() == "localhost"
    return literal.is_loopback


def registry_url(host: str) -> str:
    """Where the registry `HOST[:PORT]` of an image's name answers: on this machine without TLS, as Docker has it."""
    return f"{'http' if on_loopback(host) else 'https'}://{host}"


def host_problem(host: str) -> str:
    """What keeps a host's name or address from being used at all, or "".

    >>> host_problem("0177.0.0.1"), host_problem("git.example.org")
    ('write the address as four plain numbers', '')
    """
    literal = literal_of(host)
    if literal is not None:
        if _inner(literal) != literal:
            return "write the IPv4 address itself"
        return f"{host} is no address of a git server" if place_of(literal) is AddressScope.NEVER else ""
    if ":" in host or "%" in host:
        return "this is not an address"
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return "write the address as four plain numbers"
    if not _NAME.fullmatch(host):
        return "a host's name has letters, digits, dots and dashes (write others as xn--…)"
    return ""


def server_problem(host: str, port: int | None) -> str:
    """What is wrong with host and port in a git server's URL, as far as that is seen without a look-up, or "".

    >>> server_problem("localhost", 2375), server_problem("git.example.org", 2375)
    ("port 2375 is the Docker Engine's", '')
    """
    if problem := host_problem(host):
        return problem
    literal = literal_of(host)
    inside = on_loopback(host) if literal is None else place_of(literal) is not AddressScope.PUBLIC
    return f"port {port} is the Docker Engine's" if inside and port in _DOCKER else ""


def literal_of(host: str) -> Address | None:
    """The address that a host is written as, without zone; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@dataclass(frozen=True)
class Network:
    """Which git servers may be connected to.

    `allow_private`: whether the URL of a project may lead into private networks, and, written as an address or as
    localhost, to this machine. `allow_hosts` are names (with `*`), addresses and networks that everything may lead to:
    redirects, submodules and LFS servers too. Link-local addresses and metadata services are out of reach in any case.
    """

    allow_private: bool = True
    allow_hosts: tuple[str, ...] = ()

    def refusal(self, host: str, port: int, addresses: Sequence[Address], *, named: bool) -> str:
        """Why a host with these addresses is not connected to, or "". `named`: the project's own URL names the host."""
        if problem := host_problem(host):
            return problem
        if all(place_of(address) is AddressScope.PUBLIC for address in addresses):
            return ""
        if port in _DOCKER:
            return f"port {port} is the Docker Engine's"
        return next((why for a in addresses if (why := self._refusal(host, a, named=named))), "")

    def _refusal(self, host: str, address: Address, *, named: bool) -> str:
        place = place_of(address)
        if place is AddressScope.NEVER:
            return f"{address} is no address of a git server"
        if place is AddressScope.PUBLIC or self._allows(host, address):
            return ""
        own = self.allow_private and named
        if place is AddressScope.PRIVATE:
            return "" if own else f"{address} is a private address"
        written = literal_of(host) is not None or host.rstrip(".").lower() == "localhost"
        return "" if own and written else f"{address} is this machine itself"

    def _allows(self, host: str, address: Address) -> bool:
        return any(_fits(pattern, host.rstrip(".").lower(), address) for pattern in self.allow_hosts)


def _fits(pattern: str, host: str, address: Address) -> bool:
    try:
        return address in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return fnmatch.fnmatchcase(host, pattern.lower())
