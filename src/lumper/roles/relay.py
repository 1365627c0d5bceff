"""The relay: from the outbox to the queue. What was committed is published, at least once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lumper.errors import LumperError
from lumper.line.outbox import Outbox
from lumper.logs import get_logger
from lumper.queue.port import Broker, Message

log = get_logger(__name__)

_AGAIN_SECONDS = 1.0

Published = Callable[[str, bytes], None]


def _nobody(_topic: str, _body: bytes) -> None:
    pass


async def relay(outbox: Outbox, broker: Broker, published: Published = _nobody) -> None:
    """Publish what was committed, for ever. While the queue is away, messages wait in the outbox.

    `published` is told topic and body of each afterwards.
    """
    while True:
        try:
            pending = await outbox.pending()
            if not pending:
                await outbox.wait()
                continue
            await broker.publish([Message(each.message_id, each.topic, each.body) for each in pending])
            await outbox.forget([each.id for each in pending])
            for each in pending:
                published(each.topic, each.body)
        except LumperError as exc:
            log.warning("the outbox waits", action="relay.wait", error=exc.sentence)
            await asyncio.sleep(_AGAIN_SECONDS)
