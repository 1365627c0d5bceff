"""Who needs a digest in this moment: requests that are at work with it, and those that have asked for it lately."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from lumper.registry.needs import Needs

_REMEMBERED = 65_536  # digests


class Holds:
    """Keeps pushes and the collection of garbage apart, digest by digest. For one event loop.

    A push holds a digest (`using`) from before its bytes are stored until a transaction says who has them. A client
    that is told that something is there (`asked`) relies on it for a while: it will not send it again. The collector
    leaves alone what was asked for `lately`, and claims (`claiming`) what nobody holds; whoever comes then waits until
    it is done, and so is told the truth, or stores the bytes anew.
    """

    def __init__(self, needs: Needs | None = None) -> None:
        """`needs` is how other processes hear of it, where there may be any."""
        self.needs = needs
        self._used: Counter[str] = Counter()
        self._asked: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._forgotten = float("-inf")  # when the youngest of those was asked for that are no longer remembered
        self._claimed: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def using(self, repository: str, digests: Iterable[str]) -> AsyncIterator[None]:
        """None of these is collected during the block; what is known of them in `repository` is true."""
        held = set(digests)
        while claimed := next((self._claimed[one] for one in held if one in self._claimed), None):
            await claimed.wait()
        self._used.update(held)
        try:
            if self.needs is None:
                yield
            else:
                async with self.needs.using(repository, held):
                    yield
        finally:
            for one in held:
                self._used[one] -= 1
                if not self._used[one]:
                    del self._used[one]

    async def asked(self, repository: str, digest: str) -> None:
        """Somebody asks for this; returns when the answer cannot become untrue at once."""
        while not self.asked_at_once(repository, digest):
            await self._claimed[digest].wait()

    def asked_at_once(self, repository: str, digest: str) -> bool:
        """Like `asked`, without waiting; False if one would have to, and then nothing is noted."""
        if digest in self._claimed:
            return False
        self._asked[repository, digest] = time.monotonic()
        self._asked.move_to_end((repository, digest))
        if len(self._asked) > _REMEMBERED:
            _, self._forgotten = self._asked.popitem(last=False)
        return True

    def rely_at_once(self, repository: str, digest: str) -> bool:
        """Whether somebody can be told at once that this is there, and then it is noted like `asked`."""
        known = self.needs is None or self.needs.known(repository, digest)
        return known and self.asked_at_once(repository, digest)

    async def rely(self, repository: str, digest: str) -> bool:
        """Let other processes know that somebody is about to be told that this is there.

        Returns whether they did not know: then it has to be asked once more whether it is there.
        """
        if self.needs is None or self.needs.known(repository, digest):
            return False
        await self.needs.rely(repository, digest)
        return True

    def not_there(self, repository: str, digest: str) -> None:
        """What was asked for is not there: nobody relies on it."""
        self._asked.pop((repository, digest), None)

    def lately(self, repository: str, seconds: float) -> Callable[[str], bool]:
        """A test whether a digest was asked for in the last seconds; True for all if too many were for the memory."""
        since = time.monotonic() - seconds
        if self._forgotten >= since:
            return lambda _: True
        return lambda digest: self._asked.get((repository, digest), float("-inf")) >= since

    @contextmanager
    def claiming(self, digests: Iterable[str]) -> Iterator[set[str]]:
        """Those of these that nobody holds: during the block nobody comes near them."""
        free = {one for one in digests if one not in self._used and one not in self._claimed}
        done = asyncio.Event()
        self._claimed.update(dict.fromkeys(free, done))
        try:
            yield free
        finally:
            for one in free:
                del self._claimed[one]
            done.set()
