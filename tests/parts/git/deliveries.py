"""Webhook deliveries as forges send them, signed or not, from the fixtures beside the tests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lumper.forges.port import Request
from lumper.line.history import History
from lumper.model.source import Verdict

FIXTURES = Path(__file__).parent.parent.parent / "unit" / "forges" / "fixtures"


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


def facts(forge: str) -> dict[str, Any]:
    """The headers of a forge's deliveries and the shapes of its API, as its manual has them."""
    found: dict[str, Any] = json.loads((FIXTURES / forge / "forge.json").read_text())
    return found


def made(forge: str, event: str, body: bytes, *, secret: str = "", delivery: str = "") -> Request:
    """A delivery with the headers of a forge, signed if a secret is given."""
    of = facts(forge)
    words = {"event": event, "delivery": delivery or of["delivery"], "secret": secret, "hmac": sign(secret, body)}
    headers = of["headers"] | (of["signed"] if secret else of.get("unsigned", {}))
    return Request({name: value.format_map(words) for name, value in headers.items()}, body)


def signed_by_gitlab(event: str, body: bytes, *, key: bytes, at: int, identity: str = "msg_1") -> Request:
    """A delivery of a GitLab webhook with a signing token, whose key this is: Standard Webhooks."""
    mac = hmac.new(key, f"{identity}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = {"webhook-id": identity, "webhook-timestamp": str(at)}
    signature["webhook-signature"] = "v1," + base64.b64encode(mac).decode()
    return Request({**made("gitlab", event, body, delivery=identity).headers, **signature}, body)


def as_form(request: Request, body: bytes) -> Request:
    """The same headers with the JSON `body` inside a form."""
    headers = {**request.headers, "content-type": "application/x-www-form-urlencoded"}
    return Request(headers, urlencode({"payload": body.decode()}).encode())


def fixture(name: str, *, secret: str = "", **changes: Any) -> Request:
    """A fixture as a delivery, with fields of its payload replaced."""
    body = json.dumps(payload(name) | changes).encode()
    return made(name.partition("/")[0], event(name), body, secret=secret)


def tag(forge: str, *, secret: str = "") -> Request:
    """The delivery of a pushed tag v1.2.3."""
    return fixture(f"{forge}/{facts(forge)['tag']}", secret=secret)


async def keep(history: History, project_id: str, request: Request, reason: str = "", *, event: str = "push") -> None:
    """Keep a delivery of GitHub's that was ignored, for this reason, as the server does."""
    async with history.database.write() as connection:
        await history.deliveries.add(
            connection, project_id=project_id, forge="github", delivery_id="d1", event=event,
            headers=request.headers, body=request.body, verdict=Verdict.IGNORED, reason=reason,
        )  # fmt: skip
