"""A connection to RabbitMQ that is opened when it is needed, and its errors in Lumper's words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from yarl import URL

from lumper.errors import QueueError, QueueUnavailable

_CLOSE_TIMEOUT = 1.5  # seconds; with the broker's own time-out of eight, a publisher hears within ten
_HEARTBEAT = "20"  # seconds; a peer that is silent for twice that is gone


class Link:
    """One connection. It is opened anew when the last one is gone; what was on it is gone, too."""

    def __init__(self, url: str, purpose: str) -> None:
        self._url = _read_url(url)
        self._purpose = purpose
        self._connection: AbstractConnection | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    @property
    def place(self) -> str:
        """`host:port`, for messages to people: never the password."""
        return f"{self._url.host_subcomponent}:{self._url.port or (5671 if self._url.scheme == 'amqps' else 5672)}"

    async def channel(self, *, confirms: bool) -> AbstractChannel:
        """A new open channel. With `confirms`, publishing to it waits for the broker's word."""
        connection = await self._open()
        channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
        await channel.initialize()
        return channel

    async def drop(self) -> None:
        """Close the connection that there is; the next channel gets a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await connection.close()

    async def close(self) -> None:
        """Close for good. Idempotent."""
        self._closed = True
        await self.drop()

    async def _open(self) -> AbstractConnection:
        async with self._opening:
            if self._closed:
                raise QueueUnavailable("The queue was closed.", hint="Lumper is stopping.")
            if self._connection is None or self._connection.is_closed or not self._connection.connected.is_set():
                await self.drop()
                self._connection = await aio_pika.connect(
                    self._url, client_properties={"connection_name": f"lumper {self._purpose}"}
                )
            return self._connection


async def close_quietly(channel: AbstractChannel) -> None:
    """Close a channel that may be broken; in any case nobody waits long for it."""
    with suppress(QueueUnavailable), translated("the broker"):
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await channel.close()


def _read_url(text: str) -> URL:
    try:
        url = URL(text)
    except ValueError:  # its text has the password
        url = URL()
    if url.scheme not in ("amqp", "amqps") or not url.host:
        raise QueueError(
            "[queue] url is no address of RabbitMQ.", hint="It looks like amqp://user:password@host:5672/virtual-host."
        ) from None
    return url if "heartbeat" in url.query else url.update_query(heartbeat=_HEARTBEAT)


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn what the client library raises into Lumper's errors."""
    try:
        yield
    except QueueError:
        raise
    except (AuthenticationError, ProbableAuthenticationError) as exc:
        raise QueueUnavailable(f"RabbitMQ at {place} refuses the user or the password in [queue] url.") from exc
    except InvalidFrameError as exc:  # all that the library says when the broker closes instead of opening
        raise QueueUnavailable(
            f"RabbitMQ at {place} does not open the virtual host that [queue] url names.",
            hint="Is there one of this name, and may the user use it? `rabbitmqctl list_permissions -p NAME` tells.",
        ) from exc
    except ChannelPreconditionFailed as exc:
        raise QueueError(
            f"RabbitMQ at {place} has a queue of this name with other settings: {_words(exc)}.",
            hint="Was it made by something else? Delete that queue, once it is empty.",
        ) from exc
    except TimeoutError as exc:
        raise QueueUnavailable(f"RabbitMQ at {place} does not answer.") from exc
    except CONNECTION_EXCEPTIONS as exc:
        raise QueueUnavailable(f"RabbitMQ at {place} cannot be used: {_words(exc)}.") from exc
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # The library cancels what waits on a channel when that breaks: nobody cancelled us.
        raise QueueUnavailable(f"The connection to RabbitMQ at {place} broke.") from exc


def _words(exc: BaseException) -> str:
    return str(exc).strip(" .") or type(exc).__name__
