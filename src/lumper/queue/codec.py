"""Payloads to message bodies and back: JSON with the type's name, checked on the way in."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from lumper.errors import QueueError
from lumper.model import events


@cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    return {kind.__name__: TypeAdapter(kind) for kind in get_args(events.Payload)}


def encode(payload: events.Payload) -> bytes:
    """The payload as a message body."""
    name = type(payload).__name__
    return json.dumps({"type": name, "payload": _adapters()[name].dump_python(payload, mode="json")}).encode()


def decode(body: bytes) -> events.Payload:
    """The payload in a message body. Raises QueueError for a body that this version does not understand."""
    try:
        outer = json.loads(body)
        value: events.Payload = _adapters()[outer["type"]].validate_python(outer["payload"], strict=False)
    except (ValueError, KeyError, TypeError, ValidationError) as exc:
        raise QueueError(
            f"A message of an unknown kind: {body[:120]!r}.", hint="Do all roles run one version?"
        ) from exc
    return value
