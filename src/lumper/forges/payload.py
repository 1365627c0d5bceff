"""The body of a delivery, read with suspicion: whatever is odd in it becomes HookMalformed, and nothing else does."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl

from lumper.errors import HookMalformed
from lumper.forges.port import Request

_FORM = "application/x-www-form-urlencoded"
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_MAX_CONTAINERS = 500_000  # a real delivery of 25 MB has some 60,000; each costs twenty times its bytes in memory
_MAX_VALUES = 2_000_000
_TWICE = object()  # the value of a field that an object has with several


class Payload:
    """An object within a delivery. Reading a field of another type than the forge sends raises HookMalformed."""

    def __init__(self, fields: dict[str, Any], where: str = "") -> None:
        self._fields = fields
        self._where = where

    def _get(self, name: str) -> Any:
        value = self._fields.get(name)
        if value is _TWICE:  # two readers of it could disagree on what was signed
            raise HookMalformed(f"The payload has several values for {self._where}{name}.")
        return value

    def _wrong(self, name: str, wanted: str) -> HookMalformed:
        return HookMalformed(f"The field {self._where}{name} of the payload is not {wanted}.")

    def text(self, name: str) -> str:
        """A string that must be there."""
        value = self._get(name)
        if not isinstance(value, str) or not value:
            raise self._wrong(name, "a string")
        return value

    def text_or_empty(self, name: str) -> str:
        """A string, "" where it is absent or null."""
        value = self._get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def flag(self, name: str) -> bool:
        """A boolean, False where it is absent or null."""
        value = self._get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def object(self, name: str) -> Payload | None:
        """An object, None where it is absent or null."""
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return Payload(value, f"{self._where}{name}.")

    def objects(self, name: str) -> list[Payload]:
        """A list of objects, empty where it is absent or null."""
        value = self._get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self._wrong(name, "a list of objects")
        return [Payload(one, f"{self._where}{name}[{index}].") for index, one in enumerate(value)]


def is_form(request: Request) -> bool:
    """Whether the request says that its body is a form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM


def json_text(request: Request) -> bytes:
    """The JSON of the delivery: the body itself, or the one field `payload` of a form. Raises HookMalformed."""
    if not is_form(request):
        return request.body
    try:
        fields = parse_qsl(
            request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=8
        )
    except ValueError as exc:
        raise HookMalformed("The body of the webhook request is not a form.") from exc
    payloads = [value for name, value in fields if name == "payload"]
    if len(payloads) != 1:
        raise HookMalformed("The form of the webhook request does not have exactly one field `payload`.")
    return payloads[0].encode()


def read_payload(request: Request) -> Payload:
    """The JSON object in the request's body. Raises HookMalformed for anything else, for any bytes whatsoever."""
    text = json_text(request)
    if text.count(b"[") + text.count(b"{") > _MAX_CONTAINERS or text.count(b",") > _MAX_VALUES:
        raise HookMalformed("The payload has more values than any forge sends.")
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_distinct)
        if _SURROGATE_ESCAPE.search(text):
            # fails for half a surrogate pair, wherever it is
            json.dumps(value, ensure_ascii=False, default=repr).encode("utf-8")
    except HookMalformed:
        raise
    except RecursionError as exc:
        raise HookMalformed("The payload is nested deeper than any forge's.") from exc
    except ValueError as exc:
        raise HookMalformed("The payload is not JSON in UTF-8.") from exc
    if not isinstance(value, dict):
        raise HookMalformed("The payload is not a JSON object.")
    return Payload(value)


def _refuse_constant(name: str) -> None:
    raise HookMalformed(f"The payload contains {name}, which is not JSON (RFC 8259, section 6).")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; a field that it has with two values is not refused before somebody wants to read it."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        fields |= {name: _TWICE for name, value in pairs if value != fields[name]}
    return fields


def shown(text: str, width: int = 80) -> str:
    """Text from outside as it may stand in a sentence for people: one line, no control characters, clipped."""
    line = "".join(c if c.isprintable() else "�" for c in text)
    return line if len(line) <= width else line[: width - 1] + "…"
