"""How much one client may ask of the registry: token buckets, in bounded memory, in this process.

A client is an account; without one, an address (of IPv6 the network of 64 bits, which one customer has). Programs on
this machine without an account are not limited: there a proxy speaks for many, if it is not known as one.

Sources: ITU-T I.371, generic cell rate algorithm; RFC 6585, section 4; Docker Hub's RateLimit-Limit and
RateLimit-Remaining, which clients know.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable
from functools import lru_cache

from lumper.errors import TooManyRequests

BURST_SECONDS = 10  # what a client has not used for so long it may use at once
_REMEMBERED = 16_384
_ROUNDING = 1e-6

Clock = Callable[[], float]


class Buckets:
    """Buckets that hold `burst` tokens, and get `rate` a second."""

    def __init__(self, rate: float, burst: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._gap = 1 / rate
        self._room = burst * self._gap
        self._full_at: dict[str, float] = {}  # the longest untouched first

    def take(self, client: str) -> float:
        """Take a token; 0, or the seconds until there will be one."""
        now = self._clock()
        full_at = max(now, self._full_at.pop(client, now))
        wait = full_at + self._gap - self._room - now
        refused = wait > _ROUNDING
        self._full_at[client] = full_at if refused else full_at + self._gap
        if len(self._full_at) > _REMEMBERED:
            del self._full_at[next(iter(self._full_at))]
        return wait if refused else 0.0

    def left(self, client: str) -> int:
        """How many tokens there are."""
        now = self._clock()
        missing = max(0.0, self._full_at.get(client, now) - now)
        return max(0, math.floor((self._room - missing) / self._gap + _ROUNDING))


class RateLimits:
    """The limits in force. Each may be 0 for none.

    `account` and `anonymous` are requests a second, `pulls` are manifests in `window` seconds.
    """

    def __init__(
        self,
        *,
        account: float = 0.0,
        anonymous: float = 0.0,
        pulls: int = 0,
        window: float = 3600.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._account = Buckets(account, account * BURST_SECONDS, clock) if account else None
        self._anonymous = Buckets(anonymous, anonymous * BURST_SECONDS, clock) if anonymous else None
        self._pulls = Buckets(pulls / window, pulls, clock) if pulls else None
        self._rates = (account, anonymous)
        self._quota = (pulls, round(window))

    def admit(self, account: str, address: str) -> None:
        """Let a request of the account ("": none) from this address come in. Raises TooManyRequests."""
        buckets = self._account if account else self._anonymous
        if buckets is None:
            return
        client = account or network(address)
        if client and (wait := buckets.take(client)):
            rate = self._rates[0 if account else 1]
            raise TooManyRequests(math.ceil(wait - _ROUNDING), _told(round(rate * BURST_SECONDS), 0, BURST_SECONDS))

    def pull(self, account: str, address: str, *, counts: bool) -> dict[str, str]:
        """The headers that tell how many pulls are left; one fewer if this one `counts`. Raises TooManyRequests."""
        client = account or network(address)
        if self._pulls is None or not client:
            return {}
        quota, window = self._quota
        if counts and (wait := self._pulls.take(client)):
            raise TooManyRequests(math.ceil(wait - _ROUNDING), _told(quota, 0, window))
        return _told(quota, self._pulls.left(client), window)


def _told(quota: int, left: int, window: int) -> dict[str, str]:
    return {"RateLimit-Limit": f"{quota};w={window}", "RateLimit-Remaining": f"{left};w={window}"}


@lru_cache(4096)
def network(address: str) -> str:
    """By what a client without an account is known; "" for loopback, and for no address at all."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)
