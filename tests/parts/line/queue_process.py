"""A process of its own that uses a queue, for tests that kill it.

It is `python queue_process.py WHAT QUEUE TOPIC NUMBER LEASE`. QUEUE is the URL of a RabbitMQ or the path of a SQLite
file, LEASE is in seconds, of such a file. It tells on its standard output what it did, line by line:

    hold      "holding ID" when it has a message; for each line on its input an ack, and "acked"
    drain     "got ID" for each message that it acks, the first one when it gets a line on its input; ends with the
              message whose id begins with "end"
    publish   "published ID" for NUMBER messages, one by one
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from lumper.queue.brokers.rabbitmq import RabbitBroker
from lumper.queue.brokers.sqlite import SqliteBroker
from lumper.queue.port import Broker, Message

LEASE = 1.5  # seconds, so that tests need not wait long
_LONG = 60.0  # seconds, for which no machine stands still


def open_queue(name: str, lease: float = LEASE) -> Broker:
    """The broker that the name asks for; `lease` is in seconds, of a SQLite file."""
    if name.startswith("amqp://"):
        return RabbitBroker(name, timeout=_LONG)
    return SqliteBroker(Path(name), lease=lease)


class QueueProcess:
    """The process as the test sees it. `async with` kills it at the end, if it still runs.

    A machine that stands still for longer than the `lease`, in seconds, may make it lose what it holds.
    """

    def __init__(self, what: str, queue: str, topic: str, number: int = 0, *, lease: float = _LONG) -> None:
        self._command = (sys.executable, __file__, what, queue, topic, str(number), str(lease))
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> QueueProcess:
        self.process = await asyncio.create_subprocess_exec(
            *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def line(self) -> str:
        """The next thing that it did; "" when it has ended."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            return (await self.process.stdout.readline()).decode().strip()

    async def lines(self) -> list[str]:
        """Everything that it did until its end."""
        found = []
        while line := await self.line():
            found.append(line)
        return found

    async def answer(self) -> None:
        """Let it ack what it holds."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"ack\n")
        await self.process.stdin.drain()

    async def kill(self) -> None:
        """As `kill -9` does."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


async def _hold(broker: Broker, topic: str) -> None:
    async with broker.consume(topic) as deliveries:
        async for delivery in deliveries:
            print("holding", delivery.message.id, flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            await delivery.ack()
            print("acked", flush=True)


async def _drain(broker: Broker, topic: str) -> None:
    async with broker.consume(topic) as deliveries:
        first = True
        async for delivery in deliveries:
            if delivery.message.id.startswith("end"):
                await delivery.ack()
                return
            print("got", delivery.message.id, flush=True)
            if first:
                await asyncio.to_thread(sys.stdin.readline)
                first = False
            await delivery.ack()


async def _publish(broker: Broker, topic: str, count: int) -> None:
    for number in range(count):
        await broker.publish([Message(str(number), topic, b"x" * 1000)])
        print("published", number, flush=True)


async def _main(what: str, queue: str, topic: str, number: str, lease: str) -> None:
    broker = open_queue(queue, float(lease))
    try:
        match what:
            case "hold":
                await _hold(broker, topic)
            case "drain":
                await _drain(broker, topic)
            case _:
                await _publish(broker, topic, int(number))
    finally:
        await broker.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
