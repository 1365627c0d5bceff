"""What all roles share: consuming a topic, running tasks side by side, ending gracefully on a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from lumper.errors import LumperError, QueueError, QueueUnavailable
from lumper.logs import get_logger
from lumper.model.events import Payload
from lumper.queue.codec import decode
from lumper.queue.port import Broker, Delivery
from lumper.queue.retry import RetryPolicy

log = get_logger(__name__)

Part = Callable[[], Awaitable[None]]
"""Something that runs until it is cancelled."""

Wait = Callable[[], Awaitable[None]]
"""Returns when there may be something to do."""

Handler = Callable[[Payload], Awaitable[None]]
Hears = Callable[[bool], None]
"""Is told True when messages come from now on, and False when they do no more: the queue is away."""

RECONNECT = RetryPolicy(first=0.2, factor=2.0, longest=10.0)
"""For what is away and is waited for, however long."""


async def consume(
    broker: Broker, topic: str, handler: Handler, policy: RetryPolicy, hears: Hears = lambda _: None
) -> None:
    """Hand every message of the topic to `handler`, one after the other, for ever.

    A handler that returns is done with the message. One that raises sees it again, as `policy` says, and in the end
    the message is put aside as a dead letter. One that is cancelled leaves the message to the broker, which hands it
    out again. A broker that is away is waited for.
    """
    failures = 0
    while True:
        try:
            async with broker.consume(topic) as deliveries:
                hears(True)
                async for delivery in deliveries:
                    failures = 0
                    await _handle(delivery, handler, policy)
        except QueueUnavailable as exc:
            hears(False)
            failures += 1
            log.warning("the queue is away", action="queue.away", topic=topic, error=exc.sentence)
            await asyncio.sleep(RECONNECT.pause(failures))


async def _handle(delivery: Delivery, handler: Handler, policy: RetryPolicy) -> None:
    message = delivery.message
    try:
        payload = decode(message.body)
    except QueueError as exc:
        log.error("a message of an unknown kind", action="queue.unknown", topic=message.topic, error=str(exc))
        await delivery.dead_letter(str(exc))
        return
    try:
        await handler(payload)
    except Exception as exc:  # whatever it is: the message is kept and the loop goes on
        reason = exc.sentence if isinstance(exc, LumperError) else repr(exc)
        delay = policy.delay(delivery.deliveries)
        known = isinstance(exc, LumperError)
        log.warning(
            "a message failed",
            action="queue.retry" if delay is not None else "queue.dead",
            topic=message.topic,
            kind=type(payload).__name__,
            deliveries=delivery.deliveries,
            error=reason,
            exc_info=None if known else exc,
        )
        if delay is None:
            await delivery.dead_letter(reason)
        else:
            await delivery.retry(delay, reason)
    else:
        await delivery.ack()


async def persist(action: Callable[[], Awaitable[None]], what: str) -> None:
    """Do `action` again and again until the queue takes it."""
    failures = 0
    while True:
        try:
            return await action()
        except QueueUnavailable as exc:
            failures += 1
            log.warning("the queue is away", action="queue.away", what=what, error=exc.sentence)
            await asyncio.sleep(RECONNECT.pause(failures))


async def forever(name: str, period: float, action: Callable[[], Awaitable[object]], wait: Wait | None = None) -> None:
    """Do `action` every `period` seconds, or later if `wait` takes longer; an error is logged and does not end it."""
    while True:
        try:
            await action()
        except LumperError as exc:
            log.warning("a periodic task failed", action=name, error=exc.sentence)
        except Exception as exc:  # a mistake in a chore may not end what runs beside it, such as builds
            log.error("a periodic task itself failed", action=name, exc_info=exc)
        await asyncio.sleep(period)
        if wait is not None:
            await wait()


async def supervise(name: str, part: Part) -> None:
    """Run a part for ever: an error that nobody foresaw is logged, and the part begins anew a moment later."""
    failures = 0
    while True:
        begun = asyncio.get_running_loop().time()
        try:
            await part()
            return
        except Exception as exc:
            steady = asyncio.get_running_loop().time() - begun > 60
            failures = 1 if steady else failures + 1
            delay = RECONNECT.pause(failures)
            known = exc.sentence if isinstance(exc, LumperError) else ""  # the database is away, say: that tells all
            log.error(
                "a part failed and begins anew",
                action="part.failed",
                part=name,
                delay=delay,
                error=known or repr(exc),
                exc_info=None if known else exc,
            )
            await asyncio.sleep(delay)


def _on_signal(loop: asyncio.AbstractEventLoop, number: int, work: Callable[[], None]) -> None:
    """Have the loop do some work, once or twice, when a signal comes; `remove_signal_handler` undoes this.

    asyncio itself learns of signals only by the socket by which threads wake it. That is full once some hundred have
    done so between two of its turns, as when hundreds of clients go at once, and what no longer fits is lost.
    """
    loop.add_signal_handler(number, work)
    signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
    signal.signal(number, lambda *_: loop.call_soon_threadsafe(work))
    signal.siginterrupt(number, False)


async def run_until_signal(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all parts until SIGTERM or SIGINT; then cancel them and wait for their end. A part that fails ends all."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        _on_signal(loop, number, stop.set)
    tasks = [asyncio.create_task(part) for part in parts]
    waiter = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, waiter], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (*tasks, waiter):
            task.cancel()
        await asyncio.gather(*tasks, waiter, return_exceptions=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
