"""Payloads to message bodies and back: JSON with the type's name, checked on the way in."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from lumper.errors import QueueError
from lumper.model import events

_KINDS = {kind.__name__: kind for kind in get_args(events.Payload)}


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[name])


def encode(payload: events.Payload) -> bytes:
    """The payload as a message body."""
    name = type(payload).__name__
    return json.dumps({"type": name, "payload": _adapter(name).dump_python(payload, mode="json")}).encode()


def decode(body: bytes) -> events.Payload:
    """The payload in a message body. Raises QueueError for a body that this version does not understand.

    Fields that are not known are left out, so that a newer role can talk to an older one.
    """
    try:
        outer = json.loads(body)
        value: events.Payload = _adapter(outer["type"]).validate_python(outer["payload"], strict=False)
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as exc:
        raise QueueError(
            f"A message of an unknown kind: {body[:120]!r}.", hint="Do all roles run one version?"
        ) from exc
    return value
