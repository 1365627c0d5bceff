"""Webhook deliveries as forges send them, signed or not, from the fixtures beside the tests."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lumper.hooks.port import Request

FIXTURES = Path(__file__).parent.parent / "unit" / "hooks" / "fixtures"


def payload(name: str) -> dict[str, Any]:
    """The payload of a fixture such as `github/push_branch`."""
    value = json.loads((FIXTURES / f"{name}.json").read_text())["payload"]
    assert isinstance(value, dict)
    return value


def event(name: str) -> str:
    """The event of a fixture."""
    return str(json.loads((FIXTURES / f"{name}.json").read_text())["event"])


def sign(secret: str, data: bytes) -> str:
    """HMAC-SHA256 as the forges write it, made here a second time so that the product is not its own judge."""
    return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()


def github(event: str, body: bytes, *, secret: str = "", delivery: str = "7f1c0000-aaaa") -> Request:
    """A delivery with GitHub's headers, signed if a secret is given."""
    headers = {"content-type": "application/json", "x-github-event": event, "x-github-delivery": delivery}
    if secret:
        headers["x-hub-signature-256"] = "sha256=" + sign(secret, body)
    return Request(headers, body)


def gitea(event: str, body: bytes, *, secret: str = "", delivery: str = "7f1c0000-bbbb") -> Request:
    """A delivery with all the headers that Gitea sends; without a secret they are there, but empty."""
    signature = sign(secret, body) if secret else ""
    headers = {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}"}
    for brand in ("gitea", "gogs", "github"):
        headers |= {f"x-{brand}-event": event, f"x-{brand}-delivery": delivery}
    return Request(headers | {"x-gitea-signature": signature, "x-gogs-signature": signature}, body)


def as_form(request: Request, body: bytes) -> Request:
    """The same headers with the JSON `body` inside a form."""
    headers = {**request.headers, "content-type": "application/x-www-form-urlencoded"}
    return Request(headers, urlencode({"payload": body.decode()}).encode())


def fixture(name: str, *, secret: str = "", **changes: Any) -> Request:
    """A fixture as a delivery, with fields of its payload replaced."""
    body = json.dumps(payload(name) | changes).encode()
    make = github if name.startswith("github/") else gitea
    return make(event(name), body, secret=secret)
