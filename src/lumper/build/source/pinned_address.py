"""How a git server is reached: its name is looked up once, here, and whoever connects is held to that answer.

All answers are judged (`lumper.model.addresses`), and curl and ssh get them along with the name. So a name that is
looked up a second time cannot lead elsewhere (DNS rebinding), and no redirect is followed that was not judged too: git
follows none by itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed has it for macOS only

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from lumper.build.source.git import Access
from lumper.errors import GitUnreachable, RepositoryNotFound, SourceRefused
from lumper.model.addresses import Address, Network, host_problem, literal_of
from lumper.model.source import parse_git_url

_LOOKUP = 20.0  # seconds
_PORTS = {"http": 80, "https": 443, "ssh": 22}
_REFS = "/info/refs?service=git-upload-pack"  # what git asks for first: gitprotocol-http(5), "Smart Clients"
_MOST_MOVES = 5
_TRUST = ("GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_ANY = socket.AF_UNSPEC

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""From a host's name and a port to its addresses. Raises OSError."""


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name, best first (getaddrinfo(3)). Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


@dataclass(frozen=True)
class Server:
    """Where a URL leads to. An ssh URL without a scheme (`git@host:path`) is one with port 22."""

    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials are bound to."""
        return self.scheme, self.host, self.port


def server_of(url: str) -> Server:
    """The server of a URL that `parse_git_url` has let through."""
    if "://" not in url:
        return Server("ssh", parse_git_url(url).host, _PORTS["ssh"])
    parts = urlsplit(url)
    return Server(parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS[parts.scheme])


class AddressGuard:
    """Judges where connections lead. `environment` tells the operator's proxies, which look names up by themselves."""

    def __init__(
        self,
        network: Network | None = None,
        *,
        lookup: Lookup = look_up,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._network = network or Network()
        self._lookup = lookup
        self._environment = environment

    async def pinned(self, access: Access, named: str) -> Access:
        """The access with the addresses that it is held to. `named` is the project's own URL.

        Raises SourceRefused for an address that is out of bounds, GitUnreachable for a name that nobody knows.
        """
        if access.local:
            return access
        server = server_of(access.url)
        addresses = await self.addresses(server, access.url, named)
        return replace(access, pinned=tuple(addresses))

    async def addresses(self, server: Server, url: str, named: str) -> list[str]:
        """The addresses of a server, all judged; empty where a proxy of the operator's finds them."""
        return await self.judged(server, url, named, lookup=not self._proxied(server))

    async def judged(self, server: Server, url: str, named: str, *, lookup: bool = True) -> list[str]:
        """Likewise, whatever the scheme; without `lookup`, only what the host is written as is judged."""
        literal = literal_of(server.host)
        found: list[str] = []
        if literal is None and lookup and not host_problem(server.host):
            found = await self._looked_up(server, url)
        judged: list[Address] = [literal] if literal else [ipaddress.ip_address(a.partition("%")[0]) for a in found]
        own = not parse_git_url(named).local and server.host == server_of(named).host
        if why := self._network.refusal(server.host, server.port, judged, named=own):
            hint = "If that is meant, put the host into [git] allow_hosts."
            raise SourceRefused(f"Lumper does not connect to {url}: {why}.", hint=hint)
        return found

    async def _looked_up(self, server: Server, url: str) -> list[str]:
        try:
            async with asyncio.timeout(_LOOKUP):
                return await self._lookup(server.host, server.port)
        except (OSError, UnicodeError, TimeoutError) as exc:
            said = exc.strerror if isinstance(exc, OSError) and exc.strerror else "no answer"
            raise GitUnreachable(f"{url} cannot be fetched: Could not resolve host {server.host}: {said}.") from exc

    def _proxied(self, server: Server) -> bool:
        """Whether curl would take a proxy: libcurl-env(3)."""
        names = {key: value for key, value in self._environment.items() if key != "HTTP_PROXY"}
        lower = {key.lower(): value for key, value in names.items() if value}
        if server.scheme == "ssh" or not (lower.get(f"{server.scheme}_proxy") or lower.get("all_proxy")):
            return False
        return not proxy_bypass_environment(server.host, {"no": lower.get("no_proxy", "")})

    async def moved(self, access: Access, named: str) -> Access:
        """The access to where an HTTP server sends on to, for git does not tell. Credentials go to the same host only.

        Raises RepositoryNotFound where it leads nowhere, SourceRefused, GitUnreachable.
        """
        try:
            async with (
                asyncio.timeout(_LOOKUP),
                self.client(named) as client,
                client.get(access.url + _REFS, allow_redirects=False) as response,
            ):
                target = urljoin(access.url + _REFS, response.headers.get("Location", ""))
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise GitUnreachable(f"{access.url} cannot be asked where it has moved to: {exc}.") from exc
        place = target.removesuffix(_REFS)
        if place in (target, access.url) or not place.startswith(("http://", "https://")):
            raise RepositoryNotFound(f"The repository at {access.url} has moved, and nobody says where to.")
        url = parse_git_url(place).url
        if access.credentials and not same_keeper(access.url, url):
            hint = "Set the project's URL to its new place: credentials are not sent along to another one."
            raise RepositoryNotFound(f"The repository at {access.url} has moved to {url}.", hint=hint)
        return await self.pinned(replace(access, url=url, moves=access.moves + 1), named)

    def client(self, named: str) -> aiohttp.ClientSession:
        """An HTTP client that connects to judged addresses. URLs with an address in them need `addresses` first."""
        connector = aiohttp.TCPConnector(resolver=_Resolver(self, named), ssl=_trust(self._environment))
        timeout = aiohttp.ClientTimeout(total=None, connect=_LOOKUP, sock_read=60.0)
        return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=True, auto_decompress=False)


class _Resolver(AbstractResolver):
    """Gives aiohttp the judged addresses of a name."""

    def __init__(self, reach: AddressGuard, named: str) -> None:
        self._reach = reach
        self._named = named

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = _ANY) -> list[ResolveResult]:
        server = Server("http", host, port)
        addresses = await self._reach.judged(server, host, self._named)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


def _trust(environment: Mapping[str, str]) -> ssl.SSLContext:
    """The certificates that git would trust: git-config(1), `http.sslCAInfo`; libcurl's variables."""
    file = next((environment[name] for name in _TRUST if environment.get(name)), None)
    return ssl.create_default_context(cafile=file, capath=environment.get("GIT_SSL_CAPATH"))


def may_move(access: Access) -> bool:
    """Whether one more redirect is followed."""
    return access.moves < _MOST_MOVES


def same_keeper(before: str, after: str) -> bool:
    """Whether credentials for one URL may be sent to the other: the same server, or its TLS side."""
    one, other = server_of(before), server_of(after)
    upgraded = (one.scheme, one.port, other.scheme, other.port) == ("http", 80, "https", 443)
    return one.origin == other.origin or (upgraded and one.host == other.host)
