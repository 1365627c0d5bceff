"""Packages out of rpm's database, where that is an SQLite file. Pure.

Source: rpm's manual, "RPM v4 header format" and "Tags". Older databases (Berkeley DB, ndb) are not read.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator
from itertools import islice

from lumper.registry.contents.packages import Package

_PLACES = ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
RPM_DATABASES = frozenset(f"{place}/rpmdb.sqlite" for place in _PLACES)
RPM_UNREAD = frozenset(f"{place}/{name}" for place in _PLACES for name in ("Packages", "Packages.db"))

_NAME, _VERSION, _RELEASE, _EPOCH, _ARCHITECTURE = 1000, 1001, 1002, 1003, 1022
_INT32, _STRING = 4, 6
_MOST_STEPS = 20_000  # thousands of SQLite's instructions
_PLAIN = """
SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'Packages' AND sql LIKE 'CREATE TABLE %'
AND NOT EXISTS (SELECT * FROM pragma_table_xinfo('Packages') WHERE hidden)
"""
_MOST_TEXT = 256


def rpm_packages(content: bytes, path: str, most: int) -> tuple[Package, ...] | None:
    """At most so many packages; None if this is no such database, or one that says more than is in it.

    Its bytes are anybody's: a few can stand for gigabytes, by a column that is computed, or pages that many rows share.
    """
    connection, database = sqlite3.connect(":memory:"), bytearray(content)
    database[18:20] = b"\1\1"  # in WAL mode it cannot be opened from memory; what it misses is not in the file anyway
    try:
        connection.deserialize(database)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        steps = iter(range(_MOST_STEPS))
        connection.set_progress_handler(lambda: next(steps, None) is None, 1000)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, len(content))
        if connection.execute(_PLAIN).fetchone()[0] != 1:
            return None
        headers = _headers(connection.execute("SELECT blob FROM Packages"), len(content))
        found = tuple(islice((package for header in headers if (package := _package(header, path))), most))
    except (sqlite3.Error, ValueError, OverflowError, MemoryError):
        return None
    finally:
        connection.close()
    return found


def _headers(rows: Iterable[tuple[object]], room: int) -> Iterator[bytes]:
    for (header,) in rows:
        if isinstance(header, bytes):
            room -= len(header)
            if room < 0:
                raise ValueError("more bytes than the database has")
            yield header


def _package(header: bytes, path: str) -> Package | None:
    try:
        told = dict(_entries(header))
    except struct.error:
        return None
    name, version, release = (str(told.get(tag, "")) for tag in (_NAME, _VERSION, _RELEASE))
    if not name or not version or name == "gpg-pubkey":  # a key is no package
        return None
    epoch = f"{told[_EPOCH]}:" if told.get(_EPOCH) else ""
    architecture = str(told.get(_ARCHITECTURE, ""))
    return Package("rpm", name, f"{epoch}{version}{f'-{release}' if release else ''}", architecture, path)


def _entries(header: bytes) -> Iterator[tuple[int, str | int]]:
    """Numbers and texts: a header without magic is two lengths, the index, and the data that it points into."""
    count, size = struct.unpack_from(">II", header)
    begin = 8 + 16 * count
    data = header[begin : begin + size]
    for number in range(count):
        tag, kind, offset, _ = struct.unpack_from(">IIII", header, 8 + 16 * number)
        if kind == _INT32:
            yield tag, struct.unpack_from(">I", data, offset)[0]
        elif kind == _STRING:
            end = data.find(b"\0", offset, offset + _MOST_TEXT)
            yield tag, data[offset : end if end >= 0 else offset].decode("utf-8", "replace")
