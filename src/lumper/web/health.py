"""GET /healthz: this process answers. GET /readyz: what it needs answers too. Both are for everybody.

Who restarts what is ill asks the first, since a restart brings back no database; who hands out requests, the second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import hdrs, web

from lumper.errors import LumperError
from lumper.logs import get_logger

log = get_logger(__name__)

AGAIN_SECONDS = "5"
"""When to come back to what is away: a restart of a database or a storage takes about as long."""

_LONGEST = 5.0  # seconds for which an answer is waited for
_FRESH = 2.0  # seconds for which one is believed: anybody may ask, however often

Look = Callable[[], Awaitable[object]]


class Readiness:
    """Looks at what is needed: each of `needs`, by its name, raises LumperError if it is away."""

    def __init__(self, needs: Mapping[str, Look], *, longest: float = _LONGEST, fresh: float = _FRESH) -> None:
        """An answer is waited for at most `longest` seconds, and believed for `fresh` seconds."""
        self._needs = [_Need(name, look, longest, fresh) for name, look in needs.items()]

    async def show(self, _request: web.Request) -> web.Response:
        """200 or 503, with the names of what is away."""
        away = [need.name for need, there in zip(self._needs, await self._all(), strict=True) if not there]
        if not away:
            return web.Response(text="ok", headers={hdrs.CACHE_CONTROL: "no-store"})
        words = f"away: {', '.join(away)}"
        return web.Response(status=503, text=words, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def _all(self) -> list[bool]:
        return await asyncio.gather(*(need.there() for need in self._needs))


class _Need:
    """One thing that is needed. It is asked once at a time, also when it does not answer."""

    def __init__(self, name: str, look: Look, longest: float, fresh: float) -> None:
        self.name = name
        self._look = look
        self._longest = longest
        self._fresh = fresh
        self._asking: asyncio.Future[bool] | None = None
        self._until = 0.0
        self._was_there = True

    async def there(self) -> bool:
        """Whether it answers."""
        if self._asking is None or (self._asking.done() and time.monotonic() >= self._until):
            self._asking = asyncio.ensure_future(self._ask())
        done, _ = await asyncio.wait([self._asking], timeout=self._longest)
        there = bool(done) and self._asking.result()
        if there is not self._was_there:
            self._was_there = there
            log.warning(f"the {self.name} {'is back' if there else 'is away'}", action="ready", ready=there)
        return there

    async def _ask(self) -> bool:
        try:
            await self._look()
        except LumperError:
            return False
        finally:
            self._until = time.monotonic() + self._fresh
        return True


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok", headers={hdrs.CACHE_CONTROL: "no-store"})


def add_routes(app: web.Application, needs: Mapping[str, Look]) -> None:
    """Serve both."""
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", Readiness(needs).show)
