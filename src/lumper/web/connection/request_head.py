"""Heads of HTTP requests, read strictly as RFC 9112 has them: nothing that two readers may take differently."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lumper.web.connection.host_header import is_host

_MOST_BYTES = 4096  # of a head
_REMEMBERED = 4096  # heads
_MOST_BODY = 64 << 10  # bytes
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CHANGES_FRAMING = frozenset({"transfer-encoding", "upgrade", "expect", "http2-settings", "trailer"})


@dataclass(frozen=True)
class Asker:
    """Who sends header fields: the ticket of their credentials, and the fields by which a proxy names its client."""

    ticket: bytes | None
    forwarded: Mapping[str, str]


@dataclass(frozen=True)
class Head:
    """Header fields that were read: the length of the body, and who sends them."""

    length: int
    asker: Asker | None


@dataclass(frozen=True)
class Request:
    """A request whose head came whole; its body begins at `end`.

    `left` is what is still to come of it, None if too much came.
    """

    method: str
    target: str
    head: Head
    end: int
    left: int | None


class Reader:
    """Reads the heads of requests. Clients send the same fields over and over: what they mean is remembered.

    Credentials are among them, so they are remembered by a keyed hash only.
    """

    def __init__(self, asker: Callable[[Mapping[str, str]], Asker | None]) -> None:
        """`asker` says who sends these header fields, whose names are in lower case."""
        self._asker = asker
        self._salt = secrets.token_bytes(32)
        self._heads: OrderedDict[bytes, Head] = OrderedDict()

    def read(self, data: bytes) -> Request | None:
        """The request that begins here; None if it is not whole or not plain."""
        end = data.find(b"\r\n\r\n") + 4
        if not 4 <= end <= _MOST_BYTES:
            return None
        line, _, fields = data[:end].partition(b"\r\n")
        parts = line.split(b" ")
        if len(parts) != 3 or parts[2] != b"HTTP/1.1" or not line.isascii():
            return None
        method, target = parts[0].decode(), parts[1].decode()
        if not (method.isalpha() and method.isupper() and target.startswith("/") and target.isprintable()):
            return None
        key = hashlib.blake2b(fields, key=self._salt, digest_size=32).digest()
        head = self._heads.get(key)
        if head is None:
            head = self._understood(fields)
            if head is None:
                return None
            self._heads[key] = head
            if len(self._heads) > _REMEMBERED:
                self._heads.popitem(last=False)
        left = head.length - (len(data) - end)
        return Request(method, target, head, end, left if left >= 0 else None)

    def _understood(self, data: bytes) -> Head | None:
        fields = read_fields(data)
        if fields is None or not is_host(fields.get("host", "?")) or not _CHANGES_FRAMING.isdisjoint(fields):
            return None
        if fields.pop("connection", "keep-alive").lower() != "keep-alive":
            return None
        length = fields.pop("content-length", "")
        if length and not (length.isdecimal() and len(length) < 16):
            return None
        size = int(length or 0)
        return Head(size, self._asker(fields) if size <= _MOST_BODY else None)


def read_fields(data: bytes) -> dict[str, str] | None:
    """Header fields up to and with the empty line, names in lower case; None for what is not strictly RFC 9112."""
    fields: dict[str, str] = {}
    if not data.isascii():
        return None
    for line in data.decode("ascii").removesuffix("\r\n\r\n").split("\r\n"):
        name, _, value = line.partition(":")
        value = value.strip(" ")
        if not (name and _TOKEN.issuperset(name) and value and value.isprintable()):
            return None
        if name.lower() in fields:  # which one counts depends on the reader
            return None
        fields[name.lower()] = value
    return fields
