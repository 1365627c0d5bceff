"""Ranges of bytes: what a request for a blob asks for, and where the bytes of an upload belong. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from lumper.registry.errors import refuse

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:\*|[0-9]{1,18}))?")
_PART = re.compile(r"([0-9]*)-([0-9]*)")
_MOST_DIGITS = 18
_BEYOND = 10**_MOST_DIGITS  # more than any blob has; clients ask for all by the largest number that they know
MOST_PARTS = 128  # of one answer; RFC 9110, section 17.15: many small ranges are a way to wear a server out


class Span(NamedTuple):
    """Bytes from `start` up to, without, `end`."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """How many bytes these are."""
        return self.end - self.start


def parse_content_range(header: str | None, length: int | None) -> Span | None:
    """Where the bytes of an upload's request belong; None if it does not say.

    `length` is the request's Content-Length, if it has one. Raises RegistryError RANGE_INVALID for what is not
    `<first>-<last>` or does not fit the length. Source: OCI distribution-spec 1.1, "Pushing a blob in chunks".
    """
    if header is None:
        return None
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        raise refuse("RANGE_INVALID", "Content-Range is not <first byte>-<last byte>.")
    first, last = int(match[1]), int(match[2])
    if length == 0 and last == first:  # no range says "nothing"; clients send this one
        return Span(first, first)
    if last < first - 1 or (length is not None and length != last - first + 1):
        raise refuse("RANGE_INVALID", "Content-Range does not fit Content-Length.")
    return Span(first, last + 1)


def parse_range(header: str | None, size: int) -> list[Span] | None:
    """The parts of a blob that are asked for, in this order; None for all of it.

    Other units than bytes are passed over, and so are more parts than are good for the server, or parts that have
    more bytes than the blob. Parts behind the blob's end are left out; if none is left, or one cannot be understood,
    that raises RegistryError RANGE_INVALID. Source: RFC 9110, sections 14.1.2 and 14.2.
    """
    unit, _, rest = (header or "").partition("=")
    if unit.strip().lower() != "bytes":
        return None
    asked = [part.strip() for part in rest.split(",") if part.strip()]
    if not 0 < len(asked) <= MOST_PARTS:
        return None
    spans: list[Span] = []
    for part in asked:
        match = _PART.fullmatch(part)
        span = _span(match[1], match[2], size) if match else None
        if span is None:
            raise refuse("RANGE_INVALID", "Range is not bytes=<first>-<last>.")
        if span.size > 0:
            spans.append(span)
    if not spans:
        raise refuse("RANGE_INVALID", f"The blob has {size} bytes.")
    return spans if sum(span.size for span in spans) <= size else None


def _span(first: str, last: str, size: int) -> Span | None:
    """One part: `5-9`, `5-` or `-5`. None for what is none of these, no bytes for what is behind the end."""
    if not first:
        return Span(max(0, size - _number(last)), size) if last else None
    if last and _number(last) < _number(first):
        return None
    end = min(size, _number(last) + 1) if last else size
    return Span(min(_number(first), end), end)


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(significant or 0) if len(significant) <= _MOST_DIGITS else _BEYOND
