"""What a webhook is sent. Pure.

Sources: distribution, "Work with notifications" (the envelope); GitHub, "Validating webhook deliveries" (the shape of
the signature).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from importlib.metadata import version
from typing import Any

from lumper.model.images.activity import AuditAction
from lumper.model.images.webhook import PING, Call, Format

SIGNATURE = "Lumper-Signature-256"
_TYPES = {
    Format.LUMPER: "application/json",
    Format.DISTRIBUTION: "application/vnd.docker.distribution.events.v2+json",
}
_ACTIONS = {
    AuditAction.PUSH: "push",
    AuditAction.TAG: "push",
    AuditAction.UNTAG: "delete",
    AuditAction.DELETE: "delete",
    PING: PING,
}


def body_of(call: Call, form: Format, public_url: str) -> bytes:
    """The body of a call. `public_url` is where the registry is reached."""
    if form is Format.DISTRIBUTION:
        told = _envelope(call.event, public_url)
    else:
        told = {**call.event, "registry": public_url.partition("://")[2]}
    return json.dumps(told, separators=(",", ":")).encode()


def headers_of(call: Call, form: Format, secret: str, body: bytes) -> dict[str, str]:
    """The headers that go with the body: its kind, the event's id, and the signature over the bytes."""
    return {
        "Content-Type": _TYPES[form],
        "User-Agent": f"lumper/{version('lumper')}",
        "Lumper-Event": str(call.event["action"]),
        "Lumper-Delivery": str(call.event["id"]),
        SIGNATURE: signature(secret, body),
    }


def signature(secret: str, body: bytes) -> str:
    """HMAC-SHA256 over the raw body, as `sha256=` and hex."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _envelope(event: dict[str, Any], public_url: str) -> dict[str, Any]:
    host = public_url.partition("://")[2]
    target = {
        "mediaType": event["media_type"],
        "size": event["size"],
        "length": event["size"],
        "digest": event["digest"] or event["before"],
        "repository": event["repository"],
        "url": f"{public_url}/v2/{event['repository']}/manifests/{event['digest'] or event['before']}",
        "tag": event["tag"],
    }
    one = {
        "id": event["id"],
        "timestamp": event["at"],
        "action": _ACTIONS[event["action"]],
        "target": {key: value for key, value in target.items() if value},
        "request": {"id": event["id"], "host": host},
        "actor": {"name": event["actor"]["name"]} if event["actor"]["name"] else {},
        "source": {"addr": host, "instanceID": host},
    }
    return {"events": [one]}
