"""Answers as bytes: those that aiohttp would write."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate

from aiohttp import hdrs, web
from aiohttp.http import SERVER_SOFTWARE


class Wire:
    """Writes answers to requests that leave the connection open."""

    def __init__(self) -> None:
        self._second = 0
        self._trailer = ""

    def head(self, headers: Mapping[str, str], status: int = 200, reason: str = "OK") -> bytes:
        """All of an answer up to its body."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return f"HTTP/1.1 {status} {reason}\r\n{lines}{self._date()}".encode()

    def whole(self, response: web.Response) -> bytes:
        """An answer with its body, which is in memory."""
        body = response.body or b""
        if not isinstance(body, bytes):
            raise TypeError("the body is not in memory")
        headers = {**response.headers, hdrs.CONTENT_LENGTH: str(len(body))}
        return self.head(headers, response.status, response.reason) + body

    def _date(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True)
            self._trailer = f"{hdrs.DATE}: {date}\r\n{hdrs.SERVER}: {SERVER_SOFTWARE}\r\n\r\n"
        return self._trailer
