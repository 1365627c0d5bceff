"""Packages of rpm, read out of its database."""

from __future__ import annotations

import sqlite3
import struct
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lumper.registry.contents.rpm import rpm_packages
from lumper.registry.contents.spdx import spdx
from parts.registries.package_layers import contents

# rpm


def header(name: str, version: str, release: str, epoch: int | None = None) -> bytes:
    entries, data = [], b""
    told: list[tuple[int, str | int]] = [(1000, name), (1001, version), (1002, release), (1022, "x86_64")]
    for tag, value in [*told, *([(1003, epoch)] if epoch is not None else [])]:
        if isinstance(value, int):
            data += b"\0" * (-len(data) % 4)
        entries.append(struct.pack(">IIII", tag, 4 if isinstance(value, int) else 6, len(data), 1))
        data += struct.pack(">I", value) if isinstance(value, int) else value.encode() + b"\0"
    return struct.pack(">II", len(entries), len(data)) + b"".join(entries) + data


def rpm_database(path: Path, *headers: object, wal: bool = False) -> bytes:
    connection = sqlite3.connect(path)
    if wal:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(one,) for one in headers])
    connection.commit()
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize("wal", [False, True])
def test_packages_of_rpm_are_read_out_of_its_database(tmp_path: Path, wal: bool) -> None:
    headers = header("bash", "5.2.26", "3.fc40"), header("shadow", "4.15", "1", 2), header("gpg-pubkey", "a", "b")
    nonsense: list[object] = [b"\xff" * 40, b"", header("", "1", ""), header("a", "", ""), "text", 7]
    database = rpm_database(tmp_path / "rpmdb.sqlite", *headers, *nonsense, wal=wal)
    found = contents({"usr/lib/sysimage/rpm/rpmdb.sqlite": database})
    assert [(package.name, package.version) for package in found.packages] == [
        ("bash", "5.2.26-3.fc40"),
        ("shadow", "2:4.15-1"),
    ]


def test_what_of_rpm_cannot_be_read_is_told() -> None:
    found = contents({"var/lib/rpm/Packages": b"\0" * 4096, "var/lib/rpm/rpmdb.sqlite": b"SQLite format 3\0" * 40})
    assert found.unread == {"var/lib/rpm/Packages", "var/lib/rpm/rpmdb.sqlite"}
    document = spdx("x", "sha256:" + "0" * 64, "http://x", datetime.now(UTC), [], {}, sorted(found.unread))
    assert "var/lib/rpm/Packages" in document["creationInfo"]["comment"]


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS blob FROM n"
ROWS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100) SELECT x FROM n"


@pytest.mark.parametrize(
    "statements",
    [
        [f"CREATE VIEW Packages AS {ENDLESS}"],
        ["CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob AS (zeroblob(900000000)))",
         f"INSERT INTO Packages (hnum) {ROWS}"],
        ["CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob AS (x'00'))", f"INSERT INTO Packages (hnum) {ROWS}"],
        ["CREATE TABLE Packages (hnum INTEGER PRIMARY KEY)", f"INSERT INTO Packages (hnum) {ROWS}",
         f"ALTER TABLE Packages ADD COLUMN blob DEFAULT x'{'00' * 9000}'"],
        ["CREATE VIRTUAL TABLE Packages USING fts5(blob)"],
        ["CREATE TABLE packages_of_others (blob)"],
    ],
    ids=["a view that never ends", "zeros that are computed", "anything computed", "the same bytes for every row",
         "another kind of table", "no table"],
)  # fmt: skip
def test_a_database_that_says_more_than_is_in_it_is_not_read(tmp_path: Path, statements: list[str]) -> None:
    connection = sqlite3.connect(tmp_path / "x")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    tracemalloc.start()
    assert rpm_packages((tmp_path / "x").read_bytes(), "p", 9) is None
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_no_more_packages_are_kept_than_are_wanted(tmp_path: Path) -> None:
    database = rpm_database(tmp_path / "x", *(header(name, "1", "1") for name in "abcd"))
    assert [package.name for package in rpm_packages(database, "p", 2) or ()] == ["a", "b"]
