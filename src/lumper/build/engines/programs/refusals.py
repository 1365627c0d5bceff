"""What a program itself would not refuse, or not in words that help."""

from __future__ import annotations

import asyncio

from lumper.build.port import BuildRequest
from lumper.errors import BuildFailed, BuildRefused

_HOST = "network.host"


async def refuse(request: BuildRequest) -> None:
    """Raises BuildRefused for the host's network without that right, BuildFailed for an agent that does not answer."""
    if request.network == "host" and _HOST not in request.entitlements:
        raise BuildRefused(f"The build asks for {_HOST}, which this worker does not grant.")
    for name, path in request.ssh.items():
        try:
            _, writer = await asyncio.open_unix_connection(path)
        except OSError as exc:
            raise BuildFailed(f"The ssh agent {name!r} does not answer: {exc.strerror}.") from exc
        writer.close()
