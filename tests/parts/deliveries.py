"""Webhook deliveries as forges send them, signed or not, from the fixtures beside the tests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lumper.history.store import History
from lumper.hooks.port import Request
from lumper.model.source import Verdict

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


def gitlab(event: str, body: bytes, *, secret: str = "", delivery: str = "7f1c0000-cccc") -> Request:
    """A delivery with GitLab's headers; the secret goes along as it is."""
    headers = {"content-type": "application/json", "x-gitlab-event": event, "idempotency-key": delivery}
    return Request(headers | ({"x-gitlab-token": secret} if secret else {}), body)


def signed_by_gitlab(event: str, body: bytes, *, key: bytes, at: int, identity: str = "msg_1") -> Request:
    """A delivery of a GitLab webhook with a signing token, whose key this is: Standard Webhooks."""
    mac = hmac.new(key, f"{identity}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = {"webhook-id": identity, "webhook-timestamp": str(at)}
    signature["webhook-signature"] = "v1," + base64.b64encode(mac).decode()
    return Request({**gitlab(event, body, delivery=identity).headers, **signature}, body)


def gogs(event: str, body: bytes, *, secret: str = "", delivery: str = "7f1c0000-dddd") -> Request:
    """A delivery with the headers that Gogs sends; without a secret its signature is over an empty one."""
    headers = {"content-type": "application/json", "x-gogs-event": event, "x-gogs-delivery": delivery}
    headers |= {"x-github-event": event, "x-github-delivery": delivery}
    return Request(headers | {"x-gogs-signature": sign(secret, body)}, body)


def bitbucket(event: str, body: bytes, *, secret: str = "", delivery: str = "7f1c0000-eeee") -> Request:
    """A delivery with the headers of Bitbucket Cloud and of Bitbucket Server."""
    headers = {"content-type": "application/json", "x-event-key": event, "x-hook-uuid": "7f1c0000-ffff"}
    headers |= {"x-request-uuid": delivery, "x-request-id": delivery}
    return Request(headers | ({"x-hub-signature": "sha256=" + sign(secret, body)} if secret else {}), body)


_MAKERS = {
    "github": github,
    "gitlab": gitlab,
    "gitea": gitea,
    "gogs": gogs,
    "bitbucket-cloud": bitbucket,
    "bitbucket-server": bitbucket,
}


def as_form(request: Request, body: bytes) -> Request:
    """The same headers with the JSON `body` inside a form."""
    headers = {**request.headers, "content-type": "application/x-www-form-urlencoded"}
    return Request(headers, urlencode({"payload": body.decode()}).encode())


def fixture(name: str, *, secret: str = "", **changes: Any) -> Request:
    """A fixture as a delivery, with fields of its payload replaced."""
    body = json.dumps(payload(name) | changes).encode()
    return _MAKERS[name.partition("/")[0]](event(name), body, secret=secret)


async def keep(history: History, project_id: str, request: Request, reason: str = "", *, event: str = "push") -> None:
    """Keep a delivery of GitHub's that was ignored, for this reason, as the server does."""
    async with history.database.write() as connection:
        await history.deliveries.add(
            connection, project_id=project_id, forge="github", delivery_id="d1", event=event,
            headers=request.headers, body=request.body, verdict=Verdict.IGNORED, reason=reason,
        )  # fmt: skip
