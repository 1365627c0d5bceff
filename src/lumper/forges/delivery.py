"""What every forge's delivery has: an event, an id, a repository's name, object ids. Odd ones become HookMalformed."""

from __future__ import annotations

import hashlib
import re

from lumper.errors import HookMalformed
from lumper.forges.payload import Payload
from lumper.forges.port import Request

_EVENT = re.compile(r"[A-Za-z0-9_.:-]{0,64}")
_DELIVERY_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_REF = 4096
NONE = "0" * 40
"""The object id that stands for "there is none"."""


def event_from(request: Request, *names: str) -> str:
    """The event in the first of these headers that is there, or "". Raises HookMalformed."""
    event = next((request.headers[name] for name in names if name in request.headers), "")
    return checked_event(event, f"The header {names[0]}")


def checked_event(event: str, where: str) -> str:
    """The event, which `where` has named. Raises HookMalformed."""
    if not _EVENT.fullmatch(event):
        raise HookMalformed(f"{where} does not name an event.")
    return event


def delivery_id_from(request: Request, *names: str) -> str:
    """The forge's id of the delivery, or the SHA-256 of the body where there is no usable one."""
    for name in names:
        if _DELIVERY_ID.fullmatch(request.headers.get(name, "")):
            return request.headers[name]
    return hashlib.sha256(request.body).hexdigest()


def repository_name(name: str, field: str) -> str:
    """The name of a repository with its owner, or "". Raises HookMalformed for what no forge calls one."""
    if len(name) > 255 or any(ord(c) < 33 or ord(c) == 127 for c in name) or (name and not all(name.split("/"))):
        raise HookMalformed(f"The field {field} of the payload does not name a repository.")
    return name


def known_repository(name: str) -> str:
    """The name of the repository of a push. Raises HookMalformed if there is none."""
    if not name:
        raise HookMalformed("The payload of the push does not name a repository.")
    return name


def ref_from(payload: Payload, field: str = "ref") -> str:
    """The full name of a ref. Raises HookMalformed."""
    return checked_ref(payload.text(field))


def checked_ref(ref: str) -> str:
    """The ref, unless it is longer than git allows. Raises HookMalformed."""
    if len(ref) > _MAX_REF:
        raise HookMalformed("The ref in the payload is longer than git allows.")
    return ref


def object_id(text: str, field: str) -> str:
    """A whole object id. Raises HookMalformed."""
    if not _OBJECT_ID.fullmatch(text):
        raise HookMalformed(f"The field {field} of the payload is not a git object id.")
    return text


def object_id_or_none(text: str, field: str) -> str:
    """A whole object id, or the one that stands for none where there is no text. Raises HookMalformed."""
    return object_id(text, field) if text else NONE


def is_none(identity: str) -> bool:
    """Whether this object id stands for none."""
    return set(identity) == {"0"}
