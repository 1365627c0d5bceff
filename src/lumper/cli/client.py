"""The typed client of the API: standard library only, so that a command answers at once."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

from cyclopts import Parameter

from lumper.config import load
from lumper.errors import Conflict, Invalid, LumperError, NotFound, QueueUnavailable
from lumper.layout import DataFolder

_KINDS: dict[int, type[LumperError]] = {400: Invalid, 404: NotFound, 409: Conflict, 503: QueueUnavailable}


class ServerUnreachable(LumperError):
    """The Lumper server cannot be reached."""

    default_hint = "Start it with `lumper up`, or say where it is with LUMPER_URL and LUMPER_TOKEN_FILE."


@Parameter(name="*")
@dataclass(frozen=True)
class Target:
    """Which server a command talks to: the one of a data folder, or one at a URL."""

    data: Annotated[Path | None, Parameter(help="The data folder of a server on this machine.")] = None
    url: Annotated[str | None, Parameter(env_var="LUMPER_URL", help="The URL of a server elsewhere.")] = None
    token_file: Annotated[Path | None, Parameter(env_var="LUMPER_TOKEN_FILE", help="The file with an API token.")] = (
        None
    )


class Client:
    """One server. Methods give the decoded JSON of the answer and raise what errors.py has for its status."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._token = token

    def get(self, path: str, **query: object) -> Any:
        """GET /api/v1/path."""
        return self._json("GET", path, query=query)

    def post(self, path: str, body: object = None) -> Any:
        """POST /api/v1/path with a JSON body."""
        return self._json("POST", path, body=body)

    def delete(self, path: str) -> Any:
        """DELETE /api/v1/path."""
        return self._json("DELETE", path)

    def lines(self, path: str, **query: object) -> Iterator[bytes]:
        """GET /api/v1/path, line by line as they come."""
        with self._request("GET", path, query=query) as response:
            yield from response

    def _json(self, method: str, path: str, *, query: dict[str, object] | None = None, body: object = None) -> Any:
        with self._request(method, path, query=query or {}, body=body) as response:
            return json.loads(response.read())

    @contextlib.contextmanager
    def _request(
        self, method: str, path: str, *, query: dict[str, object], body: object = None
    ) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        given = {key: value for key, value in query.items() if value not in (None, "", False)}
        target = f"/api/v1/{quote(path)}" + (f"?{urlencode(given)}" if given else "")
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection = kind(parts.hostname or "", parts.port)
        try:
            try:
                connection.request(method, target, json.dumps(body) if body is not None else None, headers)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as exc:
                raise ServerUnreachable(f"No Lumper server answers at {self.url}: {exc}.") from exc
            if response.status >= 400:
                raise _error(response)
            yield response
        finally:
            connection.close()


def _error(response: http.client.HTTPResponse) -> LumperError:
    try:
        told = json.loads(response.read())
        message, hint = str(told["error"]), str(told["hint"])
    except (ValueError, KeyError, TypeError):
        message, hint = f"The server answered {response.status} {response.reason}.", ""
    return _KINDS.get(response.status, LumperError)(message, hint=hint)


@contextlib.contextmanager
def connect(target: Target) -> Iterator[Client]:
    """The server that the target names; without a running one, the data folder is opened for this command alone.

    Raises ServerUnreachable.
    """
    if target.url:
        token = os.environ.get("LUMPER_TOKEN", "") or _read_token(target.token_file)
        yield Client(target.url, token)
        return
    config = load(overrides={"data": target.data})
    folder = DataFolder(config.data)
    url = folder.server_url()
    if url:
        yield Client(url, _read_token(folder.token("operator")))
        return
    from lumper.wiring import serve_in_thread  # slow to import, and only needed when no server runs

    with serve_in_thread(config) as own_url:
        yield Client(own_url, _read_token(folder.token("operator")))


def _read_token(file: Path | None) -> str:
    if file is None:
        raise ServerUnreachable("There is no token to sign in with.", hint="Set LUMPER_TOKEN_FILE or LUMPER_TOKEN.")
    try:
        return file.read_text().strip()
    except OSError as exc:
        raise ServerUnreachable(f"The token file {file} cannot be read: {exc.strerror}.") from exc
