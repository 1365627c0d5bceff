"""How a BuildKit is reached: within a Docker Engine by upgrades of HTTP connections, alone by plain gRPC."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Protocol

from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.protocol import H2Protocol

from lumper.build.engines.buildkit.session.services import Service
from lumper.build.engines.buildkit.session.session import Session, session_headers, session_protocol
from lumper.build.engines.buildkit.transport.address import Address
from lumper.build.engines.buildkit.transport.control import AHEAD, Control
from lumper.build.engines.buildkit.transport.tunnel import Tunnel
from lumper.build.engines.buildkit.transport.upgrade import upgrade


class Link(Protocol):
    """One BuildKit. `address` is for errors."""

    address: Address

    def control(self, ahead: int = AHEAD) -> Control:
        """A connection for calls, which connects by itself. Close it. `ahead` as for Control."""

    async def session(self, offered: Sequence[Service], shared_key: str) -> Session:
        """Offer these services to it; `shared_key` as in BuildKit. Raises EngineUnavailable."""


class EngineLink:
    """The BuildKit within a Docker Engine."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def control(self, ahead: int = AHEAD) -> Control:
        return Control(lambda protocol: upgrade(self.address, "/grpc", (), protocol), ahead)

    async def session(self, offered: Sequence[Service], shared_key: str) -> Session:
        name = uuid.uuid4().hex
        protocol = session_protocol(offered)
        return Session(
            name, await upgrade(self.address, "/session", session_headers(name, offered, shared_key), protocol)
        )


class DaemonLink:
    """A buildkitd. Each session has a connection of its own, so that nothing waits behind a context."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def control(self, ahead: int = AHEAD) -> Control:
        return Control(self._connect, ahead)

    async def _connect(self, protocol: H2Protocol) -> H2Protocol:
        return await self.address.connect(lambda: protocol, protocols=("h2",))

    async def session(self, offered: Sequence[Service], shared_key: str) -> Session:
        name = uuid.uuid4().hex
        control = self.control()
        protocol = session_protocol(offered)
        tunnel = Tunnel(protocol)
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        headers = [(key.lower(), value) for key, value in session_headers(name, offered, shared_key) if value]
        carrying = asyncio.create_task(tunnel.run(control, headers, opened))

        async def end() -> None:
            carrying.cancel()
            await asyncio.wait((carrying,))
            control.close()

        try:
            await opened
        except (GRPCError, StreamTerminatedError, OSError) as exc:
            await end()
            raise self.address.unavailable(exc) from exc
        except BaseException:
            await end()
            raise
        return Session(name, protocol, end)
