"""What the session answers when the engine asks back: secrets, ssh agents, credentials for registries.

Nothing of it lies in a file or in an argument: the engine asks at the moment in which a step needs it. Each is offered
only if the request has some, so that an engine cannot even ask for more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from google.protobuf.empty_pb2 import Empty
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from lumper.build.engines.buildkit.proto.auth_pb2 import CredentialsRequest, CredentialsResponse
from lumper.build.engines.buildkit.proto.secrets_pb2 import GetSecretRequest, GetSecretResponse
from lumper.build.engines.buildkit.proto.ssh_pb2 import BytesMessage, CheckAgentRequest, CheckAgentResponse
from lumper.build.port import BuildRequest, Login

_AGENT_ID = "buildkit.ssh.id"  # BuildKit session/sshforward: the metadata that names the agent
_DEFAULT_AGENT = "default"
_AGENT_TIMEOUT = 10.0
_PIECE = 32 * 1024

_SECRETS = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
_CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
_SSH = "/moby.sshforward.v1.SSH"
_TOKENS = ("FetchToken", "GetTokenAuthority", "VerifyTokenAuthority")
_TRIED = (
    _SECRETS,
    _CREDENTIALS,
    f"{_SSH}/CheckAgent",
    f"{_SSH}/ForwardAgent",
    *(f"/moby.filesync.v1.Auth/{call}" for call in _TOKENS),
)

_HUB = "docker.io"
_HUB_HOSTS = ("registry-1.docker.io", "index.docker.io", "https://index.docker.io/v1/")


class Service(Protocol):
    """What grpclib serves: from the path of each call to what answers it."""

    def __mapping__(self) -> Mapping[str, Handler]: ...


def services(request: BuildRequest) -> list[Service]:
    """What a session for this request offers beside its context."""
    offered: list[tuple[object, Callable[[], Service]]] = [
        (request.secrets, lambda: Secrets(request.secrets)),
        (request.ssh, lambda: Agents(request.ssh)),
        (request.logins, lambda: Logins(request.logins)),
    ]
    return [make() for wanted, make in offered if wanted]


class Absent:
    """Answers the calls that engines try without having been offered them.

    It is a whole gRPC answer: grpclib's own for an unknown call has no content type, which Engine 20.10 takes for an
    answer of something else and ends the build with.
    """

    async def refuse(self, _: Stream[Empty, Empty]) -> None:
        raise GRPCError(Status.UNIMPLEMENTED, "this build does not offer that")

    def __mapping__(self) -> Mapping[str, Handler]:
        return {path: Handler(self.refuse, Cardinality.UNARY_UNARY, Empty, Empty) for path in _TRIED}


class Secrets:
    """Secrets by their id."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._secrets = secrets

    async def get(self, stream: Stream[GetSecretRequest, GetSecretResponse]) -> None:
        request = await _message(stream)
        if request.ID not in self._secrets:
            raise GRPCError(Status.NOT_FOUND, f"there is no secret {request.ID[:200]!r}")
        await stream.send_message(GetSecretResponse(data=self._secrets[request.ID]))

    def __mapping__(self) -> Mapping[str, Handler]:
        return _unary(_SECRETS, self.get, GetSecretRequest, GetSecretResponse)


class Logins:
    """Credentials by registry host. BuildKit fetches tokens with them by itself."""

    def __init__(self, logins: Mapping[str, Login]) -> None:
        self._logins = logins

    async def get(self, stream: Stream[CredentialsRequest, CredentialsResponse]) -> None:
        request = await _message(stream)
        login = self._logins.get(_HUB if request.Host in _HUB_HOSTS else request.Host)
        known = CredentialsResponse(Username=login.username, Secret=login.password) if login else CredentialsResponse()
        await stream.send_message(known)

    def __mapping__(self) -> Mapping[str, Handler]:
        return _unary(_CREDENTIALS, self.get, CredentialsRequest, CredentialsResponse)


class Agents:
    """ssh agents by the id that a step names, each the path of its socket."""

    def __init__(self, sockets: Mapping[str, str]) -> None:
        self._sockets = sockets

    async def check(self, stream: Stream[CheckAgentRequest, CheckAgentResponse]) -> None:
        request = await _message(stream)
        async with self._agent(request.ID):
            await stream.send_message(CheckAgentResponse())

    async def forward(self, stream: Stream[BytesMessage, BytesMessage]) -> None:
        """Carry bytes both ways until either side has no more."""
        named = stream.metadata.getall(_AGENT_ID, []) if stream.metadata else []
        async with self._agent(str(named[0]) if named else "") as (reader, writer):
            asking = asyncio.create_task(_ask(stream, writer))
            try:
                while data := await reader.read(_PIECE):
                    await stream.send_message(BytesMessage(data=data))
            finally:
                asking.cancel()
                await asyncio.wait((asking,))

    @asynccontextmanager
    async def _agent(self, name: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        socket = self._sockets.get(name or _DEFAULT_AGENT)
        if socket is None:
            raise GRPCError(Status.NOT_FOUND, f"there is no ssh agent {name[:200] or _DEFAULT_AGENT!r}")
        try:
            async with asyncio.timeout(_AGENT_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(socket)
        except OSError as exc:
            text = f"the ssh agent {name or _DEFAULT_AGENT!r} does not answer"
            raise GRPCError(Status.FAILED_PRECONDITION, text) from exc
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def __mapping__(self) -> Mapping[str, Handler]:
        forward = Handler(self.forward, Cardinality.STREAM_STREAM, BytesMessage, BytesMessage)
        return {
            **_unary(f"{_SSH}/CheckAgent", self.check, CheckAgentRequest, CheckAgentResponse),
            f"{_SSH}/ForwardAgent": forward,
        }


async def _ask(stream: Stream[BytesMessage, BytesMessage], writer: asyncio.StreamWriter) -> None:
    """From the step to the agent; its end is told, so that the agent ends too."""
    with suppress(OSError):
        async for message in stream:
            writer.write(message.data)
            await writer.drain()
        writer.write_eof()


async def _message(stream: Stream[Any, Any]) -> Any:
    request = await stream.recv_message()
    if request is None:
        raise GRPCError(Status.INVALID_ARGUMENT, "the call has no message")
    return request


def _unary(path: str, call: Callable[[Any], Any], request: type, response: type) -> dict[str, Handler]:
    return {path: Handler(call, Cardinality.UNARY_UNARY, request, response)}
