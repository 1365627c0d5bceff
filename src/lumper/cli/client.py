"""The typed client of the API: standard library only, so that a command answers at once."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from ssl import SSLCertVerificationError
from typing import Annotated, Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from cyclopts import Parameter

from lumper.cli.interrupt import Response, woken_by_signals
from lumper.cli.line_file import line_of
from lumper.config.layout import DataFolder, find_data
from lumper.errors import (
    Conflict,
    Forbidden,
    ForgeError,
    Invalid,
    LumperError,
    NotFound,
    QueueUnavailable,
    ServerUnreachable,
    StorageFull,
    Unauthorized,
)
from lumper.model.builds.build import ENDED

_KINDS: dict[int, type[LumperError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    502: ForgeError,
    503: QueueUnavailable,
    507: StorageFull,
}
_ANSWER_SECONDS = 60.0
_AWAY_SECONDS = 60.0  # how long a server that was there may be away while its log is followed: a restart, an update
_PIECE = 256 * 1024  # bytes that are read at once
_PATIENCE = 10.0  # seconds for a server to begin that holds the data folder already
_PROXY = (502, 503, 504)  # what a proxy says of a server that is away
_OWN_CA = "If your own CA has signed its certificate: SSL_CERT_FILE=/path/ca.pem in the environment."


@Parameter(name="*")
@dataclass(frozen=True)
class Target:
    """Which server a command talks to: the one of a data folder, or one at a URL."""

    data: Annotated[Path | None, Parameter(help="The data folder of a server on this machine.")] = None
    server: Annotated[str | None, Parameter(env_var="LUMPER_SERVER", help="The URL of a server elsewhere.")] = None
    token_file: Annotated[Path | None, Parameter(env_var="LUMPER_TOKEN_FILE", help="The file with an API token.")] = (
        None
    )


class Client:
    """One server. Methods give the decoded JSON of the answer and raise what errors.py has for its status.

    Raises ServerUnreachable, also in the middle of a stream, and Invalid for a URL that is none.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._parts = _http_url(self.url)
        self.token = token
        self.asked_to_change = False

    def get(self, path: str, **query: object) -> Any:
        """GET /api/v1/path. Values that are None or "" are left out of the query."""
        return self._json("GET", path, query=query)

    def post(self, path: str, body: object = None, **query: object) -> Any:
        """POST /api/v1/path with a JSON body."""
        return self._json("POST", path, query=query, body=body)

    def put(self, path: str, body: object) -> Any:
        """PUT /api/v1/path with a JSON body."""
        return self._json("PUT", path, body=body)

    def patch(self, path: str, body: object) -> Any:
        """PATCH /api/v1/path with a JSON body."""
        return self._json("PATCH", path, body=body)

    def delete(self, path: str, **query: object) -> Any:
        """DELETE /api/v1/path."""
        return self._json("DELETE", path, query=query)

    def lines(self, path: str, *, method: str = "GET", **query: object) -> Iterator[bytes]:
        """GET /api/v1/path, or another method, line by line as they come."""
        with self._request(method, path, query=query, stream=True) as response:
            yield from _lines(response)

    def read_log(self, build: int, attempt: int = 0, away: Callable[[str], object] = print) -> Iterator[bytes]:
        """Every line that a build's log has now, of its last attempt or of the given one.

        When the server goes away in the middle, or ends the answer there, reading goes on where it was; `away` hears of
        it if that takes longer. Raises NotFound if the log is not kept any more, also in the middle, and
        ServerUnreachable when the server is not back within a minute.
        """
        current, offset = attempt or self.get(f"builds/{build}")["attempt"], 0
        patience = _RetryPolicy(away)
        while True:
            begun = offset
            try:
                for line in self.lines(f"builds/{build}/log", attempt=current, offset=offset):
                    offset += len(line)
                    yield line
                return
            except ServerUnreachable as exc:
                patience.wait(exc, progress=offset != begun)

    def follow_log(
        self, build: int, attempt: int = 0, away: Callable[[str], object] = print
    ) -> Iterator[tuple[int, bytes]]:
        """Every line of a build's log with the number of its attempt, until the build has ended.

        Without `attempt`, a build that begins again is followed into its next attempts. A server that goes away is
        waited for as in `read_log`. Raises ServerUnreachable, NotFound.
        """
        current, offset = attempt or self.get(f"builds/{build}")["attempt"], 0
        patience = _RetryPolicy(away)
        while True:
            begun = offset
            try:
                for line in self.lines(f"builds/{build}/log", follow=1, attempt=current, offset=offset):
                    if line.endswith(b"\n"):  # or the server ended in the middle of it
                        offset += len(line)
                        yield current, line
                found = self.get(f"builds/{build}")
            except ServerUnreachable as exc:
                patience.wait(exc, progress=offset != begun)
                continue
            patience.end()
            if not attempt and found["attempt"] != current:
                current, offset = found["attempt"], 0
            elif found["state"] in ENDED or found["attempt"] != current:
                return
            elif offset == begun:
                time.sleep(0.2)

    def _json(self, method: str, path: str, *, query: dict[str, object] | None = None, body: object = None) -> Any:
        with self._request(method, path, query=query or {}, body=body) as response:
            return json.loads(response.read())

    @contextlib.contextmanager
    def _request(
        self, method: str, path: str, *, query: dict[str, object], body: object = None, stream: bool = False
    ) -> Iterator[http.client.HTTPResponse]:
        self.asked_to_change = self.asked_to_change or method != "GET"
        given = {key: value for key, value in query.items() if value is not None and value != ""}
        target = f"{self._parts.path}/api/v1/{quote(path)}" + (f"?{urlencode(given)}" if given else "")
        with woken_by_signals() as woken, contextlib.closing(self._connection(woken)) as connection:
            try:
                connection.putrequest(method, target)
                connection.putheader("Authorization", f"Bearer {self.token}".encode("latin-1", "replace"))
                data = json.dumps(body).encode() if body is not None else b""
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", str(len(data)))
                connection.endheaders(data)
                response = connection.getresponse()
                if stream and connection.sock:
                    connection.sock.settimeout(None)
                if response.status >= 400:
                    raise _error(response)
                yield response
            except json.JSONDecodeError as exc:
                raise ServerUnreachable(f"What answers at {self.url} is not a Lumper server.") from exc
            except (OSError, http.client.HTTPException) as exc:
                text = f"No Lumper server answers at {self.url}: {exc or type(exc).__name__}."
                raise ServerUnreachable(
                    text, hint=_OWN_CA if isinstance(exc, SSLCertVerificationError) else ""
                ) from exc

    def _connection(self, woken: socket.socket | None) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=_ANSWER_SECONDS)
        connection.response_class = partial(Response, woken=woken)  # type: ignore[assignment]
        return connection


class _RetryPolicy:
    """With a server that was there and is away: one that is back at once is not worth a word."""

    def __init__(self, away: Callable[[str], object]) -> None:
        self._away = away
        self._tries = 0
        self._since = 0.0

    def wait(self, exc: ServerUnreachable, *, progress: bool) -> None:
        """Wait a moment before the next try; `progress` tells that it had answered since the last time."""
        if progress or not self._tries:
            self._tries, self._since = 0, time.monotonic()
        elif self._tries == 1:
            self._away(f"{exc.message} Waiting for it.")
        elif time.monotonic() - self._since > _AWAY_SECONDS:
            raise exc
        self._tries += 1
        time.sleep(0.2)

    def end(self) -> None:
        """It is back."""
        self._tries = 0


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The lines of an answer. Iterating over it takes a connection that breaks for its end."""
    held: list[bytes] = []
    while data := response.read1(_PIECE):
        first, *others = data.split(b"\n")
        held.append(first)
        for other in others:
            yield b"".join([*held, b"\n"])
            held = [other]
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    if rest := b"".join(held):
        yield rest


def _http_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise Invalid(f"{url!r} is not the URL of a server.", hint="Give one such as https://lumper.example.org.")
    return parts


def _error(response: http.client.HTTPResponse) -> LumperError:
    kind = _KINDS.get(response.status, LumperError)
    try:
        told = json.loads(response.read())
        error = kind(str(told["error"]))
        error.hint = str(told["hint"])  # also where the kind has one: it may be of another error with this status
    except (ValueError, KeyError, TypeError):
        message = f"The server answered {response.status} {response.reason}."
        return ServerUnreachable(message) if response.status in _PROXY else kind(message)
    return error


@contextlib.contextmanager
def connect(target: Target) -> Iterator[Client]:
    """The server that the target names; without a running one, the data folder is opened for this command alone.

    Who named no folder, and changes something in one that no server runs with, is told so: another may be meant. So is
    who only asks and names one that was not there.
    Raises ServerUnreachable, Conflict (another program holds the folder and does not answer).
    """
    if server := target.server or os.environ.get("LUMPER_URL"):  # what LUMPER_SERVER was called before
        token = os.environ.get("LUMPER_TOKEN", "") or _read_token(target.token_file)
        yield Client(server, token)
        return
    folder = DataFolder(target.data or find_data(os.environ) or _checked_data())
    fresh = not folder.root.exists()
    with contextlib.ExitStack() as stack:
        running = folder.server_url()
        url = running or _opened(stack, folder)
        client = Client(url, _read_token(folder.token("operator")))
        try:
            yield client
        except Unauthorized as exc:
            exc.hint = "The data folder's own token was removed: a restart of the server lets it in again."
            raise
    if client.asked_to_change and not (running or target.data or "LUMPER_DATA" in os.environ):
        text = f"No server runs with the data folder {folder.root}, and one with another is named by --data DIR or"
        print(f"{text} LUMPER_DATA. What was changed waits for a server with this one.", file=sys.stderr)
    elif fresh and not client.asked_to_change:
        print(f"There was no data folder {folder.root}: this command has made it.", file=sys.stderr)


def _checked_data() -> Path:
    from lumper.config.settings import load  # slow to import: only when something is wrong with the configuration

    return load().data


def _opened(stack: contextlib.ExitStack, folder: DataFolder) -> str:
    """The URL of a server inside this process, or of one that begins in this moment."""
    from lumper.config.settings import load  # slow to import, and only needed when no server runs
    from lumper.wiring.processes import serve_in_thread

    config = load(overrides={"data": folder.root})
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return stack.enter_context(serve_in_thread(config))
        except Conflict:
            if url := folder.server_url():
                return url
            if time.monotonic() > deadline:
                raise


def _read_token(file: Path | None) -> str:
    if file is None:
        raise ServerUnreachable(
            "There is no token to sign in with.", hint="Give --token-file, or set LUMPER_TOKEN_FILE or LUMPER_TOKEN."
        )
    return line_of(file, "token")
