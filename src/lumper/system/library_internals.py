"""Private parts of libraries that Lumper relies on.

`PRIVATE` names them all. Other modules reach those of the objects that they hold by the functions here; those that
subclass a library's class (`web/connection/tls.py`, `build/engines/buildkit/`) use its private parts by themselves.
A test compares `PRIVATE` with the installed versions, and `pyproject.toml` has a ceiling for each library.

No library is imported here: a process loads only those that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import Future

    from aiodocker import Docker
    from aiohttp import HttpVersion, StreamReader, web
    from aiohttp.web_protocol import RequestHandler
    from grpclib.protocol import Connection
    from grpclib.server import Stream
    from h2.connection import H2Connection
    from yarl import URL

PRIVATE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "aiodocker.docker:Docker": ("_query_json",),
        "aiohttp.streams:StreamReader": ("_low_water", "_high_water"),
        "aiohttp.web_protocol:RequestHandler": (
            *("_waiter", "_messages", "_current_request", "_next_keepalive_close_time"),
        ),
        "aiohttp.web_request:BaseRequest": ("_version", "_message", "_cache"),
        "aiohttp.web_server:Server": ("_kwargs",),
        "asyncio.selector_events:_SelectorSocketTransport": ("max_size",),
        "asyncio.sslproto:SSLProtocol": (
            *("max_size", "_ssl_buffer", "_ssl_buffer_view", "_set_read_buffer_limits", "_set_write_buffer_limits"),
            *("_write_appdata", "_get_write_buffer_size"),
        ),
        "grpclib.client:Channel": ("_config", "_h2_config", "_protocol_factory", "_create_connection"),
        "grpclib.protocol:Connection": ("_connection", "_transport", "_config"),
        "grpclib.protocol:Stream": ("_h2_connection", "_transport"),
        "grpclib.server:Stream": ("_send_initial_metadata_done", "_stream"),
    }
)
"""The private parts of each class, by `module:class`."""


def waiter(handler: RequestHandler) -> Future[None] | None:
    """What an aiohttp connection waits with for its next request; None while it handles one."""
    return handler._waiter


def messages(handler: RequestHandler) -> Any:
    """The requests, with their bodies, that an aiohttp connection has read and not begun."""
    return handler._messages


def current_request(handler: RequestHandler) -> web.BaseRequest | None:
    """The request that an aiohttp connection handles."""
    return handler._current_request


def close_idle_at(handler: RequestHandler, when: float) -> None:
    """Let aiohttp close an idle connection at this time of the event loop."""
    handler._next_keepalive_close_time = when


def set_read_buffer(server: web.Server, size: int) -> None:
    """Set how many bytes each new connection reads ahead; aiohttp fixes one size for all."""
    server._kwargs["read_bufsize"] = size


def set_water_marks(body: StreamReader, low: int, high: int) -> None:
    """Set how many bytes of a body are read ahead; aiohttp fixes it when the connection is made."""
    body._low_water, body._high_water = low, high


def version(request: web.BaseRequest) -> HttpVersion:
    """The request's version. The public property remembers it, so that it could not be replaced afterwards."""
    return request._version


def set_version(request: web.BaseRequest, answered_in: HttpVersion) -> None:
    """Set the version that the request is answered in."""
    request._version = answered_in


def target(request: web.BaseRequest) -> URL:
    """The request's target as it came; the public URL is completed from other fields."""
    return request._message.url


def set_host(request: web.BaseRequest, host: str) -> None:
    """Set the host of a request whose target is absolute."""
    request._cache["host"] = host


def h2(connection: Connection) -> H2Connection:
    """The state of HTTP/2 of a grpclib connection."""
    return connection._connection


def grpc_config(connection: Connection) -> Any:
    """The configuration of a grpclib connection."""
    return connection._config


def initial_metadata_sent(call: Stream[Any, Any]) -> bool:
    """Whether an answer to a gRPC call has begun."""
    return call._send_initial_metadata_done


async def send_raw(call: Stream[Any, Any], data: bytes) -> None:
    """Send bytes as part of the answer to a gRPC call."""
    await call._stream.send_data(data)


async def query_json(docker: Docker, path: str, data: Mapping[str, Any]) -> Any:
    """POST to a path of the Engine's API for which aiodocker has no method."""
    return await docker._query_json(path, "POST", data=data)
