"""The client tells what the server told, and what a proxy in front of it did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from lumper.cli.client import Client
from lumper.errors import LumperError, QueueUnavailable, ServerUnreachable
from parts.servers.http_server import served


@contextmanager
def server(status: int, body: bytes) -> Iterator[str]:
    """The URL of a server that answers everything so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with served(Handler) as url:
        yield url


@pytest.mark.parametrize("hint", ["", "Look at the database."])
def test_an_error_has_the_hint_of_the_server_and_none_of_another_error_with_its_status(hint: str) -> None:
    body = json.dumps({"error": "The database refused.", "hint": hint}).encode()
    with server(503, body) as url, pytest.raises(LumperError) as refused:
        Client(url, "lmp_x").get("builds")
    assert QueueUnavailable.default_hint
    assert (refused.value.message, refused.value.hint) == ("The database refused.", hint)


@pytest.mark.parametrize(("status", "kind"), [(502, ServerUnreachable), (503, ServerUnreachable), (500, LumperError)])
def test_a_page_of_a_proxy_is_told_as_its_status(status: int, kind: type[LumperError]) -> None:
    with server(status, b"<h1>Sorry</h1>") as url, pytest.raises(LumperError, match=f"answered {status}") as refused:
        Client(url, "lmp_x").get("builds")
    assert type(refused.value) is kind
