"""The address that a request came from, also when a proxy stands in front.

X-Forwarded-For is a list to which each proxy appends whom it was asked by: only what trusted proxies have appended
counts, everything to the left of it a client may have made up. X-Real-IP is looked at where that header is missing.
Source: MDN, "X-Forwarded-For", "Selecting an IP address".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

Address = IPv4Address | IPv6Address


class Proxies:
    """Networks in which proxies are that tell the truth."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(network) for network in networks]

    def client(self, remote: str, headers: Mapping[str, str]) -> str:
        """Who sent a request that came from `remote` with these headers, the values of each joined by commas."""
        if not self._networks or not self._trusts(_parsed(remote)):
            return remote
        told = headers.get("X-Forwarded-For") or headers.get("X-Real-IP") or ""
        found = remote
        for text in reversed(told.split(",")):
            address = _parsed(text)
            if address is None:
                break
            found = str(address)
            if not self._trusts(address):
                break
        return found

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


FORWARDED = ("X-Forwarded-For", "X-Real-IP")
PROXIES = web.AppKey("proxies", Proxies)


def address_of(request: web.Request) -> str:
    """The client's IP address, "" if it has none."""
    remote = request.remote or ""
    proxies = request.config_dict.get(PROXIES)
    if proxies is None:
        return remote
    return proxies.client(remote, {name: ",".join(request.headers.getall(name, [])) for name in FORWARDED})


def _parsed(text: str) -> Address | None:
    """An address as proxies write it; one of IPv4 in a socket of IPv6 is the former."""
    try:
        address = ip_address(text.strip().removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
